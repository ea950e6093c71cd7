"""A network while the other player moves."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """While the other player moves: no gradients of these weights and no new running statistics."""
    modules = list(network.modules())
    weights = [weight for module in modules for weight in module.parameters(recurse=False) if weight.requires_grad]
    norms = [module for module in modules if isinstance(module, _BatchNorm) and module.track_running_stats]
    for weight in weights:
        weight.requires_grad_(False)
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)
        for norm in norms:
            norm.track_running_stats = True
