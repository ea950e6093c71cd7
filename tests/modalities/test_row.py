"""Rows of a table, from the command line to the files that come out."""

import copy
import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import zerosum as zs
from tests.conftest import Call, same
from zerosum import api
from zerosum.data.rows import read_rows
from zerosum.engine.runs.checkpoint import load_checkpoint
from zerosum.engine.runs.reading import newest, stored_recipe
from zerosum.engine.training.state import tensors_of
from zerosum.modalities import modality
from zerosum.sections.row import RowData

pytestmark = pytest.mark.usefixtures("undrawn")

SMALL = {
    "batch": 50,
    "generator.width": 16,
    "critic.width": 16,
    "tick": 1,
    "checkpoint": 3,
    "snapshot": 1000,
    "device": "cpu",
    "precision": "fp32",
    "scores.images": 100,
}
CITIES, JOBS = ("Rome", "Oslo", "Bonn"), ("cook", "pilot", "")


def options(**more: Any) -> list[str]:
    values = SMALL | {key.replace("_", "."): value for key, value in more.items()}
    return [word for key, value in values.items() for word in ("--set", f"{key}={value}")]


def make_table(path: Path) -> Path:
    """Numbers with and without digits after the point, categories, and cells without a value."""
    draw = np.random.default_rng(0)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["age", "height", "city", "job"])
        for _ in range(400):
            age = int(draw.integers(18, 90))
            job = JOBS[2] if draw.random() < 0.2 else JOBS[age > 50]
            city = CITIES[min(2, int(draw.exponential(0.8)))]
            rows.writerow([age if draw.random() > 0.1 else "", f"{draw.normal(170, 10):.1f}", city, job])
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_table(tmp_path_factory.mktemp("table") / "people.csv")


@pytest.fixture(scope="module")
def trained(table: Path, undrawn: None) -> zs.Run:
    return zs.train("table", data=table, out=table.parent / "runs", overrides=SMALL | {"steps": 6, "scores.every": 3})


def test_from_the_command_line_to_a_page(table: Path, tmp_path: Path, call: Call) -> None:
    code, out, err = call("train", "table", "--data", str(table), "--out", str(tmp_path), *options(steps=6))
    assert code == 0, err
    run = Path(out.strip())
    assert "320 rows" not in out
    assert "400 rows of 4 columns: 2 numbers, 2 categories; 80 rows kept for testing" in err
    for name in ("samples/000000.png", "samples/000006.png", "reals.png"):
        with Image.open(run / name) as picture:
            assert min(picture.size) > 50
    assert yaml.safe_load((run / "recipe.yaml").read_text())["latent"]["size"] == 64 + 2 + 3 + 3
    code, out, err = call("score", str(run), "--json")
    assert code == 0, err
    scores = json.loads(out)
    name = "fid320@columns"
    assert scores["scores"][name] > 2 * scores["floor"][name] > 0
    assert {"marginals320@columns", "correlations320@columns", "memorised320@columns"} <= scores["scores"].keys()
    code, out, err = call("report", str(run))
    assert code == 0, err
    assert (run / "report.html").stat().st_size > 1000
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "How the values of each column are distributed" in page
    assert "ways.png" not in page  # a single row makes no picture, and so does no way between two


def test_samples_have_columns_types_and_words_of_the_data(trained: zs.Run, tmp_path: Path, call: Call) -> None:
    for ending in (".csv", ".parquet"):
        out = tmp_path / f"rows{ending}"
        assert call("sample", str(trained.place), "--n", "50", "--out", str(out))[0] == 0
        made = read_rows(out)
        drawn = trained.gan.decode(trained.sample(50))
        if ending == ".parquet":  # which keeps numbers as such
            for table in (made, drawn):
                table["height"] = [str(float(word)) for word in table["height"]]
        assert made == drawn
    assert list(made) == ["age", "height", "city", "job"]
    ages = [int(word) for word in made["age"] if word]
    assert all(18 <= age < 90 for age in ages)
    assert 20 < len(ages) <= 50
    assert all(len(word.partition(".")[2]) <= 1 for word in made["height"])
    assert set(made["city"]) <= set(CITIES)
    assert set(made["job"]) <= set(JOBS)
    code, out_, err = call("sample", str(trained.place), "--n", "5", "--out", str(tmp_path / "rows.xlsx"))
    assert (code, out_, err.count("\n")) == (2, "", 1)
    assert "rows are written as .csv, .parquet" in err
    assert not (tmp_path / "rows.xlsx").exists()


