"""What turns samples into features: a network with its stamp, `Extractor`."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from zerosum.data.source import as_floats
from zerosum.errors import ZerosumError

#: features of a sample at most: their covariance then takes 2 GiB
WIDEST = 16_384


@dataclass(frozen=True)
class Extractor:
    """A feature network: samples (N, ...), as files would hold them, -> features (N, D) and, if it has classes, logits
    (N, K).

    The network reads float32 as networks are trained on and returns features, or a pair of features and logits.
    """

    name: str
    network: nn.Module
    device: torch.device
    #: what makes float32 of samples as files hold them
    decode: Callable[[Tensor], Tensor] = as_floats
    #: how it brings samples to its input
    reads: str = "samples as they come out"
    #: classes of each attribute in its logits; () where it has none
    sizes: tuple[int, ...] = ()
    #: samples that it sees together: what fits into the processor's cache
    batch: int = 64
    #: whether those classes are the data's labels
    labelled: bool = False
    #: further facts for the stamp
    facts: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """Of the weights and of all that the network says of its layers, since some have no weights."""
        kind = f"{type(self.network).__module__}.{type(self.network).__qualname__}"
        sums = hashlib.sha256(f"{self.name} {kind} {self.network!r} {self.reads}".encode())
        for name, value in self.network.state_dict().items():
            sums.update(name.encode())
            sums.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        return sums.hexdigest()[:16]

    @torch.inference_mode()
    def look(self, samples: Tensor) -> tuple[Tensor, Tensor | None]:
        """Samples (N, ...) -> float32 features (N, D) and logits (N, K) or None, on the CPU."""
        try:
            parts = [self.network(self.decode(part.to(self.device))) for part in torch.split(samples, self.batch)]
        except (RuntimeError, TypeError, ValueError) as error:
            size, said = "x".join(map(str, samples.shape[1:])), str(error).partition("\n")[0]
            raise ZerosumError(f"the feature network {self.name} cannot read samples of {size}: {said}") from None
        pairs = [part if isinstance(part, tuple) else (part, None) for part in parts]
        if not all(len(pair) == 2 and isinstance(pair[0], Tensor) and pair[0].dim() for pair in pairs):
            raise ZerosumError(
                f"the feature network {self.name} gives {type(parts[0]).__name__}: it should return a tensor "
                "with one row of features for each sample, or a pair of features and logits"
            )
        features = torch.cat([one.float().cpu() for one, _ in pairs])
        if features.shape[0] != len(samples) or features.dim() != 2:
            raise ZerosumError(
                f"the feature network {self.name} gives {tuple(features.shape)} for {len(samples)} samples: "
                "it should give one row of features for each"
            )
        if features.shape[1] > WIDEST:
            raise ZerosumError(
                f"the feature network {self.name} gives {features.shape[1]:,} features for each sample: {WIDEST:,} at "
                "most; pool them, or compare smaller samples"
            )
        if not features.isfinite().all():
            raise ZerosumError(f"the feature network {self.name} gives NaN or infinity")
        if not self.sizes:
            return features, None
        return features, torch.cat([logits.float().cpu() for _, logits in pairs if logits is not None])


def from_module(
    network: nn.Module,
    device: torch.device,
    decode: Callable[[Tensor], Tensor] = as_floats,
    reads: str = Extractor.reads,
) -> Extractor:
    """Any module that gives features (N, D) for samples as networks are trained on; it is put into evaluation mode."""
    return Extractor(type(network).__name__, network.eval().to(device), device, decode, reads)
