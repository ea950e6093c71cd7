"""Watching a run while it trains: the cheap score, the best checkpoint, the evidence and what it shows."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from zerosum.engine.runs.files import read_findings, read_lines, write_lines
from zerosum.engine.runs.reading import EVIDENCE, FINDINGS, SCORES, read_best
from zerosum.engine.runs.run import Run, untouched
from zerosum.engine.trained.gan import LabelGan
from zerosum.engine.watching.diagnosis import Evidence, Finding, diagnose
from zerosum.games.frozen import frozen
from zerosum.games.step import seen_by
from zerosum.metrics.result import Measure, Scores
from zerosum.metrics.scores import label_effect
from zerosum.metrics.vocabulary import kind_of, shortfall
from zerosum.networks.calling import call

#: images with which the critic and the generator's gradient are probed
PROBE = 64
#: latents that are drawn under every combination of labels
LATENTS = 32


@dataclass
class Watch:
    """What is known so far; `look` adds to it. It changes nothing that training depends on."""

    yardstick: Measure
    history: list[Evidence] = field(default_factory=list)
    #: names of findings that were reported, each once
    reported: set[str] = field(default_factory=set)
    #: the last score in a few words, for the progress bar
    headline: str = ""
    seconds: float = 0.0

    def reopen(self, run: Run) -> None:
        """Takes up what the run's folder knows."""
        lines = read_lines(run.place / EVIDENCE)
        self.history = [evidence for line in lines if (evidence := Evidence.parse(line)) is not None]
        found = [line for line in read_findings(run.place / FINDINGS) if line["step"] <= run.state.step]
        self.reported = {line["finding"] for line in found}

    def is_due(self, run: Run) -> bool:
        """True every `scores.every` steps and at the last one, but not on an interruption: it would leave a trace."""
        every, step = run.recipe.scores.every, run.state.step
        return step % every == 0 or step == run.recipe.steps

    def look(self, run: Run, tick: Mapping[str, float]) -> list[Finding]:
        """Scores the averaged generator, keeps the checkpoint if it is the best, and says what is newly wrong.

        tick: the last line of stats.jsonl.
        """
        began = time.perf_counter()
        count = min(run.recipe.scores.images, self.yardstick.most)
        scores = self.yardstick.measure(run.gan.batches(count), count, run.gan.conditional, cheap=True)
        write_scores(run.place, scores, where(run))
        self.history.append(self._evidence(run, tick, scores))
        write_lines(run.place / EVIDENCE, [self.history[-1].plain()])
        best = self._keep_best(run, scores)
        self._say(scores, best)
        found = [one for one in diagnose(self.history) if run.action(one.name) != "off"]
        fresh = [one for one in found if one.name not in self.reported]
        for finding in fresh:
            self.reported.add(finding.name)
            run.report(finding)
        self.seconds += time.perf_counter() - began
        return fresh

    def _keep_best(self, run: Run, scores: Scores) -> dict[str, Any]:
        """The best score so far, with its step; its checkpoint is kept beside the last ones."""
        kind = run.recipe.scores.best
        name = next((name for name in scores.scores if kind in (name, kind_of(name))), None)
        best = read_best(run.place / "checkpoints")
        if name is None or math.isnan(value := scores.scores[name]):
            return best or {}
        # where 1 is the best value, the nearest to it
        if best is None or best["name"] != name or shortfall(name, value) < shortfall(name, best["value"]):
            best = {"step": run.state.step, "name": name, "value": value}
            run.checkpoint(best)
        return best

    def _say(self, scores: Scores, best: dict[str, Any]) -> None:
        first = next(iter(scores.scores))
        name = best["name"] if best.get("name") in scores.scores else first
        value = scores.scores[name]
        ahead = f"best {best['value']:.3g}" if best.get("name") == name else ""
        floor = f"real {scores.floor[name]:.3g}" if name in scores.floor else ""
        beside = ", ".join(word for word in (floor, ahead) if word)
        words = [f"{name} {value:.3g}" + (f" ({beside})" if beside else "")]
        if not math.isnan(accuracy := scores.value("accuracy")):
            words.append(f"accuracy {accuracy:.2f}")
        self.headline = ", ".join(words)

    def _evidence(self, run: Run, tick: Mapping[str, float], scores: Scores) -> Evidence:
        signal, undecided_signal, gradient = probe_generator(run)
        zeros = torch.zeros(PROBE)

        def by_class(kind: str) -> dict[str, float]:
            return {name: inside[kind] for name, inside in scores.classes.items() if kind in inside}

        floor = {kind_of(name): value for name, value in scores.floor.items()}
        return Evidence(
            run.state.step,
            run.recipe.steps,
            tick.get("critic/loss", math.nan),
            float(run.at(run.state.step)[1].objective.critic(zeros, zeros)),
            tick.get("critic/real", math.nan),
            tick.get("critic/fake", math.nan),
            signal,
            undecided_signal,
            gradient,
            scores.value("fid"),
            floor.get("fid", 0.0),
            scores.value("diversity"),
            by_class("diversity"),
            by_class("accuracy"),
            by_class("share"),
            scores.value("memorised"),
            floor.get("memorised", 0.0),
            probe_labels(run),
        )


