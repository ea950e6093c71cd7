"""Scores that are handed over as functions."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

import zerosum as zs
from tests.conftest import tiny_recipe, tiny_source
from zerosum.errors import ZerosumError
from zerosum.scoring import as_table

pytestmark = pytest.mark.usefixtures("quick_scores")


def gap(made: Tensor, real: Tensor) -> float:
    """Of mean brightness."""
    assert made.dtype == real.dtype == torch.uint8
    return abs(float(made.float().mean() - real.float().mean()))


def test_an_own_score_stands_beside_its_floor(tmp_path: Path) -> None:
    source = tiny_source(8, 1, 80)
    run = zs.train(tiny_recipe({"steps": 2}), source=source, out=tmp_path)
    scores = zs.score(run, source, n=60, features="random", own={"gap": gap})
    made = torch.cat([samples for samples, _ in run.gan.batches(60)])
    bright = run.source.floats(run.source.positions(0, 0, 80)).add(1).mul(127.5)
    first, second = bright[:40].mean(), bright[40:].mean()
    assert scores.scores["gap60"] == pytest.approx(abs(float(made.float().mean() - second)), abs=1e-3)
    assert scores.floor["gap60"] == pytest.approx(abs(float(first - second)), abs=1e-3)
    assert "gap60" in as_table({"run": scores})
    assert "your own" in as_table({"run": scores})
    plain = zs.score(run, source, n=60, features="random")
    assert {name: value for name, value in scores.scores.items() if name != "gap60"} == plain.scores


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"fid": gap}, "own score 'fid': name it"),
        ({"gap 1": gap}, "own score 'gap 1': name it"),
        ({"gap": 3}, "own score 'gap' is a int: it should be a function"),
        ({"gap": lambda made, real: made @ real}, "own score 'gap' raised RuntimeError"),
        ({"gap": lambda made, real: "much"}, "own score 'gap' raised ValueError"),
    ],
)
def test_what_is_no_score_is_refused(own: dict[str, object], said: str) -> None:
    source = tiny_source(8, 1, 80)
    with pytest.raises(ZerosumError, match=said):
        zs.score(source, source, features="random", own=own)  # type: ignore[arg-type]
