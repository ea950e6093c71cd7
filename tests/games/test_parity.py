"""Our DCGAN training, loss for loss, against plain PyTorch as a tutorial writes it.

The reference uses convolutions from end to end, a sigmoid with BCELoss, separate backward passes, plain Adam and
channels-first memory; ours uses matrix products at both ends, logits, frozen players, fused Adam and channels last.

Two such programs round differently, and now and then a rectifier's input falls on the other side of zero for one of
them. Its gradient then jumps and Adam enlarges that, so in float32 the two part after some ten steps however equal the
mathematics. At a usual learning rate the equality is therefore tested in float64, and in float32 at a low one.

Last, whole runs with the operators of this package against the same runs with torch's own.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from tests.conftest import CPU, tiny_game, tiny_recipe, tiny_source
from tests.plain import plain_critic, plain_generator
from zerosum.data.source import Batch
from zerosum.engine.runs.run import Run
from zerosum.engine.training.loop import train
from zerosum.engine.training.state import make_state
from zerosum.games.step import Players, critic_step, generator_step
from zerosum.networks import dcgan
from zerosum.networks.operators import Down, Up

STEPS, BATCH, LATENT, RATE, SLOW = 20, 16, 8, 5e-4, 2e-5
SOURCE = tiny_source(32, 3, 200)
BATCHES = [SOURCE.batch(0, step, BATCH) for step in range(STEPS)]

History = Sequence[tuple[float, ...]]


@pytest.fixture
def float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Everything in float64, also where the steps ask for float32."""
    monkeypatch.setattr(torch.Tensor, "float", lambda self: self)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def start(name: str, rate: float = RATE) -> Players:
    """The players at step 0; the Wasserstein critic has no batch normalisation, and scores of some size."""
    keys: dict[str, Any] = {"optimizer.lr": rate, "generator.width": 8, "critic.width": 8}
    if name == "wasserstein":
        keys |= {"critic.norm": "none", "critic.init": "he"}
    return make_state(tiny_recipe(keys, "dcgan"), SOURCE.spec, CPU.device).players


def real_images(step: int) -> Tensor:
    return BATCHES[step].real.detach().to(torch.get_default_dtype())


def noises(step: int) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(1000 + step)
    return torch.randn(BATCH, LATENT, generator=random), torch.randn(BATCH, LATENT, generator=random)


def our_losses(name: str, rate: float = RATE) -> History:
    penalties = {"gradient": {"weight": 10.0}} if name == "wasserstein" else {}
    players, game = start(name, rate), tiny_game(SOURCE, name, penalties)
    history = []
    for step in range(STEPS):
        torch.manual_seed(step)
        real = Batch(real_images(step), BATCHES[step].condition)
        first, second = noises(step)
        losses = critic_step(game, players, real, first, step, torch.rand(BATCH)) | generator_step(
            game, players, real, second
        )
        keys = ["critic/loss", "generator/loss", *(["critic/gradient_penalty"] if penalties else [])]
        history.append(tuple(losses[key].item() for key in keys))
    return history


def reference(name: str) -> tuple[nn.Sequential, nn.Sequential]:
    players = start(name)
    assert isinstance(players.generator, dcgan.Generator)
    assert isinstance(players.critic, dcgan.Critic)
    return plain_generator(players.generator, LATENT), plain_critic(players.critic)


def tutorial_losses(name: str, rate: float = RATE, leak: bool = False) -> History:
    """The loop of a thousand tutorials. leak: the mistake of not clearing the critic's gradients."""
    generator, critic = reference(name)
    generator_adam = torch.optim.Adam(generator.parameters(), rate, betas=(0.5, 0.999))
    critic_adam = torch.optim.Adam(critic.parameters(), rate, betas=(0.5, 0.999))
    bce, ones, zeros = nn.BCELoss(), torch.ones(BATCH), torch.zeros(BATCH)
    history = []
    for step in range(STEPS):
        real = real_images(step).contiguous()
        first, second = noises(step)
        if not leak:
            critic_adam.zero_grad()
        on_real = bce(torch.sigmoid(critic(real)).view(-1), ones)
        on_real.backward()
        fake = generator(first[:, :, None, None]).detach()
        on_fake = bce(torch.sigmoid(critic(fake)).view(-1), zeros)
        on_fake.backward()
        critic_adam.step()
        generator_adam.zero_grad()
        belief = torch.sigmoid(critic(generator(second[:, :, None, None]))).view(-1)
        loss = bce(belief, ones) if name == "non-saturating" else -bce(belief, zeros)
        loss.backward()
        generator_adam.step()
        history.append(((on_real + on_fake).item(), loss.item()))
    return history


