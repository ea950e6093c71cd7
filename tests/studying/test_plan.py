"""Study files, --vary, grids and searches become settings, or one line that says what is wrong."""

import doctest
from pathlib import Path
from typing import Any

import pytest

from zerosum.errors import ZerosumError
from zerosum.recipe import Recipe
from zerosum.studying import claims, plan
from zerosum.studying.plan import (
    StudyFile,
    make_plan,
    packaged_studies,
    parse_range,
    parse_vary,
    setting_name,
)

COURSE = ["course-conditional", "course-faces", "course-faces-attributes", "course-objectives", "course-wgan-gp"]


def study(**values: Any) -> StudyFile:
    return StudyFile.parse({"recipe": "digits"} | values)


def test_examples_in_the_docstrings() -> None:
    assert doctest.testmod(plan).failed == 0


def test_one_knob_at_a_time() -> None:
    made = make_plan(study(vary={"optimizer.lr": [0.003, 0.001, 0.01], "batch": [32]}, set={"steps": 9}, seeds=2))
    assert [one.name for one in made.settings] == ["default", "lr-0.003", "lr-0.01", "batch-32"]  # 0.001 is the default
    assert [(one.knob, one.value) for one in made.settings] == [
        (None, None),
        ("optimizer.lr", 0.003),
        ("optimizer.lr", 0.01),
        ("batch", 32),
    ]
    assert made.settings[3].set == {"steps": 9, "batch": 32}
    assert [(one.name, seed) for one, seed in made.runs()][3:6] == [("batch-32", 0), ("default", 1), ("lr-0.003", 1)]


def test_grid() -> None:
    made = make_plan(study(vary={"optimizer.lr": [0.001, 0.003], "optimizer.betas": [[0, 0.9], [0.5, 0.9]]}, grid=True))
    assert [one.name for one in made.settings] == [
        "lr-0.001-betas-0-0.9",
        "lr-0.001-betas-0.5-0.9",
        "lr-0.003-betas-0-0.9",
        "lr-0.003-betas-0.5-0.9",
    ]
    assert made.settings[2].set == {"optimizer.lr": 0.003, "optimizer.betas": [0, 0.9]}


def test_names_are_names_of_folders() -> None:
    assert setting_name({"critic.lr": 1e-05, "x.name": "a b/../c"}, ["critic.lr", "generator.lr", "x.name"]) == (
        "critic.lr-1e-05-name-a-b-..-c"
    )
    assert setting_name({"betas": [0, 0.9], "x": -1}, ["betas", "x"]) == "betas-0-0.9-x--1"
    assert len(setting_name({"a" * 99: 1}, ["a" * 99])) <= 48
    with pytest.raises(ZerosumError, match="two settings are called"):
        make_plan(study(vary={"optimizer.betas": [[0, 0.9], [0, 0.9]]}))


def test_settings_and_the_quick_form() -> None:
    full = study(
        settings={"wide": {"set": {"generator.width": 128}}, "cgan": {"recipe": "cgan-mnist"}},
        set={"steps": 900, "batch": 32},
        seeds=[3, 5],
        data="mnist",
        quick={"seeds": 1, "set": {"steps": 90}, "settings": {"cgan": {"steps": 30}}, "minutes": 2, "images": 500},
    )
    made, quick = make_plan(full), make_plan(full.quickened(), quick=True)
    assert (made.seeds, made.minutes, made.images, made.quick) == ([3, 5], None, 2000, False)
    assert made.settings[0].set == {"steps": 900, "batch": 32, "data.uri": "mnist", "generator.width": 128}
    assert (quick.seeds, quick.minutes, quick.images, quick.quick) == ([0], 2, 500, True)
    assert [one.set["steps"] for one in quick.settings] == [90, 30]
    assert quick.settings[1].recipe == "cgan-mnist"


def test_sections_of_settings_merge() -> None:
    """What is set for all, in the quick form and for one setting each changes what it names."""
    found = StudyFile.parse(
        {
            "recipe": "digits",
            "set": {"optimizer": {"lr": 0.1, "betas": [0, 0.9]}, "generator": {"width": 4}},
            "settings": {"a": {"set": {"optimizer": {"lr": 0.2}}}, "b": {"set": {"optimizer.decay": 2}}},
            "quick": {"set": {"generator": {"norm": "none"}}, "settings": {"a": {"optimizer": {"decay": 3}}}},
        }
    )
    first, second = make_plan(found.quickened(), quick=True).settings
    assert first.set == {
        "optimizer.betas": [0, 0.9],
        "optimizer.lr": 0.2,
        "optimizer.decay": 3,
        "generator.width": 4,
        "generator.norm": "none",
    }
    assert second.set["optimizer.lr"] == 0.1
    assert second.set["optimizer.decay"] == 2
    varied = make_plan(study(vary={"optimizer": [{"lr": 0.5}, {"name": "sgd"}]}, set={"optimizer": {"betas": [0, 0]}}))
    recipes = [Recipe.load(one.recipe, one.set).optimizer for one in varied.settings]
    assert [(one.lr, one.name, one.betas) for one in recipes] == [
        (0.001, "adam", (0, 0)),
        (0.5, "adam", (0, 0)),
        (0.001, "sgd", (0, 0)),
    ]


def test_study_yaml_makes_the_same_plan_again(tmp_path: Path) -> None:
    for name in COURSE:
        for made in (make_plan(StudyFile.load(name)), make_plan(StudyFile.load(name).quickened(), quick=True)):
            (tmp_path / "study.yaml").write_text(made.to_yaml())
            again = make_plan(StudyFile.load(tmp_path / "study.yaml"), made.quick)
            assert again == made
    search = make_plan(study(vary=parse_vary(["optimizer.lr=1e-4..1e-2 log"]), search=5, by="accuracy"))
    (tmp_path / "search.yaml").write_text(search.to_yaml())
    assert make_plan(StudyFile.load(tmp_path / "search.yaml")) == search


