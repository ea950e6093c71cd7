"""The loop around the two steps. It holds no mathematics: it feeds, counts, shows and saves."""

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from zerosum.engine.runs.files import read_ticks
from zerosum.engine.runs.reading import STATS, checkpoints, damage, read_best, step_of
from zerosum.engine.runs.run import Run
from zerosum.engine.training import parallel, threads
from zerosum.engine.training.graphs import Recorder
from zerosum.engine.training.memory import reused_memory
from zerosum.engine.training.optimizers import NAMED
from zerosum.engine.training.pace import Pace
from zerosum.engine.training.state import State, restore, tensors_of, update_average
from zerosum.engine.watching.diagnosis import Finding
from zerosum.engine.watching.watch import Watch
from zerosum.errors import Broken, Diverged, Stopped, ZerosumError, resuming, setting
from zerosum.games import penalties
from zerosum.games.step import Losses
from zerosum.progress import note
from zerosum.recipe import Latent, Recipe
from zerosum.tasks import task_of

#: a run that has gone back so often stops instead: it would go on falling into the same hole
SETBACKS = 3
ADVICE = "Try a lower optimizer.lr, or a penalty for the critic (penalties.r1.weight=1)"


#: a line of stats.jsonl
Tick = dict[str, float]
#: is shown the run and each tick as it is written; true ends the training
OnTick = Callable[[Run, Tick], object]


def train(
    run: Run,
    stop: Callable[[], bool] = lambda: False,
    minutes: float | None = None,
    watch: Watch | None = None,
    on_tick: OnTick | None = None,
) -> Iterator[Tick | Finding]:
    """Trains up to recipe.steps, yielding each line of stats.jsonl as it is written, and each finding that it survives.

    Ends early, with everything saved, once `stop()` or `on_tick(run, tick)` is true, or after `minutes`, which
    summary.json calls interrupted, stopped, and time limit. watch: scores and diagnoses on the way. Raises Diverged on
    NaN or infinity, and Stopped for a finding that the recipe stops for. All randomness of a step follows from the seed
    and the step, so a run goes on as if it had never been interrupted.
    """
    recipe, state = run.recipe, run.state
    limit = math.inf if minutes is None else state.seconds + minutes * 60
    totals, tick, ended = Totals(), (read_ticks(run.place / STATS) or [{}])[-1], ""
    halted: Finding | None = None
    with surroundings(run), threaded(run), parallel.leading():
        before, pace = time.perf_counter(), Pace()
        hand_over(run)
        if state.step == 0:
            run.snapshot()
        while state.step < recipe.steps and not ended:
            parallel.tell(parallel.STEP)
            watched_step(run, totals, pace)
            stopped = stop()
            now = time.perf_counter()
            state.seconds, before = state.seconds + now - before, now
            ended = "interrupted" if stopped else "time limit" if state.seconds >= limit else ""
            try:
                if state.step % recipe.tick == 0 or state.step == recipe.steps or ended:
                    tick, totals = _tick(run, totals), Totals()
                    if on_tick is not None and on_tick(run, dict(tick)) and state.step < recipe.steps:
                        ended = ended or "stopped"
                    yield tick
                last = state.step == recipe.steps or ended != ""
                save = state.step % recipe.checkpoint == 0 or last
                score = watch is not None and watch.is_due(run)
                if save or score:
                    weights = tensors_of(state)
                    check_finite(run, {name: value.isfinite().all() for name, value in weights.items()})
            except Diverged as error:
                finding = survived(run, watch, error)
                if finding is None:
                    raise
                totals = Totals()
                yield finding
                continue
            if watch is not None and score:
                fresh, halted, back = look(run, watch, tick)
                yield from (one for one in fresh if one is not halted)  # the error says that
                if back:
                    totals = Totals()
                    continue
                ended = "stopped" if halted else ended
            if state.step % recipe.snapshot == 0 or last or halted:
                run.snapshot()
            if save or halted:
                run.checkpoint()
    run.write_summary(ended or "finished", 0.0 if watch is None else watch.seconds)
    if halted:
        raise Stopped(f"stopped by a finding at {halted}. Everything is saved in {run.place}")


