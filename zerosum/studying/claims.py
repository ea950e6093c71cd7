"""Claims: what a study is expected to show, as an expression over the numbers of its runs, judged over seeds.

    fid(cgan) > fid(cdcgan)
    mean("critic/loss", default, steps=[0, 50]) > mean("critic/loss", default, last=0.25)
    0.8 < fid(latent_10) / fid(default) < 1.25

Names in brackets are settings, in quotes where they are no Python names: fid("lr-0.001"). The text is parsed, and
walked by this page; it is never run as Python.
"""

import ast
import math
import operator
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean, stdev
from typing import Any, Protocol

from scipy.special import stdtrit

from zerosum.errors import ZerosumError, suggest
from zerosum.metrics.vocabulary import MEANING

#: of a run as a whole
TOTALS = ("seconds", "steps", "images_per_second", "diverged")
#: of a column of stats.jsonl, such as critic/loss, or of evidence.jsonl, such as gradient -> how many columns it takes
CURVES = {"mean": 1, "spread": 1, "correlation": 2}
FUNCTIONS = (*MEANING, *TOTALS, *CURVES)
CONFIDENCE = 0.95
LONGEST = 500

SUPPORTED, CONTRADICTED, UNDECIDED = "supported", "contradicted", "not decided"

ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
#: comparison -> whether the left side should be the larger one, and whether equal will do
COMPARISONS: dict[type[ast.cmpop], tuple[bool, bool]] = {
    ast.Gt: (True, False),
    ast.GtE: (True, True),
    ast.Lt: (False, False),
    ast.LtE: (False, True),
}


class Numbers(Protocol):
    """What is known of one run; NaN, or nothing, for what is not."""

    def score(self, kind: str, step: int | None, at: float) -> float:
        """The score at the end (at = 1), at the scored step nearest to a share of the training, or at a step."""

    def total(self, name: str) -> float:
        """One of TOTALS."""

    def curve(self, columns: Sequence[str], start: float, stop: float, in_steps: bool) -> list[tuple[float, ...]]:
        """The lines with these columns, in (start, stop] as shares of the training, or as steps."""


@dataclass(frozen=True)
class Call:
    """fid(cgan, at=0.5): one number of every run of a setting."""

    function: str
    setting: str
    columns: tuple[str, ...] = ()
    step: int | None = None
    at: float = 1.0
    start: float = 0.0
    stop: float = 1.0
    in_steps: bool = False

    def of(self, run: Numbers) -> float:
        if self.function in MEANING:
            return run.score(self.function, self.step, self.at)
        if self.function in TOTALS:
            return run.total(self.function)
        lines = run.curve(self.columns, self.start, self.stop, self.in_steps)
        if self.function == "mean":
            return fmean(line[0] for line in lines) if lines else math.nan
        if len(lines) < 3:
            return math.nan
        if self.function == "spread":
            return stdev(line[0] for line in lines)
        return rank_correlation([line[0] for line in lines], [line[1] for line in lines])


