"""Networks are passed the parts of the condition that they name."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zerosum.data.source import Condition
from zerosum.networks.calling import call, reads

LABELS, GIVEN = torch.ones(2, 1, dtype=torch.int64), torch.zeros(2, 3)
X = torch.full((2, 4), 7.0)


class Labelled(nn.Module):
    def forward(self, z: Tensor, labels: Tensor | None = None) -> Any:
        return z, labels


class Given(nn.Module):
    def forward(self, z: Tensor, given: Tensor) -> Any:
        return z, given


class Both(nn.Module):
    def forward(self, x: Tensor, *, given: Tensor | None = None, labels: Tensor | None = None) -> Any:
        return x, labels, given


class Neither(nn.Module):
    def forward(self, z: Tensor) -> Any:
        return (z,)


class Options(nn.Module):
    def forward(self, z: Tensor, strength: float = 0.5) -> Any:
        return z, strength


class Required(nn.Module):
    def forward(self, z: Tensor, y: Tensor | None) -> Any:
        return z, y


class Optional(nn.Module):
    def forward(self, z: Tensor, c: Tensor | None = None) -> Any:
        return z, c


class Wrapper(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.inner(*args, **kwargs)


@pytest.mark.parametrize(
    ("network", "condition", "answer"),
    [
        (Labelled(), Condition(LABELS), (X, LABELS)),
        (Labelled(), Condition(), (X, None)),
        (Given(), Condition(None, GIVEN), (X, GIVEN)),
        (Both(), Condition(LABELS, GIVEN), (X, LABELS, GIVEN)),
        (Neither(), Condition(LABELS, GIVEN), (X,)),
        (Required(), Condition(LABELS), (X, LABELS)),
        (Required(), Condition(None, GIVEN), (X, GIVEN)),
        (Required(), Condition(LABELS, GIVEN), (X, GIVEN)),
        (Required(), Condition(), (X, None)),
        (Optional(), Condition(LABELS), (X, LABELS)),
        (Options(), Condition(LABELS), (X, 0.5)),
        (Wrapper(Labelled()), Condition(LABELS), (X, LABELS)),
        (Wrapper(Given()), Condition(None, GIVEN), (X, GIVEN)),
    ],
)
def test_a_network_is_passed_what_it_names(network: nn.Module, condition: Condition, answer: tuple[Any, ...]) -> None:
    assert all(one is other for one, other in zip(call(network, X, condition), answer, strict=True))


def test_a_sequence_of_layers_is_a_network() -> None:
    assert reads(nn.Sequential(nn.Linear(4, 4))) == ()
    assert call(nn.Sequential(nn.Identity()), X, Condition(LABELS)) is X


def test_conditions_change_part_by_part() -> None:
    doubled = Condition(LABELS).map(lambda part: torch.cat([part, part]))
    assert doubled.given is None
    assert doubled.labels is not None
    assert doubled.labels.shape == (4, 1)
    assert Condition(LABELS, GIVEN).shapes() == "labels (2, 1), given (2, 3)"
    assert Condition().shapes() == "no condition"
