"""The data section of recipes for arrays of any shape, which are handed over from Python."""

from typing import Literal

from zerosum.sections.data import Data


class ArrayData(Data):
    """Arrays, which have no keys of their own."""

    modality: Literal["array"] = "array"
