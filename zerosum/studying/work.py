"""Carrying a study out: everything is checked first, then run after run is trained, scored and entered."""

import json
import math
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

import torch
from filelock import FileLock

from zerosum import api, scoring
from zerosum.data.cache import cache_folder
from zerosum.engine.runs.files import read_json
from zerosum.engine.runs.folder import held, new_folder
from zerosum.engine.runs.reading import checkpoints, damage
from zerosum.engine.runs.run import Run
from zerosum.engine.runs.stored import check_same
from zerosum.engine.training.loop import train as train_run
from zerosum.engine.watching.diagnosis import Finding
from zerosum.engine.watching.watch import Watch
from zerosum.errors import Diverged, Interrupted, Stopped, ZerosumError, at_door, option, suggest
from zerosum.errors import setting as how_to_set
from zerosum.loading import dotted, packaged
from zerosum.progress import StudyBar, clock, note
from zerosum.recipe import Recipe
from zerosum.studying.check import Bench, check
from zerosum.studying.desk import (
    PLAN,
    Desk,
    Task,
    read_plan,
    recipe_of,
    setting_file,
    write_plan,
    write_setting,
)
from zerosum.studying.plan import (
    Plan,
    StudyFile,
    Values,
    absolute,
    is_study_file,
    make_plan,
    packaged_studies,
)
from zerosum.studying.results import (
    ENDED,
    RESULTS,
    Done,
    as_table,
    find_run,
    progress,
    run_name,
    write_results,
)

#: seconds between two looks at how far all runs are
LOOK_EVERY = 2.0


@dataclass(frozen=True, repr=False)
class Study:
    """A study that was carried out, or as much of it as there is."""

    folder: Path
    plan: Plan
    #: results.json
    results: dict[str, Any]

    def __repr__(self) -> str:
        ended = sum(line["status"] in ENDED for line in self.results["runs"])
        return f"Study({self.plan.name}, {ended} runs done, {self.folder})"

    @property
    def table(self) -> str:
        """Settings against scores, and the claims with their verdicts, as text."""
        return as_table(self.plan, self.results)


def study(
    what: str | Path = "digits",
    *,
    vary: Mapping[str, Values] | None = None,
    grid: bool = False,
    search: int | None = None,
    by: str | None = None,
    seeds: int | Sequence[int] | None = None,
    data: str | Path | None = None,
    out: str | Path = "studies",
    overrides: Mapping[str, Any] | None = None,
    jobs: int = 1,
    quick: bool = False,
    storage: str | None = None,
) -> Study:
    """Trains every setting of a study from several seeds, and judges its claims.

    what: a study of the package, a study file, a recipe (a name or a file) whose keys are varied, or the folder of a
    study, which goes on. vary: key -> values; each against the recipe's own, or all combinations with grid. search: so
    many settings drawn from vary, where "low..high" and "low..high log" are ranges, for the best score of the kind `by`
    ("fid"). seeds: how many, or which. data, overrides: as in `train`. jobs: processes, which share the cores. quick:
    the short form of the study. storage: an SQL address that Optuna knows, in place of a journal in the study's folder.
    Raises ZerosumError before anything is trained for what is wrong in any setting or claim, and Interrupted, with
    everything saved, on a signal (see `zerosum.api.signals`).
    """
    place = Path(what)
    if place.is_dir() and str(what) not in (*packaged_studies(), *packaged()):
        if not (place / PLAN).is_file():
            raise ZerosumError(f"{place} is no study folder: it has no {PLAN}")
        if vary or grid or search or seeds or data or overrides or quick:
            raise ZerosumError(f"{place} goes on as it was planned: give nothing but {option('jobs')} with it")
        folder, bench = place, Bench()
    else:
        plan = plan_of(what, vary, grid, search, by, seeds, data, overrides, quick)
        bench = Bench()
        check(plan, bench)
        folder = create_folder(Path(out), plan, storage)
    return _carry_out(folder, bench, max(1, jobs))


def plan_of(
    what: str | Path,
    vary: Mapping[str, Values] | None = None,
    grid: bool = False,
    search: int | None = None,
    by: str | None = None,
    seeds: int | Sequence[int] | None = None,
    data: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    quick: bool = False,
) -> Plan:
    """What `study` would train. See there."""
    name, path = str(what), Path(what)
    is_file = path.suffix in (".yaml", ".yml")
    if name in packaged_studies() or (is_file and is_study_file(path)):
        if vary or grid or search:
            raise ZerosumError(f"study {name} says itself what it varies: give {option('vary')} with a recipe")
        made = StudyFile.load(name)
        made = made.quickened() if quick else made
    elif name in packaged() or is_file:
        if quick:
            raise ZerosumError(
                f"{option('quick')} is for studies; for a short study of {name}: {how_to_set('steps', 500)}"
            )
        values: dict[str, Any] = {"name": path.stem, "recipe": absolute(name) if is_file else name}
        values |= {"vary": dict(vary or {}), "grid": grid} | ({} if search is None else {"search": search})
        made = StudyFile.parse(values)
    else:
        raise ZerosumError(f"unknown study or recipe '{name}': {suggest(name, [*packaged_studies(), *packaged()])}")
    changes: dict[str, Any] = {"set": dotted(Recipe, made.set, overrides or {})}
    changes |= {} if seeds is None else {"seeds": seeds if isinstance(seeds, int) else list(seeds)}
    changes |= {} if data is None else {"data": str(data)}
    changes |= {} if by is None else {"by": by}
    return make_plan(made.changed(**changes), quick)


