"""What the arrangement of pictures says: which are for training, which are held out, and what their labels are.

Splits are folders called train, test or validation in any usual spelling, at any depth. Labels come from the first of
these that there is: the table that data.table names, StyleGAN's dataset.json, metadata.csv or .jsonl (at any level, for
what lies below it), CelebA's list_attr table, folders of classes.
"""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath

from zerosum.data.pictures.files import Files, composed, counted, no_pictures, number_of, shown
from zerosum.data.tables import CELEBA, Matcher, Table, dataset_json, read_table
from zerosum.errors import NoTestSplit, ZerosumError, setting, suggest

_NEUTRAL = r"(sets?|data|datasets?|images?|imgs?|pictures?|pics?|photos?|splits?|parts?|folders?|files?|seg|png|jpe?g)"
#: how folders of a split are called: one word of their name, to which one without meaning may be glued
SPLITS = {
    split: re.compile(f"({words}){_NEUTRAL}?")
    for split, words in {
        "train": r"train(ing)?",
        "test": r"test(ing)?|eval(uation)?|holdout",
        "validation": r"val(id(ation)?)?|dev(elopment)?",
    }.items()
}
#: folders of two domains without pairs, as CycleGAN's data sets have them: trainA, test_B
DOMAIN = re.compile(r"(train|test|val)[-_ ]?([ab])", re.IGNORECASE)
#: CelebA's split of its pictures: 0, 1 and 2
PARTITION = re.compile(r"list_eval_partition\.(txt|csv)", re.IGNORECASE)

#: values that the line about labels repeats, and tables that are looked at to find one that could hold labels
NAMED, LOOKED_AT = 5, 20


@dataclass(frozen=True)
class Place:
    """Where a picture lies: its split, "" for none, and its folders without those that say the split."""

    split: str
    folders: tuple[str, ...]
    #: A or B in a folder such as trainA
    domain: str = ""


@dataclass(frozen=True)
class Layout:
    """The pictures of one split with their labels, and what is told of the whole set."""

    names: list[str]
    #: attribute -> one word for each of the names; None without labels
    columns: dict[str, list[str]] | None
    #: where labels came from, or "none" and why
    labels: str
    #: what is held out, and pictures that are left out: "10 kept for testing"
    rest: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def split_of(folder: str) -> tuple[str, str]:
    """train, test or validation for a folder that is called so, and the other words of its name; "" for others.

    >>> [split_of(name) for name in ("Train", "test_set", "val2017", "TrainingImages", "cats_test", "cats", "contest")]
    [('train', ''), ('test', ''), ('validation', ''), ('train', ''), ('test', 'cats'), ('', 'cats'), ('', 'contest')]
    """
    words = re.findall(r"[^\W\d_]+", composed(folder).casefold())
    found = {word: split for word in words for split, pattern in SPLITS.items() if pattern.fullmatch(word)}
    if len(found) != 1:
        return "", folder
    return next(iter(found.values())), " ".join(w for w in words if w not in found and not re.fullmatch(_NEUTRAL, w))


class Splits:
    """Which folders of a set say a split, judged by all of them.

    A word beside the split counts where it stands beside several: cats_train and cats_test, but train_station has no
    partner. One that says test or validation wins over one that says train, wherever they stand. Of several that say
    train the first one counts, and those that have a test or validation folder beside them.
    """

    def __init__(self, names: Sequence[str]) -> None:
        folders = {parts[: index + 1] for parts in map(_folders, names) for index in range(len(parts))}
        splits: dict[str, set[str]] = {"": {"train", "test"}}
        for split, rest in (split_of(folder[-1]) for folder in folders):
            if split:
                splits.setdefault(rest, set()).add(split)
        self._pairs = {rest for rest, found in splits.items() if len(found) > 1}
        self._parents = {folder[:-1] for folder in folders if self._split(folder[-1])[0] in ("test", "validation")}

    def _split(self, folder: str) -> tuple[str, str]:
        split, rest = split_of(folder)
        return (split, rest) if split and rest in self._pairs else ("", folder)

    def place(self, name: str) -> Place:
        """Where a picture lies."""
        folders = _folders(name)
        for index, folder in enumerate(folders):
            if found := DOMAIN.fullmatch(folder):
                return Place(split_of(found[1])[0], (*folders[:index], *folders[index + 1 :]), found[2].upper())
        kept: list[str] = []
        split = ""
        for index, folder in enumerate(folders):
            said, rest = self._split(folder)
            if said == "train" and split and folders[:index] not in self._parents:
                said, rest = "", folder  # a class of vehicles, inside a training folder
            if said in ("test", "validation") and split in ("test", "validation"):
                said, rest = "", folder
            split = said if said and split in ("", "train") else split
            kept += [rest] if rest else []
        return Place(split, tuple(kept))


