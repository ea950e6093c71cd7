"""Columns: what they are taken for, how they are encoded, and that decoding brings the words back."""

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zerosum.data.columns import MISSING, MOST_KNOTS, Codec, Column, parse_spans, tidy
from zerosum.errors import ZerosumError, at_command_line

COLOURS = Column("colour", "category", ("red", "green", ""))
AGE = Column("age", "number", knots=(0.0, 0.0, 0.0, 10.0, 30.0), decimals=1)
INCOME = Column("income", "number", knots=(1.0, 2.0), missing=True)


def test_a_category_is_one_1_among_zeros() -> None:
    rows = COLOURS.encode(["green", "NA", "red", " green "])
    assert rows.dtype == np.float32
    assert rows.tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert COLOURS.decode(np.array([[0.4, 0.5, 0.1], [-9, -8, -7]], np.float32)) == ["green", ""]


def test_a_number_is_its_place_among_the_quantiles() -> None:
    rows = AGE.encode(["0", "5", "10", "20", "25.0", "30", "1e9", "-1e9"])
    expected = [-0.5, 0.25, 0.5, 0.75, 0.875, 1, 1, -0.5]  # a value of many rows in the middle of them
    assert rows[:, 0].tolist() == expected
    decoded = AGE.decode(np.array([[-7], [-1], [-0.5], [0], [0.25], [0.5], [0.875], [1], [7]], np.float32))
    assert decoded == ["0.0", "0.0", "0.0", "0.0", "5.0", "10.0", "25.0", "30.0", "30.0"]


def test_a_missing_number_has_a_flag() -> None:
    assert INCOME.encode(["1.5", "?", "2"]).tolist() == [[0, 1, 0], [0, 0, 1], [1, 1, 0]]
    assert INCOME.decode(np.array([[1, 0.6, 0.4], [1, 0.4, 0.6], [-1, 0.5, 0.5]], np.float32)) == ["2", "", "1"]


def test_a_number_that_is_nearly_zero_has_no_sign() -> None:
    assert Column("x", "number", knots=(-1.0, 1.0)).decode(np.array([[-0.01]], np.float32)) == ["0"]


def test_a_plateau_is_one_number_to_its_last_digit() -> None:
    column = Column("x", "number", knots=(0.0, 123456789012345680.0, 123456789012345680.0))
    assert set(column.decode(np.linspace(0, 1, 999, dtype=np.float32)[:, None])) == {"123456789012345680"}


def test_spans_and_widths() -> None:
    codec = Codec((COLOURS, AGE, INCOME))
    assert [column.width for column in codec.columns] == [3, 1, 3]
    assert codec.width == 7
    assert codec.spans == [("one-hot", 0, 3), ("signed", 3, 4), ("signed", 4, 5), ("one-hot", 5, 7)]
    rows = codec.encode({"income": ["", "1"], "colour": ["red", ""], "age": ["30", "10"], "other": ["1", "2"]})
    assert rows.tolist() == [[1, 0, 0, 1, 0, 0, 1], [0, 0, 1, 0.5, -1, 1, 0]]
    assert codec.decode(rows) == {"colour": ["red", ""], "age": ["30.0", "10.0"], "income": ["", "1"]}
    assert parse_spans(json.loads(json.dumps(codec.spans)), 7) == codec.spans