def create_folder(out: Path, plan: Plan, storage: str | None = None) -> Path:
    """out/00003-name with the plan in it, and every run in the queue."""
    plan = plan.model_copy(update={"id": f"{plan.name}-{uuid.uuid4().hex[:12]}", "storage": storage})
    folder = new_folder(out, plan.name)
    for name in ("runs", "settings", "locks"):
        (folder / name).mkdir()
    (folder / "study.yaml").write_text(plan.to_yaml(), encoding="utf-8")
    for setting in plan.settings:
        write_setting(folder, setting, plan.images)
    write_plan(folder, plan)
    Desk(folder).fill()
    return folder


def _carry_out(folder: Path, bench: Bench, jobs: int) -> Study:
    """This process works with jobs - 1 others, until no run is left that nobody is at."""
    before = torch.get_num_threads()
    threads, helpers = max(1, before // jobs), list[subprocess.Popen[bytes]]()
    with api.signals() as caught:
        try:
            helpers += [_start_helper(folder, threads, number) for number in range(1, jobs)]
            torch.set_num_threads(threads)
            with StudyBar() as bar:
                view = View(folder, bar, jobs)
                work(folder, bench, lambda: bool(caught), view)
                while any(helper.poll() is None for helper in helpers) and not caught:
                    view.look("")
                    time.sleep(0.2)
                for number, helper in enumerate(helpers, 1):
                    if helper.returncode and not caught:
                        bar.say(f"a process ended before its time: see {_log(folder, number)}")
                if helpers and not caught:
                    work(folder, bench, lambda: bool(caught), view)  # what a helper left undone
                view.announce()
        finally:
            torch.set_num_threads(before)
            for helper in helpers:
                helper.terminate()
            for helper in helpers:
                helper.wait()
    if caught:
        name = signal.Signals(caught[0]).name
        again = at_door(f"zerosum study {folder}", f'zs.study("{folder}")')
        raise Interrupted(f"{name}: stopped, everything saved; go on with: {again}", 128 + caught[0])
    return Study(folder, read_plan(folder), read_json(folder / RESULTS))


def _start_helper(folder: Path, threads: int, number: int) -> "subprocess.Popen[bytes]":
    code = "import sys; from zerosum.studying.work import help_with; help_with(sys.argv[1], int(sys.argv[2]))"
    with _log(folder, number).open("ab") as log:
        return subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", code, str(folder), str(threads)],
            # a cache that lasts as long as this process only, since the user's cannot be written, is shared as well
            env=os.environ | {"OMP_NUM_THREADS": str(threads), "ZEROSUM_CACHE": str(cache_folder())},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def _log(folder: Path, number: int) -> Path:
    return folder / "locks" / f"helper-{number}.log"


def help_with(folder: str, threads: int) -> None:
    """What a further process of `study(jobs=...)` does; its output goes to a file of the study folder."""
    torch.set_num_threads(threads)
    try:
        with api.signals() as caught:
            work(Path(folder), Bench(), lambda: bool(caught))
        if caught:
            sys.exit(128 + caught[0])
    except ZerosumError as error:
        note(f"zerosum: {error}")
        sys.exit(error.exit_code)


class View:
    """What the person sees: how far all runs are, and a line for each that has ended, whoever trained it."""

    def __init__(self, folder: Path, bar: StudyBar, workers: int) -> None:
        self.folder, self.bar, self.workers = folder, bar, workers
        self.looked = 0.0
        self.told = {(line["setting"], line["seed"]) for line in self._ended()}
        self.lengths: dict[str, int] = {}

    def look(self, text: str) -> None:
        """Now and then; text: on the run of this process."""
        if time.perf_counter() - self.looked < LOOK_EVERY:
            return
        self.looked = time.perf_counter()
        self.announce()
        plan = read_plan(self.folder)
        for setting in plan.settings:
            if setting.name not in self.lengths:
                self.lengths[setting.name] = Recipe.load(setting_file(self.folder, setting.name)).steps
        self.bar.show(*progress(self.folder, plan, self.lengths, self.workers), text)

    def announce(self) -> None:
        for line in self._ended():
            if (line["setting"], line["seed"]) not in self.told:
                self.told.add((line["setting"], line["seed"]))
                scores = ", ".join(f"{name} {value:.3g}" for name, value in list(line["scores"].items())[:1])
                took = clock(line["seconds"] or 0)
                self.bar.say(f"{line['setting']} seed {line['seed']}: {line['status']} after {took}  {scores}".rstrip())

    def _ended(self) -> list[dict[str, Any]]:
        path = self.folder / RESULTS
        return [line for line in read_json(path)["runs"] if line["status"] in ENDED] if path.is_file() else []


def work(folder: Path, bench: Bench, stop: Callable[[], bool], view: View | None = None) -> None:
    """Takes run after run until there is none left, or stop() says so; a run that it leaves half done is saved."""
    desk = Desk(folder)
    while not stop() and (task := desk.take()) is not None:
        try:
            status = _train(folder, desk, task, bench, stop, view)
            if status is None:
                return
            done = Done(task.setting.name, task.seed, find_run(folder, run_name(task.setting.name, task.seed)))
            value = done.score(desk.plan.search.by if desk.plan.search else "fid", None, 1.0)
            desk.finish(task, status, None if math.isnan(value) else value)
        finally:
            task.lock.release(force=True)
        enter(folder)
    enter(folder)


def enter(folder: Path) -> None:
    """Brings results.json up to date; one worker at a time, so that none writes what another already knows better."""
    with FileLock(folder / "locks" / "results"):
        write_results(folder, read_plan(folder))


def _train(
    folder: Path, desk: Desk, task: Task, bench: Bench, stop: Callable[[], bool], view: View | None
) -> str | None:
    """Trains one run to its end and scores it: how it ended, or None if stop() came first."""
    plan, name = desk.plan, run_name(task.setting.name, task.seed)
    recipe = Recipe.load(setting_file(folder, task.setting.name), {"name": name, "seed": task.seed})
    run, watch = _open(folder, recipe, bench)
    minutes = None if plan.minutes is None else plan.minutes - run.state.seconds / 60
    prospect = Prospect(desk, task)
    try:
        if run.state.step < recipe.steps and (minutes is None or minutes > 0):
            with held(run.place):
                for tick in train_run(run, lambda: prospect.hopeless or stop(), minutes, watch):
                    if isinstance(tick, Finding):  # its page says it
                        continue
                    if view is not None:
                        view.look(f"{name} step {int(tick['step'])}/{recipe.steps}  {watch.headline if watch else ''}")
                    if plan.search is not None and watch is not None:
                        prospect.look(run, watch)
    except Diverged:
        return "diverged"
    except Stopped:
        pass
    status = str(read_json(run.place / "summary.json")["status"])
    if status == "interrupted" and run.state.step < recipe.steps:
        if not prospect.hopeless:
            return None
        status = "pruned"
    elif run.state.step == recipe.steps:
        status = "finished"
    if status != "pruned" and not Done(task.setting.name, task.seed, run.place).ended:
        scoring.store(bench.measure(run, plan.images), run.place)
    run.write_summary(status, 0.0 if watch is None else watch.seconds)
    return status


def _open(folder: Path, recipe: Recipe, bench: Bench) -> tuple[Run, Watch | None]:
    """The run of this name, as far as it was trained, or a new one."""
    run = bench.prepare(recipe)
    watch = bench.watch(run)
    place = find_run(folder, recipe.name)
    if place is not None and not any(damage(path) is None for path in checkpoints(place / "checkpoints")):
        rmtree(place)  # its worker died before there was anything to go on from
        place = None
    if place is None:
        run.create_folder(folder / "runs")
    else:
        check_same(place, recipe, run.source)
        run.reopen(place)
        if watch is not None:
            watch.reopen(run)
    return run, watch


@dataclass
class Prospect:
    """A run of a search, held against the others as its scores come in."""

    desk: Desk
    task: Task
    hopeless: bool = False
    reported: int = 0

    def look(self, run: Run, watch: Watch) -> None:
        """After every tick; does nothing until there is a new score."""
        fresh = [one.step for one in watch.history[self.reported :]]
        search = self.desk.plan.search
        if not fresh or search is None:
            return
        self.reported += len(fresh)
        made = Done(self.task.setting.name, self.task.seed, run.place)
        scores = [(step, made.score(search.by, step, 1.0)) for step in fresh]
        known = [one for one in scores if math.isfinite(one[1])]
        self.hopeless = self.desk.is_hopeless(self.task, known, run.recipe.steps)


def describe(plan: Plan) -> str:
    """What would be trained, for --dry-run."""
    lines = [f"{plan.name}: {plan.about}" if plan.about else plan.name]
    search = plan.search
    count = search.trials if search is not None else len(plan.settings)
    lines.append(f"{count} settings x {len(plan.seeds)} seeds = {count * len(plan.seeds)} runs")
    settings = [search.base] if search is not None else plan.settings
    shared = {
        key: value for key, value in settings[0].set.items() if all(one.set.get(key) == value for one in settings)
    }
    lines += [f"all: {_values(shared)}"] if shared else []
    for setting in settings:
        own = {key: value for key, value in setting.set.items() if key not in shared}
        steps = recipe_of(setting, plan.images).steps
        lines.append(f"  {setting.name:20} {setting.recipe}, {steps:,} steps  {_values(own)}".rstrip())
    if search is not None:
        lines += [f"  {key:20} {found}" for key, found in search.vary.items()]
    lines += [f"claim: {claim.say}\n  {claim.expect}" for claim in plan.claims]
    return "\n".join(lines)


def _values(overrides: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} = {json.dumps(value)}" for key, value in overrides.items())
