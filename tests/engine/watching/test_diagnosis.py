"""Findings: each rule on hand-made histories, and each fault provoked by training beside its healthy twin."""

import contextlib
import io
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.conftest import empty_picture
from zerosum import api
from zerosum.data.pictures.open import open_source
from zerosum.data.pictures.source import PictureSource, make_source
from zerosum.engine.runs.files import read_json, read_lines
from zerosum.engine.runs.reading import EVIDENCE, FINDINGS
from zerosum.engine.runs.run import Run
from zerosum.engine.watching.diagnosis import (
    RULES,
    Evidence,
    Finding,
    History,
    class_not_learnt,
    collapse,
    critic_ahead,
    diagnose,
    memorisation,
    oscillation,
    turns,
    vanishing_gradient,
)
from zerosum.errors import Diverged
from zerosum.networks import make_generator
from zerosum.recipe import Diagnosis, Recipe
from zerosum.sections.picture import PictureData

NAN = math.nan
UNDECIDED = 2 * math.log(2)
#: share of the training before which nothing is said of what may still come
GRACE = {"collapse": 0.25, "class_not_learnt": 0.1}

# --- rules on hand-made histories


def healthy(step: int = 1000, **changes: Any) -> Evidence:
    """A game in which nothing is wrong, but for the changes."""
    values: dict[str, Any] = {
        "step": step,
        "steps": 1000,
        "critic_loss": 1.0,
        "undecided_loss": UNDECIDED,
        "critic_real": 0.5,
        "critic_fake": -0.5,
        "signal": 0.6,
        "undecided_signal": 0.5,
        "gradient": 0.1,
        "fid": 20.0,
        "floor": 1.0,
        "diversity": 0.9,
        "class_diversity": {"cat": 0.8, "dog": 0.9, "owl": 1.0},
        "class_accuracy": {"cat": 0.9, "dog": 0.95, "owl": 0.8},
        "class_share": {},
        "memorised": 0.0,
        "memorised_floor": 0.0,
        "label_effect": 0.7,
    }
    return Evidence(**values | changes)


def lasting(times: int, **changes: Any) -> list[Evidence]:
    """Health, then the same trouble so many times."""
    before = [healthy(100 * (index + 1)) for index in range(10 - times)]
    return before + [healthy(100 * (index + 1), **changes) for index in range(10 - times, 10)]


def curve(key: str, values: list[Any]) -> list[Evidence]:
    """A history in which one figure takes these values."""
    return [healthy(1000 - 100 * (len(values) - 1 - index), **{key: value}) for index, value in enumerate(values)]


def just(below: float) -> float:
    return math.nextafter(below, -math.inf)


def names(history: History) -> list[str]:
    return [finding.name for finding in diagnose(history)]


def test_health_is_silent() -> None:
    assert diagnose([healthy()]) == []
    assert diagnose(lasting(0)) == []
    assert diagnose([healthy(step) for step in range(1, 500)]) == []


#: rule -> (figures with which it speaks, how often in a row they must be seen)
TROUBLES: dict[str, tuple[dict[str, Any], int]] = {
    "critic_ahead": ({"critic_loss": 0.001}, 2),
    "vanishing_gradient": ({"signal": 1e-5}, 2),
    "collapse": ({"diversity": 0.01}, 3),
    "class_not_learnt": ({"class_accuracy": {"cat": 0.9, "dog": 0.95, "owl": 0.1}}, 3),
    "memorisation": ({"memorised": 0.5}, 2),
}


@pytest.mark.parametrize("name", list(TROUBLES))
def test_a_rule_speaks_of_what_lasts_and_only_at_the_end(name: str) -> None:
    figures, needed = TROUBLES[name]
    for times in range(needed):
        assert names(lasting(times, **figures)) == []
    assert names(lasting(needed, **figures)) == [name]
    assert names(lasting(9, **figures)) == [name]
    assert names([*lasting(needed, **figures), healthy(1100)]) == []
    broken = lasting(needed, **figures)
    broken[-2] = healthy(broken[-2].step)  # the row is interrupted
    assert names(broken) == []
    # a history that is too short to last
    assert names([healthy(900 + index, **figures) for index in range(needed - 1)]) == []
    assert names([healthy(900 + index, **figures) for index in range(needed)]) == [name]


def test_one_bad_moment_in_everything_says_nothing() -> None:
    bad = healthy(
        1000,
        critic_loss=0.0,
        signal=0.0,
        gradient=0.0,
        diversity=0.0,
        class_diversity=dict.fromkeys(("cat", "dog", "owl"), 0.0),
        class_accuracy={"cat": 0.9, "dog": 0.95, "owl": 0.0},
        memorised=1.0,
        fid=1e6,
    )
    assert diagnose([*lasting(0), bad]) == []
    assert diagnose([bad]) == []
    # while all of it, lasting, is found together, in the order of the rules
    assert names([healthy(100), bad, bad, bad]) == [name for name in RULES if name != "oscillation"]


