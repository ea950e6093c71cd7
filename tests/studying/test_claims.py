"""Claims are read strictly and judged by the t interval over seeds."""

import ast
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import correlation

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from zerosum.errors import ZerosumError
from zerosum.studying.claims import (
    CONTRADICTED,
    FUNCTIONS,
    SUPPORTED,
    UNDECIDED,
    Call,
    Judgement,
    calls,
    judge,
    parse,
    rank_correlation,
    value,
)


@dataclass
class Fake:
    """A run with made-up numbers."""

    scores: dict[str, float] = field(default_factory=dict)
    totals: dict[str, float] = field(default_factory=dict)
    lines: list[tuple[float, ...]] = field(default_factory=list)
    asked: list[object] = field(default_factory=list)

    def score(self, kind: str, step: int | None, at: float) -> float:
        self.asked.append((kind, step, at))
        return self.scores.get(kind, math.nan)

    def total(self, name: str) -> float:
        return self.totals.get(name, math.nan)

    def curve(self, columns: Sequence[str], start: float, stop: float, in_steps: bool) -> list[tuple[float, ...]]:
        self.asked.append((tuple(columns), start, stop, in_steps))
        return self.lines


def judged(expect: str, a: list[float], b: list[float]) -> Judgement:
    """With these values of fid of settings a and b, one for each seed."""
    pairs = enumerate(zip(a, b, strict=True))
    return judge(expect, {seed: {"a": Fake({"fid": one}), "b": Fake({"fid": other})} for seed, (one, other) in pairs})


# --- reading


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read"),
        ("fid(a) >", "cannot be read"),
        ("fid(a)", "is no comparison"),
        ("True", "is no comparison"),
        ("not fid(a) > 1", "is no comparison"),
        ("fid(a) == fid(b)", "compare with <"),
        ("fid(a) in fid(b)", "compare with <"),
        ("fidd(a) > 1", "unknown function 'fidd': did you mean 'fid'?"),
        ("fid() > 1", "write fid(setting)"),
        ("fid(a, b) > 1", "write fid(setting)"),
        ("fid(1) > 1", "'1' should be the name"),
        ("fid(a.b) > 1", "'a.b' should be the name"),
        ("fid(*a) > 1", "should be the name"),
        ("fid(a, at=0) > 1", "shares of the training"),
        ("fid(a, at=1.5) > 1", "shares of the training"),
        ("fid(a, step=2.5) > 1", "whole numbers"),
        ("fid(a, step=True) > 1", "should be a number"),
        ("fid(a, step=1, at=0.5) > 1", "one of step=, at= at most"),
        ("fid(a, last=0.5) > 1", "one of step=, at= at most"),
        ("fid(a, **b) > 1", "should be a number"),
        ("seconds(a, at=0.5) > 1", "takes the setting only"),
        ("mean(a) > 1", 'write mean("critic/loss", setting)'),
        ("mean('critic/loss', a, between=[0.5, 0.1]) > 1", "shares of the training"),
        ("mean('critic/loss', a, between=0.5) > 1", "shares of the training"),
        ("mean('critic/loss', a, steps=[0.5, 2]) > 1", "whole numbers"),
        ("correlation('fid', a) > 1", "write correlation("),
        ("fid(a) ** 2 > 1", "is not allowed"),
        ("fid(a) > 'x'", "is not allowed"),
        ("fid(a) > True", "is not allowed"),
        ("fid(a) > 2j", "is not allowed"),
        ("fid(a) > b", "is not allowed"),
        ("a.fid > 1", "is not allowed"),
        ("__import__('os').system('true') > 1", "unknown function"),
        ("(lambda: 1)() > 1", "unknown function"),
        ("[fid(a)][0] > 1", "is not allowed"),
        ("(x := fid(a)) > 1", "is not allowed"),
        ("fid(a) > 1; fid(b) > 1", "cannot be read"),
        ("fid(a) > " + "1" * 600, "longer than 500"),
        ("fid(a) > " + "9" * 400, "cannot be read"),
        ("(" * 300 + "1" + ")" * 180 + "> 1", "cannot be read"),
    ],
)
def test_what_is_not_a_claim_is_refused(text: str, message: str) -> None:
    with pytest.raises(ZerosumError) as caught:
        parse(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value).replace(text, "")


