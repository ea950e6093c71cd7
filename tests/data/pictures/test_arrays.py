"""Arrays: layouts and value ranges of .npy and .npz, IDX files, digits, and memory maps for large sets."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.data.make import noise, opened, opened_with_notes, write
from zerosum.data.pictures.arrays import arrange, read_digits, to_uint8
from zerosum.data.pictures.open import open_held_out, open_source
from zerosum.errors import ZerosumError
from zerosum.sections.picture import PictureData


def saved(folder: Path, **members: Any) -> Path:
    path = folder / "set.npz"
    np.savez(path, **members)
    return path


# layouts


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_layouts(channels: int, layout: str, suffix: str, tmp_path: Path) -> None:
    images = noise(6, channels, 16, 16)
    stored = images if layout == "NCHW" else images.transpose(0, 2, 3, 1)
    path = tmp_path / f"set.{suffix}"
    if suffix == "npy":
        np.save(path, stored)
    else:
        np.savez(path, images=stored)
    source = opened(path)
    np.testing.assert_array_equal(source.images, images)
    assert (source.spec.channels, source.spec.resolution, source.spec.native) == (channels, 16, 16)
    assert source.labels is None
    assert torch.equal(source.batch(0, 0, 6).real, source.native(batch_order(6)))


def batch_order(count: int) -> list[int]:
    return [int(place) for place in np.random.default_rng((0, 0, 0)).permutation(count)]


def test_grey_without_a_channel_axis(tmp_path: Path) -> None:
    images = noise(6, 16, 16)
    np.save(tmp_path / "grey.npy", images)
    np.testing.assert_array_equal(opened(tmp_path / "grey.npy").images, images[:, None])


@pytest.mark.parametrize("shape", [(5,), (5, 8), (5, 8, 8, 2), (5, 2, 8, 8), (5, 3, 8, 8, 1), ()])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ZerosumError, match="here: shape"):
        arrange(np.zeros(shape, np.uint8), "here")


@pytest.mark.parametrize(
    ("images", "labels"), [("images", "labels"), ("x_train", "y_train"), ("x", "y"), ("arr_0", "arr_1")]
)
def test_names_of_arrays(images: str, labels: str, tmp_path: Path) -> None:
    pixels = noise(6, 16, 16)
    source = opened(saved(tmp_path, **{images: pixels, labels: np.array([5, 7, 5, 9, 9, 5])}))
    assert source.spec.labels == {"class": ("5", "7", "9")}
    assert source.spec.counts == (3, 1, 2)
    np.testing.assert_array_equal(source.images[:, 0], pixels)


def test_the_test_split_of_an_npz(tmp_path: Path) -> None:
    train, test = noise(6, 16, 16), noise(4, 16, 16, seed=1)
    path = saved(tmp_path, x_train=train, y_train=np.arange(6) % 2, x_test=test, y_test=np.arange(4) % 2)
    np.testing.assert_array_equal(opened(path).images[:, 0], train)
    held_out = opened(path, split="test")
    np.testing.assert_array_equal(held_out.images[:, 0], test)
    assert held_out.spec.counts == (2, 2)


def test_no_test_split_is_said(tmp_path: Path) -> None:
    np.save(tmp_path / "set.npy", noise(6, 16, 16))
    with pytest.raises(ZerosumError, match="no test split"):
        opened(tmp_path / "set.npy", split="test")
    with pytest.raises(ZerosumError, match="x_test"):
        opened(saved(tmp_path, x=noise(6, 16, 16)), split="test")


def test_arrays_of_other_names_are_listed(tmp_path: Path) -> None:
    assert len(opened(saved(tmp_path, pictures=noise(6, 16, 16)))) == 6  # nothing else could be meant
    with pytest.raises(ZerosumError, match="has arrays one, two: expected one of images"):
        opened(saved(tmp_path, one=noise(6, 16, 16), two=noise(6, 16, 16)))


def test_medmnist_opens_as_it_comes(tmp_path: Path) -> None:
    parts = {f"{part}_images": noise(n, 28, 28, 3, seed=n) for part, n in (("train", 7), ("val", 4), ("test", 5))}
    labels = {f"{part}_labels": np.arange(n)[:, None] % 2 for part, n in (("train", 7), ("val", 4), ("test", 5))}
    path = saved(tmp_path, **parts, **labels)
    source, notes = opened_with_notes(path)
    np.testing.assert_array_equal(source.images, parts["train_images"].transpose(0, 3, 1, 2))
    assert source.spec.labels == {"class": ("0", "1")}
    assert notes == [f"{path}: 7 pictures, of shape (7, 28, 28, 3)", f"{path}: labels: train_labels (class 0, 1)"]
    np.testing.assert_array_equal(opened(path, "test").images, parts["test_images"].transpose(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("images", "labels", "test"),
    [
        ("k49-train-imgs.npz", "k49-train-labels.npz", "k49-test-imgs.npz"),
        ("x_train.npy", "y_train.npy", "x_test.npy"),
        ("train_images.npy", "train_labels.npy", "test_images.npy"),
    ],
)
def test_labels_and_test_images_in_files_of_their_own(images: str, labels: str, test: str, tmp_path: Path) -> None:
    for name, array in (
        (images, noise(6, 16, 16)),
        (labels, np.arange(6) % 3),
        (test, noise(4, 16, 16, seed=1)),
        (test.replace("imgs", "labels").replace("images", "labels").replace("x_", "y_"), np.arange(4) % 3),
    ):
        (np.save if name.endswith("npy") else np.savez)(tmp_path / name, array)
    source, notes = opened_with_notes(tmp_path / images)
    assert source.spec.counts == (2, 2, 2)
    assert f"labels: {labels} (class 0, 1, 2)" in notes[1]
    held_out = opened(tmp_path / images, "test")
    np.testing.assert_array_equal(held_out.images[:, 0], noise(4, 16, 16, seed=1))
    assert held_out.spec.counts == (2, 1, 1)


def test_rows_of_pixels_become_squares(tmp_path: Path) -> None:
    pixels = noise(5, 28, 28)
    np.testing.assert_array_equal(opened(saved(tmp_path, x=pixels.reshape(5, -1))).images[:, 0], pixels)
    pixels = noise(5, 3, 32, 32)
    np.testing.assert_array_equal(opened(saved(tmp_path, x=pixels.reshape(5, -1))).images, pixels)


def test_alpha_that_is_opaque_everywhere_is_no_channel(tmp_path: Path) -> None:
    pixels = noise(5, 16, 16, 4)
    assert opened(saved(tmp_path, x=pixels)).spec.channels == 4
    for opaque, scale in ((255, 1), (1.0, 1 / 255)):
        scaled = noise(5, 16, 16, 4) * scale
        scaled[..., 3] = opaque
        source, notes = opened_with_notes(saved(tmp_path, x=scaled))
        assert source.spec.channels == 3
        assert any("alpha is opaque in all pictures, and left out" in note for note in notes)
        assert opened(tmp_path / "set.npz", channels=4).spec.channels == 4


def test_labels_of_words_and_of_several_columns(tmp_path: Path) -> None:
    pixels = noise(4, 16, 16)
    assert opened(saved(tmp_path, x=pixels, y=np.array(["dog", "cat", "dog", "dog"]))).spec.labels == {
        "class": ("cat", "dog")
    }
    assert opened(saved(tmp_path, x=pixels, y=np.array([b"dog", b"cat"] * 2))).spec.labels == {"class": ("cat", "dog")}
    several = opened(saved(tmp_path, x=pixels, y=np.array([[0, 5], [1, 5], [0, 6], [0, 5]])))
    assert several.spec.labels == {"label0": ("0", "1"), "label1": ("5", "6")}
    column = opened(saved(tmp_path, x=pixels, y=np.array([[0], [1], [0], [0]])))
    assert column.spec.labels == {"class": ("0", "1")}


def test_labels_may_be_left_out(tmp_path: Path) -> None:
    path = saved(tmp_path, x=noise(4, 16, 16), y=np.arange(4))
    assert opened(path, labelled=False).labels is None


@pytest.mark.parametrize("labels", [np.arange(3), np.arange(5), np.array(3), np.zeros((4, 2, 2), int)])
def test_labels_that_do_not_fit_are_refused(labels: Any, tmp_path: Path) -> None:
    with pytest.raises(ZerosumError, match="labels"):
        opened(saved(tmp_path, x=noise(4, 16, 16), y=labels))


def test_attributes_choose_among_columns_of_an_array(tmp_path: Path) -> None:
    path = saved(tmp_path, x=noise(4, 16, 16), y=np.array([3, 30, 300, 31]))
    source = opened(path, attributes={"class": {"low": [0, 10], "high": [10, 100]}})
    assert source.spec.counts == (1, 2)
    np.testing.assert_array_equal(source.images, noise(4, 16, 16)[[0, 1, 3]][:, None])


def test_bins_that_hold_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ZerosumError, match="class"):
        opened(saved(tmp_path, x=noise(4, 16, 16), y=np.arange(4)), attributes={"class": {"big": [100, 200]}})


# values


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([0, 1, 128, 255], np.uint8), [0, 1, 128, 255]),
        (np.array([0, 1, 1, 0], np.uint8), [0, 255, 255, 0]),
        (np.array([True, False, True, True]), [255, 0, 255, 255]),
        (np.array([0, 8, 16, 4], np.uint8), [0, 128, 255, 64]),
        (np.array([0, 1, 17, 9], np.uint8), [0, 1, 17, 9]),
        (np.array([0, 4095, 2048, 1], np.uint16), [0, 255, 128, 0]),
        (np.array([0, 1000, 512, 4], np.int32), [0, 249, 128, 1]),
        (np.array([0, 16383, 8192, 0], np.uint16), [0, 255, 128, 0]),
        (np.array([-0.01, 0.5, 1.01, 1]), [0, 128, 255, 255]),
        (np.array([0, 257, 32768, 65535], np.uint16), [0, 1, 128, 255]),
        (np.array([0, 0.5, 0.25, 1], np.float32), [0, 128, 64, 255]),
        (np.array([-1, 0, 0.5, 1], np.float64), [0, 128, 191, 255]),
        (np.array([-1, 0, 0.5, 1], np.float16), [0, 128, 191, 255]),
        (np.array([0, 1.4, 128.6, 255], np.float32), [0, 1, 129, 255]),
        (np.array([0, 1, 128, 255], np.int64), [0, 1, 128, 255]),
        (np.array([0, 1, 128, 255], ">i2"), [0, 1, 128, 255]),
    ],
)
def test_values_become_bytes(values: Any, expected: list[int], tmp_path: Path) -> None:
    images = np.broadcast_to(values[:, None, None], (4, 16, 16))
    assert opened(saved(tmp_path, x=images)).images[:, 0, 3, 5].tolist() == expected


@pytest.mark.parametrize(
    ("values", "part"),
    [
        (np.array([0.0, np.nan]), "NaN"),
        (np.array([0.0, np.inf]), "infinite"),
        (np.array([0.5, 256.0]), "values from 0.5 to 256"),
        (np.array([-3.0, 1.0]), "values from -3 to 1"),
        (np.array([-1, 5]), "values from -1 to 5"),
        (np.array([0, 100_000]), r'values from 0 to 100000.*"data\.range": \[0, 100000\]'),
        (np.array([1 + 2j, 0]), "complex128"),
        (np.array(["a", "b"]), "cannot be pixels"),
    ],
)
def test_values_that_are_no_pixels_are_refused(values: Any, part: str) -> None:
    with pytest.raises(ZerosumError, match=f"^here: .*{part}"):
        to_uint8(np.broadcast_to(values[:, None, None, None], (2, 1, 8, 8)), "here")


def test_a_range_overrides_what_values_say(tmp_path: Path) -> None:
    path = saved(tmp_path, x=np.broadcast_to(np.array([-1000, 0, 200, 5000])[:, None, None], (4, 16, 16)))
    with pytest.raises(ZerosumError, match=r"values from -1000 to 5000"):
        opened(path)
    source, notes = opened_with_notes(path, range=[-200, 200])
    assert source.images[:, 0, 0, 0].tolist() == [0, 128, 255, 255]
    assert source.spec.range == (-200, 200)
    assert any("values -200 to 200 become 0 to 255" in note for note in notes)
    with pytest.raises(ZerosumError, match="black below white"):
        opened(path, range=[3, 3])


def test_held_out_values_are_read_as_training_ones(tmp_path: Path) -> None:
    train = np.broadcast_to(np.array([0, 4000], np.uint16)[:, None, None], (2, 16, 16))
    test = np.broadcast_to(np.array([0, 200], np.uint16)[:, None, None], (2, 16, 16))
    data = PictureData(uri=str(saved(tmp_path, x_train=train, x_test=test)))
    source = open_source(data)[0]
    held_out = open_held_out(data, source.spec)
    assert held_out is not None
    assert held_out.images[:, 0, 0, 0].tolist() == [0, round(200 * 255 / 4095)]


@pytest.mark.parametrize("shape", [(0, 16, 16), (0, 3, 16, 16), (5, 0, 0), (5, 16, 0)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_an_empty_array_is_refused(shape: tuple[int, ...], dtype: Any, tmp_path: Path) -> None:
    with pytest.raises(ZerosumError, match=r"set\.npz"):
        opened(saved(tmp_path, x=np.zeros(shape, dtype)))


def test_arrays_are_fitted_and_channels_checked(tmp_path: Path) -> None:
    path = saved(tmp_path, x=noise(4, 20, 16))
    source = opened(path, resolution=32)
    assert source.images.shape == (4, 1, 32, 32)
    assert source.spec.native == 16
    with pytest.raises(ZerosumError, match=r"data\.channels = 3, but the array has 1"):
        opened(path, channels=3)


# damaged files


def test_a_pickle_is_not_run(tmp_path: Path) -> None:
    np.save(tmp_path / "set.npy", np.array([{}, {}]), allow_pickle=True)
    with pytest.raises(ZerosumError, match="not a readable array file"):
        opened(tmp_path / "set.npy")
    with pytest.raises(ZerosumError, match="not a readable array file"):
        opened(saved(tmp_path, x=noise(2, 16, 16), y=np.array([{}, {}])))


@pytest.mark.parametrize("suffix", ["npy", "npz"])
@pytest.mark.parametrize("content", [b"", b"no array at all", b"\x93NUMPY", b"PK\x03\x04 and no more"])
def test_a_file_that_is_no_array_is_refused(suffix: str, content: bytes, tmp_path: Path) -> None:
    write(tmp_path, {f"set.{suffix}": content})
    with pytest.raises(ZerosumError, match=rf"set\.{suffix}"):
        opened(tmp_path / f"set.{suffix}")


def test_a_truncated_array_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "set.npy", noise(6, 16, 16))
    path = saved(tmp_path, x=noise(6, 16, 16))
    for file in (tmp_path / "set.npy", path):
        file.write_bytes(file.read_bytes()[:-200])
        with pytest.raises(ZerosumError, match="not a readable array file"):
            opened(file)


def test_arrays_under_each_others_suffix(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", noise(6, 16, 16))
    (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    np.savez(tmp_path / "two.npz", x=noise(6, 16, 16))
    (tmp_path / "two.npz").rename(tmp_path / "two.npy")
    for name in ("one.npz", "two.npy"):
        with pytest.raises(ZerosumError, match=name):
            opened(tmp_path / name)


@pytest.mark.parametrize("suffix", ["NPY", "NPZ"])
def test_suffixes_in_capitals(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"set.{suffix}"
    with path.open("wb") as file:
        if suffix == "NPY":
            np.save(file, noise(6, 16, 16))
        else:
            np.savez(file, x=noise(6, 16, 16))
    np.testing.assert_array_equal(opened(path).images[:, 0], noise(6, 16, 16))


@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_flipped_bytes_raise_one_kind_of_error_only(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"set.{kind}"
    if kind == "npy":
        np.save(path, np.zeros((3, 8, 8), np.uint8))
    else:
        np.savez_compressed(path, x=np.zeros((3, 8, 8), np.uint8))
    whole = path.read_bytes()
    refused, strange = 0, set()
    for place in range(len(whole)):
        for value in {255, whole[place] ^ 1, whole[place] ^ 32} - {whole[place]}:
            path.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
            try:
                opened(path)
            except ZerosumError:
                refused += 1
            except Exception as error:
                strange.add(f"byte {place} = {value}: {type(error).__name__}: {error}")
    assert not strange
    assert refused > 50


# digits


def test_digits_are_split_without_overlap() -> None:
    (train, train_labels), (test, test_labels) = read_digits("train"), read_digits("test")
    assert (train.shape, test.shape) == ((1498, 8, 8), (299, 8, 8))
    assert train.dtype == test.dtype == np.uint8
    assert (int(train.min()), int(train.max())) == (0, 255)
    assert not {image.tobytes() for image in train} & {image.tobytes() for image in test}
    for labels, low, high in ((train_labels, 140, 160), (test_labels, 20, 40)):
        counts = np.bincount(labels)
        assert len(counts) == 10
        assert low <= counts.min() <= counts.max() <= high


def test_digits_open_at_their_resolution() -> None:
    source = opened("digits", resolution=16)
    assert source.images.shape == (1498, 1, 16, 16)
    assert source.spec.native == 8
    assert source.spec.labels == {"class": tuple("0123456789")}
    assert opened("digits", split="test").images.shape == (299, 1, 8, 8)
    assert opened("digits", resolution=16).fingerprint == source.fingerprint


# large sets


def test_a_large_npy_stays_on_disk(data_folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "big.npy", noise(200, 16, 16))
    large, small = opened(tmp_path / "big.npy", memory=1e-5), opened(tmp_path / "big.npy")
    assert isinstance(large.images, np.memmap)
    assert not isinstance(small.images, np.memmap)
    np.testing.assert_array_equal(large.images, small.images)
    assert large.fingerprint == small.fingerprint
    assert torch.equal(large.batch(0, 3, 16).real, small.batch(0, 3, 16).real)
    assert not list(data_folder.rglob("*.npy"))  # it is read in place


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_a_large_set_that_must_be_fitted_goes_through_a_memory_map(
    suffix: str, data_folder: Path, tmp_path: Path
) -> None:
    images = noise(1100, 3, 12, 14) / 255  # more than one chunk
    path = tmp_path / f"big.{suffix}"
    if suffix == "npy":
        np.save(path, images)
    else:
        np.savez(path, x=images, y=np.arange(1100) % 7)
    large, small = opened(path, memory=1e-5, resolution=16), opened(path, resolution=16)
    assert isinstance(large.images, np.memmap)
    assert not isinstance(small.images, np.memmap)
    np.testing.assert_array_equal(large.images, small.images)
    np.testing.assert_array_equal(large.images.shape, (1100, 3, 16, 16))
    assert large.fingerprint == small.fingerprint
    assert len(list(data_folder.rglob("*.npy"))) == 1


def test_large_sets_of_one_name_do_not_share_a_file(data_folder: Path, tmp_path: Path) -> None:
    for folder, seed in (("a", 0), ("b", 1)):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "train.npy", noise(200, 12, 12, seed=seed))
    first = opened(tmp_path / "a" / "train.npy", memory=1e-5, resolution=16)
    before = np.array(first.images)
    second = opened(tmp_path / "b" / "train.npy", memory=1e-5, resolution=16)
    assert not np.array_equal(second.images, before)
    np.testing.assert_array_equal(first.images, before)
    assert len(list(data_folder.rglob("*.npy"))) == 2


def test_large_splits_of_one_file_do_not_share_a_file(data_folder: Path, tmp_path: Path) -> None:
    path = saved(tmp_path, x_train=noise(200, 12, 12), x_test=noise(200, 12, 12, seed=1))
    train = opened(path, memory=1e-5, resolution=16)
    before = np.array(train.images)
    test = opened(path, split="test", memory=1e-5, resolution=16)
    assert not np.array_equal(test.images, before)
    np.testing.assert_array_equal(train.images, before)
    assert data_folder.is_dir()


def test_a_cache_folder_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, {"file": b""})
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where what stands in for the cache is made
    monkeypatch.setenv("ZEROSUM_CACHE", str(tmp_path / "file" / "below"))
    path = saved(tmp_path, x=noise(200, 12, 12))
    assert len(opened(path, resolution=16)) == 200
    assert len(opened(path, resolution=16, memory=1e-5)) == 200
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{tmp_path / 'file' / 'below'} cannot be written: ")
    assert "set ZEROSUM_CACHE" in line
