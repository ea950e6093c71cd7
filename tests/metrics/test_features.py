"""Features: networks with their digests, and real samples with an identity, an order and a cache."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.conftest import same, snapshot, tiny_source
from zerosum.data.cache import keep
from zerosum.data.pictures.arrays import read_digits
from zerosum.data.pictures.fit import Pixels
from zerosum.data.pictures.source import PictureSource, from_bytes, make_source
from zerosum.errors import ZerosumError
from zerosum.metrics import features
from zerosum.metrics.extractor import Extractor, from_module
from zerosum.metrics.features import Reals
from zerosum.metrics.pictures.features import RandomFeatures, random_features
from zerosum.metrics.scores import Moments, frechet_distance

CPU = torch.device("cpu")

pytestmark = pytest.mark.usefixtures("empty_cache")


class Mean(nn.Module):
    """The brightness of an image as its only feature."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1).mean(1, keepdim=True)


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 4)
        self.register_buffer("shift", torch.zeros(()))
        with torch.no_grad():
            self.layer.weight.copy_(torch.linspace(-1, 1, 256).view(4, 64))
            self.layer.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = self.layer(images.flatten(1)) + self.shift
        return result


class OtherLayer(Layer):
    pass


def pixels(count: int = 12, channels: int = 1, side: int = 8) -> Tensor:
    return torch.from_numpy(tiny_source(side, channels, count).images)


def refusal(network: nn.Module, images: Tensor) -> str:
    with pytest.raises(ZerosumError) as caught:
        from_module(network, CPU, from_bytes).look(images)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# extractors


def test_a_digest_tells_networks_apart() -> None:
    usual = from_module(Layer(), CPU, from_bytes)
    weight, bias, buffer = Layer(), Layer(), Layer()
    with torch.no_grad():
        weight.layer.weight[2, 5] += 1e-6
        bias.layer.bias[0] = 1e-30
        torch.as_tensor(buffer.shift).fill_(1e-30)
    others = [from_module(network, CPU, from_bytes) for network in (weight, bias, buffer, OtherLayer())]
    others += [replace(usual, name="else"), replace(usual, reads="otherwise")]
    assert len({usual.digest, *(other.digest for other in others)}) == 1 + len(others)
    assert len(usual.digest) == 16


def test_a_digest_is_of_what_a_network_computes_alone() -> None:
    network = RandomFeatures(3, 16)
    usual = from_module(network, CPU, from_bytes).digest
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.train()
    assert replace(from_module(network, CPU, from_bytes), batch=3, labelled=True).digest == usual


def test_a_network_reads_pixels_from_minus_one_to_one() -> None:
    images = torch.tensor([0, 51, 255, 128], dtype=torch.uint8).view(4, 1, 1, 1)
    found, logits = from_module(nn.Flatten(), CPU, from_bytes).look(images)
    assert found.dtype == torch.float32
    assert found[:3].flatten().tolist() == pytest.approx([-1, -0.6, 1])
    assert logits is None


@pytest.mark.parametrize("batch", [1, 5, 12])
def test_features_do_not_depend_on_the_company(batch: int) -> None:
    extractor, images = random_features(1, 8, CPU), pixels()
    whole, _ = extractor.look(images)
    parts, _ = replace(extractor, batch=batch).look(images)
    torch.testing.assert_close(parts, whole, rtol=1e-5, atol=1e-6)
    assert (whole[0] - whole[1]).norm() > 1  # and rows differ by far more


class Whole(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images


class OneRow(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1).mean(0, keepdim=True)


class Nothing(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) / 0


def test_a_network_must_give_a_row_for_each_image() -> None:
    said = refusal(Whole(), pixels())
    assert "Whole gives (12, 1, 8, 8) for 12 samples: it should give one row of features for each" in said
    assert "OneRow gives (1, 64) for 12 samples" in refusal(OneRow(), pixels())


def test_features_must_be_numbers() -> None:
    assert "Nothing gives NaN or infinity" in refusal(Nothing(), pixels())


class Pair(nn.Module):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images.flatten(1)[:, :3], images.flatten(1)[:, :2]


def test_logits_come_where_there_are_classes() -> None:
    images = pixels()
    bare = from_module(Pair(), CPU, from_bytes)
    found, none = bare.look(images)
    with_classes, logits = replace(bare, sizes=(2,), batch=5).look(images)
    assert none is None
    assert found.shape == (12, 3)
    assert logits is not None
    assert torch.equal(found, with_classes)
    assert torch.equal(logits, found[:, :2])


def test_a_module_is_used_in_evaluation_mode() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Dropout(0.5))
    before, images = snapshot(network), pixels()
    extractor = from_module(network.train(), CPU, from_bytes)
    first, second = extractor.look(images)[0], extractor.look(images)[0]
    assert torch.equal(first, second)
    assert not first.requires_grad
    assert same(before, snapshot(network))
    torch.testing.assert_close(first, images.flatten(1) / 127.5 - 1, rtol=1e-4, atol=1e-4)