def _folders(name: str) -> tuple[str, ...]:
    return PurePosixPath(name).parent.parts


def arrange(files: Files, split: str | None, table: str | None = None, bad_share: float = 0.05) -> Layout:
    """The pictures of a split with their labels. split: train, test, or None for all there are.

    table: name of the table that holds the labels. bad_share: of all pictures, those that may lie beside the folders of
    classes. Raises ZerosumError, NoTestSplit among them, for what cannot be learned from.
    """
    files.check_lost(bad_share)
    if not files.pictures:
        raise no_pictures(files)
    splits = Splits(files.pictures)
    places = {name: splits.place(name) for name in files.pictures}
    if {"A", "B"} <= {place.domain for place in places.values() if place.split == "train"}:
        return _domains(files, places, split)
    # a folder trainA without a trainB is one like others
    places = {n: Place("", _folders(n)) if place.domain else place for n, place in places.items()}
    places |= _partition(files)
    chosen, rest = _of_split(files, places, split)
    notes = files.remarks()
    tables = _tables(files, table)
    if tables is None:
        return _from_folders(files, places, chosen, rest, bad_share, notes)
    if not tables:
        files.use(_of_name(files, "dataset.json"))
        return Layout(sorted(chosen), None, "none: dataset.json holds none", rest, notes)
    strict = table is None and not CELEBA.fullmatch(PurePosixPath(tables[0].where).name)
    return _from_tables(files, tables, chosen, rest, bad_share if strict else 1.0, notes)


def _domains(files: Files, places: dict[str, Place], split: str | None) -> Layout:
    wanted = held_out_of({place.split for place in places.values()}) if split == "test" else split
    chosen = [name for name, place in places.items() if place.domain and wanted in (None, place.split)]
    if not chosen:
        raise NoTestSplit(f"{files.root} has no test split: no folders testA and testB in it")
    outside = [name for name, place in places.items() if not place.domain]
    rest = [counted("outside of the folders trainA and trainB", outside)] if outside else []
    rest += _others({name: place for name, place in places.items() if place.domain}, wanted)
    columns = {"pile": [places[name].domain for name in chosen]}
    return Layout(chosen, columns, "folders trainA and trainB", rest, files.remarks())


def held_out_of(splits: Collection[str]) -> str:
    """Which of these splits is held out: validation where there is no test."""
    return "test" if "test" in splits or "validation" not in splits else "validation"


def _of_split(files: Files, places: dict[str, Place], split: str | None) -> tuple[set[str], list[str]]:
    """The pictures of a split, and what is told of the others and of those beside the folders of splits."""
    root = files.root
    splits = {place.split for place in places.values()}
    if split is None or splits == {""}:
        if split == "test":
            raise NoTestSplit(f"{root} has no test split: no folders train and test in it")
        return set(places), []
    training = "train" if "train" in splits else ""
    if training and not splits - {"train", ""}:
        _check_class_called_train(files, places)
    wanted = held_out_of(splits) if split == "test" else training
    chosen = {name for name, place in places.items() if place.split == wanted}
    if not chosen:
        if split == "test":
            raise NoTestSplit(f"{root} has no test split: no pictures in its folder test")
        held = " and ".join(sorted(splits))
        raise ZerosumError(
            f"{root}: holds only pictures of {held}, which are not trained on: add a folder train, or give that folder"
        )
    beside = [name for name, place in places.items() if place.split == "" and training]
    rest = _others(places, wanted)
    return chosen, rest + ([counted("beside the folders of splits", beside)] if beside else [])


def _others(places: dict[str, Place], wanted: str | None) -> list[str]:
    """How many pictures there are of other splits."""
    counts = Counter(place.split for place in places.values() if place.split not in (wanted, ""))
    purposes = {"train": "for training", "test": "kept for testing", "validation": "kept for validation"}
    return [f"{counts[split]} {purposes[split]}" for split in purposes if counts[split]]


def _check_class_called_train(files: Files, places: dict[str, Place]) -> None:
    """A folder train beside other folders, without test or validation: a split, or a class of vehicles?"""
    others = sorted(
        {PurePosixPath(name).parts[0] for name, place in places.items() if not place.split and place.folders}
    )
    if others:
        raise ZerosumError(
            f"{files.root}: is its folder train a split or a class? Beside it are pictures in {shown(others)}: take "
            "them out, add a folder test, or give the class another name"
        )


