"""Who trains what: Optuna keeps the list of runs, hands each to one worker, and draws the settings of a search.

A worker holds a lock on its run for as long as it lives. The system lets go of it when the worker ends, however it
ends, so a run that is said to be running and is not locked has lost its worker, and goes back to the queue.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.study import StudyDirection
from optuna.trial import TrialState

from zerosum.engine.runs.files import read_json, write_json
from zerosum.errors import ZerosumError, option
from zerosum.loading import validated
from zerosum.metrics.vocabulary import MEANING, shortfall
from zerosum.recipe import Recipe
from zerosum.studying.plan import Plan, Setting, parse_range

PLAN = "plan.json"
#: settings of a search that are trained to their end before others are cut short
WHOLE = 4


@dataclass(frozen=True)
class Task:
    """A run that this worker has taken; it is its own until the lock is released."""

    setting: Setting
    seed: int
    trial: optuna.Trial
    lock: FileLock


class Desk:
    """Hands out the runs of one study folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.plan = folder, read_plan(folder)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.by = "fid" if self.plan.search is None else self.plan.search.by
        better, _ = MEANING[self.by]
        self.study = optuna.create_study(
            storage=_storage(folder, self.plan.storage),
            study_name=self.plan.id,
            direction="maximize" if better == "more" else "minimize",
            load_if_exists=True,
        )

    def fill(self) -> None:
        """Puts every run of the plan into the queue; of a search, so many that are still to be drawn."""
        for setting, seed in self.plan.runs():
            about = {"setting": setting.name, "seed": seed}
            self.study.enqueue_trial(about, user_attrs=about)
        search = self.plan.search
        for index in range(search.trials if search is not None else 0):
            # the recipe's own values come first, where they lie in the ranges
            own = self._own_values() if index == 0 else {}
            about = {"setting": f"try-{index:02d}", "seed": self.plan.seeds[0]}
            self.study.enqueue_trial(own, user_attrs=about)

    def take(self) -> Task | None:
        """The next run that nobody is at, or None."""
        with FileLock(self.folder / "locks" / "desk"):
            for orphan in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                lock = try_lock(self._lock(orphan.number))
                if lock is not None:
                    lock.release()
                    self.study.tell(orphan.number, state=TrialState.FAIL)
                    self.study.enqueue_trial(orphan.params, user_attrs=orphan.user_attrs)
            waiting = self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
            if not waiting:
                return None
            # a seed of each trial's own: workers that begin together would draw the same values
            self.study.sampler = TPESampler(seed=waiting[0].number, constant_liar=True)
            trial = self.study.ask()
            lock = try_lock(self._lock(trial.number))
            if lock is None:
                raise ZerosumError(f"{self.folder}: run {trial.number} is taken already; was the journal copied?")
            return Task(self._setting(trial), int(trial.user_attrs["seed"]), trial, lock)

    def finish(self, task: Task, status: str, value: float | None) -> None:
        """value: the score that a search goes by; None for a run that has none."""
        with FileLock(self.folder / "locks" / "desk"):  # who looks for orphans between two of these lines finds one
            if status == "pruned":
                self.study.tell(task.trial, state=TrialState.PRUNED)
            elif value is None or status == "diverged":
                self.study.tell(task.trial, state=TrialState.FAIL)
            else:
                self.study.tell(task.trial, self._sought(value))
            task.lock.release()

    def is_hopeless(self, task: Task, scores: list[tuple[int, float]], steps: int) -> bool:
        """Whether a run of a search is worse than the median of the others at the same step, a quarter of the way on.

        scores: (step, value) of all scores of this run so far.
        """
        for step, value in scores:
            task.trial.report(self._sought(value), step)
        self.study.pruner = MedianPruner(n_startup_trials=WHOLE, n_warmup_steps=steps // 4)
        return bool(scores) and task.trial.should_prune()

    def _sought(self, value: float) -> float:
        """What the sampler is told of a score: where 1 is best, the distance from 1."""
        return shortfall(self.by, value) * (-1 if self.study.direction == StudyDirection.MAXIMIZE else 1)

    def _lock(self, number: int) -> Path:
        return self.folder / "locks" / f"run-{number}"

    def _setting(self, trial: optuna.Trial) -> Setting:
        """That of the plan, or a new one of a search, which is added to it."""
        name, search = str(trial.user_attrs["setting"]), self.plan.search
        if search is None:
            trial.suggest_categorical("setting", [setting.name for setting in self.plan.settings])
            trial.suggest_categorical("seed", self.plan.seeds)
            return next(setting for setting in self.plan.settings if setting.name == name)
        setting = search.base.with_values({key: draw(trial, key, found) for key, found in search.vary.items()}, name)
        self.plan = read_plan(self.folder)  # others may have added theirs
        if name not in (one.name for one in self.plan.settings):
            write_setting(self.folder, setting, self.plan.images)
            settings = sorted([*self.plan.settings, setting], key=lambda one: one.name)
            self.plan = self.plan.model_copy(update={"settings": settings})
            write_plan(self.folder, self.plan)
        return setting

    def _own_values(self) -> dict[str, Any]:
        assert self.plan.search is not None  # noqa: S101
        own = recipe_of(self.plan.search.base, self.plan.images).flat()
        result = {}
        for key, found in self.plan.search.vary.items():
            span = parse_range(key, found) if isinstance(found, str) else None
            if span is None and own.get(key) in found:
                result[key] = json.dumps(own[key])
            elif span is not None and isinstance(own.get(key), int | float) and span.low <= own[key] <= span.high:
                result[key] = own[key]
        return result


def draw(trial: optuna.Trial, key: str, values: list[Any] | str) -> Any:
    """A value from a list, or from a range."""
    if isinstance(values, list):
        return json.loads(trial.suggest_categorical(key, [json.dumps(value) for value in values]))
    span = parse_range(key, values)
    if span.whole:
        return trial.suggest_int(key, int(span.low), int(span.high), log=span.log)
    return trial.suggest_float(key, span.low, span.high, log=span.log)


def _storage(folder: Path, address: str | None) -> BaseStorage:
    if address is None:
        journal = folder / "journal.log"
        return JournalStorage(JournalFileBackend(str(journal), JournalLock(folder / "locks" / "journal", journal)))
    try:
        return RDBStorage(address)
    except Exception as error:  # whatever a database throws, the person needs one line
        raise ZerosumError(f"{option('storage')} {address}: cannot be opened: {str(error).splitlines()[0]}") from None


class JournalLock(JournalFileOpenLock):
    """In place of Optuna's, which a worker that is killed while it writes leaves behind for half a minute.

    What such a worker has written of its last line is cut off, or the next line would begin in the midst of it.
    """

    def __init__(self, path: Path, journal: Path) -> None:
        super().__init__(str(path))
        self.lock, self.journal = FileLock(path), journal

    def acquire(self) -> bool:
        self.lock.acquire()
        with self.journal.open("rb+") as file:
            text = file.read()
            file.truncate(text.rfind(b"\n") + 1)
        return True

    def release(self) -> None:
        self.lock.release()


def try_lock(path: Path) -> FileLock | None:
    """The lock, held until it is released or this process ends; None while another holds it."""
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return None
    return lock


def read_plan(folder: Path) -> Plan:
    return validated(Plan, read_json(folder / PLAN), where=str(folder / PLAN))


def write_plan(folder: Path, plan: Plan) -> None:
    write_json(folder / PLAN, plan.model_dump())


def recipe_of(setting: Setting, images: int) -> Recipe:
    """The recipe of a setting, which says nothing yet of the seed. Raises ZerosumError that begins with its name."""
    where = f"setting {setting.name}"
    try:
        recipe = Recipe.load(setting.recipe)
    except ZerosumError as error:
        raise ZerosumError(f"{where}: {error}") from None
    return recipe.with_overrides(setting.set | {"scores.images": images}, where)


def setting_file(folder: Path, name: str) -> Path:
    return folder / "settings" / f"{name}.yaml"


def write_setting(folder: Path, setting: Setting, images: int) -> None:
    """Its whole recipe, so that a study goes on the same wherever, and whatever becomes of the recipe's file."""
    recipe = recipe_of(setting, images)
    setting_file(folder, setting.name).write_text(recipe.to_yaml(), encoding="utf-8")
