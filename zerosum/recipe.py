"""A recipe: every choice that makes a training run, as frozen, typed, strict plain values."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeGuard, TypeVar, get_args, get_origin

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from zerosum.errors import ZerosumError, at_door, suggest

Positive = Annotated[int, Field(gt=0, le=2**53)]
Rate = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]


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

#: bytes of a recipe beyond which it is not read: a hundred times the longest
MOST_RECIPE = 2**18
#: threads beyond which no machine is
MOST_THREADS = 1024
#: characters of a value or key that an error repeats
SHOWN = 100

#: stands in a stored recipe for what was handed over as a Python object
GIVEN = "given"

Model = TypeVar("Model", bound=BaseModel)


def _threads(value: Any) -> Any:
    if value == "auto" or (type(value) is int and 1 <= value <= MOST_THREADS):
        return value
    raise ValueError(f"threads = {_shown(value)}: should be auto, or a whole number from 1 to {MOST_THREADS}")


Threads = Annotated[int | Literal["auto"], PlainValidator(_threads)]


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
    weight: Rate = 1.0


class Player(BaseModel):
    """One of the two networks. Keys beyond these are options of its architecture, checked when it is built."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    #: a family of zerosum.networks, or a dotted path `package.module:Class`
    network: str = "dcgan"
    #: None takes optimizer.lr
    lr: Rate | None = None
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
    weight: Rate = 0.0
    #: lazy: applied every so many critic steps, with its weight multiplied by as much (Karras 2020)
    every: Positive = 1


class Penalties(Part):
    """What the critic pays beside its objective."""

    #: Gulrajani 2017: (|gradient| - 1)^2 on random interpolates
    gradient: Penalty = Penalty()
    #: Mescheder 2018: |gradient|^2 / 2 on real and on generated images
    r1: Penalty = Penalty()
    r2: Penalty = Penalty()
    #: Arjovsky 2017: weights clipped to [-clip, clip]; 0 is off
    clip: Rate = 0.0


class Content(Part):
    """What the generator pays for being unlike the true image, where its condition has one."""

    #: of the content loss, beside the objective's `adversarial`
    weight: Rate = 0.0
    #: a name in zerosum.games.objectives
    measure: str = "l1"


class Cycle(Part):
    """Two generators, there and back, where data.input = pile (Zhu 2017): see zerosum.games.cycle."""

    #: of the mean absolute difference between a picture and what comes back of it
    weight: Rate = 10.0
    #: of that between a picture of the target pile and what is made of it: such pictures should stay as they are
    identity: Rate = 5.0
    #: past pictures of each generator that its critic may still be shown; 0: only the newest
    pool: Annotated[int, Field(ge=0, le=10_000)] = 50


class Optimizer(Part):
    name: Literal["adam", "sgd", "rmsprop"] = "adam"
    lr: Rate = 0.0002
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
    half_life: Rate = 0.0
    #: early in training the half-life is at most this share of the images seen (Karras 2020)
    ramp: Rate = 0.05


