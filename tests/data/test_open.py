"""What a data URI means: names, paths, the data folder, and one clear line when there is nothing."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pooch
import pytest

from tests.data.make import colour, encoded, idx_folder, noise, opened, opened_with_notes, write, write_zip
from zerosum.data.open import locate, open_source
from zerosum.errors import ZerosumError
from zerosum.recipe import Data

TWO = {"a.png": colour(0), "b.png": colour(1)}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise OSError("offline")

    monkeypatch.setattr(pooch, "retrieve", refuse)


def test_the_digits_lie_nowhere() -> None:
    assert locate("digits") is None


def test_no_uri_asks_for_data() -> None:
    with pytest.raises(ZerosumError, match=r"--data.*metadata\.csv"):
        open_source(Data())


def test_bare_names_are_found_in_the_data_folder(data_folder: Path) -> None:
    write(data_folder / "cats", TWO)
    write_zip(data_folder / "dogs.zip", TWO)
    write_zip(data_folder / "owls_train.zip", TWO)
    write_zip(data_folder / "owls_test.zip", {"c.png": colour(2)})
    np.savez(data_folder / "rats.npz", x=noise(5, 16, 16))
    idx_folder(data_folder / "ones", count=12)
    counts = {name: len(opened(name)) for name in ("cats", "dogs", "owls", "rats", "ones")}
    assert counts == {"cats": 2, "dogs": 2, "owls": 2, "rats": 5, "ones": 12}
    assert len(opened("owls", split="test")) == 1
    np.testing.assert_array_equal(opened("cats").images, opened("dogs").images)


def test_a_folder_goes_before_a_zip(data_folder: Path) -> None:
    write(data_folder / "cats", TWO)
    write_zip(data_folder / "cats.zip", {"c.png": colour(2)})
    assert locate("cats") == data_folder / "cats"


def test_what_lies_here_goes_before_the_data_folder(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(data_folder / "cats", TWO)
    write(tmp_path / "here" / "cats", {"c.png": colour(2)})
    monkeypatch.chdir(tmp_path / "here")
    assert len(opened("cats")) == 1
    assert len(opened("./cats")) == 1


def test_paths_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "cats", TWO)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(opened("~/cats")) == 2


@pytest.mark.parametrize(
    ("uri", "near"),
    [("mnis", "mnist"), ("digit", "digits"), ("cifar-10", "cifar10"), ("fashionmnist", "fashion-mnist")],
)
def test_a_misspelt_name_names_the_nearest(uri: str, near: str, data_folder: Path) -> None:
    with pytest.raises(ZerosumError) as caught:
        opened(uri)
    said = str(caught.value)
    assert f"no data '{uri}'" in said
    assert f"'{near}'" in said
    assert str(data_folder) in said


def test_names_in_the_data_folder_are_suggested(data_folder: Path) -> None:
    write_zip(data_folder / "butterflies.zip", TWO)
    write_zip(data_folder / "elephants_train.zip", TWO)
    with pytest.raises(ZerosumError, match="'butterflies'"):
        opened("buterflies")
    with pytest.raises(ZerosumError, match="'elephants'"):
        opened("elefants")


@pytest.mark.parametrize("uri", ["no/such/folder", "./nothing", "/nowhere/at/all.zip", "https://example.org/set.zip"])
def test_a_path_to_nothing_says_so(uri: str) -> None:
    with pytest.raises(ZerosumError, match=f"no data '{uri}'.*check the path"):
        opened(uri)


@pytest.mark.parametrize("uri", ["x" * 300, "a/" * 3000, "~nobody-of-this-name/set", "null\0byte", "é\u2028", "*", "?"])
def test_odd_uris_raise_one_kind_of_error_only(uri: str, data_folder: Path) -> None:
    with pytest.raises(ZerosumError):
        opened(uri)
    assert list(data_folder.iterdir()) == []


def test_an_empty_uri_is_not_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write(tmp_path, TWO))
    with pytest.raises(ZerosumError):
        opened("")


@pytest.mark.parametrize("name", ["set.txt", "set.tar", "picture.png", "set"])
def test_another_kind_of_file_is_refused(name: str, tmp_path: Path) -> None:
    write(tmp_path, {name: colour()})
    with pytest.raises(ZerosumError, match=r"expected a folder, \.zip, \.npy or \.npz"):
        opened(tmp_path / name)


@pytest.mark.parametrize("uri", ["mnist", "cifar10"])
def test_a_download_that_fails_is_one_line(uri: str, data_folder: Path) -> None:
    with pytest.raises(ZerosumError, match=r"could not be downloaded \(OSError\)") as caught:
        opened(uri)
    assert "\n" not in str(caught.value)
    assert str(data_folder) in str(caught.value)


@pytest.mark.parametrize("memory", [1e-300, 1e-5, 4, 1e6])
def test_any_amount_of_memory(memory: float, tmp_path: Path, data_folder: Path) -> None:
    folder = write(tmp_path / "set", TWO)
    np.save(tmp_path / "set.npy", noise(4, 16, 16))
    assert opened(folder, memory=memory).images.shape == (2, 3, 16, 16)
    assert opened(tmp_path / "set.npy", memory=memory).images.shape == (4, 1, 16, 16)
    assert data_folder.is_dir()


def test_mirror_and_resolution_reach_the_source(tmp_path: Path) -> None:
    source = opened(write(tmp_path, TWO), mirror=True, resolution=32)
    assert source.mirror
    assert source.spec.resolution == 32
    assert source.spec.native == 16
    assert not opened(tmp_path).mirror


@pytest.mark.parametrize("attributes", [{"clas": None}, {"class": ["cat", "dgo"]}, {}])
def test_attributes_are_checked_against_every_kind_of_data(attributes: dict[str, Any], tmp_path: Path) -> None:
    files = {f"{name}/{i}.png": colour(i) for name in ("cat", "dog") for i in range(2)}
    np.savez(tmp_path / "set.npz", x=noise(4, 16, 16), y=np.array(["cat", "dog"] * 2))
    for uri in (write(tmp_path / "set", files), tmp_path / "set.npz"):
        with pytest.raises(ZerosumError):
            opened(uri, attributes=attributes)


def test_one_picture_of_each_layout_gives_the_same_pixels(tmp_path: Path) -> None:
    images = noise(3, 20, 20)
    np.save(tmp_path / "set.npy", images)
    write(tmp_path / "set", {f"{i}.png": encoded(image) for i, image in enumerate(images)})
    for side in (8, 16, 22, 32):
        array, folder = opened(tmp_path / "set.npy", resolution=side), opened(tmp_path / "set", resolution=side)
        np.testing.assert_array_equal(array.images, folder.images)
        assert array.spec == folder.spec


def test_notes_are_single_lines(tmp_path: Path) -> None:
    files = {"a.png": colour(0, 16, 20), "b.png": colour(1, 24, 16), "c.heic": b"", "d.png": encoded(noise(16, 16))}
    _, notes = opened_with_notes(write(tmp_path, files), resolution=16)
    assert 3 <= len(notes) <= 4
    assert all("\n" not in note and note.startswith(str(tmp_path)) for note in notes)


def test_the_environment_is_read_when_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        write(tmp_path / name / "set", {f"{i}.png": colour(i) for i in range(len(name) - 2 + (name == "two"))})
    monkeypatch.setitem(os.environ, "ZEROSUM_DATA", str(tmp_path / "one"))
    assert len(opened("set")) == 1
    monkeypatch.setitem(os.environ, "ZEROSUM_DATA", str(tmp_path / "two"))
    assert len(opened("set")) == 2
