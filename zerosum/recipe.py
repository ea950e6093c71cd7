"""A recipe: every choice that makes a training run, as frozen, typed, strict plain values."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, model_validator

from zerosum.errors import at_door, shown
from zerosum.loading import dotted, flat, packaged, put, read_named, validated
from zerosum.plainyaml import write_yaml
from zerosum.schedule import is_schedule, least
from zerosum.schema import Beta, Chosen, Name, Number, Option, Part, Positive, Rate, Share, spelt
from zerosum.sections import SECTIONS, Section
from zerosum.sections.data import modality_of
from zerosum.sections.picture import PictureData

#: threads beyond which no machine is
MOST_THREADS = 1024

#: keys whose values are choices
CHOICES = ("objective", "augment")

#: stands in a stored recipe for what was handed over as a Python object
GIVEN = "given"


def _threads(value: Any) -> Any:
    if value == "auto" or (type(value) is int and 1 <= value <= MOST_THREADS):
        return value
    raise ValueError(f"threads = {shown(value)}: should be auto, or a whole number from 1 to {MOST_THREADS}")


Threads = Annotated[int | Literal["auto"], PlainValidator(_threads)]


#: an optimizer of the package, one that was handed over, or a class by its dotted path
OPTIMIZER = rf"adam|sgd|rmsprop|{GIVEN}|\w+(\.\w+)*:\w+"


def _latent_size(value: Any) -> Any:
    if value == "auto" or (type(value) is int and 0 <= value <= 2**53):
        return value
    raise ValueError(f"latent.size = {shown(value)}: should be auto, or a whole number from 0 on")


LatentSize = Annotated[int | Literal["auto"], PlainValidator(_latent_size)]


class Latent(Part):
    """The generator's random input z: (N, size); 0 for a generator that starts from what is given alone."""

    #: auto takes what the generator needs for the data
    size: LatentSize = 100
    distribution: Literal["normal", "uniform"] = "normal"
    #: uniform on [-bound, bound]
    bound: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0

    @property
    def count(self) -> int:
        """The size, once it is a number: a run has no other."""
        if self.size == "auto":
            raise TypeError("latent.size = auto: see zerosum.networks.with_latent")
        return self.size


def _renamed(value: Any) -> Any:
    """Recipes of earlier versions say picture."""
    return "given" if value == "picture" else value


class Condition(Part):
    """How the networks get to know the labels, or what is given in their place."""

    #: none: networks see no labels; join: extra inputs (Mirza 2014); embed: conditional normalisation and a projection
    #: critic (Miyato 2018); auxiliary: a classifier beside the critic's score (Odena 2017); given: something that the
    #: generator starts from, as the data section says
    method: Annotated[Literal["none", "join", "embed", "auxiliary", "given"], BeforeValidator(_renamed)] = "none"
    #: weight of the auxiliary classifier's cross-entropy
    weight: Number = 1.0

    @property
    def any(self) -> bool:
        """Whether there is a condition."""
        return self.method != "none"

    @property
    def classified(self) -> bool:
        """Whether the critic says of which class a sample is."""
        return self.method == "auxiliary"

    @property
    def labels(self) -> bool:
        """Whether the networks see labels."""
        return self.method not in ("none", "given")

    @property
    def given(self) -> bool:
        """Whether the generator starts from something that is given."""
        return self.method == "given"


class Player(BaseModel):
    """One of the two networks. Keys beyond these are options of its architecture, checked when it is built."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    #: a family of zerosum.networks, or a dotted path `package.module:Class`
    network: str = "dcgan"
    #: None takes optimizer.lr
    lr: Number | None = None
    #: False leaves this network as it was born
    train: bool = True

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Critic(Player):
    #: critic updates for each generator update, each on fresh real data and fresh noise
    steps: Positive = 1
    #: False hides the condition from the critic
    conditional: bool = True


class Penalty(Part):
    weight: Number = 0.0
    #: lazy: applied at one critic step in `every`, with its weight multiplied by that number (Karras 2020)
    every: Positive = 1


class Penalties(Part):
    """What the critic pays beside its objective; other names are those of zerosum.games.penalties."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Penalty] = Field(init=False)

    #: Gulrajani 2017: (|gradient| - 1)^2 on random interpolates
    gradient: Penalty = Penalty()
    #: Mescheder 2018: |gradient|^2 / 2 on real and on generated samples
    r1: Penalty = Penalty()
    r2: Penalty = Penalty()
    #: Arjovsky 2017: weights clipped to [-clip, clip]; 0 is off
    clip: Number = 0.0

    def each(self) -> dict[str, Penalty]:
        """By their names; all but `clip`."""
        return {name: value for name, value in self if isinstance(value, Penalty)}


class Content(Part):
    """What the generator pays for being unlike the true image, where its condition has one."""

    #: of the content loss, beside the objective's `adversarial`
    weight: Number = 0.0
    #: a name in zerosum.games.objectives
    measure: str = "l1"


