"""What scores make of input that does not fit, and of damaged or unwritable files."""

import tokenize
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import zerosum as zs
from tests.conftest import Call, tiny_recipe, tiny_source
from tests.data.make import colour, encoded, write
from zerosum.data.pictures.open import open_held_out, open_source
from zerosum.data.pictures.source import from_bytes
from zerosum.errors import ZerosumError
from zerosum.metrics.evaluate import Yardstick, compare
from zerosum.metrics.extractor import from_module
from zerosum.metrics.features import Reals
from zerosum.metrics.pictures import classifier as classifiers
from zerosum.metrics.pictures.extractors import choose_extractor
from zerosum.metrics.pictures.features import random_features
from zerosum.metrics.request import Looking
from zerosum.metrics.vocabulary import kind_of
from zerosum.metrics.yardstick import make_yardstick, measure_against_statistics
from zerosum.sections.picture import PictureData

CPU = torch.device("cpu")
FAKES, TESTING, TRAINING = tiny_source(count=80, seed=2), tiny_source(count=90, seed=1), tiny_source(count=150)


pytestmark = pytest.mark.usefixtures("quick_scores")


def refusal(action: Any) -> str:
    with pytest.raises(ZerosumError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_random_features_leave_torch_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    random_features(3, 16, CPU)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.usefixtures("empty_cache")
def test_it_leaves_torch_alone() -> None:
    """Trained, and out of the cache."""
    for _ in range(2):
        torch.manual_seed(1)
        expected = torch.rand(3)
        torch.manual_seed(1)
        classifiers.classifier(Reals.of(TRAINING, "train"), Reals.of(TESTING, "test"), None, CPU)
        assert torch.equal(torch.rand(3), expected)


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("ZEROSUM_CACHE", str(tmp_path / "file"))
    scores = make_yardstick(TRAINING, TESTING).measure(Reals.of(FAKES, "x").batches(80), 80, True)
    assert scores.stamp["network"] == "classifier"
    assert scores.floor
    assert (tmp_path / "file").read_text() == "no folder"


@pytest.mark.usefixtures("empty_cache")
def test_the_floor_of_halves() -> None:
    from tests.metrics.test_evaluate import READER

    reals = Reals.of(TRAINING, "train")
    yardstick = Yardstick(READER, reals.half(1), reals.half(0), reals)
    floor = {kind_of(name): value for name, value in yardstick.measure(reals.batches(90), 90, True).floor.items()}
    assert floor["accuracy"] == floor["worst_class_accuracy"] == 1


def test_a_digest_tells_networks_without_weights_apart() -> None:
    networks = [nn.AvgPool2d(2), nn.AvgPool2d(4), nn.MaxPool2d(2)]
    assert len({from_module(nn.Sequential(one, nn.Flatten()), CPU, from_bytes).digest for one in networks}) == 3


class Dictionary(nn.Module):
    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"features": images.flatten(1)}


class Triple(nn.Module):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, int]:
        return images.flatten(1), images.flatten(1), 0


