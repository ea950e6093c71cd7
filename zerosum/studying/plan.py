"""What a study trains: from a study file, or from a recipe and the values of its knobs, to a list of settings."""

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BeforeValidator, Field

from zerosum.errors import ZerosumError, at_door, setting, suggest
from zerosum.loading import dotted, packaged, read_named, validated
from zerosum.plainyaml import read_yaml
from zerosum.recipe import Recipe
from zerosum.schema import Name, Part, Positive, file_name

#: with the words "-seed" and a number it is the name of a run
SettingName = Annotated[str, file_name(48)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
#: of a recipe, with its sections written as dotted keys
Overrides = Annotated[dict[str, Any], AfterValidator(lambda values: dotted(Recipe, values))]


def _seeds(value: Any) -> Any:
    listed = value if isinstance(value, list) else [value]
    if not listed or any(type(seed) is not int or not 0 <= seed < 2**31 for seed in listed) or value == 0:
        raise ValueError(f"seeds = {value!r}: should be how many, from 1, or a list of which, from 0")
    return value


def _values(value: Any) -> Any:
    if not value or not isinstance(value, list | str):
        raise ValueError(f"vary: {value!r} should be a list of values, or low..high for a search")
    return value


#: how many, or which
Seeds = Annotated[int | list[int], BeforeValidator(_seeds)]
#: several values, or for a search "low..high" or "low..high log"
Values = Annotated[list[Any] | str, BeforeValidator(_values)]
Minutes = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Images = Annotated[int, Field(ge=50, le=100_000)]

#: the setting that has the base recipe's values of all knobs
BASE = "default"
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"


class Claim(Part):
    """What the runs are expected to show."""

    #: in words
    say: str
    #: as an expression, see zerosum.studying.claims
    expect: str


class Choice(Part):
    """One setting of a study file."""

    #: None takes the study's
    recipe: str | None = None
    set: Overrides = Field({})


class Quick(Part):
    """What --quick changes, so that the same questions take minutes."""

    #: what is narrower in it, for the reader
    about: str = ""
    seeds: Seeds | None = None
    #: for all settings, before their own
    set: Overrides = Field({})
    #: for single settings, after their own
    settings: dict[SettingName, Overrides] = Field({})
    minutes: Minutes | None = None
    images: Images | None = None


class StudyFile(Part):
    """A study as a person writes it. Raises ZerosumError, never pydantic's own error, from `load` and `parse`."""

    name: Name = "study"
    about: str = ""
    #: what a full study and a quick one take, in words
    budget: str = ""
    #: the base: a name, or a file
    recipe: str = "digits"
    #: a data URI in place of the recipe's
    data: str | None = None
    #: how many, from 0 on, or which
    seeds: Seeds = 3
    #: overrides of the base
    set: Overrides = Field({})
    #: knob -> values; each is compared with the base
    vary: dict[str, Values] = Field({})
    #: all combinations of the values instead
    grid: bool = False
    #: settings by name, in place of vary
    settings: dict[SettingName, Choice] = Field({})
    #: so many settings drawn from the ranges in vary, the best by one score
    search: Positive | None = None
    by: str = "fid"
    #: generated samples of every score
    images: Images = 2000
    #: each run ends, with everything saved, after so long
    minutes: Minutes | None = None
    quick: Quick | None = None
    claims: list[Claim] = Field([])

    @classmethod
    def load(cls, name: str | Path) -> "StudyFile":
        """The study of this name in the package, or in this YAML file."""
        path = Path(name)
        values, label = read_named(name, "study", packaged_studies(), packaged())
        study = cls.parse({"name": label} | values, where=f"study {name}")
        beside = study.recipe, path.parent / study.recipe
        return study.changed(recipe=str(beside[1])) if path.suffix and beside[1].is_file() else study

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str = "study") -> "StudyFile":
        """A study from plain nested values; `where` begins the error message."""
        study = validated(cls, values, where)
        if study.settings and study.vary:
            raise ZerosumError(f"{where}: has both settings and vary: choose one")
        if study.settings and (study.search or study.grid):
            raise ZerosumError(f"{where}: a grid or a search needs vary in place of settings")
        if study.search and not study.vary:
            raise ZerosumError(f"{where}: a search needs something to search: vary: {{optimizer.lr: 1e-4..1e-2 log}}")
        for key, found in study.vary.items():
            if isinstance(found, str) and parse_range(key, found) and not study.search:
                raise ZerosumError(f"{where}: vary {key} = {found}: a range is for a search; list its values")
        return study

    def changed(self, **values: Any) -> "StudyFile":
        """A copy with other values, checked as the first."""
        return self.parse(self.model_dump(exclude_unset=True) | values, where=f"study {self.name}")

    def quickened(self) -> "StudyFile":
        """The quick form, in which `quick` holds what is left to be done to single settings."""
        if self.quick is None:
            raise ZerosumError(
                f"study {self.name} has no quick form: give it a section 'quick', or fewer steps: "
                f"{setting('steps', 500)}"
            )
        quick = self.quick
        return self.changed(
            seeds=self.seeds if quick.seeds is None else quick.seeds,
            set=dotted(Recipe, self.set, quick.set),
            minutes=quick.minutes or self.minutes,
            images=quick.images or self.images,
            quick={"about": quick.about, "settings": quick.settings},
        )


