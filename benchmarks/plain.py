"""The common tutorials' training loop, in torch.nn alone: what zerosum is compared with.

Written as most published GAN scripts are: float32 in the default memory format; images through a DataLoader, one by one
through Pillow and per-item transforms; networks that end in a sigmoid, binary cross-entropy against tensors of ones and
zeros; generated images made with a graph and detached; the critic's gradients filled in the generator's step and thrown
away; each loss read with .item() at every step. Networks, batch and optimiser are those of the recipe beside it.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import leaky_relu
from torch.utils.data import DataLoader, Dataset

from zerosum.data.source import Condition
from zerosum.games import step as steps
from zerosum.networks import dcgan, mlp
from zerosum.networks.operators import Down, Up

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Step = Callable[[], None]


class Pictures(Dataset[tuple[Tensor, int]]):
    """What torchvision's ImageFolder or MNIST give, with Resize, ToTensor and Normalize, one picture at a time.

    pictures: files, or arrays (side, side) uint8 that are already in memory.
    """

    def __init__(self, pictures: Sequence[Path | Pixels], labels: Sequence[int], side: int) -> None:
        self.pictures, self.labels, self.side = pictures, labels, side

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        source = self.pictures[index]
        picture = Image.open(source).convert("RGB") if isinstance(source, Path) else Image.fromarray(source)
        if picture.size != (self.side, self.side):
            picture = picture.resize((self.side, self.side), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(picture))
        pixels = pixels.view(self.side, self.side, -1).permute(2, 0, 1).contiguous().float().div(255)
        half = torch.full((len(pixels), 1, 1), 0.5)
        return pixels.sub(half).div(half), int(self.labels[index])


class Batches:
    """Batches without end, and the seconds that they took."""

    def __init__(self, pictures: Pictures, batch: int) -> None:
        self.loader = DataLoader(pictures, batch, shuffle=True, drop_last=True)
        self.epoch = iter(self.loader)
        self.seconds = 0.0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self

    def __next__(self) -> tuple[Tensor, Tensor]:
        began = time.perf_counter()
        try:
            batch = next(self.epoch)
        except StopIteration:
            self.epoch = iter(self.loader)
            batch = next(self.epoch)
        self.seconds += time.perf_counter() - began
        return batch  # type: ignore[no-any-return]


class Joined(nn.Module):
    """Two inputs, each through its own first layer, side by side into the rest."""

    def __init__(self, first: nn.Module, labels: nn.Module, rest: nn.Module) -> None:
        super().__init__()
        self.first, self.labels, self.rest = first, labels, rest

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.rest(torch.cat([self.first(x), self.labels(y)], 1))  # type: ignore[no-any-return]


def dcgan_generator(side: int, channels: int, width: int, latent: int = 100, labels: int = 0) -> nn.Module:
    """From z (N, latent, 1, 1), and one-hot labels (N, labels, 1, 1)."""
    widths = [width * 2**level for level in reversed(range(side.bit_length() - 3))]

    def first(inputs: int, outputs: int) -> nn.Sequential:
        up = nn.ConvTranspose2d(inputs, outputs, 4, 1, 0, bias=False)
        return nn.Sequential(up, nn.BatchNorm2d(outputs), nn.ReLU())

    rest: list[nn.Module] = []
    for before, after in zip(widths, widths[1:], strict=False):
        rest += [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    rest += [nn.ConvTranspose2d(widths[-1], channels, 4, 2, 1), nn.Tanh()]
    if labels:
        half = widths[0] // 2
        return Joined(first(latent, half), first(labels, widths[0] - half), nn.Sequential(*rest))
    return nn.Sequential(first(latent, widths[0]), *rest)


def dcgan_critic(side: int, channels: int, width: int, labels: int = 0, norm: bool = True) -> nn.Module:
    """From images, and one-hot label planes (N, labels, side, side); a sigmoid last where `norm`, else raw scores."""
    widths = [width * 2**level for level in range(side.bit_length() - 3)]

    def first(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 4, 2, 1), nn.LeakyReLU(0.2))

    rest: list[nn.Module] = []
    for before, after in zip(widths, widths[1:], strict=False):
        rest += [nn.Conv2d(before, after, 4, 2, 1, bias=not norm), *([nn.BatchNorm2d(after)] if norm else [])]
        rest += [nn.LeakyReLU(0.2)]
    rest += [nn.Conv2d(widths[-1], 1, 4, 1, 0), *([nn.Sigmoid()] if norm else []), nn.Flatten(0)]
    if labels:
        half = width // 2
        return Joined(first(channels, half), first(labels, width - half), nn.Sequential(*rest))
    return nn.Sequential(first(channels, width), *rest)


def mlp_generator(pixels: int, latent: int = 100, labels: int = 10) -> nn.Module:
    def first(inputs: int) -> nn.Sequential:
        return nn.Sequential(nn.Linear(inputs, 256), nn.BatchNorm1d(256), nn.ReLU())

    rest: list[nn.Module] = []
    for before, after in ((512, 512), (512, 1024)):
        rest += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU()]
    return Joined(first(latent), first(labels), nn.Sequential(*rest, nn.Linear(1024, pixels), nn.Tanh()))


def mlp_critic(pixels: int, labels: int = 10) -> nn.Module:
    def first(inputs: int) -> nn.Sequential:
        return nn.Sequential(nn.Linear(inputs, 1024), nn.LeakyReLU(0.2))

    rest: list[nn.Module] = []
    for before, after in ((2048, 512), (512, 256)):
        rest += [nn.Linear(before, after), nn.LeakyReLU(0.2)]
    return Joined(first(pixels), first(labels), nn.Sequential(*rest, nn.Linear(256, 1), nn.Sigmoid(), nn.Flatten(0)))


def gan_step(
    generator: nn.Module,
    critic: nn.Module,
    data: Iterator[tuple[Tensor, Tensor]],
    device: torch.device,
    shape: tuple[int, ...],
    conditions: tuple[tuple[int, ...], tuple[int, ...]] | None = None,
) -> Step:
    """One step of the original game. shape: of one latent; conditions: how each player's one-hot rows are laid out."""
    generator.to(device)
    critic.to(device)
    loss = nn.BCELoss()
    critic_optimizer = torch.optim.Adam(critic.parameters(), lr=2e-4, betas=(0.5, 0.999))
    generator_optimizer = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))

    def laid_out(y: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        if conditions is None:
            return (), ()
        hot = nn.functional.one_hot(y, 10).float()
        narrow = hot.view(-1, 10, *[1] * len(conditions[0]))
        return (narrow.expand(-1, -1, *conditions[0]),), (narrow.expand(-1, -1, *conditions[1]),)

    def step() -> None:
        x, y = next(data)
        x, y = x.to(device), y.to(device)
        x = x.flatten(1) if len(shape) == 1 else x
        for_generator, for_critic = laid_out(y)
        ones, zeros = torch.ones(len(x), device=device), torch.zeros(len(x), device=device)

        critic.zero_grad()
        real_loss = loss(critic(x, *for_critic), ones)
        fake = generator(torch.randn(len(x), *shape, device=device), *for_generator)
        fake_loss = loss(critic(fake.detach(), *for_critic), zeros)
        (real_loss + fake_loss).backward()
        critic_optimizer.step()
        (real_loss + fake_loss).item()

        generator.zero_grad()
        fake = generator(torch.randn(len(x), *shape, device=device), *for_generator)
        generator_loss = loss(critic(fake, *for_critic), ones)
        generator_loss.backward()
        generator_optimizer.step()
        generator_loss.item()

    return step


def wgan_gp_step(
    generator: nn.Module, critic: nn.Module, data: Iterator[tuple[Tensor, Tensor]], device: torch.device, latent: int
) -> Step:
    """Five critic updates with gradient penalty, then one of the generator."""
    generator.to(device)
    critic.to(device)
    critic_optimizer = torch.optim.Adam(critic.parameters(), lr=1e-4, betas=(0.0, 0.9))
    generator_optimizer = torch.optim.Adam(generator.parameters(), lr=1e-4, betas=(0.0, 0.9))

    def step() -> None:
        for _ in range(5):
            x = next(data)[0].to(device)
            critic.zero_grad()
            fake = generator(torch.randn(len(x), latent, 1, 1, device=device)).detach()
            epsilon = torch.rand(len(x), 1, 1, 1, device=device)
            between = (epsilon * x + (1 - epsilon) * fake).requires_grad_()
            scores = critic(between)
            (slope,) = torch.autograd.grad(scores, between, torch.ones_like(scores), create_graph=True)
            penalty = ((slope.view(len(x), -1).norm(2, dim=1) - 1) ** 2).mean()
            loss = critic(fake).mean() - critic(x).mean() + 10 * penalty
            loss.backward()
            critic_optimizer.step()
            loss.item()
        generator.zero_grad()
        generator_loss = -critic(generator(torch.randn(len(x), latent, 1, 1, device=device))).mean()
        generator_loss.backward()
        generator_optimizer.step()
        generator_loss.item()

    return step


def _judge_apart(game: steps.Game, critic: nn.Module, real: Tensor, fake: Tensor, condition: Condition, _: bool) -> Any:
    return steps.judge(game, critic, real, condition), steps.judge(game, critic, fake, condition)


@contextmanager
def torch_convolutions() -> Iterator[None]:
    """torch's own convolutions in the place of ours."""
    with patch.object(Down, "forward", nn.Conv2d.forward), patch.object(Up, "forward", nn.ConvTranspose2d.forward):
        yield


@contextmanager
def torch_layers() -> Iterator[None]:
    """torch's own layers in the place of ours, and real and generated images judged one after the other."""
    with (
        torch_convolutions(),
        patch.object(dcgan, "leaky_relu", leaky_relu),
        patch.object(mlp, "leaky_relu", leaky_relu),
        patch.object(steps, "judge_both", _judge_apart),
    ):
        yield
