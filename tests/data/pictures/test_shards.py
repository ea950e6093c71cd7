"""Parquet shards: a local order, exact resume, bounded memory, splits, labels, and damage."""

import re
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import zerosum as zs
from tests.conftest import same, tiny_recipe
from tests.data.make import bomb, encoded, noise, opened, opened_with_notes, write
from tests.data.make_shards import picture, write_set, write_shard
from zerosum.data.pictures.fit import Pixels
from zerosum.data.pictures.lazy import ShardImages
from zerosum.data.pictures.open import locate, open_held_out, open_labelled
from zerosum.data.pictures.order import LocalOrder
from zerosum.data.pictures.source import PictureSource, make_source
from zerosum.data.source import Lazy
from zerosum.engine.runs.run import Run
from zerosum.engine.training.state import tensors_of
from zerosum.errors import NoTestSplit, ZerosumError
from zerosum.metrics.features import Reals
from zerosum.sections.picture import PictureData


def pixels(seed: int, side: int = 8) -> Pixels:
    return noise(side, side, 3, seed=seed).transpose(2, 0, 1)


def lazy(source: PictureSource) -> ShardImages:
    assert isinstance(source.images, ShardImages)
    return source.images


def whole(source: PictureSource) -> Pixels:
    found: Pixels = source.images[:]
    return found


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of twelve images: two row groups of five."""
    monkeypatch.setattr("zerosum.data.pictures.lazy.WINDOW", 12)


def test_the_documented_way_to_write_shards(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    write(tmp_path / "pictures", {f"{name}/{seed}.png": picture(seed) for name in ("cat", "dog") for seed in range(5)})
    command = [sys.executable, "-W", "error", "-c", code]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    source = opened(tmp_path / "shards")
    assert source.spec.labels == {"class": ("cat", "dog")}
    assert source.spec.counts == (5, 5)
    assert sorted(image.tobytes() for image in whole(source)) == sorted(
        pixels(seed).tobytes() for seed in range(5) for _ in "ab"
    )


# order

SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=12)


def order(sizes: list[int], window: int) -> LocalOrder:
    return LocalOrder(np.array(sizes, np.int64), max(window, *sizes))


@settings(deadline=None, max_examples=200)
@given(SIZES, st.integers(1, 30), st.integers(0, 2**31 - 1), st.integers(0, 4))
def test_each_epoch_shows_every_image_once(sizes: list[int], window: int, seed: int, epoch: int) -> None:
    total = sum(sizes)
    found = order(sizes, window).positions(seed, epoch * total, total)
    assert sorted(found.tolist()) == list(range(total))


@settings(deadline=None, max_examples=200)
@given(SIZES, st.integers(1, 30), st.integers(0, 1000), st.integers(0, 150), st.integers(0, 150))
def test_any_stretch_can_be_drawn_alone(sizes: list[int], window: int, seed: int, start: int, count: int) -> None:
    expected = order(sizes, window).positions(seed, 0, start + count)
    np.testing.assert_array_equal(order(sizes, window).positions(seed, start, count), expected[start:])


@settings(deadline=None, max_examples=200)
@given(SIZES, st.integers(1, 30), st.integers(0, 1000))
def test_a_row_group_is_needed_in_one_window_of_an_epoch_only(sizes: list[int], window: int, seed: int) -> None:
    rule = order(sizes, window)
    total = sum(sizes)
    groups = rule.group_of(rule.positions(seed, 0, total))
    for group in range(len(sizes)):
        places = np.flatnonzero(groups == group)
        assert len(places) == sizes[group]
        assert np.ptp(places) < rule.window
    # and those of this window and the next are said beforehand
    for place in range(total):
        assert groups[place] in rule.soon(seed, place)


def test_epochs_and_seeds_differ_and_windows_mix_their_groups() -> None:
    rule = order([10] * 10, 30)
    orders = {tuple(rule.positions(seed, epoch * 100, 100)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9
    first = rule.group_of(rule.positions(0, 0, 30))
    assert len(set(first.tolist())) == 3
    assert 15 <= int((first[1:] != first[:-1]).sum()) <= 29  # 20 by chance


def test_a_far_position_costs_nothing() -> None:
    rule = order([4, 4, 4], 5)
    assert sorted(rule.positions(0, 12 * 10**14, 12)) == list(range(12))
    assert len(rule.positions(0, 10**15, 0)) == 0


# images


@pytest.mark.parametrize("struct", [False, True])
def test_images_and_labels_stay_together(struct: bool, tmp_path: Path) -> None:
    images = [picture(seed) for seed in range(14)]
    write_shard(tmp_path / "b.parquet", images[8:], {"class": [f"{i % 4}" for i in range(8, 14)]}, struct=struct)
    write_shard(tmp_path / "a.parquet", images[:8], {"class": [f"{i % 4}" for i in range(8)]}, struct=struct)
    source = opened(tmp_path)
    assert (len(source), source.images.shape, source.images.nbytes) == (14, (14, 3, 8, 8), 14 * 192)
    np.testing.assert_array_equal(whole(source), [pixels(seed) for seed in range(14)])
    assert source.labels is not None
    assert source.labels[:, 0].tolist() == [i % 4 for i in range(14)]
    batch = source.batch(1, 3, 5)
    index = source.positions(1, 15, 5)
    assert batch.condition.labels is not None
    np.testing.assert_array_equal(batch.condition.labels[:, 0], index % 4)
    shown = ((batch.real + 1) * 127.5).round().to(torch.uint8)
    np.testing.assert_array_equal(shown, [pixels(int(seed)) for seed in index])


def test_any_index_gives_its_images(tmp_path: Path) -> None:
    source = opened(write_set(tmp_path, 30, shards=1))
    index = np.array([29, 0, 7, 7, 12])
    np.testing.assert_array_equal(source.images[index], [pixels(int(seed)) for seed in index])
    np.testing.assert_array_equal(source.images[3:9:2], [pixels(seed) for seed in (3, 5, 7)])
    assert source.images[np.array([], np.int64)].shape == (0, 3, 8, 8)
    for wrong in ([30], [-1]):
        with pytest.raises(IndexError, match="of 30 images"):
            source.images[np.array(wrong)]


def test_images_are_fitted_and_kinds_found(tmp_path: Path) -> None:
    grey = [encoded(noise(28, 28, seed=seed)) for seed in range(6)]
    write_shard(tmp_path / "grey.parquet", grey)
    source = opened(tmp_path / "grey.parquet", resolution=32)
    assert (source.spec.channels, source.spec.resolution, source.spec.native) == (1, 32, 28)
    assert source.labels is None
    np.testing.assert_array_equal(source.native([2])[0, 0], torch.from_numpy(noise(28, 28, seed=2)) / 127.5 - 1)
    assert opened(tmp_path / "grey.parquet", channels=3).images.shape == (6, 3, 28, 28)


def test_a_source_of_shards_trains_as_one_of_arrays_in_the_same_order(tmp_path: Path) -> None:
    source = opened(write_set(tmp_path, 20, shards=1), mirror=True)
    array = make_source(whole(source), source.labels, source.spec.labels, mirror=True)
    assert (array.spec, array.fingerprint != source.fingerprint) == (source.spec, True)
    index = source.positions(4, 0, 20)
    assert torch.equal(source.native(index), array.native(index))


# memory


@pytest.fixture
def alive(monkeypatch: pytest.MonkeyPatch) -> Callable[[], tuple[int, int]]:
    """Bytes of decoded row groups that are in memory at most, and how many were decoded."""
    sizes: dict[int, int] = {}
    most, decoded = [0], [0]
    before = ShardImages._decode

    def counted(self: ShardImages, number: int) -> Pixels:
        result = before(self, number)
        decoded[0] += 1
        sizes[id(result)] = result.nbytes
        weakref.finalize(result, sizes.pop, id(result))
        most[0] = max(most[0], sum(sizes.values()))
        return result

    monkeypatch.setattr(ShardImages, "_decode", counted)
    return lambda: (most[0], decoded[0])


@pytest.mark.usefixtures("narrow")
def test_memory_is_bounded_and_each_row_group_read_once_an_epoch(
    alive: Callable[[], tuple[int, int]], tmp_path: Path
) -> None:
    write_set(tmp_path, 300, rows=5)
    budget = 24 * 192
    source = opened(tmp_path, memory=budget / 2**30)
    seen = [source.positions(0, draw * 10, 10) for draw in range(60)]
    for draw in range(60):
        source.batch(0, draw, 10)
    most, decoded = alive()
    assert len(np.unique(np.concatenate(seen))) == 300
    # beside what is held, one row group is in each worker's hands
    assert most <= budget + 5 * 192 * len(lazy(source)._pool._threads)
    assert 110 <= decoded <= 150  # 60 row groups, two epochs, some read ahead


@pytest.mark.usefixtures("narrow")
def test_all_images_can_be_asked_for_within_the_budget(alive: Callable[[], tuple[int, int]], tmp_path: Path) -> None:
    write_set(tmp_path, 120, rows=5)
    source = opened(tmp_path, memory=12 * 192 / 2**30)
    shuffled = np.random.default_rng(0).permutation(120)
    np.testing.assert_array_equal(source.images[shuffled], whole(source)[shuffled])
    most, decoded = alive()
    assert most <= 12 * 192 + 5 * 192 * len(lazy(source)._pool._threads)
    assert decoded == 2 * 24


def test_what_fits_stays_decoded(alive: Callable[[], tuple[int, int]], tmp_path: Path) -> None:
    source = opened(write_set(tmp_path, 60))
    for draw in range(12):
        source.batch(0, draw, 15)
    assert alive()[1] == 12


@pytest.mark.usefixtures("narrow")
def test_what_is_read_ahead_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_set(tmp_path, 90)
    source, calm = opened(tmp_path), opened(tmp_path)
    monkeypatch.setattr(lazy(calm), "read_ahead", lambda *_: None)
    for draw in (0, 1, 2, 30, 3, 29, 0):
        assert torch.equal(source.batch(0, draw, 7).real, calm.batch(0, draw, 7).real)
    assert len(lazy(source)._held) > len(lazy(calm)._held)


def test_too_little_memory_says_how_much(tmp_path: Path) -> None:
    write_set(tmp_path, 60, side=64)
    with pytest.raises(
        ZerosumError, match=r"0\.00 GiB of images must be in memory at a time: overrides=\{.data\.memory.: 0\.01\}"
    ):
        opened(tmp_path, memory=1e-4)
    assert len(opened(tmp_path, memory=0.01)) == 60


def test_row_groups_that_are_too_large_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_shard(tmp_path / "large.parquet", [picture(seed) for seed in range(20)], rows=20)
    monkeypatch.setattr("zerosum.data.pictures.parquet.WINDOW_BYTES", 19 * 192)
    with pytest.raises(ZerosumError, match=r"large\.parquet: row group 0 has 20 images.*row_group_size=1000"):
        opened(tmp_path)
    # or not decoded, but unpacked: what compresses well
    monkeypatch.undo()
    write_shard(tmp_path / "large.parquet", [picture(0) + bytes(2**21), picture(1)], use_dictionary=False)
    assert (tmp_path / "large.parquet").stat().st_size < 2**18
    with pytest.raises(ZerosumError, match="too many to be read at once"):
        opened(tmp_path, memory=2**-10)


# resume


@pytest.mark.usefixtures("narrow", "plot_nothing")
def test_training_resumes_exactly_across_row_groups(tmp_path: Path) -> None:
    write_set(tmp_path / "set", 60, classes=3)
    keys = {"condition.method": "join", "scores.every": 0, "average.half_life": 20.0, "critic.steps": 2}
    recipe = tiny_recipe(keys)

    def train(name: str, steps: int) -> Run:
        return zs.train(recipe, data=tmp_path / "set", out=tmp_path / name, steps=steps)

    straight = train("straight", 14)
    # 2 x 4 images a step: a window of two row groups ends within the second step, an epoch within the eighth
    for stop in (1, 2, 7, 8):
        run = train(f"stopped-{stop}", stop)
        assert run.folder is not None
        resumed = zs.resume(run.folder, steps=14)
        assert same(tensors_of(straight.state), tensors_of(resumed.state))
    again = zs.resume(tmp_path / "straight" / "00000-tiny", overrides={"data.memory": 0.001}, steps=15)
    assert again.state.step == 15


@pytest.mark.usefixtures("plot_nothing")
def test_other_shards_are_refused_on_resume(tmp_path: Path) -> None:
    write_set(tmp_path / "set", 60)
    run = zs.train(tiny_recipe({"scores.every": 0}), data=tmp_path / "set", out=tmp_path, steps=1)
    assert run.folder is not None
    write_shard(tmp_path / "set" / "train-00001-of-00003.parquet", [picture(99)] * 20, {"class": [0, 1] * 10})
    with pytest.raises(ZerosumError, match="the data has changed since"):
        zs.resume(run.folder, steps=2)


def test_the_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    first = write_set(tmp_path / "first", 20, shards=2)
    moved = write_set(tmp_path / "moved", 20, shards=2)
    (moved / "train-00000-of-00002.parquet").rename(moved / "train-00000-of-00009.parquet")
    assert opened(moved).fingerprint == opened(first).fingerprint == opened(first).fingerprint
    prints = {
        opened(first).fingerprint,
        opened(first, labelled=False).fingerprint,
        opened(first, channels=1).fingerprint,
    }
    prints |= {opened(write_set(tmp_path / "fewer", 18, shards=2)).fingerprint}
    prints |= {opened(write_set(tmp_path / "rows", 20, shards=2, rows=4)).fingerprint}
    other = write_set(tmp_path / "other", 20, shards=2)
    write_shard(other / "train-00001-of-00002.parquet", [picture(50 + i) for i in range(10)], {"class": [0, 1] * 5})
    prints |= {opened(other).fingerprint}
    assert len(prints) == 6


# files and splits


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train-00000-of-00001.parquet", "test-00000-of-00001.parquet"),
        ("data/train-00000-of-00001-9b1f.parquet", "data/test-00000-of-00001-1c2d.parquet"),
        ("train/a.parquet", "test/a.parquet"),
        ("plain/train.parquet", "plain/test.parquet"),
        ("pictures.parquet", "test.parquet"),
        ("TRAIN/0.PARQUET", "TEST/0.PARQUET"),
    ],
)
def test_splits(train: str, test: str, tmp_path: Path) -> None:
    write_shard(tmp_path / train, [picture(seed) for seed in range(6)], {"class": list("abcabc")})
    write_shard(tmp_path / test, [picture(seed) for seed in range(6, 10)], {"class": list("cbac")})
    source = opened(tmp_path)
    np.testing.assert_array_equal(whole(source), [pixels(seed) for seed in range(6)])
    held_out = open_held_out(PictureData(uri=str(tmp_path)), source.spec)
    assert held_out is not None
    np.testing.assert_array_equal(whole(held_out), [pixels(seed) for seed in range(6, 10)])
    assert held_out.labels is not None
    assert held_out.labels[:, 0].tolist() == [2, 1, 0, 2]


def test_other_splits_are_left_out_and_told(tmp_path: Path) -> None:
    for name in ("train-0", "validation-0", "test-0", "Training", "more"):
        write_shard(tmp_path / f"{name}.parquet", [picture(1)] * 3)
    source, notes = opened_with_notes(tmp_path)
    assert len(source) == 6
    assert [note.partition(": ")[2] for note in notes] == [
        "6 pictures in 2 files, column image",
        "labels: none",
        "1 file of no split, left out (more.parquet)",
    ]
    assert len(opened(tmp_path, "test")) == 3
    (tmp_path / "test-0.parquet").unlink()
    assert len(opened(tmp_path, "test")) == 3  # the validation file


def test_no_test_split_is_said(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.parquet", [picture(0)] * 3)
    for uri in (tmp_path, tmp_path / "a.parquet"):
        with pytest.raises(NoTestSplit):
            opened(uri, split="test")
    write_shard(tmp_path / "set" / "test-0.parquet", [picture(0)] * 3)
    with pytest.raises(ZerosumError, match="no Parquet files of split train"):
        opened(tmp_path / "set")
    # but a file that is named is taken
    assert len(opened(tmp_path / "set" / "test-0.parquet")) == 3


def test_hidden_files_and_what_is_no_parquet_are_left_out(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.parquet", [picture(0)] * 3)
    write(tmp_path, {".cache/b.parquet": b"x", "README.md": "words", ".c.parquet": b"x"})
    assert len(opened(tmp_path)) == 3


def test_a_table_beside_pictures_is_no_shard(tmp_path: Path) -> None:
    write(tmp_path, {"a.png": picture(0, 16), "metadata.parquet": b"PAR1"})
    assert len(opened(tmp_path)) == 1


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    write_shard(tmp_path / "outside.parquet", [picture(9)] * 3)
    write_shard(tmp_path / "set" / "inside.parquet", [picture(seed) for seed in range(3)])
    (tmp_path / "set" / "link.parquet").symlink_to(tmp_path / "outside.parquet")
    (tmp_path / "set" / "again.parquet").symlink_to("inside.parquet")
    (tmp_path / "set" / "loop.parquet").symlink_to("loop.parquet")
    with pytest.raises(ZerosumError, match=r"2 links out of it, not followed.* of 4 files; to follow them: "):
        opened(tmp_path / "set")
    source, notes = opened_with_notes(tmp_path / "set", bad_share=0.5)
    np.testing.assert_array_equal(whole(source), [pixels(seed) for seed in range(3)] * 2)
    assert notes[2].endswith("2 links out of it, not followed (link.parquet, loop.parquet)")
    assert len(opened(tmp_path / "set", bad_share=0.5, links=True)) == 9
    with pytest.raises(ZerosumError, match=r"1 link out of it, not followed"):
        opened(write_linked(tmp_path))


def write_linked(root: Path) -> Path:
    (root / "links").mkdir()
    (root / "links" / "link.parquet").symlink_to(root / "outside.parquet")
    return root / "links"


def test_uris_of_file_systems(tmp_path: Path) -> None:
    write_set(tmp_path / "set", 20)
    write_set(tmp_path / "set", 10, split="test")
    local = opened(tmp_path / "set")
    remote = opened(f"file://{tmp_path}/set")
    assert remote.fingerprint == local.fingerprint
    assert len(opened(f"file://{tmp_path}/set", split="test")) == 10
    assert len(opened(f"file://{tmp_path}/set/train-00000-of-00003.parquet")) == 7
    (tmp_path / "empty").mkdir()
    for uri, said in (
        (f"file://{tmp_path}/none", "no Parquet files in it"),
        (f"file://{tmp_path}/empty", "no Parquet files in it"),
        ("s3://", "cannot be read"),
        ("gs://?nothing", "cannot be read"),
    ):
        with pytest.raises(ZerosumError, match=said) as caught:
            opened(uri)
        assert "\n" not in str(caught.value)


def test_shards_lie_in_the_data_folder_too(data_folder: Path) -> None:
    write_set(data_folder / "birds", 12)
    assert locate("birds") == data_folder / "birds"
    assert len(opened("birds")) == 12


def test_without_pyarrow_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_set(tmp_path, 12)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ZerosumError, match=re.escape("pip install 'zerosum[shards]'")):
        opened(tmp_path)


# labels


def test_columns_of_labels(tmp_path: Path) -> None:
    labels: dict[str, Any] = {
        "word": ["b", "a", "b"],
        "number": pa.array([10, 9, 10], pa.int8()),
        "float": [1.0, 0.5, 1.0],
        "truth": [True, False, True],
        "coded": pa.array(["x", "y", "x"]).dictionary_encode(),
        "list": [[1], [2], [3]],
        "path": pa.array([b"1", b"2", b"3"]),
    }
    write_shard(tmp_path / "a.parquet", [picture(seed) for seed in range(3)], labels)
    source = opened(tmp_path)
    assert source.spec.labels == {
        "word": ("a", "b"),
        "number": ("9", "10"),
        "float": ("0.5", "1"),
        "truth": ("False", "True"),
        "coded": ("x", "y"),
    }
    np.testing.assert_array_equal(source.labels, [[1, 1, 1, 1, 0], [0, 0, 0, 0, 1], [1, 1, 1, 1, 0]])
    assert opened(tmp_path, attributes={"word": ["b", "a"]}).spec.labels == {"word": ("b", "a")}
    with pytest.raises(ZerosumError, match="has no attribute 'wrod': did you mean 'word'"):
        opened(tmp_path, attributes={"wrod": None})
    with pytest.raises(ZerosumError, match="has no attribute 'list'"):
        opened(tmp_path, attributes={"list": None})


def test_class_labels_of_hugging_face_have_names(tmp_path: Path) -> None:
    names = ["zebra", "ant", "never"]
    images = [picture(seed) for seed in range(4)]
    write_shard(tmp_path / "a.parquet", images, {"label": [1, 0, 0, 1]}, struct=True, classes={"label": names})
    source = opened(tmp_path)
    assert source.spec.labels == {"label": ("zebra", "ant", "never")}
    assert source.labels is not None
    assert source.labels[:, 0].tolist() == [1, 0, 0, 1]
    write_shard(tmp_path / "a.parquet", images, {"label": [1, 0, 0, -1]}, struct=True, classes={"label": names})
    with pytest.raises(ZerosumError, match="image 4: attribute 'label' is empty"):
        opened(tmp_path)
    assert open_labelled(PictureData(uri=str(tmp_path)))[0].labels is None


@pytest.mark.parametrize("text", [b"", b"[", b"[]", b'{"info": {"features": {"class": 3}}}', b"[" * 100_000])
def test_strange_metadata_are_passed_over(text: bytes, tmp_path: Path) -> None:
    table = pa.table({"image": [picture(seed) for seed in range(3)], "class": [0, 1, 1]})
    pq.write_table(table.replace_schema_metadata({b"huggingface": text}), tmp_path / "a.parquet")
    assert opened(tmp_path).spec.labels == {"class": ("0", "1")}


def test_images_outside_all_bins_are_left_out_and_told(tmp_path: Path) -> None:
    ages = [5, 50, 15, 51, 52, 16, 17]
    write_shard(tmp_path / "a.parquet", [picture(seed) for seed in range(7)], {"age": ages}, rows=2)
    source, notes = opened_with_notes(tmp_path, attributes={"age": {"teen": [13, 20], "child": [0, 13]}})
    np.testing.assert_array_equal(whole(source), [pixels(seed) for seed in (0, 2, 5, 6)])
    assert source.labels is not None
    assert source.labels[:, 0].tolist() == [1, 0, 0, 0]
    assert any("3 images lie in none of the bins" in note for note in notes)


def test_too_many_values_are_no_classes(tmp_path: Path) -> None:
    images = [picture(seed % 7) for seed in range(140)]
    write_shard(tmp_path / "a.parquet", images, {"caption": [f"number {i}" for i in range(140)]})
    with pytest.raises(ZerosumError, match="attribute 'caption' has 140 different values"):
        opened(tmp_path)
    assert open_labelled(PictureData(uri=str(tmp_path)))[0].labels is None


def test_missing_labels_are_named(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.parquet", [picture(0)] * 3, {"class": ["a", None, "b"]})
    with pytest.raises(ZerosumError, match="image 2: attribute 'class' is empty"):
        opened(tmp_path)


@pytest.mark.usefixtures("narrow")
def test_images_sorted_by_their_labels_are_told(tmp_path: Path) -> None:
    images = [picture(seed % 7) for seed in range(160)]
    write_shard(tmp_path / "a.parquet", images, {"class": [i // 20 for i in range(160)]}, rows=10)
    _, notes = opened_with_notes(tmp_path)
    assert notes[1].endswith("labels: columns class 0, 1, 2, 3, 4 and 3 more")
    assert len(notes) == 3
    assert "shuffle the images before writing them" in notes[2]
    write_shard(tmp_path / "a.parquet", images, {"class": [i % 8 for i in range(160)]}, rows=10)
    assert len(opened_with_notes(tmp_path)[1]) == 2


def test_shards_must_be_alike(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.parquet", [picture(0)] * 3, {"class": [0, 1, 2]})
    write_shard(tmp_path / "b.parquet", [picture(0)] * 3, {"kind": [0, 1, 2]})
    with pytest.raises(ZerosumError, match=r"b\.parquet: has other columns than .*a\.parquet"):
        opened(tmp_path)


# damage


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    write_set(tmp_path, 12)
    path = tmp_path / "train-00001-of-00003.parquet"
    content = path.read_bytes()
    for harm in (b"", b"PAR1", content[:-1], content[: len(content) // 2], b"x" * 500):
        path.write_bytes(harm)
        with pytest.raises(ZerosumError, match=r"train-00001-of-00003\.parquet: cannot be read") as caught:
            opened(tmp_path)
        assert "\n" not in str(caught.value)


def test_pages_that_are_damaged_are_named_when_their_turn_comes(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_shard(path, [picture(seed) for seed in range(40)], rows=5, write_page_checksum=True, use_dictionary=False)
    content = bytearray(path.read_bytes())
    column = pq.ParquetFile(path).metadata.row_group(3).column(0)
    content[column.data_page_offset + column.total_compressed_size - 50] ^= 4
    path.write_bytes(bytes(content))
    source = opened(path)
    source.native([0, 14])
    with pytest.raises(ZerosumError, match=r"a\.parquet, row group 3: cannot be read.*CRC"):
        source.native([15])


def test_a_neighbour_takes_the_place_of_a_damaged_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images: list[bytes | None] = [picture(seed) for seed in range(100)]
    images[71], images[93], images[94] = b"no picture", None, picture(94)[:60]
    labels = [seed % 2 for seed in range(100)]
    labels[71:75] = [0, 1, 1, 0]
    write_shard(tmp_path / "a.parquet", images, {"class": labels}, struct=True)
    source = opened(tmp_path)
    found = whole(source)
    intact = [seed for seed in range(100) if seed not in (71, 93, 94)]
    np.testing.assert_array_equal(found[intact], [pixels(seed) for seed in intact])
    np.testing.assert_array_equal(found[71], pixels(70))  # of the same class; 70 and 74 are
    np.testing.assert_array_equal(found[93], pixels(91))
    np.testing.assert_array_equal(found[94], pixels(92))
    said = capsys.readouterr().err
    assert sorted(re.findall(r"row (\d+) \((.+)\) cannot be read: a neighbour", said)) == [
        ("71", "not a picture"),
        ("93", "no bytes; a path alone is not followed"),
    ]
    whole(opened(tmp_path, bad_share=0.03))
    for share, count in ((0.02, 3), (0.0, "[123]")):
        with pytest.raises(
            ZerosumError, match=rf"{count} of the images met so far of 100.*data.bad_share = {share:g} "
        ):
            whole(opened(tmp_path, bad_share=share))


def test_without_a_neighbour_of_the_same_label_the_nearest_stands_in(tmp_path: Path) -> None:
    images = [picture(0), b"x", picture(2)]
    write_shard(tmp_path / "a.parquet", images, {"class": ["a", "b", "a"]})
    np.testing.assert_array_equal(whole(opened(tmp_path, bad_share=0.5))[1], pixels(0))


def test_a_row_group_without_a_readable_image_is_an_error(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.parquet", [picture(0)] * 5 + [b"x"] * 5)
    with pytest.raises(ZerosumError, match=r"a\.parquet, row 5 \(not a picture\) cannot be read"):
        whole(opened(tmp_path, bad_share=1.0))
    write_shard(tmp_path / "a.parquet", [b"x"] * 5)
    with pytest.raises(ZerosumError, match="none of its images that were tried can be read"):
        opened(tmp_path)


def test_a_decompression_bomb_is_refused(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.parquet", [picture(0)] * 5 + [bomb()])
    with pytest.raises(ZerosumError, match=r"a\.parquet, row 5.*decompression bomb"):
        whole(opened(tmp_path, resolution=8))


def test_a_large_value_that_is_referred_to_often_is_not_unpacked(tmp_path: Path) -> None:
    """A dictionary of one megabyte, and a million references to it, would be a terabyte."""
    values = pa.DictionaryArray.from_arrays(pa.array(np.zeros(10_000, np.int32)), pa.array([picture(0) + bytes(2**19)]))
    pq.write_table(pa.table({"image": values}), tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < 2**20
    before = pa.total_allocated_bytes()
    source = opened(tmp_path)
    assert pa.default_memory_pool().max_memory() < 2**28
    assert len(source) == 10_000
    np.testing.assert_array_equal(source.images[np.array([0, 9_999])], [pixels(0)] * 2)
    assert pa.total_allocated_bytes() <= before + 2**20


def test_no_column_of_images(tmp_path: Path) -> None:
    pq.write_table(pa.table({"class": [1, 2]}), tmp_path / "a.parquet")
    with pytest.raises(ZerosumError, match="no column of images, as bytes, among class"):
        opened(tmp_path)
    write_shard(tmp_path / "a.parquet", [])
    with pytest.raises(ZerosumError, match="has no images"):
        opened(tmp_path)


def test_sizes_that_differ_ask_for_a_resolution(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.parquet", [picture(0, 16), picture(1, 20)])
    with pytest.raises(ZerosumError, match=r"differ in size \(16 to 20\): overrides=\{.data\.resolution.: 64\}"):
        opened(tmp_path)
    source = opened(tmp_path, resolution=16)
    assert source.spec.native == 16
    write_shard(tmp_path / "a.parquet", [picture(0, 4)] * 3)
    with pytest.raises(ZerosumError, match=r"4x4 are too small: overrides=\{.data\.resolution.: 16\}"):
        opened(tmp_path)


# scores


@pytest.mark.usefixtures("quick_scores", "narrow")
def test_shards_are_scored_like_arrays(tmp_path: Path) -> None:
    source = opened(write_set(tmp_path, 120, classes=2))
    array = make_source(whole(source), source.labels, source.spec.labels)
    fakes = np.random.default_rng(0).integers(0, 256, (60, 3, 8, 8), dtype=np.uint8)
    lazy_scores, scores = zs.score(fakes, source, features="random"), zs.score(fakes, array, features="random")
    assert lazy_scores.scores.keys() == scores.scores.keys()
    assert lazy_scores.value("fid") == pytest.approx(scores.value("fid"), rel=0.5)  # other halves of the same images
    assert lazy_scores.stamp["real"] != scores.stamp["real"]
    again = zs.score(fakes, opened(tmp_path), features="random")
    assert again.scores == lazy_scores.scores
    assert again.stamp == lazy_scores.stamp


def test_scores_look_at_some_row_groups_of_a_large_set_only(
    alive: Callable[[], tuple[int, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zerosum.data.pictures.lazy.WINDOW", 12)
    monkeypatch.setattr("zerosum.metrics.features.MOST", 20)
    source = opened(write_set(tmp_path, 300, rows=5))
    reals = Reals.of(source, "train")
    assert isinstance(source.images, Lazy)
    assert (len(reals), len(reals.half(0)), len(reals.half(1))) == (20, 20, 20)
    assert not set(reals.half(0).order) & set(reals.half(1).order)
    assert reals.identity != reals.half(0).identity
    sum(len(images) for images, _ in reals.batches(20))
    assert alive()[1] <= 6
    drawn = np.concatenate([reals.drawn(step, 10, np.random.default_rng(0)) for step in range(4)])
    assert sorted(drawn) == sorted([*reals.order[:20]] * 2)
