"""The classifier of the data: it learns, it says honestly how well, it is kept, and it is refused where it is poor."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.conftest import tiny_source
from zerosum.data.pictures.open import open_held_out, open_source
from zerosum.data.pictures.source import PictureSource, make_source
from zerosum.data.pictures.spec import PictureSpec
from zerosum.errors import ZerosumError
from zerosum.metrics.extractor import Extractor
from zerosum.metrics.features import Reals
from zerosum.metrics.pictures import classifier as classifiers
from zerosum.metrics.pictures.classifier import Classifier, required
from zerosum.sections.picture import PictureData

CPU = torch.device("cpu")
Labels = np.ndarray[Any, np.dtype[np.int64]]


@pytest.fixture(autouse=True)
def in_a_hurry(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifiers, "STEPS", 60)


def with_labels(source: PictureSource, labels: Labels) -> PictureSource:
    return make_source(source.images, labels, source.spec.labels)


def muddled(source: PictureSource, wrong: int, column: int = 0) -> PictureSource:
    """The first so many images have a wrong label."""
    assert source.labels is not None
    labels = source.labels.copy()
    labels[:wrong, column] = (labels[:wrong, column] + 1) % source.spec.sizes[column]
    return with_labels(source, labels)


def build(training: PictureSource, held_out: PictureSource, name: str | None = None, bf16: bool = False) -> Extractor:
    return classifiers.classifier(Reals.of(training, "train"), Reals.of(held_out, "test"), name, CPU, bf16)


def refusal(training: PictureSource, held_out: PictureSource, name: str | None = None) -> str:
    with pytest.raises(ZerosumError) as caught:
        build(training, held_out, name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def read_right(extractor: Extractor, source: PictureSource) -> float:
    """Share of images of which every attribute is read right, counted one image at a time."""
    assert source.labels is not None
    _, logits = extractor.look(torch.from_numpy(source.images))
    assert logits is not None
    right = 0
    for row, wanted in zip(logits.tolist(), source.labels.tolist(), strict=True):
        found, start = [], 0
        for size in source.spec.sizes:
            part = row[start : start + size]
            found.append(part.index(max(part)))
            start += size
        right += found == wanted
    return right / len(source)


def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*_: object) -> float:
        raise AssertionError("trained again")

    monkeypatch.setattr(classifiers, "_train", train)


TRAINING, HELD_OUT = tiny_source(count=300), tiny_source(count=100, seed=1)


@pytest.mark.parametrize("bf16", [False, True])
def test_it_learns_what_can_be_learnt(bf16: bool) -> None:
    extractor = build(TRAINING, HELD_OUT, bf16=bf16)
    assert extractor.facts == {"accuracy": 1.0}
    assert read_right(extractor, HELD_OUT) == 1.0
    assert (extractor.name, extractor.sizes, extractor.labelled) == ("classifier", (3,), True)


def test_its_features() -> None:
    extractor = build(TRAINING, HELD_OUT)
    images = torch.from_numpy(HELD_OUT.images)
    found, logits = extractor.look(images)
    assert logits is not None
    assert (found.shape, logits.shape) == ((100, 128), (100, 3))
    assert (found >= 0).all()
    assert found.std() > 0.01
    assert not found.requires_grad
    # images do not depend on their company, as they would in training
    assert not extractor.network.training
    alone, _ = extractor.look(images[:1])
    torch.testing.assert_close(alone, found[:1], rtol=1e-4, atol=1e-4)


def test_the_accuracy_is_that_on_held_out_images() -> None:
    held_out = muddled(HELD_OUT, 23)
    extractor = build(TRAINING, held_out)
    assert extractor.facts["accuracy"] == read_right(extractor, held_out) == 0.77


def test_several_attributes_must_all_be_right() -> None:
    def source(count: int, seed: int) -> PictureSource:
        """The left half is bright or dark, and so is the right half."""
        random = np.random.default_rng(seed)
        labels = random.integers(0, 2, (count, 2))
        images = random.integers(0, 100, (count, 1, 8, 8)) + labels.repeat(4, 1)[:, None, None] * 150
        names: dict[str, tuple[str, ...]] = {"left": ("dark", "bright"), "right": ("dark", "bright")}
        return make_source(images.astype(np.uint8), labels, names)

    held_out = muddled(muddled(source(100, 1), 10, 0), 30, 1)
    extractor = build(source(300, 0), held_out)
    assert extractor.sizes == (2, 2)
    assert extractor.facts["accuracy"] == read_right(extractor, held_out) == 0.7


def test_an_image_is_read_without_its_company() -> None:
    """Held-out images of one class, whose brightness would be lost if they were normalised together."""
    assert HELD_OUT.labels is not None
    bright = HELD_OUT.labels[:, 0] == 2
    one_class = make_source(HELD_OUT.images[bright], HELD_OUT.labels[bright], HELD_OUT.spec.labels)
    assert build(TRAINING, one_class).facts == {"accuracy": 1.0}


def test_it_learns_from_one_pile_and_is_tested_with_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[int]] = []
    floats = PictureSource.floats

    def recorded(self: PictureSource, index: Labels, *rest: Any) -> Tensor:
        seen.append(index.tolist())
        return floats(self, index, *rest)

    reals = Reals.of(TRAINING, "train")
    first, second = reals.half(0), reals.half(1)
    assert first.identity != second.identity
    monkeypatch.setattr(PictureSource, "floats", recorded)
    extractor = classifiers.classifier(first, second, None, CPU)
    learnt = {place for batch in seen[:60] for place in batch}
    tested = [place for batch in seen[60:] for place in batch]
    assert all(len(batch) == 128 for batch in seen[:60])
    assert learnt == {*first.order.tolist()}
    assert sorted(tested) == sorted(second.order.tolist())
    assert extractor.facts == {"accuracy": 1.0}


# the cache


def test_it_is_trained_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    held_out = muddled(HELD_OUT, 10)
    first = build(TRAINING, held_out)
    assert "reads 90.00% of held-out images right" in capsys.readouterr().err
    no_training(monkeypatch)
    again = build(tiny_source(count=300), held_out)
    assert (again.digest, again.facts) == (first.digest, first.facts)
    assert capsys.readouterr().err == ""
    for training, testing in ((TRAINING, HELD_OUT), (muddled(TRAINING, 1), held_out)):
        with pytest.raises(AssertionError, match="trained again"):
            build(training, testing)


def test_it_is_always_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever torch's random numbers are."""
    digests = set()
    for seed in (1, 2):
        torch.manual_seed(seed)
        monkeypatch.setenv("ZEROSUM_CACHE", str(tmp_path / str(seed)))
        digests.add(build(TRAINING, HELD_OUT).digest)
    assert len(digests) == 1


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def scribble(path: Path) -> None:
    path.write_bytes(b"no weights at all" * 10)


