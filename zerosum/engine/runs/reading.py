"""What a run folder holds and where: the names of its files, its recipe, and its checkpoints.

Whoever only reads run folders needs nothing else, so nothing here imports torch, which takes seconds and much memory.
"""

import re
from pathlib import Path
from typing import Any

from zerosum.engine.runs.files import check_folder, is_count, is_number, read_json, read_text, sha256
from zerosum.errors import ZerosumError
from zerosum.loading import MOST_RECIPE
from zerosum.plainyaml import read_yaml
from zerosum.progress import note
from zerosum.recipe import Recipe

STATS, SCORES, EVIDENCE, FINDINGS = "stats.jsonl", "scores.jsonl", "evidence.jsonl", "findings.jsonl"
#: beside the checkpoints: which of them had the best score
BEST = "best.json"


def stored_recipe(folder: Path) -> Recipe:
    """The recipe of a run folder; ZerosumError if it is none, or one that leads out of itself (see `check_folder`)."""
    path = folder / "recipe.yaml"
    if not path.is_file():
        raise ZerosumError(f"{folder} is no run folder: it has no recipe.yaml")
    check_folder(folder)
    try:
        text = read_text(path, MOST_RECIPE)
    except OSError as error:
        raise ZerosumError(f"{path}: cannot be read: {error.strerror}") from None
    values = read_yaml(text, where=str(path))
    if not isinstance(values, dict):
        raise ZerosumError(f"{path}: expected 'key: value' lines")
    return Recipe.parse(values, where=str(path))


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoint folders, newest first."""
    found = [path for path in folder.glob("step-*") if re.fullmatch(r"step-\d{6,15}", path.name, re.ASCII)]
    return sorted(found, key=step_of, reverse=True)


def step_of(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def read_best(folder: Path) -> dict[str, Any] | None:
    """The score of the best checkpoint: step, name and value; None where none was scored."""
    try:
        best = read_json(folder / BEST)
    except ZerosumError:
        return None
    if not (is_count(best.get("step")) and is_number(best.get("value")) and isinstance(best.get("name"), str)):
        return None
    return {"step": best["step"], "name": best["name"], "value": float(best["value"])}


def pick(folder: Path, which: str = "last") -> Path:
    """The newest valid checkpoint ("last"), the best by score ("best"), or that of a step; ZerosumError if none is."""
    if which == "last":
        return newest(folder)
    best = read_best(folder)
    if which == "best" and best is None:
        raise ZerosumError(f"{folder} has no best checkpoint: the run was not scored while it trained")
    path = folder / f"step-{best['step'] if which == 'best' and best else which:0>6}"
    if not path.is_dir():
        known = ", ".join(str(step_of(one)) for one in checkpoints(folder))
        raise ZerosumError(
            f"no checkpoint '{which}' in {folder}: choose last, best, or a step: {known or 'there are none'}"
        )
    problem = damage(path)
    if problem is not None:
        raise ZerosumError(f"{path} cannot be used: {problem}")
    return path


def newest(folder: Path) -> Path:
    """The newest checkpoint whose files are all there with the sums of its manifest; says which it passes over."""
    bad: list[str] = []
    for path in checkpoints(folder):
        problem = damage(path)
        if problem is None:
            if bad:
                note(f"{folder}: {'; '.join(bad)}: using {path.name} instead")
            return path
        bad.append(f"{path.name}: {problem}")
    raise ZerosumError(f"no usable checkpoint in {folder}" + (": " + "; ".join(bad) if bad else ""))


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint, or None."""
    try:
        sums = read_json(path / "manifest.json")["sha256"]
        for name in ("generator.safetensors", "state.safetensors", "state.json"):
            if sha256(path / name) != sums[name]:
                return f"{name} is damaged"
    except (ZerosumError, OSError, KeyError, TypeError) as error:
        return str(error)
    return None
