"""Networks that read a picture: shapes at any size, what they are born as, what a patch sees, what is refused."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from zerosum.data.pictures.spec import Input, PictureSpec
from zerosum.errors import ZerosumError
from zerosum.networks import patch, srresnet, unet

NOTHING = torch.zeros(2, 0)


def spec(channels: int = 3, given: int = 3, factor: int = 1, side: int = 32) -> PictureSpec:
    return PictureSpec.of(channels, side, side, given=Input(given, factor))


def picture(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("channels", [1, 3])
def test_srresnet_makes_pictures_of_any_size_larger(factor: int, channels: int) -> None:
    network = srresnet.Generator(spec(channels, channels, factor), 0, width=6, blocks=1)
    assert network(NOTHING, picture(2, channels, 5, 9)).shape == (2, channels, 5 * factor, 9 * factor)


def test_srresnet_is_born_as_the_cubic_enlargement() -> None:
    """But for a last layer of weights about 0.01; and its blocks are born as nothing."""
    network = srresnet.Generator(spec(factor=4), 0, width=8, blocks=2)
    given = picture(2, 3, 8, 8)
    cubic = interpolate(given, scale_factor=4, mode="bicubic")
    assert 0 < (network(NOTHING, given) - cubic).abs().max() < 0.3
    with torch.no_grad():
        x = network.first(given)
        assert torch.equal(network.blocks(x), x)


def test_srresnet_is_born_without_a_checkerboard() -> None:
    """The four pixels that a sub-pixel convolution makes of one are equal at first (Aitken 2017)."""
    network = srresnet.Generator(spec(factor=4), 0, width=8, blocks=1)
    for up in network.ups:
        assert isinstance(up, nn.Conv2d)
        groups = up.weight.view(-1, 4, *up.weight.shape[1:])
        assert torch.equal(groups, groups[:, :1].expand_as(groups))


def test_srresnet_sees_no_further_than_its_kernels() -> None:
    """5x5, then 3x3s: a pixel far away changes nothing, so that large pictures could be made in parts."""
    network = srresnet.Generator(spec(factor=2), 0, width=4, blocks=1)
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(generator=torch.Generator().manual_seed(1))
    given = picture(1, 3, 24, 24)
    changed = given.clone()
    changed[..., 0, 0] += 1
    differs = (network(NOTHING[:1], given) != network(NOTHING[:1], changed)).any(1)[0]
    reach = 2 * (2 + 2 + 1) + 1 + 2  # first, block and up at the small size; the last at the large one
    assert differs[0, 0]
    assert not differs[reach:].any()
    assert not differs[:, reach:].any()
    assert network.reach * 2 >= reach


@pytest.mark.parametrize(("levels", "given"), [(1, 1), (3, 3), (5, 1)])
def test_unet_keeps_the_size(levels: int, given: int) -> None:
    network = unet.Generator(spec(3, given), 0, width=4, levels=levels)
    assert network.multiple == 2**levels
    made = network(NOTHING, picture(2, given, 32, 64))
    assert made.shape == (2, 3, 32, 64)
    assert made.abs().max() <= 1


@pytest.mark.parametrize("norm", ["instance", "none"])
def test_unet_makes_each_picture_alone(norm: str) -> None:
    """Also in a batch of one, and down to a single pixel."""
    network = unet.Generator(spec(), 0, width=4, levels=5, norm=norm)  # type: ignore[arg-type]
    pictures = picture(2, 3, 32, 32)
    torch.testing.assert_close(network(NOTHING[:1], pictures[:1]), network(NOTHING, pictures)[:1], rtol=0, atol=1e-5)


def test_unet_shows_every_size_of_the_picture_to_the_way_up() -> None:
    """Without the way down to a few pixels, what is near still passes."""
    network = unet.Generator(spec(), 0, width=4, levels=4, norm="none")
    with torch.no_grad():
        next(network.downs[-1].parameters()).zero_()
    given = picture(1, 3, 32, 32).requires_grad_()
    network(NOTHING[:1], given).sum().backward()
    assert given.grad is not None
    assert given.grad.abs().sum() > 0


def test_unet_draws_lines_of_one_pixel() -> None:
    """At the full size there is the picture itself, not only what was enlarged to it."""
    network = unet.Generator(spec(3, 1), 0, width=4, levels=2)
    with torch.no_grad():
        next(network.ups[-1].parameters()).zero_()
        lines = torch.ones(1, 1, 32, 32)
        lines[..., ::2] = -1
        made = network(NOTHING[:1], lines)
    assert (made[..., 2:-2:2] - made[..., 3:-1:2]).abs().min() > 1e-3


@pytest.mark.parametrize("family", [srresnet, unet])
def test_a_latent_makes_another_picture(family: object) -> None:
    network = (
        srresnet.Generator(spec(factor=2), 3, width=4, blocks=1)
        if family is srresnet
        else unet.Generator(spec(), 3, width=4, levels=3)
    )
    given = picture(1, 3, 16, 16)
    first, second = (network(torch.full((1, 3), value), given) for value in (0.0, 1.0))
    assert (first - second).abs().max() > 1e-6


@pytest.mark.parametrize(("layers", "sees"), [(1, 16), (2, 34), (3, 70)])
def test_a_patch_has_the_size_of_the_paper(layers: int, sees: int) -> None:
    critic = patch.Critic(spec(side=160), width=2, layers=layers, norm="none")
    with torch.no_grad():
        for weight in critic.parameters():
            weight.normal_(generator=torch.Generator().manual_seed(1))
    images = picture(1, 3, 160, 160).requires_grad_()
    scores = critic(images)
    middle = scores.shape[2] // 2
    (gradient,) = torch.autograd.grad(scores[0, 0, middle, middle], images)
    touched = gradient[0].abs().sum(0)
    assert [int((touched.sum(axis) > 0).sum()) for axis in (0, 1)] == [sees, sees]


def test_a_patch_critic_sees_the_condition_beside_the_image() -> None:
    critic = patch.Critic(spec(3, 1, 4), "given", width=4, layers=1)
    images, given = picture(2, 3, 32, 32), picture(2, 1, 8, 8)
    assert not torch.equal(critic(images, given), critic(images, given.flip(3)))
    blind = patch.Critic(spec(3, 1, 4), "none", width=4, layers=1)
    assert torch.equal(blind(images, given), blind(images, given.flip(3)))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: srresnet.Generator(spec(factor=1), 0),
            r"srresnet makes pictures larger: it needs data.input = shrunk",
        ),
        (lambda: srresnet.Generator(PictureSpec.of(3, 32, 32), 0), r"srresnet makes pictures larger"),
        (
            lambda: unet.Generator(spec(factor=2), 0),
            r"unet keeps a picture's size: it needs data.input = pair or edges",
        ),
        (lambda: unet.Generator(spec(side=48), 0), r"generator.levels = 5: 48 pixels do not halve so often"),
        (lambda: unet.Generator(spec(), 0, levels=0), r"generator.levels = 0"),
        (lambda: unet.Generator(spec(), 0, levels=10**6), r"generator.levels = 1000000, width = 64: up to 8"),
        (lambda: unet.Generator(spec(), 0, width=0), r"a channel or more"),
        (
            lambda: srresnet.Generator(spec(factor=2), 0, blocks=10**6),
            r"generator.blocks = 1000000, width = 64",
        ),
        (lambda: srresnet.Generator(spec(factor=2), 0, width=0), r"2 channels or more"),
        (lambda: patch.Critic(spec(side=16), layers=3), r"critic.layers = 3"),
    ],
)
def test_what_does_not_fit_is_refused(build: object, message: str) -> None:
    with pytest.raises(ZerosumError, match=message):
        build()  # type: ignore[operator]
