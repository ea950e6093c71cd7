"""Own networks, objectives and sources that do not fit: one line before training starts, and no run folder."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import zerosum as zs
from tests.conftest import OwnGenerator, same, snapshot, tiny_recipe, tiny_source
from zerosum.data.pictures.source import PictureSource
from zerosum.engine.runs.run import Run
from zerosum.games.objectives import OBJECTIVES

pytestmark = pytest.mark.usefixtures("plot_nothing")


class Made(nn.Module):
    """z (N, 8) through a linear layer and then through `end` to images (N, 1, 8, 8)."""

    def __init__(self, end: Callable[[Tensor], Any] = torch.tanh) -> None:
        super().__init__()
        self.layer, self.end = nn.Linear(8, 64), end

    def forward(self, z: Tensor, _: Tensor | None = None) -> Any:
        return self.end(self.layer(z).view(-1, 1, 8, 8))


class Judge(nn.Module):
    """Images (N, 1, 8, 8) through a linear layer and then through `end` to scores (N,)."""

    def __init__(self, end: Callable[[Tensor], Any] = lambda scores: scores) -> None:
        super().__init__()
        self.layer, self.end = nn.Linear(64, 1), end

    def forward(self, images: Tensor, _: Tensor | None = None) -> Any:
        return self.end(self.layer(images.flatten(1)).squeeze(1))


class NoLabels(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return z


class Bare(nn.Module):
    """Without weights."""

    def forward(self, z: Tensor, _: Tensor | None = None) -> Tensor:
        return z.repeat(1, 8).view(-1, 1, 8, 8).tanh()


def frozen(network: nn.Module) -> nn.Module:
    return network.requires_grad_(False)


def without_latents(images: Tensor) -> Tensor:
    return torch.zeros_like(images) + (images - images.detach()) * 0


class Deaf(nn.Module):
    """Makes the same images of all latents."""

    def __init__(self) -> None:
        super().__init__()
        self.picture = nn.Parameter(torch.zeros(1, 8, 8))

    def forward(self, z: Tensor, _: Tensor | None = None) -> Tensor:
        return self.picture.expand(len(z), 1, 8, 8).tanh()


class Blind(nn.Module):
    """Gives the same score to all images."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor, _: Tensor | None = None) -> Tensor:
        return self.score.expand(len(images))


def broken(_: Tensor) -> Tensor:
    raise IndexError("layer 7\nis missing")


def numpy_detour(values: Tensor) -> Tensor:
    return torch.from_numpy(np.tanh(values.detach().numpy()))


def formula(scores: Tensor) -> Tensor:
    """A sigmoid that torch does not know as one."""
    return 0.5 * (1 + torch.tanh(scores / 2))


GENERATORS: dict[str, tuple[Callable[[], Any], str]] = {
    "class": (lambda: OwnGenerator, "generator = OwnGenerator is a class: pass an object of it"),
    "function": (lambda: lambda z, _: z, "generator is a function: it should be a torch.nn.Module"),
    "name": (lambda: "mlp", r"generator = 'mlp' is text: a network by its name goes into the recipe"),
    "no labels": (NoLabels, "generator has nothing to train: it has no weights"),
    "no weights": (Bare, r"generator has nothing to train: it has no weights; .* overrides=.*generator.train"),
    "frozen": (lambda: frozen(Made()), "generator has nothing to train: its weights are all frozen"),
    "double": (lambda: Made().double(), r"generator has layer.weight in float64: .* generator.float\(\)"),
    "half": (lambda: Made().half(), r"generator has layer.weight in float16"),
    "meta": (lambda: Made().to("meta"), "generator has no memory for layer.weight"),
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(3)), "generator does not know the shape of 0.weight yet"),
    "no tanh": (lambda: Made(lambda x: 5 * x), r"makes values from -\d.* to \d.*: end the generator with torch.tanh"),
    "bytes": (lambda: Made(lambda x: x.sigmoid() * 255), r"makes values from \d.* to \d.*; images are from -1 to 1"),
    "sigmoid": (lambda: Made(torch.sigmoid), "generator ends with a sigmoid, so that its images are from 0 to 1"),
    "nan": (lambda: Made(lambda x: x.sqrt()), "generator's images are not finite before any training"),
    "tuple": (lambda: Made(lambda x: (x.tanh(), x)), "generator returns a tuple: it should return one tensor"),
    "one row": (lambda: Made(lambda x: x[:1].tanh()), "generator returns 1 images for 4 latents"),
    "shape": (lambda: Made(lambda x: x[..., :7].tanh()), r"generator makes images of \(1, 8, 7\), the data has"),
    "dtype": (lambda: Made(lambda x: x.tanh().double()), "generator's images are float64: they should be float32"),
    "raises": (lambda: Made(broken), r"generator\(z, condition\) with z \(4, 8\) .* raised IndexError: layer 7$"),
    "detached": (lambda: Made(lambda x: x.tanh().detach()), "images do not depend on its weights, so it cannot learn"),
    "numpy": (lambda: Made(numpy_detour), "images do not depend on its weights, so it cannot learn"),
    "deaf": (Deaf, "generator's images do not depend on its latents z"),
}

