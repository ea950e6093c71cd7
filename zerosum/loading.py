"""Plain values into a model: reading the files, changing single keys, and saying in one line what does not fit.

The models are handed over, above all `Recipe`, which imports this page.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, TypeGuard, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from zerosum.errors import SHOWN, ZerosumError, shown, suggest
from zerosum.plainyaml import read_yaml

#: bytes of a recipe beyond which it is not read: a hundred times the longest
MOST_RECIPE = 2**18

Model = TypeVar("Model", bound=BaseModel)


def packaged() -> dict[str, Any]:
    """The recipes that come with zerosum: name -> readable resource."""
    folder = resources.files("zerosum") / "recipes"
    files = sorted((item for item in folder.iterdir() if item.name.endswith(".yaml")), key=lambda item: item.name)
    return {item.name.removesuffix(".yaml"): item for item in files}


def read_named(
    name: str | Path, kind: str, known: Mapping[str, Any], others: Iterable[str] = ()
) -> tuple[dict[str, Any], str]:
    """The values of a recipe or study (kind) of the package or in a YAML file, and what to call it.

    known: name -> readable resource. others: names that a person may have meant. Raises ZerosumError for anything else.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise ZerosumError(f"{kind} file {path} does not exist")
        if path.stat().st_size > MOST_RECIPE:
            raise ZerosumError(f"{kind} file {path} is larger than {MOST_RECIPE >> 10} KiB: no {kind} is")
        text = path.read_text(encoding="utf-8", errors="replace")
        label = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("._-") or ("custom" if kind == "recipe" else kind)
    else:
        if str(name) not in known:
            raise ZerosumError(f"unknown {kind} '{name}': {suggest(str(name), [*known, *others])}")
        text, label = known[str(name)].read_text(encoding="utf-8"), str(name)
    values = read_yaml(text, where=f"{kind} {name}")
    if not isinstance(values, dict):
        raise ZerosumError(f"{kind} {name}: expected 'key: value' lines")
    return values, label


def flat(
    values: Mapping[str, Any], prefix: str = "", whole: Callable[[str, Mapping[str, Any]], bool] = lambda *_: False
) -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}; whole: whether the mapping under a dotted key is one value."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value and not whole(f"{prefix}{key}", value):
            result |= flat(value, f"{prefix}{key}.", whole)
        else:
            result[f"{prefix}{key}"] = value
    return result


