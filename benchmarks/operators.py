"""Which way of a stride-2 convolution is fastest for which shape: python -m benchmarks.operators

Times one pass forward and back (gradients of images and weights) of each way, one after the other, and marks the one
that zerosum.networks.operators chooses. Its rules, THIN and SMALL, come from here; check them on another processor.
"""

import statistics
import time
from collections.abc import Callable
from unittest.mock import patch

import torch
from torch import Tensor, nn

from benchmarks.speed import machine, table
from zerosum.engine.training.memory import reused_memory
from zerosum.networks import operators
from zerosum.networks.operators import Down, Up

#: batch, channels and side of the larger image, channels of the smaller one
SHAPES = (
    (128, 1, 32, 64),
    (128, 3, 32, 32),
    (128, 3, 64, 64),
    (64, 32, 16, 64),
    (128, 32, 16, 64),
    (128, 64, 8, 128),
    (128, 64, 32, 128),
    (128, 128, 16, 256),
    (128, 256, 8, 512),
)
ROUNDS = 12
#: way -> THIN, SMALL
RULES = {"torch": (0, 0), "blocks": (4, 0), "patches": (0, 64)}


def measure(layer: nn.Module, shape: tuple[int, ...], bf16: bool) -> dict[str, float]:
    """Way -> median milliseconds."""
    x = torch.randn(shape).contiguous(memory_format=torch.channels_last).requires_grad_()
    times: dict[str, list[float]] = {way: [] for way in RULES}
    for _ in range(ROUNDS):
        for way, (thin, small) in RULES.items():
            with patch.object(operators, "THIN", thin), patch.object(operators, "SMALL", small):
                times[way].append(_pass(layer, x, bf16))
    return {way: statistics.median(taken[2:]) * 1000 for way, taken in times.items()}


def _pass(layer: Callable[[Tensor], Tensor], x: Tensor, bf16: bool) -> float:
    began = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        y = layer(x)
    y.backward(torch.ones_like(y))  # type: ignore[no-untyped-call]
    return time.perf_counter() - began


def chosen(thin: int, side: int, bf16: bool) -> str:
    if thin <= operators.THIN:
        return "blocks"
    return "patches" if bf16 and side <= operators.SMALL else "torch"


def main() -> None:
    rows = [["layer", "batch, channels, side", "precision", *(f"{way}, ms" for way in RULES)]]
    with reused_memory():
        for batch, thin, side, wide in SHAPES:
            for kind, layer, shape in (
                ("Down", Down(thin, wide, 4), (batch, thin, side, side)),
                ("Up", Up(wide, thin, 4), (batch, wide, side // 2, side // 2)),
            ):
                layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
                for bf16 in (True, False):
                    best = chosen(thin, side, bf16)
                    found = measure(layer, shape, bf16)
                    cells = [f"**{value:.2f}**" if way == best else f"{value:.2f}" for way, value in found.items()]
                    words = f"{batch}, {thin} and {wide}, {side}"
                    rows.append([kind, words, "bf16" if bf16 else "fp32", *cells])
    print(f"{machine()}; in bold what is chosen\n\n{table(rows)}")  # noqa: T201


if __name__ == "__main__":
    main()
