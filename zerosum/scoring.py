"""Scoring: a run, or images that any other program made, against real images."""

import io
import json
import math
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from zerosum import api
from zerosum.data.open import locate, open_held_out, open_labelled, open_source, own_side
from zerosum.data.pictures import arrays
from zerosum.data.pictures.drawing import save_pairs
from zerosum.data.pictures.files import ZIP_DAMAGE
from zerosum.data.pictures.forms import Form, Sizes, loses_colour, reformed, sizes_of_pictures
from zerosum.data.pictures.parquet import is_remote
from zerosum.data.source import MOST_SIDE, Lazy, Source, Spec, make_source
from zerosum.engine.runs.files import read_ticks
from zerosum.engine.runs.reading import STATS, pick, step_of, stored_recipe
from zerosum.engine.runs.run import Run
from zerosum.engine.trained.gan import Gan
from zerosum.engine.trained.painter import Painter
from zerosum.engine.trained.translator import Translator
from zerosum.engine.trained.world import WorldGan
from zerosum.engine.training.precision import choose
from zerosum.engine.watching.watch import write_scores
from zerosum.errors import ZerosumError, option, setting, suggest
from zerosum.loading import validated
from zerosum.metrics.evaluate import Images, Measure, Scores, Yardstick, compare, floor_of
from zerosum.metrics.features import Extractor, Reals
from zerosum.metrics.vocabulary import ERRORS, MEANING, kind_of
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
from zerosum.recipe import GIVEN, Data, Recipe

#: generated images that are scored where nothing else is said
USUAL = 10_000
#: keys of a recipe's data section that say how images are read
READ = ("resolution", "channels", "range", "bad_share", "links", "table", "attributes", "hold_out", "memory")
#: side up to which the features that look at images in their own size are made; others bring them to a size of theirs
LARGEST = 256
OWN_SIZE = ("auto", "classifier", "random", "texture")

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
    overrides: Mapping[str, Any] | None = None,
) -> Scores:
    """Scores of generated images, with what real images get beside them, and a stamp that says how they were made.

    fake: a run or its folder; or images: a folder, zip, .npz or .npy, or an array (N, C, H, W), (N, H, W, C) or
    (N, H, W) of bytes or of floats in [-1, 1]. real: likewise, or a data URI, or an .npz with `mu` and `sigma`; a
    run's own data where it is left out. n: how many generated images, 10,000 by default but no more than there are
    training images (or images in `fake`). features: auto, classifier, random, texture, inception,
    `package.module:Class`, or a module that turns images (N, C, side, side) in [-1, 1] into features (N, D). against:
    the test split, or the training images. checkpoint: of a run: last, best, or a step. fake_labels, real_labels:
    integers (N,) or (N, attributes) beside arrays. generator: the network of a run with an own one. inception: its
    weights file. statistics: write mu and sigma of the real images there. overrides: how both sets are read, by keys of
    a recipe's data section, {"data.resolution": 64}: resolution, channels, range, bad_share, links, table, attributes,
    hold_out, memory.

    Images of unlike sides or channels are brought to one form: the smallest side and the fewest channels among them,
    or what overrides say. A line on standard error says so, and the stamp does where generated images lost something.
    Raises ZerosumError for what cannot be compared.
    """
    if n is not None and n < 2:
        raise ZerosumError(f"{n} images are too few to score")
    file = None if inception is None else Path(inception)
    chosen = _chosen(overrides or {})
    if isinstance(fake, Run) or (isinstance(fake, str | Path) and (Path(fake) / "recipe.yaml").is_file()):
        gan, data, source = _open_run(fake, generator, checkpoint)
        if isinstance(gan, Painter | WorldGan):
            if against != "test":
                raise ZerosumError(f"against = {against}: what is made from pictures is scored on held-out ones only")
            data = _read_as_learnt(data, chosen)
            return _score_painter(gan, data, source, features, n, real, file, statistics)
        made = _Given("generated", Sizes.of(gan.spec))
        if (known := _statistics_file(real)) is not None:
            form = _form_of(chosen, made.sizes, made.sizes)
            images = _fitted(gan.batches(n or USUAL), form)
            return _against_statistics(known, images, n or USUAL, made, form, features, gan.spec, file)
        pile = source if real is None else real
        if pile is None:
            form = _form_of(chosen, made.sizes, made.sizes)
            truth = _own_data(data, gan.spec, chosen, form)
        else:
            reals = _given("real", pile, real_labels, chosen, made.sizes.low)
            form = _form_of(chosen, made.sizes, reals.sizes)
            truth = reals.opened(form)
            _say_form(made, reals, form, chosen)
        yardstick = _yardstick(truth, features, against, file)
        count = n or min(USUAL, len(yardstick.training))
        labelled = gan.conditional and gan.spec.labels == yardstick.spec.labels
        scores = _measure(yardstick, _fitted(gan.batches(count), form), count, labelled, statistics)
        return _stamped(scores, made, form)
    if real is None:
        how = "--real URI" if option("real").startswith("--") else "score(fake, real)"
        raise ZerosumError(f"these images need real ones to be compared with: {how}")
    made = _given("generated", fake, fake_labels, chosen)
    known = _statistics_file(real)
    reals = made if known is not None else _given("real", real, real_labels, chosen, made.sizes.low)
    form = _form_of(chosen, made.sizes, reals.sizes, _largest(features))
    made = replace(made, source=made.read(form))
    own = Reals.of(made.images, "generated")
    count = min(n or USUAL, len(own))
    if n is not None and n > count:
        raise ZerosumError(f"{n} images were to be scored, but there are only {count}")
    _say_form(made, reals, form, chosen)
    if known is not None:
        images = _fitted(own.batches(count), form)
        return _against_statistics(known, images, count, made, form, features, made.images.spec, file)
    yardstick = _yardstick(reals.opened(form), features, against, file)
    images, labelled = _matched(own, yardstick, count)
    return _stamped(_measure(yardstick, _fitted(images, form), count, labelled, statistics), made, form)


