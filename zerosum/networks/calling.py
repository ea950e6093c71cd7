"""Calling a network: it is passed the parts of the condition that its `forward` names.

`forward(self, z, labels=None)`, `forward(self, z, given)`, `forward(self, images, labels=None, given=None)` and
`forward(self, z)` all fit. A second parameter of any other name is passed the labels or, where there are none, what is
given.
"""

import inspect
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from torch import Tensor, nn

from zerosum.data.source import Condition

#: of a network whose parameters have other names: what it is passed as its second argument
EITHER = ("labels or given",)


def call(network: nn.Module, x: Tensor, condition: Condition) -> Any:
    """What the network answers to z or samples (N, ...), with the parts of the condition (N, ...) that it reads."""
    names = reads(network)
    if names is EITHER:
        return network(x, condition.labels if condition.given is None else condition.given)
    return network(x, **{name: getattr(condition, name) for name in names})


def reads(network: nn.Module) -> tuple[str, ...]:
    """The parts of a condition that the network's `forward` names, or EITHER."""
    forward = network.forward
    return _reads(getattr(forward, "__func__", forward), hasattr(forward, "__func__"))


def parameters(forward: Any) -> Mapping[str, inspect.Parameter]:
    """The parameters of a network's `forward`, by their names."""
    return inspect.signature(forward).parameters


@lru_cache(maxsize=256)
def _reads(forward: Any, bound: bool) -> tuple[str, ...]:
    parameters = list(inspect.signature(forward).parameters.values())[int(bound) :]
    if parameters and parameters[0].kind is not parameters[0].VAR_POSITIONAL:  # else it is the whole call of a wrapper
        parameters = parameters[1:]
    names = tuple(parameter.name for parameter in parameters if parameter.name in Condition._fields)
    if names:
        return names
    others = [one for one in parameters if one.kind not in (one.KEYWORD_ONLY, one.VAR_KEYWORD)]
    # an option such as `strength=0.5` is no place for a condition
    return EITHER if others and others[0].default in (inspect.Parameter.empty, None) else ()
