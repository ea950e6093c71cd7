"""Generators that start from pictures: any size comes back, in one piece or in tiles, the same every time."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from tests.conftest import CPU, tiny_recipe, tiny_source
from zerosum.data.pictures.spec import Input, PictureSpec
from zerosum.data.pictures.views import edges_source, shrunk_source
from zerosum.engine.runs.run import Run
from zerosum.engine.trained.pictures import painter as painters
from zerosum.engine.trained.pictures.painter import Painter, reflected
from zerosum.errors import ZerosumError
from zerosum.networks import srresnet, unet
from zerosum.recipe import Latent

PICTURED: dict[str, Any] = {
    "latent.size": 0,
    "condition.method": "picture",
    "content.weight": 1.0,
    "critic": {"network": "patch", "width": 4, "layers": 1},
}
SHRUNK = PICTURED | {"data.input": "shrunk", "generator": {"network": "srresnet", "width": 4, "blocks": 1}}
EDGES = PICTURED | {"data.input": "edges", "generator": {"network": "unet", "width": 4, "levels": 2}}


def painter(network: nn.Module, given: Input, channels: int = 3) -> Painter:
    return Painter(network, PictureSpec.of(channels, 32, 32, given=given), Latent(size=0), False, CPU.device)


@pytest.fixture(scope="module", params=[3, 1, 4])
def larger(request: pytest.FixtureRequest) -> Painter:
    channels = request.param
    spec = PictureSpec.of(channels, 32, 32, given=Input(channels, 4))
    return painter(srresnet.Generator(spec, 0, width=4, blocks=1), Input(channels, 4), channels)


def picture(channels: int, height: int, width: int) -> Tensor:
    return torch.rand(channels, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize(("height", "width"), [(61, 101), (1, 3), (16, 16)])
def test_pictures_of_any_size_come_back_larger(larger: Painter, height: int, width: int) -> None:
    made = larger.translate(picture(larger.spec.channels, height, width))
    assert made.shape == (larger.spec.channels, 4 * height, 4 * width)
    assert made.abs().max() <= 1


@pytest.mark.parametrize(("height", "width"), [(61, 101), (1, 3), (16, 16), (9, 40)])
def test_pictures_of_any_size_come_back_as_large(height: int, width: int) -> None:
    spec = PictureSpec.of(3, 32, 32, given=Input(1))
    gan = painter(unet.Generator(spec, 0, width=4, levels=4), Input(1))
    assert gan.translate(picture(1, height, width)).shape == (3, height, width)


def test_the_rule_for_sizes_that_do_not_fit() -> None:
    ramp = torch.arange(6.0).expand(1, 1, 5, 6)
    assert reflected(ramp, 4)[0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5, 4, 3]
    assert reflected(ramp, 4).shape == (1, 1, 8, 8)
    assert reflected(ramp[..., :2], 8)[0, 0, 0].tolist() == [0, 1, 1, 1, 1, 1, 1, 1]  # too little to mirror
    assert reflected(ramp, 1) is ramp


@pytest.fixture
def tiles(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(painters, "TILE", 8)
    yield


def test_tiles_make_the_same_picture(tiles: None) -> None:
    spec = PictureSpec.of(3, 32, 32, given=Input(3, 4))
    network = srresnet.Generator(spec, 0, width=4, blocks=2)
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(0, 0.1, generator=torch.Generator().manual_seed(1))
    gan, given = painter(network, Input(3, 4)), picture(3, 19, 40)
    whole = gan.paint(given[None], [0])[0]
    torch.testing.assert_close(gan.translate(given), whole, rtol=0, atol=1e-5)
    network.reach = 1  # what too small a margin would do
    assert (gan.translate(given) - whole).abs().max() > 1e-3


def test_what_is_refused(monkeypatch: pytest.MonkeyPatch, larger: Painter) -> None:
    channels = larger.spec.channels
    with pytest.raises(
        ZerosumError, match=rf"a picture of shape \(2, 8, 8\): it should be \({channels}, height, width\)"
    ):
        larger.translate(picture(2, 8, 8))
    monkeypatch.setattr(painters, "MOST", 16 * 100)
    assert larger.translate(picture(channels, 10, 10)).shape == (channels, 40, 40)
    with pytest.raises(ZerosumError, match=r"11x10 pixels are too many, at most 0.0 million: shrink it first"):
        larger.translate(picture(channels, 10, 11))
    for name in ("sample", "interpolate"):
        with pytest.raises(AttributeError, match=rf"no '{name}': .* give it some with translate\(\)"):
            getattr(larger, name)


@pytest.mark.parametrize("keys", [SHRUNK, EDGES])
def test_what_a_run_shows_of_itself(keys: dict[str, Any]) -> None:
    """Given, made and true of held-out images, the same ones every time; and all of them for scores, in their order."""
    plain = tiny_source(16, 1, 24, labelled=False)
    source = shrunk_source(plain, 4) if keys is SHRUNK else edges_source(plain)
    held = source.only(torch.arange(6).numpy())
    gan = Run.prepare(tiny_recipe(keys), source, held_out=held).gan
    assert isinstance(gan, Painter)
    images, rows, _ = gan.exhibit()
    assert rows == ["given", "made", "true"]
    order = held.positions(0, 0, 6)
    batch = held.pick(np.resize(order, 10))
    assert torch.equal(images[20:], batch.real)
    assert torch.equal(images[:10], interpolate(batch.given, (16, 16), mode="nearest"))
    assert torch.equal(images[10:20], gan.paint(batch.given, range(10)))
    pixels = torch.cat([found for found, labels in gan.batches(6, 4) if labels is None])
    expected = gan.paint(held.pick(order).given, range(6)).add(1).mul(127.5).round().to(torch.uint8)
    assert pixels.shape == (6, 1, 16, 16)
    assert (pixels.int() - expected.int()).abs().max() <= 1  # in other batches
    assert (pixels != expected).float().mean() < 0.01


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (SHRUNK | {"generator": {"network": "unet"}}, r"unet keeps a picture's size"),
        (EDGES | {"generator": {"network": "srresnet"}}, r"srresnet makes pictures larger"),
        (SHRUNK | {"generator": {"network": "dcgan"}}, r"generator.network = dcgan is not for picture data"),
        (SHRUNK | {"critic": {"network": "mlp"}}, r"critic.network = mlp is not for picture data"),
    ],
)
def test_networks_that_do_not_fit_are_refused_before_training(keys: dict[str, Any], message: str) -> None:
    plain = tiny_source(16, 1, 24, labelled=False)
    source = edges_source(plain) if keys["data.input"] == "edges" else shrunk_source(plain, 4)
    with pytest.raises(ZerosumError, match=message):
        Run.prepare(tiny_recipe(keys), source)