CRITICS: dict[str, tuple[Callable[[], Any], str]] = {
    "class": (lambda: Judge, "critic = Judge is a class: pass an object of it"),
    "no weights": (Bare, "critic has nothing to train: it has no weights"),
    "double": (lambda: Judge().double(), "critic has layer.weight in float64"),
    "scalar": (lambda: Judge(torch.mean), r"critic returns a single number for 4 images: it should return a row"),
    "one row": (lambda: Judge(lambda s: s[:1]), r"critic returns \(1,\) for 4 images"),
    "three": (lambda: Judge(lambda s: (s, s, s)), "critic returns a tuple of Tensor, Tensor, Tensor: it should return"),
    "list": (lambda: Judge(lambda s: s.tolist()), "critic returns list: it should return scores"),
    "nothing": (lambda: Judge(lambda _: None), "critic returns NoneType: it should return scores"),
    "nan": (lambda: Judge(lambda s: s * math.nan), "critic's scores are not finite before any training"),
    "integers": (lambda: Judge(lambda s: (s > 0).long()), "critic's scores are int64: they should be float32"),
    "sigmoid": (lambda: Judge(torch.sigmoid), "critic returns probabilities: .* leave the sigmoid at its end out"),
    "sigmoid module": (lambda: Judge(lambda s: nn.Sigmoid()(s)[:, None].mean(1)), "critic returns probabilities"),
    "clamped sigmoid": (lambda: Judge(lambda s: s.sigmoid().clamp(1e-6, 1 - 1e-6)), "critic returns probabilities"),
    "formula": (lambda: Judge(formula), "critic returns probabilities"),
    "raises": (lambda: Judge(broken), r"critic\(images, condition\) with images \(4, 1, 8, 8\) .* raised IndexError"),
    "detached": (lambda: Judge(torch.detach), "scores do not depend on its images, so the generator cannot learn"),
    "blind": (Blind, "scores do not depend on its images, so the generator cannot learn"),
}


@pytest.mark.parametrize("name", list(GENERATORS))
def test_a_generator_that_does_not_fit(name: str, tmp_path: Path) -> None:
    make, said = GENERATORS[name]
    refused(tmp_path, said, generator=make())


@pytest.mark.parametrize("name", list(CRITICS))
def test_a_critic_that_does_not_fit(name: str, tmp_path: Path) -> None:
    make, said = CRITICS[name]
    refused(tmp_path, said, critic=make())


def rules(critic: Any, generator: Any = lambda fake, _: fake.mean()) -> zs.Objective:
    return zs.Objective(critic, generator)


def gap(real: Tensor, fake: Tensor) -> Tensor:
    return fake.mean() - real.mean()


OBJECTIVES_REFUSED: dict[str, tuple[Any, str]] = {
    "unknown name": ("hinj", "unknown objective 'hinj': did you mean 'hinge'"),
    "class": (zs.Objective, "objective is the class Objective: it should be a name"),
    "function": (gap, "objective is a function: it should be a name"),
    "no function": (rules(gap, None), "objective.generator is a NoneType: it should be a function"),
    "vector": (rules(lambda real, fake: real - fake), r"objective.critic returns a tensor of shape \(4,\)"),
    "tuple": (rules(gap, lambda fake, _: (fake.mean(), 0)), "objective.generator returns a tuple"),
    "number": (rules(lambda *_: 3.0), "objective.critic returns a float"),
    "constant": (rules(lambda *_: torch.tensor(1.0)), "does not depend on the scores"),
    "nan": (rules(lambda real, fake: gap(real, fake) * math.nan), "returns nan before any training"),
    "arguments": (rules(torch.mean), r"objective.critic\(real, fake\) with scores \(4,\) raised TypeError"),
    "unpaired": (rules(gap, gap), "real scores only with paired=True"),
}


@pytest.mark.parametrize("name", list(OBJECTIVES_REFUSED))
def test_an_objective_that_does_not_fit(name: str, tmp_path: Path) -> None:
    objective, said = OBJECTIVES_REFUSED[name]
    refused(tmp_path, said, objective=objective)


