"""Whoever only reads folders does not wait for torch: a fresh process that reads them has never imported it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

#: what takes seconds to import or hundreds of megabytes
HEAVY = ("torch", "numpy", "scipy", "sklearn", "matplotlib", "optuna")


def heavy_after(code: str, *arguments: str) -> list[str]:
    """Which of the heavy packages a new process has imported after this code."""
    told = f"\nimport json, sys\nprint(json.dumps([name for name in {HEAVY} if name in sys.modules]), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code + told, *arguments], capture_output=True, text=True, timeout=100, check=True
    )
    return list(json.loads(done.stderr.splitlines()[-1]))


COMMAND = """
import sys
from zerosum.cli import main
try:
    main()
except SystemExit as end:
    assert end.code == 0, end.code
"""


def test_reading_a_run_folder(finished: Path) -> None:
    code = """
import sys
from pathlib import Path
import zerosum.reporting
from zerosum.engine.runs.files import read_scores, read_ticks
from zerosum.engine.runs.reading import SCORES, STATS, pick, read_best, step_of, stored_recipe
from zerosum.reporting.reading import read_run
folder = Path(sys.argv[1])
assert stored_recipe(folder).name == "tiny"
assert len(read_ticks(folder / STATS)) == 6 and read_scores(folder / SCORES)
assert step_of(pick(folder / "checkpoints")) == 6
assert read_best(folder / "checkpoints")["name"] == "fid50@random"
assert read_run(folder).status == "finished"
"""
    assert heavy_after(code, str(finished)) == []


def test_the_pages_of_a_run_and_of_a_study(finished: Path, study_folder: Path, tmp_path: Path) -> None:
    for folder in (finished, study_folder):
        page = tmp_path / f"{folder.name}.html"
        assert heavy_after(COMMAND, "report", str(folder), "--out", str(page)) == []
        assert "</html>" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("arguments", [["--help"], ["recipes"], ["recipes", "digits"], ["study"]])
def test_commands_that_only_tell(arguments: list[str]) -> None:
    assert heavy_after(COMMAND, *arguments) == []