def follow(run: Run) -> None:
    """The same training in the processes beside the leader: they take its state and its steps until it is done."""
    with surroundings(run), threaded(run):
        while (order := parallel.listen()) != parallel.END:
            if order == parallel.STATE:
                receive(run.state)
            else:
                take_step(run, Totals())


def hand_over(run: Run) -> None:
    """The leader's state becomes that of all."""
    parallel.tell(parallel.STATE)
    if parallel.size() > 1:
        tensors = {name: value.cpu() for name, value in tensors_of(run.state).items()}
        parallel.from_leader((tensors, run.state.step, run.state.setbacks))


def receive(state: State) -> None:
    nothing: dict[str, Tensor] = {}
    tensors, state.step, state.setbacks = parallel.from_leader((nothing, 0, 0))
    restore(state, tensors)


@contextmanager
def surroundings(run: Run) -> Iterator[None]:
    """What holds while a run trains: memory kept, torch's own random numbers untouched, determinism where asked for.

    Raises Broken where the run's folder can no longer be written, and ZerosumError for what is not deterministic.
    """
    device, before = run.precision.device, torch.are_deterministic_algorithms_enabled()
    # on a GPU, gradients of gradients would be sorted by how much each of two threads has done before, and sums by that
    with (
        torch.autograd.set_multithreading_enabled(False),
        reused_memory(),
        torch.random.fork_rng([device] if device.type == "cuda" else []),
    ):
        if run.recipe.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what makes matrix products on a GPU repeat
            torch.use_deterministic_algorithms(True)
        try:
            yield
        except OSError as error:
            where, what = error.filename or run.place, error.strerror or error
            raise Broken(
                f"{where}: {what}: stopped at step {run.state.step}; checkpoints that were saved before are untouched. "
                f"Once it can be written again: {resuming(run.place)}"
            ) from None
        except RuntimeError as error:
            if not run.recipe.deterministic or "deterministic" not in str(error):
                raise
            reason = str(error).partition(",")[0].partition(". ")[0]
            raise ZerosumError(
                f"deterministic = true: {reason}; choose other networks, or {setting('deterministic', False)}"
            ) from None
        finally:
            torch.use_deterministic_algorithms(before)


@contextmanager
def threaded(run: Run) -> Iterator[None]:
    """While it lasts, torch has the number of threads that this run trains with, which its environment.json says."""
    recipe, available = run.recipe, torch.get_num_threads()
    fresh = run.state.step == 0 and run.threads is None and recipe.threads == "auto" and not recipe.deterministic
    plain = run.precision.device.type == "cpu" and available > 1 and parallel.size() == 1
    count = threads.settled(recipe, run.threads, available)
    try:
        if fresh and plain and recipe.steps >= threads.WORTH:
            count = try_threads(run)
        torch.set_num_threads(count)
        if parallel.leads():
            run.write_threads(count)
        yield
    finally:
        torch.set_num_threads(available)


def try_threads(run: Run) -> int:
    """The number of threads with which this run is trained the fastest now. It trains a copy, and leaves no trace."""
    available = torch.get_num_threads()
    if run.recipe.optimizer.name not in NAMED:  # torch's way of copying an optimizer loses what others add to it
        return available
    try:
        copied = replace(run, state=deepcopy(run.state), recorder=Recorder(records=False))
    except Exception:  # networks of users may hold anything, and what cannot be copied is trained as it is
        return available

    def trial(number: int) -> None:
        copied.state.step = number
        take_step(copied, Totals())

    with threads.same_numbers():
        count, ratio = threads.fastest(trial, available)
    if count < available:
        note(
            f"training with {count} of {available} threads, {ratio:.1f} times as fast now as with all: another program "
            "uses the processor, or the steps are small"
        )
    return count


def watched_step(run: Run, totals: "Totals", pace: Pace) -> None:
    """A step, and a note with what to do where training has become slow."""
    began = time.perf_counter()
    take_step(run, totals)
    slower = pace.add(time.perf_counter() - began)
    if slower is None or run.precision.device.type != "cpu":  # elsewhere a step is only begun in this time
        return
    advice = "wait for it, or stop it"
    if torch.get_num_threads() > 1:
        advice += f", or interrupt this run, which saves everything, and resume it with {setting('threads', 1)}"
    note(
        f"step {run.state.step}: training is {slower:.1f} times as slow as it was; if another program uses the "
        f"processor: {advice}"
    )


