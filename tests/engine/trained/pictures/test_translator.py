"""Both directions of a trained pair of generators: pictures of any size, of any pile."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.conftest import tiny_source
from zerosum.data.pictures.domains import domain_source
from zerosum.engine.trained.pictures.painter import Painter
from zerosum.engine.trained.pictures.translator import Translator
from zerosum.errors import ZerosumError
from zerosum.networks.directions import Generators
from zerosum.recipe import Latent


class Shift(nn.Module):
    """Brighter by so much; what it is given must be multiples of 8."""

    multiple = 8

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def forward(self, z: Tensor, picture: Tensor) -> Tensor:
        assert not (picture.shape[2] % 8 or picture.shape[3] % 8)
        assert len(z) == len(picture)
        return picture + self.by


PILES = domain_source(tiny_source(8, 3, 22, classes=2), "here")
GENERATORS = Generators(Shift(0.25), Shift(-0.125))
TRANSLATOR = Translator(GENERATORS, PILES.spec, Latent(size=0), True, torch.device("cpu"), PILES)


@pytest.mark.parametrize("size", [(8, 8), (13, 20), (3, 5), (1, 1)])
@pytest.mark.parametrize(("to", "by"), [("1", 0.25), ("0", -0.125)])
def test_a_picture_of_any_size_in_either_direction(to: str, by: float, size: tuple[int, int]) -> None:
    picture = torch.rand(3, *size) / 2
    assert torch.allclose(TRANSLATOR.translate(picture, to=to), picture + by)
    assert type(TRANSLATOR.toward(to)) is Painter


def test_directions_that_are_not_there() -> None:
    with pytest.raises(ZerosumError, match=r"two directions: toward\('0'\) or toward\('1'\)"):
        TRANSLATOR.translate(torch.zeros(3, 8, 8))
    with pytest.raises(ZerosumError, match="unknown domain 'winter': choose from 0, 1"):
        TRANSLATOR.toward("winter")
    with pytest.raises(ZerosumError, match="one direction only"):
        TRANSLATOR.toward("1").toward("0")
    assert TRANSLATOR.toward("1").toward() == TRANSLATOR.toward("1")
    with pytest.raises(ZerosumError, match="give it some with translate"):
        next(iter(replace(TRANSLATOR, held_out=None).batches(4)))


def test_every_held_out_picture_becomes_one_of_the_other_pile() -> None:
    assert PILES.labels is not None
    order = PILES.positions(0, 0, 22)
    pixels, labels = zip(*TRANSLATOR.batches(22, 5), strict=True)
    assert [len(part) for part in pixels] == [5, 5, 5, 5, 2]
    assert torch.equal(torch.cat(labels)[:, 0], torch.from_numpy(1 - PILES.labels[order, 0]))
    by = np.where(PILES.labels[order, 0] == 0, 0.25, -0.125)[:, None, None, None]
    wanted = (PILES.native(order).numpy() + by).clip(-1, 1)
    assert np.abs(torch.cat(pixels).numpy() / 127.5 - 1 - wanted).max() < 0.5 / 127.5 + 1e-6


def test_the_error_of_a_cycle() -> None:
    """Nothing is near white or black but the darkest, so that a cycle adds an eighth of [-1, 1]."""
    middle = replace(PILES, stored=(PILES.images // 2 + 60).astype(np.uint8))
    assert replace(TRANSLATOR, held_out=middle).cycle_error(22) == pytest.approx(0.125 * 127.5, rel=1e-4)


def test_the_exhibit_goes_there_and_back() -> None:
    images, rows, _ = TRANSLATOR.exhibit()
    assert rows == ["0", "0 as 1", "0 as 1, back", "1", "1 as 0", "1 as 0, back"]
    a, as_b, a_back, b, as_a, b_back = images.view(6, 10, 3, 8, 8)
    assert a.mean() < b.mean()
    assert torch.allclose(as_b, (a + 0.25).clamp(-1, 1))
    assert torch.allclose(a_back, (as_b - 0.125).clamp(-1, 1))
    assert torch.allclose(as_a, (b - 0.125).clamp(-1, 1))
    assert torch.allclose(b_back, (as_a + 0.25).clamp(-1, 1))
    assert torch.equal(images, TRANSLATOR.exhibit()[0])
