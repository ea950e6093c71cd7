"""What is read back from run folders."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from zerosum.studying.results import Done, find_run, last_line, run_name

STAMP = {"seed": 0}


def line(step: int, name: str, value: float | None) -> dict[str, Any]:
    return {"step": step, "name": name, "value": value, "floor": 1.0, "stamp": STAMP}


def folder_of(place: Path, status: str | None, scores: list[dict[str, Any]]) -> Path:
    ticks = [{"step": step, "seconds": step / 10, "critic/loss": float(step), "x": 1} for step in (10, 20, 30, 40)]
    evidence = [{"step": step, "fid": 100.0 / step, "gradient": step / 2, "signal": None} for step in (20, 40)]
    for name, lines in (("stats", ticks), ("scores", scores), ("evidence", evidence)):
        (place / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    if status:
        summary = {"status": status, "seconds": 4.0, "steps": 40, "images_per_second": 80.0}
        (place / "summary.json").write_text(json.dumps(summary))
    return place


EARLY = [line(20, "fid50@random", 5.0), line(20, "kid50@random", 0.5)]
LATE = [line(40, "fid50@random", 3.0), line(40, "diversity50@random", None)]
END = [line(40, "fid50@random", 2.0), line(40, "kid50@random", 0.1)]


def test_numbers_of_a_run(tmp_path: Path) -> None:
    done = Done("a", 0, folder_of(tmp_path, "finished", EARLY + LATE + END))
    assert (done.status, done.ended, done.steps) == ("finished", True, 40)
    assert done.score("fid", None, 1.0) == 2.0  # the latest of the last step
    assert done.score("fid", 20, 1.0) == 5.0
    assert done.score("fid", None, 0.5) == 5.0
    assert done.score("fid", None, 0.9) == 2.0
    for kind, step in (("diversity", None), ("fid", 30), ("recall", None)):
        assert math.isnan(done.score(kind, step, 1.0))
    assert (done.total("seconds"), done.total("images_per_second"), done.total("diverged")) == (4.0, 80.0, 0.0)
    assert done.curve(["critic/loss"], 0.0, 0.5, False) == [(10.0,), (20.0,)]
    assert done.curve(["critic/loss"], 0.75, 1.0, False) == [(40.0,)]
    assert done.curve(["critic/loss"], 10, 30, True) == [(20.0,), (30.0,)]
    assert done.curve(["gradient", "fid"], 0.0, 1.0, False) == [(10.0, 5.0), (20.0, 2.5)]
    assert done.curve(["signal"], 0.0, 1.0, False) == []
    assert done.curve(["critic/none"], 0.0, 1.0, False) == []


@pytest.mark.parametrize(
    ("status", "scores", "expected"),
    [
        ("finished", END, "finished"),
        ("finished", LATE, "running"),  # trained to the end, but not scored yet
        ("time limit", END, "time limit"),
        ("stopped", END, "stopped"),
        ("interrupted", END, "running"),
        ("diverged", [], "diverged"),
        ("pruned", EARLY, "pruned"),
        (None, [], "running"),
    ],
)
def test_how_a_run_ended(status: str | None, scores: list[dict[str, Any]], expected: str, tmp_path: Path) -> None:
    done = Done("a", 0, folder_of(tmp_path, status, scores))
    assert done.status == expected
    assert done.ended == (expected != "running")


def test_a_run_that_diverged_has_no_score_at_its_end(tmp_path: Path) -> None:
    done = Done("a", 0, folder_of(tmp_path, "diverged", EARLY + END))
    assert math.isnan(done.score("fid", None, 1.0))
    assert done.score("fid", 20, 1.0) == 5.0
    assert done.total("diverged") == 1.0


def test_a_run_that_waits() -> None:
    done = Done("a", 0, None)
    assert (done.status, done.steps, done.end_scores) == ("waiting", 0, [])
    assert math.isnan(done.total("seconds")) and math.isnan(done.total("diverged"))


def test_runs_are_found_by_their_whole_name(tmp_path: Path) -> None:
    for name in ("00000-lr-1-seed0", "00001-1-seed0", "00002-1-seed01", "x-2-seed0"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    assert find_run(tmp_path, run_name("1", 0)) == tmp_path / "runs" / "00001-1-seed0"
    assert find_run(tmp_path, run_name("lr-1", 0)) == tmp_path / "runs" / "00000-lr-1-seed0"
    assert find_run(tmp_path, run_name("2", 0)) is None


def test_the_last_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "stats.jsonl"
    assert last_line(path) is None
    path.write_text("")
    assert last_line(path) is None
    path.write_text('{"step": 1}\n' + '{"step": 2}\n' * 999 + '{"step": 3}\n{"ste')
    assert last_line(path) == {"step": 3}