class Setting(Part):
    """One way to train, apart from the seed."""

    name: SettingName
    recipe: str
    #: every override of that recipe
    set: Overrides
    #: the key in which it differs from the base, where there is one
    knob: str | None = None
    value: Any = None

    def with_values(self, values: Overrides, name: str) -> "Setting":
        """A copy with other values of some keys."""
        return self.model_copy(update={"name": name, "set": dotted(Recipe, self.set, values)})


class Search(Part):
    """Settings that are drawn one after the other, each knowing how the others did."""

    trials: Positive
    #: the kind of score
    by: str
    vary: dict[str, Values]
    #: what all of them share
    base: Setting

    def ends(self) -> list[Setting]:
        """Settings at both ends of each range and with each listed value: where they can be trained, the others can."""
        result = []
        for key, found in self.vary.items():
            span = parse_range(key, found) if isinstance(found, str) else None
            values = found if span is None else [span.typed(span.low), span.typed(span.high)]
            result += [self.base.with_values({key: value}, setting_name({key: value}, [key])) for value in values]
        return result


class Plan(Part):
    """plan.json of a study folder."""

    name: Name
    about: str = ""
    budget: str = ""
    quick: bool = False
    images: Images
    minutes: Minutes | None = None
    seeds: list[Seed]
    #: those of a search are added as they are drawn
    settings: list[Setting]
    claims: list[Claim]
    search: Search | None = None
    #: what the study is called where its runs are handed out, and the address of that place if not in its folder
    id: str = ""
    storage: str | None = None

    def runs(self) -> list[tuple[Setting, int]]:
        """Every run, all settings with one seed before the next seed."""
        return [(setting, seed) for seed in self.seeds for setting in self.settings]

    def to_yaml(self) -> str:
        """The study file that makes this plan again."""
        values = self.model_dump(exclude_defaults=True, exclude={"quick", "settings", "search", "id", "storage"})
        if self.search is None:
            values["settings"] = {one.name: {"recipe": one.recipe, "set": one.set} for one in self.settings}
        else:
            values |= {"recipe": self.search.base.recipe, "set": self.search.base.set}
            values |= {"vary": self.search.vary, "search": self.search.trials, "by": self.search.by}
        unshared = json.loads(json.dumps(values))  # what stands twice would become an alias
        return yaml.safe_dump(unshared, sort_keys=False, allow_unicode=True, width=120)


def make_plan(study: StudyFile, quick: bool = False) -> Plan:
    """The settings of a study, in its quick form if so, without a look at recipes or data yet."""
    shared = dotted(Recipe, study.set, {} if study.data is None else {"data.uri": absolute(study.data)})
    seeds = list(range(study.seeds)) if isinstance(study.seeds, int) else list(dict.fromkeys(study.seeds))
    search = None
    if study.settings:
        settings = [
            Setting(name=name, recipe=choice.recipe or study.recipe, set=dotted(Recipe, shared, choice.set))
            for name, choice in study.settings.items()
        ]
    elif study.search:
        base = Setting(name=BASE, recipe=study.recipe, set=shared)
        search, settings = Search(trials=study.search, by=study.by, vary=study.vary, base=base), []
        if study.claims:
            raise ZerosumError(f"study {study.name}: a search has no claims: its settings are not known beforehand")
        if "seeds" not in study.model_fields_set:
            seeds = [0]
        elif len(seeds) > 1:
            raise ZerosumError(
                f"study {study.name}: a search trains each setting once, {at_door('--seeds 1', 'seeds=1')}: "
                "repeat the best one after"
            )
    else:
        settings = list(_varied(study, shared))
    single = study.quick.settings if quick and study.quick else {}
    for name in single:
        if name not in (known := [setting.name for setting in settings]):
            raise ZerosumError(f"study {study.name}: quick.settings: no setting '{name}': {suggest(name, known)}")
    return Plan(
        name=study.name,
        about=study.about,
        budget=study.budget,
        quick=quick,
        images=study.images,
        minutes=study.minutes,
        seeds=seeds,
        settings=[
            one.model_copy(update={"set": dotted(Recipe, one.set, single.get(one.name, {}))}) for one in settings
        ],
        claims=study.claims,
        search=search,
    )