def test_findings() -> None:
    (found,) = diagnose(lasting(2, critic_loss=0.0123, critic_real=7.77, critic_fake=-8.88))
    assert found == Finding(
        "critic_ahead",
        1000,
        "the critic's loss is 0.012 where an undecided one has 1.4; "
        "its output is +7.8 on real and -8.9 on generated samples",
        found.advice,
    )
    assert str(found) == f"step 1000: critic ahead: {found.evidence}. {found.advice}"
    both = diagnose(lasting(2, critic_loss=0.01, memorised=0.9))
    assert [one.name for one in both] == ["critic_ahead", "memorisation"]


def test_every_rule_can_be_switched_off_in_the_recipe() -> None:
    assert {*RULES, "divergence"} == set(Diagnosis.model_fields)


def test_evidence_survives_its_file() -> None:
    one = healthy(7)
    assert Evidence(**one.plain()) == one
    assert set(one.plain()) == {field.name for field in fields(Evidence)}
    assert (healthy(250).progress, healthy(2000).progress) == (0.25, 2.0)


# critic_ahead


@pytest.mark.parametrize("undecided", [UNDECIDED, 2.0, math.log(2), 0.5])
def test_critic_ahead_means_below_three_hundredths(undecided: float) -> None:
    edge = 0.03 * undecided
    assert critic_ahead(lasting(2, critic_loss=edge, undecided_loss=undecided))
    assert critic_ahead(lasting(2, critic_loss=0.0, undecided_loss=undecided))
    assert critic_ahead(lasting(2, critic_loss=math.nextafter(edge, 1), undecided_loss=undecided)) is None


@pytest.mark.parametrize("loss", [-1e6, -1.0, 0.0, 1.0])
def test_a_wasserstein_critic_is_never_too_far_ahead(loss: float) -> None:
    assert critic_ahead(lasting(5, critic_loss=loss, undecided_loss=0.0, critic_real=500.0)) is None


def test_a_critic_whose_loss_nobody_knows_is_not_ahead() -> None:
    assert critic_ahead(lasting(2, critic_loss=NAN, critic_real=NAN, critic_fake=NAN)) is None


# vanishing_gradient


def test_a_gradient_vanishes_below_a_fiftieth_of_the_undecided() -> None:
    assert vanishing_gradient(lasting(2, signal=just(0.01)))
    assert vanishing_gradient(lasting(2, signal=0.01)) is None
    assert vanishing_gradient(lasting(2, signal=just(0.02), undecided_signal=1.0))
    assert vanishing_gradient(lasting(2, signal=0.015, undecided_signal=0.5)) is None


def test_a_gradient_that_does_not_arrive_has_vanished() -> None:
    assert vanishing_gradient(lasting(2, gradient=just(1e-9)))
    assert vanishing_gradient(lasting(2, gradient=1e-9)) is None
    mixed = [*lasting(1, signal=0.0), healthy(1100, gradient=0.0)]
    words = vanishing_gradient(mixed)
    assert words is not None
    assert "the norm of its weights' gradient is 0.0e+00" in words[0]


def test_vanishing_says_how_much_is_left() -> None:
    words = vanishing_gradient(lasting(2, signal=1.7e-5, gradient=3.21e-6))
    assert words is not None
    assert "passes on 3.4e-05 of the gradient that it has at score 0" in words[0]
    assert "gradient is 3.2e-06" in words[0]
    assert "objective=non-saturating" in words[1]


def test_an_objective_without_gradient_at_zero_is_no_division_by_zero() -> None:
    assert vanishing_gradient(lasting(2, signal=0.0, undecided_signal=0.0, gradient=1.0)) is None
    assert vanishing_gradient(lasting(2, signal=0.0, undecided_signal=0.0, gradient=0.0))


def test_unknown_gradients_have_not_vanished() -> None:
    assert vanishing_gradient(lasting(2, signal=NAN, gradient=NAN)) is None
    assert vanishing_gradient(lasting(2, undecided_signal=NAN)) is None


def test_a_generator_that_fools_a_weak_critic_is_not_told_to_weaken_it() -> None:
    """Figures of a real run with critic.lr=1e-5: non-saturating has no gradient where the critic believes all."""
    words = vanishing_gradient(lasting(2, critic_loss=6.09, critic_real=0.6, critic_fake=5.5, signal=0.0046))
    assert words is None or "a weaker critic" not in words[1]


# collapse