def forget_accuracy(path: Path) -> None:
    save_file(load_file(path), path)


def mistake_accuracy(path: Path) -> None:
    save_file(load_file(path), path, {"accuracy": "very good"})


def take_another(path: Path) -> None:
    save_file({name: value.clone() for name, value in Classifier(1, 8, (7,)).state_dict().items()}, path)


def lose_a_weight(path: Path) -> None:
    weights = load_file(path)
    del weights["logits.bias"]
    save_file(weights, path, {"accuracy": "1.0"})


@pytest.mark.parametrize(
    "harm", [cut, empty, scribble, forget_accuracy, mistake_accuracy, take_another, lose_a_weight, Path.unlink]
)
def test_a_damaged_file_is_made_again(
    harm: Callable[[Path], None], empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifiers, "STEPS", 25)
    first = build(TRAINING, HELD_OUT)
    (file,) = (empty_cache / "classifiers").iterdir()
    harm(file)
    again = build(TRAINING, HELD_OUT)
    assert (again.digest, again.facts) == (first.digest, first.facts)
    no_training(monkeypatch)
    assert build(TRAINING, HELD_OUT).digest == first.digest
    assert list((empty_cache / "classifiers").iterdir()) == [file]


# what is required


def test_the_bars() -> None:
    assert classifiers.KNOWN == {"mnist": 0.985, "fashion-mnist": 0.88, "cifar10": 0.65, "digits": 0.95}
    spec = PictureSpec.of(1, 8, 8, {"class": ("a", "b")}, ((0,), (1,)), (30, 10))
    assert {name: required(name, spec) for name in classifiers.KNOWN} == classifiers.KNOWN
    # elsewhere halfway between always saying "a" and no error
    assert required(None, spec) == required("faces", spec) == 0.875


def test_what_cannot_be_learnt_is_refused() -> None:
    labels = np.random.default_rng(0).permutation(np.arange(300) % 3)
    said = refusal(with_labels(TRAINING, labels), HELD_OUT)
    assert "where 66.7% is required" in said
    assert "random features, Inception, or your own network" in said


def test_a_poor_one_is_not_trained_again_to_be_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    held_out = muddled(HELD_OUT, 50)
    said = refusal(TRAINING, held_out)
    assert "reads only 50.0% of held-out images right where 66.7% is required" in said
    no_training(monkeypatch)
    assert refusal(TRAINING, held_out) == said


def test_well_known_data_has_a_bar_of_its_own() -> None:
    held_out = muddled(HELD_OUT, 10)
    assert build(TRAINING, held_out, "cifar10").facts["accuracy"] == 0.9
    assert "reads only 90.0% of held-out images right where 98.5%" in refusal(TRAINING, held_out, "mnist")


@pytest.mark.parametrize("side", [4, 7, 8, 28, 33, 64])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_any_side(side: int, channels: int) -> None:
    network = Classifier(channels, side, (2, 3)).eval()
    found, logits = network(torch.zeros(2, channels, side, side))
    assert (found.shape, logits.shape) == ((2, 128), (2, 5))


def test_colour() -> None:
    extractor = build(tiny_source(8, 3, 300), tiny_source(8, 3, 100, seed=1))
    assert extractor.facts == {"accuracy": 1.0}


# real samples


def test_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifiers, "STEPS", 150)
    data = PictureData(uri="digits")
    training, _ = open_source(data)
    held_out = open_held_out(data, training.spec)
    assert held_out is not None
    extractor = build(training, held_out, "digits")
    assert 0.95 <= extractor.facts["accuracy"] < 1
    assert extractor.facts["accuracy"] == pytest.approx(read_right(extractor, held_out), abs=1e-5)


@pytest.mark.slow
def test_mnist(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # with as many steps as a person gets, in the cache of these tests
    data = PictureData(uri=str(real_data / "mnist"))
    training, _ = open_source(data)
    held_out = open_held_out(data, training.spec)
    assert held_out is not None
    extractor = build(training, held_out, "mnist")
    assert extractor.facts["accuracy"] >= 0.985