def _varied(study: StudyFile, shared: Overrides) -> list[Setting]:
    """The base and each value of each knob, or every combination of values."""
    lists = {key: found if isinstance(found, list) else [found] for key, found in study.vary.items()}
    if study.grid:
        chosen: list[tuple[str | None, Overrides]] = [
            (None, dict(zip(lists, combination, strict=True))) for combination in itertools.product(*lists.values())
        ]
    else:
        base = Recipe.load(study.recipe).with_overrides(shared, f"study {study.name}: set")
        chosen = [(None, {})]
        for key, found in lists.items():
            where = f"study {study.name}: vary"
            different = [value for value in found if base.differences(base.with_overrides({key: value}, where))]
            chosen += [(key, {key: value}) for value in different]
    result: dict[str, Setting] = {}
    for knob, values in chosen:
        name = setting_name(values, list(lists)) if values else BASE
        if name in result:
            raise ZerosumError(f"study {study.name}: two settings are called {name}: name them yourself under settings")
        value = values[knob] if knob is not None else None
        result[name] = Setting(
            name=name, recipe=study.recipe, set=dotted(Recipe, shared, values), knob=knob, value=value
        )
    return list(result.values())


def setting_name(values: Overrides, knobs: Sequence[str]) -> str:
    """
    >>> setting_name({"optimizer.lr": 0.001}, ["optimizer.lr"])
    'lr-0.001'
    >>> setting_name({"critic.lr": 0.001, "batch": 16}, ["critic.lr", "generator.lr", "batch"])
    'critic.lr-0.001-batch-16'
    """
    leaves = [knob.rpartition(".")[2] for knob in knobs]
    words = []
    for key, value in values.items():
        leaf = key.rpartition(".")[2]
        words += [leaf if leaves.count(leaf) < 2 else key, str(value).strip("[]")]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(words)).strip("-")[:48].rstrip("-.")


def parse_vary(pairs: Sequence[str]) -> dict[str, Values]:
    """
    >>> parse_vary(["optimizer.lr=0.001,1e-4", "optimizer.betas=[0.5, 0.9],[0, 0.99]", "batch=16..128 log"])
    {'optimizer.lr': [0.001, 0.0001], 'optimizer.betas': [[0.5, 0.9], [0, 0.99]], 'batch': '16..128 log'}
    """
    result: dict[str, Values] = {}
    for pair in pairs:
        key, equals, text = (part.strip() for part in pair.partition("="))
        if not equals or not key:
            raise ZerosumError(f"--vary {pair}: write key=a,b,c, for example --vary optimizer.lr=0.001,0.0002")
        if key in result:
            raise ZerosumError(f"--vary {key} stands twice: write all its values in one")
        values = text if ".." in text else read_yaml(f"[{text}]", where=f"--vary {key}")
        if not values:
            raise ZerosumError(f"--vary {pair}: has no values")
        result[key] = values
    return result


class Range(Part):
    """Numbers between two ends, both included; whole where both are written without a point."""

    low: float
    high: float
    log: bool
    whole: bool

    def typed(self, value: float) -> int | float:
        return int(value) if self.whole else value


def parse_range(key: str, text: str) -> Range:
    """
    >>> parse_range("batch", "16..128 log")
    Range(low=16.0, high=128.0, log=True, whole=True)
    """
    match = re.fullmatch(rf"\s*({NUMBER})\s*\.\.\s*({NUMBER})(\s+log)?\s*", text)
    if not match:
        raise ZerosumError(f"vary {key} = {text}: write a list of values, or low..high or low..high log for a search")
    low, high, log = float(match[1]), float(match[2]), match[3] is not None
    if not low < high or (log and low <= 0) or high == float("inf"):
        raise ZerosumError(
            f"vary {key} = {text}: an empty range; low < high" + (", and above 0 for log" if log else "")
        )
    return Range(low=low, high=high, log=log, whole=all(re.fullmatch(r"[-+]?\d+", match[end]) for end in (1, 2)))


def packaged_studies() -> dict[str, Any]:
    """The studies that come with zerosum: name -> readable resource."""
    folder = resources.files("zerosum") / "studies"
    files = {item.name.removesuffix(".yaml"): item for item in folder.iterdir() if item.name.endswith(".yaml")}
    return dict(sorted(files.items()))


def is_study_file(path: Path) -> bool:
    """Whether a YAML file is a study and not a recipe: by the keys that only a study has."""
    values = read_yaml(path.read_text(encoding="utf-8", errors="replace"), where=str(path)) if path.is_file() else None
    own = set(StudyFile.model_fields) - set(Recipe.model_fields)
    return isinstance(values, dict) and bool(own & set(values))


def absolute(uri: str) -> str:
    """A path from anywhere, so that a study goes on from any folder; names stay."""
    return str(Path(uri).resolve()) if uri != "digits" and Path(uri).exists() else uri