def test_collapse_from_a_height() -> None:
    """Below 0.4 of the real, and below half of what was reached."""
    for peak, edge in ((1.0, 0.4), (0.8, 0.4), (0.7, 0.35), (0.6, 0.3)):
        assert collapse(curve("diversity", [peak, peak, *[just(edge)] * 3]))
        assert collapse(curve("diversity", [peak, peak, *[edge] * 3])) is None
        assert collapse(curve("diversity", [peak, just(edge), edge, just(edge)])) is None
    # the height may be long ago, or have been one moment
    assert collapse(curve("diversity", [0.9, 0.3, 0.3, 0.3, 0.45, 0.3, 0.3, 0.3]))


def test_collapse_may_come_at_once() -> None:
    """From a height there is no waiting until a tenth of the training is over."""
    early = [healthy(step, steps=100_000, diversity=value) for step, value in ((1, 0.9), (2, 0.1), (3, 0.1), (4, 0.1))]
    assert collapse(early)


def test_diversity_that_never_came() -> None:
    for value, found in ((just(0.25), True), (0.25, False), (0.0, True)):
        history = [healthy(step, diversity=value) for step in (800, 900, 1000)]
        assert (collapse(history) is not None) is found
    # early it may still come: the first of the three must lie after the grace
    end = round(GRACE["collapse"] * 1000)
    assert collapse([healthy(step, diversity=0.1) for step in (end - 1, 500, 1000)]) is None
    assert collapse([healthy(step, diversity=0.1) for step in (end - 2, end - 1, 500, 1000)]) is None
    assert collapse([healthy(step, diversity=0.1) for step in (end - 1, end, 500, 1000)])


def test_collapse_inside_a_class() -> None:
    poor = {"cat": 0.8, "dog": 0.05, "owl": 1.0}
    words = collapse(lasting(3, class_diversity=poor))
    assert words is not None
    assert words[0] == (
        "the generated samples of class dog are almost alike: their spread is 0.05 of the real samples', 0.90 at best"
    )
    # each class has its own height: a class that was never better than this has not fallen
    assert collapse(curve("class_diversity", [{"cat": 0.5}, *[{"cat": 0.26}] * 3])) is None
    assert collapse(curve("class_diversity", [{"cat": 0.6}, *[{"cat": 0.26}] * 3]))


def test_collapse_names_the_worst_and_counts_the_others() -> None:
    poor = {"cat": 0.06, "dog": 0.05, "owl": 1.0}
    words = collapse(lasting(3, class_diversity=poor, diversity=0.04))
    assert words is not None
    assert "of all images and 2 more are almost alike: their spread is 0.04" in words[0]
    words = collapse(lasting(3, class_diversity=poor))
    assert words is not None
    assert "of class dog and 1 more are almost alike" in words[0]


def test_classes_that_alternate_have_not_collapsed() -> None:
    first, second = {"cat": 0.1, "dog": 0.9}, {"cat": 0.9, "dog": 0.1}
    assert collapse(curve("class_diversity", [first, second, first, second, first, second])) is None


def test_collapse_where_figures_are_missing() -> None:
    assert collapse(lasting(3, diversity=NAN, class_diversity={})) is None
    assert collapse(curve("diversity", [0.9, 0.1, NAN, 0.1])) is None
    assert collapse(curve("class_diversity", [{"cat": 0.9}, {"cat": 0.1}, {}, {"cat": 0.1}])) is None
    # a class that is gone at the end is no longer spoken of; one that was not there at first is
    assert collapse(curve("class_diversity", [{"cat": 0.9}, {"cat": 0.1}, {"cat": 0.1}, {}])) is None
    assert collapse(curve("class_diversity", [{}, {"cat": 0.1}, {"cat": 0.1}, {"cat": 0.1}]))


@pytest.mark.parametrize("key", ["diversity", "class_diversity"])
def test_a_height_that_is_unknown_at_first_is_still_a_height(key: str) -> None:
    values = [NAN, 0.3, 0.35, 0.38]
    rising = values if key == "diversity" else [{} if math.isnan(value) else {"cat": value} for value in values]
    assert collapse(curve(key, rising)) is None


def test_diversity_that_is_growing_has_not_collapsed() -> None:
    """The first scores of a healthy run of 200 steps that reached 0.93: HEALTHY, unconditional, scored every 10."""
    values = [0.11, 0.10, 0.11, 0.11, 0.17, 0.45, 0.62, 0.73, 0.81]
    history = [healthy(10 * (index + 1), steps=200, diversity=value) for index, value in enumerate(values)]
    assert all(collapse(history[:end]) is None for end in range(1, len(history) + 1))


# class_not_learnt

CLASSES = {"class_accuracy": 0.5, "class_share": 0.1}


@pytest.mark.parametrize("key", list(CLASSES))
def test_a_class_is_measured_by_the_median(key: str) -> None:
    for usual in (1.0, 0.7):
        edge = CLASSES[key] * usual
        poor = {"cat": usual, "dog": usual, "owl": just(edge)}
        assert class_not_learnt(lasting(3, **{"class_accuracy": {}, key: poor}))
        assert class_not_learnt(lasting(3, **{"class_accuracy": {}, key: poor | {"owl": edge}})) is None


