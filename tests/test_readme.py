"""The README is a contract: its Python example runs as it stands, and its commands are those that CI and make run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from zerosum.loading import flat, packaged

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_the_example_runs_and_learns(tmp_path: Path) -> None:
    (code,) = blocks("python")
    assert len(code.strip().splitlines()) <= 32
    # the data is one picture, a white lower triangle: a trained generator draws it, an untrained one draws grey noise
    check = """
assert images.shape == (64, 1, 8, 8) and str(images.dtype) == "torch.float32"
inside = images[:, 0][:, np.tri(8, dtype=bool)].mean()
outside = images[:, 0][:, ~np.tri(8, dtype=bool)].mean()
assert inside > 0.5 and outside < -0.5, (inside, outside)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code + check], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "00000-triangles" / "losses.png").is_file()


def test_the_first_two_blocks_are_what_make_and_ci_run() -> None:
    train, test = (block.strip() for block in blocks("sh"))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("$(PYTHON)", "python3")
    assert train.endswith("zerosum train") and test.endswith("pytest")
    assert f"\t{train}\n" in makefile and f"\t{test}\n" in makefile
    shown = subprocess.run(
        ["bash", "-c", "sed -n 's/^block=//p' .ci/run"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    extracted = subprocess.run(
        ["bash", "-c", f'block={shown.stdout.strip()}; echo "$block"'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert extracted.stdout.strip() == test


def test_every_recipe_is_in_the_table() -> None:
    table = README[README.index("## Recipes") : README.index("## Data")]
    assert [name for name in packaged() if f"`{name}`" not in table] == []


@pytest.mark.parametrize("key", sorted(set(re.findall(r"--set '?([a-z_0-9.]+)=", README))))
def test_every_override_names_a_key(key: str) -> None:
    from zerosum.recipe import Recipe

    plain = Recipe().plain()
    assert key in plain or key in flat(plain)  # a section, or a key


def test_pictures_are_there() -> None:
    shown = re.findall(r"!\[[^]]*\]\(([^)]+)\)", README)
    assert len(shown) >= 2
    assert all((ROOT / path).stat().st_size > 1000 for path in shown)
    assert os.path.commonpath([*shown]) == "docs"


def test_the_gallery_shows_every_recipe_and_its_pictures_are_there() -> None:
    gallery = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    assert [name for name in packaged() if f"`{name}`" not in gallery] == []
    shown = re.findall(r"!\[[^]]*\]\(([^)]+)\)", gallery)
    assert len(shown) >= 10
    assert all((ROOT / "docs" / path).stat().st_size > 1000 for path in shown)
