"""Features of samples of any shape, without having learnt anything: `Projection`."""

import torch
from torch import Tensor, nn

#: values beyond which samples are not features themselves too, and random features beside them
FEW, MADE = 64, 192


class Projection(nn.Module):
    """Flat samples (N, count) -> (N, D): fixed random combinations of their values, bent by tanh, and few values
    themselves.

    Distances in it order generators of the same data (Naeem 2020, section 3.3, argue for random embeddings where no
    trained one fits); their size means nothing beyond that data.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(2014)
        self.register_buffer("weight", torch.randn(MADE, count, generator=draw) * (2 / count**0.5))
        self.register_buffer("shift", torch.randn(MADE, generator=draw) / 2)
        self.count = count

    def extra_repr(self) -> str:
        return f"count={self.count}"

    def forward(self, samples: Tensor) -> Tensor:
        bent = torch.tanh(nn.functional.linear(samples, self.get_buffer("weight"), self.get_buffer("shift")))
        return torch.cat([samples, bent], 1) if self.count <= FEW else bent
