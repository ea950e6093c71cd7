"""The fast ways against torch's own: which one is taken, what it computes, and its derivatives of both orders.

Equal mathematics is shown in float64, where nothing but a fault is visible; float32 and bfloat16 are then held to what
torch's own way does at the same precision.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.autograd import Function, grad, gradcheck, gradgradcheck
from torch.nn.functional import conv2d, conv_transpose2d, interpolate
from torch.nn.functional import leaky_relu as torchs_leaky_relu

from zerosum.networks import operators
from zerosum.networks.operators import (
    BatchNorm,
    Convolve,
    Correlate,
    Down,
    Enlarge,
    Transpose,
    Up,
    batches_in_one,
    images_only,
    leaky_relu,
)

Layer = Down | Up
Call = Callable[[Layer, Tensor], Tensor]
Activation = Callable[[Tensor, float], Tensor]

FORMATS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}
#: first those on either side of THIN, then many
CHANNELS = [(1, 16), (2, 16), (3, 16), (4, 16), (5, 16), (16, 32)]


def apply(function: type[Function], *inputs: Any) -> Tensor:
    return function.apply(*inputs)  # type: ignore[no-any-return,no-untyped-call]


def ours(layer: Layer, x: Tensor) -> Tensor:
    return layer(x)  # type: ignore[no-any-return]


def torchs(layer: Layer, x: Tensor) -> Tensor:
    return nn.Conv2d.forward(layer, x) if isinstance(layer, Down) else nn.ConvTranspose2d.forward(layer, x)


def by_functions(layer: Layer, x: Tensor) -> Tensor:
    """As in bfloat16 below a certain side, but in the precision of x."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operators, "_lowered", lambda *tensors: list(tensors))
        patch.setattr(operators, "THIN", 0)
        return ours(layer, x)


def make(kind: type[Layer], kernel: int, channels: tuple[int, int], bias: bool = True) -> Layer:
    """channels: of the image's side and of the other one."""
    inputs, outputs = channels if kind is Down else channels[::-1]
    return kind(inputs, outputs, kernel, bias)


def autocast(on: bool = True) -> torch.autocast:
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=on)


def outcome(call: Call, layer: Layer, x: Tensor, bf16: bool = False) -> dict[str, Tensor]:
    """The output, gradients, and gradients of a gradient's square, as R1 has them, of x and every weight."""
    x = x.detach().requires_grad_()
    leaves = {"x": x, **dict(layer.named_parameters())}
    with autocast(bf16):
        y = call(layer, x)
    assert y.dtype == (torch.bfloat16 if bf16 else x.dtype)
    wide = y.to(x.dtype)
    # positive, because sums that cancel say little about their exactness
    mask = torch.rand(y.shape, generator=torch.Generator().manual_seed(1)).to(x.dtype)
    first = grad((wide * mask).sum(), list(leaves.values()), retain_graph=True)
    # of a square, so that the slope depends on x and on the bias too
    (slope,) = grad((wide.square() * mask).sum(), x, create_graph=True)
    second = grad(slope.square().sum(), list(leaves.values()))
    return {
        "output": y.detach(),
        **{f"gradient of {name}": value for name, value in zip(leaves, first, strict=True)},
        **{f"second gradient of {name}": value for name, value in zip(leaves, second, strict=True)},
    }


def distance(a: Tensor, b: Tensor) -> float:
    """Relative to b."""
    assert a.shape == b.shape
    result: float = ((a.double() - b.double()).norm() / b.double().norm()).item()
    return result


