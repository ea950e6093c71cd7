"""The residual generator against the same network from torch's own parts, and the pools of past pictures."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import instance_norm, interpolate, pad, relu

from tests.conftest import same, snapshot
from zerosum.data.pictures.spec import Input, PictureSpec
from zerosum.errors import ZerosumError
from zerosum.networks.directions import Pool
from zerosum.networks.operators import InstanceNorm
from zerosum.networks.resnet import Enlarged, Generator

SPEC = PictureSpec.of(3, 16, 16, given=Input(3))


def generator(width: int = 4, blocks: int = 2, scale: float = 10.0, skips: bool = True) -> Generator:
    """With weights so large that every layer matters."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Generator(SPEC, 0, width, blocks, skips)
    for weight in network.parameters():
        weight.data.mul_(scale)
    return network


def enlarged(x: Tensor, weight: Tensor) -> Tensor:
    """Pixels 2x2, a 3x3 convolution, and 1 2 1 both ways."""
    big = interpolate(pad(x, [1] * 4, mode="replicate"), scale_factor=2, mode="nearest")
    line = torch.tensor([1, 2, 1], dtype=x.dtype) / 4
    blur = torch.outer(line, line).expand(len(weight), 1, 3, 3)
    return torch.nn.functional.conv2d(torch.nn.functional.conv2d(big, weight), blur, groups=len(weight))


def reference(network: Generator, picture: Tensor) -> Tensor:
    """The same weights, read from the paper: c7s1, d, d, R..., resize and convolve twice, c7s1; and skips."""

    def conv(x: Tensor, layer: nn.Module, stride: int = 1) -> Tensor:
        assert isinstance(layer, nn.Conv2d)
        edge = layer.kernel_size[0] // 2
        return torch.nn.functional.conv2d(pad(x, [edge] * 4, mode="reflect"), layer.weight, layer.bias, stride)

    whole = relu(instance_norm(conv(picture, network.first)))
    half = relu(instance_norm(conv(whole, network.downs[0], 2)))
    x = relu(instance_norm(conv(half, network.downs[1], 2)))
    for block in network.blocks:
        inner = relu(instance_norm(conv(x, block.get_submodule("first"))))
        x = x + instance_norm(conv(inner, block.get_submodule("second")))
    for up, seen in zip(network.ups, (half, whole), strict=True):
        assert isinstance(up, Enlarged)
        x = relu(instance_norm(enlarged(x, up.weight)))
        x = x + seen if network.skips else x
    return torch.tanh(conv(x, network.last))


@pytest.mark.parametrize("skips", [True, False])
@pytest.mark.parametrize("size", [(16, 16), (24, 40)])
def test_is_the_papers_network(size: tuple[int, int], skips: bool) -> None:
    network, picture = generator(skips=skips), torch.rand(2, 3, *size).mul(2).sub(1)
    wanted, made = reference(network, picture), network(torch.zeros(2, 0), picture)
    assert made.shape == picture.shape
    assert made.std() > 0.2
    assert torch.allclose(made, wanted, atol=1e-5)
    weights = list(network.parameters())
    for mine, theirs in zip(
        torch.autograd.grad(made.square().sum(), weights),
        torch.autograd.grad(wanted.square().sum(), weights),
        strict=True,
    ):
        assert torch.allclose(mine, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))


def test_pictures_may_be_given_in_other_channels() -> None:
    outlines = Generator(PictureSpec.of(3, 16, 16, given=Input(1)), 0, 4, 1)
    assert outlines(torch.zeros(2, 0), torch.rand(2, 1, 16, 16)).shape == (2, 3, 16, 16)


def test_each_picture_is_drawn_for_itself() -> None:
    network, picture = generator(), torch.rand(3, 3, 16, 16)
    alone = torch.cat([network(torch.zeros(1, 0), one[None]) for one in picture])
    assert torch.allclose(network(torch.zeros(3, 0), picture), alone, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 8)])
def test_enlarging_is_repeating_convolving_and_blurring(size: tuple[int, int]) -> None:
    layer, x = Enlarged(3, 5).double(), torch.randn(2, 3, *size, dtype=torch.float64)
    assert torch.allclose(layer(x), enlarged(x, layer.weight), atol=1e-12)


def test_enlarging_is_bilinear_off_the_edges() -> None:
    layer, x = Enlarged(3, 5).double(), torch.randn(2, 3, 5, 8, dtype=torch.float64)
    big = interpolate(x, scale_factor=2, mode="bilinear")
    wanted = torch.nn.functional.conv2d(big, layer.weight, padding=1)
    assert torch.allclose(layer(x)[:, :, 2:-2, 2:-2], wanted[:, :, 2:-2, 2:-2], atol=1e-12)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_instance_norm_is_torchs(layout: torch.memory_format) -> None:
    x = (torch.randn(3, 4, 6, 5, dtype=torch.float64) * 3 + 1).contiguous(memory_format=layout).requires_grad_()
    mine, theirs, pull = InstanceNorm()(x), instance_norm(x), torch.randn(3, 4, 6, 5, dtype=torch.float64)
    assert torch.allclose(mine, theirs, atol=1e-10)
    one, other = (torch.autograd.grad((made * pull).sum(), x)[0] for made in (mine, theirs))
    assert torch.allclose(one, other, atol=1e-9)
    assert mine.is_contiguous(memory_format=layout)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ZerosumError, match="not of shrunk"):
        Generator(PictureSpec.of(3, 16, 16, given=Input(3, 4)), 0)
    with pytest.raises(ZerosumError, match=r"latent\.size = 8"):
        Generator(SPEC, 8)


def pictures(*values: int) -> Tensor:
    """(N, 1, 2, 2), each of one 8-bit value."""
    return (torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 1, 2, 2) / 127.5 - 1).clone()


def values(shown: Tensor) -> list[int]:
    return [int(value) for value in shown.add(1).mul(127.5).round()[:, 0, 0, 0]]


def test_a_pool_shows_what_is_new_until_it_is_full_and_then_half_of_it() -> None:
    pool, held = Pool(5, 2, (1, 2, 2)), []  # type: tuple[Pool, list[int]]
    torch.manual_seed(0)
    old = 0
    for turn in range(100):
        fresh = [2 * turn, 2 * turn + 1]
        pool.leave(pictures(*fresh))
        shown = values(pool.take(2, 2 * turn))
        for new, seen in zip(fresh, shown, strict=True):  # Shrivastava 2017, as CycleGAN's authors do it
            if len(held) < 5:
                assert seen == new
                held.append(new)
            elif seen != new:
                assert seen in held
                held[held.index(seen)] = new
                old += 1
        assert sorted(held) == sorted(int(value) for value in pool.get_buffer("pictures")[: len(held), 0, 0, 0])
    assert 70 < old < 125


def test_a_pool_of_none_shows_what_is_new_and_states_are_exact() -> None:
    pool = Pool(0, 2, (1, 2, 2))
    pool.leave(pictures(3, 4))
    assert values(pool.take(2, 100)) == [3, 4]
    first, second = Pool(3, 2, (1, 2, 2)), Pool(3, 2, (1, 2, 2))
    for turn in range(9):
        if turn == 4:
            second.load_state_dict(snapshot(first))
        shown = []
        for one in (first,) if turn < 4 else (first, second):
            one.leave(pictures(turn, 100 + turn))
            torch.manual_seed(turn)
            shown.append(values(one.take(2, 2 * turn)))
        assert shown[0] == shown[-1]
    assert same(snapshot(first), snapshot(second))
