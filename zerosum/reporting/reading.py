"""Run folders and study folders as they are found: whole, unfinished, damaged, or a stranger's.

Nothing here raises for what is missing or broken: it is left out, and said in the notes.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zerosum.charts import Point, finite
from zerosum.engine.runs.files import read_lines
from zerosum.engine.runs.reading import FINDINGS, SCORES, STATS, stored_recipe
from zerosum.errors import ZerosumError
from zerosum.loading import packaged
from zerosum.metrics.vocabulary import ERRORS, MEANING, Better, few_images, kind_of
from zerosum.recipe import Recipe

PLAN, RESULTS = "plan.json", "results.json"


@dataclass(frozen=True)
class Score:
    """A line of scores.jsonl. Only those of the same name and stamp may be compared."""

    name: str
    step: float
    value: float
    error: float
    floor: float
    #: as sorted JSON, so that equal ones are equal
    stamp: str
    #: of images made from pictures: what ways without a network get
    baselines: dict[str, float] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return kind_of(self.name)

    @property
    def better(self) -> Better | None:
        return MEANING[self.kind][0] if self.kind in MEANING else None

    @property
    def error_words(self) -> str:
        """What stands behind its ±; nothing where it has none."""
        return ERRORS.get(self.kind, "") if math.isfinite(self.error) else ""

    @property
    def stamp_words(self) -> str:
        """How it was made, for people."""
        values = json.loads(self.stamp)
        return ", ".join(f"{key} {value}" for key, value in values.items()) if isinstance(values, dict) else "–"

    @property
    def few(self) -> str | None:
        """What to keep in mind of a score of few images."""
        values = json.loads(self.stamp)
        counts = [values.get(key) for key in ("fake_images", "real_images")] if isinstance(values, dict) else []
        generated, real = counts if len(counts) == 2 and all(isinstance(one, int) for one in counts) else (None, None)
        return few_images(generated, real) if generated is not None and real is not None else None

    @property
    def words(self) -> str:
        return MEANING[self.kind][1] if self.kind in MEANING else ""


@dataclass(frozen=True)
class RunFolder:
    path: Path
    recipe: Recipe | None
    data: dict[str, Any]
    environment: dict[str, Any]
    summary: dict[str, Any]
    #: lines of stats.jsonl by step
    ticks: list[dict[str, Any]]
    scores: list[Score]
    findings: list[dict[str, Any]]
    #: step -> picture
    samples: dict[int, Path]
    notes: list[str] = field(default_factory=list)

    @property
    def status(self) -> str:
        """How it ended, or `unfinished`: still in training, or cut off."""
        ended = self.summary.get("status")
        later = bool(self.ticks) and self.ticks[-1]["step"] > finite(self.summary.get("steps"))
        return str(ended) if ended and not later else "unfinished"

    @property
    def steps(self) -> float:
        return self._last("step", "steps")

    @property
    def images(self) -> float:
        return self._last("images", "images")

    @property
    def seconds(self) -> float:
        return self._last("seconds", "seconds")

    def _last(self, in_ticks: str, in_summary: str) -> float:
        known = [finite(self.ticks[-1].get(in_ticks))] if self.ticks else []
        known = [value for value in [*known, finite(self.summary.get(in_summary))] if math.isfinite(value)]
        return max(known, default=math.nan)

    @property
    def speed(self) -> float:
        """Real samples seen a second."""
        return self.images / self.seconds if self.seconds > 0 else math.nan

    def curve(self, key: str) -> list[Point]:
        """(step, value) of each tick."""
        return [(tick["step"], finite(tick.get(key))) for tick in self.ticks]

    def score_curve(self, name: str) -> list[Point]:
        """(step, value) of the scores of this name that were made as its last one."""
        mine = [score for score in self.scores if score.name == name]
        return [(score.step, score.value) for score in mine if score.stamp == mine[-1].stamp]

    def final_scores(self) -> list[Score]:
        """The last of each name and stamp, in the order of MEANING; those that were made together stand together."""
        last = {(score.stamp, score.name): score for score in self.scores}
        stamps = list(dict.fromkeys(score.stamp for score in reversed(self.scores)))
        order = list(MEANING)
        return sorted(
            last.values(),
            key=lambda score: (
                stamps.index(score.stamp),
                order.index(score.kind) if score.kind in order else len(order),
            ),
        )


def is_run(folder: Path) -> bool:
    return (folder / "recipe.yaml").is_file()


def read_run(folder: Path) -> RunFolder:
    """What there is of a run folder."""
    notes: list[str] = []
    try:
        recipe = stored_recipe(folder)
    except (ZerosumError, OSError, RecursionError) as error:
        recipe = None
        notes.append(f"The recipe cannot be read: {error}")
    findings = [line for line in _lines(folder / FINDINGS, notes) if isinstance(line.get("finding"), str)]
    samples = {
        int(match[1]): path
        for path in _files(folder / "samples")
        if (match := re.fullmatch(r"(\d{1,12})\.png", path.name))
    }
    return RunFolder(
        folder,
        recipe,
        read_object(folder / "data.json", notes),
        read_object(folder / "environment.json", notes),
        read_object(folder / "summary.json", notes),
        list({line["step"]: line for line in _lines(folder / STATS, notes)}.values()),
        [score for line in _lines(folder / SCORES, notes) if (score := _score(line)) is not None],
        findings,
        dict(sorted(samples.items())),
        notes,
    )


def origin(recipe: Recipe) -> Recipe | None:
    """The recipe of the package that a run's recipe was made from: of the same name, or the same description."""
    known = [Recipe.load(name) for name in packaged()]
    named = [one for one in known if one.name == recipe.name]
    return next(iter(named or [one for one in known if one.about and one.about == recipe.about]), None)


