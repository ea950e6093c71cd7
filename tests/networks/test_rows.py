"""Networks for rows: against layers written by hand, and categories that are drawn as often as they should be."""

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from zerosum.data.shape import Shape
from zerosum.errors import ZerosumError, at_command_line
from zerosum.games.objectives import OBJECTIVES
from zerosum.games.penalties import interpolate, one_centred, zero_centred
from zerosum.networks.conditioning import ConditionalNorm, multi_hot
from zerosum.networks.rows import Critic, Generator, gumbel

METHODS = ["none", "join", "embed", "auxiliary"]
SPANS = [["one-hot", 0, 3], ["signed", 3, 4], ["signed", 4, 5], ["one-hot", 5, 7]]


@dataclass
class Table:
    """Of a category of three values, a number, and a number that may be missing, with one attribute of 3 values."""

    spans: list[Any] = field(default_factory=lambda: SPANS)
    count: int = 7
    sizes: tuple[int, ...] = (3,)

    @property
    def sample(self) -> Shape:
        return Shape({"column": self.count}, "mixed")

    @property
    def facts(self) -> dict[str, Any]:
        return {"spans": self.spans}


def noise(count: int = 6, latent: int = 14) -> Tensor:
    return torch.randn(count, latent, generator=torch.Generator().manual_seed(0))


def linear(x: Tensor, layer: Any) -> Tensor:
    return x @ layer.weight.T + layer.bias  # type: ignore[no-any-return]


LABELS = torch.tensor([[0], [2], [1], [0], [0], [1]])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_shapes_and_ranges(method: str, training: bool) -> None:
    torch.manual_seed(0)
    labels = LABELS if method != "none" else None
    rows = Generator(Table(), 14, method, width=16, depth=3).train(training)(noise(), labels)
    assert rows.shape == (6, 7)
    assert rows.dtype == torch.float32
    Table().sample.check(rows, "a batch")
    for part in (rows[:, 0:3], rows[:, 5:7]):
        assert part.min() >= 0
        torch.testing.assert_close(part.sum(1), torch.ones(6))
    assert rows[:, 3:5].min() < 0
    answer = Critic(Table(), method, width=16, depth=3).train(training)(rows, labels)
    scores, logits = answer if isinstance(answer, tuple) else (answer, None)
    assert scores.shape == (6,)
    assert (logits is not None) == (method == "auxiliary")
    assert logits is None or logits.shape == (6, 3)


