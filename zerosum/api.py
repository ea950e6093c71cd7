"""The library: train, resume and load runs from Python. The command line calls the same functions."""

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from torch import nn

from zerosum.data.source import Source, check_kind
from zerosum.engine.runs.folder import check_writable, held
from zerosum.engine.runs.reading import stored_recipe
from zerosum.engine.runs.run import Run
from zerosum.engine.runs.stored import check_same, stored_gan, warn_of_changes
from zerosum.engine.trained.gan import Gan
from zerosum.engine.training import parallel
from zerosum.engine.training.loop import OnTick, follow
from zerosum.engine.training.loop import train as train_run
from zerosum.engine.training.optimizers import Maker, check_maker
from zerosum.engine.watching.diagnosis import Finding
from zerosum.engine.watching.watch import Watch
from zerosum.errors import Interrupted, ZerosumError, at_door, resuming
from zerosum.games.augment import Own, check_augmentation
from zerosum.games.objectives import Objective, check_objective
from zerosum.loading import dotted
from zerosum.metrics.request import Looking
from zerosum.metrics.result import Measure
from zerosum.modalities import modality, modality_of
from zerosum.networks import check_player
from zerosum.progress import TrainingBar, note, told
from zerosum.recipe import GIVEN, Recipe
from zerosum.sections.data import Data
from zerosum.tasks import task_of


def train(
    recipe: str | Path | Recipe = "digits",
    *,
    data: str | Path | Mapping[str, Any] | None = None,
    out: str | Path = "runs",
    overrides: Mapping[str, Any] | None = None,
    init_from: str | Path | None = None,
    source: Source | None = None,
    generator: nn.Module | Mapping[str, Any] | None = None,
    critic: nn.Module | Mapping[str, Any] | None = None,
    objective: Objective | str | Mapping[str, Any] | None = None,
    optimizer: Maker | str | Mapping[str, Any] | None = None,
    augment: Own | str | Mapping[str, Any] | None = None,
    minutes: float | None = None,
    on_tick: OnTick | None = None,
    **keys: Any,
) -> Run:
    """Trains a recipe and returns its run; `run.folder` holds everything, `run.sample` draws.

    recipe: a name, a YAML file, or a Recipe. data: a data URI in place of the recipe's. overrides: dotted keys,
    {"generator.lr": 1e-3}; top-level keys may be given as arguments, steps=2000, and so may sections, of which only
    the keys that are named change: optimizer={"lr": 1e-3}, generator={"width": 32}. init_from: a run folder whose
    weights the new run begins with. source, generator, critic, objective, augment: take the place of what the recipe
    names. optimizer: keys of that section, or what makes both optimizers: the name of a class, "torch.optim:AdamW", a
    class, or a function of weights; it is made with `lr`, which follows the recipe, if it takes it, and
    `optimizer.options`.
    minutes: stop after this long. on_tick: called with the run and each line of stats.jsonl, a dictionary, once it is
    written, in the process that leads; if it returns true, training ends there with everything saved, as "stopped" in
    summary.json, and can be resumed; what it raises ends training as it is, with nothing saved since the last
    checkpoint. Raises ZerosumError before training starts for anything that is wrong, Diverged on NaN or infinity,
    Interrupted, with everything saved, on a signal (see `signals`), Broken where files can no longer be written, and
    Lost where another process of a training by several is gone.
    """

    _check_on_tick(on_tick)

    def ready() -> tuple[Run, Watch | None]:
        run = prepare(
            recipe,
            data,
            dotted(Recipe, overrides or {}, keys),
            source,
            generator,
            critic,
            objective,
            optimizer,
            augment,
        )
        if not parallel.leads():
            return run, None
        check_writable(Path(out))
        if init_from is not None:
            run.start_from(Path(init_from))
        return run, make_watch(run)

    with parallel.joined():
        run, watch = parallel.in_turn(ready)
        run.folder = parallel.led(lambda: run.create_folder(Path(out)))
        with held(run.folder):
            return _carry_out(run, minutes, watch, on_tick)


