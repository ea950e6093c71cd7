"""Both directions between two domains of pictures as one player each (Zhu 2017): `Generators` and `Critics`."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zerosum.data.spec import Spec


class Generators(nn.Module):
    """`to_b` makes pictures of domain B from those of domain A, `to_a` the reverse.

    Each takes z and pictures (N, C, H, W) to pictures of the same shape. Called as one it is `to_b`.
    """

    def __init__(self, to_b: nn.Module, to_a: nn.Module) -> None:
        super().__init__()
        self.to_b, self.to_a = to_b, to_a

    def forward(self, z: Tensor, given: Tensor) -> Tensor:
        return self.to_b(z, given)  # type: ignore[no-any-return]


class Pool(nn.Module):
    """Pictures that a generator has made lately, for its critic to look at (Shrivastava 2017, section 2.3).

    8-bit buffers, like the real pictures: they survive in checkpoints, and are not averaged over processes.
    """

    def __init__(self, size: int, batch: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("pictures", torch.zeros(size, *shape, dtype=torch.uint8))
        self.register_buffer("fresh", torch.zeros(batch, *shape, dtype=torch.uint8))

    def leave(self, made: Tensor) -> None:
        """Keeps pictures (N, C, H, W) in [-1, 1], at most a batch, for the next `take`."""
        self._get("fresh")[: len(made)] = made.detach().float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)

    def take(self, count: int, before: int) -> Tensor:
        """float32 (count, C, H, W) in [-1, 1]: what was left, or for half of it, once the pool is full, older pictures.

        before: how many were taken so far. An older picture leaves the pool, and the one that was left takes its place.
        Draws from torch's default generator of the CPU.
        """
        pictures, fresh = self._get("pictures"), self._get("fresh")
        shown = fresh[:count].clone()
        for index, (coin, place) in enumerate(torch.rand(count, 2).tolist()):
            if before + index < len(pictures):
                pictures[before + index] = fresh[index]
            elif coin < 0.5 and len(pictures):
                at = int(place * len(pictures))
                shown[index] = pictures[at]
                pictures[at] = fresh[index]
        return shown.float().div_(127.5).sub_(1).contiguous(memory_format=torch.channels_last)

    def _get(self, name: str) -> Tensor:
        return self.get_buffer(name)


class Critics(nn.Module):
    """`of_a` and `of_b` judge pictures of their domain, each beside its pool of fakes. Called as one it is `of_b`.

    pool: pictures in each. batch: pictures that a generator makes in a step at most.
    """

    def __init__(self, of_a: nn.Module, of_b: nn.Module, spec: Spec, pool: int, batch: int) -> None:
        super().__init__()
        self.of_a, self.of_b = of_a, of_b
        self.fake_a, self.fake_b = (Pool(pool, batch, spec.sample.lengths) for _ in range(2))

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Tensor | Sequence[Tensor]:
        return self.of_b(images, condition)  # type: ignore[no-any-return]
