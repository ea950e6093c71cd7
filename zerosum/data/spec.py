"""What a set of data is, in plain values: `Spec`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from zerosum.data.shape import Shape

#: a number of samples beyond which no set is
MOST_COUNT = 2**53


@dataclass(frozen=True)
class Spec:
    """What the data is, in plain values, which data.json stores; networks, and what is made of samples, follow it."""

    #: a name in zerosum.modalities
    modality: str
    #: what a generator makes and a critic looks at
    sample: Shape
    #: attribute -> its values, in the order of the integers that stand for them
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    #: the combinations of values that occur, each with its number of samples
    combinations: tuple[tuple[int, ...], ...] = ()
    counts: tuple[int, ...] = ()
    #: what is given to the generator beside z, where something is
    given: Shape | None = None
    #: names of what is done, where somebody acts
    actions: tuple[str, ...] = ()
    #: what the modality alone reads, as JSON has it
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many values each attribute has."""
        return tuple(len(values) for values in self.labels.values())

    def describe(self, combination: tuple[int, ...]) -> str:
        """The words for one combination: "female old"."""
        return " ".join(values[index] for values, index in zip(self.labels.values(), combination, strict=True))

    @property
    def size(self) -> str:
        """Of one sample as it comes out, in words: "3x64x64"."""
        return str(self.facts.get("size", self.sample))

    def summary(self) -> str:
        """In a few words: "3x64x64, gender: female, male"."""
        labels = "".join(
            f", {name}: {', '.join(values[:10])}{' ...' * (len(values) > 10)}" for name, values in self.labels.items()
        )
        return f"{self.size}{labels[:200]}"

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "modality": self.modality,
            "sample": self.sample.plain(),
            "labels": {name: list(values) for name, values in self.labels.items()},
            "combinations": [list(row) for row in self.combinations],
            "counts": list(self.counts),
            "given": None if self.given is None else self.given.plain(),
            "actions": list(self.actions),
            "facts": dict(self.facts),
        }

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Self:
        """From JSON; KeyError, TypeError, ValueError, AttributeError or OverflowError for what describes no data.

        The facts are the modality's to check.
        """
        given, facts = values.get("given"), values.get("facts", {})
        if not isinstance(facts, dict):
            raise TypeError(f"facts {facts!r}")
        return cls(
            str(values["modality"]),
            Shape.parse(values["sample"]),
            *parse_labels(values),
            None if given is None else Shape.parse(given),
            tuple(map(str, values.get("actions", ()))),
            facts,
        )


def parse_labels(
    values: dict[str, Any],
) -> tuple[dict[str, tuple[str, ...]], tuple[tuple[int, ...], ...], tuple[int, ...]]:
    """`labels`, `combinations` and `counts` of a spec from JSON. Raises as `Spec.parse`."""
    labels = {str(name): tuple(map(str, known)) for name, known in values.get("labels", {}).items()}
    combinations = tuple(tuple(map(int, row)) for row in values.get("combinations", ()))
    counts = tuple(map(int, values.get("counts", ())))
    sizes = [len(known) for known in labels.values()]
    fitting = all(
        len(row) == len(sizes) and all(0 <= value < size for value, size in zip(row, sizes, strict=True))
        for row in combinations
    )
    if not fitting or len(counts) != len(combinations) or not all(0 < count < MOST_COUNT for count in counts):
        raise ValueError("combinations of labels that do not fit")
    if bool(labels) != bool(combinations):
        raise ValueError("labels without combinations, or combinations without labels")
    return labels, combinations, counts