@pytest.mark.parametrize(
    "spans",
    [
        [],
        [["signed", 0, 1]],
        [["signed", 0, 1], ["one-hot", 2, 3]],
        [["signed", 0, 4]],
        [["signed", 0, 0], ["signed", 0, 3]],
        [["loud", 0, 3]],
        [["signed", "0", 3]],
        [["signed", 0]],
        5,
    ],
)
def test_spans_that_do_not_cover_a_row(spans: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        parse_spans(spans, 3)


@pytest.mark.parametrize(
    ("words", "kind", "detail"),
    [
        ([str(n) for n in range(11)], "number", 0),
        ([str(n) for n in range(10)] * 3, "category", 10),
        (["1.5", "2"], "number", 1),
        (["1.5", "1.50"], "category", 2),
        (["3.25"] * 5, "category", 1),
        (["", "NA", "?"], "category", 1),
        ([*[str(n) for n in range(20)], "dog"], "category", 21),
        (["1_0", "2.5", "3.5"], "category", 3),
        (["inf", "2.5", "3.5"], "category", 3),
        (["1e101", "2.5", "3.5"], "category", 3),
        (["1e1000000000000", "2.5", "3.5"], "category", 3),
        (["٣.5", "2.5", "3.5"], "category", 3),
        (["1e-3", "-2.5E+1", "+.5", "7."], "number", 3),
        (["1.25e-2", "2.5"], "number", 4),
        (["1e-999999", "2.5"], "number", 324),
    ],
)
def test_what_a_column_is_taken_for(words: list[str], kind: str, detail: int) -> None:
    column = Column.fit("x", words)
    assert column.kind == kind
    assert (column.decimals if kind == "number" else len(column.values)) == detail


def test_categories_are_ordered_by_how_many_there_are_then_naturally() -> None:
    assert Column.fit("x", ["10", "9", "b", "b", "a", "", "NA", "null"]).values == ("", "b", "9", "10", "a")


@pytest.mark.parametrize("word", sorted(MISSING))
def test_missing_words(word: str) -> None:
    assert Column.fit("x", ["1.5", f" {word} ", "2.5"]).missing
    assert not Column.fit("x", ["1.5", "2.5"]).missing
    assert "" in Column.fit("x", ["a", word]).values


def test_knots_are_quantiles_of_the_data() -> None:
    words = [str(n) for n in range(5000)]
    column = Column.fit("x", words)
    assert len(column.knots) == MOST_KNOTS == 1000
    assert set(column.knots) <= set(range(5000))
    np.testing.assert_allclose(column.knots, np.linspace(0, 4999, 1000), atol=0.5)
    assert len(Column.fit("x", words[:30]).knots) == 30
    places = column.encode(words)[:, 0]
    np.testing.assert_allclose(places, np.linspace(-1, 1, 5000), atol=1e-3)  # uniform


def test_a_value_of_many_rows_keeps_its_share() -> None:
    """Evenly spread places decode to every value as often as it stands in the data, within one knot."""
    words = ["0"] * 9200 + [str(n) for n in range(1000, 1800)]
    column = Column.fit("gain", words)
    even = np.linspace(-1, 1, 20_001, dtype=np.float32)[:, None]
    share = column.decode(even).count("0") / 20_001
    assert abs(share - 0.92) < 1.1 / 1000
    assert column.decode(column.encode(["0"])) == ["0"]


@pytest.mark.parametrize(
    ("words", "unfit"),
    [
        ([f"name {n}" for n in range(101)], True),
        ([f"name {n}" for n in range(100)], False),
        ([f"name {n % 101}" for n in range(202)], False),
        ([f"name {n % 101}" for n in range(201)], True),
        ([f"name {n % 1000}" for n in range(10_000)], False),
        ([f"name {n % 1001}" for n in range(10_000)], True),
    ],
)
def test_names_of_rows_are_no_category(words: list[str], unfit: bool) -> None:
    if unfit:
        with pytest.raises(ZerosumError, match=r"column 'who' has 1.* different values in .* rows \('name 0', ...\): "):
            Column.fit("who", words)
    else:
        assert Column.fit("who", words).kind == "category"


def test_advice_names_the_columns_that_can_be_learned() -> None:
    table = {
        "who": [f"name {n}" for n in range(300)],
        "id": [str(n) for n in range(300)],
        "mail": [f"mail {n}" for n in range(300)],
        "sex": ["f", "m"] * 150,
    }
    with pytest.raises(ZerosumError, match=r"column 'who'.*overrides=\{\"data.columns\": \['id', 'sex'\]\}$"):
        Codec.fit(table)
    with at_command_line(), pytest.raises(ZerosumError, match=r"--set 'data.columns=\[id, sex\]'$"):
        Codec.fit(table)
    with pytest.raises(ZerosumError, match=r"leave it out of data\.columns$"):
        Codec.fit({"who": table["who"]})
    assert [column.kind for column in Codec.fit({"id": table["id"], "sex": table["sex"]}).columns] == [
        "number",
        "category",
    ]


@pytest.mark.parametrize(
    ("column", "words", "said"),
    [
        (COLOURS, ["red", "gren"], "column 'colour', row 2: 'gren' stands in no row .*: did you mean 'green'"),
        (Column("x", "category", ("a",)), ["a", "a", "?"], "column 'x', row 3: the value is missing"),
        (AGE, ["1", "old"], "column 'age', row 2: 'old' is no number"),
        (AGE, ["1", "2", ""], "column 'age', row 3: the number is missing"),
    ],
)
def test_words_that_a_column_cannot_hold(column: Column, words: list[str], said: str) -> None:
    with pytest.raises(ZerosumError, match=said):
        column.encode(words)


def test_tables_and_rows_that_do_not_fit() -> None:
    codec = Codec((AGE, COLOURS))
    with pytest.raises(ZerosumError, match="no column 'colour': did you mean 'color'"):
        codec.encode({"age": ["1"], "color": ["red"]})
    for shape in [(2, 3), (4,), (1, 1, 4)]:
        with pytest.raises(ZerosumError, match=r"they should be \(N, 4\)"):
            codec.decode(np.zeros(shape, np.float32))


numbers = st.one_of(
    st.decimals(-(10**9), 10**9, places=2).map(str),
    st.integers(-(10**6), 10**6).map(str),
    st.just("0"),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
)
cells = st.one_of(st.sampled_from(sorted(MISSING)), numbers, st.text(max_size=5))


@given(st.lists(cells, min_size=1, max_size=60), st.text(max_size=8))
def test_categories_come_back_exactly_and_numbers_as_near_as_float32_tells(words: list[str], name: str) -> None:
    column = Column.fit(name, words)
    _check_there_and_back(column, words)


@given(
    st.lists(numbers, min_size=2, max_size=80),
    st.integers(0, 200),
    st.sampled_from([0, 1, 3]),
)
def test_numbers_come_back(words: list[str], zeros: int, gaps: int) -> None:
    """Zeros of heavy mass, and empty cells."""
    words = words + ["0"] * zeros + [""] * gaps
    _check_there_and_back(Column.fit("x", words), words)


@given(st.integers(1, 40), st.sampled_from(["5", "5.5", "a", "猫", "-0", "0.10"]), st.booleans())
def test_constant_columns_and_all_missing_but_one(count: int, word: str, absent: bool) -> None:
    words = [word] + ["" if absent else word] * count
    column = Column.fit("même", words)
    assert column.decode(column.encode(words)) == words


def _check_there_and_back(column: Column, words: list[str]) -> None:
    rows = column.encode(words)
    assert rows.shape == (len(words), column.width)
    assert np.isfinite(rows).all()
    assert np.abs(rows).max() <= 1
    assert Column.parse(json.loads(json.dumps(column.plain()))) == column
    back = column.decode(rows)
    if column.kind == "category":
        assert back == list(map(tidy, words))
        assert (rows.sum(1) == 1).all()
        return
    assert [word == "" for word in back] == [tidy(word) == "" for word in words]
    seen, again = (column.numbers([word for word in some if tidy(word)]) for some in (words, back))
    assert min(seen) <= min(again) <= max(again) <= max(seen)
    counts, knots = Counter(seen.tolist()), np.array(column.knots)
    gaps = np.diff(knots)[np.searchsorted(knots, seen).clip(1, len(knots) - 1) - 1]
    exact = np.isin(seen, knots)
    np.testing.assert_allclose(again[exact], seen[exact], rtol=1e-15, atol=10.0**-column.decimals)
    assert all(value in knots for value, count in counts.items() if count > len(seen) / (len(knots) - 1))
    assert (np.abs(again - seen) <= 1e-4 * gaps + 10.0**-column.decimals).all()


GOOD = [COLOURS, AGE, INCOME, Column("", "category", ("",))]


@pytest.mark.parametrize("column", GOOD)
def test_columns_go_to_json_and_back(column: Column) -> None:
    assert Column.parse(json.loads(json.dumps(column.plain()))) == column


@pytest.mark.parametrize(
    "change",
    [
        {"name": 5},
        {"kind": "loud"},
        {"kind": ["number"]},
        {"kind": "category"},
        {"values": ["a"]},
        {"knots": []},
        {"knots": [1.0]},
        {"knots": [2.0, 1.0]},
        {"knots": [1.0, float("nan")]},
        {"knots": [1.0, float("inf")]},
        {"knots": [1.0, 1e101]},
        {"knots": [1.0, 10**400]},
        {"knots": ["1", "2"]},
        {"knots": [False, True]},
        {"knots": "12"},
        {"knots": 12},
        {"knots": list(range(1001))},
        {"decimals": -1},
        {"decimals": 325},
        {"decimals": 1.0},
        {"decimals": True},
        {"missing": 1},
        {"kind": "category", "knots": [], "values": []},
        {"kind": "category", "knots": [], "values": ["a", "a"]},
        {"kind": "category", "knots": [], "values": ["a", 1]},
        {"kind": "category", "knots": [], "values": ["a", "NA"]},
        {"kind": "category", "knots": [], "values": "ab"},
        {"kind": "category", "knots": [], "values": list(map(str, range(1001)))},
        {"kind": "category", "knots": [], "values": ["a"], "decimals": 1},
        {"kind": "category", "knots": [], "values": ["a"], "missing": True},
    ],
)
def test_what_describes_no_column(change: dict[str, Any]) -> None:
    good: dict[str, Any] = {"name": "x", "kind": "number", "knots": [1, 2.0, 2.0], "values": [], "decimals": 0}
    assert Column.parse(good).knots == (1.0, 2.0, 2.0)
    with pytest.raises((ValueError, TypeError)):
        Column.parse(good | change)


@pytest.mark.parametrize("values", [{}, {"name": "x"}, [], None, "x"])
def test_no_column_at_all(values: Any) -> None:
    with pytest.raises((KeyError, TypeError, AttributeError)):
        Column.parse(values)
