"""What can be wrong with a study is found before anything is trained."""

from dataclasses import dataclass, fields
from typing import Any

from zerosum import api
from zerosum.data.source import Source
from zerosum.engine.runs.run import Run
from zerosum.engine.watching.diagnosis import Evidence
from zerosum.engine.watching.watch import Watch
from zerosum.errors import ZerosumError, option, suggest
from zerosum.games.penalties import PENALTIES
from zerosum.metrics.evaluate import differences
from zerosum.metrics.result import Measure, Scores
from zerosum.metrics.vocabulary import MEANING
from zerosum.recipe import Recipe
from zerosum.studying.claims import TOTALS, Call, calls, parse
from zerosum.studying.desk import recipe_of
from zerosum.studying.plan import Plan

#: columns of stats.jsonl that every run has
COLUMNS = ("critic/loss", "critic/real", "critic/fake", "generator/loss", "critic/lr", "generator/lr")


class Bench:
    """What the runs of a study share in one process: data that was read, and what their images are measured against."""

    def __init__(self) -> None:
        self._sources: dict[str, tuple[Source, Source | None]] = {}
        self._yardsticks: dict[str, Measure] = {}

    def prepare(self, recipe: Recipe) -> Run:
        key = self._key(recipe)
        if key not in self._sources:
            self._sources[key] = api.open_parts(recipe)
        source, held_out = self._sources[key]
        return Run.prepare(recipe, source, held_out=held_out)

    def yardstick(self, run: Run) -> Measure:
        key = self._key(run.recipe) + run.recipe.scores.features
        if key not in self._yardsticks:
            self._yardsticks[key] = api.yardstick_of(run)
        return self._yardsticks[key]

    def watch(self, run: Run) -> Watch | None:
        scored = 0 < run.recipe.scores.every <= run.recipe.steps
        return Watch(self.yardstick(run)) if scored else None

    def measure(self, run: Run, images: int) -> Scores:
        """Every score of the run as it is, of as many images as those on the way: one stamp for the whole study."""
        yardstick = self.yardstick(run)
        labelled, count = run.gan.conditional, min(images, yardstick.most)
        labelled = labelled and run.source.spec.labels == yardstick.spec.labels
        return yardstick.measure(run.gan.batches(count), count, labelled)

    @staticmethod
    def _key(recipe: Recipe) -> str:
        return f"{recipe.data.model_dump_json()} {recipe.condition.any}"


def check(plan: Plan, bench: Bench, dry: bool = False) -> None:
    """ZerosumError for what is wrong in any setting or claim, or if the runs could not be compared in the end.

    dry: nothing is trained, not even the classifier that measures, and nothing is kept in the cache; whether this data
    gives the scores that claims name is then left to the study itself.
    """
    search = plan.search
    settings = plan.settings if search is None else [search.base, *search.ends()]
    known: dict[str, Known] = {}
    first: tuple[str, dict[str, Any]] | None = None
    for setting in settings:
        recipe = recipe_of(setting, plan.images)
        try:
            run = bench.prepare(recipe)
            yardstick = None if dry else bench.yardstick(run)
        except ZerosumError as error:
            raise ZerosumError(f"setting {setting.name}: {error}") from None
        if yardstick is not None:
            stamp = yardstick.stamp(plan.images)
            first = first or (setting.name, stamp)
            if why := differences(first[1], stamp):
                raise ZerosumError(f"settings {first[0]} and {setting.name} could not be compared: {'; '.join(why)}")
        known[setting.name] = Known.of(run, yardstick, plan.images)
    for claim in plan.claims:
        for call in calls(parse(claim.expect)):
            if call.setting not in known:
                raise ZerosumError(
                    f"claim '{claim.expect}': no setting '{call.setting}': {suggest(call.setting, known)}"
                )
            problem = known[call.setting].problem(call)
            if problem:
                raise ZerosumError(f"claim '{claim.expect}': {problem}")
    if search is not None:
        kinds = known[search.base.name].final
        if search.by not in kinds:
            raise ZerosumError(
                f"{option('by')} {search.by}: not among the scores of these runs: {suggest(search.by, kinds)}"
            )


@dataclass(frozen=True)
class Known:
    """What there will be to know of the runs of a setting."""

    recipe: Recipe
    #: kinds of scores at the end, and on the way
    final: set[str]
    early: set[str]

    @classmethod
    def of(cls, run: Run, yardstick: Measure | None, images: int) -> "Known":
        """Without a yardstick every kind of score is taken to be there."""
        if yardstick is None:
            final = early = set(MEANING)
        else:
            count = min(images, yardstick.most)
            final, early = (yardstick.kinds(count, run.gan.conditional, cheap) for cheap in (False, True))
        every = run.recipe.scores.every
        return cls(run.recipe, final, early if 0 < every <= run.recipe.steps else set())

    def problem(self, call: Call) -> str | None:
        """Why this setting's runs will not have a number."""
        if call.function in TOTALS:
            return None
        every, steps = self.recipe.scores.every, self.recipe.steps
        if call.function in MEANING:
            on_the_way = call.step is not None or call.at < 1
            kinds = self.early if on_the_way else self.final
            if call.function not in kinds:
                when = " while training" if on_the_way else ""
                return f"{call.function} is not computed{when} for {call.setting}: {suggest(call.function, kinds)}"
            if call.step is not None and (call.step > steps or (call.step % every and call.step != steps)):
                return f"{call.setting} is not scored at step {call.step}: it is every {every} of its {steps} steps"
            return None
        columns = self.columns() if "/" in call.columns[0] else self.evidence()
        for column in call.columns:
            if column not in columns:
                return f"{call.setting} has no '{column}': {suggest(column, columns)}"
        return None

    def columns(self) -> list[str]:
        """Of stats.jsonl."""
        costs = self.recipe.penalties.each()
        extra = [f"critic/{PENALTIES[name].loss}" for name, cost in costs.items() if cost.weight > 0]
        if self.recipe.condition.classified:
            extra += ["critic/labels_real", "critic/labels_fake", "generator/labels"]
        return [*COLUMNS, *extra]

    def evidence(self) -> list[str]:
        """Of evidence.jsonl."""
        if not self.early:
            return []
        names = [field.name for field in fields(Evidence) if field.type is float]
        return [name for name in names if name != "label_effect" or self.recipe.condition.any]
