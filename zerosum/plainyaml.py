"""The YAML of recipes, studies and --set: plain values only, so that reading a stranger's runs nothing."""

import re
from typing import Any

import yaml

from zerosum.errors import SHOWN, ZerosumError, shown


class _Loader(yaml.SafeLoader):
    """Plain values only: 1e-3 is a number, a key stands once, and nothing refers to anything else."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed")
        if getattr(self.peek_event(), "tag", None) is not None:  # type: ignore[no-untyped-call]
            raise yaml.YAMLError("tags are not allowed")
        return super().compose_node(parent, index)

    def construct_yaml_int(self, node: Any) -> int:
        value = int(super().construct_yaml_int(node))
        if abs(value) >= 2**63:
            raise yaml.YAMLError("a whole number is too large")
        return value

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str | int | float] = set()
        for node_of_key, _ in node.value:
            key = self.construct_object(node_of_key, deep=True)
            if not isinstance(key, str | int | float) or key in seen:
                repeated = isinstance(key, str | int | float)
                raise yaml.YAMLError(f"key {shown(key)} stands twice" if repeated else f"{shown(key)} cannot be a key")
            seen.add(key)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes the words that _Loader would read as numbers."""


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
for _each in (_Loader, _Dumper):
    _each.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
    )


def read_yaml(text: str, where: str) -> Any:
    """Plain values from YAML text; ZerosumError beginning with `where` if it is none."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark and "\n" in text else ""
        said = " ".join(str(getattr(error, "problem", None) or error).split())[: 2 * SHOWN]
        raise ZerosumError(f"{where}{line}: not valid YAML: {said}") from None


def write_yaml(values: Any) -> str:
    """YAML text that `read_yaml` reads as the same values."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False)
