"""Scoring: a run, or samples that any other program made, against real ones."""

import io
import json
import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from torch import nn

from zerosum import api
from zerosum.engine.runs.files import read_ticks, whole
from zerosum.engine.runs.reading import STATS, pick, step_of, stored_recipe
from zerosum.engine.runs.run import Run
from zerosum.engine.trained.gan import Gan
from zerosum.engine.training.precision import choose
from zerosum.engine.watching.watch import write_scores
from zerosum.errors import ZerosumError
from zerosum.metrics.evaluate import compare, floor_of
from zerosum.metrics.own import Own, check_own
from zerosum.metrics.request import Request
from zerosum.metrics.result import Scores
from zerosum.metrics.vocabulary import ERRORS, MEANING, kind_of
from zerosum.metrics.yardstick import Against
from zerosum.modalities import modality, modality_of, modality_of_samples
from zerosum.plots import save_picture
from zerosum.recipe import GIVEN, Recipe
from zerosum.tasks import task_of


def score(
    fake: Any,
    real: Any = None,
    *,
    n: int | None = None,
    features: str | nn.Module = "auto",
    against: Against = "test",
    checkpoint: str | int = "last",
    fake_labels: Any = None,
    real_labels: Any = None,
    generator: nn.Module | None = None,
    inception: str | Path | None = None,
    statistics: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    own: Mapping[str, Own] | None = None,
) -> Scores:
    """Scores of generated samples, with what real samples get beside them, and a stamp that says how they were made.

    fake: a run or its folder; or images: a folder, zip, .npz or .npy, or an array (N, C, H, W), (N, H, W, C) or
    (N, H, W) of bytes or of floats in [-1, 1]. real: likewise, or a data URI, or an .npz with `mu` and `sigma`; a
    run's own data where it is left out. n: how many generated samples, 10,000 by default but no more than there are
    training samples (or images in `fake`). features: auto, classifier, random, texture, inception,
    `package.module:Class`, or a module that turns images (N, C, side, side) in [-1, 1] into features (N, D). against:
    the test split, or the training samples. checkpoint: of a run: last, best, or a step. fake_labels, real_labels:
    integers (N,) or (N, attributes) beside arrays. generator: the network of a run with an own one. inception: its
    weights file. statistics: write mu and sigma of the real samples there. overrides: how both sets are read, by keys
    of a recipe's data section, {"data.resolution": 64}, those that `Modality.reading` of the kind of data takes. own:
    name -> function of generated and real samples (N, ...), as scores look at them, that gives a number.

    Pictures of unlike forms are brought to one, see zerosum.metrics.pictures.piles.
    Raises ZerosumError for what cannot be compared.
    """
    if n is not None and n < 2:
        raise ZerosumError(f"{n} samples are too few to score")
    check_own(own)
    here = choose("auto", "auto")
    asked = Request(
        features,
        here.device,
        here.name == "bf16",
        None if inception is None else Path(inception),
        n=n,
        against=against,
        statistics=None if statistics is None else Path(statistics),
        fake_labels=fake_labels,
        real_labels=real_labels,
        own=own or {},
    )
    if isinstance(fake, Run) or (isinstance(fake, str | Path) and (Path(fake) / "recipe.yaml").is_file()):
        gan, recipe = _open_run(fake, generator, checkpoint)
        asked = replace(asked, overrides=modality_of(gan.spec).reading(overrides or {}))
        # a source that was handed over cannot be opened again
        source = fake.reals if isinstance(fake, Run) and fake.recipe.data.uri == GIVEN else None
        return task_of(recipe).score(gan, api.data_of(recipe), source, real, asked)
    kind = modality_of_samples(fake)
    return kind.score_piles(fake, real, replace(asked, overrides=kind.reading(overrides or {})))


def _open_run(fake: Any, generator: nn.Module | None, checkpoint: str | int) -> tuple[Gan, Recipe]:
    """The generator of a run, and its recipe."""
    if isinstance(fake, Run):
        if checkpoint == "last":
            return fake.gan, fake.recipe
        return api.load(fake.place, generator or deepcopy(fake.gan.generator), checkpoint), fake.recipe
    folder = Path(fake)
    return api.load(folder, generator, checkpoint), stored_recipe(folder)