def refused(folder: Path, said: str, recipe: zs.Recipe | None = None, **parts: Any) -> None:
    """One line without a word of the command line, and nothing on disk."""
    torch.manual_seed(0)
    with pytest.raises(zs.ZerosumError, match=said) as caught:
        zs.train(recipe or tiny_recipe(), out=folder / "runs", **({"source": tiny_source()} | parts))
    assert "\n" not in str(caught.value)
    assert "--" not in str(caught.value)
    assert list(folder.iterdir()) == []


def test_both_networks_are_two(tmp_path: Path) -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = Made(), Judge()

        def forward(self, x: Tensor, _: Tensor | None = None) -> Any:
            return self.one(x) if x.dim() == 2 else self.other(x)

    both = Both()
    refused(tmp_path, "generator and critic are the same object", generator=both, critic=both)
    refused(tmp_path, r"share weights \(layer.weight\)", generator=both.one, critic=shared_with(both.one))


def shared_with(generator: Any) -> nn.Module:
    class Sharing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = generator.layer

        def forward(self, images: Tensor, _: Tensor | None = None) -> Tensor:
            scores: Tensor = (images.flatten(1) @ self.layer.weight).mean(1)
            return scores

    return Sharing()


def test_an_auxiliary_critic_returns_label_logits(tmp_path: Path) -> None:
    recipe = tiny_recipe({"condition.method": "auxiliary"})
    refused(tmp_path, r"the critic returns scores alone: .* label logits \(N, 3\)", recipe, critic=Judge())
    wrong = Judge(lambda scores: (scores, scores[:, None].expand(-1, 2)))
    refused(tmp_path, r"the critic returns logits of shape \(4, 2\)", recipe, critic=wrong)


def test_a_penalty_that_cannot_be_computed(tmp_path: Path) -> None:
    """What only a whole step shows: the gradient of a gradient."""

    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            return gradient

    critic = Judge(lambda scores: Once.apply(scores).sin())  # type: ignore[no-untyped-call]
    zs.train(tiny_recipe({"steps": 1}), source=tiny_source(), critic=critic, out=tmp_path / "plain")
    (tmp_path / "plain").rename(tmp_path.with_name(tmp_path.name + "-plain"))
    recipe = tiny_recipe({"penalties.r1.weight": 1.0})
    refused(tmp_path, "the first step of the critic raised RuntimeError", recipe, critic=critic)


#: what is right, though it may look wrong at first sight
FINE: dict[str, dict[str, Callable[[], Any]]] = {
    # raw scores of a fresh critic that all lie between 0 and 1
    "small positive scores": {"critic": lambda: Judge(lambda s: 0.01 * s + 0.5)},
    "scores of zero": {"critic": lambda: Judge(lambda s: 0 * s)},
    "scores of one": {"critic": lambda: Judge(lambda s: 0 * s + 1)},
    "normalised": {"critic": lambda: Judge(lambda s: 0.1 * torch.tanh(s) + 0.5)},
    "a gate inside": {"critic": lambda: Judge(lambda s: s * torch.sigmoid(s))},
    "patches": {"critic": lambda: Judge(lambda s: s[:, None, None, None].expand(-1, 1, 2, 2) * 1.0)},
    "a column": {"critic": lambda: Judge(lambda s: s[:, None])},
    "hard tanh": {"generator": lambda: Made(nn.functional.hardtanh)},
    "sine": {"generator": lambda: Made(torch.sin)},
    "shifted sigmoid": {"generator": lambda: Made(lambda x: 2 * torch.sigmoid(x) - 1)},
    "no bound, but small": {"generator": lambda: Made(lambda x: 0.1 * x)},
    "nearly flat": {"generator": lambda: Made(lambda x: torch.tanh(1e-6 * x))},
    "probabilities for an objective of one's own": {
        "critic": lambda: Judge(torch.sigmoid),
        "objective": lambda: rules(lambda real, fake: -(real.log() + (1 - fake).log()).mean()),
    },
}


