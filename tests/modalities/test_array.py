"""Arrays of any shape that somebody hands over: each trains, or one line says what to do."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

import zerosum as zs
from tests.conftest import same
from zerosum.engine.runs.files import read_lines
from zerosum.engine.training.state import tensors_of

pytestmark = pytest.mark.usefixtures("undrawn")

COUNT = 64
MLP = {"network": "mlp", "first": 16, "hidden": [16]}
DCGAN = {"network": "dcgan", "width": 4}


class Things(Dataset[Any]):
    """Samples with a class beside each."""

    def __init__(self, samples: Any) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, at: int) -> tuple[Any, int]:
        return torch.from_numpy(self.samples[at]), at % 2


class Endless(Dataset[Any]):
    def __getitem__(self, at: int) -> int:
        return at


def noise(*shape: int) -> Any:
    return np.random.default_rng(0).normal(5, 3, (COUNT, *shape)).astype(np.float32)


def whole(most: int, *shape: int) -> Any:
    return np.random.default_rng(0).integers(0, most, (COUNT, *shape))


def train(source: zs.Source, out: Path, network: dict[str, Any] = MLP, **keys: Any) -> zs.Run:
    said: dict[str, Any] = {"steps": 4, "batch": 8, "latent": {"size": 6}, "condition": {"method": "none"}}
    said |= {"precision": "fp32", "device": "cpu", "tick": 1, "checkpoint": 2, "snapshot": 1000}
    said |= {"scores": {"every": 2, "images": 50}, "generator": network, "critic": network}
    return zs.train("digits", source=source, out=out, **said | keys)


#: name -> samples, what else is said of them, the networks, and the shape, lowest and highest value that come out
ATTEMPTS: dict[str, tuple[Callable[[], Any], dict[str, Any], dict[str, Any], tuple[int, ...], float, float]] = {
    "table": (lambda: noise(5), {}, MLP, (5,), -12, 22),
    "bytes": (lambda: whole(256, 5).astype(np.uint8), {}, MLP, (5,), 0, 255),
    "series": (lambda: noise(3, 64), {}, MLP, (3, 64), -12, 22),
    "roll": (lambda: whole(2, 1, 96, 128) > 0, {"values": "signed"}, MLP, (1, 96, 128), 0, 1),
    "tokens": (lambda: whole(28, 32), {"values": "one-hot"}, MLP, (32,), 0, 27),
    "volume": (lambda: noise(1, 8, 8, 8), {}, MLP, (1, 8, 8, 8), -12, 22),
    "five channels": (lambda: noise(5, 16, 16), {}, DCGAN, (5, 16, 16), -12, 22),
    "quantities": (lambda: whole(1000, 7), {"values": "signed"}, MLP, (7,), 0, 999),
    "five axes": (lambda: noise(2, 2, 2, 2, 2), {"axes": ("a", "b", "c", "d", "e")}, MLP, (2,) * 5, -12, 22),
    "floats of pictures": (lambda: noise(3, 16, 16).clip(0, 10) / 10, {}, DCGAN, (3, 16, 16), -1, 1),
    "16 bits": (lambda: whole(65_536, 3, 16, 16).astype(np.uint16), {}, DCGAN, (3, 16, 16), -1, 1),
    "masks": (lambda: whole(2, 1, 16, 16) > 0, {}, DCGAN, (1, 16, 16), -1, 1),
    "data set": (lambda: Things(noise(3, 8)), {}, MLP, (3, 8), -12, 22),
    "data set of pictures": (lambda: Things(whole(256, 3, 16, 16).astype(np.uint8)), {}, DCGAN, (3, 16, 16), -1, 1),
}


@pytest.mark.parametrize("name", ATTEMPTS)
def test_each_trains_and_goes_on_to_the_bit(name: str, tmp_path: Path) -> None:
    make, more, network, shape, low, high = ATTEMPTS[name]
    run = train(zs.make_source(make(), **more), tmp_path / "a", network)
    samples = run.sample(3)
    assert samples.shape == (3, *shape)
    assert samples.dtype == (torch.int64 if name == "tokens" else torch.float32)
    assert low <= samples.min().item() <= samples.max().item() <= high
    assert len(set(map(str, samples.reshape(3, -1).tolist()))) > 1
    assert (run.place / "samples" / "000004.png").is_file()
    assert (run.place / "reals.png").is_file()
    assert {line["name"] for line in read_lines(run.place / "scores.jsonl")} >= {"fid50@random", "diversity50@random"}
    assert torch.equal(zs.load(run.place).sample(3), samples)
    half = train(zs.make_source(make(), **more), tmp_path / "b", network, steps=2)
    resumed = zs.resume(half.place, source=zs.make_source(make(), **more), steps=4)
    assert same(tensors_of(run.state), tensors_of(resumed.state))


#: what is wrong, samples, and what the one line says
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "NaN": (lambda: np.array([[1.0, np.nan]] * 4), "NaN or infinity: leave such samples out, or fill them"),
    "constant": (lambda: np.ones((4, 5)), "all values of the samples are 1: there is nothing to learn"),
    "strings": (lambda: np.array([["a", "b"]] * 4), "samples are <U1: they should be numbers"),
    "lists of strings": (lambda: [["a", "b"]] * 4, "they should be numbers"),
    "whole numbers": (lambda: whole(28, 32), r"values='signed'\) or make_source\(samples, values='one-hot'\)"),
    "not square": (lambda: noise(1, 6, 8), r"another shape: make_source\(samples, values='signed'\)"),
    "ragged": (lambda: [[1, 2], [1]], "of which no array can be made"),
    "none": (lambda: np.zeros((0, 5)), r"\(0, 5\): they should be \(N, ...\)"),
    "one axis": (lambda: np.zeros(5), "with an axis beside the first"),
    "six axes": (lambda: noise(2, 2, 2, 2, 2), "name each of their axes"),
    "endless": (Endless, "a Dataset without a length"),
    "unlike": (lambda: Things([np.zeros(n) for n in (1, 2)]), "of the Dataset differ in shape"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_learnt_is_refused(name: str) -> None:
    make, said = REFUSED[name]
    with pytest.raises(zs.ZerosumError, match=said) as refused:
        zs.make_source(make())
    assert "\n" not in str(refused.value)


def test_words_beyond_whole_numbers_are_refused() -> None:
    for samples, values, said in (
        (noise(4), "one-hot", "names are whole numbers"),
        (whole(9, 4) - 5, "one-hot", "names are whole numbers"),
        (noise(4), "onehot", "should be 'signed' or 'one-hot'"),
    ):
        with pytest.raises(zs.ZerosumError, match=said):
            zs.make_source(samples, values=values)


def test_a_recipe_of_pictures_says_what_does_not_fit(tmp_path: Path) -> None:
    source = zs.make_source(noise(5))
    with pytest.raises(zs.ZerosumError, match="has no labels"):
        zs.train("digits", source=source, out=tmp_path, steps=1, batch=8)
    wrong = re.escape("generator.network = dcgan is not for array data with samples of column: choose from mlp")
    with pytest.raises(zs.ZerosumError, match=wrong):
        zs.train("digits", source=source, out=tmp_path, steps=1, batch=8, condition={"method": "none"})
    tokens = zs.make_source(whole(28, 32), values="one-hot")
    with pytest.raises(zs.ZerosumError, match=r"choose from mlp"):
        train(tokens, tmp_path, DCGAN)
    assert not list(tmp_path.iterdir())


def test_files_and_scores(tmp_path: Path, call: Any) -> None:
    samples = noise(5)
    run = train(zs.make_source(samples), tmp_path)
    out = tmp_path / "made.npy"
    assert call("sample", str(run.place), "--n", "40", "--out", str(out))[0] == 0
    made = np.load(out)
    assert np.array_equal(made, run.sample(40).numpy())
    assert np.array_equal(made, run.gan.decode(run.sample(40)))
    code, _, err = call("sample", str(run.place), "--n", "4", "--out", str(tmp_path / "made.png"))
    assert (code, err.count("\n")) == (2, 1)
    assert ".npy" in err
    # the run in hand knows its source; its folder asks for it again
    scores = zs.score(run, n=50)
    again = zs.score(run.place, zs.make_source(samples), n=50)
    assert scores.scores == again.scores
    assert scores.scores["fid50@random"] > 3 * scores.floor["fid50@random"] > 0
    with pytest.raises(zs.ZerosumError, match="pass it again, real=source"):
        zs.score(run.place, n=50)


def test_classes_are_learnt_beside_arrays(tmp_path: Path) -> None:
    labels = np.arange(COUNT) % 2
    samples = (labels[:, None] * 2.0 - 1) * np.ones((1, 4)) + np.random.default_rng(0).normal(0, 0.1, (COUNT, 4))
    source = zs.make_source(samples, labels, {"side": ("low", "high")})
    keys: dict[str, Any] = {"steps": 250, "condition": {"method": "join"}, "optimizer": {"lr": 0.003}}
    run = train(source, tmp_path, MLP | {"labels": 16}, **keys | {"checkpoint": 1000, "scores": {"every": 0}})

    def mean(label: str) -> float:
        drawn: Tensor = run.sample(64, label=label)
        return drawn.mean().item()

    assert mean("high") - mean("low") > 1