def test_search() -> None:
    made = make_plan(study(vary={"optimizer.lr": "1e-4..1e-2 log", "batch": [16, 32]}, search=7))
    assert made.search is not None
    assert (made.settings, made.seeds, made.search.trials, made.search.by) == ([], [0], 7, "fid")
    assert [one.set for one in made.search.ends()] == [
        {"optimizer.lr": 1e-4},
        {"optimizer.lr": 1e-2},
        {"batch": 16},
        {"batch": 32},
    ]


@pytest.mark.parametrize(
    ("text", "low", "high", "log", "whole"),
    [
        ("1..3", 1, 3, False, True),
        (" -1.5 .. 3 ", -1.5, 3, False, False),
        ("1e-4..1e-2 log", 1e-4, 1e-2, True, False),
        ("16..128 log", 16, 128, True, True),
    ],
)
def test_ranges(text: str, low: float, high: float, log: bool, whole: bool) -> None:
    found = parse_range("key", text)
    assert (found.low, found.high, found.log, found.whole) == (low, high, log, whole)


@pytest.mark.parametrize("text", ["", "3..1", "1..1", "0..1 log", "-1..1 log", "1..", "a..b", "1..2 lin", "1..1e999"])
def test_empty_ranges_are_refused(text: str) -> None:
    with pytest.raises(ZerosumError, match=r"an empty range|write a list of values"):
        parse_range("key", text)


@pytest.mark.parametrize("pairs", [["optimizer.lr"], ["=1"], ["optimizer.lr="], ["a=1", "a=2"], ["a=[1"]])
def test_bad_vary(pairs: list[str]) -> None:
    with pytest.raises(ZerosumError, match="--vary"):
        parse_vary(pairs)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"claim": []}, "unknown key 'claim': did you mean 'claims'?"),
        ({"vari": {}}, "did you mean 'vary'?"),
        ({"quick": {"seed": 1}}, "unknown key 'quick.seed': did you mean 'quick.seeds'?"),
        ({"settings": {"a": {"sets": {}}}}, "unknown key 'settings.a.sets': did you mean 'settings.set'?"),
        ({"settings": {"a/b": {}}}, "settings.a/b"),
        ({"claims": [{"say": "x"}]}, "key 'claims.0.expect' is missing"),
        ({"seeds": 0}, "seeds = 0: should be how many, from 1"),
        ({"seeds": []}, "seeds = []: should be how many, from 1"),
        ({"seeds": [-1]}, "seeds = [-1]: should be how many, from 1"),
        ({"vary": {"batch": []}}, "vary: [] should be a list of values"),
        ({"vary": {"batch": 3}}, "vary: 3 should be a list of values"),
        ({"vary": {"batch": "3..1"}, "search": 3}, "an empty range"),
        ({"vary": {"batch": "1..3"}}, "a range is for a search"),
        ({"vary": {"batch": [1]}, "settings": {"a": {}}}, "both settings and vary"),
        ({"settings": {"a": {}}, "search": 3}, "needs vary"),
        ({"search": 3}, "something to search"),
        ({"images": 3}, "images"),
        ({"minutes": 0}, "minutes"),
    ],
)
def test_bad_study_files_are_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ZerosumError) as caught:
        found = make_plan(study(**values))
        assert found.search is None or found.search.ends()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_more_that_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ZerosumError, match="no quick form"):
        study().quickened()
    with pytest.raises(ZerosumError, match="no setting 'b': choose from a"):
        make_plan(study(settings={"a": {}}, quick={"settings": {"b": {}}}).quickened(), quick=True)
    with pytest.raises(ZerosumError, match="has no claims"):
        make_plan(study(vary={"batch": [2]}, search=3, claims=[{"say": "x", "expect": "fid(a) > 1"}]))
    with pytest.raises(ZerosumError, match="trains each setting once"):
        make_plan(study(vary={"batch": [2]}, search=3, seeds=2))
    with pytest.raises(ZerosumError, match="did you mean 'course-faces'"):
        StudyFile.load("course-face")
    with pytest.raises(ZerosumError, match="does not exist"):
        StudyFile.load(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(ZerosumError, match="expected 'key: value' lines"):
        StudyFile.load(tmp_path / "list.yaml")


def test_a_recipe_beside_the_study_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(Recipe.load("digits").to_yaml())
    (tmp_path / "study.yaml").write_text("recipe: mine.yaml\nseeds: 1\n")
    assert make_plan(StudyFile.load(tmp_path / "study.yaml")).settings[0].recipe == str(tmp_path / "mine.yaml")
    assert plan.is_study_file(tmp_path / "study.yaml")
    assert not plan.is_study_file(tmp_path / "mine.yaml")


@pytest.mark.parametrize("name", COURSE)
def test_the_course(name: str) -> None:
    """Every setting of both forms is a recipe, and every claim is about settings that are there."""
    assert list(packaged_studies()) == COURSE
    full = StudyFile.load(name)
    assert full.about and full.budget and full.quick is not None and full.quick.about
    for made in (make_plan(full), make_plan(full.quickened(), quick=True)):
        names = {setting.name for setting in made.settings}
        for setting in made.settings:
            Recipe.load(setting.recipe, setting.set)
        for claim in made.claims:
            asked = list(claims.calls(claims.parse(claim.expect)))
            assert asked
            assert {call.setting for call in asked} <= names
