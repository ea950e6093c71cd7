"""A run: its recipe, its data, its state, and the folder that other tools read."""

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zerosum import plots
from zerosum.choice import parameters_of
from zerosum.data.source import Batch, Source, check_kind
from zerosum.engine.runs import checkpoint as checkpoints
from zerosum.engine.runs import reading
from zerosum.engine.runs.environment import environment
from zerosum.engine.runs.files import (
    drop_after,
    read_findings,
    read_json,
    read_scores,
    read_ticks,
    tidy,
    whole,
    write_json,
    write_lines,
    write_text,
)
from zerosum.engine.runs.folder import check_space, new_folder
from zerosum.engine.runs.reading import EVIDENCE, FINDINGS, SCORES, STATS, stored_recipe
from zerosum.engine.runs.stored import stored_threads
from zerosum.engine.trained.gan import Gan
from zerosum.engine.training import parallel
from zerosum.engine.training.graphs import Recorder, can_record
from zerosum.engine.training.optimizers import Maker
from zerosum.engine.training.precision import Precision, choose
from zerosum.engine.training.state import State, make_state
from zerosum.engine.training.trial import try_networks, try_own_parts
from zerosum.engine.watching.diagnosis import Finding
from zerosum.errors import ZerosumError, resuming, setting
from zerosum.games.augment import Own, augmentation
from zerosum.games.objectives import Objective, check_objective, content, objective
from zerosum.games.penalties import check_penalties
from zerosum.games.step import Game, Players
from zerosum.modalities import modality_of
from zerosum.networks import check_player, with_latent
from zerosum.progress import note
from zerosum.recipe import Recipe
from zerosum.schedule import resolved, scheduled
from zerosum.tasks import task_of


