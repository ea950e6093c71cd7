"""Scores of piles of images: against direct computation, with names, floors and stamps, in little memory."""

import json
import math
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.conftest import tiny_source
from zerosum.data.pictures.drawing import draw_pairs
from zerosum.data.pictures.source import PictureSource, from_bytes, make_source
from zerosum.errors import ZerosumError
from zerosum.metrics import evaluate
from zerosum.metrics.evaluate import NEIGHBOURS, Yardstick, compare, differences
from zerosum.metrics.extractor import Extractor
from zerosum.metrics.features import Reals
from zerosum.metrics.result import Images, Scores
from zerosum.metrics.scores import kernel_distance
from zerosum.metrics.vocabulary import MEANING, few_images, kind_of, score_name, shortfall

CPU = torch.device("cpu")
Floats = np.ndarray[Any, np.dtype[np.float64]]

pytestmark = pytest.mark.usefixtures("empty_cache")


class Reader(nn.Module):
    """Eight pixels as features, and logits by the brightness that the classes of tiny_source have, all without rounding
    that would depend on the company of an image."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        pixels = images.flatten(1).add(1).mul(127.5).round()
        brightness = pixels.sum(1, keepdim=True) / pixels.shape[1]
        return pixels[:, :8] / 64, -(brightness - torch.tensor([49.5, 99.5, 149.5])).square() / 100


READER = Extractor("reader", Reader(), CPU, from_bytes, sizes=(3,), labelled=True)
STRANGER = replace(READER, name="stranger", labelled=False)
TRAINING, TESTING = tiny_source(count=150), tiny_source(count=120, seed=1)
FAKES = tiny_source(count=90, seed=2)


def yardstick(
    extractor: Extractor = READER, testing: PictureSource = TESTING, training: PictureSource = TRAINING
) -> Yardstick:
    reals = Reals.of(training, "train")
    return Yardstick(extractor, Reals.of(testing, "test"), reals, reals)


def pile(source: PictureSource, size: int = 250) -> Images:
    for start in range(0, len(source), size):
        images = torch.from_numpy(source.images[start : start + size])
        labels = source.labels
        yield images, None if labels is None else torch.from_numpy(labels[start : start + size])


def measured(
    fakes: PictureSource = FAKES,
    by: Yardstick | None = None,
    labelled: bool = True,
    size: int = 250,
    cheap: bool = False,
) -> Scores:
    return (by or yardstick()).measure(pile(fakes, size), len(fakes), labelled, cheap)


def kinds(values: dict[str, float]) -> dict[str, float]:
    return {kind_of(name): value for name, value in values.items()}


def some(source: PictureSource, index: Any) -> PictureSource:
    assert source.labels is not None
    return make_source(source.images[index], source.labels[index], source.spec.labels)


def refusal(action: Callable[[], object]) -> str:
    with pytest.raises(ZerosumError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# numbers


def test_a_pile_against_itself() -> None:
    scores = measured(TESTING)
    values = kinds(scores.scores)
    for kind in ("fid", "class_fid", "worst_class_fid"):
        assert values[kind] == pytest.approx(0, abs=1e-9)
    for kind in ("diversity", "class_diversity", "worst_class_diversity"):
        assert values[kind] == pytest.approx(1)
    for kind in ("precision", "recall", "coverage", "accuracy", "worst_class_accuracy"):
        assert values[kind] == 1
    assert values["sharpness"] == pytest.approx(1)
    assert values["density"] == pytest.approx(6 / 5, abs=0.01)  # five neighbours and the image itself
    kernel = (features_of(TESTING) @ features_of(TESTING).T / 8 + 1) ** 3
    apart = (kernel.sum() - np.trace(kernel)) / (120 * 119)
    assert values["kid"] == pytest.approx(2 * apart - 2 * kernel.mean())  # less than 0: the estimate is unbiased
    assert values["memorised"] == 0


def features_of(source: PictureSource) -> Floats:
    images: Floats = source.images.reshape(len(source), -1)[:, :8] / 64
    return images


def direct_frechet(one: Floats, other: Floats) -> float:
    covariances = [np.cov(rows.T) for rows in (one, other)]
    between = np.sqrt(np.linalg.eigvals(covariances[0] @ covariances[1]).astype(complex)).real.sum()
    shift = np.square(one.mean(0) - other.mean(0)).sum()
    return float(shift + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * between)


def direct_spread(rows: Floats) -> float:
    return math.sqrt(np.trace(np.cov(rows.T)))


def mixed_up(source: PictureSource, every: int) -> PictureSource:
    """Every so many images have the label of another class."""
    assert source.labels is not None
    labels = source.labels[:, 0].copy()
    labels[::every] = (labels[::every] + 1) % 3
    return make_source(source.images, labels)


def test_numbers_against_direct_computation() -> None:
    fakes = mixed_up(FAKES, 7)
    assert fakes.labels is not None
    assert TESTING.labels is not None
    scores = measured(fakes)
    values = kinds(scores.scores)
    real, fake = features_of(TESTING), features_of(fakes)
    assert values["fid"] == pytest.approx(direct_frechet(real, fake), rel=1e-9)
    assert values["diversity"] == pytest.approx(direct_spread(fake) / direct_spread(real), rel=1e-9)
    inside = {}
    brightness = fakes.images.mean((1, 2, 3), dtype=np.float64)[:, None]
    read = np.abs(brightness - [49.5, 99.5, 149.5]).argmin(1)
    for label in range(3):
        theirs, mine = real[TESTING.labels[:, 0] == label], fake[fakes.labels[:, 0] == label]
        inside[str(label)] = {
            "fid": direct_frechet(theirs, mine),
            "diversity": direct_spread(mine) / direct_spread(theirs),
            "accuracy": float((read[fakes.labels[:, 0] == label] == label).mean()),
        }
        assert scores.classes[str(label)] == pytest.approx(inside[str(label)], rel=1e-9)
    assert len({one["fid"] for one in inside.values()}) == 3
    for kind, worst in (("fid", max), ("diversity", min)):
        every = [one[kind] for one in inside.values()]
        assert values[f"class_{kind}"] == pytest.approx(sum(every) / 3, rel=1e-9)
        assert values[f"worst_class_{kind}"] == pytest.approx(worst(every), rel=1e-9)
    right = read == fakes.labels[:, 0]
    assert values["accuracy"] == right.mean() == 77 / 90
    assert values["worst_class_accuracy"] == pytest.approx(min(one["accuracy"] for one in inside.values()))
    logits = -np.square(brightness - [49.5, 99.5, 149.5]) / 100
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    assert values["cross_entropy"] == pytest.approx(-logs[np.arange(90), fakes.labels[:, 0]].mean(), rel=1e-5)


def test_batches_do_not_matter() -> None:
    by = yardstick()
    one, other = measured(by=by), measured(by=by, size=7)
    assert other.scores == pytest.approx(one.scores, rel=1e-9)
    assert other.errors == pytest.approx(one.errors, rel=1e-9)
    assert other.classes.keys() == one.classes.keys()
    for name, inside in one.classes.items():
        assert other.classes[name] == pytest.approx(inside, rel=1e-9)
    assert (one.stamp, one.floor) == (other.stamp, other.floor)
    assert one.pairs is not None
    assert other.pairs is not None
    assert torch.equal(one.pairs, other.pairs)


def test_scores_by_pairs_look_at_some_images_only(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = kinds(measured().scores)
    monkeypatch.setattr(evaluate, "PAIRED", 50)
    scores = measured(size=20)
    values = kinds(scores.scores)
    assert values["fid"] == pytest.approx(usual["fid"], rel=1e-9)
    assert values["accuracy"] == usual["accuracy"]
    real = Reals.of(TESTING, "test").features(READER, 50)
    value, error = kernel_distance(real, torch.from_numpy(features_of(FAKES)[:50]))
    assert values["kid"] == pytest.approx(value, rel=1e-6)
    assert kinds(scores.errors)["kid"] == pytest.approx(error, rel=1e-6)
    assert values["kid"] != pytest.approx(usual["kid"], rel=1e-3)


def test_colour() -> None:
    training, testing = tiny_source(8, 3, 60), tiny_source(8, 3, 60, seed=1)
    by = yardstick(replace(READER, sizes=()), testing, training)
    scores = measured(training, by)
    assert scores.value("memorised") == 1
    assert scores.stamp["channels"] == 3
    assert scores.pairs is not None
    assert torch.equal(scores.pairs[:, 0], scores.pairs[:, 1])


# names


def test_names_and_their_order() -> None:
    scores = measured()
    assert list(scores.scores) == [
        f"{kind}90@reader"
        for kind in MEANING
        if kind not in ("worst_class_share", "psnr", "ssim", "obedience", "cycle_error", "marginals", "correlations")
    ]  # for generators that were asked for no class, for images that each have a true one, and for rows
    assert {kind_of(name) for name in scores.errors} == {"kid", "inception_score"}


@pytest.mark.parametrize(
    ("name", "count", "against_training", "expected"),
    [
        ("random", 1000, False, "fid1k@random"),
        ("random", 1498, True, "fid1498@random"),
        ("inception", 1000, False, "fid1k@inception"),
        ("inception", 1000, True, "fid1k_full@inception"),
    ],
)
def test_names_count_images(name: str, count: int, against_training: bool, expected: str) -> None:
    training, testing = (Reals.of(source, split) for source, split in ((TRAINING, "train"), (TESTING, "test")))
    reference, other = (training, testing) if against_training else (testing, training)
    by = Yardstick(replace(STRANGER, name=name), reference, other, training)
    scores = measured(tiny_source(count=count, seed=3), by, cheap=True)
    assert next(iter(scores.scores)) == next(iter(scores.floor)) == expected


@pytest.mark.parametrize("count", [2, 999, 1000, 1498, 50_000])
@pytest.mark.parametrize("full", [False, True])
def test_kinds_come_back_from_names(count: int, full: bool) -> None:
    names = [score_name(kind, count, "my_net", full) for kind in MEANING]
    assert [kind_of(name) for name in names] == list(MEANING)


def test_values_by_kind() -> None:
    scores = Scores({"class_fid2k@x": 5.0, "fid2k_full@x": 3.0, "kid1497@x": 1.0}, {}, {}, {}, {})
    assert (scores.value("fid"), scores.value("class_fid"), scores.value("kid")) == (3, 5, 1)
    assert math.isnan(scores.value("accuracy"))


def test_scores_as_json() -> None:
    scores = measured()
    plain = scores.plain()
    assert set(plain) == {"scores", "errors", "floor", "classes", "stamp", "seconds", "notes"}
    assert json.loads(json.dumps(plain)) == plain | {"notes": list(scores.notes)}
    assert "notes" not in replace(scores, notes=()).plain()
    assert plain["scores"] == scores.scores
    assert scores.pairs is not None
    assert all(seconds >= 0 for seconds in plain["seconds"].values())


# what is asked for


def test_without_labels_there_are_shares_of_classes() -> None:
    assert FAKES.labels is not None
    one_class = some(FAKES, FAKES.labels[:, 0] == 2)
    assert len(one_class) == 30
    for source in (one_class, one_class.unlabelled()):
        scores = measured(source, labelled=False)
        assert not {"accuracy", "cross_entropy", "class_fid", "worst_class_diversity"} & set(kinds(scores.scores))
        assert list(scores.classes) == ["0", "1", "2"]
        shares = [inside["share"] for inside in scores.classes.values()]
        assert shares == pytest.approx([0, 0, 3], abs=1e-3)
        assert scores.value("worst_class_share") == min(shares)
        assert math.isnan(scores.value("inception_score"))  # ten splits of three images
    twice = make_source(one_class.images.repeat(2, 0))
    assert measured(twice, labelled=False).value("inception_score") == pytest.approx(1, abs=1e-3)
    even = measured(FAKES, labelled=False)
    assert even.value("worst_class_share") == pytest.approx(1, abs=1e-3)
    assert even.value("inception_score") == pytest.approx(3, abs=0.05)
    # a network with classes of its own knows nothing of the data's
    strange = measured(FAKES, yardstick(STRANGER), labelled=False)
    assert strange.classes == {}
    assert math.isnan(strange.value("worst_class_share"))
    assert strange.value("inception_score") == pytest.approx(3, abs=0.05)


class Even(nn.Module):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images.flatten(1)[:, :8], torch.zeros(len(images), 4)


def test_shares_of_several_attributes_name_them() -> None:
    labels = np.stack([np.arange(60) % 2, np.arange(60) // 2 % 2], 1)
    names: dict[str, tuple[str, ...]] = {"left": ("dark", "bright"), "right": ("dark", "bright")}
    source = make_source(tiny_source(count=60).images, labels, names)
    scores = measured(source, yardstick(replace(READER, network=Even(), sizes=(2, 2)), source, source), False)
    assert {name: inside["share"] for name, inside in scores.classes.items()} == pytest.approx(
        {"left dark": 1, "left bright": 1, "right dark": 1, "right bright": 1}
    )
    together = measured(source, yardstick(replace(STRANGER, network=Even(), sizes=(2, 2)), source, source))
    assert list(together.classes) == ["dark dark", "dark bright", "bright dark", "bright bright"]


def test_a_network_without_classes_still_looks_inside_the_data_s_own() -> None:
    usual, scores = measured(), measured(by=yardstick(STRANGER))
    assert scores.value("class_fid") == pytest.approx(usual.value("class_fid"))
    assert {*scores.classes["1"]} == {"fid", "diversity"}
    assert not {"accuracy", "worst_class_accuracy", "cross_entropy"} & set(kinds(scores.scores) | kinds(scores.floor))


def test_a_class_of_few_images_has_no_scores_of_its_own() -> None:
    assert FAKES.labels is not None
    zeros, others = (FAKES.labels[:, 0] == 0).nonzero()[0], (FAKES.labels[:, 0] != 0).nonzero()[0]
    nine, ten = (some(FAKES, [*zeros[:count], *others]) for count in (9, 10))
    assert [list(measured(fakes).classes) for fakes in (nine, ten)] == [["1", "2"], ["0", "1", "2"]]
    # the same where real samples are few
    by = yardstick(testing=some(tiny_source(count=90, seed=1), [*zeros[:9], *others]))
    assert list(measured(by=by).classes) == ["1", "2"]
    # and the image that is wrong counts all the same
    assert measured(mixed_up(nine, 100), by).value("accuracy") == pytest.approx(68 / 69)
    none = measured(some(FAKES, slice(6)))
    assert none.classes == {}
    assert none.value("accuracy") == 1
    assert math.isnan(none.value("worst_class_accuracy"))


def test_cheap_scores_leave_out_what_is_slow() -> None:
    by = yardstick()
    usual, cheap = measured(by=by), measured(by=by, cheap=True)
    slow = {"kid", "precision", "recall", "density", "coverage"}
    assert set(kinds(usual.scores)) - set(kinds(cheap.scores)) == slow
    assert cheap.scores == {name: value for name, value in usual.scores.items() if kind_of(name) not in slow}
    assert cheap.floor == {name: value for name, value in usual.floor.items() if kind_of(name) not in slow}
    assert cheap.classes == usual.classes
    assert cheap.stamp == usual.stamp
    assert cheap.pairs is None


# copies


def test_copies_are_found() -> None:
    scores = measured(TRAINING)
    assert scores.value("memorised") == 1
    assert kinds(scores.floor)["memorised"] == 0
    fresh = measured(make_source(np.concatenate([FAKES.images[:85], TRAINING.images[40:45]]), FAKES.labels))
    assert fresh.value("memorised") == 5 / 90
    assert fresh.pairs is not None
    assert fresh.pairs.shape == (20, 2, 1, 8, 8)
    same = (fresh.pairs[:, 0] == fresh.pairs[:, 1]).flatten(1).all(1)
    assert same.tolist() == [True] * 5 + [False] * 15
    copied = {image.tobytes() for image in fresh.pairs[:5, 1].numpy()}
    assert copied == {image.tobytes() for image in TRAINING.images[40:45]}


def test_pairs_are_generated_images_with_their_nearest_training_image() -> None:
    scores = measured(some(FAKES, slice(12)))
    assert scores.pairs is not None
    assert scores.pairs.shape == (12, 2, 1, 8, 8)
    real = features_of(TRAINING)
    for made, twin in scores.pairs.numpy():
        distances = np.square(real - made.ravel()[:8] / 64).sum(1)
        np.testing.assert_array_equal(TRAINING.images[distances.argmin()], twin)
    assert {image.tobytes() for image in scores.pairs[:, 0].numpy()} == {image.tobytes() for image in FAKES.images[:12]}


def test_cheap_scores_look_for_copies_of_some_training_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "CHEAP", 30)
    by = yardstick()
    assert measured(TRAINING, by).value("memorised") == 1
    assert measured(TRAINING, by, cheap=True).value("memorised") == pytest.approx(30 / 150, abs=0.02)


@pytest.mark.parametrize(("count", "rows", "columns"), [(20, 4, 10), (13, 4, 10), (3, 2, 3), (1, 2, 1)])
def test_pairs_as_a_picture(count: int, rows: int, columns: int, tmp_path: Path) -> None:
    """Generated samples, white here, stand above their training samples, black here."""
    pairs = torch.zeros(count, 2, 1, 8, 8, dtype=torch.uint8)
    pairs[:, 0] = 255
    draw_pairs(pairs).save(tmp_path / "pairs.png")
    with Image.open(tmp_path / "pairs.png") as image:
        grey = np.asarray(image.convert("L"))
    assert grey.shape[0] == rows * 50 + 2
    centres = grey[25::50, -columns * 50 + 23 :: 50]
    assert centres.shape == (rows, columns)
    assert (centres[::2] == 255).all()
    assert (centres == 0).sum() == (centres[1::2] == 0).sum() == count


# floors


@pytest.mark.parametrize("cheap", [False, True])
@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("extractor", [READER, STRANGER, replace(READER, sizes=())])
def test_every_score_has_a_floor(extractor: Extractor, labelled: bool, cheap: bool) -> None:
    scores = measured(FAKES, yardstick(extractor), labelled, cheap=cheap)
    assert list(scores.floor) == list(scores.scores)
    assert all(math.isfinite(value) for value in scores.floor.values())


def test_a_floor_is_what_further_real_images_get() -> None:
    """As many as there are generated ones, here the first of the training samples; their labels are known."""
    fakes = mixed_up(FAKES, 7)
    scores = measured(fakes)
    other = Reals.of(TRAINING, "train")
    as_fakes = yardstick().measure(other.batches(90), 90, True)
    floor = kinds(scores.floor)
    for kind, value in kinds(as_fakes.scores).items():
        if kind not in ("accuracy", "cross_entropy", "worst_class_accuracy", "memorised"):
            assert floor[kind] == pytest.approx(value, rel=1e-9)
    # read by a classifier that has not seen them, and looked up among images that they are not copies of
    assert floor["accuracy"] == floor["worst_class_accuracy"] == 1
    assert floor["memorised"] == 0
    assert kinds(as_fakes.scores)["memorised"] == 1


def test_the_floor_of_accuracy_is_that_of_held_out_images() -> None:
    labels = np.arange(120) % 3
    labels[:30:3] = 1  # ten images of class 0 say that they are of class 1
    floor = kinds(measured(by=yardstick(testing=make_source(TESTING.images, labels))).floor)
    assert floor["accuracy"] == 110 / 120
    assert floor["worst_class_accuracy"] == pytest.approx(40 / 50)


def test_the_floor_of_copies_is_that_of_held_out_images() -> None:
    """How many of them look like copies of training samples; one is a copy here."""
    images = TESTING.images.copy()
    images[5] = TRAINING.images[77]
    testing = make_source(images, TESTING.labels)
    assert kinds(measured(by=yardstick(testing=testing)).floor)["memorised"] == 1 / 120
    training, held_out = Reals.of(TRAINING, "train"), Reals.of(testing, "test")
    full = Yardstick(READER, training, held_out, training)
    assert kinds(measured(by=full).floor)["memorised"] == 1 / 120


def test_a_floor_of_more_images_than_there_are() -> None:
    fakes = tiny_source(count=400, seed=3)
    scores = measured(fakes)
    assert "fid400@reader" in scores.floor
    assert kinds(scores.floor)["fid"] == pytest.approx(
        direct_frechet(features_of(TESTING), features_of(TRAINING)), rel=1e-9
    )


def no_floors(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(*_: object) -> dict[str, float]:
        raise AssertionError("measured again")

    monkeypatch.setattr(Yardstick, "_measure_floor", measure)


def test_a_floor_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = measured()
    no_floors(monkeypatch)
    assert measured(by=yardstick()).floor == first.floor
    others: list[dict[str, Any]] = [
        {"fakes": some(FAKES, slice(60))},
        {"labelled": False},
        {"cheap": True},
        {"by": yardstick(STRANGER)},
        {"by": yardstick(testing=some(TESTING, slice(119)))},
        {"by": yardstick(training=some(TRAINING, slice(149)))},
    ]
    for other in others:
        with pytest.raises(AssertionError, match="measured again"):
            measured(**other)
    monkeypatch.setattr(evaluate, "DEFINITIONS", 1000)
    with pytest.raises(AssertionError, match="measured again"):
        measured()


def test_floors_depend_on_the_number_of_images() -> None:
    few, many = (kinds(measured(some(FAKES, slice(count))).floor)["fid"] for count in (30, 90))
    assert few > 1.3 * many


@pytest.mark.parametrize("content", ["", "{", "[1]", "3", '{"fid": "much"}', "\udcff"])
def test_a_damaged_floor_is_measured_again(content: str, empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = measured()
    (file,) = (empty_cache / "floors").iterdir()
    file.write_text(content, errors="surrogateescape")
    assert measured().floor == first.floor
    no_floors(monkeypatch)
    assert measured().floor == first.floor


def test_against_training_images_the_floor_is_the_test_split() -> None:
    training, testing = Reals.of(TRAINING, "train"), Reals.of(TESTING, "test")
    scores = measured(by=Yardstick(READER, training, testing, training))
    assert (scores.stamp["real_split"], scores.stamp["real"]) == ("train", training.identity)
    assert scores.value("fid") == pytest.approx(direct_frechet(features_of(TRAINING), features_of(FAKES)), rel=1e-9)
    first = features_of(TESTING)[testing.order[:90]]
    assert kinds(scores.floor)["fid"] == pytest.approx(direct_frechet(features_of(TRAINING), first), rel=1e-9)
    # held-out samples are no copies of training samples
    assert kinds(scores.floor)["memorised"] == 0
    assert list(scores.floor) == list(scores.scores)
    # other held-out samples are another floor, though everything else is as it was
    others = Reals.of(FAKES, "test")
    elsewhere = measured(by=Yardstick(READER, training, others, training))
    assert (elsewhere.scores, elsewhere.stamp) == (scores.scores, scores.stamp)
    assert elsewhere.floor != scores.floor


def test_halves() -> None:
    reals = Reals.of(TRAINING, "train")
    scores = measured(by=Yardstick(READER, reals.half(1), reals.half(0), reals))
    assert (scores.stamp["real_split"], scores.stamp["real_images"]) == ("half 2 of train", 75)
    halves = [features_of(TRAINING)[reals.half(number).order] for number in (0, 1)]
    assert scores.value("fid") == pytest.approx(direct_frechet(halves[1], features_of(FAKES)), rel=1e-9)
    assert kinds(scores.floor)["fid"] == pytest.approx(direct_frechet(halves[1], halves[0]), rel=1e-9)
    assert list(scores.floor) == list(scores.scores)
    # copies of either half are found
    assert measured(TRAINING, Yardstick(READER, reals.half(1), reals.half(0), reals)).value("memorised") == 1
    assert kinds(scores.floor)["memorised"] == 0


# refusals


def test_too_few_images() -> None:
    assert "1 image is too few to score" in refusal(lambda: measured(some(FAKES, slice(1))))
    assert "0 images came where 9" in refusal(lambda: yardstick().measure(iter(()), 9, False))
    single = some(TESTING, slice(1))
    assert "1 real sample (test) to compare with: too few" in refusal(lambda: yardstick(testing=single))
    two = kinds(measured(some(FAKES, slice(2))).scores)
    assert all(map(math.isnan, (two[kind] for kind in NEIGHBOURS)))
    assert math.isfinite(two["fid"])


@pytest.mark.parametrize("count", [2, 9, 10])
def test_neighbours_take_ten_images_of_each_kind(count: int) -> None:
    few, rest = some(TESTING, slice(count)), some(TESTING, slice(60))
    for fakes, real in ((few, rest), (rest, few)):
        scores = measured(fakes, yardstick(testing=real, training=real))
        values = kinds(scores.scores)
        missing = {kind for kind in (*NEIGHBOURS, "memorised") if math.isnan(values[kind])}
        expected = set() if count == 10 else {*NEIGHBOURS} | ({"memorised"} if real is few and count < 3 else set())
        assert missing == expected
        said = f"neighbours take 10 images of each kind, here are {count}"
        assert any(said in line for line in scores.notes) == (count < 10)
    # no claim of a study can count on them
    kinds_there = yardstick(testing=few, training=few).kinds(60, True, False)
    assert {*NEIGHBOURS} & kinds_there == ({*NEIGHBOURS} if count == 10 else set())


def flat(value: int, count: int = 60) -> PictureSource:
    return make_source(np.full((count, 1, 8, 8), value, np.uint8))


@pytest.mark.parametrize("cheap", [True, False])
def test_sets_of_equal_images_have_no_neighbours(cheap: bool) -> None:
    plain = TESTING.unlabelled()
    neighbours = set() if cheap else {*NEIGHBOURS}
    for fakes, real, said, missing in (
        (flat(90), plain, "all generated samples are equal", neighbours),
        (plain, flat(90), "all real samples are equal", neighbours | {"diversity", "sharpness", "memorised"}),
        (flat(90), flat(90), "all real samples are equal", neighbours | {"diversity", "sharpness", "memorised"}),
    ):
        scores = measured(fakes, yardstick(STRANGER, real, real), labelled=False, cheap=cheap)
        values = kinds(scores.scores)
        assert {kind for kind, value in values.items() if math.isnan(value)} == missing
        assert any(said in line for line in scores.notes) == bool(missing)
        assert math.isfinite(values["fid"])
        assert all(math.isnan(kinds(scores.floor)[kind]) for kind in missing) or real is plain
    # a generator that gives one training sample again and again copies, whatever else
    one = make_source(plain.images[:1].repeat(40, 0))
    assert measured(one, yardstick(STRANGER, plain, plain), False, cheap=cheap).value("memorised") == 1


def test_equal_images_are_found_behind_rounding() -> None:
    """A network that computes in float32 gives equal images features that differ in the last bits."""
    noise = Extractor("noisy", Noisy(), CPU, from_bytes)
    assert math.isnan(measured(FAKES, yardstick(noise, flat(90)), labelled=False).value("precision"))
    assert math.isfinite(measured(FAKES, yardstick(noise), labelled=False).value("precision"))


class Noisy(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :8] * (1 + 1e-7 * torch.arange(len(images))[:, None] % 3)


def test_an_error_from_a_few_blocks_is_none() -> None:
    for count, there in ((19, False), (20, True)):
        scores = measured(some(FAKES, slice(count)), by=yardstick())
        assert any(kind_of(name) == "kid" for name in scores.errors) == there
        assert math.isfinite(scores.value("kid"))


def test_few_images_are_said() -> None:
    (said,) = measured().notes
    assert said.startswith("few images (90 generated, 120 real): fid is biased upwards")
    assert few_images(1000, 100) is None
    assert few_images(1000, None) is None
    assert few_images(999, 10_000) is not None
    assert few_images(10_000, 99) is not None
    assert few_images(999, None) == str(few_images(999, 5)).replace(", 5 real", "")


def test_three_real_images_have_no_floor() -> None:
    reals = Reals.of(some(TRAINING, slice(3)), "train")
    scores = measured(by=Yardstick(READER, reals.half(1), reals.half(0), reals))
    assert math.isfinite(scores.value("fid"))
    assert scores.floor == {}


def test_what_is_better() -> None:
    near = {"density", "diversity", "sharpness", "class_diversity", "worst_class_diversity", "worst_class_share"}
    assert {kind for kind, (better, _) in MEANING.items() if better == "near 1"} == near
    less = {"fid", "kid", "cross_entropy", "class_fid", "worst_class_fid", "memorised", "cycle_error"}
    less |= {"marginals", "correlations"}
    assert {kind for kind, (better, _) in MEANING.items() if better == "less"} == less
    for name, values in (("fid5@x", (2, 1, 3)), ("accuracy5@x", (0.5, 0.9, 0)), ("sharpness5@x", (0.8, 1.1, 1.4))):
        middle, best, worst = values
        assert sorted(values, key=partial(shortfall, name)) == [best, middle, worst]


def test_another_number_than_said() -> None:
    assert "90 images came where 89 were" in refusal(lambda: yardstick().measure(pile(FAKES), 89, True))
    assert "90 images came where 91 were" in refusal(lambda: yardstick().measure(pile(FAKES), 91, True))


@pytest.mark.parametrize(("side", "channels"), [(16, 1), (8, 3), (4, 4)])
def test_images_of_another_size(side: int, channels: int) -> None:
    said = refusal(lambda: measured(tiny_source(side, channels)))
    assert f"generated samples are {channels}x{side}x{side}, the real ones 1x8x8" in said


# stamps


def test_the_stamp() -> None:
    extractor = replace(READER, facts={"accuracy": 0.9}, reads="half")
    scores = measured(by=yardstick(extractor))
    assert scores.stamp == {
        "definitions": evaluate.DEFINITIONS,
        "network": "reader",
        "network_sha256": extractor.digest,
        "accuracy": 0.9,
        "reads": "half",
        "side": 8,
        "channels": 1,
        "real": Reals.of(TESTING, "test").identity,
        "real_split": "test",
        "real_images": 120,
        "training": Reals.of(TRAINING, "train").identity,
        "fake_images": 90,
        "seed": 0,
    }


def test_differences_are_named() -> None:
    stamp = measured().stamp
    assert differences(stamp, dict(reversed(stamp.items()))) == []
    assert differences(stamp, measured(mixed_up(FAKES, 5)).stamp) == []
    assert differences(stamp, measured(some(FAKES, slice(60))).stamp) == ["fake_images is 90 and 60"]
    (only,) = differences(stamp, measured(by=yardstick(testing=mixed_up(TESTING, 50))).stamp)
    assert only.startswith("real is ")
    strange = differences(stamp, measured(by=yardstick(STRANGER)).stamp)
    assert [reason.split()[0] for reason in strange] == ["network", "network_sha256"]
    assert differences({"a": 1}, {"b": 2}) == ["a is 1 and None", "b is None and 2"]


def made(fid: float, **stamp: Any) -> Scores:
    return Scores({"class_fid5@x": -fid, "fid5@x": fid, "accuracy5@x": fid}, {}, {}, {}, stamp)


def test_comparing_ranks_by_distance() -> None:
    named = {"third": made(3), "lost": made(math.nan), "first": made(0), "second": made(1.5)}
    assert compare(named) == ["first", "second", "third", "lost"]
    assert compare({"alone": made(1, a=1)}) == ["alone"]


def test_other_stamps_are_not_compared() -> None:
    named = {"one": made(1, real="a", side=8), "two": made(2, real="a", side=8), "three": made(3, real="b", side=16)}
    said = refusal(lambda: compare(named))
    assert said == "one and three cannot be compared: real is a and b; side is 8 and 16"


# memory


def test_images_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 20,000 images a few batches are in memory at any time."""
    monkeypatch.setattr(evaluate, "PAIRED", 100)
    alive: weakref.WeakSet[Tensor] = weakref.WeakSet()
    most = 0

    def generated() -> Iterator[tuple[Tensor, Tensor]]:
        nonlocal most
        for start in range(400):
            images = torch.from_numpy(np.roll(FAKES.images[:50], start, 0).copy())
            alive.add(images)
            most = max(most, len(alive))
            yield images, torch.zeros(50, 1, dtype=torch.int64)

    by = yardstick()
    for labelled, cheap, batches in ((True, False, 5), (False, True, 3)):
        most = 0
        scores = by.measure(generated(), 20_000, labelled, cheap)
        assert scores.stamp["fake_images"] == 20_000
        assert 1 <= most <= batches


