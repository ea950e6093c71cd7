"""Scores of two directions: each against its target alone, beside real pictures and untranslated ones."""

import pytest
import torch
from torch import Tensor

from tests.conftest import tiny_source
from zerosum.data.pictures.domains import domain_source
from zerosum.data.pictures.source import PictureSource
from zerosum.errors import ZerosumError
from zerosum.metrics.features import Reals
from zerosum.metrics.pictures.domains import KINDS, OF_EACH, DomainsYardstick
from zerosum.metrics.request import Looking
from zerosum.metrics.result import Images
from zerosum.metrics.vocabulary import kind_of
from zerosum.sections.picture import PictureData
from zerosum.tasks import TASKS

TRAINING = domain_source(tiny_source(8, 3, 120, classes=2), "here")
TESTING = domain_source(tiny_source(8, 3, 60, classes=2, seed=1), "here")
CPU = torch.device("cpu")

pytestmark = pytest.mark.usefixtures("quick_scores")


@pytest.fixture(scope="module")
def yardstick() -> DomainsYardstick:
    made = TASKS["unpaired"].yardstick(PictureData(input="domains"), TRAINING, TESTING, Looking("auto", CPU))
    assert isinstance(made, DomainsYardstick)
    assert made.extractor.labelled  # the classifier of the piles
    return made


def translated(source: PictureSource, change: bool, flip: bool = True) -> Images:
    """The pictures of a source, each labelled as one of the other pile; change: and turned into one."""
    reals = Reals.of(source, "test")
    for pixels, labels in reals.batches(len(reals)):
        assert labels is not None
        shift = torch.where(labels == 0, 75, -75)[:, :, None, None]
        moved = (pixels.int() + shift).clamp(0, 255).to(torch.uint8) if change else pixels
        yield moved, 1 - labels if flip else labels


def test_a_good_translation_is_near_real_pictures_and_none_at_all_is_not(yardstick: DomainsYardstick) -> None:
    assert yardstick.most == 60
    good, none = (yardstick.measure(translated(TESTING, change), 60) for change in (True, False))
    assert good.value("accuracy") > 0.95
    assert none.value("accuracy") < 0.05
    assert good.value("fid") < 0.1 * none.value("fid")
    assert good.value("kid") < 0.1 * none.value("kid")
    for scores in (good, none):  # what unchanged pictures get stands beside, whatever was scored
        assert set(scores.baselines) == {"unchanged"}
        for name, value in scores.baselines["unchanged"].items():
            assert value == pytest.approx(none.scores[name], rel=1e-4, abs=1e-4)
        assert scores.floor.keys() == scores.scores.keys()
        floor = {kind_of(name): value for name, value in scores.floor.items()}
        assert floor["accuracy"] > 0.95
        assert floor["fid"] < 0.1 * none.value("fid")
        assert {kind_of(name) for name in scores.scores} == set(KINDS)
        assert all(name.endswith("60@classifier") for name in scores.scores)
    assert good.pairs is not None
    assert good.stamp["mean_of"] == "to 0 and to 1"


def test_each_direction_has_its_own_scores(yardstick: DomainsYardstick) -> None:
    half = (  # to 1 is done well, to 0 not at all
        (torch.where(torch.eq(labels, 1)[:, :, None, None], good, plain), labels)
        for (good, labels), (plain, _) in zip(translated(TESTING, True), translated(TESTING, False), strict=True)
        if labels is not None
    )
    scores = yardstick.measure(half, 60)
    assert set(scores.classes) == {"0", "1"}
    to_a, to_b = scores.classes["0"], scores.classes["1"]
    assert to_a["accuracy"] < 0.05
    assert to_b["accuracy"] > 0.95
    assert to_a["fid"] == pytest.approx(to_a["fid, unchanged"], rel=1e-4)
    assert to_b["fid"] < 0.1 * to_b["fid, unchanged"]
    for kind in OF_EACH:
        assert scores.value(kind) == pytest.approx((to_a[kind] + to_b[kind]) / 2)
    assert {"fid, real", "kid, real", "accuracy, real", "kid, unchanged", "accuracy, unchanged"} <= to_a.keys()


def test_cheap_scores_are_the_same_where_they_exist(yardstick: DomainsYardstick) -> None:
    whole, cheap = (yardstick.measure(translated(TESTING, True), 60, cheap=cheap) for cheap in (False, True))
    assert not cheap.baselines
    assert "kid60@classifier" not in cheap.scores
    for name in ("fid60@classifier", "accuracy60@classifier", "diversity60@classifier"):
        assert cheap.scores[name] == whole.scores[name]
    assert set(cheap.classes["1"]) >= {"fid", "accuracy", "diversity"}


def test_what_cannot_be_scored(yardstick: DomainsYardstick) -> None:
    def one_way() -> Images:
        for pixels, labels in translated(TESTING, True):
            assert isinstance(labels, Tensor)
            yield pixels[labels[:, 0] == 1], labels[labels[:, 0] == 1]

    with pytest.raises(ZerosumError, match="0 images are too few to score"):
        yardstick.measure(one_way(), 30)
    with pytest.raises(ZerosumError, match="60 images came where 50 were to be scored"):
        yardstick.measure(translated(TESTING, True), 50)
    with pytest.raises(ZerosumError, match="domain that each should belong to"):
        yardstick.measure([(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), None)], 2)
    few = TESTING.only(TESTING.domain(0)[:5])
    with pytest.raises(ZerosumError, match="domain 1 has 0 pictures of test"):
        TASKS["unpaired"].yardstick(PictureData(input="domains"), TRAINING, few, Looking("random", CPU))


def test_without_held_out_pictures_one_half_stands_against_the_other() -> None:
    yardstick = TASKS["unpaired"].yardstick(PictureData(input="domains"), TRAINING, None, Looking("random", CPU))
    assert isinstance(yardstick, DomainsYardstick)
    assert yardstick.reference.split == "half 2 of train"
    scores = yardstick.measure(translated(TRAINING, True), 120, True)
    assert scores.value("fid") < 0.5 * scores.baselines["unchanged"]["fid120@random"]