class Number(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.sum()


@pytest.mark.parametrize("network", [Dictionary(), Triple(), Number(), nn.Conv2d(3, 4, 3), nn.Linear(5, 2)])
def test_a_network_that_does_not_fit_is_refused(network: nn.Module) -> None:
    images = torch.from_numpy(FAKES.images)
    assert f"the feature network {type(network).__name__}" in refusal(
        lambda: from_module(network, CPU, from_bytes).look(images)
    )


def test_a_network_of_too_many_features_is_refused() -> None:
    images = torch.zeros(2, 1, 129, 128, dtype=torch.uint8)
    assert "16,512 features for each sample" in refusal(lambda: from_module(nn.Flatten(), CPU, from_bytes).look(images))
    assert from_module(nn.Flatten(), CPU, from_bytes).look(images[:, :, 1:])[0].shape == (2, 16_384)


def test_a_network_by_path_is_made_without_arguments() -> None:
    said = refusal(lambda: choose_extractor("torch.nn:Linear", TRAINING.spec, CPU))
    assert "features 'torch.nn:Linear' cannot be made without arguments" in said


@pytest.mark.parametrize("harm", ["empty", "begun", "cut", "flipped", "bare"])
def test_damaged_statistics(harm: str, tmp_path: Path) -> None:
    path = tmp_path / "real.npz"
    np.savez_compressed(path, mu=np.zeros(256), sigma=np.random.default_rng(0).random((256, 256)))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    np.save(tmp_path / "bare.npy", np.eye(3))
    damaged = {
        "bare": (tmp_path / "bare.npy").read_bytes(),
        "empty": b"",
        "begun": b"PK\3\4...",
        "cut": path.read_bytes()[:500],
        "flipped": bytes(content),
    }
    path.write_bytes(damaged[harm])
    pile = Reals.of(FAKES, "x")
    extractor = random_features(1, 8, CPU)
    said = refusal(lambda: measure_against_statistics(extractor, path, pile.batches(80), 80))
    assert "no statistics file" in said
    assert str(path) in refusal(lambda: zs.score(FAKES.images, path, features="random"))


def test_statistics_must_be_numbers(tmp_path: Path) -> None:
    np.savez(tmp_path / "real.npz", mu=np.zeros(256), sigma=np.full((256, 256), np.nan))
    assert "NaN or infinity" in refusal(lambda: zs.score(FAKES.images, tmp_path / "real.npz", features="random"))


def test_a_test_split_without_labels(tmp_path: Path) -> None:
    """Half of the training samples then say how good the classifier is."""
    assert TRAINING.labels is not None
    files: dict[str, object] = {f"test/{i:03d}.png": encoded(image[0]) for i, image in enumerate(TESTING.images)}
    for i, (image, label) in enumerate(zip(TRAINING.images, TRAINING.labels[:, 0].tolist(), strict=True)):
        files[f"train/{label}/{i:03d}.png"] = encoded(image[0])
    folder = write(tmp_path / "set", files)
    scores = zs.score(FAKES.images, folder, fake_labels=FAKES.labels)
    assert scores.stamp["network"] == "classifier"
    assert scores.stamp["accuracy"] == 1
    assert (scores.stamp["real_split"], scores.stamp["real_images"]) == ("test", 90)
    plain = zs.score(FAKES.images, folder)
    assert plain.value("worst_class_share") == pytest.approx(1, abs=0.05)
    # labels that teach nothing are found out
    labels = np.random.default_rng(0).permutation(TRAINING.labels[:, 0])
    unlearnable = zs.make_source(TRAINING.images, labels)
    assert "held-out images right" in refusal(
        lambda: make_yardstick(unlearnable, TESTING.unlabelled(), Looking("classifier"))
    )


def test_a_checkpoint_of_a_run_object(tmp_path: Path) -> None:
    run = zs.train(tiny_recipe({"optimizer.lr": 0.01}), source=TRAINING, out=tmp_path)
    last, third = (zs.score(run, n=50, checkpoint=which).value("fid") for which in ("last", 3))
    assert third == pytest.approx(zs.score(run.place, TRAINING, n=50, checkpoint=3).value("fid"), rel=1e-6)
    assert third != pytest.approx(last, rel=1e-3)
    assert run.state.step == 6
    assert zs.score(run, n=50).value("fid") == last
    assert "no checkpoint '5'" in refusal(lambda: zs.score(run, checkpoint=5))


@pytest.mark.parametrize("n", [1, 0, -5])
def test_too_few_images_to_ask_for(n: int) -> None:
    assert f"{n} samples are too few to score" in refusal(lambda: zs.score(FAKES, TESTING, n=n))


def test_labels_must_be_integers() -> None:
    labels = ["cat"] * 80
    assert "integers" in refusal(lambda: zs.score(FAKES.images, TESTING, fake_labels=labels))
    assert "integers" in refusal(lambda: zs.score(FAKES.images, TESTING, fake_labels=np.full(80, 0.5)))


def test_a_header_that_cannot_be_parsed(empty_cache: Path) -> None:
    reals, extractor = Reals.of(TRAINING, "train"), random_features(1, 8, CPU)
    expected = reals.features(extractor, 150)
    (file,) = (empty_cache / "features").iterdir()
    content = bytearray(file.read_bytes())
    content[69] = 59
    file.write_bytes(content)
    with file.open("rb") as opened, pytest.raises(tokenize.TokenError):
        np.load(opened)
    assert torch.equal(reals.features(extractor, 150), expected)
    file.write_bytes(b"PK\3\4" + bytes(100))
    assert torch.equal(reals.features(extractor, 150), expected)
    with file.open("wb") as opened:
        np.savez(opened, expected.numpy())
    assert torch.equal(reals.features(extractor, 150), expected)


def test_held_out_images_are_like_the_training_images(tmp_path: Path) -> None:
    grey = {f"test/{i}.png": encoded(TESTING.images[i, 0].repeat(3, 0).repeat(3, 1)) for i in range(3)}
    data = PictureData(uri=str(write(tmp_path, {f"train/{i}.png": colour(i) for i in range(3)} | grey)))
    training = open_source(data)[0]
    held_out = open_held_out(data, training.spec)
    assert held_out is not None
    assert (held_out.spec.channels, held_out.spec.native) == (3, 16)


def test_a_test_split_of_another_size_is_refused() -> None:
    said = refusal(lambda: make_yardstick(TRAINING, tiny_source(4), Looking("random")))
    assert "training samples are 1x8x8, those of the test split 1x4x4" in said


def test_attributes_that_training_did_not_use(tmp_path: Path) -> None:
    """A recipe without a condition reads all labels, whatever data.attributes says, and so do its scores."""
    assert TRAINING.labels is not None
    files: dict[str, object] = {
        f"{label}/{i:03d}.png": encoded(image[0])
        for i, (image, label) in enumerate(zip(TRAINING.images, TRAINING.labels[:, 0].tolist(), strict=True))
    }
    data: dict[str, Any] = {"uri": str(write(tmp_path / "data", files)), "attributes": {"nonsense": None}}
    run = zs.train(tiny_recipe({"data": data}), out=tmp_path / "runs")
    assert zs.score(run.place, n=50).stamp["network"] == "classifier"


def test_nothing_to_compare() -> None:
    assert "no scores to compare" in refusal(lambda: compare({}))


def test_against_what() -> None:
    wrong: Any = "tset"
    said = refusal(lambda: make_yardstick(TRAINING, TESTING, Looking("random"), against=wrong))
    assert "choose test or train" in said


def test_scores_that_cannot_be_kept_are_shown(tmp_path: Path, call: Call) -> None:
    run = zs.train(tiny_recipe({"data.uri": "digits"}), out=tmp_path)
    (run.place / "scores.jsonl").mkdir()  # nothing can be written there
    code, out, err = call("score", str(run.place), "--features", "random", "--n", "60")
    assert code == 0
    assert "fid60@random" in out
    assert "cannot be kept" in err


def test_another_number_than_said_against_statistics(tmp_path: Path) -> None:
    np.savez(tmp_path / "real.npz", mu=np.zeros(256), sigma=np.eye(256))
    extractor, pile = random_features(1, 8, CPU), Reals.of(FAKES, "x")
    said = refusal(lambda: measure_against_statistics(extractor, tmp_path / "real.npz", pile.batches(80), 79))
    assert "80 images came where 79 were to be scored" in said
