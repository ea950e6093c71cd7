"""The fit rule: centre square, padding near the resolution, resizing elsewhere; and the way back."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.data.make import noise
from zerosum.data.pictures.fit import Pixels, fit_array, fit_image, is_padded, to_native

SIDES = st.integers(1, 40)


def by_image(pixels: Pixels, resolution: int) -> Pixels:
    """The fit of one picture (C, H, W) by way of Pillow."""
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    fitted = np.asarray(fit_image(image, resolution))
    return fitted[None] if fitted.ndim == 2 else fitted.transpose(2, 0, 1)


@settings(deadline=None, max_examples=150)
@given(SIDES, SIDES, st.integers(1, 40), st.sampled_from([1, 3, 4]), st.integers(0, 99))
def test_arrays_and_pictures_are_fitted_alike(
    height: int, width: int, resolution: int, channels: int, seed: int
) -> None:
    images = noise(3, channels, height, width, seed=seed)
    fitted = fit_array(images, resolution)
    assert fitted.shape == (3, channels, resolution, resolution)
    assert fitted.dtype == np.uint8
    for image, result in zip(images, fitted, strict=True):
        np.testing.assert_array_equal(by_image(image, resolution), result)


@settings(deadline=None, max_examples=100)
@given(st.integers(8, 64), st.sampled_from([1, 3, 4]), st.data())
def test_padded_images_come_back_exactly(resolution: int, channels: int, data: st.DataObject) -> None:
    native = data.draw(st.integers(-(-resolution * 7 // 8), resolution))
    images = noise(2, channels, native, native, seed=native)
    fitted = fit_array(images, resolution)
    scaled = torch.from_numpy(fitted).float() / 127.5 - 1
    back = to_native(scaled, native)
    assert back.shape == (2, channels, native, native)
    assert torch.equal(back, torch.from_numpy(images).float() / 127.5 - 1)


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 70), st.data())
def test_to_native_has_the_side_asked_for_and_keeps_constants(resolution: int, data: st.DataObject) -> None:
    native = data.draw(st.integers(1, resolution))
    flat = torch.full((2, 3, resolution, resolution), 0.25)
    back = to_native(flat, native)
    assert back.shape == (2, 3, native, native)
    assert torch.allclose(back, torch.tensor(0.25), atol=1e-5)
    assert bool((flat == 0.25).all())


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 28), st.sampled_from([1, 3]), st.data())
def test_enlarged_images_come_back_nearly(native: int, channels: int, data: st.DataObject) -> None:
    resolution = data.draw(st.integers(native + 1, 64))
    images = noise(2, channels, native, native, seed=resolution)
    scaled = torch.from_numpy(fit_array(images, resolution)).float() / 127.5 - 1
    back = (to_native(scaled, native) + 1) * 127.5
    assert back.shape == images.shape
    assert float((back - torch.from_numpy(images)).abs().max()) <= 4  # of 255: enlarged values were rounded


@pytest.mark.parametrize("native", [8, 28, 32])
def test_to_native_stays_in_range(native: int) -> None:
    extreme = torch.where(torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) < 0.5, -1.0, 1.0)
    kept = extreme.clone()
    back = to_native(extreme, native)
    assert -1 <= float(back.min()) < -0.5
    assert 0.5 < float(back.max()) <= 1
    assert torch.equal(extreme, kept)


@pytest.mark.parametrize(
    ("native", "resolution", "padded"),
    [
        (28, 32, True),
        (27, 32, False),
        (31, 32, True),
        (32, 32, False),
        (33, 32, False),
        (56, 64, True),
        (55, 64, False),
    ],
)
def test_padding_reaches_an_eighth(native: int, resolution: int, padded: bool) -> None:
    assert is_padded(native, resolution) is padded


def test_padding_repeats_the_edge() -> None:
    images = noise(1, 1, 28, 28)
    fitted = fit_array(images, 32)
    np.testing.assert_array_equal(fitted[:, :, 2:30, 2:30], images)
    np.testing.assert_array_equal(fitted[0, 0, 0, 2:30], images[0, 0, 0])
    np.testing.assert_array_equal(fitted[0, 0, 2:30, 31], images[0, 0, :, 27])
    assert fitted[0, 0, 0, 0] == images[0, 0, 0, 0]
    assert fitted[0, 0, 31, 31] == images[0, 0, 27, 27]


def test_the_same_side_is_left_alone() -> None:
    images = noise(2, 3, 16, 16)
    np.testing.assert_array_equal(fit_array(images, 16), images)


@pytest.mark.parametrize(("height", "width"), [(16, 24), (24, 16), (16, 17), (17, 16)])
def test_the_centre_is_cut_out(height: int, width: int) -> None:
    images = noise(1, 3, height, width)
    top, left = (height - 16) // 2, (width - 16) // 2
    np.testing.assert_array_equal(fit_array(images, 16), images[:, :, top : top + 16, left : left + 16])


def test_shrinking_is_anti_aliased() -> None:
    board = np.indices((64, 64)).sum(0) % 2 * 255
    fitted = fit_array(board.astype(np.uint8)[None, None], 16)
    assert 120 <= int(fitted.min()) <= int(fitted.max()) <= 135  # a sampling of single pixels would give 0 or 255


def test_shrinking_and_enlarging_keep_the_mean() -> None:
    image = np.clip(np.add.outer(np.arange(48), np.arange(48)) * 2 + 20, 0, 255).astype(np.uint8)[None, None]
    for resolution in (12, 32, 96):
        assert abs(float(fit_array(image, resolution).mean()) - float(image.mean())) < 2


def test_enlarging_is_bilinear_within_the_values() -> None:
    image = np.array([[50, 50, 200, 200]] * 4, np.uint8)[None, None]
    fitted = fit_array(image, 16)
    assert fitted.min() == 50  # Lanczos would overshoot
    assert fitted.max() == 200
    assert (np.diff(fitted[0, 0, 0].astype(int)) >= 0).all()