@pytest.mark.parametrize("name", list(FINE))
def test_no_false_alarm(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    parts = {key: make() for key, make in FINE[name].items()}
    objective = parts.pop("objective", None)
    for seed in range(3):
        Run.prepare(tiny_recipe({"seed": seed}), tiny_source(), rules=objective, **parts)
    said = capsys.readouterr().err
    assert ("nothing keeps what the generator makes in the range of images" in said) == name.startswith("no bound")
    assert name.startswith("no bound") or said == ""


def test_a_generator_that_leaves_the_range_later_is_told_of_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At first nothing shows it: its images grow with a weight."""

    class Growing(Made):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.ones(()))

        def forward(self, z: Tensor, _: Tensor | None = None) -> Tensor:
            return self.gain * torch.tanh(self.layer(z)).view(-1, 1, 8, 8)

    generator = Growing()

    def push(fake: Tensor, _: Tensor | None) -> Tensor:
        generator.gain.data += 0.5
        return -fake.mean()

    keys = {"snapshot": 1, "average.half_life": 0.0}
    zs.train(tiny_recipe(keys), source=tiny_source(), generator=generator, objective=rules(gap, push), out=tmp_path)
    said = [line for line in capsys.readouterr().err.splitlines() if "cut off" in line]
    assert len(said) == 1
    assert "the generator makes values from -" in said[0]
    zs.train(tiny_recipe({"snapshot": 1}), source=tiny_source(), generator=Made(), out=tmp_path)
    assert "cut off" not in capsys.readouterr().err


@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_an_objective_may_be_given_by_its_name(objective: str, tmp_path: Path) -> None:
    run = zs.train(tiny_recipe({"steps": 1}), source=tiny_source(), objective=objective, out=tmp_path)
    assert run.recipe.objective == objective
    assert run.game.objective is OBJECTIVES[objective]


def test_the_trial_of_own_parts_changes_nothing() -> None:
    class Normed(Judge):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(64)

        def forward(self, images: Tensor, _: Tensor | None = None) -> Any:
            return self.layer(self.norm(images.flatten(1))).squeeze(1)

    generator, critic = Made(), Normed()
    keys: dict[str, Any] = {"penalties.r1.weight": 1.0, "penalties.gradient.weight": 1.0, "penalties.clip": 0.001}
    before = snapshot(generator), snapshot(critic)
    random = torch.get_rng_state()
    Run.prepare(tiny_recipe(keys), tiny_source(), generator, critic, OBJECTIVES["hinge"])
    assert same(before[0], snapshot(generator))
    assert same(before[1], snapshot(critic))
    assert torch.equal(random, torch.get_rng_state())
    assert all(weight.grad is None for player in (generator, critic) for weight in player.parameters())


SOURCES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "an array": (lambda s: s.images, "source is a ndarray: make one with zs.make_source"),
    "a class": (lambda _: zs.Source, "source is the class Source"),
    "a path": (lambda _: "digits", "source is a str: .* or pass data=PATH"),
    "floats": (lambda s: replace(s, stored=s.images / np.float32(255)), r"are float32 \(22, 1, 8, 8\): .* uint8"),
    "16 bits": (lambda s: replace(s, stored=s.images.astype(np.uint16)), "are uint16"),
    "int64": (lambda s: replace(s, stored=s.images.astype(np.int64)), "are int64"),
    "tensor": (lambda s: replace(s, stored=torch.from_numpy(s.images)), "are a Tensor: .* NumPy array"),
    "three axes": (lambda s: replace(s, stored=s.images[:, 0]), r"are uint8 \(22, 8, 8\)"),
    "channels": (
        lambda s: replace(s, stored=s.images.repeat(3, 1)),
        r"the source gives has shape \(2, 3, 8, 8\): it should be \(N, channel 1, ",
    ),
    "side": (
        lambda s: replace(s, stored=s.images[:, :, :7]),
        r"the source gives has shape \(2, 1, 7, 8\): it should be",
    ),
    "fewer labels": (lambda s: replace(s, labels=s.labels[:9]), "has 22 samples but 9 labels"),
    "list of labels": (lambda s: replace(s, labels=s.labels.tolist()), "labels of the source are a list"),
    "float labels": (lambda s: replace(s, labels=s.labels * 1.0), r"labels of the source are float64 \(22, 1\)"),
    "flat labels": (lambda s: replace(s, labels=s.labels[:, 0]), r"labels of the source are int64 \(22,\)"),
    "large labels": (lambda s: replace(s, labels=s.labels + 1), r"do not fit its spec, .*\{'class': 3\}"),
    "rows": (lambda s: replace(s, rows=np.arange(22) + 1), "rows of the source, 22 places of 22 samples, do not fit"),
    "empty": (lambda s: replace(s, stored=s.images[:0], labels=s.labels[:0]), "says that it has 0 samples"),
    "a lie": (lambda s: Lying(s.stored, s.labels, s.spec), "says that it has 1000 samples, but it holds 22"),
}


class Lying(PictureSource):
    def __len__(self) -> int:
        return 1000


@pytest.mark.parametrize("name", list(SOURCES))
def test_a_source_that_does_not_fit(name: str, tmp_path: Path) -> None:
    make, said = SOURCES[name]
    refused(tmp_path, said, source=make(tiny_source()))
