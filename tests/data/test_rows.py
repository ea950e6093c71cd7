"""Tables from files and back: however they are written, and what is said of those that cannot be read."""

import csv
import gzip
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zerosum.data.pictures.files import composed
from zerosum.data.rows import is_table, read_rows, write_rows
from zerosum.errors import ZerosumError, at_command_line

TABLE = {"age": ["39", "50", ""], "Größe, cm": ["1.70", "?", "1.9"], "said": ['"yes"', "a,b", "c\nd"]}


def written(folder: Path, text: str | bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".CSV", ".parquet"])
def test_what_was_written_is_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"table{suffix}"
    write_rows(TABLE, path)
    expected = TABLE if suffix != ".parquet" else TABLE | {"Größe, cm": ["1.7", "", "1.9"]}
    assert read_rows(path) == expected
    assert list(read_rows(path, ["said", "age"])) == ["said", "age"]
    assert read_rows(path, ["age"]) == {"age": TABLE["age"]}
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6).map(str.strip).filter(bool),
        st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=5), min_size=3, max_size=3),
        min_size=1,
        max_size=4,
    )
)
def test_any_words_are_written_and_read(tmp_path_factory: Any, table: dict[str, list[str]]) -> None:
    table = {
        f"a{composed(name)}": [f"a{composed(word.strip())}".strip() for word in words] for name, words in table.items()
    }
    for suffix in (".csv", ".parquet"):
        path = tmp_path_factory.mktemp("any") / f"table{suffix}"
        write_rows(table, path)
        assert read_rows(path) == table


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_separators_encodings_and_line_ends(tmp_path: Path, separator: str, encoding: str, ends: str) -> None:
    lines = ["", f' name {separator}"a;,|	b"', f"Zoë{separator} 1 ", "", f"{separator}2", f" {separator} ", ""]
    path = written(tmp_path, ends.join(lines).encode(encoding))
    assert read_rows(path) == {"name": ["Zoë", ""], "a;,|	b": ["1", "2"]}


def test_separators_in_quoted_names_are_part_of_them(tmp_path: Path) -> None:
    assert read_rows(written(tmp_path, '"a;b;c",d\n1,2\n')) == {"a;b;c": ["1"], "d": ["2"]}


def test_words_are_composed(tmp_path: Path) -> None:
    assert read_rows(written(tmp_path, "e\u0301\no\u0308\n")) == {"\u00e9": ["\u00f6"]}


def test_packed_tables(tmp_path: Path) -> None:
    text = b"a,b\n1,2\n"
    for name in ("table.csv.gz", "table.csv"):  # browsers unpack, and may keep the name; or not
        for data in (text, gzip.compress(text, mtime=0)):
            assert read_rows(written(tmp_path, data, name)) == {"a": ["1"], "b": ["2"]}


def test_windows_encoding_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "name\nZoë\n".encode("cp1252"))
    assert read_rows(path) == {"name": ["Zoë"]}
    assert "read as Windows-1252" in capsys.readouterr().err


def test_equal_words_are_one_object(tmp_path: Path) -> None:
    words = read_rows(written(tmp_path, "a,b\n" + "some word,some word\n" * 3))
    assert len({id(word) for word in [*words["a"], *words["b"]]}) == 1