@pytest.mark.parametrize("key", list(CLASSES))
def test_while_others_are_not_learnt_either_nothing_is_said(key: str) -> None:
    for usual, found in ((0.6, True), (just(0.6), False)):
        poor = {"cat": usual, "dog": usual, "owl": 0.0}
        assert (class_not_learnt(lasting(3, **{"class_accuracy": {}, key: poor})) is not None) is found


def test_a_class_not_learnt_is_named() -> None:
    poor = {"cat": 0.3, "dog": 0.9, "owl": 0.25, "elk": 0.95, "bee": 0.9}
    words = class_not_learnt(lasting(3, class_accuracy=poor))
    assert words is not None
    assert words[0] == "class owl (also cat): 25% of its images are read as that class, 90% in the median class"
    words = class_not_learnt(lasting(3, class_accuracy={}, class_share={"cat": 1.2, "dog": 1.1, "owl": 0.04}))
    assert words is not None
    assert words[0] == "class owl: 4% of its share in the data is drawn, 110% in the median class"


def test_a_class_has_some_time_to_be_learnt() -> None:
    poor, end = {"cat": 0.9, "dog": 0.9, "owl": 0.0}, round(GRACE["class_not_learnt"] * 1000)
    assert class_not_learnt([healthy(step, class_accuracy=poor) for step in (end - 1, 500, 900)]) is None
    assert class_not_learnt([healthy(step, class_accuracy=poor) for step in (end, 500, 900)])


def test_the_same_class_must_be_missing_each_time() -> None:
    first, second = {"cat": 0.9, "dog": 0.1, "owl": 0.9}, {"cat": 0.1, "dog": 0.9, "owl": 0.9}
    assert class_not_learnt(curve("class_accuracy", [first, second, first, second])) is None
    unknown = {"cat": 0.9, "owl": 0.9}  # too few images of the dog that time
    assert class_not_learnt(curve("class_accuracy", [first, unknown, first])) is None


def test_data_without_classes_has_none_to_learn() -> None:
    assert class_not_learnt(lasting(9, class_accuracy={}, class_share={})) is None
    assert class_not_learnt(lasting(9, class_accuracy={"only": 0.0})) is None
    assert class_not_learnt(lasting(9, class_accuracy=dict.fromkeys(("cat", "dog", "owl"), NAN))) is None


def test_classes_that_are_scored_only_from_now_on() -> None:
    """As after `resume --set scores.images=...` or scores.features=..."""
    poor = {"cat": 0.9, "dog": 0.9, "owl": 0.0}
    assert class_not_learnt([healthy(800, class_accuracy={}), *lasting(2, class_accuracy=poor)[-2:]]) is None


def test_a_class_that_is_being_learnt_is_not_reported() -> None:
    """Steps 50, 75 and 100 of 250 of a healthy run in which this class had 71 % at step 125 and 94 % at 150."""
    shares = [{"six": 0.5, "seven": 0.0, "two": 0.38}, {"six": 0.8, "seven": 0.05, "two": 0.7}]
    assert class_not_learnt(curve("class_accuracy", [*shares, {"six": 1.0, "seven": 0.25, "two": 0.73}])) is None


# memorisation


def test_memorised_means_a_tenth_more_than_among_real_images() -> None:
    for floor in (0.0, 0.25, 0.5):
        edge = floor + 0.1
        assert memorisation(lasting(2, memorised=math.nextafter(edge, 1), memorised_floor=floor))
        assert memorisation(lasting(2, memorised=edge, memorised_floor=floor)) is None
    words = memorisation(lasting(2, memorised=0.43, memorised_floor=0.02))
    assert words is not None
    assert words[0] == "43% of the generated samples are copies of training samples (2% of held-out real ones)"


def test_unknown_copies_are_none() -> None:
    assert memorisation(lasting(2, memorised=NAN)) is None
    assert memorisation(lasting(2, memorised=1.0, memorised_floor=NAN)) is None


# oscillation


def swinging(*values: float, floor: float = 1.0) -> list[Evidence]:
    return [healthy(100 * (index + 1), fid=value, floor=floor) for index, value in enumerate(values)]


def test_oscillation_is_four_swings_of_a_factor_of_two_in_eight_scores() -> None:
    assert oscillation(swinging(10, 21, 10, 21, 10, 21, 10, 21))
    assert oscillation(swinging(10, 19.9, 10, 19.9, 10, 19.9, 10, 19.9)) is None
    assert oscillation(swinging(10, 21, 10, 21, 10, 10, 10, 10))
    assert oscillation(swinging(10, 21, 10, 21, 21, 21, 21, 21)) is None
    assert oscillation(swinging(10, 15, 21, 15, 10, 21, 15, 10))
    words = oscillation(swinging(10, 21, 10, 45.67, 10, 21, 10, 21))
    assert words is not None
    assert words[0] == "the Frechet distance went up and down over eight scores, between 10 and 45.7"


