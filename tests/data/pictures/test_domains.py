"""Two piles of unpaired pictures: what counts as piles, and their two streams."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import tiny_source
from tests.data.make import encoded, noise, write, write_zip
from zerosum.data.pictures.domains import DomainSource, domain_source
from zerosum.data.pictures.open import open_held_out, open_source
from zerosum.data.pictures.spec import Input
from zerosum.errors import NoTestSplit, ZerosumError
from zerosum.sections.picture import PictureData


def pictures(counts: dict[str, int], prefix: str = "", channels: int = 3) -> dict[str, object]:
    """So many pictures of 8x8 in each folder, all of one pile brighter than all of the other."""
    files: dict[str, object] = {}
    for folder, count in counts.items():
        for at in range(count):
            pixels = noise(8, 8, 3, seed=at) // 4 + (150 if folder.endswith("B") else 0)
            files[f"{prefix}{folder}/{at}.png"] = encoded(pixels if channels == 3 else pixels[:, :, 0])
    return files


def opened(place: Path, split: str = "train", **keys: Any) -> tuple[DomainSource, list[str]]:
    source, notes = open_source(PictureData(uri=str(place), input="domains", **keys), split=split)
    assert isinstance(source, DomainSource)
    return source, notes


ALL = {"trainA": 5, "trainB": 4, "testA": 3, "testB": 2}


@pytest.mark.parametrize("prefix", ["", "seasons/"])
@pytest.mark.parametrize("zipped", [False, True])
def test_the_layout_of_cyclegan(tmp_path: Path, prefix: str, zipped: bool) -> None:
    files = pictures(ALL, prefix)
    place = write_zip(tmp_path / "piles.zip", files) if zipped else write(tmp_path / "piles", files)
    source, _ = opened(place)
    testing, _ = opened(place, "test")
    assert source.spec.labels == testing.spec.labels == {"pile": ("A", "B")}
    assert source.spec.input == Input(3)
    assert (source.spec.counts, testing.spec.counts) == ((5, 4), (3, 2))
    for one in (source, testing):
        bright = one.native(range(len(one))).mean((1, 2, 3)) > 0
        assert bright.tolist() == (np.isin(np.arange(len(one)), one.domain(1))).tolist()
    held_out = open_held_out(PictureData(uri=str(place), input="domains"), source.spec)
    assert held_out is not None
    assert held_out.fingerprint == testing.fingerprint != source.fingerprint


def test_two_class_folders_or_two_values_are_piles(tmp_path: Path) -> None:
    write(tmp_path / "seasons", pictures({"summer": 3, "winterB": 2}))
    source, _ = opened(tmp_path / "seasons")
    assert source.spec.labels == {"class": ("summer", "winterB")}
    table = "file_name,gender,age\na/0.png,female,3\na/1.png,male,4\na/2.png,male,5\n"
    write(tmp_path / "faces", pictures({"a": 3}) | {"metadata.csv": table})
    source, _ = opened(tmp_path / "faces", attributes={"gender": None})
    assert (source.spec.labels, source.spec.counts) == ({"gender": ("female", "male")}, (1, 2))


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"trainA": 3}, "expected folders trainA and trainB, both with pictures"),
        ({"trainA": 3, "trainB": 2, "testB": 2}, "domain A has no pictures"),
        ({"a": 2, "b": 2, "c": 2}, "expected two domains, folders trainA and trainB, but it has class: a, b, c"),
    ],
)
def test_what_is_no_two_piles_is_refused(tmp_path: Path, counts: dict[str, int], message: str) -> None:
    write(tmp_path / "piles", pictures(counts))
    with pytest.raises(ZerosumError, match=message) as error:
        both = {"attributes": {"pile": ["A", "B"]}} if "testB" in counts else {}
        opened(tmp_path / "piles", "test" if both else "train", **both)
    assert "\n" not in str(error.value)


def test_a_grey_pile_becomes_a_coloured_one(tmp_path: Path) -> None:
    write(tmp_path / "piles", pictures({"trainA": 2}) | pictures({"trainB": 2}, channels=1))
    source, notes = opened(tmp_path / "piles")
    assert source.spec.channels == 3
    assert any("2 of 4 pictures grey, taken as colour" in note for note in notes)


def test_without_a_test_split_a_share_is_held_out(tmp_path: Path) -> None:
    write(tmp_path / "piles", pictures({"trainA": 12, "trainB": 8}))
    with pytest.raises(NoTestSplit):
        opened(tmp_path / "piles", "test")
    source, _ = opened(tmp_path / "piles", hold_out=0.25)
    testing, _ = opened(tmp_path / "piles", "test", hold_out=0.25)
    assert (len(source), len(testing)) == (15, 5)
    assert sum(source.spec.counts) == 15
    both = torch.cat([one.native(range(len(one))) for one in (source, testing)])
    assert len(torch.unique(both.flatten(1), dim=0)) == 20
    _, notes = opened(tmp_path / "piles")
    assert any("no testA and testB" in note for note in notes)


def test_each_pile_has_its_own_stream() -> None:
    piles = domain_source(tiny_source(count=12, classes=2), "here")
    first = [piles.batch(3, draw, 3) for draw in range(4)]
    again = piles.batch(3, 2, 3)
    assert torch.equal(first[2].real, again.real)
    assert torch.equal(first[2].given, again.given)
    halves = piles.batch(3, 2, 3, share=slice(1, 3))
    assert torch.equal(halves.real, again.real[1:])

    def places(images: torch.Tensor, pile: int) -> list[int]:
        real = piles.native(piles.domain(pile))
        return [int((real == image).all((1, 2, 3)).nonzero()) for image in images]

    drawn = [
        [place for batch in first for place in places(batch.real if pile else batch.given, pile)] for pile in range(2)
    ]
    for stream in drawn:  # two epochs, each of every picture of the pile
        assert sorted(stream[:6]) == sorted(stream[6:]) == list(range(6))
    assert drawn[0] != drawn[1]  # although the piles are equally large, no two pictures go together
    assert [a == b for a, b in zip(*drawn, strict=True)].count(True) < 8


def test_each_pile_is_mirrored_for_itself() -> None:
    source = tiny_source(count=8, classes=2, mirror=True)
    piles, plain = domain_source(source, "here"), domain_source(tiny_source(count=8, classes=2), "here")
    flips = [[], []]  # type: list[list[bool]]
    for draw in range(12):
        mirrored, straight = piles.batch(0, draw, 4), plain.batch(0, draw, 4)
        for pile, (one, other) in enumerate(((mirrored.given, straight.given), (mirrored.real, straight.real))):
            for image, real in zip(one, other, strict=True):
                flips[pile].append(not torch.equal(image, real))
                assert torch.equal(image, real.flip(2) if flips[pile][-1] else real)
    assert all(10 < sum(pile) < 38 for pile in flips)
    assert flips[0] != flips[1]
