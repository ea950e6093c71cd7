"""A source: the endless shuffled stream, batches, mirror, fingerprint, and what `make_source` refuses."""

import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.make import noise
from zerosum.data.pictures.domains import domain_source
from zerosum.data.pictures.pairs import PairSource
from zerosum.data.pictures.source import make_source
from zerosum.data.pictures.spec import Input, PictureSpec
from zerosum.data.pictures.views import edges_source, shrunk_source
from zerosum.data.shape import Shape
from zerosum.data.source import check_source, positions
from zerosum.errors import ZerosumError
from zerosum.modalities import parse_spec


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 200), st.integers(0, 2**31 - 1), st.integers(0, 5))
def test_each_epoch_is_a_permutation(length: int, seed: int, epoch: int) -> None:
    found = positions(length, seed, epoch * length, length)
    assert sorted(found.tolist()) == list(range(length))


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 60), st.integers(0, 1000), st.integers(1, 150), st.integers(1, 150))
def test_any_stretch_of_the_stream_can_be_drawn_alone(length: int, seed: int, start: int, count: int) -> None:
    whole = positions(length, seed, 0, start + count)
    np.testing.assert_array_equal(positions(length, seed, start, count), whole[start:])
    np.testing.assert_array_equal(positions(length, seed, 0, start), whole[:start])


def test_epochs_and_seeds_differ() -> None:
    orders = [tuple(positions(50, seed, epoch * 50, 50)) for seed in range(4) for epoch in range(4)]
    assert len(set(orders)) == 16
    assert tuple(range(50)) not in orders


def test_the_stream_is_the_same_for_ever() -> None:
    assert positions(10, 7, 8, 6).tolist() == positions(10, 7, 0, 20)[8:14].tolist()
    known = np.random.default_rng((7, 0, 1)).permutation(10)
    assert positions(10, 7, 10, 10).tolist() == known.tolist()


def test_a_far_position_costs_nothing() -> None:
    found = positions(10, 0, 10**15, 10)
    assert sorted(found.tolist()) == list(range(10))


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 40), st.integers(1, 16), st.integers(0, 100), st.integers(0, 9), st.booleans())
def test_a_batch_depends_on_seed_and_draw_alone(length: int, size: int, seed: int, draw: int, mirror: bool) -> None:
    images, labels = noise(length, 3, 8, 8), np.arange(length) % 3
    one = make_source(images, labels, mirror=mirror)
    other = make_source(images.copy(), labels.copy(), mirror=mirror)
    for earlier in range(draw):
        other.batch(seed, earlier, size)
    first, second = one.batch(seed, draw, size), other.batch(seed, draw, size)
    assert torch.equal(first.real, second.real)
    assert first.condition.labels is not None
    assert second.condition.labels is not None
    assert torch.equal(first.condition.labels, second.condition.labels)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("mirror", [False, True])
def test_batches_are_float_channels_last_between_minus_one_and_one(channels: int, mirror: bool) -> None:
    images = noise(32, channels, 8, 8)
    images[0], images[1] = 0, 255
    source = make_source(images, np.arange(32) % 4, mirror=mirror)
    batch = source.batch(0, 0, 32)
    assert batch.real.shape == (32, channels, 8, 8)
    assert batch.real.dtype == torch.float32
    assert batch.real.is_contiguous(memory_format=torch.channels_last)
    assert float(batch.real.min()) == -1
    assert float(batch.real.max()) == 1
    assert batch.condition.labels is not None
    assert batch.condition.labels.dtype == torch.int64
    assert batch.condition.labels.shape == (32, 1)
    assert batch.condition.labels.flatten().bincount().tolist() == [8, 8, 8, 8]


def test_images_and_labels_stay_together() -> None:
    labels = np.arange(50)
    images = np.broadcast_to(labels.astype(np.uint8)[:, None, None, None], (50, 1, 8, 8)).copy()
    batch = make_source(images, labels).batch(3, 1, 20)
    assert batch.condition.labels is not None
    assert torch.equal(((batch.real[:, 0, 0, 0] + 1) * 127.5).round().long(), batch.condition.labels[:, 0])