def prepare(
    recipe: str | Path | Recipe,
    data: str | Path | Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    source: Source | None = None,
    generator: nn.Module | Mapping[str, Any] | None = None,
    critic: nn.Module | Mapping[str, Any] | None = None,
    objective: Objective | str | Mapping[str, Any] | None = None,
    optimizer: Maker | str | Mapping[str, Any] | None = None,
    augment: Own | str | Mapping[str, Any] | None = None,
) -> Run:
    """A run that is ready to train but not on disk: everything that can be wrong has been checked."""
    given = {"data": data, "generator": generator, "critic": critic, "objective": objective, "optimizer": optimizer}
    sections = {name: part for name, part in given.items() if isinstance(part, Mapping)}
    changes = dotted(Recipe, overrides or {}, sections)
    data = None if isinstance(data, Mapping) else data
    generator = None if isinstance(generator, Mapping) else generator
    critic = None if isinstance(critic, Mapping) else critic
    maker = None if isinstance(optimizer, Mapping | str) else optimizer
    check_maker(maker)
    if optimizer is not None and not isinstance(optimizer, Mapping):
        changes |= {"optimizer.name": optimizer if isinstance(optimizer, str) else GIVEN}
    if isinstance(objective, str | Mapping):
        changes, objective = changes | {"objective": objective}, None
    if isinstance(augment, str | Mapping):
        changes, augment = changes | {"augment": augment}, None
    check_augmentation(augment)
    if source is not None:
        check_kind(source)
    for name, part in (("generator", generator), ("critic", critic)):
        check_player(part, name)
    check_objective(objective)
    # the stored recipe says what came from outside, so that nothing else takes its place when the run is loaded
    for player, network in (("generator", generator), ("critic", critic)):
        changes |= {} if network is None else {f"{player}.network": f"{GIVEN}:{type(network).__name__}"}
    changes |= {} if objective is None else {"objective": GIVEN}
    changes |= {} if augment is None else {"augment": GIVEN}
    changes |= {} if data is None else {"data.uri": str(data)}
    changes |= {} if source is None else {"data.modality": source.spec.modality, "data.uri": GIVEN}
    chosen = recipe.with_overrides(changes) if isinstance(recipe, Recipe) else Recipe.load(recipe, changes)
    if source is None:
        chosen = located(chosen)
    opened, held_out = open_parts(chosen) if source is None else (source, None)
    return Run.prepare(chosen, opened, generator, critic, objective, held_out, maker, augment)


def located(recipe: Recipe) -> Recipe:
    """The recipe with the whole path of its data, if it is a path, so that the run goes on from any folder."""
    uri = recipe.data.uri
    if uri is None or uri == "digits" or not _is_there(uri):
        return recipe
    return recipe.with_overrides({"data.uri": str(Path(uri).expanduser().resolve())})


def _is_there(uri: str) -> bool:
    try:
        return Path(uri).expanduser().exists()
    except (OSError, RuntimeError, ValueError):  # no path of this system, which `open_source` says
        return False


def open_parts(recipe: Recipe) -> tuple[Source, Source | None]:
    """What a recipe learns from and, for a generator to which something is given, what is kept away from training."""
    source = open_data(recipe)
    if not task_of(recipe).from_held_out:
        return source, None
    return source, modality_of(source.spec).held_out(recipe.data, source.spec)


def open_data(recipe: Recipe) -> Source:
    """What a recipe learns from. Labels that its networks do not see are read all the same, for the scores."""
    opener = modality(recipe.data.modality)
    data = data_of(recipe)
    return told(opener.open(data) if recipe.condition.any else opener.open_labelled(data))


def data_of(recipe: Recipe) -> Data:
    """The data section as training and scoring read it: with all its labels where the recipe has no condition."""
    return recipe.data if recipe.condition.any else recipe.data.model_copy(update={"attributes": None})


def make_watch(run: Run) -> Watch | None:
    """What scores and diagnoses this run while it trains; None for a run that is too short, or with scores.every=0.

    The first time it may train a classifier of the data, which is then kept in the cache.
    """
    scored = 0 < run.recipe.scores.every <= run.recipe.steps
    return Watch(yardstick_of(run)) if scored else None


def yardstick_of(run: Run) -> Measure:
    """What the samples of this run are measured against."""
    recipe, precision = run.recipe, run.precision
    return task_of(recipe).yardstick(
        data_of(recipe),
        run.reals,
        run.held_out,
        Looking(recipe.scores.features, precision.device, precision.name == "bf16"),
    )


