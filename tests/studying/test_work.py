"""Studies through the real command line, on digits: planned, refused, trained, stopped, taken over, judged."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import zerosum as zs
from tests.conftest import Call
from zerosum.engine.runs.files import read_json, read_lines
from zerosum.errors import ZerosumError
from zerosum.metrics.vocabulary import MEANING
from zerosum.studying import work as working
from zerosum.studying.check import Bench
from zerosum.studying.desk import Desk, read_plan, try_lock
from zerosum.studying.plan import StudyFile, make_plan
from zerosum.studying.results import Done, progress
from zerosum.studying.work import create_folder, plan_of, work

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "120", "NO_COLOR": "1"}
SMALL: dict[str, Any] = {
    "generator.width": 4,
    "critic.width": 4,
    "batch": 8,
    "precision": "fp32",
    "tick": 1,
    "steps": 4,
    "checkpoint": 2,
    "scores.every": 2,
    "scores.features": "random",
}
STUDY: dict[str, Any] = {
    "name": "tiny",
    "recipe": "digits",
    "seeds": 2,
    "images": 50,
    "set": SMALL,
    "settings": {"plain": {}, "fast": {"set": {"optimizer.lr": 0.01}}},
    "claims": [
        {"say": "fast is nearer", "expect": "fid(fast) < fid(plain)"},
        {"say": "it got nearer", "expect": "fid(fast, step=2) > fid(fast) and seconds(fast) > 0"},
        {"say": "losses are losses", "expect": 'mean("critic/loss", plain, last=0.5) > 0'},
    ],
}


pytestmark = pytest.mark.usefixtures("undrawn")


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(json.dumps(STUDY | changes))  # JSON is YAML
    return path


def scores(folder: Path) -> dict[tuple[str, int], dict[str, float]]:
    return {(run["setting"], run["seed"]): run["scores"] for run in read_json(folder / "results.json")["runs"]}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that was never stopped."""
    place = tmp_path_factory.mktemp("whole")
    return zs.study(write(place), out=place / "studies").folder


def test_a_study(tmp_path: Path, call: Call, whole: Path) -> None:
    code, out, err = call("study", str(write(tmp_path)), "--out", str(tmp_path / "studies"))
    folder = tmp_path / "studies" / "00000-tiny"
    assert (code, out) == (0, f"{folder}\n"), err
    names = {"study.yaml", "plan.json", "results.json", "runs", "settings", "locks", "journal.log"}
    assert {path.name for path in folder.iterdir()} == names
    assert sorted(path.name for path in (folder / "runs").iterdir()) == [
        "00000-plain-seed0",
        "00001-fast-seed0",
        "00002-plain-seed1",
        "00003-fast-seed1",
    ]
    plan, results = read_json(folder / "plan.json"), read_json(folder / "results.json")
    assert [setting["name"] for setting in plan["settings"]] == ["plain", "fast"]
    assert plan["seeds"] == [0, 1]
    assert [run["status"] for run in results["runs"]] == ["finished"] * 4
    assert all(run["steps"] == 4 and run["seconds"] > 0 for run in results["runs"])
    assert all((folder / run["folder"] / "checkpoints/step-000004").is_dir() for run in results["runs"])
    for name, means in results["settings"].items():
        fids = [run["scores"]["fid50@random"] for run in results["runs"] if run["setting"] == name]
        assert means["fid50@random"]["n"] == 2
        assert means["fid50@random"]["mean"] == pytest.approx(sum(fids) / 2, rel=1e-12)
        assert means["fid50@random"]["std"] == pytest.approx(abs(fids[0] - fids[1]) / 2**0.5, rel=1e-9)
    first, second, third = results["claims"]
    assert set(first["values"]) == {"0", "1"}
    assert first["values"]["1"]["fid(fast)"] == scores(folder)["fast", 1]["fid50@random"]
    assert set(second["values"]["0"]) == {"fid(fast, step=2)", "fid(fast)", "seconds(fast)", "0"}
    assert third["verdict"] in ("supported", "not decided") and third["direction"] == "as expected"
    assert results["search"] is None
    assert "fast seed 1: finished after" in err
    for words in ("plain", "2/2", "fast is nearer", third["why"]):
        assert words in err
    # from the same seeds come the same numbers
    assert scores(folder) == scores(whole)


