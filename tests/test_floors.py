"""Imports between the package's modules go downwards only, and never in a circle."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import zerosum

ROOT = Path(zerosum.__file__).parent

#: a module, or a package with all that is below it -> its floor
FLOORS = {
    "zerosum.errors": 0,
    "zerosum.whole": 0,
    "zerosum.plainyaml": 0,
    "zerosum.loading": 0,
    "zerosum.recipe": 0,
    "zerosum.schema": 0,
    "zerosum.sections": 0,
    "zerosum.schedule": 0,
    "zerosum.choice": 0,
    "zerosum.outside": 0,
    "zerosum.progress": 0,
    "zerosum.streams": 0,
    "zerosum.plots": 0,
    "zerosum.charts": 0,
    "zerosum.fonts": 0,
    "zerosum.networks": 1,
    "zerosum.data": 1,
    "zerosum.metrics": 1,
    "zerosum.modalities": 1,
    "zerosum.engine": 2,
    "zerosum.games": 2,
    "zerosum.tasks": 2,
    "zerosum.api": 3,
    "zerosum.scoring": 3,
    "zerosum.testing": 3,
    "zerosum.studying": 3,
    "zerosum.reporting": 3,
    "zerosum.cli": 4,
    "zerosum.__main__": 4,
    "zerosum": 4,
}

Sources = dict[str, str]


def read_package() -> Sources:
    """Module name -> source text."""
    result = {}
    for path in ROOT.rglob("*.py"):
        parts = ["zerosum", *path.relative_to(ROOT).with_suffix("").parts]
        result[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text(encoding="utf-8")
    return result


def floor(module: str) -> int:
    """KeyError for a module that stands on no floor."""
    return FLOORS[module if module == "zerosum" else ".".join(module.split(".")[:2])]


def imports(sources: Sources, module: str) -> set[str]:
    """The modules of the package that a module imports anywhere in its text."""
    found = set()
    for node in ast.walk(ast.parse(sources[module])):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: write absolute imports"
            base = node.module or ""
            found |= {name if (name := f"{base}.{alias.name}") in sources else base for alias in node.names}
    return {name for name in found if name.split(".")[0] == "zerosum"}


def check(sources: Sources) -> list[str]:
    """What is wrong, one line each."""
    problems, graph = [], {}
    for module in sources:
        targets = imports(sources, module)
        graph[module] = targets - {module}
        for target in sorted(targets):
            if target not in sources:
                problems.append(f"{module} imports {target}, which does not exist")
            elif floor(target) > floor(module):
                problems.append(f"{module} imports {target} from a floor above")
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        problems.append("a circle: " + " -> ".join(error.args[1]))
    return problems


def test_the_package_imports_downwards() -> None:
    sources = read_package()
    assert {"zerosum", "zerosum.cli", "zerosum.games.step", "zerosum.networks", "zerosum.data.source"} <= set(sources)
    assert check(sources) == []


def test_imports_are_found() -> None:
    sources = read_package()
    assert {"zerosum.games.penalties", "zerosum.data.source", "zerosum.recipe"} <= imports(
        sources, "zerosum.games.step"
    )
    assert {"zerosum.networks.dcgan", "zerosum.networks.mlp"} <= imports(sources, "zerosum.networks")
    assert {"zerosum.api", "zerosum.engine.runs.folder"} <= imports(sources, "zerosum.cli.train")  # in functions


@pytest.mark.parametrize(
    ("module", "line", "problem"),
    [
        ("zerosum.games.penalties", "from zerosum import api", "zerosum.api from a floor above"),
        ("zerosum.errors", "import zerosum.recipe as r", "a circle"),
        ("zerosum.recipe", "import zerosum.games.objectives", "zerosum.games.objectives from a floor above"),
        ("zerosum.games.step", "def f():\n    from zerosum import api", "zerosum.api from a floor above"),
        ("zerosum.games.step", "if TYPE_CHECKING:\n    from zerosum.cli import app", "zerosum.cli from a floor above"),
        ("zerosum.engine.trained.gan", "from zerosum import train", "zerosum from a floor above"),
        ("zerosum.data.source", "from zerosum.data.pictures import open", "a circle"),
        ("zerosum.games.step", "from zerosum.engine.training.loop import train", "a circle"),
        ("zerosum.api", "from zerosum import cli", "a circle"),
        ("zerosum.games.step", "import zerosum.nowhere", "zerosum.nowhere, which does not exist"),
    ],
)
def test_a_wrong_import_would_be_found(module: str, line: str, problem: str) -> None:
    sources = read_package()
    sources[module] += f"\n{line}\n"
    assert any(problem in found for found in check(sources))
    assert all(module in found for found in check(sources))


def test_a_new_module_needs_a_floor() -> None:
    with pytest.raises(KeyError, match=r"zerosum\.utils"):
        check(read_package() | {"zerosum.utils": "import zerosum.errors"})