@dataclass(frozen=True)
class Judgement:
    """What the runs say of one claim."""

    #: supported, contradicted, or not decided
    verdict: str
    #: "as expected", "the other way", or None where nothing is known
    direction: str | None
    #: "ratio": difference and interval are natural logarithms of left over right; "difference": left minus right
    scale: str | None = None
    #: mean over seeds; above 0 the left side is larger
    difference: float | None = None
    #: of 95 % confidence
    interval: tuple[float, float] | None = None
    #: difference over its standard deviation between seeds (Cohen's d of pairs)
    effect: float | None = None
    #: seed -> both sides of every comparison
    values: dict[str, Any] = field(default_factory=dict)
    why: str = ""

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def parse(text: str) -> ast.expr:
    """The expression, of which every part is known to this page; ZerosumError with the part that is not."""
    text = " ".join(text.split())
    if len(text) > LONGEST:
        raise ZerosumError(f"claim '{text[:40]}...': longer than {LONGEST} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            root = ast.parse(text, mode="eval").body
        _check_truth(root, text)
    except (SyntaxError, ValueError, MemoryError, RecursionError, OverflowError) as error:
        raise ZerosumError(f"claim '{text}': cannot be read: {getattr(error, 'msg', None) or error}") from None
    return root


def _check_truth(node: ast.expr, text: str) -> None:
    if isinstance(node, ast.BoolOp):
        for part in node.values:
            _check_truth(part, text)
    elif isinstance(node, ast.Compare):
        if not all(type(one) in COMPARISONS for one in node.ops):
            raise ZerosumError(f"claim '{text}': compare with <, <=, > or >=")
        for side in (node.left, *node.comparators):
            _check_number(side, text)
    else:
        raise ZerosumError(f"claim '{text}': '{ast.unparse(node)}' is no comparison: write fid(a) < fid(b)")


def _check_number(node: ast.expr, text: str) -> None:
    match node:
        case ast.Constant(value=bool() | str() | bytes() | complex() | None):
            pass
        case ast.Constant(value=int() | float() as value):
            float(value)
            return
        case ast.BinOp() if type(node.op) in ARITHMETIC:
            _check_number(node.left, text)
            _check_number(node.right, text)
            return
        case ast.UnaryOp(op=ast.USub()):
            _check_number(node.operand, text)
            return
        case ast.Call():
            as_call(node, text)
            return
    raise ZerosumError(
        f"claim '{text}': '{ast.unparse(node)[:60]}' is not allowed: use numbers, + - * /, and fid(setting) or the like"
    )


def as_call(node: ast.Call, text: str = "") -> Call:
    """The call that a node of a parsed claim stands for."""
    where = f"claim '{text}': '{ast.unparse(node)[:60]}'"
    name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
    if name not in FUNCTIONS:
        raise ZerosumError(f"{where}: unknown function '{name}': {suggest(name, FUNCTIONS)}")
    *columns, setting = [_word(argument, where) for argument in node.args] or [None]
    if setting is None or None in columns or len(columns) != CURVES.get(name, 0):
        usual = ", ".join(['"critic/loss"'] * CURVES.get(name, 0) + ["setting"])
        raise ZerosumError(f"{where}: write {name}({usual})")
    options = {keyword.arg or "**": _option(keyword.value, where) for keyword in node.keywords}
    allowed = ("step", "at") if name in MEANING else ("first", "last", "between", "steps") if name in CURVES else ()
    if len(options) > 1 or not set(options) <= set(allowed):
        said = f"one of {', '.join(f'{one}=' for one in allowed)} at most" if allowed else "the setting only"
        raise ZerosumError(f"{where}: {name} takes {said}")
    chosen: dict[str, Any] = {}
    match options:
        case {"step": int() as step} if step > 0:
            chosen = {"step": step}
        case {"at": int() | float() as at} if 0 < at <= 1:
            chosen = {"at": float(at)}
        case {"first": int() | float() as share} if 0 < share <= 1:
            chosen = {"stop": float(share)}
        case {"last": int() | float() as share} if 0 < share <= 1:
            chosen = {"start": 1.0 - share}
        case {"between": [int() | float() as start, int() | float() as stop]} if 0 <= start < stop <= 1:
            chosen = {"start": float(start), "stop": float(stop)}
        case {"steps": [int() as start, int() as stop]} if 0 <= start < stop:
            chosen = {"start": start, "stop": stop, "in_steps": True}
        case {}:
            if options:
                raise ZerosumError(f"{where}: steps are whole numbers, shares of the training lie in (0, 1]")
    return Call(name, setting, tuple(column or "" for column in columns), **chosen)


def _word(node: ast.expr, where: str) -> str | None:
    match node:
        case ast.Name(id=word) | ast.Constant(value=str() as word):
            return word
    raise ZerosumError(f"{where}: '{ast.unparse(node)[:40]}' should be the name of a setting or of a column")


def _option(node: ast.expr, where: str) -> Any:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return value
        case ast.List(elts=[ast.Constant(), ast.Constant()]) | ast.Tuple(elts=[ast.Constant(), ast.Constant()]):
            return [_option(end, where) for end in node.elts]
    raise ZerosumError(f"{where}: '{ast.unparse(node)[:40]}' should be a number, or [start, stop]")


def calls(root: ast.expr) -> Iterator[Call]:
    """Every number that a parsed claim asks for."""
    return (as_call(node) for node in ast.walk(root) if isinstance(node, ast.Call))


def value(node: ast.expr, runs: Mapping[str, Numbers]) -> float:
    """An arithmetic part of a parsed claim for the runs (setting -> run) of one seed; NaN where a number is missing."""
    match node:
        case ast.Constant(value=number):
            return float(number)  # type: ignore[arg-type]
        case ast.UnaryOp(operand=inner):
            return -value(inner, runs)
        case ast.BinOp(left=left, op=sign, right=right):
            try:
                return ARITHMETIC[type(sign)](value(left, runs), value(right, runs))
            except ZeroDivisionError:
                return math.nan
        case ast.Call():
            call = as_call(node)
            return call.of(runs[call.setting]) if call.setting in runs else math.nan
    raise TypeError(ast.dump(node))


def judge(text: str, by_seed: Mapping[int, Mapping[str, Numbers]]) -> Judgement:
    """The verdict on a claim, from the runs of each seed: seed -> setting -> run.

    Both sides are computed for each seed, so that what settings share through it (the first weights, the order of the
    data) cancels. Where all values are positive the logarithm of their ratio is averaged, else their difference. The
    95 % t interval decides: all of it on the expected side is supported, all of it on the other contradicted. `and` and
    `or` combine verdicts; the numbers are then those of the part that decides.
    """
    return _judge(parse(text), by_seed)


def _judge(node: ast.expr, by_seed: Mapping[int, Mapping[str, Numbers]]) -> Judgement:
    if isinstance(node, ast.BoolOp):
        return _combine([_judge(part, by_seed) for part in node.values], every=isinstance(node.op, ast.And))
    assert isinstance(node, ast.Compare)  # noqa: S101 - parse lets nothing else through
    sides = [node.left, *node.comparators]
    parts = [
        _compare(left, sign, right, by_seed) for left, sign, right in zip(sides, node.ops, sides[1:], strict=False)
    ]
    return _combine(parts, every=True)


def _compare(
    left: ast.expr, sign: ast.cmpop, right: ast.expr, by_seed: Mapping[int, Mapping[str, Numbers]]
) -> Judgement:
    larger, equal_will_do = COMPARISONS[type(sign)]
    both = {seed: (value(left, runs), value(right, runs)) for seed, runs in by_seed.items()}
    found = {seed: pair for seed, pair in both.items() if all(map(math.isfinite, pair))}
    names = ast.unparse(left), ast.unparse(right)
    values = {str(seed): dict(zip(names, pair, strict=True)) for seed, pair in found.items()}
    if not found:
        return Judgement(UNDECIDED, None, why=f"no seed has both {names[0]} and {names[1]}")
    ratio = all(side > 0 for pair in found.values() for side in pair)
    differences = [math.log(a / b) if ratio else a - b for a, b in found.values()]
    mean = fmean(differences)
    right_way = (mean > 0) == larger if mean else equal_will_do
    direction = "as expected" if right_way else "the other way"
    scale = "ratio" if ratio else "difference"
    centre = [_centre([pair[side] for pair in found.values()], ratio) for side in (0, 1)]
    said = " against ".join(
        name if name == f"{number:.4g}" else f"{name} = {number:.4g}"
        for name, number in zip(names, centre, strict=True)
    )
    if len(found) == 1:
        return Judgement(UNDECIDED, direction, scale, mean, values=values, why=f"{said}: one seed decides nothing")
    deviation = stdev(differences)
    reach = float(stdtrit(len(found) - 1, (1 + CONFIDENCE) / 2)) * deviation / math.sqrt(len(found))
    low, high = mean - reach, mean + reach
    sure = low > 0 or high < 0 or low == high == 0
    verdict = (SUPPORTED if right_way else CONTRADICTED) if sure else UNDECIDED
    ends = [math.exp(end) if ratio else end for end in (low, high)]
    why = f"{said}, means of {len(found)} seeds; 95 % interval of the {scale} {ends[0]:.3g} to {ends[1]:.3g}"
    effect = mean / deviation if deviation > 0 else None
    return Judgement(verdict, direction, scale, mean, (low, high), effect, values, why)


def _centre(values: Sequence[float], ratio: bool) -> float:
    return math.exp(fmean(map(math.log, values))) if ratio else fmean(values)


def _combine(parts: Sequence[Judgement], every: bool) -> Judgement:
    """All must hold, or one of them: the worst verdict decides, or the best."""
    if len(parts) == 1:
        return parts[0]
    order = [CONTRADICTED, UNDECIDED, SUPPORTED]
    rank = [(order.index(part.verdict), part.direction == "as expected") for part in parts]
    deciding = parts[rank.index(min(rank) if every else max(rank))]
    values: dict[str, Any] = {}
    for part in parts:
        for seed, sides in part.values.items():
            values[seed] = values.get(seed, {}) | sides
    return Judgement(
        **{**vars(deciding), "values": values, "why": "; ".join(dict.fromkeys(part.why for part in parts))}
    )


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Spearman's, in [-1, 1]; equal values share their mean rank; NaN where one side never changes."""
    from scipy.stats import spearmanr  # slow to import

    if len(set(one)) < 2 or len(set(other)) < 2:  # of which scipy warns
        return math.nan
    return float(spearmanr(one, other).statistic)
