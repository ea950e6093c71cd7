"""The cache where there is one, and where there can be none."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.data.make import idx_folder
from zerosum.data import cache
from zerosum.data.cache import cache_folder, is_temporary, is_writable, keep, user_folder
from zerosum.data.pictures import known
from zerosum.errors import ZerosumError

NAMES = ("HOME", "USERPROFILE", "XDG_CACHE_HOME", "ZEROSUM_CACHE", "ZEROSUM_DATA")


@pytest.fixture(autouse=True)
def own_temporary_folder(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Processes of pytest-xdist end without removing what should be removed at their end."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("temporary")))


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A user without HOME and without an entry in the list of users."""
    if os.name != "posix":
        pytest.skip("users of this system have a home folder")
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)
    monkeypatch.setattr(cache, "_stand_ins", {})
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache with something in it, into which nobody can write, not even root."""
    folder = tmp_path / "read-only"
    monkeypatch.setattr(cache, "is_writable", lambda wanted: is_writable(wanted) and wanted != folder)
    monkeypatch.setenv("ZEROSUM_CACHE", str(folder))
    (folder / "floors").mkdir(parents=True)
    (folder / "floors" / "known.json").write_text("{}")
    (folder / "weights.pth").write_text("weights")
    (folder / "faces" / "a").mkdir(parents=True)  # data, which lies here too
    (folder / "faces" / "a" / "1.png").touch()
    return folder


def write(text: str, place: Path) -> bool:
    return keep(place, lambda draft: draft.write_text(text))


def test_the_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ZEROSUM_CACHE", str(tmp_path / "a" / "b"))
    assert cache_folder() == tmp_path / "a" / "b"
    assert not (tmp_path / "a").exists()  # asking makes nothing
    assert write("text", cache_folder() / "floors" / "one.json")
    assert (tmp_path / "a" / "b" / "floors" / "one.json").read_text() == "text"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ZEROSUM_CACHE", "~/mine")
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("ZEROSUM_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder().is_relative_to(tmp_path)
    assert capsys.readouterr().err == ""


def test_a_user_without_a_home(homeless: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = cache_folder()
    assert folder == cache_folder()
    assert not write("text", folder / "floors" / "one.json")  # but for this process
    assert (folder / "floors" / "one.json").read_text() == "text"
    assert folder.stat().st_mode & 0o077 == 0  # nobody else may look into it
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("this user has no home folder: ")
    assert "set ZEROSUM_CACHE" in line
    assert list(tmp_path.iterdir()) == []  # no folder named ~ above all
    assert user_folder("ZEROSUM_CACHE") is None
    with pytest.raises(ZerosumError, match="set ZEROSUM_DATA"):
        known.data_folder()
    with pytest.raises(ZerosumError, match="set ZEROSUM_DATA"):
        known.find("mnist", "train")


def test_a_tilde_that_means_nothing(homeless: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEROSUM_CACHE", "~/cache")
    assert is_temporary(cache_folder())
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_cache_is_read(read_only: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = cache_folder()
    assert folder != read_only
    assert is_temporary(folder / "floors" / "known.json")
    assert not is_temporary(read_only)
    assert (folder / "floors" / "known.json").read_text() == "{}"
    assert (folder / "weights.pth").read_text() == "weights"
    assert not (folder / "faces").exists()
    assert not write("other", folder / "floors" / "known.json")
    assert (folder / "floors" / "known.json").read_text() == "other"
    assert (read_only / "floors" / "known.json").read_text() == "{}"
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{read_only} cannot be written: ")


def test_what_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    assert is_writable(tmp_path)
    assert is_writable(tmp_path / "new" / "below")
    assert not is_writable(tmp_path / "file")
    assert not is_writable(tmp_path / "file" / "below")
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert not is_writable(tmp_path / "new")


def test_no_folder_at_all(homeless: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(**_: str) -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(cache, "mkdtemp", none)
    with pytest.raises(ZerosumError, match=r"no home folder, and no temporary folder .*: set ZEROSUM_CACHE"):
        cache_folder()


def test_the_temporary_folder_goes_with_the_process(tmp_path: Path) -> None:
    code = "from zerosum.data.cache import cache_folder as c; (c() / 'file').touch(); print(c())"
    variables = os.environ | {"ZEROSUM_CACHE": str(tmp_path / "file" / "below")}
    (tmp_path / "file").touch()
    done = subprocess.run(
        [sys.executable, "-c", code], env=variables, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr.count("\n") == 1
    assert not Path(done.stdout.strip()).exists()
    assert "zerosum-cache-" in done.stdout


def test_downloads_into_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ZEROSUM_DATA", str(tmp_path / "file"))
    with pytest.raises(ZerosumError) as caught:
        known.download("mnist")
    said = str(caught.value)
    assert f"{tmp_path / 'file' / 'mnist'} cannot be written: put train-images-idx3-ubyte.gz" in said
    assert said.endswith("set ZEROSUM_DATA to a folder that can be written")


def test_a_set_in_a_read_only_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    idx_folder(tmp_path / "ones", count=12)
    monkeypatch.setenv("ZEROSUM_DATA", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert known.find("ones", "train") == tmp_path / "ones"
