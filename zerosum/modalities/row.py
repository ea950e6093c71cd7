"""Rows of tables: numbers and categories, side by side."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from zerosum.data.columns import Codec, Column, parse_spans
from zerosum.data.rows import WRITTEN, is_table, read_rows, write_rows
from zerosum.data.rows_drawing import draw_columns
from zerosum.data.shape import Shape
from zerosum.data.source import Index, Source
from zerosum.data.spec import Spec
from zerosum.errors import NoTestSplit, ZerosumError, option, suggest
from zerosum.metrics.extractor import Extractor, from_module
from zerosum.metrics.extras import Extra
from zerosum.metrics.features import Reals
from zerosum.metrics.request import USUAL, Drawer, Looking, Request
from zerosum.metrics.result import Scores
from zerosum.metrics.rows import RowFeatures, RowTally
from zerosum.metrics.yardstick import make_yardstick, measured, score_alike
from zerosum.modalities.modality import Drawn, Modality
from zerosum.recipe import GIVEN
from zerosum.sections.data import Data
from zerosum.sections.row import RowData

FEATURES = ("auto", "columns")


class Row(Modality):
    """Encoded numbers (N, numbers), as zerosum.data.columns says; outside of tensors columns of words."""

    name = "row"
    plural = "rows"
    endings = WRITTEN
    # a picture of samples is one of distributions
    columns, lines = 250, 8

    def takes(self, path: Path) -> bool:
        return is_table(path) and path.is_file()

    def parse(self, values: dict[str, Any]) -> Spec:
        spec = Spec.parse(values)
        codec = codec_of(spec)
        if spec.sample != Shape({"column": codec.width}, "mixed") or codec.spans != spans_of(spec):
            raise ValueError(f"samples of {spec.sample} that do not fit the columns")
        return spec

    def open(self, data: Data, labelled: bool = True, split: str = "train") -> tuple[Source, list[str]]:
        """Columns are fitted to all rows, so that what is held out can be encoded too."""
        said = section(data)
        if said.uri is None:
            raise ZerosumError(
                f"this recipe names no data: give a table, .csv, .tsv or .parquet, with {option('data')}"
            )
        if said.uri == GIVEN:
            raise ZerosumError("the data of this run is your own source: pass it again, source=..., from Python")
        if said.attributes is not None:
            raise ZerosumError("data.attributes: rows have no labels; data.columns says which columns are learnt")
        path = Path(said.uri).expanduser()
        if not path.is_file():
            raise ZerosumError(f"no table '{said.uri}': check the path")
        table = read_rows(path, said.columns)
        codec = Codec.fit(table)
        rows = codec.encode(table)
        chosen = parts(len(rows), said.hold_out)[split == "test"]
        if not len(chosen):
            raise NoTestSplit(f"{path} has no test split: data.hold_out = 0")
        kinds = [column.kind for column in codec.columns]
        counted = f"{kinds.count('number')} numbers, {kinds.count('category')} categories"
        note = f"{path}: {len(rows):,} rows of {len(kinds)} columns: {counted}"
        held = len(rows) - len(parts(len(rows), said.hold_out)[0])
        note += f"; {held:,} rows kept for testing" if held else "; none kept for testing"
        return Source(rows, None, spec_of(codec), chosen), [note]

    def held_out(self, data: Data, spec: Spec) -> Source | None:
        try:
            return self.open(data, split="test")[0]
        except NoTestSplit:
            return None

    def truth(self, data: Data, source: Source) -> tuple[Source, Source | None]:
        """What is held out is stored beside the rows that are learnt, so that the table is not read again."""
        if source.rows is None or len(source.rows) == len(source.stored):
            return source, None
        return source, replace(source, rows=np.setdiff1d(np.arange(len(source.stored)), source.rows))

    def scored(self, finished: Tensor, spec: Spec) -> Tensor:
        """What is read back of the words that are written."""
        codec = codec_of(spec)
        return torch.from_numpy(codec.encode(codec.decode(finished.numpy())))

    def decode(self, finished: Tensor, spec: Spec) -> dict[str, list[str]]:
        """Column -> words, "" where a value is missing."""
        return codec_of(spec).decode(finished.numpy())

    def show(self, finished: Tensor, names: list[str], across: int, spec: Spec, real: Tensor | None) -> Image.Image:
        """The distribution of each column, generated beside real; of real rows alone, theirs."""
        made, columns = self.decode(finished, spec), codec_of(spec).columns
        return (
            draw_columns(made, None, columns) if real is None else draw_columns(self.decode(real, spec), made, columns)
        )

    def write(self, drawn: Drawn, count: int, spec: Spec, path: Path) -> None:
        self.check_path(path)
        rows = torch.cat([samples for samples, _ in drawn])
        write_rows(self.decode(rows, spec), path)

    def extractor(self, training: Reals, testing: Reals, data: Data | None, looking: Looking) -> Extractor:
        """auto: the encoded columns themselves, evenly weighted."""
        features, where = looking.features, looking.device
        if isinstance(features, nn.Module):
            return from_module(features, where)
        if features not in FEATURES:
            raise ZerosumError(f"features = {features}: unknown for rows: {suggest(features, FEATURES)}")
        looker = RowFeatures(codec_of(training.source.spec).columns).to(where)
        return Extractor("columns", looker, where, reads="the columns' places and categories", batch=4096)

    def score_drawn(
        self, drawer: Drawer, data: Data | None, source: Source | None, real: Any, asked: Request
    ) -> Scores:
        return score_alike(self, drawer, data, source, real, asked)

    def extras(self, spec: Spec) -> list[Extra]:
        return [RowTally(codec_of(spec))]

    def stamp(self, spec: Spec) -> dict[str, Any]:
        return {"columns": len(codec_of(spec).columns), "numbers": spec.sample.count}

    def open_alike(self, real: Any, data: Data | None, spec: Spec) -> Source:
        codec = codec_of(spec)
        table = read_rows(Path(real), [column.name for column in codec.columns])
        return Source(codec.encode(table), None, spec)

    def score_piles(self, fake: Any, real: Any, asked: Request) -> Scores:
        """Two tables, columns as those of the real one."""
        if real is None:
            raise ZerosumError(f"these rows need real ones to be compared with: give their table, {option('real')}")
        truth = real if isinstance(real, Source) else self.open(RowData(uri=str(real), hold_out=0.0))[0]
        made = fake if isinstance(fake, Source) else self.open_alike(fake, None, truth.spec)
        own = Reals.of(made, "generated")
        yardstick = make_yardstick(truth, None, asked, against=asked.against)
        count = min(asked.n or USUAL, len(own))
        return measured(yardstick, own.batches(count), count, False, asked)


MODALITY = Row()


def section(data: Data) -> RowData:
    """The data section of a recipe for rows."""
    if not isinstance(data, RowData):
        raise TypeError(f"a section of {data.modality}, where rows are to be read")
    return data


def spec_of(codec: Codec) -> Spec:
    """What rows of this codec are."""
    columns = [column.plain() for column in codec.columns]
    facts = {"columns": columns, "spans": codec.spans, "size": f"{len(columns)} columns"}
    return Spec("row", Shape({"column": codec.width}, "mixed"), facts=json.loads(json.dumps(facts)))


def codec_of(spec: Spec) -> Codec:
    """KeyError, TypeError, ValueError or AttributeError for facts that describe no columns."""
    columns: Sequence[Mapping[str, Any]] = spec.facts["columns"]
    if not columns:
        raise ValueError("rows without a column")
    return Codec(tuple(map(Column.parse, columns)))


def spans_of(spec: Spec) -> list[Any]:
    return list(parse_spans(spec.facts["spans"], spec.sample.count))


def parts(count: int, hold_out: float) -> tuple[Index, Index]:
    """Which rows are learnt and which are held out, chosen at random but always the same."""
    shuffled = np.random.default_rng(count).permutation(count)
    held = max(1, round(count * hold_out)) if hold_out > 0 else 0
    return np.sort(shuffled[held:]), np.sort(shuffled[:held])
