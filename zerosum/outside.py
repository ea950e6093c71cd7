"""Classes from outside of the package, named by a dotted path `package.module:Class`."""

import importlib.util
from pathlib import Path
from typing import TypeVar

from zerosum.errors import ZerosumError

Kind = TypeVar("Kind")


def import_class(path: str, where: str, kind: type[Kind], words: str) -> type[Kind]:
    """The class at a dotted path; where: begins error messages, words: say what class it should be.

    Raises ZerosumError for what cannot be imported, is of another kind, or lies in a run folder.
    """
    module, _, name = path.partition(":")
    try:
        _check_place(module.partition(".")[0], f"{where} '{path}'")
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ZerosumError(f"{where} '{path}' cannot be imported: {error}") from None
    if not (isinstance(found, type) and issubclass(found, kind)):
        raise ZerosumError(f"{where} '{path}' is no {words} class")
    return found


def _check_place(package: str, where: str) -> None:
    """ZerosumError for a package that lies in a run folder: a stranger's run must not bring code along."""
    found = importlib.util.find_spec(package)
    places = [] if found is None else [found.origin, *(found.submodule_search_locations or ())]
    for place in places:
        if place and any((folder / "recipe.yaml").is_file() for folder in Path(place).resolve().parents):
            raise ZerosumError(f"{where} lies in a run folder, {place}, from which no code is run: move it elsewhere")