def take_step(run: Run, totals: "Totals") -> None:
    """The critic's turns, the generator's one, and the average after them."""
    state, device, turns = run.state, run.precision.device, run.recipe.critic.steps
    recipe, game = run.at(state.step)
    play, rules = run.game.adversarial > 0, task_of(recipe).rules
    share = parallel.share(recipe.batch)
    _seed(step_seed(recipe.seed, state.step, state.setbacks), device)
    *latents, last = [draw(recipe.latent, recipe.batch, device)[share] for _ in range(turns + 1)]
    epsilons = torch.rand(turns, recipe.batch, device=device)[:, share]
    if parallel.size() > 1:  # what is left to draw is dropout, and each process has images of its own
        _seed(step_seed(recipe.seed, state.step, state.setbacks, parallel.rank() + 1), device)
    sgd_momentum, players = set_rates(run), state.players
    for turn, z, epsilon in zip(range(state.step * turns, (state.step + 1) * turns), latents, epsilons, strict=True):
        real = run.source.batch(recipe.seed, turn, recipe.batch, device, share)
        if play:
            kind = ("critic", sgd_momentum, *penalties.due(recipe.penalties, turn))
            critic_step = partial(rules.critic_step, game, players, turn=turn)
            totals.add(run.recorder.play(kind, critic_step, real, z=z, epsilon=epsilon))
    generator_step = partial(rules.generator_step, game, players)
    totals.add(run.recorder.play(("generator", sgd_momentum), generator_step, real, z=last))
    update_average(state, average_decay(recipe, state.step))
    state.step += 1


def look(run: Run, watch: Watch, tick: Tick) -> tuple[list[Finding], Finding | None, bool]:
    """A score, and what is newly wrong; the finding that ends the training; whether it has gone back for one."""
    fresh = watch.look(run, tick)
    serious = [one for one in fresh if run.action(one.name) in ("stop", "rollback")]
    back = any(go_back(run, watch, one) for one in serious)
    return fresh, serious[0] if serious and not back else None, back


def survived(run: Run, watch: Watch | None, error: Diverged) -> Finding | None:
    """What is to be told where training can go on from an earlier checkpoint; None if it is over."""
    finding = Finding("divergence", run.state.step, str(error).removesuffix(f". {ADVICE}"), ADVICE)
    run.report(finding)
    if go_back(run, watch, finding):
        return finding
    run.write_summary("diverged", 0.0 if watch is None else watch.seconds)
    return None


def go_back(run: Run, watch: Watch | None, finding: Finding) -> bool:
    """Whether the recipe answers this finding by going back to a checkpoint, and one was there to go back to.

    NaN and infinity come suddenly, so the newest checkpoint may be good, and the one before it if it was not. Other
    findings develop slowly: for them it is the best checkpoint, or the oldest that is kept.
    """
    if run.action(finding.name) != "rollback" or run.state.setbacks >= SETBACKS:
        return False
    folder = run.place / "checkpoints"
    earlier = [path for path in checkpoints(folder) if step_of(path) < finding.step and damage(path) is None]
    if not earlier:
        return False
    best = read_best(folder)
    if finding.name == "divergence":
        path = earlier[:2][-1] if run.state.setbacks else earlier[0]
    else:
        path = next((path for path in earlier if best is not None and step_of(path) == best["step"]), earlier[-1])
    run.go_back(path)
    hand_over(run)
    note(f"{finding.name.replace('_', ' ')}: going back to step {run.state.step}, with half the learning rates")
    if watch is not None:
        watch.reopen(run)
    return True


