"""What is measured with: features that fit the data, real samples that fit the question, statistics of others."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pooch
import pytest
import torch
from torch import Tensor, nn

from tests.conftest import tiny_source
from zerosum.data.pictures.source import PictureSource, from_bytes, make_source
from zerosum.errors import ZerosumError
from zerosum.metrics.extractor import Extractor, from_module
from zerosum.metrics.features import Reals
from zerosum.metrics.pictures import classifier as classifiers
from zerosum.metrics.pictures.extractors import choose_extractor, has_usable_labels, known_name
from zerosum.metrics.pictures.features import random_features
from zerosum.metrics.request import Looking
from zerosum.metrics.result import Scores
from zerosum.metrics.vocabulary import kind_of
from zerosum.metrics.yardstick import make_yardstick, measure_against_statistics, save_statistics
from zerosum.sections.picture import PictureData

CPU = torch.device("cpu")
TRAINING, TESTING = tiny_source(count=300), tiny_source(count=120, seed=1)
FAKES = tiny_source(count=90, seed=2)
PILE = Reals.of(FAKES, "generated")


@pytest.fixture(scope="module", autouse=True)
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One for this file, with classifiers that learn in a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZEROSUM_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(classifiers, "STEPS", 60)
        yield


def relabelled(source: PictureSource, labels: Any, names: dict[str, tuple[str, ...]] | None = None) -> PictureSource:
    return make_source(source.images, np.asarray(labels), names)


def mistaken(source: PictureSource, wrong: int) -> PictureSource:
    labels = np.arange(len(source)) % 3
    labels[:wrong] = (labels[:wrong] + 1) % 3
    return relabelled(source, labels)


def refusal(action: Callable[[], object]) -> str:
    with pytest.raises(ZerosumError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# features


def test_labels_are_used_where_there_are_enough() -> None:
    assert make_yardstick(TRAINING, TESTING).extractor.name == "classifier"
    assert make_yardstick(TRAINING, TESTING, Looking("random")).extractor.name == "random"
    bare = make_yardstick(TRAINING.unlabelled(), TESTING.unlabelled())
    assert bare.extractor.name == "random"
    rare = relabelled(TRAINING, [2] * 19 + [0, 1] * 140 + [0])
    assert make_yardstick(rare, TESTING).extractor.name == "random"


@pytest.mark.parametrize(
    ("columns", "usable"),
    [
        ([[0] * 20 + [1] * 40], True),
        ([[0] * 19 + [1] * 41], False),
        ([[0] * 20 + [2] * 40], False),  # 1 has no image
        ([[0] * 60], False),
        ([[0] * 60, [0, 1] * 30], True),
        ([[0] * 3 + [1] * 57, [0, 1] * 30], False),
    ],
)
def test_usable_labels(columns: list[list[int]], usable: bool) -> None:
    names = {f"attribute {number}": tuple("abc"[: max(column) + 1]) for number, column in enumerate(columns)}
    source = relabelled(tiny_source(count=60), np.array(columns).T, names)
    assert has_usable_labels(source) == usable
    assert not has_usable_labels(source.unlabelled())


def test_a_poor_classifier_gives_way_to_random_features(capsys: pytest.CaptureFixture[str]) -> None:
    poor = mistaken(TESTING, 60)
    assert make_yardstick(TRAINING, poor).extractor.name == "random"
    said = capsys.readouterr().err
    assert "reads only 50.0% of held-out images right" in said
    assert said.endswith("Going on with random features\n")
    # but not where it was asked for by name
    assert "reads only 50.0%" in refusal(lambda: make_yardstick(TRAINING, poor, Looking("classifier")))


def test_well_known_data_must_be_read_better() -> None:
    good = mistaken(TESTING, 12)
    assert make_yardstick(TRAINING, good).extractor.facts == {"accuracy": 0.9}
    assert make_yardstick(TRAINING, good, data=PictureData(uri="cifar10")).extractor.name == "classifier"
    assert make_yardstick(TRAINING, good, data=PictureData(uri="mnist")).extractor.name == "random"


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        (None, None),
        ("mnist", "mnist"),
        ("/data/sets/mnist/", "mnist"),
        ("fashion-mnist", "fashion-mnist"),
        ("digits", "digits"),
        ("my-mnist", None),
        ("cifar10.zip", None),
    ],
)
def test_known_names(uri: str | None, name: str | None) -> None:
    assert known_name(uri) == name


def test_a_classifier_needs_labels() -> None:
    said = refusal(lambda: make_yardstick(TRAINING.unlabelled(), None, Looking("classifier")))
    assert "features = classifier: this data has no labels; use random features or Inception" in said


def test_networks_by_dotted_path() -> None:
    yardstick = make_yardstick(TRAINING, TESTING, Looking("torch.nn:Flatten"))
    assert yardstick.extractor.name == "Flatten"
    scores = yardstick.measure(PILE.batches(90), 90, True)
    assert next(iter(scores.scores)) == "fid90@Flatten"
    assert "'torch.nn:Flaten' cannot be imported" in refusal(lambda: choose("torch.nn:Flaten"))
    assert "'pathlib:Path' is no torch.nn.Module class" in refusal(lambda: choose("pathlib:Path"))


def choose(features: str | nn.Module, channels: int = 1) -> Extractor:
    return choose_extractor(features, tiny_source(8, channels).spec, CPU)


def test_networks_as_objects() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 5)).train()
    extractor = choose(network)
    assert (extractor.name, extractor.network, network.training) == ("Sequential", network, False)


@pytest.mark.parametrize(("word", "near"), [("clasifier", "classifier"), ("Inception", "inception"), ("x", "random")])
def test_an_unknown_word_is_answered_with_the_known_ones(word: str, near: str) -> None:
    said = refusal(lambda: make_yardstick(TRAINING.unlabelled(), None, Looking(word)))
    assert f"unknown features '{word}'" in said
    assert near in said


# Inception


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise ConnectionError("no route to host\nand a second line")

    monkeypatch.setattr(pooch, "retrieve", refuse)
    monkeypatch.delenv("ZEROSUM_INCEPTION", raising=False)
    monkeypatch.setenv("ZEROSUM_DATA", str(tmp_path / "data"))


@pytest.mark.usefixtures("offline")
def test_inception_is_missed_before_anything_long_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    def begin(*_: object) -> None:
        raise AssertionError("began with something long")

    monkeypatch.setattr(Reals, "features", begin)
    monkeypatch.setattr(classifiers, "_train", begin)
    said = refusal(lambda: make_yardstick(tiny_source(8, 3), None, Looking("inception")))
    assert "could not be downloaded (ConnectionError)" in said
    assert "ZEROSUM_INCEPTION" in said
    missing = Path("no/such/weights.pth")
    said = refusal(lambda: make_yardstick(TRAINING, None, Looking("inception", inception=missing)))
    assert "no/such/weights.pth: there is no such file" in said


@pytest.mark.usefixtures("offline")
def test_inception_reads_no_alpha() -> None:
    assert "these have an alpha channel" in refusal(lambda: choose("inception", 4))


class StandIn(nn.Module):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images.flatten(1)[:, :6], images.flatten(1).repeat(1, 16)[:, :1008]


def test_scores_in_inception(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its classes are not the data's; against the training samples the name says `full`, as the field's does."""
    asked: list[Path | None] = []

    def load(file: Path | None) -> nn.Module:
        asked.append(file)
        return StandIn()

    monkeypatch.setattr("zerosum.metrics.pictures.extractors.load_inception", load)
    for against, name in (("test", "fid90@inception"), ("train", "fid90_full@inception")):
        yardstick = make_yardstick(TRAINING, TESTING, Looking("inception", inception=Path("mine")), against=against)  # type: ignore[arg-type]
        scores = yardstick.measure(PILE.batches(90), 90, True)
        assert next(iter(scores.scores)) == name
        assert scores.value("inception_score") > 1
        assert "accuracy" not in {kind_of(one) for one in scores.scores}
        assert scores.stamp["reads"] == "TensorFlow 1 bilinear to 299x299"
    assert asked == [Path("mine")] * 2


