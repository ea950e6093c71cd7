"""Scores of pictures in any form: of a run, or of folders, zips and arrays that any program made.

Images of unlike sides or channels are brought to one form: the smallest side and the fewest channels among them, or
what is asked for. A line says so, and the stamp does where generated images lost something.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zerosum.data.pictures import arrays
from zerosum.data.pictures.files import ZIP_DAMAGE
from zerosum.data.pictures.forms import Form, Sizes, loses_colour, reformed, sizes_of_pictures
from zerosum.data.pictures.open import locate, open_held_out, open_labelled, open_source, own_side
from zerosum.data.pictures.parquet import is_remote
from zerosum.data.pictures.source import PictureSource, make_source
from zerosum.data.pictures.spec import MOST_SIDE, PictureSpec, pictured
from zerosum.data.source import Lazy
from zerosum.errors import ZerosumError, option, setting
from zerosum.loading import validated
from zerosum.metrics.evaluate import Yardstick
from zerosum.metrics.extractor import Extractor
from zerosum.metrics.features import Reals
from zerosum.metrics.pictures.extractors import choose_extractor
from zerosum.metrics.request import USUAL, Drawer, Request
from zerosum.metrics.result import Images, Scores
from zerosum.metrics.yardstick import make_yardstick, measure_against_statistics, measured
from zerosum.progress import note, told
from zerosum.recipe import GIVEN
from zerosum.sections.picture import PictureData

#: side up to which the features that look at images in their own size are made; others bring them to a size of theirs
LARGEST = 256
OWN_SIZE = ("auto", "classifier", "random", "texture")

Pile = PictureSource | str | Path | np.ndarray[Any, Any] | Tensor


def score_drawn(
    drawer: Drawer, data: PictureData | None, source: PictureSource | None, real: Any, asked: Request
) -> Scores:
    """Of a trained generator. data, source: what it learnt from. real: what it is compared with instead."""
    spec, chosen = pictured(drawer.spec), asked.overrides
    made = _Given("generated", Sizes.of(spec))
    if (known := _statistics_file(real)) is not None:
        form = _form_of(chosen, made.sizes, made.sizes)
        count = asked.n or USUAL
        return _against_statistics(known, _fitted(drawer.batches(count), form), count, made, form, spec, asked)
    pile = source if real is None else real
    if pile is None:
        form = _form_of(chosen, made.sizes, made.sizes)
        truth = _own_data(data, spec, chosen, form)
    else:
        reals = _given("real", pile, asked.real_labels, chosen, made.sizes.low)
        form = _form_of(chosen, made.sizes, reals.sizes)
        truth = reals.opened(form)
        _say_form(made, reals, form, chosen)
    yardstick = _yardstick(truth, asked)
    count = asked.n or min(USUAL, len(yardstick.training))
    labelled = drawer.conditional and spec.labels == yardstick.spec.labels
    scores = measured(yardstick, _fitted(drawer.batches(count), form), count, labelled, asked)
    return _stamped(scores, made, form)


def score_piles(fake: Pile, real: Pile | None, asked: Request) -> Scores:
    """Of images that any program made."""
    chosen, n = asked.overrides, asked.n
    if real is None:
        how = "--real URI" if option("real").startswith("--") else "score(fake, real)"
        raise ZerosumError(f"these images need real ones to be compared with: {how}")
    made = _given("generated", fake, asked.fake_labels, chosen)
    known = _statistics_file(real)
    reals = made if known is not None else _given("real", real, asked.real_labels, chosen, made.sizes.low)
    form = _form_of(chosen, made.sizes, reals.sizes, _largest(asked.features))
    made = replace(made, source=made.read(form))
    own = Reals.of(made.images, "generated")
    count = min(n or USUAL, len(own))
    if n is not None and n > count:
        raise ZerosumError(f"{n} images were to be scored, but there are only {count}")
    _say_form(made, reals, form, chosen)
    if known is not None:
        images = _fitted(own.batches(count), form)
        return _against_statistics(known, images, count, made, form, made.images.spec, asked)
    yardstick = _yardstick(reals.opened(form), asked)
    images, labelled = _matched(own, yardstick, count)
    return _stamped(measured(yardstick, _fitted(images, form), count, labelled, asked), made, form)


@dataclass(frozen=True)
class _Truth:
    """Real images: those of training, those of the test split, and the section that they were read by."""

    source: PictureSource
    held_out: PictureSource | None = None
    data: PictureData | None = None


@dataclass(frozen=True)
class _Given:
    """A set of images as it was given. Pictures are not read before their form is known."""

    #: generated, or real
    what: str
    sizes: Sizes
    source: PictureSource | None = None
    data: PictureData | None = None

    @property
    def images(self) -> PictureSource:
        if self.source is None:
            raise TypeError("these images are not read yet")
        return self.source

    def read(self, form: Form) -> PictureSource:
        """The images, shrunk to this side where they are larger or differ; their channels are left as they are."""
        if self.source is not None or self.data is None:
            return self.images
        alike = self.sizes.low == self.sizes.high <= form.side
        return told(open_labelled(_sided(self.data, None if alike else form.side)))

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
        return _Truth(reformed(source, form), None if held_out is None else reformed(held_out, form), data)


def _sided(data: PictureData, side: int | None) -> PictureData:
    return data if side is None else data.model_copy(update={"resolution": max(side, 8)})


def _open(data: PictureData) -> PictureSource:
    return told(open_source(data) if data.attributes is not None else open_labelled(data))


def _given(what: str, pile: Pile, labels: Any, chosen: Mapping[str, Any], side: int | None = None) -> _Given:
    """side: of the images that these are compared with, for shards whose images differ."""
    if not isinstance(pile, str | Path):
        source = _as_source(pile, labels)
        return _Given(what, Sizes.of(source.spec), source)
    if not str(pile).strip():
        raise ZerosumError(f"the name of the {what} images is empty: give a path, or the name of a known set")
    kept = {key: value for key, value in chosen.items() if key not in ("resolution", "channels")}
    data = validated(PictureData, {"uri": str(pile)}, str(pile)).model_copy(update=kept)
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


def _own_data(data: PictureData | None, spec: PictureSpec, chosen: Mapping[str, Any], form: Form) -> _Truth:
    """What a run has learnt from, at the size of its samples or as chosen."""
    if data is None or data.uri == GIVEN:
        raise ZerosumError("the data of this run is your own source: pass it again, real=source, from Python")
    data = own_side(
        data.model_copy(update={k: v for k, v in chosen.items() if k not in ("resolution", "channels")}), spec
    )
    if "resolution" in chosen and form.side < spec.native:
        data = _sided(data, form.side)
    source = _open(data)
    held_out = open_held_out(data, source.spec)
    if not {"resolution", "channels"} & chosen.keys():
        return _Truth(source, held_out, data)
    return _Truth(reformed(source, form), None if held_out is None else reformed(held_out, form), data)


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


def _as_source(pile: PictureSource | np.ndarray[Any, Any] | Tensor, labels: Any) -> PictureSource:
    if isinstance(pile, PictureSource):
        return pile
    values = pile.detach().cpu().numpy() if isinstance(pile, Tensor) else np.asarray(pile)
    images = arrays.arrange(values, "images")
    pixels = np.ascontiguousarray(arrays.to_uint8(images, "images"))
    integers = None if labels is None else np.asarray(labels)
    if integers is not None and (integers.dtype.kind not in "iu" or integers.ndim == 0):
        raise ZerosumError(f"labels are {integers.dtype} {integers.shape}: expected integers (N,) or (N, attributes)")
    return make_source(pixels, integers)


def _yardstick(truth: _Truth, asked: Request) -> Yardstick:
    return make_yardstick(truth.source, truth.held_out, asked, against=asked.against, data=truth.data)


def _against_statistics(
    path: Path, images: Images, count: int, made: _Given, form: Form, spec: PictureSpec, asked: Request
) -> Scores:
    """Of images in this form, against mu and sigma in a file."""
    extractor = _statistics_extractor(form.spec(spec), asked)
    return _stamped(measure_against_statistics(extractor, path, images, count), made, form)


def _statistics_extractor(spec: PictureSpec, asked: Request) -> Extractor:
    if asked.features in ("auto", "classifier"):
        raise ZerosumError("a statistics file belongs to the network that made it: name it with features, as inception")
    return choose_extractor(asked.features, spec, asked.device, asked.inception)


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
