"""The command line, as a person and a script use it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import zerosum as zs
from tests.conftest import Call, tiny_recipe
from zerosum.cli.options import parse_seeds, parse_where
from zerosum.data.pictures import drawing as pictures
from zerosum.engine.runs.files import read_lines
from zerosum.engine.trained.gan import LabelGan
from zerosum.errors import ZerosumError
from zerosum.loading import packaged
from zerosum.recipe import Recipe

COMMAND = str(Path(sys.executable).parent / "zerosum")
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "120", "NO_COLOR": "1"}
VERBS = ("recipes", "train", "resume", "sample", "score", "study", "report")
SMALL = [
    *("--set", "generator.width=8"),
    *("--set", "critic.width=8"),
    *("--set", "batch=8"),
    *("--set", "precision=fp32"),
    *("--set", "tick=1"),
]


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [COMMAND, *arguments], capture_output=True, text=True, cwd=cwd, env=ENVIRONMENT, timeout=120, check=False
    )
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of six steps, trained in a subprocess."""
    place = tmp_path_factory.mktemp("work")
    done = run("train", "digits", "--out", "my runs", "--name", "tiny", *SMALL, "--set", "steps=6", cwd=place)
    assert done.returncode == 0, done.stderr
    # the run folder is the last line on standard output, and the only one
    assert done.stdout == "my runs/00000-tiny\n"
    assert "step 6/6" in done.stderr
    return place / done.stdout.strip()


def test_help_answers_at_once() -> None:
    for arguments in ([], ["--help"], ["-h"]):
        began = time.perf_counter()
        done = run(*arguments)
        assert done.returncode == 0
        assert all(verb in done.stdout for verb in VERBS)
        assert done.stderr == ""
        assert time.perf_counter() - began < 5  # generous: half a second on a quiet machine


def test_every_verb_has_help(call: Call) -> None:
    for verb in VERBS:
        code, out, _ = call(verb, "--help")
        assert code == 0
        assert "Usage" in out


def test_recipes_lists_all(call: Call) -> None:
    code, out, _ = call("recipes")
    assert code == 0
    lines = out.splitlines()
    for name in packaged():
        assert sum(line.split()[:1] == [name] for line in lines) == 1
    assert len(lines) >= 1 + len(packaged())
    assert all(len(line) <= 120 for line in lines)


def test_recipes_prints_one_to_change(call: Call, tmp_path: Path) -> None:
    code, out, _ = call("recipes", "digits")
    assert code == 0
    (tmp_path / "mine.yaml").write_text(out)
    assert Recipe.load(tmp_path / "mine.yaml", {"name": "digits"}) == Recipe.load("digits")
    code, out, err = call("recipes", "digit")
    assert (code, out) == (2, "")
    assert "did you mean 'digits'?" in err


def test_a_run(trained: Path) -> None:
    assert [tick["step"] for tick in read_lines(trained / "stats.jsonl")] == [1, 2, 3, 4, 5, 6]
    for name in (
        "recipe.yaml",
        "reals.png",
        "losses.png",
        "summary.json",
        "checkpoints/step-000006",
        "samples/000000.png",
    ):
        assert (trained / name).exists()