@dataclass(repr=False)
class Run:
    """Everything of one training run. `prepare` makes one that is not on disk yet, `create_folder` its folder."""

    recipe: Recipe
    source: Source
    game: Game
    state: State
    #: the source with all its labels, also those that this recipe's networks do not see: what scores compare with
    reals: Source
    #: samples kept away from training, for a generator to which something is given; None: training ones are shown
    held_out: Source | None = None
    folder: Path | None = None
    #: the step whose checkpoint was written last
    saved: int | None = None
    #: with how many threads a run that goes on was trained before
    threads: int | None = None
    #: the run, step and checksum that the first weights were taken from
    origin: dict[str, Any] | None = None
    recorder: Recorder = field(default_factory=lambda: Recorder(records=False))
    #: whether a network or the objective is not the package's
    own: bool = False
    #: whether the person has been told that the own generator makes values beyond [-1, 1]
    left_range: bool = False

    def __repr__(self) -> str:
        place = self.folder or "no folder yet"
        return f"Run({self.recipe.name}, step {self.state.step} of {self.recipe.steps}, {place})"

    @classmethod
    def prepare(
        cls,
        recipe: Recipe,
        source: Source,
        generator: nn.Module | None = None,
        critic: nn.Module | None = None,
        rules: Objective | None = None,
        held_out: Source | None = None,
        optimizer: Maker | None = None,
        augment: Own | None = None,
    ) -> "Run":
        """A run at step 0. Raises ZerosumError for anything in the recipe that does not fit the data or the machine."""
        check_kind(source)
        modality_of(source.spec).check(source)
        recipe = with_latent(recipe, source.spec)
        check_objective(rules)
        check_penalties(recipe.penalties)
        if len(source) < recipe.batch:
            raise ZerosumError(
                f"the data has {len(source)} samples, fewer than one batch of {recipe.batch}: "
                f"{setting('batch', max(2, len(source) // 4))}"
            )
        parallel.share(recipe.batch)
        if recipe.condition.given and source.spec.given is None:
            raise ZerosumError(
                "condition.method = given, but in this source nothing is given to the generator: see "
                "zerosum.data.source.Condition"
            )
        if recipe.condition.labels and source.labels is None:
            raise ZerosumError(
                f"recipe {recipe.name} is conditional (condition.method = {recipe.condition.method}) but the data has "
                f"no labels: give a folder for each class or a metadata.csv, or {setting('condition.method', 'none')}"
            )
        reals = source
        if not recipe.condition.any:
            source = source.unlabelled()  # networks are shown labels only where the recipe says so
        precision = choose(recipe.precision, recipe.device)
        game = Game(
            rules or objective(recipe.objective),
            sizes=source.spec.sizes,
            precision=precision,
            content=content(recipe.content.measure),
            **weights(recipe, augment),
        )
        state = make_state(recipe, source.spec, precision.device, generator, critic, optimizer)
        check_player(state.players.generator, "generator")
        check_player(state.players.critic, "critic")
        own = any(part is not None for part in (generator, critic, rules, augment)) or ":" in (
            recipe.generator.network + recipe.critic.network
        )
        recorder = Recorder(precision.device.type == "cuda" and can_record(recipe, own))
        run = cls(recipe, source, game, state, reals, held_out, recorder=recorder, own=own)
        run._try_parts()
        return run

    def _try_parts(self) -> None:
        """What does not fit the data is better known now than in the first step. Changes nothing."""
        recipe, game, players = self.recipe, self.game, self.state.players
        count = 4 if self.own else 2
        real = self.source.batch(recipe.seed, 0, count, self.precision.device)
        z = self.gan.latents(range(count)).to(self.precision.device)
        with untouched(players):
            try_networks(recipe, game, players, real, z)
            if self.own:
                batches = (Batch(real.real.clone(), real.condition) for _ in itertools.count())
                try_own_parts(recipe, game, players, batches, z)

    @cached_property
    def _scheduled(self) -> bool:
        return bool(scheduled(self.recipe))

    def at(self, step: int) -> tuple[Recipe, Game]:
        """Recipe and game with the numbers that hold at this step in place of schedules."""
        if not self._scheduled:
            return self.recipe, self.game
        recipe = resolved(self.recipe, step / self.recipe.steps)
        rules = objective(recipe.objective) if parameters_of(recipe.objective) else self.game.objective
        return recipe, replace(self.game, objective=rules, **weights(recipe, self.game.augment))

    @property
    def precision(self) -> Precision:
        return self.game.precision

    @property
    def images(self) -> int:
        """Real samples seen so far."""
        return self.state.step * self.recipe.batch * self.recipe.critic.steps

    @property
    def conditional(self) -> bool:
        """On labels."""
        return self.recipe.condition.labels

    @cached_property
    def gan(self) -> Gan:
        """The averaged generator as it is now; it follows the training."""
        return task_of(self.recipe).gan(
            self.recipe, self.state.average, self.source.spec, self.precision.device, self.held_out or self.source
        )

    def sample(self, *args: Any, **kwargs: Any) -> Tensor:
        """See `LabelGan.sample`."""
        drawn: Tensor = self.gan.sample(*args, **kwargs)
        return drawn

    @property
    def place(self) -> Path:
        if self.folder is None:
            raise ZerosumError("this run has no folder yet: call create_folder first")
        return self.folder

    def create_folder(self, out: Path) -> Path:
        """out/00003-name with the recipe, the data's description, the environment and the real samples."""
        check_space(out, self.state, self.recipe.keep)
        self.folder = new_folder(out, self.recipe.name)
        (self.folder / "samples").mkdir()
        write_json(self.folder / "data.json", self.describe_data())
        described = environment(self.precision)
        write_json(self.folder / "environment.json", described | ({"init_from": self.origin} if self.origin else {}))
        self._draw(self.folder / "reals.png", *self._reals)
        if self.origin is not None:
            self.checkpoint()  # the seed alone would not bring these weights back
        self.write_recipe()  # last: it is what makes the folder one that can be resumed
        return self.folder

    def start_from(self, folder: Path) -> None:
        """Takes the weights of another run's newest checkpoint; all else begins anew."""
        stored_recipe(folder)
        path = reading.newest(folder / "checkpoints")
        checkpoints.start_from(self.state, path)
        checksum = read_json(path / "manifest.json")["sha256"]["state.safetensors"]
        self.origin = {"run": str(folder.resolve()), "step": reading.step_of(path), "sha256": checksum}
        note(
            f"a new run from the weights that {folder} had at step {reading.step_of(path)}: optimizers, schedules "
            f"and averages begin anew; to go on with that run instead: {resuming(folder)}"
        )

    def describe_data(self) -> dict[str, Any]:
        spec = self.source.spec
        said = {"images": len(self.source), "fingerprint": self.source.fingerprint}
        return {**said, "plural": modality_of(spec).plural, "size": spec.size, **spec.plain()}

    @cached_property
    def _reals(self) -> tuple[Tensor, list[str], int]:
        """Finished real samples, chosen at random, for a picture like that of generated ones; see `Gan.exhibit`."""
        modality, labels = modality_of(self.source.spec), self.source.labels
        rows = self.gan.rows
        shuffled = self.source.positions(self.recipe.seed, 0, len(self.source))
        index: list[int] = []
        if rows and labels is not None:
            for row in rows:
                found = shuffled[(labels[shuffled] == row).all(1)][: modality.columns].tolist()
                index += (found * modality.columns)[: modality.columns]  # a rare combination is repeated
        else:
            index = shuffled[: modality.lines * modality.columns].tolist()
        samples = modality.finished(self.source.floats(np.array(index)), self.source.spec)
        return samples, [self.source.spec.describe(row) for row in rows], modality.columns

    def snapshot(self) -> Path:
        """samples/NNNNNN.png: the same latents and labels every time, a row for each combination of labels."""
        path = self.place / "samples" / f"{self.state.step:06d}.png"
        samples, rows, columns = self.gan.exhibit()
        if self.own:
            self._look_at_range()
        self._draw(path, samples, rows, columns, self._reals[0])
        return path

    def _draw(self, path: Path, samples: Tensor, rows: list[str], columns: int, real: Tensor | None = None) -> None:
        spec = self.source.spec
        picture = modality_of(spec).show(samples, rows, columns, spec, real)
        with whole(path) as draft:
            plots.save_picture(picture, draft)

    def _look_at_range(self) -> None:
        """Says once that an own generator has left the range of samples, which pictures of them do not show."""
        found = None if self.left_range else self.gan.extremes(range(8))
        if found is None:
            return
        low, high = found
        if min(low, -high) < -1.01:
            self.left_range = True
            note(
                f"the generator makes values from {low:.3g} to {high:.3g} at step {self.state.step}; what is beyond -1 "
                "to 1 is cut off in samples: end it with torch.tanh"
            )

    def checkpoint(self, best: dict[str, Any] | None = None) -> Path:
        """best: the score {"step", "name", "value"} that makes it the best so far."""
        if best is None and self.saved == self.state.step:
            return reading.pick(self.place / "checkpoints", str(self.saved))
        self.saved = self.state.step
        return checkpoints.save_checkpoint(self.state, self.place / "checkpoints", self.recipe.keep, best)

    def action(self, finding: str) -> str:
        """What the recipe says to do for a finding of this name."""
        return str(getattr(self.recipe.diagnosis, finding))

    def report(self, finding: Finding) -> None:
        """Into findings.jsonl."""
        line = {"step": finding.step, "finding": finding.name, "evidence": finding.evidence, "advice": finding.advice}
        line |= {"action": self.action(finding.name), "setbacks": self.state.setbacks}
        write_lines(self.place / FINDINGS, [line])

    def write_tick(self, values: Mapping[str, float]) -> None:
        write_lines(self.place / STATS, [values])

    def write_summary(self, status: str, scoring_seconds: float = 0.0) -> None:
        """scoring_seconds: of this session, spent on scores; they are part of the training's seconds."""
        ticks, scores = read_ticks(self.place / STATS), read_scores(self.place / SCORES)
        steps, images, seconds = self.state.step, self.images, self.state.seconds
        summary: dict[str, Any] = {"status": status, "steps": steps, "images": images, "seconds": round(seconds, 3)}
        summary["images_per_second"] = round(images / seconds, 1) if seconds else None
        summary["scoring_seconds"] = round(scoring_seconds, 3)
        summary["last"] = ticks[-1] if ticks else None
        summary["scores"] = {line["name"]: {"value": line["value"], "step": line["step"]} for line in scores}
        summary["best"] = reading.read_best(self.place / "checkpoints")
        found = read_findings(self.place / FINDINGS)
        summary["findings"] = [{"step": line["step"], "finding": line["finding"]} for line in found]
        write_json(self.place / "summary.json", summary)
        if status != "diverged" and (ways := self.gan.ways()) is not None:
            self._draw(self.place / "ways.png", *ways)
        if ticks:
            with whole(self.place / "losses.png") as draft:
                plots.plot_losses(ticks, draft)
        if scores:
            with whole(self.place / "scores.png") as draft:
                plots.plot_scores(scores, draft)

    def reopen(self, folder: Path) -> None:
        """Takes the newest checkpoint of a folder, and drops the lines of its logs that came after it.

        Before its first checkpoint a run begins again, unless its weights came from elsewhere: the seed gives the same.
        """
        self.folder, saved = folder, folder / "checkpoints"
        self.threads = stored_threads(folder)
        for place in (folder, folder / "samples", saved):
            tidy(place)
        checkpoints.clear_away(saved)
        origin = read_json(folder / "environment.json").get("init_from")
        if reading.checkpoints(saved) or origin is not None:
            checkpoints.load_checkpoint(self.state, reading.newest(saved))
        self._forget_later()
        # keep findings up to this step, and those of earlier rollbacks: only later ones would be found again
        step, setbacks, path = self.state.step, self.state.setbacks, folder / FINDINGS
        kept = [one for one in read_findings(path) if one["step"] <= step or one.get("setbacks", 0) < setbacks]
        path.unlink(missing_ok=True)
        if kept:
            write_lines(path, kept)

    def write_threads(self, count: int) -> None:
        """Into environment.json, where it says otherwise."""
        path = self.place / "environment.json"
        described = read_json(path)
        machine = described.get("machine")
        if isinstance(machine, dict) and machine.get("threads") != count:
            machine["threads"] = count
            write_json(path, described)

    def write_recipe(self) -> None:
        write_text(self.place / "recipe.yaml", self.recipe.to_yaml())

    def _forget_later(self) -> None:
        for name in (STATS, SCORES, EVIDENCE):
            drop_after(self.place / name, self.state.step)
        checkpoints.forget_best_after(self.place / "checkpoints", self.state.step)

    def go_back(self, path: Path) -> None:
        """Takes an earlier checkpoint, as if what came after it had never been; its seconds were spent all the same."""
        seconds, setbacks = self.state.seconds, self.state.setbacks
        checkpoints.load_checkpoint(self.state, path)
        self.state.seconds, self.state.setbacks, self.saved = seconds, setbacks + 1, self.state.step
        checkpoints.drop_checkpoints(self.place / "checkpoints", self.state.step)
        self._forget_later()


@contextmanager
def untouched(players: Players) -> Iterator[None]:
    """Context: networks run in training mode without side effects; random state and buffers are restored."""
    buffers = [*players.generator.buffers(), *players.critic.buffers()]
    before = [buffer.clone() for buffer in buffers]
    on_gpu = [buffer.device for buffer in players.generator.parameters() if buffer.is_cuda][:1]
    try:
        with torch.random.fork_rng(on_gpu):
            yield
    finally:
        for buffer, old in zip(buffers, before, strict=True):
            buffer.data.copy_(old)


def weights(recipe: Recipe, augment: Own | None) -> dict[str, Any]:
    """What the recipe says about the losses of a Game. augment: an own one, where the recipe names none."""
    return {
        "penalties": recipe.penalties,
        "label_weight": recipe.condition.weight,
        "adversarial": recipe.adversarial,
        "content_weight": recipe.content.weight,
        "cycle": recipe.cycle,
        "augment": augmentation(recipe.augment, augment),
    }