def _chosen(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the data section by their keys, checked. Raises ZerosumError for others than READ."""
    result: dict[str, Any] = {}
    for key in overrides:
        section, _, name = key.partition(".")
        if section != "data" or name.partition(".")[0] not in READ:
            known = [f"data.{name}" for name in READ]
            raise ZerosumError(f"'{key}' says nothing of how images are read for scores: {suggest(key, known)}")
    # larger than what networks learn from
    side = overrides.get("data.resolution")
    if side is not None and (not isinstance(side, int) or isinstance(side, bool) or not 8 <= side <= MOST_SIDE):
        raise ZerosumError(f"data.resolution = {side!r}: should be a whole number from 8 to {MOST_SIDE}")
    data = Recipe().with_overrides({key: value for key, value in overrides.items() if key != "data.resolution"}).data
    for key in overrides:
        name = key.split(".")[1]
        result[name] = side if name == "resolution" else getattr(data, name)
    return {name: value for name, value in result.items() if value is not None}


@dataclass(frozen=True)
class _Truth:
    """Real images: those of training, those of the test split, and what they are called."""

    source: Source
    held_out: Source | None = None
    name: str | None = None


@dataclass(frozen=True)
class _Given:
    """A set of images as it was given. Pictures are not read before their form is known."""

    #: generated, or real
    what: str
    sizes: Sizes
    source: Source | None = None
    data: Data | None = None

    @property
    def images(self) -> Source:
        if self.source is None:
            raise TypeError("these images are not read yet")
        return self.source

    def read(self, form: Form) -> Source:
        """The images, shrunk to this side where they are larger or differ; their channels are left as they are."""
        if self.source is not None or self.data is None:
            return self.images
        alike = self.sizes.low == self.sizes.high <= form.side
        return api.told(open_labelled(_sided(self.data, None if alike else form.side)))

    def opened(self, form: Form) -> _Truth:
        """The images in this form, with their test split."""
        if self.data is None:
            return _Truth(reformed(self.images, form))
        source, data = self.source, self.data
        if source is None or isinstance(source.images, Lazy):  # their files are decoded into any form
            data = _sided(data, form.side).model_copy(update={"channels": form.channels})
            source = None if source is None or not form.fits(self.sizes) else source
        elif self.sizes.low > form.side:
            data, source = _sided(data, form.side), None
        source = _open(data) if source is None else source
        held_out = open_held_out(data, source.spec)
        name = known_name(data.uri)
        return _Truth(reformed(source, form), None if held_out is None else reformed(held_out, form), name)


def _sided(data: Data, side: int | None) -> Data:
    return data if side is None else data.model_copy(update={"resolution": max(side, 8)})


def _open(data: Data) -> Source:
    return api.told(open_source(data) if data.attributes is not None else open_labelled(data))


def _given(what: str, pile: Pile, labels: Any, chosen: Mapping[str, Any], side: int | None = None) -> _Given:
    """side: of the images that these are compared with, for shards whose images differ."""
    if not isinstance(pile, str | Path):
        source = _as_source(pile, labels)
        return _Given(what, Sizes.of(source.spec), source)
    if not str(pile).strip():
        raise ZerosumError(f"the name of the {what} images is empty: give a path, or the name of a known set")
    kept = {key: value for key, value in chosen.items() if key not in ("resolution", "channels")}
    data = validated(Data, {"uri": str(pile)}, str(pile)).model_copy(update=kept)
    path = None if is_remote(str(pile)) else locate(str(pile))
    if path is not None and (sizes := sizes_of_pictures(path, data.links)) is not None:
        return _Given(what, sizes, None, data)
    try:
        source = _open(data)
    except ZerosumError:
        if (side := chosen.get("resolution", side)) is None:
            raise
        data = _sided(data, side)
        source = _open(data)
    return _Given(what, Sizes.of(source.spec), source, data)


def _largest(features: str | nn.Module) -> int:
    return LARGEST if features in OWN_SIZE else MOST_SIDE


def _form_of(chosen: Mapping[str, Any], made: Sizes, real: Sizes, most: int = MOST_SIDE) -> Form:
    form = Form.common(made, real, most)
    return Form(chosen.get("channels", form.channels), chosen.get("resolution", form.side))


def _own_data(data: Data | None, spec: Spec, chosen: Mapping[str, Any], form: Form) -> _Truth:
    """What a run has learnt from, at the size of its samples or as chosen."""
    if data is None or data.uri == GIVEN:
        raise ZerosumError("the data of this run is your own source: pass it again, real=source, from Python")
    data = own_side(
        data.model_copy(update={k: v for k, v in chosen.items() if k not in ("resolution", "channels")}), spec
    )
    if "resolution" in chosen and form.side < spec.native:
        data = _sided(data, form.side)
    source = _open(data)
    held_out, name = open_held_out(data, source.spec), known_name(data.uri)
    if not {"resolution", "channels"} & chosen.keys():
        return _Truth(source, held_out, name)
    return _Truth(reformed(source, form), None if held_out is None else reformed(held_out, form), name)


def _read_as_learnt(data: Data | None, chosen: Mapping[str, Any]) -> Data | None:
    """Images made from pictures are compared with those of the recipe's own data section, which fits no other form."""
    for key in chosen:
        if key not in ("bad_share", "memory"):
            raise ZerosumError(f"data.{key}: images made from pictures are scored in the form that they were learnt in")
    return None if data is None else data.model_copy(update=dict(chosen))


def _say_form(made: _Given, real: _Given, form: Form, chosen: Mapping[str, Any]) -> None:
    """One line where one of both is not in this form already."""
    if form.fits(made.sizes) and form.fits(real.sizes):
        return
    both = f"generated images have {made.sizes}" + ("" if real is made else f", real ones {real.sizes}")
    sides = {made.sizes.low, made.sizes.high, real.sizes.low, real.sizes.high}
    rule = ""
    if form.side < min(sides):
        rule = f", the largest side for these features; another: {setting('data.resolution', min(sides))}"
    elif len(sides) > 1 and "resolution" not in chosen:
        rule = f", the smallest side among them; another: {setting('data.resolution', 32)}"
    elif not _loses(made, form):
        rule = ", by which the generated images lose nothing"
    note(f"{both}: compared as {form}{rule}")


def _loses(made: _Given, form: Form) -> bool:
    """Whether generated images were more, or less, than what is scored of them."""
    same_side = made.sizes.low == made.sizes.high == form.side
    if not same_side or made.sizes.channels < form.channels:
        return True
    return made.sizes.channels > form.channels and (made.source is None or loses_colour(made.source, form.channels))


def _stamped(scores: Scores, made: _Given, form: Form) -> Scores:
    """What was done to generated images stands in the stamp; what was done to real ones is in their fingerprint."""
    if not _loses(made, form):
        return scores
    return replace(scores, stamp=scores.stamp | {"form": f"generated {made.sizes}, brought to {form}"})


def _fitted(images: Images, form: Form) -> Images:
    for pixels, labels in images:
        yield torch.from_numpy(np.ascontiguousarray(form.fit(pixels.numpy()))), labels


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
            f"images made from pictures are compared with the true ones of the run's own data: leave {option('real')}"
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
    return api.load(folder, generator, checkpoint), api.data_of(stored_recipe(folder)), None


def _statistics_file(pile: Pile | None) -> Path | None:
    """The path, where it is that of an .npz with mu and sigma."""
    if not isinstance(pile, str | Path):
        return None
    path = Path(pile)
    if path.suffix != ".npz" or not path.is_file():
        return None
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return path if {"mu", "sigma"} <= set(file.files) else None
    except (*ZIP_DAMAGE, OSError, TypeError) as error:
        raise ZerosumError(f"{path}: cannot be read: {error}") from None


def _as_source(pile: Source | np.ndarray[Any, Any] | Tensor, labels: Any) -> Source:
    if isinstance(pile, Source):
        return pile
    values = pile.detach().cpu().numpy() if isinstance(pile, Tensor) else np.asarray(pile)
    images = arrays.arrange(values, "images")
    pixels = np.ascontiguousarray(arrays.to_uint8(images, "images"))
    integers = None if labels is None else np.asarray(labels)
    if integers is not None and (integers.dtype.kind not in "iu" or integers.ndim == 0):
        raise ZerosumError(f"labels are {integers.dtype} {integers.shape}: expected integers (N,) or (N, attributes)")
    return make_source(pixels, integers)


def _yardstick(truth: _Truth, features: str | nn.Module, against: Against, inception: Path | None) -> Yardstick:
    here = choose("auto", "auto")
    return make_yardstick(
        truth.source,
        truth.held_out,
        features,
        against=against,
        name=truth.name,
        device=here.device,
        inception=inception,
        bf16=here.name == "bf16",
    )


def _against_statistics(
    path: Path,
    images: Images,
    count: int,
    made: _Given,
    form: Form,
    features: str | nn.Module,
    spec: Spec,
    inception: Path | None,
) -> Scores:
    """Of images in this form, against mu and sigma in a file."""
    spec = replace(spec, channels=form.channels, resolution=form.side, native=form.side)
    extractor = _statistics_extractor(features, spec, inception)
    return _stamped(measure_against_statistics(extractor, path, images, count), made, form)


def _statistics_extractor(features: str | nn.Module, spec: Spec, inception: Path | None) -> Extractor:
    if features in ("auto", "classifier"):
        raise ZerosumError("a statistics file belongs to the network that made it: name it with features, as inception")
    return choose_extractor(features, spec, choose("auto", "auto").device, inception)


def _matched(pile: Reals, yardstick: Yardstick, count: int) -> tuple[Images, bool]:
    """The generated images, with their labels in the integers of the real ones where they have labels that fit."""
    mine, theirs = pile.source.spec.labels, yardstick.spec.labels
    fits = mine.keys() == theirs.keys() and all(set(mine[name]) <= set(theirs[name]) for name in mine)
    if mine and not fits:
        note("the labels of the generated images are not among those of the real ones: scored without labels")
    if not mine or not fits:
        return pile.batches(count), False
    tables = [torch.tensor([theirs[name].index(value) for value in mine[name]]) for name in theirs]
    order = [list(mine).index(name) for name in theirs]

    def renamed() -> Iterator[tuple[Tensor, Tensor | None]]:
        for pixels, labels in pile.batches(count):
            columns = [table[labels[:, at]] for table, at in zip(tables, order, strict=True)]  # type: ignore[index]
            yield pixels, torch.stack(columns, 1)

    return renamed(), True


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
        better, meaning = MEANING[kind_of(name)]
        values = [shown(named[run].scores.get(name), named[run].errors.get(name)) for run in ranked]
        values += [shown(inside.get(name)) for inside in baselines.values()]
        spread = f"; ± {ERRORS.get(kind_of(name), 'error')}" if name in first.errors else ""
        best = "best near 1" if better == "near 1" else f"{better} is better"
        words = [f"{meaning}{spread} ({best})"] if single else []
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
