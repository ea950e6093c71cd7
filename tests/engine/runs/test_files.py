"""Files are there whole or not at all."""

import json
from pathlib import Path

import pytest

from zerosum.engine.runs.files import DRAFT, check_folder, drop_after, read_lines, tidy, whole, write_json, write_lines
from zerosum.errors import ZerosumError


def test_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(RuntimeError, match="half"), whole(path) as draft:
        draft.write_text("half")
        assert json.loads(path.read_text()) == {"a": 1}
        raise RuntimeError("half")
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]
    write_json(path, [2])
    assert json.loads(path.read_text()) == [2]


def test_drafts_keep_the_ending_that_says_what_they_are(tmp_path: Path) -> None:
    with whole(tmp_path / "a.png") as draft:
        assert draft.suffix == ".png"
        draft.touch()


def test_what_a_crash_leaves_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / f"{DRAFT}a.json").write_text("{")
    (tmp_path / "b.json").write_text("{}")
    tidy(tmp_path)
    tidy(tmp_path / "nothing")
    assert [path.name for path in tmp_path.iterdir()] == ["b.json"]


def test_lines(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    drop_after(path, 3)
    assert read_lines(path) == []
    for step in range(5):
        write_lines(path, [{"step": step}])
    with path.open("a") as file:
        file.write('{"step": 5, "x')
    assert [line["step"] for line in read_lines(path)] == [0, 1, 2, 3, 4]
    drop_after(path, 3)
    assert [line["step"] for line in read_lines(path)] == [0, 1, 2, 3]
    write_lines(path, [{"step": 4}])
    assert [line["step"] for line in read_lines(path)] == [0, 1, 2, 3, 4]


def test_files_that_go_while_a_folder_is_looked_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process trains there: its drafts come and go."""
    monkeypatch.setattr("os.walk", lambda folder: [(str(folder), [".step-000004.part"], [".draft-a.json"])])
    check_folder(tmp_path)
    (tmp_path / ".draft-a.json").symlink_to(tmp_path / "nothing")
    with pytest.raises(ZerosumError, match="leads nowhere"):
        check_folder(tmp_path)
