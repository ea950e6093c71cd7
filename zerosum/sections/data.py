"""What every kind of data has in a recipe: `Data`."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from zerosum.schema import Bins, Name, Part, Share


class Data(Part):
    """What to learn from: the keys that every modality has. What samples are like comes from the data itself."""

    #: what one sample is, a name in zerosum.modalities: picture, row, or array for values of any other shape
    modality: Name = "picture"
    uri: str | None = None
    #: share kept away from training, for scores, where the data has no test split of its own
    hold_out: Annotated[float, Field(ge=0, lt=1)] = 0.0
    #: which columns of labels make the condition, each with its values or its bins of a number, [low, high); None: all
    attributes: dict[str, list[str] | Bins | None] | None = None
    #: refuse a source with a larger share of lost or unreadable samples; below it they are skipped and named
    bad_share: Share = 0.05
    #: GiB of decoded samples kept in memory; a larger set is read through a memory map
    memory: Annotated[float, Field(gt=0, le=2**30)] = 4.0

    @property
    def task(self) -> str:
        """A name in zerosum.tasks: what is given to the generator, and who plays."""
        return "generation"

    @property
    def what_is_given(self) -> str:
        """In a word, where something is."""
        return ""

    @property
    def has_truth(self) -> bool:
        """Whether a generated sample has a true one to be compared with."""
        return False

    @property
    def shown(self) -> str:
        """What a picture of samples shows, where that is not simply one sample beside the other; else nothing."""
        return ""

    def problem(self, method: str, cycle: bool) -> str | None:
        """What does not fit in the rest of a recipe: its condition.method, and whether it has a part cycle."""
        if method == "given":
            return "condition.method = given: nothing is given in this data; choose none, join, embed or auxiliary"
        if cycle:
            return "a part cycle is for two domains of pictures, data.input = domains"
        return None

    def problem_of_bins(self) -> str | None:
        for name, values in (self.attributes or {}).items():
            if isinstance(values, Mapping) and any(not low < high for low, high in values.values()):
                return f"data.attributes.{name}: each bin is [low, high) with low < high"
        return None


def modality_of(values: Any) -> str:
    """Of a section as plain values or as a model."""
    said = values.get("modality", "picture") if isinstance(values, Mapping) else getattr(values, "modality", "picture")
    return str(said)
