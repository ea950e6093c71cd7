"""From the recipe's data section to a `Source`: what a URI means."""

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from zerosum.data import arrays, drives, images, known, pairs, piles, views
from zerosum.data.cache import cache_folder
from zerosum.data.fit import Pixels, is_padded
from zerosum.data.labels import Labels
from zerosum.data.shards import ShardImages, Shards, is_remote, is_shards
from zerosum.data.source import Source, Spec, make_source
from zerosum.errors import NoTestSplit, ZerosumError, suggest
from zerosum.recipe import GIVEN, Data

Array = np.ndarray[Any, Any]


def open_source(data: Data, labelled: bool = True, split: str = "train") -> tuple[Source, list[str]]:
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


def _part(source: Source, hold_out: float, split: str) -> Source:
    """What is held out, chosen at random but always the same, or the rest."""
    shuffled = np.random.default_rng(len(source)).permutation(len(source))
    count = max(1, round(len(source) * hold_out))
    return source.only(np.sort(shuffled[:count] if split == "test" else shuffled[count:]))


def _open_input(data: Data, _: bool, split: str) -> tuple[Source, list[str]]:
    """Images with the pictures that are their condition."""
    if data.input == "pair":
        return _open_pairs(data, split)
    if data.input == "pile":
        source, notes = _open_images(data, True, split)
        return piles.pile_source(source, str(data.uri)), notes + _untested_note(data, split)
    source, notes = _open_images(data, False, split)
    if data.input == "shrunk":
        return views.shrunk_source(source, data.factor), notes
    return views.edges_source(source), notes


def _open_drives(data: Data, split: str) -> tuple[Source, list[str]]:
    if data.uri is None:
        raise ZerosumError(
            "this recipe names no data: give a folder or zip with frames and a CSV of actions with --data"
        )
    if data.uri == GIVEN:
        raise ZerosumError("the data of this run is your own source: pass it again, source=..., from Python")
    path = locate(data.uri)
    if path is None:
        raise ZerosumError(f"{data.uri} is no drive: give a folder or zip with frames and a CSV of actions with --data")
    return drives.open_drives(data, path, split)


def _open_pairs(data: Data, split: str) -> tuple[Source, list[str]]:
    path = locate(data.uri, split) if data.uri is not None and not is_remote(data.uri) else None
    if path is None or not (path.is_dir() or path.suffix.lower() == ".zip"):
        raise ZerosumError(
            "data.input = pair: give a folder or zip of pairs with --data: folders A and B with pictures of equal "
            "names, or pictures that hold both side by side"
        )
    return pairs.pair_source(
        path,
        split,
        given=data.given,
        resolution=data.resolution,
        channels=data.channels,
        bad_share=data.bad_share,
        budget=int(data.memory * 2**30),
        cache=cache_folder(),
        mirror=data.mirror,
    )


def _untested_note(data: Data, split: str) -> list[str]:
    """Piles that are shown and scored by the pictures that they were learnt from."""
    if split == "test" or data.hold_out > 0:
        return []
    try:
        _open_images(data, True, "test")
    except NoTestSplit:
        return [
            f"{data.uri}: no testA and testB in it: training pictures are shown and scored; to keep some away from "
            "training: --set data.hold_out=0.1"
        ]
    return []


def _open_images(data: Data, labelled: bool, split: str) -> tuple[Source, list[str]]:
    if data.uri is None:
        raise ZerosumError(
            "this recipe names no data: give a folder or zip of pictures with --data. Public sets of faces: CelebA, "
            "FFHQ thumbnails, UTKFace (with age and gender); list their labels in a metadata.csv"
        )
    if data.uri == GIVEN:
        raise ZerosumError("the data of this run is your own source: pass it again, source=..., from Python")
    path = None if is_remote(data.uri) else locate(data.uri, split)
    if is_remote(data.uri) or (path is not None and is_shards(path)):
        return _from_shards(str(path or data.uri), data, labelled, split)
    unpacked = max(arrays.MOST, int(data.memory * 2**30))
    if path is None:
        found, labels = arrays.read_digits(split)
        return _from_arrays(found, labels, None, data, "digits", labelled), []
    if arrays.is_idx(path):
        found, labels = arrays.read_idx_folder(path, split, unpacked)
        return _from_arrays(found, labels, known.CLASSES.get(data.uri), data, str(path), labelled), []
    if known.is_cifar(path):
        found, labels = known.read_cifar(path, split)
        return _from_arrays(found, labels, known.CLASSES["cifar10"], data, str(path), labelled), []
    if path.suffix.lower() in (".npy", ".npz"):
        found, own = arrays.read_npy(path, split, unpacked)
        return _from_arrays(found, own, None, data, str(path), labelled), []
    return _from_pictures(path, data, labelled, split)


def open_held_out(data: Data, spec: Spec) -> Source | None:
    """The test split, with the label integers of the training images, whose spec this is; None where there is none.

    Raises ZerosumError for a test split that cannot be read, or with labels that the training images lack.
    """
    known_values = {name: list(values) for name, values in spec.labels.items()}
    bins = {name: values for name, values in (data.attributes or {}).items() if isinstance(values, dict)}
    # and in their size and channels, where the recipe leaves them to the data
    alike = {"resolution": data.resolution or spec.resolution, "channels": data.channels or spec.channels}
    same = data.model_copy(update=alike | {"attributes": known_values | bins if known_values else None})
    try:
        return open_source(same, bool(known_values), "test")[0]
    except NoTestSplit:
        return None