def _score(line: Mapping[str, Any]) -> Score | None:
    if not isinstance(line.get("name"), str):
        return None
    value, error, floor = (finite(line.get(key)) for key in ("value", "error", "floor"))
    ways = line.get("baselines")
    beside = {str(name)[:60]: finite(number) for name, number in ways.items()} if isinstance(ways, dict) else {}
    return Score(line["name"], line["step"], value, error, floor, json.dumps(line.get("stamp"), sort_keys=True), beside)


def read_object(path: Path, notes: list[str]) -> dict[str, Any]:
    """A JSON file that holds an object; empty where there is none."""
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        notes.append(f"{path.name} is damaged and was left out.")
        return {}
    if not isinstance(value, dict):
        notes.append(f"{path.name} does not hold what it should, and was left out.")
        return {}
    return value


def _lines(path: Path, notes: list[str]) -> list[dict[str, Any]]:
    """Lines with a number as their step, by step."""
    try:
        lines = read_lines(path)
        written = len(path.read_bytes().splitlines()) if path.is_file() else 0
    except OSError:
        notes.append(f"{path.name} cannot be read.")
        return []
    good = [line for line in lines if math.isfinite(finite(line["step"]))]
    if len(good) < written:
        notes.append(f"{path.name}: {written - len(good)} of {written} lines are damaged and were left out.")
    return sorted(good, key=lambda line: line["step"])


def _files(folder: Path) -> Iterable[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


@dataclass(frozen=True)
class StudyRun:
    """One setting trained from one seed."""

    setting: str
    seed: str
    status: str
    steps: float
    seconds: float
    #: score -> value
    scores: dict[str, float]
    #: None where there is no readable run folder inside the study
    folder: RunFolder | None

    @property
    def ended(self) -> bool:
        return self.status not in ("waiting", "running")


@dataclass(frozen=True)
class StudyFolder:
    path: Path
    #: the question, and what was planned to be spent on it
    about: str
    budget: str
    quick: bool
    #: of plan.json: one dictionary for each setting, with its name
    settings: list[dict[str, Any]]
    seeds: list[str]
    #: by setting, in the order of the plan; and what the plan holds but nobody has trained
    runs: list[StudyRun]
    missing: list[tuple[str, str]]
    claims: list[dict[str, Any]]
    search: dict[str, Any]
    notes: list[str]


def is_study(folder: Path) -> bool:
    return (folder / PLAN).is_file()


def read_study(folder: Path) -> StudyFolder:
    """What there is of a study folder."""
    notes: list[str] = []
    plan, results = read_object(folder / PLAN, notes), read_object(folder / RESULTS, notes)
    if not (folder / RESULTS).is_file():
        notes.append("There are no results yet: the study has not come to an end.")
    settings = [line for line in rows(plan.get("settings")) if isinstance(line.get("name"), str)]
    seeds = [str(seed) for seed in plan["seeds"]] if isinstance(plan.get("seeds"), list) else []
    names = [setting["name"] for setting in settings]
    runs = [_study_run(folder, line, notes) for line in rows(results.get("runs"))]
    names += [run.setting for run in runs if run.setting not in names]
    runs.sort(key=lambda run: names.index(run.setting))
    planned = [(setting["name"], seed) for setting in settings for seed in seeds]
    done = {(run.setting, run.seed) for run in runs}
    waiting = [(run.setting, run.seed) for run in runs if run.status == "waiting"]
    stated = rows(results.get("claims")) or rows(plan.get("claims"))
    return StudyFolder(
        folder,
        str(plan.get("about") or ""),
        str(plan.get("budget") or ""),
        plan.get("quick") is True,
        settings,
        seeds,
        [run for run in runs if run.status != "waiting"],
        waiting + [pair for pair in planned if pair not in done],
        stated,
        dict(results["search"]) if isinstance(results.get("search"), dict) else {},
        notes,
    )


def _study_run(study: Path, line: Mapping[str, Any], notes: list[str]) -> StudyRun:
    found = None
    place = line.get("folder")
    if isinstance(place, str):
        try:
            inside = (study / place).resolve()
            # a stranger's study must not show what lies beside it
            if inside.is_relative_to(study.resolve()) and is_run(inside):
                found = read_run(inside)
        except (OSError, ValueError):
            found = None
        if found is None:
            notes.append(f"There is no run folder {place} in the study.")
    scores = line.get("scores")
    return StudyRun(
        str(line.get("setting")),
        str(line.get("seed")),
        str(line.get("status")),
        finite(line.get("steps")),
        finite(line.get("seconds")),
        {str(name): finite(value) for name, value in scores.items()} if isinstance(scores, dict) else {},
        found,
    )


def rows(value: Any) -> list[dict[str, Any]]:
    """The dictionaries of what should be a list of them."""
    return [line for line in value if isinstance(line, dict)] if isinstance(value, list) else []
