"""Which numbers a step computes with, and on which device."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from zerosum.engine.training.parallel import graphics_card
from zerosum.errors import ZerosumError, setting


@dataclass(frozen=True)
class Precision:
    """fp32, or bf16 for convolutions and matrix products with weights, losses and penalties kept in fp32."""

    name: str
    device: torch.device

    def context(self) -> AbstractContextManager[None]:
        """Networks run inside it."""
        if self.name == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)


def choose(precision: str, device: str) -> Precision:
    """From the recipe's words ("auto" allowed) to what this machine does well; ZerosumError for a missing device."""
    if device == "auto":
        device = f"cuda:{graphics_card()}" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ZerosumError(f"device = {device}: no CUDA device here; use {setting('device', 'cpu')}")
    chosen = torch.device(device)
    if precision == "auto":
        precision = "bf16" if _multiplies_bf16(chosen) else "fp32"
    return Precision(precision, chosen)


def _multiplies_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