def test_scores_of_two_tables(table: Path, trained: zs.Run, tmp_path: Path, call: Call) -> None:
    made = tmp_path / "rows.csv"
    assert call("sample", str(trained.place), "--n", "200", "--out", str(made))[0] == 0
    values = []
    for fake in (made, table):
        code, out, err = call("score", "--fake", str(fake), "--real", str(table), "--json")
        assert code == 0, err
        values.append(json.loads(out)["scores"])
    assert values[0]["fid200@columns"] > 10 * values[1]["fid400@columns"] >= 0
    code, _, err = call("score", "--fake", str(made))
    assert (code, err.count("\n")) == (2, 1)


def test_files_and_generators_have_the_same_scores(trained: zs.Run, tmp_path: Path) -> None:
    """What is read back of the words that are written is what scores see."""
    modality, spec = trained.gan.modality, trained.source.spec
    rows = trained.sample(50)
    modality.write([(rows, None)], 50, spec, tmp_path / "rows.csv")
    again = modality.open_alike(tmp_path / "rows.csv", None, spec)
    seen = modality.scored(rows, spec)
    assert torch.equal(again.floats(np.arange(50)), seen)
    assert torch.equal(modality.scored(seen, spec), seen)


def test_going_on_is_exact(table: Path, trained: zs.Run, tmp_path: Path) -> None:
    half = zs.train("table", data=table, out=tmp_path, overrides=SMALL | {"steps": 3, "scores.every": 3})
    zs.resume(half.place, steps=6)
    states = []
    for folder in (trained.place, half.place):
        run = api.prepare(stored_recipe(folder))
        load_checkpoint(run.state, newest(folder / "checkpoints"))
        assert run.state.step == 6
        states.append(final(run))
    assert same(*states)


def final(run: zs.Run) -> dict[str, torch.Tensor]:
    return tensors_of(run.state)


def test_the_plan_trains_nothing(table: Path, tmp_path: Path, call: Call) -> None:
    code, out, _ = call("train", "table", "--data", str(table), "--out", str(tmp_path), "--dry-run", *options(steps=6))
    assert code == 0
    assert "4 columns" in out
    assert "rows, " in out
    assert not list(tmp_path.iterdir())


