"""What the page of a study shows."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from zerosum.charts import (
    Chart,
    Interval,
    Point,
    Strip,
    duration,
    finite,
    interval_of,
    line_chart,
    loss_charts,
    number,
    robust_span,
    smoothed,
    span_of,
    spread,
    strips,
)
from zerosum.metrics.vocabulary import MEANING, Better, kind_of, shortfall
from zerosum.reporting.embed import embed_file
from zerosum.reporting.reading import RunFolder, StudyFolder, StudyRun, rows
from zerosum.reporting.run_page import Frame, evenly, facts, lead, machine, plain

#: pictures behind the slider of a study, over all settings
PICTURES = 48
#: runs above which the folded details show no picture
ILLUSTRATED = 24
#: scores that are not folded away, if there is room, after those that claims ask for
MAIN, COLUMNS = ("fid", "accuracy", "precision", "recall", "worst_class_diversity"), 6

VERDICTS = {"supported": "✓", "contradicted": "✗", "not decided": "?"}


@dataclass(frozen=True)
class Claim:
    say: str
    expect: str
    verdict: str
    mark: str
    #: of one that is not decided: which way its numbers point
    leaning: str
    numbers: list[tuple[str, str]]
    interval: Interval | None
    #: a column for each seed, and a row for each side of its comparisons
    seeds: list[str]
    rows: list[tuple[str, list[str]]]
    why: str


@dataclass(frozen=True)
class ScoreTable:
    """One score of every setting: dots over seeds on a common axis."""

    name: str
    words: str
    better: Better | None
    floor: float
    #: the setting with the best mean; None where none has, or nobody knows what better means
    best: str | None
    rows: dict[str, Strip]
    ticks: list[tuple[float, str]]
    level: float | None


@dataclass(frozen=True)
class Detail:
    """One run, folded."""

    anchor: str
    run: StudyRun
    lead: str
    facts: list[tuple[str, str, str]]
    charts: list[Chart]
    frame: Frame | None


def study_context(study: StudyFolder) -> dict[str, Any]:
    """The variables of study.html."""
    names = setting_names(study)
    claims = [claim(line) for line in study.claims]
    tables, refused = score_tables(study, names)
    main = columns(tables, claims)
    common, changed = knobs(study)
    folders = [run.folder for run in study.runs if run.folder is not None]
    machines = {tuple(machine(folder.environment)): None for folder in folders}
    return {
        "study": study,
        "title": study.path.resolve().name,
        "question": study.about,
        "claims": claims,
        "tally": [(verdict, count) for verdict in VERDICTS if (count := sum(one.verdict == verdict for one in claims))],
        "common": common,
        "knobs": changed,
        "settings": names,
        "counts": {name: sum(run.setting == name and run.ended for run in study.runs) for name in names},
        "times": {name: spread_of(run.seconds for run in study.runs if run.setting == name) for name in names},
        "tables": tables,
        "refused": refused,
        "columns": main,
        "more_tables": [table for table in tables if table not in main],
        "loss_charts": multiples(study, names, {"critic": "critic/loss", "generator": "generator/loss"}, (0, 1)),
        "output_charts": multiples(
            study, names, {"real samples": "critic/real", "generated samples": "critic/fake"}, (2, 3)
        ),
        "score_charts": score_multiples(study, names, main[0]) if main else {},
        "frames": study_frames(study, names),
        "seconds": duration(math.fsum(run.seconds for run in study.runs if math.isfinite(run.seconds))),
        "machines": [list(one) for one in machines],
        "trials": trials(study.search),
        "searched_by": str(study.search.get("by") or "score"),
        "details": details(study),
    }


def setting_names(study: StudyFolder) -> list[str]:
    """In the order of the plan, and after them what only the results know."""
    return list(dict.fromkeys([*(setting["name"] for setting in study.settings), *(run.setting for run in study.runs)]))


def knobs(study: StudyFolder) -> tuple[str, dict[str, str]]:
    """What all settings have in common, and what each changes beside that."""
    changes = {one["name"]: _changes(one) for one in study.settings}
    common = set.intersection(*map(set, changes.values())) if len(changes) > 1 else set()
    first = next(iter(changes.values()), [])
    return (
        ", ".join(change for change in first if change in common),
        {name: ", ".join(change for change in of if change not in common) for name, of in changes.items()},
    )


def _changes(setting: Mapping[str, Any]) -> list[str]:
    values = setting.get("set")
    recipe = [f"recipe {setting['recipe']}"] if isinstance(setting.get("recipe"), str) else []
    return recipe + ([f"{key} = {plain(value)}" for key, value in values.items()] if isinstance(values, dict) else [])


def columns(tables: list[ScoreTable], claims: list[Claim]) -> list[ScoreTable]:
    """The scores that a reader wants to see first: those of the claims, and the main ones."""
    asked = [kind for kind in MEANING if any(re.search(rf"\b{kind}\(", claim.expect) for claim in claims)]
    wanted = list(dict.fromkeys([*MAIN[:1], *asked, *MAIN]))
    found = [table for kind in wanted for table in tables if kind_of(table.name) == kind]
    return (found or tables)[:COLUMNS]


def claim(line: Mapping[str, Any]) -> Claim:
    """A claim with its verdict; one that was not judged yet is not decided."""
    verdict = str(line.get("verdict") or "not decided")
    direction = line.get("direction")
    difference, interval = finite(line.get("difference")), line.get("interval")
    # of a ratio the file holds logarithms, as they are averaged; people read the ratio itself
    ratio = line.get("scale") == "ratio"
    ends = interval if isinstance(interval, list) and len(interval) == 2 else []
    middle, *shown = [number(_exponential(one) if ratio else one) for one in [difference, *ends]]
    numbers = [("ratio" if ratio else "difference", middle)]
    if shown:
        numbers.append(("95 % interval", " to ".join(shown)))
    numbers.append(("effect size", number(line.get("effect"))))
    values = line.get("values")
    by_seed = {str(seed): of for seed, of in values.items() if isinstance(of, dict)} if isinstance(values, dict) else {}
    sides = dict.fromkeys(side for of in by_seed.values() for side in of if not re.fullmatch(r"[-+.\de]+", side))
    return Claim(
        str(line.get("say") or ""),
        str(line.get("expect") or ""),
        verdict,
        VERDICTS.get(verdict, "?"),
        f"points {direction}" if verdict not in ("supported", "contradicted") and isinstance(direction, str) else "",
        [pair for pair in numbers if pair[1] != number(None)],
        interval_of(difference, interval),
        list(by_seed),
        [(str(side), [number(of.get(side)) for of in by_seed.values()]) for side in sides],
        str(line.get("why") or ""),
    )


def _exponential(value: Any) -> float:
    try:
        return math.exp(finite(value))
    except OverflowError:
        return math.inf


def spread_of(values: Iterable[Any]) -> str:
    """Mean and standard deviation of the numbers among them."""
    return spread([value for value in map(finite, values) if math.isfinite(value)])


def score_tables(study: StudyFolder, names: list[str]) -> tuple[list[ScoreTable], list[str]]:
    """A table for each score that all runs made in the same way, and the names of the others."""
    stamps: dict[str, set[str]] = {}
    floors: dict[str, float] = {}
    for run in study.runs:
        for score in run.folder.final_scores() if run.folder is not None else ():
            stamps.setdefault(score.name, set()).add(score.stamp)
            floors[score.name] = score.floor
    order = list(MEANING)
    known = dict.fromkeys(name for run in study.runs for name in run.scores)
    tables, refused = [], []
    for name in sorted(known, key=lambda name: order.index(kind_of(name)) if kind_of(name) in order else len(order)):
        if len(stamps.get(name, ())) > 1:
            refused.append(name)
            continue
        values = {
            setting: [
                run.scores[name]
                for run in study.runs
                if run.setting == setting and math.isfinite(run.scores.get(name, math.nan))
            ]
            for setting in names
        }
        if not any(values.values()):
            continue
        better, words = MEANING.get(kind_of(name), (None, ""))
        means = {setting: fmean(row) for setting, row in values.items() if row}
        best = None
        if better is not None and len(set(means.values())) > 1:
            best = min(means, key=lambda setting: shortfall(name, means[setting]))
        floor = floors.get(name, math.nan)
        drawn, axis, level = strips(values, floor)
        tables.append(ScoreTable(name, words, better, floor, best, {row.name: row for row in drawn}, axis, level))
    return tables, refused


def _folders(study: StudyFolder, name: str) -> list[tuple[str, RunFolder]]:
    """(seed, run folder) of a setting."""
    return [(run.seed, run.folder) for run in study.runs if run.setting == name and run.folder is not None]


def multiples(
    study: StudyFolder, names: list[str], keys: Mapping[str, str], tones: tuple[int, ...]
) -> dict[str, Chart]:
    """A small chart for each setting, a line for each key and seed, all on the same axes."""
    lines: dict[str, dict[str, list[Point]]] = {name: {} for name in names}
    colours: dict[str, list[int]] = {name: [] for name in names}
    for name in names:
        for (label, key), tone in zip(keys.items(), tones, strict=True):
            for seed, folder in _folders(study, name):
                curve = folder.curve(key)
                lines[name][f"{label}, seed {seed}"] = smoothed(curve, max(1, len(curve) // 40))
                colours[name].append(tone)
    return _alike(lines, colours, math.nan)


def score_multiples(study: StudyFolder, names: list[str], table: ScoreTable) -> dict[str, Chart]:
    """One score over time, a small chart for each setting, a line for each seed."""
    lines: dict[str, dict[str, list[Point]]] = {}
    for name in names:
        found = {f"seed {seed}": folder.score_curve(table.name) for seed, folder in _folders(study, name)}
        lines[name] = {seed: line for seed, line in found.items() if len(line) > 1}
    return _alike(lines, {name: [4] * len(of) for name, of in lines.items()}, table.floor)


def _alike(
    lines: Mapping[str, Mapping[str, list[Point]]], tones: Mapping[str, list[int]], level: float
) -> dict[str, Chart]:
    points = [point for of in lines.values() for line in of.values() for point in line if math.isfinite(point[1])]
    if not points:
        return {}
    spans = span_of([x for x, _ in points]), robust_span([y for _, y in points], level)
    drawn = {
        name: line_chart(name, of, tones=tones[name], level=level, spans=spans, smooth=False)
        for name, of in lines.items()
    }
    return {name: chart for name, chart in drawn.items() if chart is not None}


def study_frames(study: StudyFolder, names: list[str]) -> list[Frame]:
    """The sample grids of every setting's first run, side by side, at the steps that all of them have."""
    first = {name: folders[0][1] for name in names if (folders := _folders(study, name)) and folders[0][1].samples}
    if not first:
        return []
    common = set.intersection(*(set(folder.samples) for folder in first.values()))
    steps = evenly(sorted(common), max(2, min(12, PICTURES // len(first))))
    result = []
    for step in steps:
        shown = {
            name: embed_file(folder.samples[step], f"{name}: generated samples after {number(step)} steps")
            for name, folder in first.items()
        }
        pictures = {name: picture for name, picture in shown.items() if picture is not None}
        if pictures:
            words = f"step {number(step)}"
            result.append(Frame(f"step-{step}", words, list(pictures.values()), step == steps[-1], tuple(pictures)))
    return result


def trials(search: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """What a search tried, the best first: setting, values, score, status."""
    found = rows(search.get("trials"))
    by = search.get("by")
    known = by if isinstance(by, str) and by in MEANING else "fid"
    found.sort(
        key=lambda trial: shortfall(known, value) if math.isfinite(value := finite(trial.get("value"))) else math.inf
    )
    return [
        (
            str(trial.get("setting")),
            ", ".join(_changes({"set": trial.get("set")})),
            number(trial.get("value")),
            str(trial.get("status")),
        )
        for trial in found
    ]


def details(study: StudyFolder) -> list[Detail]:
    """Every run of the study, for who wants to look closer."""
    result = []
    for index, run in enumerate(study.runs):
        folder, frame = run.folder, None
        if folder is not None and folder.samples and len(study.runs) <= ILLUSTRATED:
            step = list(folder.samples)[-1]
            words = f"{run.setting}, seed {run.seed}: generated samples after {number(step)} steps"
            picture = embed_file(folder.samples[step], words)
            frame = None if picture is None else Frame(f"run-{index}-last", f"step {number(step)}", [picture], True)
        result.append(
            Detail(
                f"run-{index}",
                run,
                "" if folder is None else lead(folder),
                [] if folder is None else facts(folder),
                [] if folder is None else loss_charts(folder.curve),
                frame,
            )
        )
    return result
