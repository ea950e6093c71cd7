"""From the recipe's data section to a `Source`: what a URI means."""

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from zerosum.data.cache import cache_folder
from zerosum.data.labels import Attributes, Labels
from zerosum.data.pictures import arrays, domains, drives, images, known, pairs, views
from zerosum.data.pictures.files import number_of
from zerosum.data.pictures.fit import Pixels, is_padded
from zerosum.data.pictures.idx import NAME as IDX
from zerosum.data.pictures.idx import find_idx
from zerosum.data.pictures.lazy import ShardImages
from zerosum.data.pictures.parquet import Shards, is_remote, is_shards
from zerosum.data.pictures.source import PictureSource, make_source
from zerosum.data.pictures.spec import PictureSpec
from zerosum.data.pictures.values import BYTES, Range, described, range_of
from zerosum.errors import NoTestSplit, ZerosumError, option, setting, suggest
from zerosum.recipe import GIVEN
from zerosum.sections.picture import PictureData

Array = np.ndarray[Any, Any]


def open_source(data: PictureData, labelled: bool = True, split: str = "train") -> tuple[PictureSource, list[str]]:
    """The source that a recipe names, and one line for each thing worth telling.

    labelled: read the labels too. split: train, or test for held-out data: the data's own, or the share that the recipe
    holds out. Raises ZerosumError for anything that is not there or cannot be learned from.
    """
    if data.input == "drive":
        return _open_drives(data, split)
    opener = _open_input if data.input != "none" else _open_images
    if data.hold_out == 0:
        return opener(data, labelled, split)
    try:
        testing = opener(data, labelled, "test")
    except NoTestSplit:
        source, notes = opener(data, labelled, "train")
        return _part(source, data.hold_out, split), notes
    return testing if split == "test" else opener(data, labelled, split)


def _part(source: PictureSource, hold_out: float, split: str) -> PictureSource:
    """What is held out, chosen at random but always the same, or the rest."""
    shuffled = np.random.default_rng(len(source)).permutation(len(source))
    count = max(1, round(len(source) * hold_out))
    return source.only(np.sort(shuffled[:count] if split == "test" else shuffled[count:]))


def _open_input(data: PictureData, _: bool, split: str) -> tuple[PictureSource, list[str]]:
    """Images with the pictures that are their condition."""
    if data.input == "pair":
        return _open_pairs(data, split)
    if data.input == "domains":
        source, notes = _open_images(data, True, split)
        return domains.domain_source(source, str(data.uri)), notes + _untested_note(data, split)
    source, notes = _open_images(data, False, split)
    if data.input == "shrunk":
        return views.shrunk_source(source, data.factor), notes
    return views.edges_source(source), notes


def _open_drives(data: PictureData, split: str) -> tuple[PictureSource, list[str]]:
    if data.uri is None:
        raise ZerosumError(
            f"this recipe names no data: give a folder or zip with frames and a CSV of actions with {option('data')}"
        )
    if data.uri == GIVEN:
        raise ZerosumError("the data of this run is your own source: pass it again, source=..., from Python")
    path = locate(data.uri)
    if path is None:
        raise ZerosumError(f"{data.uri} is no drive: give a folder or zip with frames and a CSV of actions")
    return drives.open_drives(data, path, split)


def _open_pairs(data: PictureData, split: str) -> tuple[PictureSource, list[str]]:
    path = locate(data.uri, split) if data.uri is not None and not is_remote(data.uri) else None
    if path is None or not (path.is_dir() or path.suffix.lower() == ".zip"):
        raise ZerosumError(
            f"data.input = pair: give a folder or zip of pairs with {option('data')}: folders A and B with pictures of "
            "equal names, or pictures that hold both side by side"
        )
    return pairs.pair_source(path, split, data, cache_folder())


def _untested_note(data: PictureData, split: str) -> list[str]:
    """Domains that are shown and scored by the pictures that they were learnt from."""
    if split == "test" or data.hold_out > 0:
        return []
    try:
        _open_images(data, True, "test")
    except NoTestSplit:
        return [
            f"{data.uri}: no testA and testB in it: training pictures are shown and scored; to keep some away from "
            f"training: {setting('data.hold_out', 0.1)}"
        ]
    return []