# random features


def test_random_features_are_always_the_same() -> None:
    made = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        made.append(RandomFeatures(3, 16))
    assert same(snapshot(made[0]), snapshot(made[1]))
    first = next(made[0].parameters())
    assert first.std() == pytest.approx((2 / (3 * 16)) ** 0.5, rel=0.1)
    assert not any(weight.requires_grad for weight in made[0].parameters())


@pytest.mark.parametrize("side", [4, 8, 28, 33, 64])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_random_features_see_every_corner(side: int, channels: int) -> None:
    extractor = random_features(channels, side, CPU)
    images = torch.full((5, channels, side, side), 128, dtype=torch.uint8)
    for number, (row, column) in enumerate([(0, 0), (0, -1), (-1, 0), (-1, -1)], 1):
        images[number, -1, row, column] = 255
    found, logits = extractor.look(images)
    assert found.shape == (5, 256)
    assert logits is None
    assert torch.pdist(found).min() > 1e-3


def test_random_features_of_other_data_are_another_network() -> None:
    digests = {random_features(channels, side, CPU).digest for channels in (1, 3) for side in (8, 16)}
    assert len(digests) == 4


def test_random_features_order_piles() -> None:
    """The more noise, the farther away."""
    extractor, random = random_features(1, 8, CPU), np.random.default_rng(0)
    real, fake = (read_digits(split)[0][:, None] for split in ("train", "test"))
    noise = random.normal(0, 1, fake.shape)

    def moments(images: Pixels) -> Moments:
        found, _ = extractor.look(torch.from_numpy(images))
        return Moments(256).add(found)

    reference, distances = moments(real), []
    for size in (0, 20, 40, 80):
        noisy = moments(np.clip(fake + noise * size, 0, 255).astype(np.uint8))
        distances.append(frechet_distance(reference.mean, reference.covariance, noisy.mean, noisy.covariance))
    assert all(1.1 * near < far for near, far in itertools.pairwise(distances))


# real samples


def padded(source: PictureSource, by: int) -> PictureSource:
    images = np.pad(source.images, ((0, 0), (0, 0), (by, by), (by, by)), mode="edge")
    return make_source(images, source.labels, source.spec.labels, native=source.spec.native)


def test_images_keep_their_identity_when_padded() -> None:
    source = tiny_source(28)
    bigger = padded(source, 2)
    assert bigger.spec.resolution == 32
    reals, others = Reals.of(source, "train"), Reals.of(bigger, "train")
    assert reals.identity == others.identity
    assert torch.equal(reals.samples(0, 22), others.samples(0, 22))
    # at another side they are others
    assert Reals.of(padded(source, 1), "train").identity == reals.identity
    assert Reals.of(make_source(bigger.images, source.labels), "train").identity != reals.identity


def changed(source: PictureSource, what: str) -> PictureSource:
    images, labels, names = source.images.copy(), source.labels, source.spec.labels
    assert labels is not None
    match what:
        case "a pixel":
            images[7, 0, 3, 3] ^= 1
        case "two images":
            images[[0, 3]] = images[[3, 0]]  # of one class
        case "a label":
            labels = labels.copy()
            labels[7] = (labels[7] + 1) % 3
        case "an image less":
            images, labels = images[:-1], labels[:-1]
        case "no labels":
            return source.unlabelled()
        case "names":
            names = {"class": ("0", "2", "1")}
        case "the attribute":
            names = {"kind": ("0", "1", "2")}
    return make_source(images, labels, names)


