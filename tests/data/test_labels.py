"""Labels: columns of words to integers, values and bins as the recipe names them."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zerosum.data.labels import MOST_VALUES, Labels, natural
from zerosum.errors import ZerosumError

COLUMNS = {"gender": ["male", "female", "male", "female"], "age": ["20", "31", "4", "70.5"]}


def test_without_attributes_every_column_counts() -> None:
    labels = Labels(COLUMNS, None, "here")
    assert labels.names == {"gender": ("female", "male"), "age": ("4", "20", "31", "70.5")}
    assert labels.integers.tolist() == [[1, 1], [0, 2], [1, 0], [0, 3]]
    assert labels.kept.tolist() == [True] * 4
    assert labels.integers.dtype == np.int64


def test_named_values_keep_their_order() -> None:
    labels = Labels(COLUMNS, {"gender": ["male", "female"]}, "here")
    assert labels.names == {"gender": ("male", "female")}
    assert labels.integers.tolist() == [[0], [1], [0], [1]]


def test_an_attribute_without_values_takes_all() -> None:
    assert Labels(COLUMNS, {"gender": None}, "here").names == {"gender": ("female", "male")}


def test_attributes_stand_in_the_order_asked_for() -> None:
    labels = Labels(COLUMNS, {"age": None, "gender": None}, "here")
    assert list(labels.names) == ["age", "gender"]
    assert labels.integers[0].tolist() == [1, 1]


def test_bins_hold_their_lower_end_and_leave_out_the_rest() -> None:
    columns = {"age": ["9", "10", "29.9", "30", "54", "55", "nan"]}
    labels = Labels(columns, {"age": {"young": (10, 30), "old": (30, 55)}}, "here")
    assert labels.kept.tolist() == [False, True, True, True, True, False, False]
    assert labels.integers.tolist() == [[0], [0], [1], [1]]
    assert labels.names == {"age": ("young", "old")}


def test_what_one_attribute_leaves_out_the_others_leave_out_too() -> None:
    labels = Labels(COLUMNS, {"gender": None, "age": {"grown": (18, 99)}}, "here")
    assert labels.kept.tolist() == [True, True, False, True]
    assert labels.integers.tolist() == [[1, 0], [0, 0], [0, 0]]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(-50, 150), min_size=1, max_size=40))
def test_bins_agree_with_their_definition(ages: list[int]) -> None:
    bins = {"a": (0.0, 30.0), "b": (30.0, 60.5), "c": (60.5, 120.0)}
    expected = [next((i for i, (low, high) in enumerate(bins.values()) if low <= age < high), -1) for age in ages]
    if max(expected) < 0:
        return
    labels = Labels({"age": [str(age) for age in ages]}, {"age": bins}, "here")
    assert labels.kept.tolist() == [index >= 0 for index in expected]
    assert labels.integers[:, 0].tolist() == [index for index in expected if index >= 0]


def test_unknown_attribute_names_the_nearest() -> None:
    with pytest.raises(ZerosumError, match="here has no attribute 'gendre': did you mean 'gender'"):
        Labels(COLUMNS, {"gendre": None}, "here")


def test_unknown_value_is_named_with_its_image_and_the_nearest() -> None:
    with pytest.raises(ZerosumError, match=r"image 2.*'female'.*did you mean 'femal'"):
        Labels(COLUMNS, {"gender": ["femal", "male"]}, "here")


@pytest.mark.parametrize("blank", ["", "  "])
def test_an_empty_value_is_named(blank: str) -> None:
    with pytest.raises(ZerosumError, match=r"here, image 2: attribute 'gender' is empty"):
        Labels({"gender": ["male", blank]}, None, "here")


def test_an_empty_value_of_an_unused_attribute_is_of_no_account() -> None:
    assert Labels({"gender": ["a", "b"], "note": ["", ""]}, {"gender": None}, "here").integers.tolist() == [[0], [1]]


def test_bins_of_words_are_refused() -> None:
    with pytest.raises(ZerosumError, match=r"attribute 'gender' has bins but is no number"):
        Labels(COLUMNS, {"gender": {"low": (0, 1)}}, "here")


def test_overlapping_bins_are_refused() -> None:
    with pytest.raises(ZerosumError, match="overlap"):
        Labels(COLUMNS, {"age": {"young": (0, 40), "old": (30, 99)}}, "here")


def test_too_many_values_ask_for_bins() -> None:
    words = [str(value) for value in range(MOST_VALUES + 1)]
    with pytest.raises(ZerosumError, match=f"{MOST_VALUES + 1} different values.*bins"):
        Labels({"age": words}, None, "here")
    assert len(Labels({"age": 2 * words[:-1]}, None, "here").names["age"]) == MOST_VALUES
    assert len(Labels({"class": 3 * words}, None, "here", classes=True).names["class"]) == MOST_VALUES + 1


def test_an_attribute_that_names_images_is_refused() -> None:
    columns = {"id": [f"a{number}" for number in range(30)], "kind": ["x", "y"] * 15}
    with pytest.raises(ZerosumError, match=r"'id' has 30 different values for 30 images.*\{'kind': None\}"):
        Labels(columns, None, "here")
    assert Labels(columns, {"kind": None}, "here").names == {"kind": ("x", "y")}
    for classes in (False, True):  # numbers that are bins' business, and twenty images of twenty kinds
        columns = {"id": [str(number) for number in range(21)]}
        with pytest.raises(ZerosumError, match="names images rather than kinds"):
            Labels(columns, None, "here", classes)
        assert Labels({"id": columns["id"][:10]}, None, "here", classes).names["id"] == tuple(columns["id"][:10])


@pytest.mark.parametrize(("name", "bins"), [("age", {"old": (100.0, 120.0)}), ("age", {})])
def test_bins_in_which_nothing_lies_are_refused(name: str, bins: dict[str, tuple[float, float]]) -> None:
    with pytest.raises(ZerosumError, match=name):
        Labels(COLUMNS, {name: bins}, "here")


def test_no_attributes_at_all_are_refused() -> None:
    with pytest.raises(ZerosumError, match="attributes"):
        Labels(COLUMNS, {}, "here")


def test_numbers_sort_by_value_before_words() -> None:
    assert sorted(["10", "b", "9", "-1", "a", "1e2"], key=natural) == ["-1", "9", "10", "1e2", "a", "b"]


def test_the_order_of_values_does_not_depend_on_the_order_of_images() -> None:
    words = ["10", "nan", "2", "a"]
    orders = {Labels({"x": list(order)}, None, "here").names["x"] for order in itertools.permutations(words)}
    sorts = {tuple(sorted(order, key=natural)) for order in itertools.permutations(words)}
    assert len(orders) == 1
    assert len(sorts) == 1