def distances(a: dict[str, Tensor], b: dict[str, Tensor]) -> dict[str, float]:
    return {name: distance(a[name], b[name]) for name in b}


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the fast ways, in the order in which they are taken from now on."""
    names: list[str] = []

    def note(name: str, original: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def noting(*inputs: Any) -> Tensor:
            names.append(inputs[0].__name__ if name == "_apply" else "blocks")
            return original(*inputs)

        return noting

    for name in ("_apply", "_blocks_down", "_blocks_up"):
        monkeypatch.setattr(operators, name, note(name, getattr(operators, name)))
    return names


# what is computed


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kernel", [3, 4, 5])
def test_layers_hold_what_torchs_hold(kernel: int, bias: bool) -> None:
    edge = (kernel - 1) // 2
    down, up = Down(3, 6, kernel, bias), Up(6, 3, kernel, bias)
    plain = (
        nn.Conv2d(3, 6, kernel, 2, edge, bias=bias),
        nn.ConvTranspose2d(6, 3, kernel, 2, edge, kernel % 2, bias=bias),
    )
    for layer, theirs, shape in zip((down, up), plain, ((1, 3, 8, 8), (1, 6, 4, 4)), strict=True):
        theirs.load_state_dict(layer.state_dict())
        x = torch.randn(shape, requires_grad=True)
        torch.testing.assert_close(layer(x), theirs(x))
        assert repr(layer).partition("(")[2] == repr(theirs).partition("(")[2]


@pytest.mark.parametrize(("call", "kernel"), [(ours, 4), (by_functions, 3), (by_functions, 4), (by_functions, 5)])
@pytest.mark.parametrize("kind", [Down, Up])
@settings(deadline=None, max_examples=10)
@given(
    channels=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4)),
    bias=st.booleans(),
    layout=st.sampled_from(list(FORMATS)),
)
def test_every_way_is_torchs_own_in_float64(
    kind: type[Layer],
    call: Call,
    kernel: int,
    channels: tuple[int, int],
    shape: tuple[int, int, int],
    bias: bool,
    layout: str,
) -> None:
    torch.manual_seed(0)
    count, high, wide = shape
    scale = 2 if kind is Down else 1
    layer = make(kind, kernel, channels, bias).double()
    x = torch.randn(count, layer.in_channels, scale * high, scale * wide).double()
    expected = outcome(torchs, layer, x)
    layer.to(memory_format=FORMATS[layout])  # type: ignore[call-overload]
    result = outcome(call, layer, x.to(memory_format=FORMATS[layout]))
    torch.testing.assert_close(result, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("kernel", [4, 5])
@pytest.mark.parametrize("kind", [Down, Up])
def test_float32_differs_by_rounding_alone(kind: type[Layer], kernel: int, channels: tuple[int, int]) -> None:
    torch.manual_seed(0)
    for (high, wide), count, bias, layout in (
        ((4, 4), 1, False, "contiguous"),
        ((16, 16), 3, True, "channels last"),
        ((18, 18), 1, True, "contiguous"),
        ((64, 16), 2, False, "channels last"),
    ):
        layer = make(kind, kernel, channels, bias)
        layer.to(memory_format=FORMATS[layout])  # type: ignore[call-overload]
        x = torch.randn(count, layer.in_channels, high, wide).to(memory_format=FORMATS[layout])
        errors = distances(outcome(ours, layer, x), outcome(torchs, layer, x))
        assert max(errors.values()) < 1e-5, errors


@pytest.mark.parametrize("side", [4, 16, 18])
@pytest.mark.parametrize("channels", [(3, 48), (24, 48)])
@pytest.mark.parametrize("kernel", [4, 5])
@pytest.mark.parametrize("kind", [Down, Up])
def test_bfloat16_is_as_exact_as_torchs_own(
    kind: type[Layer], kernel: int, channels: tuple[int, int], side: int
) -> None:
    """Against float64: neither worse nor, which would mean that it is computed in float32, much better."""
    torch.manual_seed(0)
    # a processor without bfloat16 computes in float32, and each way rounds at other places
    margin = 1.4 if torch.cpu._is_avx512_bf16_supported() else 2.0
    layer = make(kind, kernel, channels)
    nn.init.normal_(layer.bias)  # type: ignore[arg-type]
    x = torch.randn(6, layer.in_channels, side // (1 if kind is Down else 2), side)
    exact = outcome(torchs, deepcopy(layer).double(), x.double())
    mine = distances(outcome(ours, layer, x, bf16=True), exact)
    theirs = distances(outcome(torchs, layer, x, bf16=True), exact)
    for name, error in theirs.items():
        assert 1e-4 < error < 0.01
        if exact[name].numel() == 3:  # so few sums differ by chance
            assert mine[name] < 0.01
        else:
            assert error / margin < mine[name] < margin * error, name


def test_gradients_of_bfloat16_have_the_types_of_what_they_are_for() -> None:
    for kind, side in ((Down, 16), (Up, 8)):
        layer, x = make(kind, 4, (8, 16)), torch.randn(2, 8 if kind is Down else 16, side, side)
        assert all(v.dtype == torch.float32 for k, v in outcome(ours, layer, x, bf16=True).items() if k != "output")


# which way is taken


@pytest.mark.parametrize(
    ("kernel", "channels", "side", "bf16", "wanted", "way"),
    [
        (4, 1, 32, False, True, ["blocks"]),
        (4, 4, 32, False, True, ["blocks"]),
        (4, 5, 32, False, True, []),
        (5, 4, 32, False, True, []),
        (4, 4, 32, False, False, []),
        (4, 4, 8, True, True, ["blocks"]),
        (4, 4, 64, True, True, ["blocks"]),
        (4, 4, 16, True, False, ["Convolve"]),
        (5, 4, 16, True, True, ["Convolve"]),
        (4, 5, 16, True, True, ["Convolve"]),
        (4, 5, 18, True, True, []),
        (4, 5, 16, False, True, []),
        (4, 5, 4, False, True, []),
    ],
)
def test_which_way_down(
    used: list[str], kernel: int, channels: int, side: int, bf16: bool, wanted: bool, way: list[str]
) -> None:
    with autocast(bf16):
        y = Down(channels, 6, kernel)(torch.randn(1, channels, side, side, requires_grad=wanted))
    assert y.shape == (1, 6, side // 2, side // 2)
    assert used == way


@pytest.mark.parametrize(
    ("kernel", "channels", "side", "bf16", "way"),
    [
        (4, 1, 32, False, ["blocks"]),
        (4, 4, 32, False, ["blocks"]),
        (4, 5, 32, False, []),
        (5, 4, 32, False, []),
        (4, 4, 8, True, ["blocks"]),
        (4, 4, 64, True, ["blocks"]),
        (5, 4, 16, True, ["Transpose"]),
        (4, 5, 16, True, ["Transpose"]),
        (4, 5, 18, True, []),
        (4, 5, 16, False, []),
        (4, 5, 4, False, []),
    ],
)
def test_which_way_up(used: list[str], kernel: int, channels: int, side: int, bf16: bool, way: list[str]) -> None:
    """Whether or not gradients of the input are wanted. side: that of the output."""
    for wanted in (True, False):
        used.clear()
        with autocast(bf16):
            y = Up(6, channels, kernel)(torch.randn(1, 6, side // 2, side // 2, requires_grad=wanted))
        assert y.shape == (1, channels, side, side)
        assert used == way


LAYERS = [make(kind, 4, channels) for kind in (Down, Up) for channels in ((3, 6), (6, 6))]


@pytest.mark.parametrize("layer", LAYERS)
def test_other_devices_take_torchs_own(used: list[str], layer: Layer) -> None:
    """A tensor on the meta device has no numbers, but is on no CPU either."""
    x = torch.randn(1, layer.in_channels, 8, 8, device="meta", requires_grad=True)
    with autocast():
        assert deepcopy(layer).to("meta")(x).device.type == "meta"
    assert used == []


def test_other_types_take_torchs_own(used: list[str]) -> None:
    for kind in (Down, Up):
        with torch.autocast("cpu", dtype=torch.float16):
            assert kind(6, 6, 4)(torch.randn(1, 6, 8, 8)).dtype == torch.float16
    assert used == []


def test_only_wanted_gradients_are_computed(used: list[str]) -> None:
    x, w = torch.randn(1, 2, 4, 4, requires_grad=True), torch.randn(3, 2, 4, 4, requires_grad=True)
    y = torch.randn(1, 3, 2, 2, requires_grad=True)
    for function, inputs, one, other in (
        (Convolve, (x, w), ["Transpose"], ["Correlate"]),
        (Transpose, (y, w), ["Convolve"], ["Correlate"]),
        (Correlate, (x, y, 4), ["Transpose"], ["Convolve"]),
    ):
        for frozen, expected in ((None, one + other), (1, one), (0, other)):
            given_ = [v.detach() if i == frozen else v for i, v in enumerate(inputs) if isinstance(v, Tensor)]
            result = apply(function, *given_, *inputs[2:])
            used.clear()
            result.sum().backward()  # type: ignore[no-untyped-call]
            assert used == expected


# the three bilinear functions


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("kernel", [4, 5])
def test_the_three_functions_by_finite_differences(kernel: int) -> None:
    shapes = ((2, 1, 4, 2), (2, 2, 2, 1), (2, 1, kernel, kernel))
    x, y, w = (numbers(*shape).requires_grad_() for shape in shapes)
    for function, pair in (
        (lambda x, w: apply(Convolve, x, w), (x, w)),
        (lambda y, w: apply(Transpose, y, w), (y, w)),
        (lambda x, y: apply(Correlate, x, y, kernel), (x, y)),
    ):
        assert gradcheck(function, pair)
        assert gradgradcheck(function, pair)


@pytest.mark.parametrize("kernel", [3, 4, 5])
def test_the_three_functions_are_one_form(kernel: int) -> None:
    """<y, x * w>, of which each is the derivative with respect to one."""
    x, y, w = numbers(2, 3, 6, 4), numbers(2, 5, 3, 2), numbers(5, 3, kernel, kernel)
    edge = (kernel - 1) // 2
    form = (conv2d(x, w, None, 2, edge) * y).sum()
    torch.testing.assert_close((apply(Convolve, x, w) * y).sum(), form)
    torch.testing.assert_close((apply(Transpose, y, w) * x).sum(), form)
    torch.testing.assert_close((apply(Correlate, x, y, kernel) * w).sum(), form)
    torch.testing.assert_close(apply(Transpose, y, w), conv_transpose2d(y, w, None, 2, edge, kernel % 2))


# images alone


def steepness(layer: Layer, x: Tensor, aside: bool) -> Tensor:
    """A penalty on the slopes of a nonlinear score, taken inside `images_only` or not."""
    with autocast():
        score = layer(x).float().square().sum()
    if not aside:
        return grad(score, x, create_graph=True)[0].square().sum()
    with images_only():
        return grad(score, x, create_graph=True)[0].square().sum()


@pytest.mark.parametrize("kind", [Down, Up])
def test_while_images_alone_are_wanted_no_weight_gradient_is_computed(used: list[str], kind: type[Layer]) -> None:
    torch.manual_seed(0)
    layer = kind(8, 8, 4)
    x = torch.randn(2, 8, 8, 8, requires_grad=True)
    penalties, gradients = [], []
    for aside in (True, False):
        used.clear()
        penalties.append(steepness(layer, x, aside))
        assert used.count("Correlate") == (0 if aside else 1)
        used.clear()
        gradients.append(grad(penalties[-1], list(layer.parameters())))
        # of the convolution and of its gradient
        assert used.count("Correlate") == 2
    assert torch.equal(*penalties)
    assert penalties[0] > 0
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)
        assert one.any()


def test_weights_are_wanted_again_after_an_error(used: list[str]) -> None:
    layer, x = Down(8, 8, 4), torch.randn(1, 8, 8, 8)

    def weight_gradients() -> int:
        with autocast():
            score = layer(x).sum()
        used.clear()
        score.backward()
        return used.count("Correlate")

    def fail_inside() -> None:
        with images_only():
            with images_only():
                pass
            assert weight_gradients() == 0  # the inner one ends, the outer one goes on
            raise RuntimeError("amid the gradient")

    assert weight_gradients() == 1
    with pytest.raises(RuntimeError, match="amid"):
        fail_inside()
    assert weight_gradients() == 1


# leaky ReLU


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("slope", [0.2, 0.01, 1.5])
def test_leaky_relu_is_torchs_own(slope: float, dtype: torch.dtype) -> None:
    x = torch.cat([torch.randn(50, generator=torch.Generator().manual_seed(0)), torch.tensor([0.0, -0.0])]).to(dtype)
    weights = torch.linspace(-1, 2, 52).to(dtype)
    results = []
    for activation in (leaky_relu, torchs_leaky_relu):
        leaf = x.clone().requires_grad_()
        factor = torch.ones_like(x).requires_grad_()
        y = activation(leaf * factor, slope)
        first = grad((y.square() * weights).sum(), (leaf, factor), create_graph=True)
        second = grad(first[0].square().sum(), (leaf, factor))
        results.append([y, *first, *second])
    for one, other in zip(*results, strict=True):
        assert one.dtype == dtype
        assert torch.equal(one, other)


def test_leaky_relu_by_finite_differences() -> None:
    x = numbers(12)
    x = (x + 0.1 * x.sign()).requires_grad_()  # away from the kink
    assert (x < 0).any()
    assert (x > 0).any()
    for function in (lambda x: leaky_relu(x.clone(), 0.2), lambda x: leaky_relu(3 * x, 0.2).square()):
        assert gradcheck(function, x)
        assert gradgradcheck(function, x)


def test_leaky_relu_overwrites_and_keeps_no_copy() -> None:
    x = torch.tensor([-1.0, 2.0])
    assert leaky_relu(x, 0.5) is x
    assert x.tolist() == [-0.5, 2.0]
    assert not x.requires_grad
    before = torch.randn(5, requires_grad=True) * 2
    y = leaky_relu(before, 0.5)
    assert y is before
    (kept,) = y.grad_fn.saved_tensors  # type: ignore[union-attr]
    assert kept.data_ptr() == y.data_ptr()
    y.mul_(2)  # which would falsify the slopes: torch must be able to notice
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()  # type: ignore[no-untyped-call]


def test_leaky_relu_refuses_what_it_may_not_overwrite() -> None:
    with pytest.raises(RuntimeError, match="leaf"):
        leaky_relu(torch.randn(3, requires_grad=True), 0.2)


def gradients_arriving(activation: Activation) -> list[Tensor]:
    """What the first layer's output is told when a penalty on slopes is differentiated."""
    torch.manual_seed(0)
    x, first, second = torch.randn(4, 6, requires_grad=True), nn.Linear(6, 5), nn.Linear(5, 1)
    arriving: list[Tensor] = []
    hidden = first(x)
    hidden.register_hook(arriving.append)
    (slope,) = grad(second(activation(hidden, 0.2)).sum(), x, create_graph=True)
    assert len(arriving) == 1
    arriving.clear()
    slope.square().sum().backward()  # type: ignore[no-untyped-call]
    assert first.weight.grad is not None
    assert first.weight.grad.any()
    return arriving