class Cycle(Part):
    """Two generators, there and back, between two domains (Zhu 2017): see zerosum.games.cycle."""

    #: of the mean absolute difference between a picture and what comes back of it
    weight: Number = 10.0
    #: of that between a sample of the target domain and what is made of it: such samples should stay as they are
    identity: Number = 5.0
    #: past samples of each generator that its critic may still be shown; 0: only the newest
    pool: Annotated[int, Field(ge=0, le=10_000)] = 50


class Optimizer(Part):
    #: adam, sgd, rmsprop, or the class of another, torch.optim:AdamW or package.module:Class, made with lr and options
    name: Annotated[str, spelt(OPTIMIZER, "'adam', 'sgd' or 'rmsprop', or package.module:Class")] = "adam"
    #: what else the optimizer is made with, such as weight_decay
    options: dict[str, Option] = Field(default_factory=dict)
    lr: Number = 0.0002
    #: of Adam; RMSprop takes the second as its smoothing constant
    betas: Annotated[tuple[Beta, Beta], Field(strict=False)] = (0.5, 0.999)
    #: of SGD, rising linearly over `momentum_epochs`
    momentum: Annotated[tuple[Beta, Beta], Field(strict=False)] = (0.0, 0.0)
    momentum_epochs: Rate = 0.0
    #: after each of these epochs the learning rates are multiplied by drop_factor
    drops: Annotated[tuple[Rate, ...], Field(strict=False)] = ()
    drop_factor: Share = 0.1
    #: learning rates are divided by this at every step, down to min_lr
    decay: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 1.0
    min_lr: Rate = 0.0
    #: from this share of the steps on, learning rates fall in a straight line, to 0 at the last step
    fade: Share = 1.0


class Average(Part):
    """Averaged generator weights (EMA), used for everything that is shown, scored and shipped."""

    #: images after which an old weight counts half; 0 keeps the last weights instead
    half_life: Number = 0.0
    #: early in training the half-life is at most this share of the images seen (Karras 2020)
    ramp: Rate = 0.05


class Scoring(Part):
    """Cheap scores while training: for the curve, the best checkpoint and the diagnosis."""

    #: steps between two scores; 0 turns scores off. The last step is scored too, unless there are fewer steps than this
    every: Annotated[int, Field(ge=0)] = 500
    #: generated samples of each, made by the averaged generator
    images: Annotated[int, Field(ge=50, le=100_000)] = 1000
    #: auto is classifier for data with labels, else random; texture for images made from pictures; see
    #: zerosum.metrics.yardstick
    features: str = "auto"
    #: the score by which the best checkpoint is kept
    best: Literal["fid", "accuracy", "diversity", "class_fid", "worst_class_fid", "psnr15"] = "fid"


Action = Literal["off", "warn", "stop", "rollback"]


class Diagnosis(Part):
    """What to do when training goes wrong, looked for whenever a cheap score is made (engine/watching/diagnosis.py).

    warn: say so once. stop: end with everything saved. rollback: go back to the last good checkpoint and go on with
    half the learning rates and other random numbers, three times at most.
    """

    critic_ahead: Action = "warn"
    vanishing_gradient: Action = "warn"
    collapse: Action = "warn"
    class_not_learnt: Action = "warn"
    memorisation: Action = "warn"
    oscillation: Action = "warn"
    #: NaN or infinity, looked for at every tick and checkpoint
    divergence: Literal["stop", "rollback"] = "stop"