def test_oscillation_looks_at_the_last_eight_scores() -> None:
    swings = [10.0, 21.0] * 4
    assert oscillation(swinging(*swings[1:])) is None
    assert oscillation(swinging(*[5.0] * 9, *swings))
    assert oscillation(swinging(*swings, *[5.0] * 8)) is None


def test_getting_better_is_no_oscillation() -> None:
    assert oscillation(swinging(800, 400, 200, 100, 50, 25, 12, 6)) is None
    assert oscillation(swinging(6, 12, 25, 50, 100, 200, 400, 800)) is None
    assert oscillation(swinging(800, 400, 500, 100, 130, 25, 30, 6)) is None


def test_swings_below_the_floor_do_not_count() -> None:
    values = [0.1, 0.9] * 4
    assert oscillation(swinging(*values, floor=0.05))
    assert oscillation(swinging(*values, floor=0.9)) is None
    assert oscillation(swinging(*[0.0, 0.0] * 4, floor=0.0)) is None


@pytest.mark.parametrize("value", [NAN, math.inf])
def test_unknown_distances_do_not_swing(value: float) -> None:
    assert oscillation(swinging(10, 21, 10, 21, 10, 21, 10, value)) is None
    assert oscillation(swinging(10, value, 10, 21, 10, 21, 10, 21)) is None
    assert oscillation(swinging(10, 21, 10, 21, 10, 21, 10, 21, floor=NAN))


def test_swings_around_the_first_value() -> None:
    assert oscillation(swinging(10, 6, 16, 6, 16, 6, 16, 6))


def slow_turns(values: list[int], least: int) -> int:
    """The longest chain of places that go up and down in turn by at least so much, by trying all."""

    @cache
    def longest(place: int, direction: int) -> int:
        return max(
            (
                1 + longest(later, -direction)
                for later in range(place + 1, len(values))
                if direction * (values[later] - values[place]) >= least
            ),
            default=0,
        )

    return max((longest(place, direction) for place in range(len(values)) for direction in (1, -1)), default=0)


curves = st.lists(st.integers(0, 12), min_size=1, max_size=10)
steady = settings(max_examples=200, derandomize=True, database=None)


@steady
@given(curves, st.integers(1, 8))
def test_turns_of_a_curve_that_begins_with_a_way(values: list[int], least: int) -> None:
    for beginning in (-least, 12 + least):
        begun = [beginning, *values]
        assert turns(begun, least) == slow_turns(begun, least)


@steady
@given(curves, st.integers(1, 8))
def test_turns_of_any_curve(values: list[int], least: int) -> None:
    assert turns(values, least) == slow_turns(values, least)


@steady
@given(curves, st.integers(1, 8))
def test_turns_do_not_depend_on_where_up_is(values: list[int], least: int) -> None:
    assert turns([-value for value in values], least) == turns([value + 100 for value in values], least)
    assert turns(values, 13) == 0
    assert turns(values, least) <= len(values) - 1
    repeated = [value for value in values for _ in range(3)]
    assert turns(repeated, least) == turns(values, least)


def test_slow_turns() -> None:
    """The definition itself."""
    assert slow_turns([0], 1) == 0
    assert slow_turns([0, 5, 0, 5], 5) == 3
    assert slow_turns([5, 3, 7, 3, 7], 4) == 3
    assert slow_turns([9, 6, 3, 0], 3) == 1


# --- provoked by training

SIDE = 8

Make = Callable[[], nn.Module]


@dataclass(frozen=True)
class Play:
    """A run after its training, with what was said on standard error."""

    run: Run
    said: str

    @property
    def findings(self) -> list[dict[str, Any]]:
        return read_lines(self.run.place / FINDINGS)

    @property
    def names(self) -> list[str]:
        return [line["finding"] for line in self.findings]

    @property
    def history(self) -> list[Evidence]:
        return [Evidence(**line) for line in read_lines(self.run.place / EVIDENCE)]

    def shown(self, name: str) -> int:
        return len(re.findall(rf"^step \d+: {name.replace('_', ' ')}: ", self.said, re.MULTILINE))

    def times_true(self, name: str) -> int:
        """At how many scores the rule speaks."""
        return sum(name in names(self.history[:end]) for end in range(1, len(self.history) + 1))


