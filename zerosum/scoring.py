"""Scoring: a run, or images that any other program made, against real images."""

import io
import json
import math
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from zerosum import api
from zerosum.data import arrays
from zerosum.data.files import ZIP_DAMAGE
from zerosum.data.open import open_held_out, open_labelled, open_source, own_side
from zerosum.data.source import Source, Spec, make_source
from zerosum.engine import run as runs
from zerosum.engine.files import read_ticks
from zerosum.engine.gan import Gan
from zerosum.engine.painter import Painter
from zerosum.engine.precision import choose
from zerosum.engine.run import STATS, Run
from zerosum.engine.state import pick, step_of
from zerosum.engine.translator import Translator
from zerosum.engine.watch import write_scores
from zerosum.engine.world import WorldGan
from zerosum.errors import ZerosumError
from zerosum.metrics.evaluate import MEANING, Images, Measure, Scores, Yardstick, compare, floor_of, kind_of, save_pairs
from zerosum.metrics.features import Extractor, Reals
from zerosum.metrics.yardstick import (
    Against,
    choose_extractor,
    known_name,
    make_yardstick,
    measure_against_statistics,
    pictured_yardstick,
    save_statistics,
)
from zerosum.progress import note, track
from zerosum.recipe import GIVEN, Data, validated

#: generated images that are scored where nothing else is said
USUAL = 10_000

Pile = Source | str | Path | np.ndarray[Any, Any] | Tensor


def score(
    fake: Run | Pile,
    real: Pile | None = None,
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
) -> Scores:
    """Scores of generated images, with what real images get beside them, and a stamp that says how they were made.

    fake: a run or its folder; or images: a folder, zip, .npz or .npy, or an array (N, C, H, W), (N, H, W, C) or
    (N, H, W) of bytes or of floats in [-1, 1]. real: likewise, or a data URI, or an .npz with `mu` and `sigma`; a
    run's own data where it is left out. n: how many generated images, 10,000 by default but no more than there are
    training images (or images in `fake`). features: auto, classifier, random, texture, inception,
    `package.module:Class`, or a module that turns images (N, C, side, side) in [-1, 1] into features (N, D). against:
    the test split, or the training images. checkpoint: of a run: last, best, or a step. fake_labels, real_labels:
    integers (N,) or (N, attributes) beside arrays. generator: the network of a run with an own one. inception: its
    weights file. statistics: write mu and sigma of the real images there. Raises ZerosumError for what cannot be
    compared.
    """
    if n is not None and n < 2:
        raise ZerosumError(f"{n} images are too few to score")
    file = None if inception is None else Path(inception)
    if isinstance(fake, Run) or (isinstance(fake, str | Path) and (Path(fake) / "recipe.yaml").is_file()):
        gan, data, source = _open_run(fake, generator, checkpoint)
        if isinstance(gan, Painter | WorldGan):
            if against != "test":
                raise ZerosumError(f"against = {against}: what is made from pictures is scored on held-out ones only")
            return _score_painter(gan, data, source, features, n, real, file, statistics)
        if real is not None:
            described = _as_data(real, gan.spec.channels, gan.spec.native)
            if isinstance(described, Path):
                extractor = _statistics_extractor(features, gan.spec, file)
                return measure_against_statistics(extractor, described, gan.batches(n or USUAL), n or USUAL)
            data, source = described, _as_source(real, real_labels) if described is None else None
        elif data is not None:
            data = own_side(data, gan.spec)
        yardstick = _yardstick(data, source, features, against, file)
        count = n or min(USUAL, len(yardstick.training))
        labelled = gan.conditional and gan.spec.labels == yardstick.spec.labels
        return _measure(yardstick, gan.batches(count), count, labelled, statistics)
    if real is None:
        raise ZerosumError("these images need real ones to be compared with: --real URI, or score(fake, real)")
    made = _as_source(fake, fake_labels)
    pile = Reals.of(made, "generated")
    count = min(n or USUAL, len(pile))
    if n is not None and n > count:
        raise ZerosumError(f"{n} images were to be scored, but there are only {count}")
    described = _as_data(real, made.spec.channels, made.spec.native)
    if isinstance(described, Path):
        extractor = _statistics_extractor(features, made.spec, file)
        return measure_against_statistics(extractor, described, pile.batches(count), count)
    own = _as_source(real, real_labels) if described is None else None
    yardstick = _yardstick(described, own, features, against, file)
    return _measure(yardstick, *_matched(pile, yardstick, count), statistics)


