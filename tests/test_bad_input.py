"""The command line on bad input: exit code 2, one line that says what is wrong, nothing left behind."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.data.make import bomb, colour, encoded, noise, write

ZEROSUM = Path(sys.executable).parent / "zerosum"


class Case(NamedTuple):
    """What is typed after `zerosum train`, what the line must say, and what lies in the folder before."""

    arguments: list[str]
    said: list[str]
    prepare: Callable[[Path], object] = lambda _: None


def many(folder: Path, count: int = 4, **more: bytes | str) -> Path:
    """A folder of pictures at 32x32; names of further files have _ for their dot."""
    files: dict[str, bytes | str] = {f"{i:02d}.png": encoded(noise(32, 32, 3, seed=i)) for i in range(count)}
    return write(folder / "set", files | {name.replace("_", "."): data for name, data in more.items()})


def classes(folder: Path) -> None:
    write(folder / "set", {f"{name}/{i}.png": colour(i, 32, 32) for name in ("cat", "dog") for i in range(4)})


SMALL = ["--set", "batch=2", "--set", "data.resolution=32"]

CASES = {
    "unknown recipe": Case(["digit"], ["unknown recipe 'digit'", "did you mean 'digits'"]),
    "unknown key": Case(
        ["digits", "--set", "optimizer.betta=1"], ["optimizer.betta", "did you mean 'optimizer.betas'"]
    ),
    "wrong type": Case(["digits", "--set", "steps=many"], ["steps = 'many'", "integer"]),
    "unknown data": Case(["digits", "--data", "mnits"], ["no data 'mnits'", "did you mean 'mnist'"]),
    "no pictures": Case(
        ["faces", "--data", "set"], ["set: no pictures"], lambda folder: write(folder / "set", {"words.txt": "words"})
    ),
    "bad pictures": Case(
        ["faces", "--data", "set", *SMALL],
        ["1 of 5 pictures cannot be read", "data.bad_share = 0.05", "x.png"],
        lambda folder: many(folder, x_png=b"no picture"),
    ),
    "bomb": Case(
        ["faces", "--data", "set", *SMALL, "--set", "data.bad_share=1"],
        ["x.png", "decompression bomb"],
        lambda folder: many(folder, x_png=bomb()),
    ),
    "missing picture": Case(
        ["faces", "--data", "set", *SMALL, "--set", "condition.method=embed"],
        ["metadata.csv", "1 of its 2 files are not there", "gone.png (line 3)"],
        lambda folder: many(folder, metadata_csv="file_name,kind\n00.png,a\ngone.png,b\n"),
    ),
    "fewer than a batch": Case(
        ["faces", "--data", "set", "--set", "data.resolution=32"],
        ["4 samples", "batch of 64", "--set batch=2"],
        many,
    ),
    "no labels": Case(
        ["cdcgan-mnist", "--data", "set", "--set", "batch=2"],
        ["cdcgan-mnist is conditional", "no labels", "--set condition.method=none"],
        many,
    ),
    "unwritable": Case(
        ["faces", "--data", "set", *SMALL, "--out", "file/below"],
        ["cannot write", "file/below", "choose another place with --out"],
        lambda folder: write(many(folder).parent, {"file": b""}),
    ),
    "odd resolution": Case(
        ["faces", "--data", "set", *SMALL, "--set", "data.resolution=24"], ["data.resolution", "24", "32"], many
    ),
    "unknown class": Case(
        ["cdcgan-mnist", "--data", "set", "--set", "batch=2", "--set", "data.attributes={class: [cat, dgo]}"],
        ["unknown class 'dog'", "did you mean 'dgo'"],
        classes,
    ),
    "no data": Case(["faces"], ["--data", "metadata.csv", "CelebA"]),
}


class Done(NamedTuple):
    """How a command ended, and what it left in its folder."""

    code: int
    out: str
    errors: list[str]
    left: list[Path]


def carry_out(case: Case, folder: Path) -> Done:
    case.prepare(folder)
    before = set(folder.rglob("*"))
    out = [] if "--out" in case.arguments else ["--out", "runs"]
    done = subprocess.run(
        [ZEROSUM, "train", *case.arguments, *out],
        cwd=folder,
        env=os.environ | {"ZEROSUM_DATA": str(folder / "data"), "ZEROSUM_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr.splitlines(), sorted(set(folder.rglob("*")) - before))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Done]]]:
    """All commands, two at a time: most of what they take is the import of torch."""
    pool = ThreadPoolExecutor(2)
    yield {name: pool.submit(carry_out, case, tmp_path_factory.mktemp("case")) for name, case in CASES.items()}
    pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", CASES)
def test_bad_input(name: str, results: dict[str, Future[Done]]) -> None:
    done = results[name].result()
    lines = [line for line in done.errors if line.startswith("zerosum: ")]
    assert done.code == 2, done.errors
    assert len(lines) == 1, done.errors
    assert done.errors[-1] == lines[0]  # notes may precede
    assert not any("Traceback" in line for line in done.errors)
    assert done.out == ""
    assert 20 <= len(lines[0]) <= 500
    assert all(part in lines[0] for part in CASES[name].said), lines[0]
    assert done.left == []