def test_sample_by_seed(trained: Path, tmp_path: Path, call: Call) -> None:
    done = run("sample", str(trained), "--seeds", "0-2,11", "--class", "3", "--out", str(tmp_path / "threes"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'threes'}\n"
    names = ["seed0000.png", "seed0001.png", "seed0002.png", "seed0011.png"]
    assert sorted(path.name for path in (tmp_path / "threes").iterdir()) == names
    # in another process and another company each seed gives the same picture
    assert call("sample", str(trained), "--seeds", "11", "--class", "3", "--out", str(tmp_path / "again"))[0] == 0
    pixels = []
    for path in (tmp_path / "threes" / "seed0011.png", tmp_path / "again" / "seed0011.png"):
        with Image.open(path) as image:
            assert (image.mode, image.size) == ("L", (8, 8))
            pixels.append(np.asarray(image))
    assert np.array_equal(pixels[0], pixels[1])


def test_sample_grid(trained: Path, tmp_path: Path, call: Call) -> None:
    place = tmp_path / "deep" / "grid.png"
    code, out, _ = call("sample", str(trained), "--n", "9", "--out", str(place))
    assert (code, out) == (0, f"{place}\n")
    with Image.open(place) as grid:
        assert grid.size == (3 * 50 + 2, 3 * 50 + 2)
    # --where names the attribute that --class leaves unnamed
    for index, chosen in enumerate((["--class", "3"], ["--where", "class=3"], ["--class", "4"])):
        assert call("sample", str(trained), "--n", "9", *chosen, "--out", str(tmp_path / f"{index}.png"))[0] == 0
    contents = [(tmp_path / f"{index}.png").read_bytes() for index in range(3)]
    assert contents[0] == contents[1] != contents[2]
    code, out, _ = call("sample", str(trained), "--n", "4")
    assert (code, out) == (0, f"{trained / 'samples-4.png'}\n")


def test_equal_labels_stand_together_in_a_grid(trained: Path, tmp_path: Path, call: Call) -> None:
    assert call("sample", str(trained), "--n", "300", "--out", str(tmp_path / "grid.png"))[0] == 0
    gan = zs.load(trained)
    labels = gan.draw_labels(range(300), {})
    assert labels is not None
    order = sorted(range(300), key=labels[:, 0].tolist().__getitem__)
    pictures.save_grid(gan.sample(300)[order], 17, tmp_path / "expected.png")
    assert (tmp_path / "grid.png").read_bytes() == (tmp_path / "expected.png").read_bytes()


def test_many_pictures_are_written_as_they_are_made(
    trained: Path, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was there when the disk filled up is whole, and the same command goes over it again."""
    place, write = tmp_path / "many", pictures.save_whole
    written: list[Path] = []
    made = 0

    def count(*arguments: Any) -> Any:
        nonlocal made
        made += len(arguments[1])
        return generate(*arguments)

    def fill(image: Image.Image, path: Path) -> None:
        if len(written) == 300:
            raise OSError(28, "No space left on device")
        written.append(path)
        write(image, path)

    generate = LabelGan.generate
    monkeypatch.setattr(LabelGan, "generate", count)
    monkeypatch.setattr("zerosum.modalities.picture.save_whole", fill)
    command = ("sample", str(trained), "--seeds", "0-899", "--out", str(place))
    code, out, err = call(*command)
    assert (code, out) == (2, "")
    assert err == f"zerosum: cannot write to {place}: No space left on device\n"
    assert made == 512  # of 900: two blocks of 256
    assert sorted(place.iterdir()) == written
    before = {path: path.read_bytes() for path in written}
    monkeypatch.setattr("zerosum.modalities.picture.save_whole", write)
    assert call(*command)[0] == 0
    assert len(list(place.iterdir())) == 900
    assert all(path.read_bytes() == content for path, content in before.items())


def test_a_grid_has_a_bound(trained: Path, tmp_path: Path, call: Call) -> None:
    code, out, err = call("sample", str(trained), "--n", "1000000", "--out", str(tmp_path / "grid.png"))
    assert (code, out) == (2, "")
    assert err == (
        "zerosum: --n 1000000: a grid holds 32,000 of this generator's images at most; one file each: "
        "--seeds 0-999999\n"
    )
    code, _, err = call("sample", str(trained), "--n", "4", "--out", str(tmp_path / "grid.txt"))
    assert (code, "images are written as .png, " in err) == (2, True)
    assert not list(tmp_path.iterdir())


def test_dry_run_makes_no_folder(tmp_path: Path, call: Call) -> None:
    code, out, _ = call("train", "digits", "--out", str(tmp_path / "runs"), *SMALL, "--dry-run")
    assert code == 0
    assert not list(tmp_path.rglob("*-digits"))
    assert not list(tmp_path.rglob("*.yaml"))
    for word in ("digits", "1x8x8, trained at 16", "dcgan", "weights", "non-saturating", "fp32 on", "threads auto"):
        assert word in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "digit"], "unknown recipe 'digit': did you mean 'digits'?"),
        (["train", "--set", "optimiser.lr=1"], "did you mean 'optimizer.lr'?"),
        (["train", "--set", "steps"], "write key=value"),
        (["train", "--set", "steps=-1"], "steps = -1"),
        (["train", "--data", "no/such/place"], "no/such/place"),
        (["train", "--fast"], "No such option"),
        (["trian"], "trian"),
        (["resume"], "Missing argument"),
        (["resume", "no/such/run"], "is no run folder"),
        (["sample", "no/such/run", "--seeds", "9-3"], "write 0-63 or 1,5,9"),
        (["sample", "no/such/run", "--where", "gender"], "write name=value"),
        (["sample", "no/such/run", "--n", "0"], "--n"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("zerosum: ")
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_wrong_class(trained: Path, call: Call) -> None:
    code, out, err = call("sample", str(trained), "--class", "eleven")
    assert (code, out) == (2, "")
    assert "'eleven': the data has 0, 1, 2, 3, 4, 5, 6, 7, 8, 9" in err


def test_divergence_is_exit_code_3(tmp_path: Path, call: Call) -> None:
    wild = ["--set", "optimizer.lr=1e38", "--set", "objective=wasserstein", "--set", "steps=30"]
    code, out, err = call("train", "--out", str(tmp_path), *SMALL, *wild)
    assert (code, out) == (3, "")
    assert "training diverged" in err
    assert "optimizer.lr" in err.splitlines()[-1]


def test_resume_trains_further(trained: Path, call: Call) -> None:
    code, out, err = call("resume", str(trained))
    assert (code, out.splitlines()[-1]) == (0, str(trained))
    assert "finished at step 6" in err
    code, out, err = call("resume", str(trained), "--set", "optimizer.lr=1")
    assert (code, out) == (2, "")
    assert "optimizer.lr was 0.001, now 1.0" in err
    done = run("resume", str(trained), "--set", "steps=8")
    assert (done.returncode, done.stdout) == (0, f"{trained}\n"), done.stderr
    assert [tick["step"] for tick in read_lines(trained / "stats.jsonl")] == list(range(1, 9))


def test_signals_save_everything_and_resume_completes(tmp_path: Path, call: Call) -> None:
    out = tmp_path / "runs"
    names = ("SIGINT", "SIGHUP", "SIGUSR1", "SIGXCPU", "SIGTERM")
    sent = {name: getattr(signal, name) for name in names if hasattr(signal, name)}
    started = [
        subprocess.Popen(
            [COMMAND, "train", "--out", str(out), "--name", name, *SMALL, "--set", "steps=100000"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )
        for name in sent
    ]
    for process, (name, number) in zip(started, sent.items(), strict=True):
        deadline = time.monotonic() + 100
        while not (found := [path for path in out.glob(f"*-{name}") if len(read_lines(path / "stats.jsonl")) >= 2]):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=60)
        assert process.returncode == 128 + number
        assert stdout == ""
        assert f"zerosum: {name}: stopped at" in stderr
        assert "Traceback" not in stderr
        (folder,) = found
        step = int(read_lines(folder / "stats.jsonl")[-1]["step"])
        assert f"stopped at step {step} of 100000, everything saved; go on with: zerosum resume {folder}" in stderr
        assert (folder / "checkpoints" / f"step-{step:06d}" / "manifest.json").is_file()
        assert (folder / "samples" / f"{step:06d}.png").is_file()
    code, text, err = call("resume", str(folder), "--set", f"steps={step + 2}")
    assert (code, text.splitlines()[-1]) == (0, str(folder))
    assert f"going on at step {step} of {step + 2}" in err
    assert [int(tick["step"]) for tick in read_lines(folder / "stats.jsonl")] == list(range(1, step + 3))


def test_minutes(tmp_path: Path, call: Call) -> None:
    code, out, _ = call("train", "--out", str(tmp_path), *SMALL, "--set", "steps=100000", "--minutes", "0.01")
    assert code == 0
    ticks = read_lines(Path(out.strip()) / "stats.jsonl")
    assert 1 <= ticks[-1]["step"] < 100_000
    assert 0.6 <= ticks[-1]["seconds"] < 10


def test_own_recipe_files(tmp_path: Path, call: Call) -> None:
    recipe = tiny_recipe({"data.uri": "digits", "steps": 2, "name": "mine"})
    (tmp_path / "mine.yaml").write_text(recipe.to_yaml())
    code, out, _ = call("train", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "runs"))
    assert (code, out) == (0, f"{tmp_path / 'runs' / '00000-mine'}\n")


def test_seeds_and_where() -> None:
    assert parse_seeds("0-3,7") == [0, 1, 2, 3, 7]
    assert parse_seeds(" 5 , 1-1") == [5, 1]
    for text in ("", "a", "3-1", "-1", "1-", "1..3", "0-99999999"):
        with pytest.raises(ZerosumError, match="write 0-63 or 1,5,9"):
            parse_seeds(text)
    assert parse_where("gender=female, age=old") == {"gender": "female", "age": "old"}
    assert parse_where("a=b=c") == {"a": "b=c"}
    assert parse_where(None) is None
    for text in ("", "gender", "=x", "gender=", "a=b,,c=d"):
        with pytest.raises(ZerosumError, match="write name=value"):
            parse_where(text)
