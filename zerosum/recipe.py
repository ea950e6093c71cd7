"""A recipe: every choice that makes a training run, as frozen, typed, strict plain values."""

import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from zerosum.choice import Choice
from zerosum.errors import at_door, shown
from zerosum.loading import dotted, flat, packaged, put, read_named, validated
from zerosum.plainyaml import write_yaml
from zerosum.schedule import Schedule, is_schedule, least

Positive = Annotated[int, Field(gt=0, le=2**53)]
Rate = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]


def _changing(value: Any, number: Callable[[Any], float]) -> float:
    if isinstance(value, Schedule):
        return value
    if not isinstance(value, Mapping):
        return number(value)
    try:
        return Schedule.parse(value)
    except (ValueError, OverflowError):
        raise PydanticCustomError(
            "schedule",
            "Schedule should be like {from: 2, to: 0.2, over: 0.5}: two unlike numbers from 0 on, a share up to 1",
        ) from None


def _choice(value: Any) -> Choice:
    if isinstance(value, str):
        return value
    try:
        name, numbers = value["name"], {key: value[key] for key in value if key != "name"}
        read = {key: Schedule.parse(one) if isinstance(one, Mapping) else one for key, one in numbers.items()}
        if isinstance(name, str) and all(type(one) in (int, float, Schedule) for one in read.values()):
            return {"name": name, **read} if read else name
    except (KeyError, IndexError, TypeError, ValueError, OverflowError):
        pass
    raise PydanticCustomError("choice", "Choice should be a name, or with numbers {name: label-smoothing, target: 0.8}")


def _written(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _written(inner) for key, inner in value.items()}
    return value.plain() if isinstance(value, Schedule) else value


#: a weight or rate that may change in the course of the training: a number, or {from: 2, to: 0.2, over: 0.5}
Number = Annotated[
    Rate,
    WrapValidator(_changing),
    PlainSerializer(_written),
]
#: the name of an entry of a table, or {name: ..., parameter: number}
Chosen = Annotated[Choice, PlainValidator(_choice), PlainSerializer(_written)]


def spelt(pattern: str, words: str) -> AfterValidator:
    """Text that matches a pattern, which the error message describes in words: no person has to read the pattern."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise PydanticCustomError("spelling", "Text should be {words}", {"words": words})
        return text

    return AfterValidator(check)


def file_name(longest: int) -> AfterValidator:
    """A name that is part of the name of a file on any system."""
    words = f"1 to {longest} letters from a to z, digits and ._-, beginning with a letter or a digit"
    return spelt(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{longest - 1}}}", words)


Name = Annotated[str, file_name(64)]
Bins = dict[str, Annotated[tuple[float, float], Field(strict=False)]]

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


OPTIMIZER = rf"adam|sgd|rmsprop|{GIVEN}|\w+(\.\w+)*:\w+"


def _option(value: Any) -> Any:
    parts = value if isinstance(value, list | tuple) else [value]
    if all(one is None or isinstance(one, bool | str | int | float) for one in parts):
        return list(value) if isinstance(value, tuple) else value
    raise PydanticCustomError("option", "Option should be a number, text, true or false, or a list of them")


#: of an optimizer, which checks it further
Option = Annotated[Any, PlainValidator(_option)]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())


class Drive(Part):
    """How a recording of a drive is read, and how much of it makes one clip; see zerosum.data.pictures.drives."""

    #: the CSV, by its name or its path inside the folder; None: every CSV there is
    table: str | None = None
    #: its columns: the frame's file, the time in seconds (None: frames follow each other without a gap), and what the
    #: driver did when the frame was taken, each from -1 to 1
    file: str = "file_name"
    time: str | None = "time"
    actions: Annotated[tuple[str, ...], Field(strict=False, min_length=1, max_length=16)] = ("steering", "throttle")
    #: the actions that change their sign in a mirror; the first is what obedience is measured by
    turns: Annotated[tuple[str, ...], Field(strict=False)] = ("steering",)
    #: frames that are given, and frames that follow them, in each clip
    frames: Annotated[int, Field(ge=1, le=16)] = 3
    ahead: Annotated[int, Field(ge=1, le=32)] = 8
    #: a condition beside frames and actions that stays the same during a drive. colour: mean and spread of each colour
    style: Literal["none", "colour"] = "colour"
    #: clips in which the driver turns are repeated until they are about this share of all
    turning: Annotated[float, Field(ge=0, le=0.9)] = 0.5


class Data(Part):
    """What to learn from. Channels, classes and attribute names come from the data itself."""

    uri: str | None = None
    #: side in pixels at which the networks work; None takes the data's own
    resolution: Annotated[int, Field(ge=8, le=256)] | None = None
    #: 1, 3 or 4; None takes what the images have
    channels: Literal[1, 3, 4] | None = None
    #: mirror half of the images, left to right
    mirror: bool = False
    #: the picture that is the generator's condition, with condition.method = picture. shrunk: the image itself, factor
    #: times smaller; edges: its outlines; pair: its counterpart; pile: any picture of another pile; drive: the frames
    #: before it and what the driver did
    input: Literal["none", "shrunk", "edges", "pair", "pile", "drive"] = "none"
    factor: Literal[2, 4, 8] = 4
    #: with input = drive
    drive: Drive = Drive()
    #: of a pair, the picture that the generator starts from
    given: Literal["A", "B"] = "A"
    #: share kept away from training, for scores, where the data has no test split of its own
    hold_out: Annotated[float, Field(ge=0, lt=1)] = 0.0
    #: which columns of labels make the condition, each with its values or its bins of a number, [low, high); None: all
    attributes: dict[str, list[str] | Bins | None] | None = None
    #: the table beside pictures that holds their labels, by its name or its path inside the data; None: metadata.csv,
    #: metadata.jsonl, dataset.json or CelebA's list_attr, where there is one
    table: str | None = None
    #: values of the files that are black and white; None judges by all values of the set
    range: Annotated[tuple[float, float], Field(strict=False)] | None = None
    #: follow links that lead out of the folder, and links to folders
    links: bool = False
    #: refuse a source with a larger share of lost or unreadable images; below it they are skipped and named
    bad_share: Share = 0.05
    #: GiB of decoded images kept in memory; a larger set is read through a memory map
    memory: Annotated[float, Field(gt=0, le=2**30)] = 4.0

    @model_validator(mode="after")
    def _has_a_range(self) -> "Data":
        if self.range is not None and not -(2.0**63) < self.range[0] < self.range[1] < 2.0**63:
            raise ValueError(f"data.range = {list(self.range)}: should be [black, white], black below white")
        return self


class Latent(Part):
    """The generator's random input z: (N, size); 0 for a generator that starts from a picture alone."""

    size: Annotated[int, Field(ge=0, le=2**53)] = 100
    distribution: Literal["normal", "uniform"] = "normal"
    #: uniform on [-bound, bound]
    bound: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0