def probe_generator(run: Run) -> tuple[float, float, float]:
    """How strongly the critic tells the generator where to go, by the same images every time; NaN without a critic.

    Mean |d objective / d score| over images, the same where every score is 0, and the norm of the weights' gradient;
    features in place of scores for an objective that reads those.
    """
    (_, game), players, device = run.at(run.state.step), run.state.players, run.precision.device
    if game.adversarial == 0:
        return math.nan, math.nan, math.nan
    real = run.source.batch(run.recipe.seed, 0, min(PROBE, len(run.source)), device)
    z = run.gan.latents(range(len(real.real))).to(device)
    weights = [weight for weight in players.generator.parameters() if weight.requires_grad]
    with untouched(players), frozen(players.critic), game.precision.context():
        fake = call(players.generator, z, real.condition)
        scores, _ = seen_by(game, players.critic, fake, real.condition)
        if not scores.requires_grad:
            scores.requires_grad_()
        with torch.no_grad():
            opposite, _ = seen_by(game, players.critic, real.real, real.condition)
        objective = game.objective.generator(scores, opposite if game.objective.paired else None)
    gradients = torch.autograd.grad(objective, [scores, *weights], allow_unused=True, retain_graph=False)
    zeros = torch.zeros_like(scores, requires_grad=True)
    (undecided,) = torch.autograd.grad(
        game.objective.generator(zeros, torch.zeros_like(scores) if game.objective.paired else None), zeros
    )
    norms = [gradient.float().norm() for gradient in gradients[1:] if gradient is not None]
    norm = float(torch.stack(norms).norm()) if norms else math.nan
    signal = gradients[0]
    return float(signal.abs().sum()) if signal is not None else 0.0, float(undecided.abs().sum()), norm


def probe_labels(run: Run) -> float:
    """`label_effect` of a few latents under every combination of labels; NaN where there is nothing to change."""
    combinations = run.source.spec.combinations[:PROBE]
    gan = run.gan
    if not run.conditional or len(combinations) < 2 or not isinstance(gan, LabelGan):
        return math.nan
    seeds = range(LATENTS)
    images = [gan.generate(seeds, torch.tensor([row] * LATENTS)).flatten(1) for row in combinations]
    return label_effect(torch.stack(images, 1))


def where(run: Run) -> dict[str, Any]:
    """What a line of scores.jsonl belongs to."""
    return {"step": run.state.step, "images": run.images, "seconds": round(run.state.seconds, 3)}


def write_scores(folder: Path, scores: Scores, place: Mapping[str, Any]) -> None:
    """One line for each score, stamped."""
    lines = []
    for name, value in scores.scores.items():
        line = {**place, "name": name, "value": _rounded(value)}
        if name in scores.errors:
            line["error"] = _rounded(scores.errors[name])
        beside = {way: _rounded(inside[name]) for way, inside in scores.baselines.items() if name in inside}
        line |= {"floor": _rounded(scores.floor.get(name, math.nan))} | ({"baselines": beside} if beside else {})
        lines.append(line | {"stamp": scores.stamp})
    write_lines(folder / SCORES, lines)


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else float(f"{value:.8g}")