#: fully connected networks that learn the digits in 100 steps
HEALTHY: dict[str, Any] = {
    "name": "digits",
    "steps": 125,
    "batch": 32,
    "data": {"uri": "digits"},
    "latent": {"size": 16},
    "condition": {"method": "embed"},
    "generator": {"network": "mlp", "first": 128, "hidden": [128], "init": 0.15},
    "critic": {"network": "mlp", "first": 128, "hidden": [128], "init": 0.1},
    "optimizer": {"lr": 0.004, "betas": [0.0, 0.99]},
    "penalties": {"r1": {"weight": 1.0, "every": 4}},
    "average": {"half_life": 200.0},
    "precision": "fp32",
    "device": "cpu",
    "tick": 25,
    "snapshot": 10_000,
    "checkpoint": 10_000,
    "scores": {"every": 25, "images": 200},
}
UNCONDITIONAL: dict[str, Any] = {"condition.method": "none"}


@pytest.fixture(scope="module", autouse=True)
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Classifiers that are good enough for digits, in a cache of their own; no plots, which take longer than them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZEROSUM_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr("zerosum.metrics.pictures.classifier.STEPS", 100)
        for plot in ("plot_losses", "plot_scores"):
            patch.setattr(f"zerosum.plots.{plot}", empty_picture)
        yield


def play(folder: Path, overrides: dict[str, Any] | None = None, **objects: Any) -> Play:
    recipe = Recipe.parse(HEALTHY).with_overrides(overrides or {})
    with contextlib.redirect_stderr(io.StringIO()) as said:
        run = api.train(recipe, out=folder, **objects)
    return Play(run, said.getvalue())


@cache
def digits() -> PictureSource:
    return open_source(PictureData(uri="digits"))[0]


def labels_of(source: PictureSource) -> np.ndarray[Any, np.dtype[np.int64]]:
    assert source.labels is not None
    return source.labels[:, 0]


def provoked(faulty: Play, name: str, times: int = 2) -> dict[str, Any]:
    """Exactly this was found: written once, with what to do, and shown once although it lasted so many scores."""
    assert faulty.names == [name]
    (line,) = faulty.findings
    assert faulty.shown(name) == len(re.findall(r"^step \d+: ", faulty.said, re.MULTILINE)) == 1
    assert f"step {line['step']}: {name.replace('_', ' ')}: {line['evidence']}. {line['advice']}\n" in faulty.said
    assert faulty.times_true(name) >= times
    assert line["action"] == "warn"
    assert line["advice"]
    assert re.search(r"\d", line["evidence"])
    assert read_json(faulty.run.place / "summary.json")["findings"] == [{"step": line["step"], "finding": name}]
    assert faulty.run.state.step == faulty.run.recipe.steps
    return line


def in_health(twin: Play) -> None:
    """Nothing was found, though it was looked for."""
    assert len(twin.history) >= 5
    assert not (twin.run.place / FINDINGS).exists()
    assert re.findall(r"^step \d+: ", twin.said, re.MULTILINE) == []


def test_healthy_digits_fully_connected(tmp_path: Path) -> None:
    twin = play(tmp_path, {"steps": 200})
    in_health(twin)
    last = twin.history[-1]
    assert last.fid < 60  # it did learn: 870 at first, 15 for real samples
    assert min(last.class_accuracy.values()) > 0.6
    assert 0.8 < last.diversity < 1.2


def test_healthy_digits_of_the_recipe(tmp_path: Path) -> None:
    """The packaged recipe, a quarter as wide, for a fifth of its steps."""
    keys = {"generator.width": 16, "critic.width": 16, "steps": 300, "scores.every": 50, "scores.images": 300}
    with contextlib.redirect_stderr(io.StringIO()) as said:
        run = api.train("digits", out=tmp_path, overrides=keys, precision="fp32", device="cpu")
    in_health(Play(run, said.getvalue()))


#: 50 critic steps for each of the generator, which learns slowly, and no penalty
STRONG_CRITIC: dict[str, Any] = {
    "critic.steps": 50,
    "critic.lr": 0.0005,
    "generator.lr": 0.0005,
    "generator.init": 0.5,
    "penalties.r1.weight": 0.0,
    "steps": 25,
    "tick": 5,
    "scores.every": 5,
}


def test_critic_ahead(tmp_path: Path) -> None:
    line = provoked(play(tmp_path / "a", STRONG_CRITIC), "critic_ahead")
    assert re.search(r"loss is \d\S* where an undecided one has 1\.4", line["evidence"])
    real, fake = re.findall(r"[+-]\d+\.\d", line["evidence"])
    assert float(real) > 5
    assert float(fake) < -5
    in_health(play(tmp_path / "b", STRONG_CRITIC | {"critic.steps": 1}))


def test_vanishing_gradient(tmp_path: Path) -> None:
    """Before the same critic the minimax generator learns nothing; for the other one, above, the signal stays."""
    faulty = play(tmp_path / "a", STRONG_CRITIC | {"objective": "minimax", "steps": 10})
    line = provoked_before_others(faulty, "vanishing_gradient")
    assert "objective=non-saturating" in line["advice"]
    left = float(re.findall(r"passes on (\S+) of the gradient", line["evidence"])[0])
    assert 0 < left < 0.001
    weak = play(tmp_path / "b", STRONG_CRITIC | {"objective": "minimax", "critic.steps": 1})
    in_health(weak)