@pytest.mark.parametrize(
    "what", ["a pixel", "two images", "a label", "an image less", "no labels", "names", "the attribute"]
)
def test_identity_tells_data_apart(what: str) -> None:
    source = tiny_source()
    usual = Reals.of(source, "train").identity
    assert Reals.of(tiny_source(), "test").identity == usual  # whatever they are called
    assert Reals.of(changed(source, ""), "train").identity == usual
    assert Reals.of(changed(source, what), "train").identity != usual


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_identity_of_a_large_set_reads_some_of_it(channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    source, rows = tiny_source(8, channels, 60), []
    floats = PictureSource.floats

    def counted(self: PictureSource, index: np.ndarray[tuple[int], np.dtype[np.int64]], *rest: Any) -> Tensor:
        rows.extend(index.tolist())
        return floats(self, index, *rest)

    monkeypatch.setattr(PictureSource, "floats", counted)
    monkeypatch.setattr(features, "CHUNK", 15)
    monkeypatch.setattr(features, "BATCH", 4)
    assert len(Reals.of(source, "train").identity) == 16
    assert len(rows) == len(set(rows)) == 15


def test_identities_of_pictures_are_those_of_earlier_versions() -> None:
    """Else scores that were made before could not be compared with new ones."""
    assert Reals.of(tiny_source(8, 3, 20), "train").identity == "e287f2bf059766cd"
    assert Reals.of(tiny_source(8, 1, 20, labelled=False), "train").identity == "11b0be5a891b9edf"


def test_the_order_is_mixed_but_always_the_same() -> None:
    source = tiny_source(count=60)
    order = Reals.of(source, "train").order
    assert sorted(order) == list(range(60))
    assert abs(np.corrcoef(order, np.arange(60))[0, 1]) < 0.5
    np.testing.assert_array_equal(order, Reals.of(tiny_source(count=60, seed=1), "test").order)


@pytest.mark.parametrize("count", [22, 23])
def test_halves_share_nothing_and_leave_nothing_out(count: int) -> None:
    reals = Reals.of(tiny_source(count=count), "train")
    first, second = reals.half(0), reals.half(1)
    assert (first.split, second.split) == ("half 1 of train", "half 2 of train")
    assert [*first.order, *second.order] == [*reals.order]
    assert 0 <= len(second) - len(first) <= 1
    assert len({reals.identity, first.identity, second.identity}) == 3


def classes_of(brightness: Tensor) -> Tensor:
    """Of images of tiny_source: its classes are 50 apart."""
    return ((brightness - 49.5) / 50).round().long()


def test_labels_go_with_their_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "CHUNK", 200)
    source = tiny_source(count=600)
    reals = Reals.of(source, "train")
    batches = list(reals.batches(520))
    assert [len(images) for images, _ in batches] == [250, 250, 20]
    for images, labels in batches:
        assert labels is not None
        assert images.dtype == torch.uint8
        assert torch.equal(labels[:, 0], classes_of(images.double().mean((1, 2, 3))))
    assert torch.equal(torch.cat([images for images, _ in batches]), reals.samples(0, 520))
    for found, _, labels in reals.looked_at(from_module(Mean(), CPU, from_bytes), 520):
        assert labels is not None
        assert torch.equal(labels[:, 0], classes_of((found[:, 0] + 1) * 127.5))
    bare = Reals.of(source.unlabelled(), "train")
    assert [labels for _, labels in bare.batches(3)] == [None]
    assert [labels for _, _, labels in bare.looked_at(from_module(Mean(), CPU, from_bytes), 3)] == [None]


@pytest.mark.parametrize("channels", [1, 3])
def test_chunks_give_the_same_features(channels: int, monkeypatch: pytest.MonkeyPatch, empty_cache: Path) -> None:
    reals = Reals.of(tiny_source(8, channels), "train")
    extractor = replace(from_module(Pair(), CPU, from_bytes), sizes=(2,))
    expected, expected_logits = extractor.look(reals.samples(0, 22))
    assert expected_logits is not None
    monkeypatch.setattr(features, "CHUNK", 7)
    monkeypatch.setattr(features, "BATCH", 3)
    found = list(reals.looked_at(extractor, 22))
    assert [len(part) for part, _, _ in found] == [7, 7, 7, 1]
    assert torch.equal(torch.cat([part for part, _, _ in found]), expected)
    assert torch.equal(torch.cat([logits for _, logits, _ in found if logits is not None]), expected_logits)
    assert len(list((empty_cache / "features").iterdir())) == 4
    # a part of them, and more than there are
    assert torch.equal(reals.features(extractor, 10), expected[:10])
    assert torch.equal(reals.features(extractor, 14), expected[:14])
    assert torch.equal(reals.features(extractor, 1000), expected)
    assert len(list((empty_cache / "features").iterdir())) == 4