def _score_painter(
    gan: Painter | WorldGan,
    data: Data | None,
    source: Source | None,
    features: str | nn.Module,
    n: int | None,
    real: Pile | None,
    inception: Path | None,
    statistics: str | Path | None,
) -> Scores:
    """Of images made from held-out pictures, each beside its true one."""
    if real is not None or data is None:
        raise ZerosumError(
            "images made from pictures are compared with the true ones of the run's own data: leave real"
        )
    held_out = None if gan.held_out is source else gan.held_out
    if source is None:
        source = api.told(open_source(data))
        held_out = open_held_out(data, source.spec)
    yardstick = pictured_yardstick(data, source, held_out, features, gan.device, inception)
    count, gan = min(n or USUAL, yardstick.most), replace(gan, held_out=held_out or source)
    scores = _measure(yardstick, gan.batches(count), count, gan.conditional, statistics)
    if isinstance(gan, Translator):
        return replace(scores, scores=scores.scores | {f"cycle_error{count}": gan.cycle_error(count)})
    return scores


def _open_run(fake: Any, generator: nn.Module | None, checkpoint: str | int) -> tuple[Gan, Data | None, Source | None]:
    """The generator of a run, the data that it was trained on, and its source where it was given as an object."""
    if isinstance(fake, Run):
        given = fake.recipe.data.uri == GIVEN
        gan = fake.gan
        if checkpoint != "last":
            gan = api.load(fake.place, generator or deepcopy(gan.generator), checkpoint)
        return gan, api.data_of(fake.recipe), fake.reals if given else None
    folder = Path(fake)
    return api.load(folder, generator, checkpoint), api.data_of(runs.stored_recipe(folder)), None


def _as_data(pile: Pile, channels: int, side: int) -> Data | Path | None:
    """The data that a URI names, at the side of the generated images, or the path of statistics; None for arrays."""
    if not isinstance(pile, str | Path):
        return None
    path = Path(pile)
    if path.suffix == ".npz" and path.is_file():
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                if {"mu", "sigma"} <= set(file.files):
                    return path
        except (*ZIP_DAMAGE, OSError, TypeError) as error:
            raise ZerosumError(f"{path}: cannot be read: {error}") from None
    return validated(Data, {"uri": str(pile), "channels": channels, "resolution": max(side, 8)}, str(pile))


def _as_source(pile: Pile, labels: Any) -> Source:
    if isinstance(pile, Source):
        return pile
    if isinstance(pile, str | Path):
        return api.told(open_labelled(Data(uri=str(pile))))
    values = pile.detach().cpu().numpy() if isinstance(pile, Tensor) else np.asarray(pile)
    images = arrays.arrange(values, "images")
    pixels = np.ascontiguousarray(arrays.to_uint8(images, "images"))
    integers = None if labels is None else np.asarray(labels)
    if integers is not None and (integers.dtype.kind not in "iu" or integers.ndim == 0):
        raise ZerosumError(f"labels are {integers.dtype} {integers.shape}: integers (N,) or (N, attributes), please")
    return make_source(pixels, integers)


def _yardstick(
    data: Data | None, source: Source | None, features: str | nn.Module, against: Against, inception: Path | None
) -> Yardstick:
    """From what the data section of a recipe names, or from a source of the caller's."""
    held_out, name = None, None
    if source is None:
        if data is None or data.uri == GIVEN:
            raise ZerosumError("the data of this run is your own source: pass it again, real=source, from Python")
        conditional = data.attributes is not None
        source = api.told(open_source(data) if conditional else open_labelled(data))
        held_out, name = open_held_out(data, source.spec), known_name(data.uri)
    here = choose("auto", "auto")
    return make_yardstick(
        source,
        held_out,
        features,
        against=against,
        name=name,
        device=here.device,
        inception=inception,
        bf16=here.name == "bf16",
    )


