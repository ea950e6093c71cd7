"""The register of modalities, and what data.json says of each."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import tiny_source, with_input
from zerosum.data.pictures.spec import PictureSpec
from zerosum.data.spec import Spec
from zerosum.errors import ZerosumError
from zerosum.modalities import MODALITIES, make_source, modality, modality_of, modality_of_samples, parse_spec
from zerosum.modalities.modality import Modality
from zerosum.sections import SECTIONS
from zerosum.sections.picture import PictureData
from zerosum.sections.row import RowData


def specs(folder: Path) -> list[Spec]:
    table = folder / "a.csv"
    table.write_text("x,kind\n" + "\n".join(f"{i / 7:.3f},{'ab'[i % 2]}" for i in range(60)))
    draw = np.random.default_rng(0)
    return [
        tiny_source().spec,
        tiny_source(channels=3, labelled=False).spec,
        *(
            with_input(tiny_source(16), PictureData.model_validate({"input": given})).spec
            for given in ("shrunk", "edges", "domains")
        ),
        modality("row").open(RowData(uri=str(table)))[0].spec,
        make_source(draw.normal(0, 3, (8, 5)), np.arange(8) % 2).spec,
        make_source(draw.normal(0, 3, (8, 2, 2, 2, 2, 2)), axes=tuple("abcde")).spec,
        make_source(draw.integers(0, 9, (8, 5)), values="one-hot").spec,
    ]


def test_all_are_there_under_their_names() -> None:
    assert MODALITIES.keys() == SECTIONS.keys()
    for name in MODALITIES:
        found = modality(name)
        assert isinstance(found, Modality)
        assert found.name == name
        assert found.endings
        assert modality(name) is found
        assert SECTIONS[name].model_fields["modality"].default == name


def test_an_unknown_one_is_told_the_nearest() -> None:
    with pytest.raises(ZerosumError, match=r"unknown modality 'pictures': did you mean 'picture'\?"):
        modality("pictures")
    with pytest.raises(ValueError, match="unknown modality 'sound'"):
        parse_spec({"modality": "sound"})


def test_specs_come_back_from_json(tmp_path: Path) -> None:
    found = specs(tmp_path)
    assert {spec.modality for spec in found} == set(MODALITIES)
    for spec in found:
        again = parse_spec(json.loads(json.dumps(spec.plain())))
        assert again == spec
        assert type(again) is type(spec)
        assert again.sample.axes == spec.sample.axes  # which equality leaves to its order
        assert list(again.sample.axes) == list(spec.sample.axes)
        assert repr(again) == repr(spec)


def test_facts_that_are_none_are_refused(tmp_path: Path) -> None:
    for spec in specs(tmp_path):
        with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
            parse_spec({**spec.plain(), "facts": {}})
        for axes in ({}, {"column": 0}, {"column": 3, "more": 3}):
            with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
                parse_spec({**spec.plain(), "sample": {"axes": axes, "values": "mixed"}})


def test_arrays_with_a_wrong_range_or_vocabulary_are_refused() -> None:
    draw = np.random.default_rng(0)
    numbers = make_source(draw.normal(0, 3, (8, 5))).spec
    for bounds in ([1, 1], [2, 1], [float("nan"), 1], [-1e30, 1], [1], "ab"):
        with pytest.raises((KeyError, TypeError, ValueError)):
            parse_spec({**numbers.plain(), "facts": {"range": bounds}})
    words = make_source(draw.integers(0, 9, (8, 5)), values="one-hot").spec
    with pytest.raises(ValueError, match="words in samples"):
        parse_spec({**words.plain(), "facts": {"words": 8}})


def test_data_json_of_earlier_versions() -> None:
    old = {"channels": 3, "resolution": 32, "native": 28, "labels": {"class": ["0", "1"]}}
    old |= {"combinations": [[0], [1]], "counts": [4, 5], "images": 9, "fingerprint": "abc"}
    spec = parse_spec(old)
    assert spec == PictureSpec.of(3, 32, 28, {"class": ("0", "1")}, ((0,), (1,)), (4, 5))
    assert spec.size == "3x28x28"
    clip = {"channels": 9 + 2 * 8, "frames": 3, "ahead": 8, "actions": ["steering", "throttle"]}
    spec = parse_spec({"channels": 3, "resolution": 64, "native": 64, "wide": 2, "input": clip})
    assert isinstance(spec, PictureSpec)
    assert spec.sample.lengths == (24, 64, 128)
    assert spec.given is not None
    assert spec.given.lengths == (25, 64, 128)
    assert spec.actions == ("steering", "throttle")


def test_samples_find_their_modality(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    assert modality_of_samples(tmp_path / "a.csv").name == "row"
    assert modality_of_samples(str(tmp_path / "a.csv")).name == "row"
    assert modality_of_samples(tmp_path).name == "picture"
    assert modality_of_samples(np.zeros((2, 1, 8, 8))).name == "picture"
    source = make_source(np.random.default_rng(0).normal(0, 3, (8, 5)))
    assert modality_of_samples(source).name == "array"
    assert modality_of(source.spec) is modality("array")
    with pytest.raises(ZerosumError, match="unknown modality"):
        modality_of(replace(source.spec, modality="arrays"))