def test_few_features_do_not_look_at_every_chunk(monkeypatch: pytest.MonkeyPatch, empty_cache: Path) -> None:
    monkeypatch.setattr(features, "CHUNK", 7)
    assert len(Reals.of(tiny_source(), "train").features(from_module(Mean(), CPU, from_bytes), 10)) == 10
    assert len(list((empty_cache / "features").iterdir())) == 2


def test_a_huge_set_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "MOST", 10)
    reals = Reals.of(tiny_source(), "train")
    assert len(reals) == 10
    assert len(reals.features(from_module(Mean(), CPU, from_bytes), 1000)) == 10


# the cache


def no_look(monkeypatch: pytest.MonkeyPatch) -> None:
    def look(*_: object) -> tuple[Tensor, None]:
        raise AssertionError("looked again")

    monkeypatch.setattr(Extractor, "look", look)


def test_features_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    source = tiny_source()
    extractor = from_module(Mean(), CPU, from_bytes)
    first = Reals.of(source, "train").features(extractor, 22)
    no_look(monkeypatch)
    # by another object, under another name, with labels beside them
    again = Reals.of(tiny_source(), "test")
    assert torch.equal(again.features(from_module(Mean(), CPU, from_bytes), 22), first)
    for others in (Reals.of(tiny_source(seed=1), "train"), Reals.of(source, "train").half(0)):
        with pytest.raises(AssertionError, match="looked again"):
            others.features(extractor, 22)
    with pytest.raises(AssertionError, match="looked again"):
        again.features(replace(extractor, name="Other"), 22)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def behead(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


def scribble(path: Path) -> None:
    path.write_bytes(b"no array at all")


def fold(path: Path) -> None:
    np.save(path, np.load(path)[:, 0])


def widen(path: Path) -> None:
    np.save(path, np.load(path).astype(np.float64))


def rob(path: Path) -> None:
    np.save(path, np.load(path)[1:])


def pickle(path: Path) -> None:
    np.save(path, np.array([{}]), allow_pickle=True)


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "harm", [empty, shorten, behead, scribble, fold, widen, rob, pickle, Path.unlink, replace_by_folder]
)
def test_a_damaged_file_is_made_again(
    harm: Callable[[Path], None], empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reals, extractor = Reals.of(tiny_source(), "train"), from_module(Mean(), CPU, from_bytes)
    expected = reals.features(extractor, 22)
    (file,) = (empty_cache / "features").iterdir()
    content = file.read_bytes()
    harm(file)
    assert torch.equal(reals.features(extractor, 22), expected)
    if file.is_file():
        assert file.read_bytes() == content
        no_look(monkeypatch)
        assert torch.equal(reals.features(extractor, 22), expected)
    assert list((empty_cache / "features").iterdir()) == [file]


def test_what_cannot_be_kept_costs_only_time(monkeypatch: pytest.MonkeyPatch, empty_cache: Path) -> None:
    def full(place: Path, *_: object, **__: object) -> None:
        place.write_bytes(b"half of it")
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "save", full)
    reals, extractor = Reals.of(tiny_source(), "train"), from_module(Mean(), CPU, from_bytes)
    expected, _ = extractor.look(reals.samples(0, 22))
    for _ in range(2):
        assert torch.equal(reals.features(extractor, 22), expected)
    assert list((empty_cache / "features").iterdir()) == []


def test_a_file_appears_whole(tmp_path: Path) -> None:
    place, seen = tmp_path / "deep" / "file.json", []

    def write(draft: Path) -> None:
        draft.write_text("first")
        seen.append((place.exists(), draft.parent == place.parent))
        draft.write_text("first and second")

    keep(place, write)
    assert seen == [(False, True)]
    assert [(path, path.read_text()) for path in place.parent.iterdir()] == [(place, "first and second")]
