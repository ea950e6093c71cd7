"""What the runs of a study say together: results.json and its table, from the run folders alone."""

import io
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from rich.console import Console
from rich.table import Table

from zerosum.engine.runs.files import read_json, read_lines, write_json
from zerosum.engine.runs.reading import EVIDENCE, SCORES, STATS
from zerosum.errors import at_door
from zerosum.errors import setting as how_to_set
from zerosum.metrics.evaluate import differences
from zerosum.metrics.vocabulary import MEANING, kind_of, shortfall
from zerosum.scoring import shown
from zerosum.studying.claims import UNDECIDED, Judgement, calls, judge, parse
from zerosum.studying.plan import Plan, Setting

RESULTS = "results.json"
#: how a run of a study can end; anything else can still go on
ENDED = ("finished", "time limit", "stopped", "diverged", "pruned")
#: the scores of the table on the screen, where they are known
SHOWN = ("fid", "accuracy", "precision", "recall", "diversity", "class_diversity", "sharpness")


@dataclass(frozen=True)
class Done:
    """The folder of one run, as far as it is."""

    setting: str
    seed: int
    folder: Path | None

    @cached_property
    def summary(self) -> dict[str, Any]:
        path = None if self.folder is None else self.folder / "summary.json"
        return read_json(path) if path is not None and path.is_file() else {}

    @cached_property
    def status(self) -> str:
        """waiting, running (or broken off), or how it ended."""
        if self.folder is None:
            return "waiting"
        said = str(self.summary.get("status"))
        # the scores at the end come after the training; the kernel distance is only among them
        whole = said in ("diverged", "pruned") or any(kind_of(line["name"]) == "kid" for line in self.end_scores)
        return said if said in ENDED and whole else "running"

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @cached_property
    def _lines(self) -> dict[str, list[dict[str, Any]]]:
        files = (STATS, SCORES, EVIDENCE)
        return {name: read_lines(self.folder / name) if self.folder is not None else [] for name in files}

    @cached_property
    def steps(self) -> int:
        return int(self._lines[STATS][-1]["step"]) if self._lines[STATS] else 0

    @cached_property
    def end_scores(self) -> list[dict[str, Any]]:
        """Lines of scores.jsonl of the last step, the latest of each name; none of a run that diverged."""
        if self.summary.get("status") == "diverged":
            return []
        last = {line["name"]: line for line in self._lines[SCORES] if line["step"] == self.steps}
        return [line for line in last.values() if line["value"] is not None]

    def score(self, kind: str, step: int | None, at: float) -> float:
        if step is None and at == 1:
            lines = self.end_scores
        else:
            lines = [line for line in self._lines[SCORES] if line["value"] is not None]
        found = {line["step"]: float(line["value"]) for line in lines if kind_of(line["name"]) == kind}
        if step is not None:
            return found.get(step, math.nan)
        return found[min(found, key=lambda scored: abs(scored - at * self.steps))] if found else math.nan

    def total(self, name: str) -> float:
        if name == "diverged":
            return float(self.status == "diverged") if self.ended else math.nan
        found = self.summary.get(name)
        return math.nan if found is None else float(found)

    def curve(self, columns: Sequence[str], start: float, stop: float, in_steps: bool) -> list[tuple[float, ...]]:
        file = STATS if "/" in columns[0] else EVIDENCE
        unit = 1 if in_steps else self.steps
        rows = [line for line in self._lines[file] if start * unit < line["step"] <= stop * unit]
        known = [line for line in rows if all(isinstance(line.get(column), int | float) for column in columns)]
        return [tuple(float(line[column]) for column in columns) for line in known]


def find_run(folder: Path, name: str) -> Path | None:
    """The run folder NNNNN-name of a study."""
    numbered = re.compile(rf"\d{{5,}}-{re.escape(name)}")
    return next((path for path in sorted((folder / "runs").glob(f"*-{name}")) if numbered.fullmatch(path.name)), None)


def run_name(setting: str, seed: int) -> str:
    return f"{setting}-seed{seed}"


def gather(folder: Path, plan: Plan) -> list[Done]:
    """Every run of the plan."""
    return [Done(one.name, seed, find_run(folder, run_name(one.name, seed))) for one, seed in plan.runs()]


def results_of(folder: Path, plan: Plan) -> dict[str, Any]:
    """results.json, as it would be now."""
    runs = gather(folder, plan)
    lines = []
    for run in runs:
        scores = {line["name"]: line["value"] for line in run.end_scores} if run.ended else {}
        place = None if run.folder is None else run.folder.relative_to(folder).as_posix()
        seconds = run.summary.get("seconds")
        lines.append(
            {"setting": run.setting, "seed": run.seed, "folder": place, "status": run.status}
            | {"steps": run.steps, "seconds": seconds, "scores": scores}
        )
    return {
        "runs": lines,
        "settings": {one.name: _spread(one, lines) for one in plan.settings},
        "claims": [
            {"say": claim.say, "expect": claim.expect} | _judged(claim.expect, runs, plan).plain()
            for claim in plan.claims
        ],
        "search": _search(plan, lines),
        "stamp": next((line["stamp"] for run in runs for line in run.end_scores), None),
    }