def test_cheap_scores_read_the_training_features_once(monkeypatch: pytest.MonkeyPatch) -> None:
    yardstick = Yardstick(READER, Reals.of(TESTING, "test"), Reals.of(TRAINING, "train"), Reals.of(TRAINING, "train"))
    fakes = Reals.of(FAKES, "generated")
    first = yardstick.measure(fakes.batches(60), 60, True, cheap=True)
    monkeypatch.setattr(Reals, "looked_at", None)  # nothing is read, or computed, for the second
    assert yardstick.measure(fakes.batches(60), 60, True, cheap=True) == first


@pytest.mark.parametrize("cheap", [True, False])
def test_sharpness_tells_blur_from_noise(cheap: bool) -> None:
    images = FAKES.images.astype(float)
    blurred = (images + np.roll(images, 1, 2) + np.roll(images, 1, 3)) / 3
    noisy = images * 2 - images.mean((2, 3), keepdims=True)
    found = [
        measured(make_source(np.clip(pixels, 0, 255).astype(np.uint8), FAKES.labels, FAKES.spec.labels), cheap=cheap)
        for pixels in (blurred, images, noisy)
    ]
    low, right, high = (scores.value("sharpness") for scores in found)
    assert 0.3 < low < 0.8
    assert 0.95 < right < 1.05
    assert 1.2 < high < 2.1
    assert 0.95 < kinds(found[0].floor)["sharpness"] < 1.05