class Totals:
    """Means of losses between two ticks, summed on the device so that nothing waits for it."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, losses: Losses) -> None:
        for name, value in losses.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value
            self.counts[name] = self.counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        values = torch.stack([value.float() for value in self.sums.values()]).tolist()
        return {name: value / self.counts[name] for name, value in zip(self.sums, values, strict=True)}


def _tick(run: Run, totals: Totals) -> dict[str, float]:
    state, images = run.state, run.images
    recipe, _ = run.at(state.step - 1)
    means = totals.means()
    check_finite(run, {name: math.isfinite(value) for name, value in means.items()})
    rate = learning_rate(recipe, state.step - 1, len(run.source)) * 0.5**state.setbacks
    line = {
        "step": state.step,
        "images": images,
        "epoch": round(images / len(run.source), 4),
        "seconds": round(state.seconds, 3),
        **{name: float(f"{value:.6g}") for name, value in sorted(means.items())},
        "generator/lr": rate * _base(recipe, recipe.generator.lr),
        "critic/lr": rate * _base(recipe, recipe.critic.lr),
    }
    run.write_tick(line)
    return line


def check_finite(run: Run, finite: Mapping[str, bool | Tensor]) -> None:
    """Raises Diverged, with the names, unless all are true."""
    bad = [name for name, good in finite.items() if not good]
    if bad:
        shown = ", ".join(bad[:3]) + (" ..." if len(bad) > 3 else "")
        kept = checkpoints(run.place / "checkpoints")
        left = f"the checkpoint of step {step_of(kept[0])} is untouched" if kept else "no checkpoint was saved before"
        raise Diverged(f"training diverged before step {run.state.step}: {shown} not finite; {left}. {ADVICE}")


def step_seed(seed: int, step: int, setbacks: int = 0, process: int = 0) -> int:
    """One well-mixed number for each step of each seed: torch's CPU generator reads 32 bits only."""
    more = (setbacks, process) if process else (setbacks,) if setbacks else ()
    return int(np.random.SeedSequence((seed, step, *more)).generate_state(1)[0])


def _seed(seed: int, device: torch.device) -> None:
    """As torch.manual_seed, without the stack trace that it takes, every time, for devices that are not there."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def draw(latent: Latent, count: int, device: torch.device) -> Tensor:
    """z (count, latent size) from torch's default generator, made on the device."""
    if latent.distribution == "normal":
        return torch.randn(count, latent.count, device=device)
    return torch.rand(count, latent.count, device=device).mul_(2 * latent.bound).sub_(latent.bound)


def average_decay(recipe: Recipe, step: int) -> float:
    """How much of the old average stays at this step: a half after half_life images, sooner early in training."""
    if recipe.average.half_life == 0:
        return 0.0
    half_life = recipe.average.half_life
    if recipe.average.ramp > 0:
        half_life = min(half_life, recipe.average.ramp * step * recipe.batch)
    return float(0.5 ** (recipe.batch / max(half_life, 1e-8)))


def learning_rate(recipe: Recipe, step: int, images: int) -> float:
    """The factor on both learning rates at this step, for a source of `images` samples."""
    rules = recipe.optimizer
    epoch = step * recipe.batch * recipe.critic.steps / images
    dropped = rules.drop_factor ** sum(epoch >= drop for drop in rules.drops)
    decayed = rules.decay ** -float(step)
    faded = min(1.0, (1 - step / recipe.steps) / (1 - rules.fade)) if rules.fade < 1 else 1.0
    return float(dropped) * faded * (max(decayed, rules.min_lr / rules.lr) if rules.lr else 1.0)


def momentum(recipe: Recipe, step: int, images: int) -> float:
    """SGD's momentum at this step: a straight line between the two of the recipe."""
    start, end = recipe.optimizer.momentum
    epochs = recipe.optimizer.momentum_epochs
    share = 1.0 if epochs == 0 else min(1.0, step * recipe.batch * recipe.critic.steps / images / epochs)
    return start + share * (end - start)


def set_rates(run: Run) -> float:
    """Sets what optimizers take for this step, and returns SGD's momentum; 0 for others, which read none."""
    step, images = run.state.step, len(run.source)
    recipe, _ = run.at(step)
    factor = learning_rate(recipe, step, images) * 0.5**run.state.setbacks
    sgd_momentum = momentum(recipe, step, images) if recipe.optimizer.name == "sgd" else 0.0
    for player, optimizer in (
        (recipe.generator, run.state.players.generator_optimizer),
        (recipe.critic, run.state.players.critic_optimizer),
    ):
        for group in optimizer.param_groups if optimizer is not None else ():
            rate = factor * _base(recipe, player.lr)
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
            if recipe.optimizer.name == "sgd":
                group["momentum"] = sgd_momentum
    return sgd_momentum


def _base(recipe: Recipe, own: float | None) -> float:
    return recipe.optimizer.lr if own is None else own