def _statistics_extractor(features: str | nn.Module, spec: Spec, inception: Path | None) -> Extractor:
    if features in ("auto", "classifier"):
        raise ZerosumError("a statistics file belongs to the network that made it: name it with features, as inception")
    return choose_extractor(features, spec, choose("auto", "auto").device, inception)


def _matched(pile: Reals, yardstick: Yardstick, count: int) -> tuple[Images, int, bool]:
    """The generated images with their labels in the integers of the real ones, where they have labels that fit."""
    mine, theirs = pile.source.spec.labels, yardstick.spec.labels
    fits = mine.keys() == theirs.keys() and all(set(mine[name]) <= set(theirs[name]) for name in mine)
    if mine and not fits:
        note("the labels of the generated images are not among those of the real ones: scored without labels")
    if not mine or not fits:
        return pile.batches(count), count, False
    tables = [torch.tensor([theirs[name].index(value) for value in mine[name]]) for name in theirs]
    order = [list(mine).index(name) for name in theirs]

    def renamed() -> Iterator[tuple[Tensor, Tensor | None]]:
        for pixels, labels in pile.batches(count):
            columns = [table[labels[:, at]] for table, at in zip(tables, order, strict=True)]  # type: ignore[index]
            yield pixels, torch.stack(columns, 1)

    return renamed(), count, True


def _measure(yardstick: Measure, fakes: Images, count: int, labelled: bool, statistics: str | Path | None) -> Scores:
    if statistics is not None and isinstance(yardstick, Yardstick):
        save_statistics(yardstick, Path(statistics))
    pieces = -(-count // 256)
    return yardstick.measure(track(fakes, pieces, "scoring"), count, labelled)


def store(scores: Scores, folder: Path, checkpoint: str = "last") -> None:
    """Into the run's scores.jsonl; the images most like copies, each above its training image, as pairs.png."""
    step = step_of(pick(folder / "checkpoints", checkpoint))
    ticks = [tick for tick in read_ticks(folder / STATS) if tick["step"] <= step]
    place: dict[str, Any] = {key: ticks[-1][key] for key in ("images", "seconds") if key in ticks[-1]} if ticks else {}
    write_scores(folder, scores, {"step": step, **place})
    if scores.pairs is not None:
        save_pairs(scores.pairs, folder / "pairs.png")


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
    for head, side in [("score", "left"), *((head, "right") for head in heads), ("real images", "right")]:
        table.add_column(head, justify=side, no_wrap=single)  # type: ignore[arg-type]
    if single:
        table.add_column("what it says")
    floor = floor_of(named)
    kinds_in_order = list(MEANING)
    names = {name for scores in named.values() for name in scores.scores}
    for name in sorted(names, key=lambda name: (kinds_in_order.index(kind_of(name)), len(name), name)):
        lower, meaning = MEANING[kind_of(name)]
        values = [shown(named[run].scores.get(name), named[run].errors.get(name)) for run in ranked]
        values += [shown(inside.get(name)) for inside in baselines.values()]
        words = [f"{meaning} ({'less' if lower else 'more'} is better)"] if single else []
        table.add_row(name, *values, shown(floor.get(name)), *words)
    text = _text(table)
    if single and first.classes:
        kinds = list(dict.fromkeys(kind for inside in first.classes.values() for kind in inside))
        inner = Table("class", *kinds, box=None, header_style="bold")
        for name, inside in first.classes.items():
            inner.add_row(name, *(shown(inside.get(kind)) for kind in kinds))
        text += "\n" + _text(inner)
    facts = ", ".join(f"{key} {value}" for key, value in first.stamp.items())
    slowest = ", ".join(f"{part} {seconds:.1f} s" for part, seconds in first.seconds.items() if seconds >= 0.1)
    return text + f"\nstamp: {facts}\n" + (f"time: {slowest}\n" if slowest else "")


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