def _partition(files: Files) -> dict[str, Place]:
    """The splits that CelebA's list_eval_partition tells."""
    name = next((name for name in files.names if PARTITION.fullmatch(PurePosixPath(name).name)), None)
    if name is None:
        return {}
    files.use([name])
    if name.lower().endswith(".csv"):
        table = read_table(files, name)
        rows = [(row[0], row[-1]) for row in table.rows]
    else:
        lines = files.read(name).decode("utf-8", "replace").splitlines()
        rows = [(words[0], words[1]) for words in map(str.split, lines) if len(words) == 2]
    splits = {"0": "train", "1": "validation", "2": "test"}
    found = Matcher(files.pictures).find([file for file, _ in rows], str(PurePosixPath(name).parent))
    return {
        picture: Place(splits[number], ())
        for picture, (_, number) in zip(found, rows, strict=True)
        if picture is not None and number in splits
    }


# --- labels in tables


def _from_tables(
    files: Files, tables: Sequence[Table], chosen: set[str], rest: list[str], most_missing: float, notes: list[str]
) -> Layout:
    """most_missing: share of a table's rows that may name no picture that is there."""
    matcher = Matcher(files.pictures)
    headers: list[list[str]] = []
    labels: dict[str, dict[str, str]] = {}
    lines: dict[str, str] = {}
    for table in tables:
        column = _file_column(table, matcher)
        names = _attributes(table, column, notes)
        headers.append(names)
        found = matcher.find([row[column] for row in table.rows], table.base)
        missing = []
        for row, line, picture in zip(table.rows, table.lines, found, strict=True):
            if picture is None:
                missing.append(f"{row[column]} (line {line})")
                continue
            if picture in lines:
                raise ZerosumError(
                    f"{table.where}, line {line}: {row[column]} stands there already in {lines[picture]}"
                )
            lines[picture] = f"line {line}" if len(tables) == 1 else f"{table.where}, line {line}"
            labels[picture] = {name: row[table.header.index(name)] for name in names}
        if missing:
            said = f"{table.where}: {len(missing)} of its {len(table.rows)} files are not there, or no pictures: "
            if len(missing) > most_missing * len(table.rows) or not labels:
                raise ZerosumError(said + shown(missing))
            notes.append(said + shown(missing))
        notes += table.notes
    common = [name for name in headers[0] if all(name in names for names in headers)]
    if dropped := sorted({name for names in headers for name in names} - set(common)):
        notes.append(f"{files.root}: {shown(dropped)} stand in some of its tables only, and are left out")
    called = [table.where.removeprefix(f"{files.root}/") for table in tables]
    files.use(called)
    where = called[0] if len(called) == 1 else f"{len(called)} tables, {shown(called)}"
    listed = [name for name in labels if name in chosen]
    if not listed:
        return Layout(sorted(chosen), None, f"none: {where} lists none of these pictures", rest, notes)
    if len(listed) < len(chosen):
        rest = [*rest, counted(f"not listed in {where}", sorted(chosen - set(listed)))]
    if not common:
        return Layout(listed, None, f"none: {where} has no column beside the file's name", rest, notes)
    columns = {name: [labels[picture][name] for picture in listed] for name in common}
    return Layout(listed, columns, f"{where} ({_few(common)})" + _unused(files, called), rest, notes)


def _few(words: Sequence[str]) -> str:
    more = f" and {len(words) - NAMED} more" if len(words) > NAMED else ""
    return ", ".join(words[:NAMED]) + more


def _tables(files: Files, wanted: str | None) -> list[Table] | None:
    """The tables that hold the labels; None without any, [] for a dataset.json that says that there are none."""
    if wanted is not None:
        found = [name for name in files.names if wanted in (name, PurePosixPath(name).name)]
        if not found:
            known = [name for name in files.names if name.lower().endswith((".csv", ".tsv", ".txt", ".jsonl"))]
            raise ZerosumError(f"{files.root}: no table '{wanted}' in it: {suggest(wanted, known[:LOOKED_AT])}")
        return [read_table(files, name) for name in found]
    of_name = partial(_of_name, files)
    if found := of_name("dataset.json"):
        tables = [dataset_json(files, name) for name in found]
        if any(table is not None for table in tables):
            return [table for table in tables if table is not None and table.rows]
    celeba = [name for name in files.names if CELEBA.fullmatch(PurePosixPath(name).name)]
    found = of_name("metadata.csv", "metadata.jsonl") or celeba[:1]
    return [read_table(files, name) for name in found] if found else None