# real samples


def test_the_test_split_is_compared_with() -> None:
    yardstick = make_yardstick(TRAINING, TESTING, Looking("random"))
    stamp, training = yardstick.stamp(90), Reals.of(TRAINING, "train")
    assert (stamp["real_split"], stamp["real_images"]) == ("test", 120)
    assert (stamp["real"], stamp["training"]) == (Reals.of(TESTING, "test").identity, training.identity)
    assert yardstick.other.identity == training.identity
    assert not yardstick.full


def test_or_the_training_images() -> None:
    yardstick = make_yardstick(TRAINING, TESTING, Looking("random"), against="train")
    stamp = yardstick.stamp(90)
    assert (stamp["real_split"], stamp["real"]) == ("train", stamp["training"])
    assert yardstick.other.identity == Reals.of(TESTING, "test").identity
    assert yardstick.full
    said = refusal(lambda: make_yardstick(TRAINING, None, Looking("random"), against="train"))
    assert "no test split" in said


def test_or_one_half_of_them() -> None:
    """The other half is the floor, and teaches the classifier; copies are looked for in both."""
    yardstick = make_yardstick(TRAINING, None)
    training = Reals.of(TRAINING, "train")
    stamp = yardstick.stamp(90)
    assert (stamp["real_split"], stamp["real_images"]) == ("half 2 of train", 150)
    assert (stamp["real"], stamp["training"]) == (training.half(1).identity, training.identity)
    assert yardstick.other.identity == training.half(0).identity
    assert not yardstick.full
    taught = classifiers.classifier(training.half(0), training.half(1), None, CPU)
    assert yardstick.extractor.digest == taught.digest
    assert yardstick.measure(training.batches(300), 300, True).value("memorised") == 1