def provoked_before_others(faulty: Play, name: str) -> dict[str, Any]:
    """Found at the second score; the critic, which is far ahead too, needs one more."""
    assert faulty.names == [name]
    assert faulty.shown(name) == 1
    line = faulty.findings[0]
    assert line["step"] == faulty.run.recipe.steps
    return line


#: the digits 0, 1, 2 and 4, which an unconditional generator learns in 75 steps
FEW_CLASSES = [0, 1, 2, 4]


def few_classes(rare: int = 0) -> PictureSource:
    """Four classes, and so many images of a class that is far from them: sevens, black on white."""
    labels, images = labels_of(digits()), digits().images
    chosen = np.isin(labels, FEW_CLASSES)
    sevens = 255 - images[labels == 7][:rare]
    pixels = np.concatenate([images[chosen], sevens])
    return make_source(pixels, np.concatenate([np.searchsorted(FEW_CLASSES, labels[chosen]), np.full(rare, 4)]))


@pytest.fixture(scope="module")
def unconditional_twin(tmp_path_factory: pytest.TempPathFactory) -> Play:
    return play(tmp_path_factory.mktemp("twin"), UNCONDITIONAL, source=few_classes())


def test_healthy_digits_without_labels(unconditional_twin: Play) -> None:
    in_health(unconditional_twin)
    assert set(unconditional_twin.history[-1].class_share) == {"0", "1", "2", "3"}
    assert unconditional_twin.history[-1].class_accuracy == {}


def test_collapse(tmp_path: Path) -> None:
    """A generator that runs 200 times faster than its critic draws one picture after the other."""
    keys = UNCONDITIONAL | {"critic.lr": 0.0001, "generator.lr": 0.02, "average.half_life": 0.0}
    faulty = play(tmp_path, keys, source=few_classes())
    line = provoked(faulty, "collapse")
    assert re.search(r"samples of all images are almost alike: their spread is 0\.[01]\d of the real", line["evidence"])
    made = faulty.run.sample(64)
    real = faulty.run.source.floats(np.arange(64))
    assert made.std(0).mean() < 0.4 * real.std(0).mean()  # it is so


class Deaf(nn.Module):
    """A generator that no longer hears z after so many calls in training."""

    calls: Tensor

    def __init__(self, inside: nn.Module, after: int) -> None:
        super().__init__()
        self.inside, self.after = inside, after
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        self.calls += int(self.training)
        return self.inside(z * float(self.calls < self.after), labels)  # type: ignore[no-any-return]


def test_collapse_inside_every_class(tmp_path: Path) -> None:
    """One picture of each digit: as varied as the digits, all together."""
    torch.manual_seed(0)
    recipe = Recipe.parse(HEALTHY)
    generator = Deaf(make_generator(recipe, digits().spec), 180)
    faulty = play(tmp_path, {"steps": 175, "average.half_life": 0.0}, generator=generator)
    assert faulty.names == ["collapse"]
    assert faulty.shown("collapse") == 1
    found = re.fullmatch(
        r"the generated samples of class \d and 9 more are almost alike: "
        r"their spread is 0\.00 of the real samples', (0\.\d\d|1\.\d\d) at best",
        faulty.findings[0]["evidence"],
    )
    assert found is not None
    assert float(found[1]) > 0.5
    at = next(one for one in faulty.history if one.step == faulty.findings[0]["step"])
    assert at.diversity > 0.5


def test_class_not_learnt(tmp_path: Path) -> None:
    """The folder "8" holds threes."""
    labels = labels_of(digits()).copy()
    labels[np.flatnonzero(labels == 3)[:40]] = -8
    kept = labels != 8
    mislabelled = make_source(digits().images[kept], np.abs(labels[kept]))
    line = provoked(play(tmp_path, {"scores.images": 500}, source=mislabelled), "class_not_learnt", times=1)
    found = re.fullmatch(
        r"class 8: (\d+)% of its images are read as that class, (\d+)% in the median class", line["evidence"]
    )
    assert found is not None
    assert int(found[1]) < 30
    assert int(found[2]) > 70
    assert "labels" in line["advice"]


def test_a_class_that_is_never_drawn(tmp_path: Path) -> None:
    """A rare class far from the others, which a generator without labels leaves out; the twin has no such class."""
    faulty = play(tmp_path, UNCONDITIONAL, source=few_classes(30))
    line = provoked(faulty, "class_not_learnt")
    found = re.fullmatch(
        r"class 4: (\d+)% of its share in the data is drawn, (\d+)% in the median class", line["evidence"]
    )
    assert found is not None
    assert int(found[1]) < 10
    assert int(found[2]) > 60