def test_every_number_is_found() -> None:
    text = """fid(a) + 2 * accuracy("lr-0.1", at=0.5) > mean("critic/loss", c, last=0.25) - seconds(d)
        and -correlation("critic_loss", "fid", e, steps=[10, 20]) <= fid(f, step=200)
        or spread("gradient", g, first=1) > 0"""
    assert set(calls(parse(text))) == {
        Call("fid", "a"),
        Call("accuracy", "lr-0.1", at=0.5),
        Call("mean", "c", ("critic/loss",), start=0.75),
        Call("seconds", "d"),
        Call("correlation", "e", ("critic_loss", "fid"), start=10, stop=20, in_steps=True),
        Call("fid", "f", step=200),
        Call("spread", "g", ("gradient",)),
    }


words = st.sampled_from([*FUNCTIONS[:3], "mean", "seconds", "a", "__class__", "eval", "exec", "'critic/loss'", "b.c"])
signs = st.sampled_from(
    [*"()[]{}<>+-*/,.=:;'\"@!% \n\\0159", " and ", " or ", " not ", "**", ">=", "lambda ", "at=", "\x00"]
)


@given(st.lists(st.one_of(words, signs, st.text(max_size=3)), max_size=40).map("".join))
@example("fid(a)\x00 > 1")
@example("'\\z' > 1")
@example("1and 2 > 0")
@example("-" * 480 + "1 > 0")
def test_any_text_is_read_or_refused_and_never_run(text: str) -> None:
    """What is read holds nothing but comparisons of arithmetic of known functions."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            root = parse(text)
        except ZerosumError:
            return
    names = {node.func.id for node in ast.walk(root) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert names <= set(FUNCTIONS)
    forbidden = (ast.Attribute, ast.Subscript, ast.Lambda, ast.NamedExpr, ast.Await, ast.JoinedStr, ast.Starred)
    assert not any(isinstance(node, forbidden) for node in ast.walk(root))
    assert judge(text, {}).verdict == UNDECIDED


# --- numbers


def test_arithmetic() -> None:
    run = Fake({"fid": 8.0}, {"seconds": 4.0})
    node = parse("-fid(a) / 2 + 3 * (seconds(a) - 1) > 0")
    assert isinstance(node, ast.Compare)
    assert value(node.left, {"a": run}) == 5.0
    assert math.isnan(value(node.left, {"b": run}))
    zero = parse("1 / (seconds(a) - 4) > 0")
    assert isinstance(zero, ast.Compare)
    assert math.isnan(value(zero.left, {"a": run}))


def test_parts_of_training_are_asked_for() -> None:
    run = Fake(lines=[(1.0, 4.0), (2.0, 3.0), (6.0, 1.0)])
    assert Call("mean", "a", ("x",), stop=0.5).of(run) == 3.0
    assert Call("spread", "a", ("x",), start=0.75).of(run) == pytest.approx(math.sqrt(7), rel=1e-12)
    assert Call("correlation", "a", ("x", "y")).of(run) == pytest.approx(-1.0, rel=1e-12)
    assert run.asked == [(("x",), 0.0, 0.5, False), (("x",), 0.75, 1.0, False), (("x", "y"), 0.0, 1.0, False)]
    assert Call("fid", "a", at=0.5).of(Fake({"fid": 2.0})) == 2.0
    for function in ("mean", "spread", "correlation"):
        assert math.isnan(Call(function, "a", ("x", "y")).of(Fake()))


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=3, max_size=20))
def test_rank_correlation_is_spearmans(pairs: list[tuple[int, int]]) -> None:
    one, other = [list(map(float, side)) for side in zip(*pairs, strict=True)]
    found = rank_correlation(one, other)
    if len(set(one)) == 1 or len(set(other)) == 1:
        assert math.isnan(found)
    else:
        ranks = [[sum(b < a for b in side) + side.count(a) / 2 for a in side] for side in (one, other)]
        assert found == pytest.approx(correlation(*ranks), abs=1e-9)


# --- judging


def test_the_interval_is_the_paired_t_interval_of_log_ratios() -> None:
    a, b = [12.0, 15.0, 11.0, 14.0], [6.0, 9.0, 5.0, 8.0]
    found = judged("fid(a) > fid(b)", a, b)
    logs = [math.log(x / y) for x, y in zip(a, b, strict=True)]
    expected = stats.ttest_1samp(logs, 0).confidence_interval(0.95)
    assert (found.verdict, found.direction, found.scale) == (SUPPORTED, "as expected", "ratio")
    assert found.difference == pytest.approx(sum(logs) / 4, rel=1e-12)
    assert found.interval == pytest.approx(tuple(expected), rel=1e-9)
    assert found.effect == pytest.approx(sum(logs) / 4 / stats.tstd(logs), rel=1e-9)
    assert found.values["2"] == {"fid(a)": 11.0, "fid(b)": 5.0}
    assert "4 seeds" in found.why


def test_differences_where_a_value_is_not_positive() -> None:
    found = judged("fid(a) > fid(b)", [1.0, 2.0, 3.0], [-1.0, 0.5, 0.0])
    assert found.scale == "difference"
    assert found.difference == pytest.approx(6.5 / 3, rel=1e-12)
    assert found.interval == pytest.approx(tuple(stats.ttest_1samp([2.0, 1.5, 3.0], 0).confidence_interval(0.95)))


@pytest.mark.parametrize(
    ("expect", "a", "b", "verdict", "direction"),
    [
        ("fid(a) > fid(b)", [10, 11, 12], [1, 1, 1], SUPPORTED, "as expected"),
        ("fid(a) < fid(b)", [10, 11, 12], [1, 1, 1], CONTRADICTED, "the other way"),
        ("fid(a) > fid(b)", [10, 1, 12], [9, 3, 1], UNDECIDED, "as expected"),
        ("fid(a) < fid(b)", [10, 1, 12], [9, 3, 1], UNDECIDED, "the other way"),
        ("fid(a) > fid(b)", [2, 2, 2], [2, 2, 2], CONTRADICTED, "the other way"),
        ("fid(a) >= fid(b)", [2, 2, 2], [2, 2, 2], SUPPORTED, "as expected"),
        ("fid(a) > 5", [10, 11, 12], [1, 1, 1], SUPPORTED, "as expected"),
        ("0.8 < fid(a) / fid(b) < 1.25", [10, 11, 12], [10.1, 11.1, 11.9], SUPPORTED, "as expected"),
        ("0.8 < fid(a) / fid(b) < 1.25", [20, 21, 22], [10, 11, 12], CONTRADICTED, "the other way"),
        ("0.8 < fid(a) / fid(b) < 1.25", [10, 13, 12], [12, 11, 10], UNDECIDED, "as expected"),
        ("fid(a) > fid(b) and fid(b) > 100", [10, 11, 12], [1, 1, 1], CONTRADICTED, "the other way"),
        ("fid(a) > fid(b) or fid(b) > 100", [10, 11, 12], [1, 1, 1], SUPPORTED, "as expected"),
        ("fid(a) > fid(b) and fid(a) > 11", [10, 11, 12.5], [1, 1, 1], UNDECIDED, "as expected"),
        ("fid(a) > fid(b)", [10], [1], UNDECIDED, "as expected"),
        ("fid(a) < fid(b)", [10], [1], UNDECIDED, "the other way"),
        ("fid(a) < fid(b)", [math.nan], [1], UNDECIDED, None),
        ("fid(a) > fid(b)", [10, math.nan, math.inf], [1, 1, 1], UNDECIDED, "as expected"),
    ],
)
def test_verdicts(expect: str, a: list[float], b: list[float], verdict: str, direction: str | None) -> None:
    found = judged(expect, a, b)
    assert (found.verdict, found.direction) == (verdict, direction)
    assert found.why
    assert (found.interval is None) == (len(found.values) < 2)


def test_one_seed_never_decides() -> None:
    assert "one seed decides nothing" in judged("fid(a) > fid(b)", [1e9], [1e-9]).why


@given(
    st.lists(st.tuples(st.floats(0.1, 100), st.floats(0.1, 100)), min_size=2, max_size=6), st.sampled_from(["<", ">"])
)
def test_the_opposite_claim_gets_the_opposite_verdict(pairs: list[tuple[float, float]], sign: str) -> None:
    a, b = map(list, zip(*pairs, strict=True))
    claim = judged(f"fid(a) {sign} fid(b)", a, b)
    mirrored = judged(f"fid(b) {sign} fid(a)", a, b)
    swap = {SUPPORTED: CONTRADICTED, CONTRADICTED: SUPPORTED, UNDECIDED: UNDECIDED}
    if claim.difference:
        assert mirrored.verdict == swap[claim.verdict]
        assert mirrored.difference == pytest.approx(-claim.difference, rel=1e-9)


def test_how_often_nothing_is_found_where_there_is_nothing() -> None:
    """Five in a hundred, by the meaning of the interval: bounds of five standard errors of 2,000 draws."""
    random = __import__("random").Random(0)
    draws = [
        judged("fid(a) > fid(b)", *[[math.exp(random.gauss(1, 0.3)) for _ in range(4)] for _ in range(2)]).verdict
        for _ in range(2000)
    ]
    assert 0.026 < sum(one != UNDECIDED for one in draws) / 2000 < 0.074
