"""What networks compute with where torch's own way is slow on a CPU: the same numbers, derivatives of any order.

`Down` and `Up` are the convolutions of stride 2 and their transposes, each computed in the way that was measured to be
fastest for its shape (`python -m benchmarks.operators` measures again); `Enlarge` convolves the doubled image;
`leaky_relu` works in place and keeps gradients of gradients cheap; `BatchNorm` lets real and generated samples go
through a critic as one batch. On other devices the convolutions are torch's own. Sides are even.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.functional import batch_norm, conv2d, conv_transpose2d, instance_norm, pad, pixel_shuffle, pixel_unshuffle

#: images have at most so many channels; a layer between them and many channels is faster on their 2x2 blocks
THIN = 4
#: sides up to which weight gradients in bf16 are faster as one matrix product of patches
SMALL = 16

_batches: ContextVar[int] = ContextVar("batches", default=1)
_weights_wanted: ContextVar[bool] = ContextVar("weights_wanted", default=True)


class Down(nn.Conv2d):
    """Halves the side: (N, inputs, 2H, 2W) -> (N, outputs, H, W). Kernel 4 with padding 1, or 5 with padding 2."""

    def __init__(self, inputs: int, outputs: int, kernel: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, kernel, 2, (kernel - 1) // 2, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu":
            if x.requires_grad and self.in_channels <= THIN and self.kernel_size == (4, 4):
                return _blocks_down(x, self.weight, self.bias)
            if x.shape[3] <= SMALL and (lowered := _lowered(x, self.weight)) is not None:
                return _with_bias(_apply(Convolve, *lowered), self.bias)
        return super().forward(x)


class Up(nn.ConvTranspose2d):
    """Doubles the side: (N, inputs, H, W) -> (N, outputs, 2H, 2W). Kernel 4 with padding 1, or 5 with padding 2."""

    def __init__(self, inputs: int, outputs: int, kernel: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, kernel, 2, (kernel - 1) // 2, kernel % 2, bias=bias)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        if x.device.type == "cpu":
            if self.out_channels <= THIN and self.kernel_size == (4, 4):
                return _blocks_up(x, self.weight, self.bias)
            if 2 * x.shape[3] <= SMALL and (lowered := _lowered(x, self.weight)) is not None:
                return _with_bias(_apply(Transpose, *lowered), self.bias)
        return super().forward(x, output_size)


class Enlarge(nn.Conv2d):
    """Every pixel four times, then a 3x3 convolution: (N, inputs, H, W) -> (N, outputs, 2H, 2W), no checkerboard.

    Computed as the transposed convolution that it is, of a 4x4 kernel: where neighbours are equal, weights add up. That
    is 16 products for each weight's place in the smaller image instead of 36.
    """

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 3, 1, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        # place 3 - k of the transposed kernel collects places k - 1 and k of the convolution's
        kernel = (pad(self.weight, (0, 1, 0, 1)) + pad(self.weight, (1, 0, 0, 1))) + (
            pad(self.weight, (0, 1, 1, 0)) + pad(self.weight, (1, 0, 1, 0))
        )
        kernel = kernel.flip(2, 3).transpose(0, 1)
        if x.device.type == "cpu":
            if self.out_channels <= THIN:
                return _blocks_up(x, kernel, self.bias)
            if 2 * x.shape[3] <= SMALL and (lowered := _lowered(x, kernel)) is not None:
                return _with_bias(_apply(Transpose, *lowered), self.bias)
        return conv_transpose2d(x, kernel, self.bias, 2, 1)


def leaky_relu(x: Tensor, slope: float) -> Tensor:
    """x where it is positive, slope * x elsewhere, for slope > 0; x itself is overwritten."""
    return _apply(LeakyReLU, x, slope)


class InstanceNorm(nn.Module):
    """Each channel of each image to mean 0 and variance 1 (Ulyanov 2016), without a learnt scale: (N, C, H, W).

    On a CPU each image is normalised as a batch of one: for images in channels-last memory two to three times faster.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu":
            return torch.cat([batch_norm(image, None, None, training=True) for image in torch.split(x, 1)])
        return instance_norm(x)


class BatchNorm(nn.BatchNorm2d):
    """torch's own; of `batches_in_one` each is normalised by its own statistics, in their order."""

    def forward(self, x: Tensor) -> Tensor:
        if (count := _batches.get()) == 1:
            return super().forward(x)
        return torch.cat(list(map(super().forward, x.chunk(count))))


@contextmanager
def batches_in_one(count: int) -> Iterator[None]:
    """Context: the input is `count` equal batches, concatenated; BatchNorm normalises each by its own statistics."""
    token = _batches.set(count)
    try:
        yield
    finally:
        _batches.reset(token)


@contextmanager
def images_only() -> Iterator[None]:
    """While gradients are taken of images alone: torch does not tell a Function which of its inputs are wanted.

    The trick is that of the StyleGAN 2 authors' code (Karras 2020).
    """
    token = _weights_wanted.set(False)
    try:
        yield
    finally:
        _weights_wanted.reset(token)