class Scoring(Part):
    """Cheap scores while training: for the curve, the best checkpoint and the diagnosis."""

    #: steps between two of them; 0: none. The last step is scored too, if there were so many before it
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
    objective: str = "non-saturating"
    #: weight of the objective in the generator's loss; 0: it learns from its content loss alone, without a critic
    adversarial: Rate = 1.0
    content: Content = Content()
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
        if self.adversarial == 0 and not (self.content.weight > 0 and self.generator.train):
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
        return validated(cls, values, where)

    def with_overrides(self, overrides: Mapping[str, Any], where: str | None = None) -> "Recipe":
        """A copy with keys changed: {"generator.lr": 1e-3, "steps": 500}, or {"optimizer": {"lr": 1e-3}}.

        A mapping changes the keys of a section that it names and no other; later overrides go on top of earlier ones.
        Only where a player gets another network, the options of the one before go. `where` begins the error message.
        """
        where = at_door("--set", "overrides") if where is None else where
        values, changes = self.plain(), dotted(overrides)
        for name, player in (("generator", self.generator), ("critic", self.critic)):
            if changes.get(f"{name}.network", player.network) != player.network:
                values[name] = {key: value for key, value in values[name].items() if key not in player.options}
        for key, value in changes.items():
            *parents, last = key.split(".")
            inner: Any = values
            for depth, parent in enumerate(parents, 1):
                types = _types_of(parents[:depth])
                if inner.get(parent) is None and type(None) in types and any(map(_is_mapping, types)):
                    inner[parent] = {}  # an optional section, or a mapping that may be left out
                inner = inner[parent] if isinstance(inner.get(parent), dict) else None
                if inner is None:
                    break
            if inner is not None and not (_is_section(key) and value == {} and isinstance(inner.get(last), dict)):
                # a later key may reach into it
                inner[last] = value.model_dump(mode="json") if isinstance(value, BaseModel) else deepcopy(value)
            elif inner is None and not _is_section(".".join(parents[:depth])):  # else the section itself is refused
                raise ZerosumError(f"{where}: unknown key '{key[:SHOWN]}': {suggest_key(key)}")
        return self.parse(values, where)

    def plain(self) -> dict[str, Any]:
        """Nested plain values (dict, list, str, numbers), as in the YAML file."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        return yaml.dump(self.plain(), Dumper=_Dumper, sort_keys=False)

    def differences(self, other: "Recipe") -> dict[str, tuple[Any, Any]]:
        """Dotted keys whose values differ, with both values."""
        mine, theirs = flat(self.plain()), flat(other.plain())
        keys = [*mine, *(key for key in theirs if key not in mine)]
        whole = {key for key in keys if any(longer.startswith(f"{key}.") for longer in keys)}
        nothing = object()
        return {
            key: (mine.get(key), theirs.get(key))
            for key in keys
            if key not in whole and mine.get(key, nothing) != theirs.get(key, nothing)
        }


def packaged() -> dict[str, Any]:
    """The recipes that come with zerosum: name -> readable resource."""
    folder = resources.files("zerosum") / "recipes"
    files = sorted((item for item in folder.iterdir() if item.name.endswith(".yaml")), key=lambda item: item.name)
    return {item.name.removesuffix(".yaml"): item for item in files}


def read_named(
    name: str | Path, kind: str, known: Mapping[str, Any], others: Iterable[str] = ()
) -> tuple[dict[str, Any], str]:
    """The values of a recipe or study (kind) of the package or in a YAML file, and what to call it.

    known: name -> readable resource. others: names that a person may have meant. Raises ZerosumError for anything else.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise ZerosumError(f"{kind} file {path} does not exist")
        if path.stat().st_size > MOST_RECIPE:
            raise ZerosumError(f"{kind} file {path} is larger than {MOST_RECIPE >> 10} KiB: no {kind} is")
        text = path.read_text(encoding="utf-8", errors="replace")
        label = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("._-") or ("custom" if kind == "recipe" else kind)
    else:
        if str(name) not in known:
            raise ZerosumError(f"unknown {kind} '{name}': {suggest(str(name), [*known, *others])}")
        text, label = known[str(name)].read_text(encoding="utf-8"), str(name)
    values = read_yaml(text, where=f"{kind} {name}")
    if not isinstance(values, dict):
        raise ZerosumError(f"{kind} {name}: expected 'key: value' lines")
    return values, label


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}"""
    result: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            result |= flat(value, f"{prefix}{key}.")
        else:
            result[f"{prefix}{key}"] = value
    return result


def dotted(*overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides, the later on top of the earlier, with sections written as dotted keys.

    A mapping that is no section of a recipe, such as data.attributes, is a value like others.

    >>> dotted({"optimizer": {"lr": 0.1, "name": "sgd"}, "steps": 5}, {"optimizer.lr": 0.2})
    {'optimizer.name': 'sgd', 'steps': 5, 'optimizer.lr': 0.2}
    """
    result: dict[str, Any] = {}
    for key, value in (pair for one in overrides for pair in one.items()):
        whole = not (isinstance(value, Mapping) and value and _is_section(str(key)))
        changes = {str(key): value} if whole else dotted({f"{key}.{inner}": new for inner, new in value.items()})
        for name, new in changes.items():
            result.pop(name, None)  # the order is that in which they are made
            result[name] = new
    return result


def _is_section(key: str) -> bool:
    return any(map(_is_part, _types_of(key.split("."))))


