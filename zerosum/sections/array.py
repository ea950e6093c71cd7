"""The data section of recipes for arrays of any shape, which are handed over from Python."""

from typing import Literal

from zerosum.sections.data import Data


class ArrayData(Data):
    """Arrays, which have no keys of their own."""

    modality: Literal["array"] = "array"

    @property
    def shown(self) -> str:
        return (
            "The same latents every time, drawn by the averaged generator: samples of one axis, or with few rows, as "
            "curves, others as shades of their middle slice."
        )
