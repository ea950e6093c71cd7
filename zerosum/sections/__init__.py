"""The data section of recipes, one file for each modality. Nothing here needs torch or NumPy."""

from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import BeforeValidator, Discriminator, Tag

from zerosum.errors import shown, suggest
from zerosum.sections.array import ArrayData
from zerosum.sections.data import Data, modality_of
from zerosum.sections.picture import PictureData
from zerosum.sections.row import RowData

#: modality -> its section; a new modality is one more entry
SECTIONS: dict[str, type[Data]] = {"picture": PictureData, "row": RowData, "array": ArrayData}


def _known(values: Any) -> Any:
    modality = modality_of(values)
    if modality not in SECTIONS:
        raise ValueError(f"data.modality = {shown(modality)}: {suggest(modality, SECTIONS)}")
    return values


if TYPE_CHECKING:
    Section = Data
else:
    #: the section of any modality, told by its key `modality`
    Section = Annotated[
        Union[tuple(Annotated[section, Tag(f"<{name}>")] for name, section in SECTIONS.items())],  # noqa: UP007
        Discriminator(lambda values: f"<{modality_of(values)}>"),
        BeforeValidator(_known),
    ]