def _spread(setting: Setting, lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Score -> mean, standard deviation between seeds, and how many."""
    mine = [line["scores"] for line in lines if line["setting"] == setting.name]
    result = {}
    for name in dict.fromkeys(name for scores in mine for name in scores):
        values = [scores[name] for scores in mine if name in scores]
        spread = stdev(values) if len(values) > 1 else None
        result[name] = {"mean": fmean(values), "std": spread, "n": len(values)}
    return result


def _judged(expect: str, runs: Sequence[Done], plan: Plan) -> Judgement:
    """A claim over the runs that have ended; scores that were made in different ways are not compared."""
    asked = list(calls(parse(expect)))
    used = [run for run in runs if run.ended and run.setting in {call.setting for call in asked}]
    if any(call.function in MEANING for call in asked):
        stamps = [line["stamp"] for run in used for line in run.end_scores]
        for stamp in stamps[1:]:
            if why := differences(stamps[0], stamp):
                return Judgement(UNDECIDED, None, why=f"the scores cannot be compared: {'; '.join(why)}")
    by_seed = {seed: {run.setting: run for run in used if run.seed == seed} for seed in plan.seeds}
    return judge(expect, by_seed)


def _search(plan: Plan, lines: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    if plan.search is None:
        return None
    by = plan.search.by
    trials = []
    for setting, line in zip(plan.settings, lines, strict=True):
        own = {key: setting.set[key] for key in plan.search.vary}
        value = next((v for name, v in line["scores"].items() if kind_of(name) == by), None)
        trials.append({"setting": setting.name, "set": own, "value": value, "status": line["status"]})
    whole = [trial for trial in trials if trial["value"] is not None and trial["status"] not in ("pruned", "diverged")]
    best = min(whole, key=lambda trial: shortfall(by, trial["value"]), default=None)
    drawn = {"by": by, "planned": plan.search.trials, "better": MEANING[by][0]}
    named = {"best": best and best["setting"], "value": best and best["value"], "set": best and best["set"]}
    return drawn | named | {"trials": trials}


def write_results(folder: Path, plan: Plan) -> dict[str, Any]:
    results = results_of(folder, plan)
    write_json(folder / RESULTS, results)
    return results


def as_table(plan: Plan, results: Mapping[str, Any]) -> str:
    """Settings against scores, then the claims with their verdicts, for a terminal."""
    names = list(dict.fromkeys(name for scores in results["settings"].values() for name in scores))
    names = [name for kind in SHOWN for name in names if kind_of(name) == kind]
    table = Table("setting", box=None, header_style="bold")
    for head in ("runs", *map(kind_of, names)):
        table.add_column(head, justify="right", no_wrap=True)
    for name, scores in results["settings"].items():
        ended = sum(line["status"] in ENDED for line in results["runs"] if line["setting"] == name)
        cells = [shown(scores[one]["mean"], scores[one]["std"]) if one in scores else "-" for one in names]
        table.add_row(name, f"{ended}/{len(plan.seeds)}", *cells)
    text = _text(table) + (
        f"scores of {names[0].removeprefix(kind_of(names[0]))}, \u00b1 between seeds\n" if names else ""
    )
    for claim in results["claims"]:
        pointing = f" (points {claim['direction']})" if claim["verdict"] == UNDECIDED and claim["direction"] else ""
        text += f"\n{claim['verdict']}{pointing}: {claim['say']}\n    {claim['expect']}\n    {claim['why']}\n"
    search = results["search"]
    if search and search["best"]:
        values = at_door(" ", ", ").join(how_to_set(key, value) for key, value in search["set"].items())
        text += f"\nbest {search['by']} {shown(search['value'])}: {values}\n"
        text += "The best of many is partly luck: train it again with other seeds before you believe it.\n"
    return text


def _text(table: Table) -> str:
    console = Console(width=140, file=io.StringIO())
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def progress(folder: Path, plan: Plan, lengths: Mapping[str, int], workers: int) -> tuple[float, float]:
    """The share of all training that is done, and the seconds that the rest takes, from the pace so far (NaN at first).

    lengths: steps of a run of each setting.
    """
    paces: dict[str, list[float]] = {}
    done: list[tuple[str, float]] = []
    for setting, seed in plan.runs():
        place = find_run(folder, run_name(setting.name, seed))
        tick = last_line(place / STATS) if place is not None else None
        if tick is None:
            done.append((setting.name, 0.0))
            continue
        share = tick["step"] / lengths[setting.name]
        if plan.minutes is not None:
            share = max(share, tick["seconds"] / (60 * plan.minutes))
        paces.setdefault(setting.name, []).append(tick["seconds"] / max(share, 1e-9))
        done.append((setting.name, min(share, 1.0)))
    missing = plan.search.trials - len(plan.settings) if plan.search is not None else 0
    done += [("", 0.0)] * missing
    known = [fmean(found) for found in paces.values()]
    usual = fmean(known) if known else math.nan
    whole = [fmean(paces[name]) if name in paces else usual for name, _ in done]
    left = sum((1 - share) * length for (_, share), length in zip(done, whole, strict=True))
    return fmean(share for _, share in done) if done else 0.0, left / max(workers, 1)


def last_line(path: Path) -> dict[str, Any] | None:
    """The last whole line of a .jsonl file, without reading the rest."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
        lines = file.read().decode("utf-8", "replace").splitlines(keepends=True)
    return next(_whole(lines), None)


def _whole(lines: Sequence[str]) -> Iterator[dict[str, Any]]:
    for line in reversed(lines):
        if line.endswith("\n") and line.startswith("{"):
            yield json.loads(line)