@pytest.mark.parametrize("method", METHODS)
def test_generator_by_hand(method: str) -> None:
    torch.manual_seed(0)
    ours = Generator(Table(), 14, method, width=5, depth=2, labels=4, temperature=0.5)
    for module in ours.modules():
        if isinstance(module, ConditionalNorm):
            nn.init.normal_(module.affine.weight)
    z, hot = noise(), multi_hot(LABELS, (3,))
    x = z[:, :9]
    if method == "join":
        x = torch.cat([x, linear(hot, ours.from_labels)], 1)
    elif method == "auxiliary":
        x = torch.cat([x, hot], 1)
    for layer, norm in zip(ours.hidden, ours.norms, strict=True):
        y = linear(x, layer)
        y = (y - y.mean(0)) / (y.var(0, correction=0) + 1e-5).sqrt()
        if isinstance(norm, ConditionalNorm):
            gain, bias = (hot @ norm.affine.weight.T).chunk(2, 1)
            y = y * (1 + gain) + bias
        x = torch.cat([y.relu(), x], 1)
    out, chance = linear(x, ours.to_row), gumbel(z[:, 9:])
    first, last = ((out[:, :3] + chance[:, :3]) / 0.5).exp(), ((out[:, 5:] + chance[:, 3:]) / 0.5).exp()
    expected = torch.cat([first / first.sum(1, keepdim=True), out[:, 3:5].tanh(), last / last.sum(1, keepdim=True)], 1)
    torch.testing.assert_close(ours(z, LABELS), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_critic_by_hand(method: str) -> None:
    torch.manual_seed(0)
    ours = Critic(Table(), method, width=5, depth=2, labels=4)
    rows, hot = torch.rand(6, 7), multi_hot(LABELS, (3,))
    x = torch.cat([rows, linear(hot, ours.from_labels)], 1) if method == "join" else rows
    for layer in ours.hidden:
        x = leaky_relu(linear(x, layer), 0.2)
    expected = linear(x, ours.head.score)[:, 0]
    if ours.head.embedding is not None:
        expected = expected + (hot @ ours.head.embedding.weight.T * x).sum(1)
    answer = ours(rows, LABELS)
    torch.testing.assert_close(answer[0] if method == "auxiliary" else answer, expected, rtol=1e-4, atol=1e-5)
    if method == "auxiliary":
        torch.testing.assert_close(answer[1], linear(x, ours.head.classifier), rtol=1e-4, atol=1e-5)


def test_normal_noise_becomes_gumbels() -> None:
    z = torch.tensor([-8.0, -1.0, 0.0, 1.0, 5.0])
    distribution = torch.exp(-torch.exp(-gumbel(z.double())))  # Gumbel's, of noise
    torch.testing.assert_close(distribution, torch.special.ndtr(z.double()))
    assert gumbel(torch.linspace(-10, 10, 1001)).isfinite().all()
    assert (gumbel(torch.linspace(-10, 10, 1001)).diff() > 0).all()


def test_categories_are_drawn_with_the_probabilities_of_their_logits() -> None:
    generator = Generator(Table(), 14, width=4).eval()
    nn.init.zeros_(generator.to_row.weight)
    nn.init.zeros_(generator.to_row.bias)
    shares = torch.tensor([0.7, 0.25, 0.05])
    generator.to_row.bias.data[:3] = shares.log()
    rows = generator(noise(40_000))
    drawn = torch.bincount(rows[:, :3].argmax(1), minlength=3) / len(rows)
    torch.testing.assert_close(drawn, shares, rtol=0, atol=0.01)
    both = (rows[:, 0] > 0.5) & (rows[:, 5] > 0.5)  # columns are drawn apart from each other
    assert both.float().mean().item() == pytest.approx(0.35, abs=0.015)
    assert rows[:, :3].max(1).values.mean() > 0.9  # nearly one 1 among zeros


def test_a_row_is_a_function_of_z_alone() -> None:
    generator = Generator(Table(), 14, width=8).eval()
    assert torch.equal(generator(noise()), generator(noise()))
    with torch.no_grad():
        changed = noise()
        changed[:, 9:] = changed[:, 9:].flip(0)
        before, after = generator(noise()), generator(changed)
    assert torch.equal(before[:, 3:5], after[:, 3:5])  # chance draws categories and nothing else
    assert (before[:, :3] - after[:, :3]).abs().max() > 0.1


def test_gradients_reach_every_weight_through_categories() -> None:
    generator = Generator(Table([["one-hot", 0, 7]]), 20, width=8)
    (generator(noise(6, 20)) * torch.arange(7.0)).sum().backward()
    gradients = [weight.grad for name, weight in generator.named_parameters() if "hidden.0.bias" not in name]
    assert all(gradient is not None and gradient.abs().max() > 0 for gradient in gradients[1:])


def test_a_table_of_numbers_alone() -> None:
    table = Table([["signed", 0, 1], ["signed", 1, 2]], 2)
    rows = Generator(table, 8, width=4)(noise(6, 8))
    assert rows.shape == (6, 2)
    generator = Generator(table, 8, depth=0)
    assert generator(noise(6, 8)).shape == (6, 2)
    assert generator.to_row.in_features == 8


def test_rows_are_float32_under_autocast() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert Generator(Table([["signed", 0, 1]], 1), 8)(noise(6, 8)).dtype == torch.float32


def test_a_latent_that_is_too_small() -> None:
    Generator(Table(), 13)
    with pytest.raises(ZerosumError, match=r"latent\.size = 12 is too small: 5 entries .*\"latent.size\": 69"):
        Generator(Table(), 12)
    with at_command_line(), pytest.raises(ZerosumError, match=r"--set latent\.size=69$"):
        Generator(Table(), 12)


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_a_temperature_that_is_none(temperature: float) -> None:
    with pytest.raises(ZerosumError, match=r"generator\.temperature = .*: should be greater than 0"):
        Generator(Table(), 14, temperature=temperature)


def test_spans_must_cover_a_row() -> None:
    with pytest.raises(ValueError, match="8 numbers"):
        Generator(Table(count=8), 14)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_penalties_on_slopes(method: str, training: bool) -> None:
    """Against differences: the derivative of the penalty along a direction in which the weights move."""
    torch.manual_seed(0)
    critic = Critic(Table(), method, width=8).train(training)
    rows, other = torch.rand(2, 6, 7)

    def scores(x: Tensor) -> Tensor:
        answer = critic(x, LABELS)
        return answer[0] if isinstance(answer, tuple) else answer  # type: ignore[no-any-return]

    def penalty() -> Tensor:
        between = interpolate(rows, other, torch.linspace(0, 1, 6))
        real = rows.clone().requires_grad_()
        return one_centred(scores(between), between) + zero_centred(scores(real), real)

    weights = [weight for weight in critic.parameters() if weight.dim() > 1]
    gradients = torch.autograd.grad(penalty(), weights, allow_unused=True)
    slope = sum(gradient.square().sum().item() for gradient in gradients if gradient is not None)
    assert slope > 0
    values = []
    for step in (2e-3, -4e-3):
        for weight, gradient in zip(weights, gradients, strict=True):
            if gradient is not None:
                weight.data += step * gradient
        values.append(penalty().item())
    assert (values[0] - values[1]) / 4e-3 == pytest.approx(slope, rel=0.02)


@pytest.mark.parametrize("method", METHODS)
def test_no_row_sways_another_in_the_critic(method: str) -> None:
    critic = Critic(Table(), method, width=8)
    assert critic.together
    rows = torch.rand(6, 7)
    together, apart = critic(rows, LABELS), [critic(rows[i : i + 1], LABELS[i : i + 1]) for i in range(6)]
    if method == "auxiliary":
        together, apart = together[0], [one for one, _ in apart]
    torch.testing.assert_close(together, torch.cat(apart))


@pytest.mark.parametrize("objective", ["wasserstein", "non-saturating"])
def test_they_learn_shares_and_what_belongs_together(objective: str) -> None:
    torch.manual_seed(0)
    table = Table([["one-hot", 0, 2], ["signed", 2, 3]], 3, ())
    generator, critic = Generator(table, 10, width=16, depth=1), Critic(table, width=32)
    movers = [torch.optim.Adam(player.parameters(), 4e-3, (0.5, 0.9)) for player in (generator, critic)]
    loss = OBJECTIVES[objective]
    for _ in range(800):
        first = (torch.rand(128) < 0.8).float()
        real = torch.stack([first, 1 - first, first - 0.5 + 0.1 * torch.randn(128)], 1)
        fake = generator(torch.randn(128, 10))
        between = interpolate(real, fake, torch.rand(128))
        cost = loss.critic(critic(real), critic(fake.detach())) + one_centred(critic(between), between)
        movers[1].zero_grad()
        cost.backward()  # type: ignore[no-untyped-call]
        movers[1].step()
        movers[0].zero_grad()
        loss.generator(critic(fake), None).backward()  # type: ignore[no-untyped-call]
        movers[0].step()
    rows = generator.eval()(torch.randn(4000, 10)).detach()
    chosen = rows[:, 0] > rows[:, 1]
    assert 0.65 < chosen.float().mean() < 0.92
    assert rows[chosen, 2].mean() > 0.3
    assert rows[~chosen, 2].mean() < -0.1
