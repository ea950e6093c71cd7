"""What a data URI means: names, paths, the data folder, and one clear line when there is nothing."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pooch
import pytest
import torch

from tests.data.make import colour, encoded, idx_folder, noise, opened, opened_with_notes, write, write_zip
from zerosum.data.pictures.fit import is_padded
from zerosum.data.pictures.open import locate, open_held_out, open_labelled, open_source, own_side
from zerosum.data.pictures.source import PictureSource, mirror_half
from zerosum.errors import ZerosumError
from zerosum.sections.picture import PictureData

TWO = {"a.png": colour(0), "b.png": colour(1)}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise OSError("offline")

    monkeypatch.setattr(pooch, "retrieve", refuse)


def test_the_digits_lie_nowhere() -> None:
    assert locate("digits") is None


def test_no_uri_asks_for_data() -> None:
    with pytest.raises(ZerosumError, match=r"with data=.*metadata\.csv"):
        open_source(PictureData())


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
    with pytest.raises(ZerosumError, match=r"expected a folder, \.zip, \.npy, \.npz or \.parquet"):
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
    assert source.augment is mirror_half
    assert source.spec.resolution == 32
    assert source.spec.native == 16
    assert opened(tmp_path).augment is None


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
    _, notes = opened_with_notes(write(tmp_path, files), resolution=16, bad_share=0.3)
    assert 4 <= len(notes) <= 5
    assert all("\n" not in note and note.startswith(str(tmp_path)) for note in notes)


def test_the_environment_is_read_when_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        write(tmp_path / name / "set", {f"{i}.png": colour(i) for i in range(len(name) - 2 + (name == "two"))})
    monkeypatch.setitem(os.environ, "ZEROSUM_DATA", str(tmp_path / "one"))
    assert len(opened("set")) == 1
    monkeypatch.setitem(os.environ, "ZEROSUM_DATA", str(tmp_path / "two"))
    assert len(opened("set")) == 2


# held-out samples


def split_set(root: Path, test: str = "dog owl", train: str = "cat dog owl") -> Path:
    """Two pictures of each class."""
    words = [f"{split}/{name}" for split, names in (("train", train), ("test", test)) for name in names.split()]
    return write(root, {f"{word}/{i}.png": colour(7 * i + len(word)) for word in words for i in range(2)})


def held_out(uri: object, **keys: Any) -> PictureSource | None:
    data = PictureData(uri=str(uri), **keys)
    return open_held_out(data, open_labelled(data)[0].spec)


def labels_of(source: PictureSource | None) -> list[list[int]]:
    assert source is not None
    assert source.labels is not None
    return [list(map(int, row)) for row in source.labels]


def test_held_out_images_have_the_integers_of_the_training_images(tmp_path: Path) -> None:
    """Whatever classes are among them."""
    found = held_out(split_set(tmp_path / "some"))
    assert labels_of(found) == [[1], [1], [2], [2]]
    assert found is not None
    assert found.spec.labels == {"class": ("cat", "dog", "owl")}
    assert labels_of(held_out(split_set(tmp_path / "all", "cat dog owl"))) == [[0], [0], [1], [1], [2], [2]]
    # numbers are sorted by value, so that 10 comes last in both
    assert labels_of(held_out(split_set(tmp_path / "numbers", "10 2", "1 2 10"))) == [[2], [2], [1], [1]]


def test_held_out_images_of_every_kind_of_data(tmp_path: Path, data_folder: Path) -> None:
    words = np.array(["cat", "dog", "owl", "owl"])
    images = noise(4, 16, 16)
    np.savez(tmp_path / "set.npz", x_train=images, y_train=words, x_test=images[1:3], y_test=words[1:3])
    assert labels_of(held_out(tmp_path / "set.npz")) == [[1], [2]]
    idx_folder(data_folder / "ones", count=12)
    digits, ones = held_out("digits"), held_out("ones")
    assert digits is not None
    assert ones is not None
    assert (len(digits), len(ones)) == (299, 6)
    write_zip(data_folder / "owls_train.zip", {f"{name}/a.png": colour(i) for i, name in enumerate(words[:3])})
    write_zip(data_folder / "owls_test.zip", {f"{name}/b.png": colour(9) for name in ("dog", "owl")})
    assert labels_of(held_out("owls")) == [[1], [2]]


def test_without_a_test_split_there_are_none(tmp_path: Path) -> None:
    np.save(tmp_path / "set.npy", noise(4, 16, 16))
    np.savez(tmp_path / "set.npz", x=noise(4, 16, 16), y=np.arange(4))
    folder = write(tmp_path / "folder", {f"{name}/a.png": colour() for name in ("cat", "dog")})
    half = idx_folder(tmp_path / "half")
    (half / "t10k-images-idx3-ubyte.gz").unlink()
    write_zip(tmp_path / "set.zip", TWO)
    for place in ("set.npy", "set.npz", "set.zip"):
        assert held_out(tmp_path / place) is None
    assert held_out(folder) is None
    assert held_out(half) is None


def test_held_out_images_without_labels(tmp_path: Path) -> None:
    """As the training samples are, or as they are taken."""
    plain = {f"{split}/{i}.png": colour(i) for split in ("train", "test") for i in range(3)}
    found = held_out(write(tmp_path / "plain", plain))
    assert found is not None
    assert (len(found), found.labels) == (3, None)
    data = PictureData(uri=str(split_set(tmp_path / "set")))
    spec = open_source(data, labelled=False)[0].spec
    found = open_held_out(data, spec)
    assert found is not None
    assert (found.labels, found.spec.labels) == (None, {})


def ages(root: Path, split: str, numbers: list[int]) -> None:
    rows = [f"{number}.png,{number},{'even' if number % 2 == 0 else 'odd'}" for number in numbers]
    write(root / split, {f"{number}.png": colour(number) for number in numbers})
    write(root / split, {"metadata.csv": "\n".join(["file_name,age,kind", *rows])})


def test_held_out_images_fall_into_the_same_bins(tmp_path: Path) -> None:
    ages(tmp_path, "train", [3, 20, 45, 60, 80])
    ages(tmp_path, "test", [70, 10, 40, 99])
    bins = {"young": (0.0, 30.0), "old": (50.0, 90.0)}
    found = held_out(tmp_path, attributes={"kind": None, "age": bins})
    # 70 and 10; 40 and 99 are in no bin
    assert labels_of(found) == [[0, 1], [0, 0]]
    assert found is not None
    assert found.spec.labels == {"kind": ("even", "odd"), "age": ("young", "old")}
    assert labels_of(held_out(tmp_path, attributes={"age": bins})) == [[1], [0]]


def test_held_out_images_are_read_as_the_training_images(tmp_path: Path) -> None:
    found = held_out(split_set(tmp_path), resolution=8, channels=1)
    assert found is not None
    assert found.images.shape == (4, 1, 8, 8)


def test_a_held_out_label_that_was_never_learnt_is_named(tmp_path: Path) -> None:
    with pytest.raises(ZerosumError, match=r"unknown class 'elk': choose from cat, dog"):
        held_out(split_set(tmp_path, "cat elk", "cat dog"))


def test_a_damaged_test_split_is_not_passed_over(tmp_path: Path) -> None:
    folder = idx_folder(tmp_path / "set")
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(b"no gzip")
    with pytest.raises(ZerosumError, match="damaged"):
        held_out(folder)
    pictures = split_set(tmp_path / "pictures")
    for path in (pictures / "test").rglob("*.png"):
        path.write_bytes(b"no picture")
    with pytest.raises(ZerosumError, match="can be read"):
        held_out(pictures)


# labels where there are any


def test_labels_are_read_where_that_is_possible(tmp_path: Path) -> None:
    good = split_set(tmp_path / "good")
    source, _ = open_labelled(PictureData(uri=str(good)))
    assert labels_of(source) == labels_of(opened(good))
    rows = "file_name,name\n" + "".join(f"{i}.png,{word}\n" for i, word in enumerate(("ann", "", "bob")))
    files: dict[str, object] = {f"{i}.png": colour(i) for i in range(3)}
    bad = write(tmp_path / "bad", files | {"metadata.csv": rows, "beside.docx": b""})
    with pytest.raises(ZerosumError, match="'name' is empty"):
        opened(bad)
    source, notes = open_labelled(PictureData(uri=str(bad)))
    assert (source.labels, len(source)) == (None, 3)
    assert notes[0] == f"{bad}: 3 pictures; 1 other file (beside.docx)"
    assert len(notes) == 2
    assert "labels: none can be read" in notes[1]
    assert "'name' is empty" in notes[1]


def test_what_cannot_be_read_at_all_is_refused_without_labels_too(tmp_path: Path) -> None:
    for uri in ("no/such/folder", str(write(tmp_path, {"a.png": b"no picture"}))):
        with pytest.raises(ZerosumError):
            open_labelled(PictureData(uri=uri))
    with pytest.raises(ZerosumError, match="names no data"):
        open_labelled(PictureData())


@pytest.mark.parametrize(("resolution", "side"), [(16, 16), (17, 16), (18, 16), (32, 16), (8, 8), (None, 16)])
def test_enlarged_images_are_opened_at_their_own_side(resolution: int | None, side: int, tmp_path: Path) -> None:
    """Padded ones are the originals once they are cropped, and of shrunk ones there is no more."""
    data = PictureData(uri=str(write(tmp_path, TWO)), resolution=resolution)
    spec = open_source(data)[0].spec
    own = own_side(data, spec)
    found, originals = open_source(own)[0], opened(tmp_path, resolution=side)
    assert (own is data) == (resolution != 32)
    assert is_padded(16, 17)
    assert found.spec.native == side
    torch.testing.assert_close(found.native([0, 1]), originals.native([0, 1]), rtol=0, atol=0)


@pytest.mark.parametrize("labelled", [True, False])
def test_a_share_is_held_out_where_there_is_no_test_split(labelled: bool, tmp_path: Path) -> None:
    images, labels = noise(40, 16, 16), np.arange(40) % 2
    np.savez(tmp_path / "set.npz", x=images, y=labels)
    data = PictureData(uri=str(tmp_path / "set.npz"), hold_out=0.2)
    training, testing = (open_source(data, labelled, split)[0] for split in ("train", "test"))
    assert (len(training), len(testing)) == (32, 8)
    assert training.rows is not None
    assert testing.rows is not None
    assert sorted([*training.rows, *testing.rows]) == list(range(40))
    assert max(testing.rows) - min(testing.rows) > 16  # from all over the set
    again = open_source(data, labelled, "test")[0]
    assert again.fingerprint == testing.fingerprint
    found = open_held_out(data, training.spec)
    assert found is not None
    assert (found.fingerprint == testing.fingerprint) == (found.spec == testing.spec)
    assert torch.equal(found.native(range(8)), testing.native(range(8)))
    assert len(open_source(data.model_copy(update={"hold_out": 0.0}), labelled)[0]) == 40


def test_nothing_is_held_out_beside_a_test_split(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", x_train=noise(10, 16, 16), x_test=noise(4, 16, 16, seed=1))
    data = PictureData(uri=str(tmp_path / "set.npz"), hold_out=0.5)
    assert [len(open_source(data, split=split)[0]) for split in ("train", "test")] == [10, 4]