@pytest.mark.parametrize(
    ("name", "yes"),
    [
        ("a.csv", True),
        ("a.TSV.GZ", True),
        ("a.txt", True),
        ("a.parquet", True),
        ("a.gz", False),
        ("csv", False),
        ("a.png", False),
    ],
)
def test_names_of_tables(tmp_path: Path, name: str, yes: bool) -> None:
    assert is_table(tmp_path / name) == yes


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty: its first line should name the columns"),
        ("\n , \n", "is empty"),
        ("a,b\n", "has no rows below the line that names the columns"),
        ("a,b\n\n , \n", "has no rows"),
        ("a,b,a\n1,2,3\n", "name each column once, but 'a' stands there twice"),
        ("a,b\n1,2\n\n1\n", "line 4: 1 values where the first line names 2 columns"),
        ('a,b\n"1\n1",2\n1,2,3\n', "line 4: 3 values where the first line names 2 columns"),
        ("39,1.5,-2e3,4\n1,2,3,4\n", r"its first line holds numbers \(39, 1\.5, -2e3, \.\.\.\)"),
        (",b,c\n1,2,3\n", r"column 1 has no name: .*overrides=\{\"data.columns\": \['b', 'c'\]\}"),
        (",,c\n1,2,3\n", "column 1 has no name"),
        ('a,b\n"1,2\n', "line 2: not a readable CSV"),
        ("a,b\n1,\0\n", "it holds zero bytes"),
        (b"a,b\n1,\x81\x82\xff\n", "not a readable table: .* save it as CSV in UTF-8"),
        (b"\xff\xfea\0b", "not a readable table: .* save it as CSV in UTF-8"),
        (b"\x1f\x8bnonsense", "not a readable table"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0)[:-9], "not a readable table"),
    ],
)
def test_what_is_no_table(tmp_path: Path, text: str | bytes, said: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ZerosumError, match=said) as caught:
        read_rows(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (["hieght"], "has no column 'hieght': did you mean 'height'"),
        ([""], "has no column '': choose from"),
        ([], r"data\.columns names none"),
        (["age", "age"], r"data\.columns names 'age' twice"),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_columns_that_cannot_be_chosen(tmp_path: Path, suffix: str, columns: list[str], said: str) -> None:
    write_rows({"age": ["1"], "height": ["2"]}, tmp_path / f"table{suffix}")
    with pytest.raises(ZerosumError, match=said):
        read_rows(tmp_path / f"table{suffix}", columns)


def test_a_column_without_a_name_may_be_left(tmp_path: Path) -> None:
    path = written(tmp_path, ",b,c\n1,2,3\n")
    assert read_rows(path, ["c"]) == {"c": ["3"]}
    with pytest.raises(ZerosumError, match="no column '': choose from b, c"):
        read_rows(path, [""])
    with at_command_line(), pytest.raises(ZerosumError, match=r"--set 'data\.columns=\[b, c\]'$"):
        read_rows(path)


def test_files_that_are_not_there_or_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(ZerosumError, match=r"tables are read from \.csv, "):
        read_rows(tmp_path / "a.png")
    for name in ("a.csv", "a.parquet"):
        with pytest.raises(ZerosumError, match=r"not a readable table: .*No such file"):
            read_rows(tmp_path / name)
    with pytest.raises(ZerosumError, match="not a readable table"):
        read_rows(written(tmp_path, "a,b\n1,2\n", "b.parquet"))


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.parquet"])
def test_large_tables(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith(".parquet"):
        write_rows({"a": ["x"] * 500, "b": ["x"] * 500}, path)  # a few bytes
        size = 1000
    else:
        data = b"a\n" + b"1\n" * 499
        path.write_bytes(gzip.compress(data, mtime=0) if name.endswith(".gz") else data)
        size = len(data)
    assert read_rows(path, most=size)
    with pytest.raises(ZerosumError, match=r"holds more than .* MiB: keep some of its rows"):
        read_rows(path, most=size - 1)


def test_parquet_of_other_programs(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    columns: dict[str, Any] = {
        "int": arrow.array([1, None, 3]),
        "float": arrow.array([1.0, None, 2.5]),
        "nan": arrow.array([0.1, float("nan"), 1e300]),
        "short": arrow.array([0.1, None, 2], arrow.float32()),
        "wide": arrow.array([float("inf"), 1, 2]),
        "flag": arrow.array([True, False, None]),
        "word": arrow.array(["a", None, " b "]),
        "coded": arrow.array(["a", "b", None]).dictionary_encode(),
        "list": arrow.array([[1], [2], []]),
        "bytes": arrow.array([b"a", b"b", b"c"]),
        "packed": arrow.array([b"a", b"b", b"c"]).dictionary_encode(),
    }
    parquet.write_table(arrow.table(columns), path)
    plain = list(columns)[:-3]
    assert read_rows(path, plain) == {
        "int": ["1", "", "3"],
        "float": ["1", "", "2.5"],
        "nan": ["0.1", "", str(int(1e300))],
        "short": ["0.1", "", "2"],
        "wide": ["inf", "1", "2"],
        "flag": ["True", "False", ""],
        "word": ["a", "", "b"],
        "coded": ["a", "b", ""],
    }
    for name in ("list", "bytes", "packed"):
        with pytest.raises(ZerosumError, match=rf"column '{name}' holds .*\['int'\]"):
            read_rows(path, ["int", name])
    parquet.write_table(arrow.table({"a": arrow.array([], arrow.int64())}), path)
    with pytest.raises(ZerosumError, match="has no rows"):
        read_rows(path)


def test_parquet_keeps_numbers_as_numbers(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = {
        "int": ["1", "-2", "?"],
        "float": ["1.5", "", "-2.25"],
        "mixed": ["1", "2.5", "3"],
        "code": ["01", "02", "03"],
        "huge": ["1", "2", str(2**70)],
        "plus": ["+1", "2", "3"],
        "word": ["a", "NA", "c"],
        "gone": ["", "", ""],
    }
    path = tmp_path / "a.parquet"
    write_rows(table, path)
    kinds = {field.name: str(field.type) for field in parquet.read_schema(path)}
    assert kinds == {
        "int": "int64",
        "float": "double",
        "mixed": "double",
        "code": "string",
        "huge": "string",
        "plus": "string",
        "word": "string",
        "gone": "null",
    }
    assert read_rows(path)["code"] == table["code"]


@pytest.mark.parametrize("name", ["a.parquet", "b.parquet"])
def test_without_pyarrow(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_rows(TABLE, tmp_path / "a.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ZerosumError, match=r"pyarrow, which is missing: pip install 'zerosum\[shards\]'"):
        read_rows(tmp_path / "a.parquet")
    with pytest.raises(ZerosumError, match="pyarrow, which is missing"):
        write_rows(TABLE, tmp_path / "b.parquet")
    write_rows(TABLE, tmp_path / "b.csv")


def test_writing_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"
    write_rows(TABLE, path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="shorter"):
        write_rows({"a": ["1", "2"], "b": ["1"]}, path)

    def stopped(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(csv, "writer", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_rows(TABLE, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["a.xlsx", "a", "a.csv.gz", "a.tsv"])
def test_unknown_endings(tmp_path: Path, name: str) -> None:
    with pytest.raises(ZerosumError, match=r"tables are written as \.csv or \.parquet"):
        write_rows(TABLE, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_csv_is_what_other_programs_read(tmp_path: Path) -> None:
    write_rows(TABLE, tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [list(TABLE), *map(list, zip(*TABLE.values(), strict=True))]