def test_values_are_exact() -> None:
    images = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    batch = make_source(images).batch(0, 0, 1)
    assert batch.condition.labels is None
    assert torch.equal(batch.real.flatten(), torch.arange(256).float() / 127.5 - 1)
    assert torch.equal(((batch.real + 1) * 127.5).round().to(torch.uint8), torch.from_numpy(images))


def test_mirror_flips_about_half_and_nothing_else() -> None:
    images = noise(400, 1, 8, 8)
    plain, mirrored = make_source(images).batch(5, 0, 400), make_source(images, mirror=True).batch(5, 0, 400)
    same = (mirrored.real == plain.real).flatten(1).all(1)
    flipped = (mirrored.real == plain.real.flip(3)).flatten(1).all(1)
    assert bool((same ^ flipped).all())
    assert 160 <= int(flipped.sum()) <= 240


def test_an_image_is_not_flipped_the_same_way_every_time() -> None:
    source = make_source(noise(1, 1, 8, 8), mirror=True)
    drawn = torch.cat([source.batch(0, draw, 1).real for draw in range(40)])
    turned = int((drawn != drawn[:1]).flatten(1).any(1).sum())
    assert 5 <= turned <= 35


def test_drawing_changes_neither_the_data_nor_global_random_states() -> None:
    images = noise(10, 1, 8, 8)
    images.flags.writeable = False
    before = torch.random.get_rng_state()
    source = make_source(images, mirror=True)
    batch = source.batch(0, 0, 10)
    batch.real.fill_(0)
    np.testing.assert_array_equal(source.images, noise(10, 1, 8, 8))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_native_gives_chosen_images_at_the_side_of_the_data() -> None:
    images = noise(5, 3, 32, 32)
    found = make_source(images, native=28).native([3, 1, 3])
    assert found.shape == (3, 3, 28, 28)
    assert found.dtype == torch.float32
    expected = torch.from_numpy(images[[3, 1, 3], :, 2:30, 2:30]).float() / 127.5 - 1
    assert torch.equal(found, expected)


def test_some_images_alone() -> None:
    images, labels = noise(10, 1, 8, 8), np.arange(10) % 3
    whole = make_source(images, labels)
    some = whole.only(np.array([8, 2, 5, 4]))
    assert len(some) == 4
    assert some.labels is not None
    assert some.labels[:, 0].tolist() == [2, 2, 2, 1]
    assert (some.spec.combinations, some.spec.counts) == (((1,), (2,)), (1, 3))
    assert some.spec.labels == whole.spec.labels
    assert torch.equal(some.native([0, 3]), whole.native([8, 4]))
    batch, fitted = some.batch(0, 0, 4), some.positions(0, 0, 4)
    assert torch.equal(batch.real, whole.pick(np.array([8, 2, 5, 4])[fitted]).real)
    assert torch.equal(some.only(np.array([1, 3])).native([0, 1]), whole.native([2, 4]))
    assert len({whole.fingerprint, some.fingerprint, whole.only(np.array([8, 2, 5, 3])).fingerprint}) == 3


# fingerprint


def test_the_fingerprint_is_of_the_content() -> None:
    images, labels = noise(20, 3, 8, 8), np.arange(20) % 2
    same = make_source(images.copy(), labels.copy()).fingerprint
    assert make_source(images, labels).fingerprint == same
    assert len(same) == 16
    assert int(same, 16) >= 0


def test_the_fingerprint_changes_with_the_data() -> None:
    images, labels = noise(20, 3, 8, 8), np.arange(20) % 2
    pixel = images.copy()
    pixel[19, 2, 7, 7] ^= 1
    names: dict[str, tuple[str, ...]] = {"class": ("cat", "dog")}
    swapped = labels.copy()
    swapped[[0, 1]] = swapped[[1, 0]]
    sources = [
        make_source(images, labels),
        make_source(pixel, labels),
        make_source(images[::-1].copy(), labels),
        make_source(images, swapped),
        make_source(images, 1 - labels),
        make_source(images, labels, names),
        make_source(images, labels, {"class": ("dog", "cat")}),
        make_source(images, labels, native=7),
        make_source(images),
        make_source(images[:19], labels[:19]),
    ]
    assert len({source.fingerprint for source in sources}) == len(sources)