def dotted(model: type[BaseModel], *overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides, the later on top of the earlier, with sections of the model written as dotted keys.

    A mapping that is no section, such as data.attributes, is a value like others.

    >>> from zerosum.recipe import Recipe
    >>> dotted(Recipe, {"optimizer": {"lr": 0.1, "name": "sgd"}, "steps": 5}, {"optimizer.lr": 0.2})
    {'optimizer.name': 'sgd', 'steps': 5, 'optimizer.lr': 0.2}
    """
    result: dict[str, Any] = {}
    for key, value in (pair for one in overrides for pair in one.items()):
        whole = not (isinstance(value, Mapping) and value and _is_section(model, str(key)))
        changes = {str(key): value} if whole else dotted(model, {f"{key}.{inner}": new for inner, new in value.items()})
        for name, new in changes.items():
            result.pop(name, None)  # the order is that in which they are made
            result[name] = new
    return result


def parse_overrides(model: type[BaseModel], pairs: list[str]) -> dict[str, Any]:
    """["a.b=1e-3"] -> {"a.b": 0.001}; values are YAML, and mappings of sections are merged."""
    read = []
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            raise ZerosumError(f"--set {pair}: write key=value, for example --set generator.lr=0.001")
        read.append({key.strip(): read_yaml(text, where=f"--set {key}")})
    return dotted(model, *read)


def put(
    model: type[BaseModel], values: dict[str, Any], changes: Mapping[str, Any], where: str, known: Sequence[str] = ()
) -> None:
    """Writes dotted changes into the nested plain values of a model, each on top of those before it.

    Raises ZerosumError, beginning with `where`, for a key that leads through what is no section; `known` as in
    `suggest_key`.
    """
    for key, value in changes.items():
        *parents, last = key.split(".")
        inner: Any = values
        for depth, parent in enumerate(parents, 1):
            types = _types_of(model, parents[:depth])
            if inner.get(parent) is None and type(None) in types and any(map(_is_mapping, types)):
                inner[parent] = {}  # an optional section, or a mapping that may be left out
            inner = inner[parent] if isinstance(inner.get(parent), dict) else None
            if inner is None:
                break
        if inner is not None and not (_is_section(model, key) and value == {} and isinstance(inner.get(last), dict)):
            # a later key may reach into it
            inner[last] = value.model_dump(mode="json") if isinstance(value, BaseModel) else deepcopy(value)
        elif inner is None and not _is_section(model, ".".join(parents[:depth])):  # else the section itself is refused
            raise ZerosumError(f"{where}: unknown key '{key[:SHOWN]}': {suggest_key(key, model, known)}")


def validated(model: type[Model], values: Mapping[str, Any], where: str, known: Sequence[str] = ()) -> Model:
    """The model built from plain values, or one line that names the key and what it should be.

    where: begins the line. known: as in `suggest_key`.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        problem = error.errors()[0]
    # among the parts of a union it says which one was tried, <so>
    path = [part for part in map(str, problem["loc"]) if part != "[key]" and not re.fullmatch("<.*>", part)]
    if path[:2] == ["data", "attributes"] and len(path) > 3:  # then come the types that it might have had
        raise ZerosumError(
            f"{where}: {'.'.join(path[:3])}: should be a list of values as text, ['3', '8'], or bins {{low: [0, 30]}}"
        )
    key = ".".join(path)[:SHOWN]
    if problem["type"] == "extra_forbidden":
        raise ZerosumError(f"{where}: unknown key '{key}': {suggest_key(key, model, known)}")
    if problem["type"] == "value_error":
        raise ZerosumError(f"{where}: {problem['ctx']['error']}")
    if problem["type"] == "missing":
        raise ZerosumError(f"{where}: key '{key}' is missing")
    said = re.sub(r"^\w+ should ", "", problem["msg"])
    if problem["type"] in ("model_type", "dict_type"):
        said = "be a dictionary: keys with their values"
    raise ZerosumError(f"{where}: {key} = {shown(problem['input'])}: should {said[:SHOWN]}")


def suggest_key(key: str, model: type[BaseModel], known: Sequence[str] = ()) -> str:
    """The nearest right dotted key; a key without dots may also stand for the last part of one.

    known: the keys to choose from, where they are not simply all that the model may have.
    """
    leaves = list(known) or _keys(model)
    tops = list(dict.fromkeys(leaf.partition(".")[0] for leaf in leaves))

    def likeness(name: str) -> tuple[float, int, int]:
        words = [name] if "." in key else [name, name.rpartition(".")[2]]
        best = max(difflib.SequenceMatcher(None, key, word).ratio() for word in words)
        return round(best, 2), -name.count("."), leaves.index(name) if name in leaves else 0

    nearest = max({*tops, *leaves}, key=likeness)
    return f"did you mean '{nearest}'?" if likeness(nearest)[0] >= 0.6 else suggest(key, tops)


def _keys(model: type[BaseModel]) -> list[str]:
    """The keys of a model and, after a dot, those of the models that are among the types of its fields."""
    result = []
    for name, field in model.model_fields.items():
        types = [
            kind for one in (get_args(field.annotation) or [field.annotation]) for kind in (get_args(one) or [one])
        ]
        inner = [kind for kind in types if _is_part(kind)]
        result += [name, *(f"{name}.{key}" for kind in inner for key in _keys(kind))]
    return result


def _is_section(model: type[BaseModel], key: str) -> bool:
    return any(map(_is_part, _types_of(model, key.split("."))))


def _is_part(kind: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _is_mapping(kind: Any) -> bool:
    return _is_part(kind) or get_origin(kind) is dict


def _types_of(model: type[BaseModel], path: Sequence[str]) -> list[Any]:
    """The types that a key of a model may have; none for a key that is unknown or an option of a network."""
    types: list[Any] = [model]
    for name in path:
        # of several parts, the first that has such a key
        inner = [part.model_fields[name].annotation for part in filter(_is_part, types) if name in part.model_fields]
        inner += [more for part in filter(_is_part, types) if (more := _more_of(part)) is not None]
        if not inner:
            return []
        # of a union its members; a mapping's arguments are no types of the key
        members = [inner[0]] if get_origin(inner[0]) is dict else [*(get_args(inner[0]) or [inner[0]])]
        types = [get_args(one)[0] if get_origin(one) is Annotated else one for one in members]
    return types


def _more_of(model: type[BaseModel]) -> Any:
    """The type, or None, of keys beyond the fields of a model, where it says of which type they are."""
    extra = model.__annotations__.get("__pydantic_extra__")
    return None if extra is None else get_args(extra)[1] | None