class Condition(Part):
    """How the networks get to know the labels, or the picture that stands in their place."""

    #: none: networks see no labels; join: extra inputs (Mirza 2014); embed: conditional normalisation and a projection
    #: critic (Miyato 2018); auxiliary: a classifier beside the critic's score (Odena 2017); picture: see data.input
    method: Literal["none", "join", "embed", "auxiliary", "picture"] = "none"
    #: weight of the auxiliary classifier's cross-entropy
    weight: Number = 1.0


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
    #: lazy: applied every so many critic steps, with its weight multiplied by as much (Karras 2020)
    every: Positive = 1


class Penalties(Part):
    """What the critic pays beside its objective; other names are those of zerosum.games.penalties."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Penalty] = Field(init=False)

    #: Gulrajani 2017: (|gradient| - 1)^2 on random interpolates
    gradient: Penalty = Penalty()
    #: Mescheder 2018: |gradient|^2 / 2 on real and on generated images
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
    """Two generators, there and back, where data.input = pile (Zhu 2017): see zerosum.games.cycle."""

    #: of the mean absolute difference between a picture and what comes back of it
    weight: Number = 10.0
    #: of that between a picture of the target pile and what is made of it: such pictures should stay as they are
    identity: Number = 5.0
    #: past pictures of each generator that its critic may still be shown; 0: only the newest
    pool: Annotated[int, Field(ge=0, le=10_000)] = 50


class Optimizer(Part):
    #: adam, sgd, rmsprop, or the class of another, torch.optim:AdamW or package.module:Class, made with lr and options
    name: Annotated[str, spelt(OPTIMIZER, "'adam', 'sgd' or 'rmsprop', or package.module:Class")] = "adam"
    #: what else the optimizer is made with, such as weight_decay
    options: dict[str, Option] = {}
    lr: Number = 0.0002
    #: of Adam; RMSprop takes the second as its smoothing constant
    betas: Annotated[tuple[Beta, Beta], Field(strict=False)] = (0.5, 0.999)
    #: of SGD, rising linearly over so many epochs
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
    #: generated images of each, made by the averaged generator
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
    data: Data = Data()
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
    #: for data.input = pile, and for no other
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
        if (self.condition.method == "picture") != (self.data.input != "none"):
            raise ValueError(
                f"condition.method = {self.condition.method} with data.input = {self.data.input}: a picture "
                "as the condition needs both, method=picture and an input"
            )
        if self.batch == 1 and self.condition.method != "picture":
            raise ValueError("batch = 1: should be 2 or more; 1 is for generators that start from pictures")
        if self.content.weight > 0 and self.data.input in ("none", "pile"):
            raise ValueError(
                f"content.weight = {self.content.weight:g} with data.input = {self.data.input}: there is no true image "
                "to compare with"
            )
        if (self.cycle is not None) != (self.data.input == "pile"):
            there = "without a part cycle" if self.cycle is None else "with a part cycle"
            raise ValueError(
                f"data.input = {self.data.input} {there}: two piles need both, and nothing else has either"
            )
        if self.cycle is not None and self.critic.steps > 1:
            raise ValueError(f"critic.steps = {self.critic.steps}: a cycle has one step of the critics for each other")
        if self.cycle is not None and self.penalties != Penalties():
            raise ValueError("penalties: the critics of a cycle pay none")
        if least(self.adversarial) == 0 and not (least(self.content.weight) > 0 and self.generator.train):
            raise ValueError("adversarial = 0 without content.weight: the generator would learn nothing")
        for name, values in (self.data.attributes or {}).items():
            if isinstance(values, dict) and any(not low < high for low, high in values.values()):
                raise ValueError(f"data.attributes.{name}: each bin is [low, high) with low < high")
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
        Only where a player gets another network, the options of the one before go. `where` begins the error message.
        """
        where = at_door("--set", "overrides") if where is None else where
        values, changes = self.plain(), dotted(type(self), overrides)
        for name, player in (("generator", self.generator), ("critic", self.critic)):
            if changes.get(f"{name}.network", player.network) != player.network:
                values[name] = {key: value for key, value in values[name].items() if key not in player.options}
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
