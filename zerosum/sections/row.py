"""The data section of recipes for rows of tables."""

from typing import Annotated, Literal

from pydantic import Field

from zerosum.sections.data import Data


class RowData(Data):
    """Rows of a table. What its columns are comes from the data itself."""

    modality: Literal["row"] = "row"
    hold_out: Annotated[float, Field(ge=0, lt=1)] = 0.2
    #: the columns that are learnt; None: all
    columns: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] | None = None

    @property
    def shown(self) -> str:
        return (
            "How the values of each column are distributed: of rows from the same latents every time, drawn by the "
            "averaged generator, and of real ones."
        )

    def problem(self, method: str, cycle: bool) -> str | None:
        if self.attributes is not None:
            return "data.attributes: rows have no labels; data.columns says which columns are learnt"
        return super().problem(method, cycle)