def resume(
    folder: str | Path,
    *,
    data: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    source: Source | None = None,
    generator: nn.Module | None = None,
    critic: nn.Module | None = None,
    objective: Objective | None = None,
    optimizer: Maker | str | Mapping[str, Any] | None = None,
    augment: Own | str | Mapping[str, Any] | None = None,
    minutes: float | None = None,
    on_tick: OnTick | None = None,
    **keys: Any,
) -> Run:
    """Goes on exactly where a run stopped; steps=N trains a finished one further. See `train` for the arguments.

    data: where the data is now, if it was moved. Raises ZerosumError if the recipe or the data would be others than
    before, or if the run is being trained already.
    """
    folder = Path(folder)
    _check_on_tick(on_tick)

    def stored() -> Recipe:
        before = stored_recipe(folder)
        recipe = before.with_overrides(
            dotted(Recipe, overrides or {}, keys, {} if data is None else {"data.uri": str(data)})
        )
        if source is None and recipe.data.uri == before.data.uri:
            check_data_is_there(folder, recipe)
        return recipe

    def ready() -> tuple[Run, Watch | None]:
        run = prepare(recipe, None, None, source, generator, critic, objective, optimizer, augment)
        run.folder = folder
        if not parallel.leads():
            return run, None
        check_same(folder, run.recipe, run.source)
        warn_of_changes(folder, run.recipe, run.precision)
        run.reopen(folder)
        done = run.state.step
        if done >= recipe.steps:
            state = "finished" if done == recipe.steps else f"beyond steps = {recipe.steps},"
            note(f"{folder} is {state} at step {done}; to train it further: {resuming(folder, 'steps', 2 * done)}")
            return run, None
        watch = make_watch(run)
        if watch is not None:
            watch.reopen(run)
        run.write_recipe()
        note(f"going on at step {done} of {recipe.steps}")
        return run, watch

    with parallel.joined():
        recipe = parallel.led(stored)
        with held(folder):
            run, watch = parallel.in_turn(ready)
            finished = parallel.from_leader(run.state.step >= recipe.steps)
            return run if finished else _carry_out(run, minutes, watch, on_tick)


def check_data_is_there(folder: Path, recipe: Recipe) -> None:
    """ZerosumError, which says how to go on, where the data of a run is not in its place any more."""
    uri = recipe.data.uri or ""
    if "/" in uri and not _is_there(uri):
        command = at_door(f"zerosum resume {folder} --data PATH", f'zs.resume("{folder}", data="PATH")')
        raise ZerosumError(f"{folder}: its data is no longer in {uri}; say where it is now: {command}")


def load(folder: str | Path, generator: nn.Module | None = None, checkpoint: str | int = "last") -> Gan:
    """The averaged generator of a run, ready to sample.

    generator: the network, for a run with an own one. checkpoint: "last", "best" by the score of the recipe, or a step.
    """
    return stored_gan(Path(folder), generator, str(checkpoint))


def _check_on_tick(on_tick: Any) -> None:
    if on_tick is not None and not callable(on_tick):
        raise ZerosumError(f"on_tick is a {type(on_tick).__name__}: it should be a function of the run and a tick")


def _carry_out(run: Run, minutes: float | None, watch: Watch | None, on_tick: OnTick | None) -> Run:
    """Trains, with the progress shown; in a process beside the leader, follows."""
    recipe, limit = run.recipe, None if minutes is None else minutes * 60
    if not parallel.leads():
        with signals() as caught:
            follow(run)
        if caught:
            raise SystemExit(128 + caught[0])
        return run
    bar = TrainingBar(
        recipe.steps, run.state.step, recipe.batch * recipe.critic.steps, limit, modality_of(run.source.spec).plural
    )
    with signals() as caught, bar:
        shown = ""
        for news in train_run(run, lambda: bool(caught), minutes, watch, on_tick):
            if isinstance(news, Finding):
                bar.say(str(news))
                continue
            shown = "" if watch is None else watch.headline
            bar.show(news, shown)
        if watch is not None and watch.headline != shown:
            bar.say(watch.headline)
    if caught:
        number = caught[0]
        raise Interrupted(
            f"{signal.Signals(number).name}: stopped at step {run.state.step} of {recipe.steps}, everything saved; "
            f"go on with: {resuming(run.folder)}",
            128 + number,
        )
    return run


#: signals that end a training with everything saved, where the system has them, unless they are ignored or the program
#: has its own handler: a closed terminal, what a cluster sends ahead of the end of a job, the limit of processor time
GENTLE = ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")


@contextmanager
def signals() -> Iterator[list[int]]:
    """SIGINT, SIGTERM and GENTLE are put into the list, for the loop to end in peace; a second Ctrl-C ends at once."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return

    def remember(number: int, _: FrameType | None) -> None:
        caught.append(number)
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)

    gentle = [getattr(signal, name) for name in GENTLE if hasattr(signal, name)]
    noted = [signal.SIGINT, signal.SIGTERM, *(one for one in gentle if signal.getsignal(one) == signal.SIG_DFL)]
    before = {number: signal.signal(number, remember) for number in noted}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