def test_the_fingerprint_does_not_depend_on_memory_layout() -> None:
    images = noise(6, 3, 8, 8)
    transposed = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert not transposed.flags.c_contiguous
    assert make_source(transposed).fingerprint == make_source(images).fingerprint


# spec and make_source


def test_the_spec_counts_combinations() -> None:
    labels = np.array([[0, 1], [0, 1], [1, 0], [0, 0]])
    spec = make_source(
        noise(4, 3, 16, 16), labels, {"gender": ("female", "male"), "age": ("young", "old")}, native=14
    ).spec
    assert (spec.channels, spec.resolution, spec.native, spec.sizes) == (3, 16, 14, (2, 2))
    assert dict(zip(spec.combinations, spec.counts, strict=True)) == {(0, 0): 1, (0, 1): 2, (1, 0): 1}
    assert spec.describe((1, 0)) == "male young"


def test_the_spec_survives_json() -> None:
    spec = make_source(noise(6, 3, 8, 8), np.arange(6) % 3, {"class": ("é", "b c", "3")}).spec
    assert PictureSpec.parse(json.loads(json.dumps(spec.plain()))) == spec
    pictured = PictureSpec.of(3, 8, 8, given=Input(5, 2), wide=2)
    assert PictureSpec.parse(json.loads(json.dumps(pictured.plain()))) == pictured
    assert (pictured.given, pictured.input) == (Shape({"channel": 5, "height": 4, "width": 8}), Input(5, 2))
    for wrong in (
        {"facts": {**pictured.facts} | {"input": {"channels": 0}}},
        {"facts": {**pictured.facts} | {"input": {"channels": 3, "factor": 0}}},
        {"sample": Shape({"channel": 3, "height": 8, "width": 4}).plain()},
        {"sample": Shape({"channel": 3, "height": 8, "width": 72}).plain()},
        {"sample": Shape({"channel": 4, "height": 8, "width": 16}).plain()},
    ):
        with pytest.raises(ValueError, match=r"channels|wider|fit the facts"):
            PictureSpec.parse(pictured.plain() | wrong)


def test_the_spec_of_earlier_versions_is_read() -> None:
    before = {"channels": 3, "resolution": 16, "native": 14, "labels": {"class": ["a"]}, "combinations": [[0]]}
    before |= {"counts": [7], "input": {"channels": 3, "factor": 2, "range": [0, 255]}, "wide": 2, "range": [0.0, 1.0]}
    after = PictureSpec.of(3, 16, 14, {"class": ("a",)}, ((0,),), (7,), Input(3, 2), 2, (0.0, 1.0))
    assert parse_spec(before) == after == parse_spec(json.loads(json.dumps(after.plain())))
    for wrong in ({"wide": 0}, {"wide": 99}, {"input": {"channels": 0}}, {"native": 17}):
        with pytest.raises(ValueError, match=r"channels|wider|images"):
            parse_spec(before | wrong)


def test_labels_without_names_are_called_by_number() -> None:
    source = make_source(noise(4, 1, 8, 8), np.array([0, 2, 2, 1], np.uint8))
    assert source.spec.labels == {"class": ("0", "1", "2")}
    assert source.labels is not None
    assert source.labels.dtype == np.int64
    assert source.labels.shape == (4, 1)


@pytest.mark.parametrize(
    "images",
    [
        noise(4, 8, 8),
        noise(4, 2, 8, 8),
        noise(4, 8, 8, 3),
        noise(4, 3, 8, 9),
        noise(4, 3, 8, 8).astype(np.float32),
        noise(4, 3, 8, 8).astype(np.int64),
    ],
)
def test_images_of_another_shape_or_type_are_refused(images: Any) -> None:
    with pytest.raises(ZerosumError, match="expected uint8"):
        make_source(images)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (np.array([0, 1, 0]), None),
        (np.array([0, 1, 0, 2]), {"class": ("a", "b")}),
        (np.array([0, 1, 0, -1]), {"class": ("a", "b")}),
        (np.array([-1, 1, 0, 0]), None),
        (np.array([[0, 1]] * 4), {"class": ("a", "b")}),
        (np.array([[0]] * 4), {"class": ("a", "b"), "size": ("small", "big")}),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels: Any, names: Any) -> None:
    with pytest.raises(ZerosumError, match="labels"):
        make_source(noise(4, 1, 8, 8), labels, names)