class Recipe(Part):
    """Everything that decides a run. Immutable; `with_overrides` makes changed copies.

    Weights and rates of the type Number may be schedules: {from: 2, to: 0.2, over: 0.5}, see zerosum.schedule.

    Raises ZerosumError, never pydantic's own error, when built by `load`, `parse` or `with_overrides`.
    """

    name: Name = "custom"
    about: str = ""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    #: generator updates
    steps: Positive = 1000
    #: images in each batch; 1 only where pictures are the condition, since other networks may normalise by the batch
    batch: Annotated[int, Field(ge=1, le=2**31)] = 64
    data: Section = PictureData()
    latent: Latent = Latent()
    condition: Condition = Condition()
    generator: Player = Player()
    critic: Critic = Critic()
    #: a name in zerosum.games.objectives
    objective: Chosen = "non-saturating"
    #: weight of the objective in the generator's loss; 0: it learns from its content loss alone, without a critic
    adversarial: Number = 1.0
    content: Content = Content()
    #: what is done to all samples before a critic sees them: a name in zerosum.games.augment
    augment: Chosen = "none"
    #: for two domains, and for nothing else
    cycle: Cycle | None = None
    penalties: Penalties = Penalties()
    optimizer: Optimizer = Optimizer()
    average: Average = Average()
    scores: Scoring = Scoring()
    diagnosis: Diagnosis = Diagnosis()
    #: auto takes bf16 where the processor multiplies it natively
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    #: refuse operations that do not give the same bits every time, instead of trusting them
    deterministic: bool = False
    #: on a CUDA device, record each step once as a graph and replay it, which runs the networks' Python code no more;
    #: None: unless networks or objective are your own
    cuda_graphs: bool | None = None
    #: auto takes a GPU when there is one
    device: Annotated[str, spelt(r"auto|cpu|cuda(:\d{1,4})?", "auto, cpu, cuda, or cuda:1 for the second GPU")] = "auto"
    #: that share each operation on the processor. auto: all, unless a short trial before the first step finds fewer
    #: clearly faster, as beside a busy program; a run that goes on keeps its number, and with it the last bits of sums
    threads: Threads = "auto"
    #: steps between two lines of stats.jsonl, two pictures and two checkpoints
    tick: Positive = 50
    snapshot: Positive = 500
    checkpoint: Positive = 1000
    #: newest checkpoints kept
    keep: Positive = 2

    @model_validator(mode="after")
    def _fits_together(self) -> "Recipe":
        if not (self.generator.train or self.critic.train):
            raise ValueError("generator.train and critic.train are both false: nothing would be trained")
        if wrong := self.data.problem(self.condition.method, self.cycle is not None) or self.data.problem_of_bins():
            raise ValueError(wrong)
        if self.batch == 1 and not self.condition.given:
            raise ValueError("batch = 1: should be 2 or more; 1 is for generators that start from what is given")
        if self.content.weight > 0 and not self.data.has_truth:
            raise ValueError(
                f"content.weight = {self.content.weight:g}: in this data no generated sample has a true one to be "
                "compared with"
            )
        if self.cycle is not None and self.critic.steps > 1:
            raise ValueError(f"critic.steps = {self.critic.steps}: a cycle has one step of the critics for each other")
        if self.cycle is not None and self.penalties != Penalties():
            raise ValueError("penalties: the critics of a cycle pay none")
        if least(self.adversarial) == 0 and not (least(self.content.weight) > 0 and self.generator.train):
            raise ValueError("adversarial = 0 without content.weight: the generator would learn nothing")
        return self

    @classmethod
    def load(cls, name: str | Path = "digits", overrides: Mapping[str, Any] | None = None) -> "Recipe":
        """The recipe of this name in the package, or in this YAML file, with dotted keys overridden."""
        values, label = read_named(name, "recipe", packaged())
        return cls.parse({"name": label} | values, where=f"recipe {name}").with_overrides(overrides or {})

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str = "recipe") -> "Recipe":
        """A recipe from plain nested values; `where` begins the error message."""
        return validated(cls, values, where, _known_keys())

    def with_overrides(self, overrides: Mapping[str, Any], where: str | None = None) -> "Recipe":
        """A copy with keys changed: {"generator.lr": 1e-3, "steps": 500}, or {"optimizer": {"lr": 1e-3}}.

        A mapping changes the keys of a section that it names and no other; later overrides go on top of earlier ones.
        Only where a player gets another network, or the data another modality, do the keys of the one before go.
        `where` begins the error message.
        """
        where = at_door("--set", "overrides") if where is None else where
        values, changes = self.plain(), dotted(type(self), overrides)
        for name, player in (("generator", self.generator), ("critic", self.critic)):
            if changes.get(f"{name}.network", player.network) != player.network:
                values[name] = {key: value for key, value in values[name].items() if key not in player.options}
        if (modality := modality_of({"modality": changes.get("data.modality", self.data.modality)})) in SECTIONS:
            known = SECTIONS[modality].model_fields
            values["data"] = {key: value for key, value in values["data"].items() if key in known}
        put(type(self), values, changes, where, _known_keys())
        return self.parse(values, where)

    def plain(self) -> dict[str, Any]:
        """Nested plain values (dict, list, str, numbers), as in the YAML file."""
        return self.model_dump(mode="json")

    def flat(self) -> dict[str, Any]:
        """Dotted keys with their plain values; a schedule, or a choice with its parameters, is one value."""
        return flat(self.plain(), whole=lambda key, value: is_schedule(value) or key in CHOICES)

    def to_yaml(self) -> str:
        return write_yaml(self.plain())

    def differences(self, other: "Recipe") -> dict[str, tuple[Any, Any]]:
        """Dotted keys whose values differ, with both values."""
        mine, theirs = self.flat(), other.flat()
        keys = [*mine, *(key for key in theirs if key not in mine)]
        whole = {key for key in keys if any(longer.startswith(f"{key}.") for longer in keys)}
        nothing = object()
        return {
            key: (mine.get(key), theirs.get(key))
            for key in keys
            if key not in whole and mine.get(key, nothing) != theirs.get(key, nothing)
        }


@cache
def _known_keys() -> tuple[str, ...]:
    """The keys that a wrong one may have meant: those of a recipe as it comes, without parts that may be left out."""
    return tuple(flat(Recipe().model_dump()))