def open_labelled(data: Data) -> tuple[Source, list[str]]:
    """`open_source`, without labels where the data has none that can be read."""
    try:
        return open_source(data)
    except ZerosumError:
        return open_source(data, labelled=False)


def own_side(data: Data, spec: Spec) -> Data:
    """What opens the images as they are where networks see them enlarged, so that scores compare the originals."""
    enlarged = spec.native < spec.resolution and not is_padded(spec.native, spec.resolution)
    return data.model_copy(update={"resolution": spec.native}) if enlarged else data


def locate(uri: str, split: str = "train") -> Path | None:
    """The file or folder that a URI names, downloaded if it must be; None for the digits inside scikit-learn."""
    if uri == "digits":
        return None
    if not uri.strip():
        raise ZerosumError("the name of the data is empty: give a path or a name with --data")
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
    if path.is_file() and path.suffix.lower() not in (".zip", ".npy", ".npz", ".parquet"):
        raise ZerosumError(f"{path}: expected a folder, .zip, .npy, .npz or .parquet")
    return path


def _from_arrays(
    found: Array, labels: Array | None, names: list[str] | None, data: Data, where: str, labelled: bool
) -> Source:
    pixels = arrays.arrange(found, where)
    if len(pixels) == 0:
        raise ZerosumError(f"{where}: has no images")
    side = min(pixels.shape[2:])
    shape = (len(pixels), pixels.shape[1], *[data.resolution or side] * 2)
    if data.channels not in (None, pixels.shape[1]):
        raise ZerosumError(f"{where}: data.channels = {data.channels}, but the array has {pixels.shape[1]}")
    convert = arrays.to_uint8(pixels, where)
    large = int(np.prod(shape)) > data.memory * 2**30
    if pixels.dtype == np.uint8 and pixels.shape == shape and (large or not isinstance(found, np.memmap)):
        result: Pixels = pixels
    elif large:
        result = _spilled(pixels, convert, shape, where)
    else:
        result = np.empty(shape, np.uint8)
        arrays.fit_into(result, pixels, convert)
    if labels is None or not labelled:
        return make_source(result, native=side, mirror=data.mirror)
    if labels.ndim == 0 or len(labels) != len(result):
        raise ZerosumError(f"{where}: {len(result)} images but {labels.size} labels")
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8", "replace")
    if names and labels.max(initial=0) >= len(names):
        raise ZerosumError(f"{where}: damaged: label {labels.max()} where there are {len(names)} classes")
    if labels.ndim == 2 and labels.shape[1] > 1:
        columns = {f"label{i}": [str(word) for word in labels[:, i].tolist()] for i in range(labels.shape[1])}
    else:
        flat = labels.reshape(-1).tolist()
        columns = {"class": [names[int(word)] if names else str(word) for word in flat]}
    attributes = data.attributes if data.attributes is not None or names is None else {"class": names}
    return _labelled(result, Labels(columns, attributes, where), side, data.mirror)


def _from_pictures(path: Path, data: Data, labelled: bool, split: str) -> tuple[Source, list[str]]:
    pictures, columns = images.read_images(
        path,
        "train" if path.name.endswith(f"_{split}.zip") else split,
        data.resolution,
        data.channels,
        data.bad_share,
        int(data.memory * 2**30),
        cache_folder(),
    )
    if columns is None or not labelled:
        return make_source(pictures.images, native=pictures.native, mirror=data.mirror), pictures.notes
    labels = Labels(columns, data.attributes, str(path))
    left_out = int((~labels.kept).sum())
    if left_out:
        pictures.notes.append(
            f"{path}: {left_out} pictures lie in none of the bins of data.attributes and are left out"
        )
    return _labelled(pictures.images, labels, pictures.native, data.mirror), pictures.notes


def _from_shards(uri: str, data: Data, labelled: bool, split: str) -> tuple[Source, list[str]]:
    shards = Shards(uri, split)
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
    )
    if labels is None:
        return make_source(pictures, native=pictures.native, mirror=data.mirror), shards.notes
    if left_out := int((~labels.kept).sum()):
        shards.notes.append(f"{uri}: {left_out} images lie in none of the bins of data.attributes and are left out")
    source = make_source(pictures, labels.integers, labels.names, pictures.native, data.mirror)
    return source, shards.notes + _sorted_note(source, pictures.window, uri)


def _sorted_note(source: Source, window: int, uri: str) -> list[str]:
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


def _labelled(pixels: Pixels, labels: Labels, native: int, mirror: bool) -> Source:
    chosen = pixels if labels.kept.all() else pixels[labels.kept]
    return make_source(chosen, labels.integers, labels.names, native, mirror)


def _spilled(pixels: Array, convert: arrays.ToUint8, shape: tuple[int, ...], where: str) -> Pixels:
    """Fitted images in a memory-mapped file of the data folder, made once for each set and shape."""
    stamp = Path(where).stat().st_mtime_ns if Path(where).exists() else 0
    key = hashlib.sha256(repr((where, stamp, pixels.shape, shape)).encode())
    key.update(np.ascontiguousarray(pixels[:: max(1, len(pixels) // 64)]).data)
    place = cache_folder() / "decoded" / f"{Path(where).stem}-{key.hexdigest()[:24]}.npy"
    if not place.is_file():
        draft = place.with_suffix(f".{os.getpid()}.part")
        result = arrays.memory_map(draft, shape)
        arrays.fit_into(result, pixels, convert)
        result.flush()
        draft.replace(place)
    stored: Pixels = np.load(place, mmap_mode="r", allow_pickle=False)
    return stored