def wasserstein_losses(rate: float = RATE, per_value: bool = False) -> History:
    """WGAN-GP by hand. per_value: the mistake of one epsilon for each value instead of each image."""
    generator, critic = reference("wasserstein")
    generator_adam = torch.optim.Adam(generator.parameters(), rate, betas=(0.5, 0.999))
    critic_adam = torch.optim.Adam(critic.parameters(), rate, betas=(0.5, 0.999))
    history = []
    for step in range(STEPS):
        torch.manual_seed(step)
        real = real_images(step).contiguous()
        first, second = noises(step)
        epsilon = torch.rand(real.shape if per_value else (BATCH,))
        fake = generator(first[:, :, None, None]).detach()
        rows = [e * r + (1 - e) * f for e, r, f in zip(epsilon, real, fake, strict=True)]
        between = torch.stack(rows).requires_grad_()
        (slopes,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        penalty = ((slopes.reshape(BATCH, -1).norm(2, dim=1) - 1) ** 2).mean()
        loss = critic(fake).mean() - critic(real).mean()
        critic_adam.zero_grad()
        (loss + 10 * penalty).backward()
        critic_adam.step()
        generator_adam.zero_grad()
        generator_loss = -critic(generator(second[:, :, None, None])).mean()
        generator_loss.backward()
        generator_adam.step()
        history.append((loss.item(), generator_loss.item(), penalty.item()))
    return history


def deviation(ours: History, theirs: History) -> float:
    """The largest relative difference of any loss of any step."""
    a, b = torch.tensor(ours, dtype=torch.float64), torch.tensor(theirs, dtype=torch.float64)
    assert a.shape == b.shape
    return ((a - b).abs() / torch.maximum(a.abs(), b.abs())).max().item()


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", ["non-saturating", "minimax"])
def test_tutorial_games(name: str) -> None:
    ours = our_losses(name)
    assert deviation(ours, tutorial_losses(name)) < 1e-7
    # the players really moved: these are no twenty times the first loss
    for column in zip(*ours, strict=True):
        assert max(column) - min(column) > 0.2
    # the comparison can fail: the mistakes that it is for are seen
    assert deviation(ours, tutorial_losses(name, rate=1.1 * RATE)) > 1e-2
    assert deviation(ours, tutorial_losses(name, leak=True)) > 1e-2


@pytest.mark.usefixtures("float64")
def test_wasserstein_with_gradient_penalty() -> None:
    ours = our_losses("wasserstein")
    assert deviation(ours, wasserstein_losses()) < 1e-7
    for column in zip(*ours, strict=True):
        assert max(column) - min(column) > 0.2
    assert deviation(ours, wasserstein_losses(rate=1.1 * RATE)) > 1e-2
    assert deviation(ours, wasserstein_losses(per_value=True)) > 1e-2


@pytest.mark.parametrize("name", ["non-saturating", "minimax", "wasserstein"])
def test_float32(name: str) -> None:
    """The very steps that users run, at a rate that lets neither program enlarge its rounding."""

    def theirs(rate: float) -> History:
        return wasserstein_losses(rate=rate) if name == "wasserstein" else tutorial_losses(name, rate=rate)

    ours = our_losses(name, rate=SLOW)
    assert deviation(ours, theirs(SLOW)) < 1e-4
    assert deviation(ours, theirs(1.1 * SLOW)) > 1e-3
    for column in zip(*ours, strict=True):
        assert max(column) - min(column) > 0.05


def test_the_games_differ() -> None:
    assert deviation(our_losses("non-saturating"), our_losses("minimax")) > 1e-2


def way(folder: Path, overrides: dict[str, Any], together: bool = True) -> Tensor:
    """How far all weights of both players come in a short run, in one row."""
    keys = {"optimizer.lr": SLOW, "steps": 4, "batch": BATCH, "generator.width": 8, "critic.width": 8} | overrides
    run = Run.prepare(tiny_recipe(keys, "dcgan"), SOURCE)
    critic: Any = run.state.players.critic
    critic.together = critic.together and together
    weights = [*run.state.players.generator.parameters(), *critic.parameters()]
    before = [weight.detach().clone() for weight in weights]
    run.create_folder(folder)
    for _ in train(run):
        pass
    return torch.cat([(weight.detach() - old).flatten() for weight, old in zip(weights, before, strict=True)])


NO_NORM: dict[str, Any] = {"critic.norm": "none", "critic.init": "he"}
RUNS: dict[str, dict[str, Any]] = {
    "gradient penalty": NO_NORM
    | {"objective": "wasserstein", "penalties.gradient.weight": 10.0, "critic.steps": 2, "condition.method": "embed"},
    "lazy r1": NO_NORM | {"penalties.r1": {"weight": 1.0, "every": 2}, "condition.method": "join"},
    "batch normalisation": {},
}


@pytest.mark.usefixtures("plot_nothing")
@pytest.mark.parametrize("name", list(RUNS))
def test_runs_with_torchs_own_operators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    ours = way(tmp_path / "ours", RUNS[name])
    monkeypatch.setattr(Down, "forward", nn.Conv2d.forward)
    monkeypatch.setattr(Up, "forward", nn.ConvTranspose2d.forward)
    monkeypatch.setattr(dcgan, "leaky_relu", leaky_relu)
    torchs = way(tmp_path / "torchs", RUNS[name], together=False)
    # not zero: the numbers are the same, the operations are not
    assert 0 < (ours - torchs).norm() < 1e-4 * torchs.norm()
