"""Data sections of recipes: which keys each modality has, and what earlier versions said."""

from typing import Any

import pytest

from zerosum.errors import ZerosumError
from zerosum.recipe import Recipe
from zerosum.sections.array import ArrayData
from zerosum.sections.picture import PictureData
from zerosum.sections.row import RowData


def refusal(overrides: dict[str, Any]) -> str:
    with pytest.raises(ZerosumError) as refused:
        Recipe().with_overrides(overrides)
    said = str(refused.value)
    assert "\n" not in said
    return said


def test_an_unknown_modality_is_told_the_nearest() -> None:
    assert "data.modality = 'rows': did you mean 'row'?" in refusal({"data.modality": "rows"})
    assert "choose from picture, row, array" in refusal({"data.modality": "zzz"})
    with pytest.raises(ZerosumError, match="did you mean 'picture'"):
        Recipe.parse({"data": {"modality": "pictures"}})


@pytest.mark.parametrize("value", [None, 3, [], {}, ["row"]])
def test_a_modality_that_is_no_name_is_refused(value: Any) -> None:
    assert "data.modality" in refusal({"data.modality": value})


def test_keys_of_another_modality_are_refused() -> None:
    for modality, key, value in (
        ("row", "resolution", 32),
        ("array", "mirror", True),
        ("picture", "columns", ["a"]),
        ("array", "columns", ["a"]),
    ):
        said = refusal({"data.modality": modality, f"data.{key}": value})
        assert f"unknown key 'data.{key}'" in said
    assert "did you mean 'data.hold_out'" in refusal({"data.modality": "array", "data.holdout": 0.1})


def test_keys_of_the_modality_before_go() -> None:
    pictures = Recipe().with_overrides({"data.resolution": 32, "data.mirror": True, "data.memory": 2.0})
    rows = pictures.with_overrides({"data.modality": "row", "data.columns": ["a", "b"]})
    assert rows.data == RowData(columns=("a", "b"), memory=2.0, hold_out=0.0)
    arrays = rows.with_overrides({"data.modality": "array"})
    assert arrays.data == ArrayData(memory=2.0)
    back = arrays.with_overrides({"data": {"modality": "picture", "resolution": 16}})
    assert back.data == PictureData(resolution=16, memory=2.0)
    assert rows.with_overrides({"data.modality": "row"}) == rows


def test_recipes_come_back_from_yaml() -> None:
    for data in (PictureData(resolution=16), RowData(columns=("a",)), ArrayData()):
        recipe = Recipe().with_overrides(
            {"data.modality": data.modality, **{f"data.{key}": value for key, value in data}}
        )
        again = Recipe.parse(recipe.plain())
        assert again == recipe
        assert type(again.data) is type(data)


def test_words_of_earlier_versions_are_read() -> None:
    old = {"condition.method": "picture", "data.input": "pile", "cycle": {"weight": 3}}
    recipe = Recipe().with_overrides(old)
    assert recipe == Recipe().with_overrides(old | {"condition.method": "given", "data.input": "domains"})
    assert (recipe.condition.method, recipe.data.what_is_given) == ("given", "domains")
    assert "pile" not in recipe.to_yaml()
    assert Recipe.parse({"data": {"uri": "digits"}}).data == PictureData(uri="digits")


def test_rows_have_no_labels() -> None:
    said = refusal({"data.modality": "row", "data.attributes": {"city": None}})
    assert "rows have no labels; data.columns says which columns are learnt" in said
