"""What the page of one run shows."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from zerosum.charts import Chart, duration, finite, loss_charts, number, score_chart
from zerosum.engine.runs.reading import EVIDENCE
from zerosum.recipe import GIVEN, Recipe
from zerosum.reporting.embed import Picture, embed_file
from zerosum.reporting.reading import RunFolder, origin

#: pictures behind a slider, and of them on paper
FRAMES, PRINTED = 24, 6
#: the scores whose curves are not folded away
MAIN = ("fid", "diversity", "accuracy")

#: what a page says of a run's game even where it is as usual
SETTINGS = (
    *("objective", "condition.method", "latent.size", "latent.distribution", "batch", "critic.steps"),
    *("generator.network", "generator.width", "critic.network", "critic.width", "optimizer.name", "optimizer.lr"),
    *("generator.lr", "critic.lr", "optimizer.betas", "average.half_life", "seed"),
)


@dataclass(frozen=True)
class Frame:
    """One position of a slider."""

    name: str
    words: str
    pictures: list[Picture]
    printed: bool
    #: one under each picture, or none
    captions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Setting:
    key: str
    value: str
    #: in the recipe of the package; None where that is the same, or unknown
    usual: str | None


def run_context(run: RunFolder) -> dict[str, Any]:
    """The variables of run.html."""
    recipe = run.recipe
    base = None if recipe is None else origin(recipe)
    main_charts, more_charts = score_charts(run)
    return {
        "run": run,
        "title": run.path.resolve().name,
        "lead": lead(run),
        "labelled": recipe is not None and recipe.condition.labels,
        "shown": "" if recipe is None else recipe.data.shown,
        "facts": facts(run),
        "diagnosed": (run.path / EVIDENCE).is_file(),
        "frames": frames(run),
        "reals": embed_file(run.path / "reals.png", f"Real samples{_of_data(run)}"),
        "pairs": embed_file(run.path / "pairs.png", "Generated samples, each above the training sample nearest to it"),
        "losses": loss_charts(run.curve),
        "score_charts": main_charts,
        "more_charts": more_charts,
        "score_tables": [list(group) for _, group in groupby(run.final_scores(), key=lambda score: score.stamp)],
        "ways": embed_file(run.path / "ways.png", "Each row of generated samples leads from one latent to another"),
        "circular": recipe is not None and recipe.latent.distribution == "normal",
        "base": base,
        "settings": [] if recipe is None else settings(recipe, base),
        "recipe_text": "" if recipe is None else recipe.to_yaml(),
        "machine": machine(run.environment),
    }


def lead(run: RunFolder) -> str:
    """One sentence: what was trained, on what, and how far it got."""
    recipe = run.recipe
    what = recipe.about or f"recipe {recipe.name}" if recipe is not None else "a run whose recipe cannot be read"
    goal = f" of {number(recipe.steps)}" if recipe is not None and run.steps != recipe.steps else ""
    count, size = finite(run.data.get("images")), run.data.get("size")
    data = f" on {number(count)} {plural_of(run)}" if math.isfinite(count) else ""
    native = finite(run.data.get("native"))  # of runs of earlier versions
    old = f"{number(native)}x{number(native * finite(run.data.get('wide', 1)))}" if math.isfinite(native) else ""
    data += f" of {str(size)[:60]}" if size else f" of {old}" if old else ""
    return f"{what[:1].upper()}{what[1:]}: trained for {number(run.steps)}{goal} steps{data}{_of_data(run, ' from ')}."


def plural_of(run: RunFolder) -> str:
    """What the samples of a run are called."""
    return str(run.data.get("plural", "images"))[:40]


def _of_data(run: RunFolder, link: str = " of ") -> str:
    """The name of the data, without the folders that lead to it."""
    uri = None if run.recipe is None else run.recipe.data.uri
    return f"{link}{Path(uri).name}" if uri and uri != GIVEN else ""


def facts(run: RunFolder) -> list[tuple[str, str, str]]:
    """The numbers that a reader looks for first: name, value, and what to compare it with."""
    shown = [
        ("steps", number(run.steps), ""),
        (f"real {plural_of(run)} seen", number(run.images), ""),
        ("training time", duration(run.seconds), ""),
        (f"{plural_of(run)} a second", number(run.speed), ""),
    ]
    final = next((score for score in run.final_scores() if score.kind == "fid"), None)
    if final is not None:
        shown.append((final.name, number(final.value), f"real samples {number(final.floor)}"))
    return shown


def frames(run: RunFolder) -> list[Frame]:
    """Pictures of samples/, evenly chosen where there are many; the first and the last always."""
    steps = evenly(list(run.samples), FRAMES)
    printed = evenly(steps, PRINTED)
    result = []
    for step in steps:
        picture = embed_file(run.samples[step], f"Generated samples after {number(step)} steps")
        if picture is not None:
            result.append(Frame(f"step-{step}", f"step {number(step)}", [picture], step in printed))
    return result


def evenly(items: Sequence[Any], most: int) -> list[Any]:
    """At most so many of the items, evenly spread, the first and the last among them.

    >>> evenly([0, 1, 2, 3, 4, 5, 6], 3), evenly([1, 2], 3)
    ([0, 3, 6], [1, 2])
    """
    if len(items) <= most:
        return list(items)
    return [items[round(index * (len(items) - 1) / (most - 1))] for index in range(most)]


def score_charts(run: RunFolder) -> tuple[list[Chart], list[Chart]]:
    """A small chart for each score that was made at least twice in the same way: the main ones, and the others."""
    charts: tuple[list[Chart], list[Chart]] = [], []
    for final in run.final_scores():
        line = run.score_curve(final.name)
        if len({step for step, _ in line}) > 1:
            chart = score_chart(final.name, line, final.floor)
            if chart is not None:
                charts[final.kind not in MAIN].append(chart)
    return charts


def settings(recipe: Recipe, base: Recipe | None) -> list[Setting]:
    """Changed keys first, then the usual ones of the game."""
    here = recipe.flat()
    changed = {} if base is None else base.differences(recipe)
    changed = {key: pair for key, pair in changed.items() if key not in ("name", "about")}
    result = [Setting(key, plain(now), plain(usual)) for key, (usual, now) in changed.items()]
    paid = [key for key, value in here.items() if key.startswith("penalties.") and value not in (0, 0.0, 1)]
    return result + [
        Setting(key, plain(here[key]), None)
        for key in (*SETTINGS, *paid)
        if key not in changed and here.get(key) is not None
    ]


def plain(value: Any) -> str:
    """A recipe's value as its YAML would say it.

    >>> plain([0.5, 0.999]), plain(True), plain(None), plain("hinge")
    ('[0.5, 0.999]', 'true', '–', 'hinge')
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(plain, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {plain(inner)}' for key, inner in value.items())}}}"
    return str(value)


def machine(environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Where a run was trained, and with which versions."""
    here = environment.get("machine")
    here = here if isinstance(here, dict) else {}
    versions = environment.get("versions")
    shown = {
        "device": environment.get("device"),
        "GPU": here.get("gpu"),
        "precision": environment.get("precision"),
        "processor": here.get("processor"),
        "instructions": here.get("capability"),
        "threads": here.get("threads"),
        "system": here.get("system"),
        "versions": ", ".join(f"{name} {one}" for name, one in versions.items())
        if isinstance(versions, dict)
        else None,
        "commit": environment.get("commit"),
    }
    return [(name, str(value)) for name, value in shown.items() if value is not None]