def test_memorisation(tmp_path: Path) -> None:
    """Eight images, each with a label of its own, as where a column of numbers or names is taken for classes."""
    few = make_source(digits().images[:8], np.arange(8))
    keys = {"batch": 8, "steps": 160, "tick": 20, "scores.every": 20}
    faulty = play(tmp_path / "a", keys, source=few)
    line = provoked(faulty, "memorisation")
    share = re.match(r"(\d+)% of the generated samples are copies .* \(0% of held-out real ones\)", line["evidence"])
    assert share is not None
    assert int(share[1]) > 10
    assert faulty.history[-1].memorised > 0.3
    twin = play(tmp_path / "b", keys | UNCONDITIONAL, source=few)
    in_health(twin)
    assert twin.history[-1].memorised < 0.1


class Shift(nn.Module):
    """Noise around a picture that is learnt."""

    def __init__(self) -> None:
        super().__init__()
        self.picture = nn.Parameter(torch.zeros(SIDE * SIDE))

    def forward(self, z: Tensor, _: Tensor | None = None) -> Tensor:
        return (0.2 * z + self.picture).view(-1, 1, SIDE, SIDE)


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(SIDE * SIDE))

    def forward(self, images: Tensor, _: Tensor | None = None) -> Tensor:
        return images.flatten(1) @ self.weight


def test_oscillation(tmp_path: Path) -> None:
    """The Dirac-GAN of Mescheder 2018 in 64 dimensions: without a penalty the two circle around the equilibrium."""
    random = np.random.default_rng(0)
    grey = make_source(random.normal(190, 25, (200, 1, SIDE, SIDE)).clip(0, 255).astype(np.uint8))
    keys = UNCONDITIONAL | {
        "objective": "wasserstein",
        "optimizer": {"name": "sgd", "lr": 0.2},
        "latent.size": SIDE * SIDE,
        "average.half_life": 0.0,
        "penalties.r1.weight": 0.0,
        "steps": 80,
        "tick": 8,
        "scores.every": 8,
    }
    faulty = play(tmp_path / "a", keys, source=grey, generator=Shift(), critic=Linear())
    line = provoked(faulty, "oscillation")
    assert line["step"] == 64
    low, high = (float(value) for value in re.findall(r"between (\S+) and (\S+)$", line["evidence"])[0])
    assert high > 4 * low
    twin = play(tmp_path / "b", keys | {"penalties.r1.weight": 1.0}, source=grey, generator=Shift(), critic=Linear())
    in_health(twin)
    assert twin.history[-1].fid < low


# divergence, which the training loop finds itself

#: a Wasserstein critic without any bound
EXPLODING: dict[str, Any] = {
    "objective": "wasserstein",
    "optimizer": {"name": "sgd", "lr": 1.0, "momentum": [0.9, 0.9]},
    "penalties.r1.weight": 0.0,
    "average.half_life": 0.0,
    "steps": 60,
    "tick": 5,
    "checkpoint": 5,
    "scores.every": 10,
}


def diverging(folder: Path, overrides: dict[str, Any]) -> tuple[list[dict[str, Any]], Diverged, Path]:
    """Its divergences, the error, and the run folder. What the error says is not said before."""
    recipe = Recipe.parse(HEALTHY).with_overrides(EXPLODING | overrides)
    with contextlib.redirect_stderr(io.StringIO()) as said, pytest.raises(Diverged) as caught:
        api.train(recipe, out=folder)
    (place,) = folder.iterdir()
    findings = [line for line in read_lines(place / FINDINGS) if line["finding"] == "divergence"]
    assert said.getvalue().count(": divergence: ") < len(findings)
    return findings, caught.value, place


def test_divergence_stops(tmp_path: Path) -> None:
    findings, error, place = diverging(tmp_path, {})
    assert error.exit_code == 3
    (line,) = findings
    assert line["action"] == "stop"
    assert line["evidence"].startswith(f"training diverged before step {line['step']}: ")
    assert "not finite" in line["evidence"]
    assert "optimizer.lr" in line["advice"]
    assert str(error) == f"{line['evidence']}. {line['advice']}"
    summary = read_json(place / "summary.json")
    assert summary["status"] == "diverged"
    assert summary["findings"] == [{"step": line["step"], "finding": "divergence"}]


def test_divergence_goes_back_three_times(tmp_path: Path) -> None:
    """Half the rates do not help here, and there is an end to trying."""
    findings, _, place = diverging(tmp_path, {"diagnosis.divergence": "rollback"})
    assert len(findings) == 4
    assert {line["action"] for line in findings} == {"rollback"}
    rates = [tick["critic/lr"] for tick in read_lines(place / "stats.jsonl")]
    assert rates[0] == 1.0
    assert set(rates) <= {1.0, 0.5, 0.25, 0.125}
    assert read_json(place / "summary.json")["status"] == "diverged"