def _open_images(data: PictureData, labelled: bool, split: str) -> tuple[PictureSource, list[str]]:
    if data.uri is None:
        raise ZerosumError(
            f"this recipe names no data: give a folder or zip of pictures with {option('data')}. Public sets of faces: "
            "CelebA, FFHQ thumbnails, UTKFace (with age and gender); list their labels in a metadata.csv"
        )
    if data.uri == GIVEN:
        raise ZerosumError("the data of this run is your own source: pass it again, source=..., from Python")
    path = None if is_remote(data.uri) else locate(data.uri, split)
    if is_remote(data.uri) or (path is not None and is_shards(path)):
        return _from_shards(str(path or data.uri), data, labelled, split)
    unpacked = max(arrays.MOST, int(data.memory * 2**30))
    if path is None:
        found, labels = arrays.read_digits(split)
        return _from_arrays(
            Arrays(found, labels, "digits", "those of scikit-learn", "scikit-learn's"), data, labelled, split
        )
    if known.is_cifar(path):
        found, labels = known.read_cifar(path, split)
        given = Arrays(found, labels, str(path), "of the binary version", "the same file", known.CLASSES["cifar10"])
        return _from_arrays(given, data, labelled, split)
    if path.suffix.lower() in (".npy", ".npz"):
        found, own, name = arrays.read_npy(path, split, unpacked)
        return _from_arrays(Arrays(found, own, str(path), f"of shape {found.shape}", name), data, labelled, split)
    if path.suffix.lower() != ".zip" and (files := find_idx(path)) is not None:
        found, own, notes = files.read(split, labelled, unpacked)
        image, label = (files.files.get((split, what)) for what in ("images", "labels"))
        names = known.CLASSES.get(data.uri)
        given = Arrays(found, own, str(path), f"of {image and image.name}", label.name if label else "", names)
        source, told = _from_arrays(given, data, labelled, split)
        return source, told + notes
    return _from_pictures(path, data, labelled, split)


def open_held_out(data: PictureData, spec: PictureSpec) -> PictureSource | None:
    """The test split, with the label integers of the training images, whose spec this is; None where there is none.

    Raises ZerosumError for a test split that cannot be read, or with labels that the training images lack.
    """
    known_values = {name: list(values) for name, values in spec.labels.items()}
    bins = {name: values for name, values in (data.attributes or {}).items() if isinstance(values, dict)}
    # and in their size and channels, where the recipe leaves them to the data
    alike: dict[str, Any] = {
        "resolution": data.resolution or spec.resolution,
        "channels": data.channels or spec.channels,
    }
    alike |= {"range": spec.range if spec.range != BYTES else data.range}
    same = data.model_copy(update=alike | {"attributes": known_values | bins if known_values else None})
    try:
        return open_source(same, bool(known_values), "test")[0]
    except NoTestSplit:
        return None


def open_labelled(data: PictureData) -> tuple[PictureSource, list[str]]:
    """`open_source`, without labels where the data has none that can be read."""
    try:
        return open_source(data)
    except ZerosumError as error:
        source, notes = open_source(data, labelled=False)
        return source, [
            *(note for note in notes if ": labels: " not in note),
            f"{data.uri}: labels: none can be read: {error}",
        ]


def own_side(data: PictureData, spec: PictureSpec) -> PictureData:
    """What opens the images as they are where networks see them enlarged, so that scores compare the originals."""
    enlarged = spec.native < spec.resolution and not is_padded(spec.native, spec.resolution)
    return data.model_copy(update={"resolution": spec.native}) if enlarged else data


def locate(uri: str, split: str = "train") -> Path | None:
    """The file or folder that a URI names, downloaded if it must be; None for the digits inside scikit-learn."""
    if uri == "digits":
        return None
    if not uri.strip():
        raise ZerosumError(f"the name of the data is empty: give a path or a name with {option('data')}")
    bare = "/" not in uri and "\\" not in uri
    try:
        path = Path(uri).expanduser()
        path.exists()
    except (OSError, RuntimeError) as error:
        raise ZerosumError(
            f"no data '{uri[:80]}': {getattr(error, 'strerror', None) or error}; check the path"
        ) from None
    if bare and not path.exists():
        found = known.find(uri, split)
        if uri in known.DOWNLOADS and (found is None or known.is_partial(uri)):
            found = known.download(uri)
        path = found or path
    if not path.exists():
        names = ["digits", *known.DOWNLOADS, *known.present()]
        hint = f"{suggest(uri, names)} Or give the path of a folder, zip, .npz or .npy" if bare else "check the path"
        raise ZerosumError(f"no data '{uri}' here or in {known.data_folder()}: {hint}")
    if split == "test" and path.name.endswith("_train.zip"):
        sibling = path.with_name(path.name.removesuffix("_train.zip") + "_test.zip")
        path = sibling if sibling.exists() else path
    if (
        path.is_file()
        and path.suffix.lower() not in (".zip", ".npy", ".npz", ".parquet")
        and not IDX.fullmatch(path.name)
    ):
        raise ZerosumError(f"{path}: expected a folder, .zip, .npy, .npz or .parquet")
    return path