def test_going_on_with_what_is_finished_changes_nothing(whole: Path, call: Call) -> None:
    before = (whole / "results.json").read_text()
    code, out, _ = call("study", str(whole))
    assert (code, out) == (0, f"{whole}\n")
    assert (whole / "results.json").read_text() == before
    assert len(list((whole / "runs").iterdir())) == 4
    code, _, err = call("study", str(whole), "--seeds", "3")
    assert (code, err.count("\n")) == (2, 1)
    assert "goes on as it was planned" in err


def wait_for(folder: Path, pattern: str, ticks: int, process: "subprocess.Popen[str]") -> Path:
    deadline = time.monotonic() + 100
    while not (found := [p for p in folder.glob(pattern) if len(read_lines(p / "stats.jsonl")) >= ticks]):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found[0]


def test_stopped_and_killed_and_gone_on_with(tmp_path: Path, whole: Path, call: Call) -> None:
    """A signal, then a helper that is killed with a run in its hands: the end is that of the study never stopped."""
    path = write(tmp_path, set=SMALL | {"steps": 30, "checkpoint": 3, "scores.every": 15}, claims=[])
    command = "from zerosum.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", command, "study", str(path), "--out", str(tmp_path / "studies")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    run = wait_for(tmp_path, "studies/*/runs/*-plain-seed0", 5, process)
    process.send_signal(signal.SIGHUP)
    out, err = process.communicate(timeout=60)
    folder = run.parents[1]
    assert (process.returncode, out) == (129, ""), err
    assert f"zerosum: SIGHUP: stopped, everything saved; go on with: zerosum study {folder}" in err
    assert "Traceback" not in err
    stopped = len(read_lines(run / "stats.jsonl"))
    assert stopped < 30

    helper = subprocess.Popen(
        [sys.executable, "-c", f"from zerosum.studying.work import help_with; help_with({str(folder)!r}, 1)"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=ENVIRONMENT,
    )
    victim = wait_for(folder, "runs/*-fast-seed0", 8, helper)
    helper.send_signal(signal.SIGKILL)
    helper.communicate(timeout=60)
    assert len(read_lines(victim / "stats.jsonl")) < 30

    assert call("study", str(folder))[0] == 0
    results = read_json(folder / "results.json")
    assert [run["status"] for run in results["runs"]] == ["finished"] * 4
    assert len(list((folder / "runs").iterdir())) == 4
    for one in (folder / "runs").iterdir():
        assert [tick["step"] for tick in read_lines(one / "stats.jsonl")] == list(range(1, 31))
    unbroken = zs.study(path, out=tmp_path / "again")
    assert scores(folder) == scores(unbroken.folder)


def test_two_processes_never_train_the_same_run(tmp_path: Path) -> None:
    done = zs.study(write(tmp_path, seeds=3), out=tmp_path, jobs=2)
    assert [run["status"] for run in done.results["runs"]] == ["finished"] * 6
    assert sorted(path.name[6:] for path in (done.folder / "runs").iterdir()) == sorted(
        f"{name}-seed{seed}" for name in ("plain", "fast") for seed in range(3)
    )
    for path in (done.folder / "runs").iterdir():
        assert [tick["step"] for tick in read_lines(path / "stats.jsonl")] == [1, 2, 3, 4]


# --- who trains what


def test_a_run_is_handed_out_once_until_its_worker_is_gone(tmp_path: Path) -> None:
    folder = create_folder(tmp_path, plan_of(write(tmp_path)))
    mine, other = Desk(folder), Desk(folder)
    tasks = [mine.take(), other.take(), mine.take(), other.take()]
    taken = [(task.setting.name, task.seed) for task in tasks if task is not None]
    assert taken == [("plain", 0), ("fast", 0), ("plain", 1), ("fast", 1)]
    assert mine.take() is None and other.take() is None
    lost = tasks[1]
    assert lost is not None
    lost.lock.release()  # as the system does when a process ends
    again = mine.take()
    assert again is not None
    assert (again.setting.name, again.seed) == ("fast", 0)
    assert other.take() is None
    mine.finish(again, "finished", 1.0)
    assert other.take() is None
    for task in (tasks[0], *tasks[2:]):
        assert task is not None
        task.lock.release()


def test_a_line_that_a_killed_worker_has_half_written(tmp_path: Path) -> None:
    folder = create_folder(tmp_path, plan_of(write(tmp_path)))
    first = Desk(folder).take()
    assert first is not None
    journal = folder / "journal.log"
    whole_lines = journal.read_bytes()
    journal.write_bytes(whole_lines + b'{"op_code":6,"worker_id":"x')
    second = Desk(folder).take()
    assert second is not None
    assert (second.setting.name, second.seed) == ("fast", 0)
    lines = journal.read_bytes()
    assert lines.startswith(whole_lines)
    assert all(isinstance(json.loads(line), dict) for line in lines.splitlines())
    for task in (first, second):
        task.lock.release()


def test_a_run_is_finished_before_its_lock_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else who looks for orphans would see a run that is said to be running and is not locked."""
    folder = create_folder(tmp_path, plan_of(write(tmp_path)))
    desk = Desk(folder)
    task = desk.take()
    assert task is not None
    tell, seen = desk.study.tell, []

    def watched(*arguments: Any, **options: Any) -> Any:
        seen.append(try_lock(folder / "locks" / "desk"))
        return tell(*arguments, **options)

    monkeypatch.setattr(desk.study, "tell", watched)
    desk.finish(task, "finished", 1.0)
    assert seen == [None]
    free = try_lock(folder / "locks" / "desk")
    assert free is not None
    free.release()


def test_locks(tmp_path: Path) -> None:
    first = try_lock(tmp_path / "lock")
    assert first is not None
    assert try_lock(tmp_path / "lock") is None
    first.release()
    second = try_lock(tmp_path / "lock")
    assert second is not None
    second.release()


def test_a_run_without_a_checkpoint_begins_again(tmp_path: Path) -> None:
    folder = create_folder(tmp_path, plan_of(write(tmp_path, seeds=1, settings={"plain": {}}, claims=[])))
    half = folder / "runs" / "00000-plain-seed0"
    half.mkdir()
    (half / "stats.jsonl").write_text('{"step": 1, "seconds": 1.0}\n')
    work(folder, Bench(), lambda: False)
    assert [run["status"] for run in read_json(folder / "results.json")["runs"]] == ["finished"]
    assert len(read_lines(half / "stats.jsonl")) == 4


def test_a_run_that_diverges_is_entered_and_the_others_go_on(tmp_path: Path) -> None:
    wild = {"optimizer.lr": 1e38, "objective": "wasserstein"}
    claims = [
        {"say": "it breaks down", "expect": "diverged(wild) > diverged(plain)"},
        {"say": "no scores", "expect": "fid(wild) > 1"},
    ]
    path = write(tmp_path, settings={"wild": {"set": wild}, "plain": {}}, claims=claims)
    done = zs.study(path, out=tmp_path, overrides={"steps": 8, "penalties.r1.weight": 0})
    assert [run["status"] for run in done.results["runs"]] == ["diverged", "finished"] * 2
    broke, unknown = done.results["claims"]
    assert (broke["verdict"], broke["difference"]) == ("supported", 1.0)
    assert unknown["verdict"] == "not decided" and "no seed has both" in unknown["why"]


def test_time_limit(tmp_path: Path) -> None:
    path = write(tmp_path, seeds=1, settings={"plain": {}}, claims=[], minutes=0.01)
    done = zs.study(path, out=tmp_path, overrides={"steps": 100_000})
    (run,) = done.results["runs"]
    assert run["status"] == "time limit"
    assert 0.6 <= run["seconds"] < 20
    assert 1 <= run["steps"] < 100_000
    assert run["scores"]["fid50@random"] > 0


def test_search(tmp_path: Path, call: Call) -> None:
    vary = {"optimizer.lr": "1e-4..1e-1 log", "batch": "4..8", "optimizer.betas": [[0.0, 0.99], [0.5, 0.99]]}
    own = {"set": SMALL | {"steps": 8}, "settings": {}, "vary": vary, "search": 7, "seeds": 1, "claims": []}
    del own["set"]["batch"]  # type: ignore[attr-defined]
    code, out, err = call("study", str(write(tmp_path, **own)), "--out", str(tmp_path / "studies"))
    assert code == 0, err
    folder = Path(out.strip())
    search = read_json(folder / "results.json")["search"]
    assert (search["by"], search["planned"], len(search["trials"])) == ("fid", 7, 7)
    assert (
        search["trials"][0]["set"]["optimizer.lr"] == 0.001
    )  # the recipe's own comes first; its batch is out of range
    for trial in search["trials"]:
        assert 1e-4 <= trial["set"]["optimizer.lr"] <= 1e-1
        assert trial["set"]["batch"] in range(4, 9)
        assert trial["set"]["optimizer.betas"] in ([0.0, 0.99], [0.5, 0.99])
        assert trial["status"] in ("finished", "pruned", "diverged")
    assert len({trial["set"]["optimizer.lr"] for trial in search["trials"]}) == 7
    finished = [trial for trial in search["trials"] if trial["status"] == "finished"]
    assert len(finished) >= 4
    assert search["value"] == min(trial["value"] for trial in finished)
    assert f"best fid {search['value']:.3g}: --set optimizer.lr=" in err
    assert [setting["name"] for setting in read_json(folder / "plan.json")["settings"]][-1] == "try-06"


def test_bad_runs_of_a_search_end_early(tmp_path: Path) -> None:
    """Of runs that only differ in that the later ones learn nothing, the later ones are pruned."""
    own = make_plan(
        StudyFile.parse(
            {"recipe": "digits", "set": SMALL | {"steps": 12}, "vary": {"optimizer.lr": [0.01, 1e-9]}, "search": 6}
            | {"images": 50}
        )
    )
    folder = create_folder(tmp_path, own)
    desk = Desk(folder)
    drawn = iter([0.01] * 4 + [1e-9] * 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zerosum.studying.desk.draw", lambda *_: next(drawn))
        work(folder, Bench(), lambda: False)
    trials = read_json(folder / "results.json")["search"]["trials"]
    assert [trial["status"] for trial in trials] == ["finished"] * 4 + ["pruned"] * 2
    assert all(
        Done(one["setting"], 0, folder / "runs" / f"{i:05d}-{one['setting']}-seed0").steps < 12
        for i, one in enumerate(trials)
        if one["status"] == "pruned"
    )
    assert desk.take() is None


@pytest.mark.parametrize(("by", "best"), [("fid", 0.2), ("accuracy", 1.9), ("diversity", 1.05)])
@pytest.mark.parametrize("older", [False, True])
def test_a_search_is_for_the_best_value_of_its_score(tmp_path: Path, by: str, best: float, older: bool) -> None:
    """Of diversity, the nearest to 1; also where the folder is of a version that looked for the largest."""
    plan = make_plan(
        StudyFile.parse(
            {"recipe": "digits", "vary": {"optimizer.lr": [0.01, 0.1]}, "search": 5, "by": by, "images": 50}
        )
    )
    with pytest.MonkeyPatch.context() as patch:
        if older:
            patch.setitem(MEANING, "diversity", ("more", ""))
        folder = create_folder(tmp_path, plan)
    desk = Desk(folder)
    for value in (0.2, 1.9, 1.05, 0.5, 0.7):
        task = desk.take()
        assert task is not None
        desk.is_hopeless(task, [(1, value)], 4)
        desk.finish(task, "finished", value)
    told = {round(trial.value or 0, 2) for trial in desk.study.trials}
    sign = -1 if older else 1  # which it goes on to look for
    expected = {"diversity": {sign * away for away in (0.8, 0.9, 0.05, 0.5, 0.3)}}.get(by, {0.2, 1.9, 1.05, 0.5, 0.7})
    assert told == expected
    values = [0.2, 1.9, 1.05, 0.5, 0.7]
    assert values[desk.study.best_trial.number] == best


# --- what is refused before anything is trained


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"claims": [{"say": "", "expect": "accuracy(plain) > 0.5"}]}, "accuracy is not computed for plain"),
        ({"claims": [{"say": "", "expect": "fid(plian) > 0.5"}]}, "no setting 'plian': did you mean 'plain'?"),
        ({"claims": [{"say": "", "expect": "fid(plain, step=3) > 0.5"}]}, "plain is not scored at step 3"),
        (
            {"claims": [{"say": "", "expect": "kid(plain, at=0.5) > 0.5"}]},
            "kid is not computed while training for plain",
        ),
        ({"claims": [{"say": "", "expect": "mean('critic/los', plain) > 0"}]}, "did you mean 'critic/loss'"),
        ({"claims": [{"say": "", "expect": "mean('critic/gradient_penalty', plain) > 0"}]}, "has no 'critic/grad"),
        ({"claims": [{"say": "", "expect": "mean('gradients', plain) > 0"}]}, "did you mean 'gradient'?"),
        ({"claims": [{"say": "", "expect": "fid(plain)"}]}, "is no comparison"),
        (
            {"settings": {"a": {"set": {"optimiser.lr": 1}}}, "claims": []},
            "setting a: unknown key 'optimiser.lr'",
        ),
        ({"settings": {"a": {"set": {"generator.wide": 1}}}, "claims": []}, "setting a: "),
        ({"settings": {"a": {"recipe": "digit"}}, "claims": []}, "setting a: unknown recipe 'digit'"),
        ({"settings": {"a": {"set": {"data.uri": "no/such"}}}, "claims": []}, "setting a: no data 'no/such'"),
        (
            {"settings": {"a": {}, "b": {"set": {"scores.features": "classifier"}}}, "claims": []},
            "could not be compared",
        ),
        ({"settings": {}, "vary": {"optimizer.lr": []}, "claims": []}, "should be a list of values"),
        ({"settings": {}, "vary": {"optimizer.lr": "2..1"}, "search": 3, "seeds": 1, "claims": []}, "an empty range"),
        ({"settings": {}, "vary": {"batch": "1..9"}, "search": 3, "seeds": 1, "claims": []}, "batch"),
        (
            {"settings": {}, "vary": {"batch": "4..9"}, "search": 3, "by": "fud", "seeds": 1, "claims": []},
            "did you mean 'fid'?",
        ),
        (
            {"settings": {}, "vary": {"batch": "4..9"}, "search": 3, "by": "accuracy", "seeds": 1, "claims": []},
            "--by accuracy",
        ),
        ({"clams": []}, "unknown key 'clams': did you mean 'claims'?"),
    ],
)
def test_bad_studies_are_refused_before_any_run(
    changes: dict[str, Any], message: str, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zerosum.metrics.pictures.classifier.STEPS", 60)
    code, out, err = call("study", str(write(tmp_path, **changes)), "--out", str(tmp_path / "studies"))
    assert (code, out) == (2, "")
    last = err.splitlines()[-1]
    assert last.startswith("zerosum: ") and message in last
    assert not (tmp_path / "studies").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["course-face"], "did you mean 'course-faces'"),
        (["digit", "--vary", "batch=2"], "did you mean 'digits'"),
        (["course-faces", "--vary", "batch=2"], "says itself what it varies"),
        (["digits", "--quick"], "--quick is for studies"),
        (["digits", "--vary", "batch"], "write key=a,b,c"),
        (["digits", "--seeds", "0"], "seeds = 0"),
        (["digits", "--seeds", "x"], "write 0-63 or 1,5,9"),
        (["digits", "--vary", "batch=2..3"], "a range is for a search"),
        (["digits", "--search", "3"], "something to search"),
        (["no/such.yaml"], "does not exist"),
        (["."], "is no study folder"),
        (["course-faces", "--quick"], "names no data: give a folder or zip"),
    ],
)
def test_wrong_usage(
    arguments: list[str], message: str, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = call("study", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("zerosum: ") and err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_dry_run_trains_nothing_and_keeps_nothing(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch, empty_cache: Path
) -> None:
    def trained(*_: object) -> None:
        raise AssertionError("something was trained, or measured")

    for name in (
        "modalities.picture.classifier",
        "metrics.evaluate.Yardstick.__init__",
        "engine.runs.run.Run.create_folder",
    ):
        monkeypatch.setattr(f"zerosum.{name}", trained)
    monkeypatch.chdir(tmp_path)
    small = ["--set", "generator.width=4", "--set", "critic.width=4"]
    assert call("train", "digits", *small, "--dry-run")[0] == 0
    code, out, _ = call("study", "digits", "--vary", "optimizer.lr=0.001,0.003", *small, "--dry-run")
    assert code == 0
    assert "2 settings x 3 seeds = 6 runs" in out
    assert not list(tmp_path.iterdir())
    # what is wrong with a setting is found all the same
    code, _, err = call("study", "digits", "--vary", "generator.norm=batch,bach", *small, "--dry-run")
    assert code == 2
    assert "setting norm-bach: " in err


def test_dry_run_and_list(tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = call("study", str(write(tmp_path)), "--dry-run", "--seeds", "0-2,7")
    assert code == 0
    for words in ("2 settings x 4 seeds = 8 runs", "plain", "optimizer.lr = 0.01", "fast is nearer", "fid(fast) <"):
        assert words in out
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]
    code, out, _ = call("study")
    assert code == 0
    assert all(
        f"course-{name}" in out for name in ("objectives", "faces", "conditional", "wgan-gp", "faces-attributes")
    )


def test_progress(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    plan, lengths = read_plan(folder), {"plain": 4, "fast": 4}
    assert progress(folder, plan, lengths, 1) == (1.0, 0.0)
    shutil.rmtree(folder / "runs" / "00003-fast-seed1")
    share, left = progress(folder, plan, lengths, 1)
    other = read_lines(folder / "runs" / "00001-fast-seed0" / "stats.jsonl")[-1]["seconds"]
    assert share == 0.75
    assert left == pytest.approx(other, rel=1e-9)
    assert progress(folder, plan, lengths, 2)[1] == pytest.approx(other / 2, rel=1e-9)


def test_scores_made_in_different_ways_are_not_compared(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    path = folder / "runs" / "00001-fast-seed0" / "scores.jsonl"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    working.enter(folder)
    claims = read_json(folder / "results.json")["claims"]
    assert [claim["verdict"] for claim in claims[:2]] == ["not decided"] * 2
    assert "cannot be compared: seed is 0 and 1" in claims[0]["why"]
    assert "cannot" not in claims[2]["why"]


def test_a_folder_without_a_plan(tmp_path: Path) -> None:
    with pytest.raises(ZerosumError, match="is no study folder"):
        zs.study(tmp_path)