def test_a_penalty_on_slopes_does_not_run_through_the_network_again() -> None:
    """torch's own sends zeros, which cost a whole backward pass."""
    (zeros,) = gradients_arriving(torchs_leaky_relu)
    assert not zeros.any()
    assert gradients_arriving(leaky_relu) == []


@pytest.mark.parametrize("function", [False, True])
@pytest.mark.parametrize("channels", [(5, 3), (3, 6)])
def test_enlarge_is_a_convolution_of_the_doubled_image(
    channels: tuple[int, int], function: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if function:  # as in bfloat16 below a certain side
        monkeypatch.setattr(operators, "_lowered", lambda *tensors: list(tensors))
        monkeypatch.setattr(operators, "THIN", 0)
    layer = Enlarge(*channels).double()
    x = torch.randn(2, channels[0], 3, 4, dtype=torch.float64, requires_grad=True)
    doubled = interpolate(x, scale_factor=2, mode="nearest")
    plain, fast = conv2d(doubled, layer.weight, layer.bias, padding=1), layer(x)
    assert fast.shape == (2, channels[1], 6, 8)
    torch.testing.assert_close(fast, plain, rtol=0, atol=1e-12)
    weights = [x, *layer.parameters()]
    for ours, theirs in zip(grad(fast.square().sum(), weights), grad(plain.square().sum(), weights), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    assert gradgradcheck(layer, x)


# several batches in one


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_batches_in_one_are_normalised_as_one_after_the_other(count: int, training: bool) -> None:
    torch.manual_seed(0)
    mine = BatchNorm(5).double().train(training)
    nn.init.uniform_(mine.weight)
    theirs = nn.BatchNorm2d(5).double().train(training)
    theirs.load_state_dict(mine.state_dict())
    x = (torch.randn(6, 5, 4, 2, dtype=torch.float64) + torch.arange(6.0).view(-1, 1, 1, 1)).requires_grad_()
    with batches_in_one(count):
        together = mine(x)
    apart = torch.cat([theirs(part) for part in torch.split(x, 6 // count)])
    torch.testing.assert_close(together, apart, rtol=0, atol=0)
    pull = torch.randn_like(apart)
    for one, other in zip(
        grad((together * pull).sum(), [x, *mine.parameters()]),
        grad((apart * pull).sum(), [x, *theirs.parameters()]),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    assert mine.state_dict().keys() == theirs.state_dict().keys()
    for name, value in theirs.state_dict().items():
        assert torch.equal(mine.state_dict()[name], value), name


def test_batches_are_one_again_after_an_error() -> None:
    norm, x = BatchNorm(3), torch.randn(4, 3, 2, 2)
    with pytest.raises(RuntimeError, match="amid"), batches_in_one(2):
        raise RuntimeError("amid the step")
    norm(x)
    assert int(norm.num_batches_tracked or 0) == 1