def _blocks_down(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A 4x4 convolution of stride 2 is a 2x2 convolution of stride 1 on the padded image's 2x2 blocks."""
    outputs, channels = weight.shape[:2]
    blocks = pixel_unshuffle(pad(x, (1, 1, 1, 1)), 2)  # (N, 4C, H + 1, W + 1)
    kernel = weight.view(outputs, channels, 2, 2, 2, 2).permute(0, 1, 3, 5, 2, 4)
    return conv2d(blocks, kernel.reshape(outputs, 4 * channels, 2, 2), bias)


def _blocks_up(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Its transpose: a 2x2 convolution makes the 2x2 blocks, and the outermost pixels are cut off."""
    inputs, channels = weight.shape[:2]
    kernel = weight.view(inputs, channels, 2, 2, 2, 2).permute(1, 3, 5, 0, 2, 4).flip(4, 5)
    bias = None if bias is None else bias.repeat_interleave(4)
    blocks = conv2d(x, kernel.reshape(4 * channels, inputs, 2, 2), bias, padding=1)
    return pixel_shuffle(blocks, 2)[:, :, 1:-1, 1:-1]


def _lowered(*tensors: Tensor) -> list[Tensor] | None:
    """In bfloat16 as autocast, which does not reach into a Function, would make them; None where it would not."""
    reached = all(tensor.dtype != torch.float64 for tensor in tensors)
    if reached and torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16:
        return [tensor.to(torch.bfloat16) for tensor in tensors]
    return None


def _with_bias(x: Tensor, bias: Tensor | None) -> Tensor:
    return x if bias is None else x + bias.to(x.dtype).view(-1, 1, 1)


def _apply(function: type[Function], *inputs: Any) -> Tensor:
    return function.apply(*inputs)  # type: ignore[no-any-return,no-untyped-call]


class Convolve(Function):
    """x (N, C, 2H, 2W), w (O, C, k, k) -> (N, O, H, W), linear in both.

    So are the next two, and the derivatives of each are the others: together they have derivatives of every order.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return conv2d(x, w, None, 2, (w.shape[2] - 1) // 2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (g,), (x, w), (for_x, for_w) = grads, ctx.saved_tensors, ctx.needs_input_grad
        return _apply(Transpose, g, w) if for_x else None, _weight_gradient(x, g, w) if for_w else None


class Transpose(Function):
    """y (N, O, H, W), w (O, C, k, k) -> (N, C, 2H, 2W)."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(y, w)
        kernel = w.shape[2]
        return conv_transpose2d(y, w, None, 2, (kernel - 1) // 2, kernel % 2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (g,), (y, w), (for_y, for_w) = grads, ctx.saved_tensors, ctx.needs_input_grad
        return _apply(Convolve, g, w) if for_y else None, _weight_gradient(g, y, w) if for_w else None


class Correlate(Function):
    """x (N, C, 2H, 2W), y (N, O, H, W), kernel k -> (O, C, k, k): y times the patches of x that it came from."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, kernel: int) -> Tensor:
        ctx.save_for_backward(x, y)
        (count, outputs, high, wide), channels, edge = y.shape, x.shape[1], (kernel - 1) // 2
        padded = pad(x, (edge, edge, edge, edge)).permute(0, 2, 3, 1).contiguous()  # (N, 2H + 2 edge, ..., C)
        image, row, pixel, _ = padded.stride()
        # in channels-last memory a line of a patch is one piece: (N, H, W, k, k * C)
        patches = padded.as_strided(
            (count, high, wide, kernel, kernel * channels), (image, 2 * row, 2 * pixel, row, 1)
        ).reshape(count * high * wide, kernel * kernel * channels)
        product = y.permute(0, 2, 3, 1).reshape(-1, outputs).T @ patches
        return product.view(outputs, kernel, kernel, channels).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (g,), (x, y), (for_x, for_y, _) = grads, ctx.saved_tensors, ctx.needs_input_grad
        return _apply(Transpose, y, g) if for_x else None, _apply(Convolve, x, g) if for_y else None, None


def _weight_gradient(x: Tensor, y: Tensor, w: Tensor) -> Tensor | None:
    return _apply(Correlate, x, y, w.shape[2]) if _weights_wanted.get() else None


class LeakyReLU(Function):
    """Unlike torch's own, it has no second derivative: double backward then pushes no zeros through the network."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float) -> Tensor:
        ctx.mark_dirty(x)
        torch.ops.aten.leaky_relu_(x, slope)
        # cut off from x: the slopes are constant almost everywhere
        ctx.save_for_backward(x.detach())
        ctx.slope = slope
        return x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return torch.ops.aten.leaky_relu_backward(grads[0], *ctx.saved_tensors, ctx.slope, True), None
