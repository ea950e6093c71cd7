"""Pictures made from the true ones, against Pillow and closed forms."""

import numpy as np
import pytest
import torch
from PIL import Image

from tests.data.make import noise
from zerosum.data.source import Input, make_source
from zerosum.data.views import BLACK, edges_source, enlarge, outlines, shrink, shrunk_source
from zerosum.errors import ZerosumError
from zerosum.pictures import to_pixels


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_shrinking_is_pillows(factor: int) -> None:
    pixels = noise(1, 3, 32, 48)[0]
    small = to_pixels(shrink(torch.from_numpy(pixels)[None].float() / 127.5 - 1, factor))[0].numpy()
    image = Image.fromarray(pixels.transpose(1, 2, 0))
    expected = np.asarray(image.resize((48 // factor, 32 // factor), Image.Resampling.BICUBIC))
    assert small.shape == expected.shape
    assert np.abs(small.astype(int) - expected).max() <= 1
    assert np.abs(small.astype(int) - expected).mean() < 0.2  # Pillow rounds between the two axes


def test_even_pictures_stay_what_they_are() -> None:
    grey = torch.full((2, 3, 16, 16), 0.2)
    torch.testing.assert_close(shrink(grey, 4), torch.full((2, 3, 4, 4), round(1.2 * 127.5) / 127.5 - 1))
    torch.testing.assert_close(enlarge(grey[:, :, :4, :4], 4), grey)
    assert torch.equal(outlines(grey), torch.ones(2, 1, 16, 16))


def test_an_edge_is_drawn_where_it_is() -> None:
    image = torch.full((1, 3, 16, 16), -1.0)
    image[..., 8:] = 1.0
    drawn = outlines(image)[0, 0]
    assert torch.equal(drawn[:, :6], torch.ones(16, 6))
    assert torch.equal(drawn[:, 10:], torch.ones(16, 6))
    assert torch.equal(drawn[:, 7:9], torch.full((16, 2), -1.0))
    # a slope of s a pixel has the gradient s everywhere but at the border
    slope = torch.arange(16.0).mul(BLACK / 2).expand(1, 3, 16, 16)
    torch.testing.assert_close(outlines(slope)[0, 0, :, 3:13], torch.zeros(16, 10), atol=1e-5, rtol=0)
    assert torch.equal(outlines(image.transpose(2, 3))[0, 0], drawn.T)


def test_a_condition_is_mirrored_with_its_image() -> None:
    source = make_source(noise(12, 3, 16, 16), np.arange(12) % 2, mirror=True)
    for viewed, view in ((shrunk_source(source, 2), lambda x: shrink(x, 2)), (edges_source(source), outlines)):
        batch = viewed.batch(3, 0, 12)
        assert batch.labels is None
        assert torch.equal(batch.images, source.batch(3, 0, 12).images)
        torch.testing.assert_close(batch.picture, view(batch.images))
        assert viewed.spec.labels == {}
    assert shrunk_source(source, 2).spec.input == Input(3, 2)
    assert edges_source(source).spec.input == Input(1)
    assert shrunk_source(source, 2).fingerprint != edges_source(source).fingerprint


def test_a_factor_that_does_not_divide() -> None:
    with pytest.raises(ZerosumError, match=r"data.factor = 8: a resolution of 20"):
        shrunk_source(make_source(noise(2, 3, 20, 20)), 8)