def store(scores: Scores, folder: Path, checkpoint: str = "last") -> None:
    """Into the run's scores.jsonl; the samples most like copies, each with its training sample, as pairs.png."""
    step = step_of(pick(folder / "checkpoints", checkpoint))
    ticks = [tick for tick in read_ticks(folder / STATS) if tick["step"] <= step]
    place: dict[str, Any] = {key: ticks[-1][key] for key in ("images", "seconds") if key in ticks[-1]} if ticks else {}
    write_scores(folder, scores, {"step": step, **place})
    if scores.pairs is not None:
        picture = modality(stored_recipe(folder).data.modality).show_pairs(scores.pairs)
        with whole(folder / "pairs.png") as draft:
            save_picture(picture, draft)


def as_json(named: Mapping[str, Scores]) -> str:
    """The scores of one pile; of several, each under its name, with the names from best to worst."""
    values: Any = {name: scores.plain() for name, scores in named.items()}
    if len(named) == 1:
        (values,) = values.values()
    else:
        values = {"ranking": compare(named), "runs": values}
    return json.dumps(_finite(values), indent=2) + "\n"


def _finite(value: Any) -> Any:
    """JSON knows no NaN."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_table(named: Mapping[str, Scores]) -> str:
    """Scores as text: one pile with its meaning and its classes; several side by side, the best first.

    Raises ZerosumError for scores that were not made in the same way.
    """
    ranked = compare(named)
    first = named[ranked[0]]
    single = len(ranked) == 1
    table = Table(box=None, header_style="bold")
    heads = ["value"] if single else [Path(name).name for name in ranked]
    baselines = first.baselines  # of the same pictures, so that all of these have the same
    heads += list(baselines)
    for head, side in [("score", "left"), *((head, "right") for head in heads), ("real samples", "right")]:
        table.add_column(head, justify=side, no_wrap=single)  # type: ignore[arg-type]
    if single:
        table.add_column("what it says")
    floor = floor_of(named)
    places = {kind: place for place, kind in enumerate(MEANING)}
    names = {name for scores in named.values() for name in scores.scores}
    for name in sorted(names, key=lambda name: (places.get(kind_of(name), len(places)), len(name), name)):
        better, meaning = MEANING.get(kind_of(name), ("", "your own"))
        values = [shown(named[run].scores.get(name), named[run].errors.get(name)) for run in ranked]
        values += [shown(inside.get(name)) for inside in baselines.values()]
        spread = f"; ± {ERRORS.get(kind_of(name), 'error')}" if name in first.errors else ""
        best = {"near 1": " (best near 1)", "": ""}.get(better, f" ({better} is better)")
        words = [f"{meaning}{spread}{best}"] if single else []
        table.add_row(name, *values, shown(floor.get(name)), *words)
    text = _text(table)
    if single and first.classes:
        kinds = list(dict.fromkeys(kind for inside in first.classes.values() for kind in inside))
        inner = Table("class", *kinds, box=None, header_style="bold")
        for name, inside in first.classes.items():
            inner.add_row(name, *(shown(inside.get(kind)) for kind in kinds))
        text += "\n" + _text(inner)
    facts = ", ".join(f"{key} {value}" for key, value in first.stamp.items())
    notes = "".join(f"\nnote: {line}" for line in dict.fromkeys(one for run in ranked for one in named[run].notes))
    slowest = ", ".join(f"{part} {seconds:.1f} s" for part, seconds in first.seconds.items() if seconds >= 0.1)
    return text + notes + f"\nstamp: {facts}\n" + (f"time: {slowest}\n" if slowest else "")


def shown(value: float | None, error: float | None = None) -> str:
    """
    >>> shown(4.23456, 0.1), shown(0.99234), shown(None), shown(123.456)
    ('4.23 ± 0.1', '0.992', '-', '123')
    """
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.3g}" + (f" ± {error:.2g}" if error is not None else "")


def _text(table: Table) -> str:
    console = Console(width=160, file=io.StringIO())
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"