@dataclass(frozen=True)
class Arrays:
    """Images and labels as a file holds them."""

    images: Array
    labels: Array | None
    #: begins messages
    where: str
    #: what images and labels are called, for the lines that tell what was found
    images_said: str
    labels_said: str
    #: of the values of a single attribute
    names: list[str] | None = None


def _from_arrays(given: Arrays, data: PictureData, labelled: bool, split: str) -> tuple[PictureSource, list[str]]:
    where, found = given.where, given.images
    pixels = arrays.arrange(found, where)
    if len(pixels) == 0:
        raise ZerosumError(f"{where}: has no images")
    values = data.range or range_of(arrays.values_of(pixels, where), where)
    opaque = pixels.shape[1] == 4 and data.channels is None and arrays.is_opaque(pixels, values)
    pixels = pixels[:, :3] if opaque else pixels
    side = min(pixels.shape[2:])
    shape = (len(pixels), pixels.shape[1], *[data.resolution or side] * 2)
    if data.channels not in (None, pixels.shape[1]):
        raise ZerosumError(f"{where}: data.channels = {data.channels}, but the array has {pixels.shape[1]}")
    large = int(np.prod(shape)) > data.memory * 2**30
    plain = pixels.dtype == np.uint8 and values == BYTES
    if plain and pixels.shape == shape and (large or not isinstance(found, np.memmap)):
        result: Pixels = pixels
    elif large:
        result = _spilled(pixels, values, shape, where)
    else:
        result = np.empty(shape, np.uint8)
        arrays.fit_into(result, pixels, values)
    purpose = " kept for testing" if split == "test" else ""
    told = [f"{where}: {len(result)} pictures{purpose}, {given.images_said}"]
    notes = ["alpha is opaque in all pictures, and left out"] if opaque else []
    if not (plain and pixels.dtype == np.uint8):
        notes.append(f"{described(values)} become 0 to 255")
    notes = [f"{where}: {line}" for line in notes]
    labels = given.labels
    if labels is None or not labelled:
        told.append(f"{where}: labels: none" + (" are read" if labels is not None else ""))
        return _ranged(make_source(result, native=side, mirror=data.mirror), values), told + notes
    if labels.ndim == 0 or len(labels) != len(result):
        raise ZerosumError(f"{where}: {len(result)} images but {labels.size} labels")
    columns, attributes = _columns_of(given, data)
    source = _labelled(result, Labels(columns, attributes, where, classes=True), side, data.mirror)
    told.append(f"{where}: labels: {given.labels_said} ({'; '.join(map(_values, source.spec.labels.items()))})")
    return _ranged(source, values), told + notes


def _values(attribute: tuple[str, tuple[str, ...]]) -> str:
    name, values = attribute
    return f"{name} {', '.join(values[:5])}" + (f" and {len(values) - 5} more" if len(values) > 5 else "")


def _columns_of(given: Arrays, data: PictureData) -> tuple[dict[str, list[str]], Attributes | None]:
    """The labels of an array as columns of words, and the attributes that are wanted of them."""
    labels, names = given.labels, given.names
    if labels is None:
        return {}, None
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8", "replace")
    if names and labels.max(initial=0) >= len(names):
        raise ZerosumError(f"{given.where}: damaged: label {labels.max()} where there are {len(names)} classes")
    if labels.ndim == 2 and labels.shape[1] > 1:
        columns = {f"label{i}": [str(word) for word in labels[:, i].tolist()] for i in range(labels.shape[1])}
    else:
        flat = labels.reshape(-1).tolist()
        columns = {"class": [names[int(word)] if names else str(word) for word in flat]}
    return columns, data.attributes if data.attributes is not None or names is None else {"class": names}


def _ranged(source: PictureSource, values: Range) -> PictureSource:
    return replace(source, spec=source.spec.ranged(values))