REFUSED: dict[str, tuple[list[str], str]] = {
    "small latent": (["--set", "latent.size=9"], "latent.size = 9 is too small: 8 entries draw the categories"),
    "uniform": (["--set", "latent.distribution=uniform"], "normal"),
    "attributes": (["--set", "data.attributes={city: null}"], "rows have no labels"),
    "unknown column": (["--set", "data.columns=[agee]"], "did you mean 'age'"),
    "key of pictures": (["--set", "data.resolution=32"], "unknown key 'data.resolution'"),
    "network of pictures": (["--set", "generator={network: dcgan}"], "choose from rows"),
    "labels": (["--set", "condition.method=embed"], "no labels"),
    "given": (["--set", "condition.method=given"], "nothing is given in this data"),
    "missing file": (["--data", "nowhere.csv"], "no table 'nowhere.csv'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_said_in_one_line(name: str, table: Path, tmp_path: Path, call: Call) -> None:
    more, said = REFUSED[name]
    where = [] if "--data" in more else ["--data", str(table)]
    code, out, err = call("train", "table", *where, "--out", str(tmp_path), *options(steps=6), *more)
    lines = [line for line in err.splitlines() if "rows kept for testing" not in line]
    assert (code, out, len(lines)) == (2, "", 1), err
    assert said in err
    assert not list(tmp_path.iterdir())


def test_no_data_is_said_in_one_line(tmp_path: Path, call: Call) -> None:
    code, out, err = call("train", "table", "--out", str(tmp_path))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "names no data: give a table, .csv, .tsv or .parquet, with --data" in err


def change(keys: list[Any], value: Any) -> Callable[[dict[str, Any]], None]:
    def apply(said: dict[str, Any]) -> None:
        inner: Any = said
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value

    return apply


DAMAGE = [
    change(["facts", "columns"], []),
    change(["facts", "columns"], None),
    change(["facts", "columns", 0], "age"),
    change(["facts", "columns", 0, "knots"], [2.0, 1.0]),
    change(["facts", "columns", 0, "missing"], False),
    change(["facts", "columns", 2, "kind"], "number"),
    change(["facts", "columns", 2, "values"], ["Rome", "Rome"]),
    change(["facts", "spans"], [["signed", 0, 10]]),
    change(["facts", "spans"], 7),
    change(["facts", "spans", 0, 2], 2),
    change(["facts"], {}),
    change(["facts"], []),
    change(["sample"], {}),
    change(["sample", "axes", "column"], 11),
    change(["sample", "axes"], {"row": 10}),
    change(["sample", "values"], "signed"),
    change(["modality"], "roww"),
    change(["modality"], "array"),
]


@pytest.mark.parametrize("place", range(len(DAMAGE)))
def test_a_damaged_description_is_said_in_one_line(place: int, trained: zs.Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained.place, folder)
    said = json.loads((folder / "data.json").read_text())
    DAMAGE[place](said)
    (folder / "data.json").write_text(json.dumps(said))
    with pytest.raises(zs.ZerosumError, match=r"data\.json") as refused:
        zs.load(folder)
    assert "\n" not in str(refused.value)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(leaf for key, one in inner for leaf in leaves(one, (*path, key)))]


VALUES: list[Any] = [None, -1, 2**70, "x", [], {}, True, [1], 1e400]


def test_any_damage_loads_or_is_said(trained: zs.Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained.place, folder)
    whole = json.loads((folder / "data.json").read_text())
    places, draw, refused = [one for one in leaves(whole) if one], np.random.default_rng(0), 0
    short = [one for one in places if len(one) < 5]
    for _ in range(60):
        said = copy.deepcopy(whole)
        keys = list(short[draw.integers(len(short))])
        change(keys, VALUES[draw.integers(len(VALUES))])(said)
        (folder / "data.json").write_text(json.dumps(said))
        try:
            zs.load(folder).sample(2)
        except zs.ZerosumError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 15


def test_a_loaded_generator(trained: zs.Run) -> None:
    gan = zs.load(trained.place)
    rows = gan.sample(3)
    assert rows.shape == (3, 10)
    assert torch.equal(rows, trained.sample(3))
    words = gan.decode(rows)
    assert {name: len(column) for name, column in words.items()} == dict.fromkeys(("age", "height", "city", "job"), 3)


def test_training_comes_nearer_to_the_data(table: Path, tmp_path: Path) -> None:
    wanted = SMALL | {"scores.every": 0, "average.half_life": 0, "optimizer.lr": 0.003, "checkpoint": 1000}
    values = []
    for steps in (1, 150):
        run = zs.train("table", data=table, out=tmp_path, overrides=wanted | {"steps": steps})
        scores = zs.score(run, n=320)
        values.append((scores.scores["fid320@columns"], scores.scores["marginals320@columns"]))
    assert values[1][0] < values[0][0] / 2
    assert values[1][1] < values[0][1]


def test_what_is_held_out_is_drawn_from_all_rows(tmp_path: Path) -> None:
    """And is always the same, beside what is learnt."""
    path = tmp_path / "sorted.csv"
    path.write_text("x\n" + "\n".join(f"{i}.5" for i in range(200)))
    row, data = modality("row"), RowData(uri=str(path), hold_out=0.25)
    learnt, held = (row.open(data, split=split)[0] for split in ("train", "test"))
    assert (len(learnt), len(held)) == (150, 50)
    values = [
        sorted(float(word) for word in row.decode(one.floats(np.arange(len(one))), one.spec)["x"])
        for one in (learnt, held)
    ]
    assert sorted(values[0] + values[1]) == [i + 0.5 for i in range(200)]
    assert 70 < np.mean(values[1]) < 130
    again = row.held_out(data, learnt.spec)
    assert again is not None
    assert again.fingerprint == held.fingerprint
    assert row.held_out(RowData(uri=str(path), hold_out=0.0), learnt.spec) is None