def _is_part(kind: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _is_mapping(kind: Any) -> bool:
    return _is_part(kind) or get_origin(kind) is dict


def _types_of(path: Sequence[str]) -> list[Any]:
    """The types that a key of a recipe may have; none for a key that is unknown or an option of a network."""
    types: list[Any] = [Recipe]
    for name in path:
        model = next(filter(_is_part, types), None)
        if model is None or name not in model.model_fields:
            return []
        annotation = model.model_fields[name].annotation
        # of a union its members; a mapping's arguments are no types of the key
        types = [annotation] if get_origin(annotation) is dict else [*(get_args(annotation) or [annotation])]
    return types


def parse_overrides(pairs: list[str]) -> dict[str, Any]:
    """["a.b=1e-3"] -> {"a.b": 0.001}; values are YAML, and mappings of sections are merged."""
    read = []
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            raise ZerosumError(f"--set {pair}: write key=value, for example --set generator.lr=0.001")
        read.append({key.strip(): read_yaml(text, where=f"--set {key}")})
    return dotted(*read)


def validated(model: type[Model], values: Mapping[str, Any], where: str) -> Model:
    """The model built from plain values, or one line that names the key and what it should be."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        problem = error.errors()[0]
    path = [str(part) for part in problem["loc"] if part != "[key]"]
    if path[:2] == ["data", "attributes"] and len(path) > 3:  # then come the types that it might have had
        raise ZerosumError(
            f"{where}: {'.'.join(path[:3])}: should be a list of values as text, ['3', '8'], or bins {{low: [0, 30]}}"
        )
    key = ".".join(path)[:SHOWN]
    if problem["type"] == "extra_forbidden":
        raise ZerosumError(f"{where}: unknown key '{key}': {suggest_key(key, model)}")
    if problem["type"] == "value_error":
        raise ZerosumError(f"{where}: {problem['ctx']['error']}")
    if problem["type"] == "missing":
        raise ZerosumError(f"{where}: key '{key}' is missing")
    said = re.sub(r"^\w+ should ", "", problem["msg"])
    if problem["type"] in ("model_type", "dict_type"):
        said = "be a dictionary: keys with their values"
    raise ZerosumError(f"{where}: {key} = {_shown(problem['input'])}: should {said[:SHOWN]}")


def _shown(value: Any) -> str:
    """As Python writes it, cut short."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits is not written out
        text = f"a huge {type(value).__name__}"
    return text if len(text) <= SHOWN else text[:SHOWN] + " ..."


def suggest_key(key: str, model: type[BaseModel] = Recipe) -> str:
    """The nearest right dotted key; a key without dots may also stand for the last part of one."""
    leaves = list(flat(model().model_dump())) if model is Recipe else _keys(model)
    tops = list(dict.fromkeys(leaf.partition(".")[0] for leaf in leaves))

    def likeness(known: str) -> tuple[float, int, int]:
        words = [known] if "." in key else [known, known.rpartition(".")[2]]
        best = max(difflib.SequenceMatcher(None, key, word).ratio() for word in words)
        return round(best, 2), -known.count("."), leaves.index(known) if known in leaves else 0

    nearest = max({*tops, *leaves}, key=likeness)
    return f"did you mean '{nearest}'?" if likeness(nearest)[0] >= 0.6 else suggest(key, tops)


def _keys(model: type[BaseModel]) -> list[str]:
    """The keys of a model and, after a dot, those of the models that are among the types of its fields."""
    result = []
    for name, field in model.model_fields.items():
        types = [
            kind for one in (get_args(field.annotation) or [field.annotation]) for kind in (get_args(one) or [one])
        ]
        inner = [kind for kind in types if _is_part(kind)]
        result += [name, *(f"{name}.{key}" for kind in inner for key in _keys(kind))]
    return result


class _Loader(yaml.SafeLoader):
    """Plain values only: 1e-3 is a number, a key stands once, and nothing refers to anything else."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed")
        if getattr(self.peek_event(), "tag", None) is not None:  # type: ignore[no-untyped-call]
            raise yaml.YAMLError("tags are not allowed")
        return super().compose_node(parent, index)

    def construct_yaml_int(self, node: Any) -> int:
        value = int(super().construct_yaml_int(node))
        if abs(value) >= 2**63:
            raise yaml.YAMLError("a whole number is too large")
        return value

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str | int | float] = set()
        for node_of_key, _ in node.value:
            key = self.construct_object(node_of_key, deep=True)
            if not isinstance(key, str | int | float) or key in seen:
                repeated = isinstance(key, str | int | float)
                raise yaml.YAMLError(
                    f"key {_shown(key)} stands twice" if repeated else f"{_shown(key)} cannot be a key"
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes the words that _Loader would read as numbers."""


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
for _each in (_Loader, _Dumper):
    _each.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
    )


def read_yaml(text: str, where: str) -> Any:
    """Plain values from YAML text; ZerosumError beginning with `where` if it is none."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark and "\n" in text else ""
        said = " ".join(str(getattr(error, "problem", None) or error).split())[: 2 * SHOWN]
        raise ZerosumError(f"{where}{line}: not valid YAML: {said}") from None