@pytest.mark.parametrize("kind", ["unit", "signed", "16 bits", "tensor"])
def test_images_of_other_kinds_become_bytes_where_it_is_plain_what_they_mean(kind: str) -> None:
    pixels = noise(5, 3, 8, 8)
    pixels.flat[:2] = 0, 255
    floats = pixels.astype(np.float32)
    images: Any = {
        "unit": floats / 255,
        "signed": floats / 127.5 - 1,
        "16 bits": pixels.astype(np.uint16) * 257,
        "tensor": torch.from_numpy(floats / 255).requires_grad_(),
    }[kind]
    source = make_source(images)
    assert source.images.dtype == np.uint8
    assert np.array_equal(source.images, pixels)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (noise(4, 8, 8), r"images\[:, None\]"),
        (noise(4, 8, 8, 3), r"images.transpose\(0, 3, 1, 2\)"),
        (noise(4, 1, 8, 8).astype(np.uint16), r"values up to \d+: bring them to 0 \.\.\. 255"),
        (noise(4, 1, 8, 8) / np.float32(100), r"values up to 2\.\d+: bring them to 0 \.\.\. 255"),
        (np.full((4, 1, 8, 8), np.nan, np.float32), "NaN"),
        ([np.zeros((1, 8, 8)), np.zeros((1, 9, 9))], "images are a list of which no array can be made"),
        (3, "images are int64"),
    ],
)
def test_images_that_may_mean_several_things_are_refused_with_what_to_do(images: Any, said: str) -> None:
    with pytest.raises(ZerosumError, match=said):
        make_source(images)


@pytest.mark.parametrize("kind", [list, tuple, torch.tensor, np.float64, np.uint8])
def test_labels_of_any_kind_of_whole_numbers(kind: Any) -> None:
    labels = kind([0, 2, 2, 1])
    source = make_source(noise(4, 1, 8, 8), labels)
    assert source.labels is not None
    assert source.labels.dtype == np.int64
    assert source.labels.tolist() == [[0], [2], [2], [1]]


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["cat", "dog", "cat", "dog"], r"whole numbers, with names=\{'class'"),
        ([0, 0.5, 1, 1], "whole numbers, but some are not"),
        ([0, math.nan, 1, 1], "whole numbers, but some are not"),
        ([[0], [1, 2], [0], [0]], "labels are a list of which no array can be made"),
        (3, "labels are int64"),
        (np.zeros((4, 1, 1), np.int64), r"\(N,\) or \(N, attributes\)"),
        (np.zeros((4, 2), np.int64), "labels have 2 attributes: say what they are called with names="),
        ([None, 1, 0, 1], "whole numbers"),
    ],
)
def test_labels_that_are_no_whole_numbers_are_refused(labels: Any, said: str) -> None:
    with pytest.raises(ZerosumError, match=said):
        make_source(noise(4, 1, 8, 8), labels)


def test_names_may_be_lists() -> None:
    spec = make_source(noise(4, 1, 8, 8), [0, 1, 0, 1], {"class": ["cat", "dog"]}).spec
    assert spec.labels == {"class": ("cat", "dog")}
    assert hash(spec.combinations)


def test_every_kind_of_source_passes_the_check() -> None:
    plain = make_source(noise(8, 3, 16, 16), np.arange(8) % 2)
    for source in (
        plain,
        plain.unlabelled(),
        plain.only(np.array([1, 3, 5])),
        shrunk_source(plain, 2),
        edges_source(plain),
        domain_source(plain, "test"),
        PairSource(noise(8, 2, 16, 16), None, PictureSpec.of(1, 16, 16, given=Input(1))),
    ):
        check_source(source)


def test_all_draws_of_an_epoch_show_every_image_once() -> None:
    images = np.broadcast_to(np.arange(30, dtype=np.uint8)[:, None, None, None], (30, 1, 8, 8)).copy()
    source = make_source(images)
    seen = [((source.batch(1, draw, 6).real[:, 0, 0, 0] + 1) * 127.5).round().int().tolist() for draw in range(5)]
    assert sorted(itertools.chain(*seen)) == list(range(30))