def _from_pictures(path: Path, data: PictureData, labelled: bool, split: str) -> tuple[PictureSource, list[str]]:
    whole = path.name.lower().endswith(f"_{split}.zip")
    pictures, columns = images.read_images(path, None if whole else split, data, cache_folder())
    if labelled and columns is None and data.attributes is not None and split == "train":
        raise ZerosumError(pictures.notes[1] + f"; data.attributes asks for {', '.join(data.attributes)}")
    if columns is None or not labelled:
        source = make_source(pictures.images, native=pictures.native, mirror=data.mirror)
        return _ranged(source, pictures.range), pictures.notes
    labels = Labels(columns, data.attributes, str(path), classes="class" in columns)
    left_out = int((~labels.kept).sum())
    if left_out:
        pictures.notes.append(
            f"{path}: {left_out} pictures lie in none of the bins of data.attributes and are left out"
        )
    return _ranged(_labelled(pictures.images, labels, pictures.native, data.mirror), pictures.range), pictures.notes


def _from_shards(uri: str, data: PictureData, labelled: bool, split: str) -> tuple[PictureSource, list[str]]:
    shards = Shards(uri, split, data.links, data.bad_share)
    columns = shards.labels(data.attributes) if labelled else {}
    names = shards.class_names()
    wanted = data.attributes or {name: names.get(name) for name in columns}
    labels = Labels(columns, wanted, uri) if columns else None
    pictures = ShardImages(
        shards,
        data.resolution,
        data.channels,
        data.bad_share,
        int(data.memory * 2**30),
        labels.kept if labels else None,
        labels.integers if labels else None,
        data.range,
    )
    purpose = " kept for testing" if split == "test" else ""
    files = number_of(len(shards.shards), "files")
    found = f"{uri}: {len(pictures):,} pictures{purpose} in {files}, column {shards.column}"
    if labels is None:
        source = make_source(pictures, native=pictures.native, mirror=data.mirror)
        said = "none are read" if shards.plain else "none"
        return _ranged(source, pictures.range), [found, f"{uri}: labels: {said}", *shards.notes]
    if left_out := int((~labels.kept).sum()):
        shards.notes.append(f"{uri}: {left_out} images lie in none of the bins of data.attributes and are left out")
    source = make_source(pictures, labels.integers, labels.names, pictures.native, data.mirror)
    said = f"{uri}: labels: columns {'; '.join(map(_values, source.spec.labels.items()))}"
    told = [found, said, *shards.notes, *_sorted_note(source, pictures.window, uri)]
    return _ranged(source, pictures.range), told


def _sorted_note(source: PictureSource, window: int, uri: str) -> list[str]:
    """Images that are shuffled near each other only must not lie sorted by their labels."""
    if source.labels is None or len(source) < 10 * len(source.spec.combinations):
        return []
    near = source.labels[source.positions(0, 0, min(window, len(source)))]
    kinds = len(np.unique(near, axis=0))
    if 2 * kinds >= len(source.spec.combinations):
        return []
    return [
        f"{uri}: images that lie near each other have {kinds} of its {len(source.spec.combinations)} combinations of "
        "labels, and so will batches: shuffle the images before writing them"
    ]


def _labelled(pixels: Pixels, labels: Labels, native: int, mirror: bool) -> PictureSource:
    chosen = pixels if labels.kept.all() else pixels[labels.kept]
    return make_source(chosen, labels.integers, labels.names, native, mirror)


def _spilled(pixels: Array, values: Range, shape: tuple[int, ...], where: str) -> Pixels:
    """Fitted images in a memory-mapped file of the data folder, made once for each set and shape."""
    stamp = Path(where).stat().st_mtime_ns if Path(where).exists() else 0
    key = hashlib.sha256(repr((where, stamp, pixels.shape, shape, values)).encode())
    key.update(np.ascontiguousarray(pixels[:: max(1, len(pixels) // 64)]).data)
    place = cache_folder() / "decoded" / f"{Path(where).stem}-{key.hexdigest()[:24]}.npy"
    if not place.is_file():
        draft = place.with_suffix(f".{os.getpid()}.part")
        result = arrays.memory_map(draft, shape)
        arrays.fit_into(result, pixels, values)
        result.flush()
        draft.replace(place)
    stored: Pixels = np.load(place, mmap_mode="r", allow_pickle=False)
    return stored
