"""The examples of docs/parts.md are a contract: each runs as it stands, in a folder of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = (ROOT / "docs" / "parts.md").read_text(encoding="utf-8")

#: heading -> its example
EXAMPLES = dict(re.findall(r"^## ([^\n]+)\n(?:(?!^## ).)*?^```python\n(.*?)^```$", PARTS, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("part", EXAMPLES)
def test_the_example_runs(part: str, tmp_path: Path) -> None:
    assert len(EXAMPLES[part].strip().splitlines()) <= 25
    places = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-c", EXAMPLES[part]],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(places)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("runs/*/summary.json"))


def test_every_part_has_an_example() -> None:
    assert list(EXAMPLES) == re.findall(r"^## (.*)$", PARTS, re.MULTILINE)
    assert len(EXAMPLES) == PARTS.count("```python")


def test_links_of_the_documentation_lead_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