# statistics


def against(path: Path, extractor: Extractor | None = None) -> Scores:
    return measure_against_statistics(extractor or random_features(1, 8, CPU), path, PILE.batches(90), 90)


def test_statistics_of_real_images_stand_for_them(tmp_path: Path) -> None:
    yardstick = make_yardstick(TRAINING, TESTING, Looking("random"))
    save_statistics(yardstick, tmp_path / "real.npz")
    with np.load(tmp_path / "real.npz") as file:
        assert set(file.files) == {"mu", "sigma"}
        rows = yardstick.reference.features(yardstick.extractor, 120).double().numpy()
        np.testing.assert_allclose(file["mu"], rows.mean(0), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(file["sigma"], np.cov(rows.T), rtol=1e-9, atol=1e-12)
    usual, scores = yardstick.measure(PILE.batches(90), 90, True), against(tmp_path / "real.npz")
    assert scores.scores == {"fid90@random": pytest.approx(usual.value("fid"), rel=1e-9)}
    assert (scores.errors, scores.floor, scores.classes, scores.pairs) == ({}, {}, {}, None)
    assert {key: scores.stamp[key] for key in ("network", "network_sha256", "real_split", "fake_images")} == {
        "network": "random",
        "network_sha256": yardstick.extractor.digest,
        "real_split": "statistics",
        "fake_images": 90,
    }
    # other statistics, other stamp
    save_statistics(make_yardstick(TRAINING, FAKES, Looking("random")), tmp_path / "other.npz")
    assert against(tmp_path / "other.npz").stamp["real"] != scores.stamp["real"]
    assert against(tmp_path / "other.npz").value("fid") == pytest.approx(0, abs=1e-6)


def test_statistics_of_another_network_are_refused(tmp_path: Path) -> None:
    save_statistics(make_yardstick(TRAINING, TESTING, Looking("random")), tmp_path / "real.npz")
    flat = from_module(nn.Flatten(), CPU, from_bytes)
    said = refusal(lambda: against(tmp_path / "real.npz", flat))
    assert "describes 256 features, Flatten gives 64: it was made by another network" in said
    for mu, sigma in (((1, 256), (256, 256)), ((256,), (256,)), ((255,), (255, 255))):
        np.savez(tmp_path / "odd.npz", mu=np.ones(mu), sigma=np.ones(sigma))
        assert "it was made by another network" in refusal(lambda: against(tmp_path / "odd.npz"))


@pytest.mark.parametrize("arrays", [{}, {"mu": np.zeros(256)}, {"mu": np.array([{}]), "sigma": np.eye(256)}])
def test_a_file_without_statistics_is_refused(arrays: dict[str, Any], tmp_path: Path) -> None:
    np.savez(tmp_path / "real.npz", **arrays)
    said = refusal(lambda: against(tmp_path / "real.npz"))
    assert f"{tmp_path / 'real.npz'}: no statistics file, an .npz with mu and sigma" in said


@pytest.mark.parametrize("content", [b"", b"no array at all"])
def test_what_is_no_file_of_arrays_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "real.npz").write_bytes(content)
    assert "no statistics file" in refusal(lambda: against(tmp_path / "real.npz"))
    assert "no statistics file" in refusal(lambda: against(tmp_path / "nowhere.npz"))


def test_the_number_of_images_is_checked_against_statistics_too(tmp_path: Path) -> None:
    path, extractor = tmp_path / "real.npz", random_features(1, 8, CPU)
    save_statistics(make_yardstick(TRAINING, TESTING, Looking("random")), path)
    said = refusal(lambda: measure_against_statistics(extractor, path, PILE.batches(1), 1))
    assert "1 images are too few to score" in said
    refusal(lambda: measure_against_statistics(extractor, path, PILE.batches(90), 89))
    refusal(lambda: measure_against_statistics(extractor, path, iter(()), 90))