def _of_name(files: Files, *wanted: str) -> list[str]:
    return [name for name in files.names if PurePosixPath(name).name.lower() in wanted]


def _file_column(table: Table, matcher: Matcher) -> int:
    """The column of files: by its name, or the one in which most pictures are found."""
    if (index := table.named("file_name")) is not None:
        return index
    hits = [
        sum(found is not None for found in matcher.find(list(words), table.base))
        for words in zip(*table.rows, strict=True)
    ]
    best = max(range(len(hits)), key=lambda index: hits[index])
    if 2 * hits[best] < len(table.rows):
        raise ZerosumError(
            f"{table.where}: its first line must name each column once, file_name among them; it has {table.header}, "
            "and no column names pictures that are there"
        )
    return best


def _attributes(table: Table, column: int, notes: list[str]) -> list[str]:
    """The columns that may be labels: all with a name but that of the file. pandas writes its index without one."""
    names = [name for index, name in enumerate(table.header) if index != column]
    nameless = [name for name in names if not name or re.fullmatch(r"Unnamed: \d+", name)]
    if nameless:
        notes.append(f"{table.where}: a column without a name, as pandas writes its index, is no attribute: left out")
    return [name for name in names if name not in nameless]


# --- labels in folders


def _from_folders(
    files: Files,
    places: dict[str, Place],
    chosen: set[str],
    rest: list[str],
    bad_share: float,
    notes: list[str],
) -> Layout:
    """The folders of the training pictures say what the classes are: held-out ones may lack some, or all."""
    names = [name for name in files.pictures if name in chosen]
    training = "train" if any(place.split == "train" for place in places.values()) else ""
    leading = [name for name, place in places.items() if place.split == training] or names
    depth, classes, loose = _classes(leading, places, bad_share)
    if classes and leading is not names:
        loose = [name for name in names if len(places[name].folders) <= depth]
        classes = [] if len(loose) > bad_share * len(names) else classes
    if not classes:
        beside = sorted({places[name].folders[depth] for name in names if len(places[name].folders) > depth})
        why = f": {number_of(len(loose), 'pictures')} beside the folders {shown(beside)}" if beside and loose else ""
        return Layout(names, None, f"none{why}{_unused(files, [])}", rest, notes)
    alone = set(loose)
    names = [name for name in names if name not in alone]
    rest = [*rest, counted("beside the folders of classes", loose)] if loose else rest
    words = [composed(places[name].folders[depth]) for name in names]
    return Layout(names, {"class": words}, f"folders of classes {_few(classes)}{_unused(files, [])}", rest, notes)


def _classes(names: list[str], places: dict[str, Place], bad_share: float) -> tuple[int, list[str], list[str]]:
    """How deep the folders of classes lie, what they are called (nothing where there are none), and what is beside."""
    depth = _common([places[name].folders for name in names])
    loose = [name for name in names if len(places[name].folders) == depth]
    if loose and len(loose) > min(bad_share, 0.5) * len(names):
        return depth, [], loose
    below = [places[name].folders for name in names if len(places[name].folders) > depth]
    deeper = _common(below) if below else depth
    classes = sorted({composed(folders[deeper]) for folders in below if len(folders) > deeper})
    if len(classes) < 2 or any(len(folders) <= deeper for folders in below):
        return depth, [], loose
    return deeper, classes, loose


def _common(folders: Sequence[tuple[str, ...]]) -> int:
    """How many folders, from the first on, all have in common."""
    depth = 0
    for one, other in zip(min(folders), max(folders), strict=False):
        if one != other:
            break
        depth += 1
    return depth


def _unused(files: Files, used: Sequence[str]) -> str:
    """A table that lists these pictures and is not read, with what reads it."""
    tables = [name for name in files.names if name.lower().endswith((".csv", ".tsv", ".jsonl")) and name not in used]
    for name in tables[:LOOKED_AT]:
        try:
            _file_column(read_table(files, name), Matcher(files.pictures))
        except ZerosumError:
            continue
        if not PARTITION.fullmatch(PurePosixPath(name).name):
            return f"; {name} lists these pictures too: to take labels from it, {setting('data.table', name)}"
    if any(PurePosixPath(name).name == "metadata.parquet" for name in files.names):
        return "; metadata.parquet is not read: write it as metadata.csv"
    return ""
