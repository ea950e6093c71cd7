"""IDX files: wherever tools and people put them, and whatever is wrong with them."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from tests.data.make import idx, idx_folder, noise, opened, opened_with_notes, write
from zerosum.data.pictures.idx import find_idx, read_idx
from zerosum.errors import ZerosumError


@pytest.mark.parametrize("zipped", [True, False])
def test_an_idx_folder(zipped: bool, tmp_path: Path) -> None:
    folder = idx_folder(tmp_path / "set", count=20, zipped=zipped)
    source = opened(folder, resolution=32)
    assert source.images.shape == (20, 1, 32, 32)
    np.testing.assert_array_equal(source.images[:, 0, 2:30, 2:30], noise(20, 28, 28))
    assert source.spec.native == 28
    assert source.spec.labels == {"class": tuple("0123456789")}
    assert source.spec.counts == (2,) * 10
    held_out = opened(folder, "test")
    np.testing.assert_array_equal(held_out.images[:, 0], noise(10, 28, 28, seed=1))
    assert held_out.labels is not None
    assert held_out.labels[:, 0].tolist() == list(range(10))


def test_other_folders_are_no_idx_folders(tmp_path: Path) -> None:
    write(tmp_path, {"a.png": b"", "t10k-images-idx3-ubyte": b"", "train-images-idx1-ubyte": b""})
    assert find_idx(tmp_path) is None
    assert find_idx(tmp_path / "a.png") is None


@pytest.mark.parametrize(
    "name", ["train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"]
)
def test_a_missing_idx_file_is_named(name: str, tmp_path: Path) -> None:
    folder = idx_folder(tmp_path / "set")
    (folder / name).unlink()
    split = "train" if name.startswith("train") else "test"
    with pytest.raises(ZerosumError, match=f"{name} is missing"):
        opened(folder, split)
    if "labels" in name:
        assert len(opened(folder, split, labelled=False)) > 0


GOOD = idx(noise(4, 8, 8))


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"", "not an IDX file"),
        (GOOD[:10], "not an IDX file"),
        (b"\x00\x00\x08\x01" + GOOD[4:], "not an IDX file"),
        (b"\x00\x00\x0d\x03" + GOOD[4:], "not an IDX file"),
        (b"\x89PNG" + GOOD[4:], "not an IDX file"),
        (GOOD[:-1], "holds 255 values where its header says 256"),
        (GOOD + b"\x00", "holds 257 values where its header says 256"),
        (GOOD[:16], "holds 0 values"),
        (
            struct.pack(">4B3I", 0, 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1),
            "GiB of values, more than 4: raise data.memory",
        ),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_damaged_idx_files_are_refused(data: bytes, part: str, zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / ("x-idx3-ubyte.gz" if zipped else "x-idx3-ubyte")
    path.write_bytes(gzip.compress(data) if zipped else data)
    with pytest.raises(ZerosumError, match=part):
        read_idx(path, 3)


def test_a_damaged_gz_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(GOOD, mtime=0)
    path = tmp_path / "x-idx3-ubyte.gz"
    path.write_bytes(whole)
    np.testing.assert_array_equal(read_idx(path, 3), noise(4, 8, 8))
    refused = 0
    for damaged in [whole[: len(whole) // 2], whole[:-3], b"no gz", GOOD] + [
        whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :] for place in range(len(whole))
    ]:
        path.write_bytes(damaged)
        try:
            np.testing.assert_array_equal(read_idx(path, 3), noise(4, 8, 8))  # a flip outside the data may go unnoticed
        except ZerosumError:
            refused += 1
    assert len(whole) - 10 <= refused <= len(whole) + 4


def test_idx_counts_must_agree(tmp_path: Path) -> None:
    folder = idx_folder(tmp_path / "set")
    write(folder, {"train-labels-idx1-ubyte.gz": gzip.compress(idx(np.zeros(19, np.uint8)))})
    with pytest.raises(ZerosumError, match="20 images but 19 labels"):
        opened(folder)


# layouts that people have


def files(prefix: str = "", split: str = "t10k") -> dict[str, bytes]:
    """The four files of a set without zip endings, by the names that follow a prefix."""
    result = {}
    for part, number, seed in (("train", 12, 0), (split, 6, 1)):
        result[f"{prefix}{part}-images-idx3-ubyte"] = idx(noise(number, 28, 28, seed=seed))
        result[f"{prefix}{part}-labels-idx1-ubyte"] = idx((np.arange(number) % 3).astype(np.uint8))
    return result


LAYOUTS = {
    "as they are": files(),
    "dots": {name.replace("-idx", ".idx"): data for name, data in files().items()},
    "torchvision": {f"MNIST/raw/{name}": data for name, data in files().items()}
    | {f"MNIST/raw/{name}.gz": gzip.compress(data) for name, data in files().items()},
    "folders of their own names": {f"{name}/{name}": data for name, data in files().items()},
    "both": {name.replace("-idx", ".idx"): data for name, data in files().items()}
    | {f"{name}/{name}": data for name, data in files().items()},
    "unpacked by a browser": {f"{name}.gz": data for name, data in files().items()},
    "capitals": {name.upper(): data for name, data in files().items()},
    "test": files(split="test"),
    "beside a picture": {f"below/{name}": data for name, data in files().items()} | {"readme.md": b"words"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout: str, tmp_path: Path) -> None:
    write(tmp_path, LAYOUTS[layout])
    source, notes = opened_with_notes(tmp_path)
    np.testing.assert_array_equal(source.images[:, 0], noise(12, 28, 28))
    assert source.spec.counts == (4, 4, 4)
    assert "12 pictures, of train-images" in notes[0].lower()
    assert "labels: train-labels" in notes[1].lower()
    held_out = opened(tmp_path, "test")
    np.testing.assert_array_equal(held_out.images[:, 0], noise(6, 28, 28, seed=1))
    for inner in tmp_path.rglob("*"):  # a file of the set may be named instead
        if inner.is_file() and "images" in inner.name.lower():
            expected = source if "train" in inner.name.lower() else held_out
            np.testing.assert_array_equal(opened(inner).images, expected.images)
            assert opened(inner).spec.labels == source.spec.labels


def test_emnist_is_turned_upright(tmp_path: Path) -> None:
    write(tmp_path, files("emnist-letters-", "test"))
    source, notes = opened_with_notes(tmp_path)
    np.testing.assert_array_equal(source.images[:, 0], noise(12, 28, 28).transpose(0, 2, 1))
    assert any("turned upright" in note for note in notes)
    np.testing.assert_array_equal(opened(tmp_path, "test").images[:, 0], noise(6, 28, 28, seed=1).transpose(0, 2, 1))


def test_several_sets_are_not_mixed(tmp_path: Path) -> None:
    write(tmp_path, files("emnist-letters-", "test") | files("emnist-digits-", "test"))
    with pytest.raises(ZerosumError, match=r"holds 2 sets of IDX files: name one, data= .*digits.*letters"):
        opened(tmp_path)
    source = opened(tmp_path / "emnist-digits-train-images-idx3-ubyte")
    assert len(source) == 12
