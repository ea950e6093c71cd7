"""What is fuzzed: for each family of files, valid ones to begin with, and the reader as the product calls it.

A reader may give a result or raise a `ZerosumError`; anything else is a finding. The hypothesis tests in the suite and
the coverage-guided fuzzer share these targets.
"""

import gzip
import io
import json
import struct
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image

from zerosum import api
from zerosum.data.pictures.open import open_labelled, open_source
from zerosum.data.pictures.source import PictureSource, make_source
from zerosum.engine.runs.files import sha256
from zerosum.engine.runs.reading import stored_recipe
from zerosum.engine.runs.run import Run
from zerosum.engine.runs.stored import check_same, warn_of_changes
from zerosum.engine.training.loop import Totals, take_step, train
from zerosum.engine.watching.diagnosis import Evidence
from zerosum.engine.watching.watch import Watch
from zerosum.errors import ZerosumError
from zerosum.loading import packaged, parse_overrides
from zerosum.metrics.pictures.features import random_features
from zerosum.metrics.yardstick import measure_against_statistics
from zerosum.recipe import Recipe
from zerosum.sections.picture import PictureData

#: side of the images in the files to begin with
SIDE = 8


@dataclass(frozen=True)
class Target:
    """seeds: valid files. read: what the product does with one, in a folder of its own that keeps nothing between."""

    seeds: Callable[[], list[bytes]]
    read: Callable[[bytes, Path], object]


def attempt(target: Target, data: bytes) -> bool:
    """Whether the reader took the file; False for a `ZerosumError` of one line. Anything else is raised."""
    with tempfile.TemporaryDirectory(prefix="zerosum-fuzz-") as folder, redirect_stderr(io.StringIO()):
        try:
            target.read(data, Path(folder))
        except ZerosumError as error:
            if "\n" in str(error) or not str(error) or len(str(error)) > 2000:
                raise AssertionError(f"an error is one readable line, not {str(error)[:200]!r}") from error
            return False
    return True


def _noise(*shape: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def _picture(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    return _encoded(Image.fromarray(_noise(SIDE, SIDE, 3)).convert(mode), kind, **options)


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _look(uri: Path, **keys: Any) -> None:
    """Opens a set with and without its labels, and takes a batch."""
    data = PictureData(uri=str(uri), **keys)
    with suppress(ZerosumError):
        open_source(data, split="test")
    source, _ = open_labelled(data)
    source.batch(0, 0, min(4, len(source)))
    assert source.fingerprint


# recipes


def _recipe_seeds() -> list[bytes]:
    return [file.read_bytes() for file in packaged().values()] + [
        b"generator: {network: mlp, hidden: [16, 16]}\ndata: {attributes: {age: {low: [0, 30], high: [30, .inf]}}}\n",
        b"seed: 0x7f\nsteps: 1_000\noptimizer: {lr: 1e-3, betas: [0.5, 0.9]}\nabout: |\n  two\n  lines\n",
    ]


def _read_recipe(data: bytes, folder: Path) -> None:
    path = folder / "recipe.yaml"
    path.write_bytes(data)
    recipe = Recipe.load(path)
    assert Recipe.load(_rewritten(recipe, folder / "again.yaml")) == recipe


def _rewritten(recipe: Recipe, path: Path) -> Path:
    path.write_text(recipe.to_yaml(), encoding="utf-8")
    return path


def _read_override(data: bytes, _: Path) -> None:
    Recipe().with_overrides(parse_overrides(Recipe, [data.decode("utf-8", "replace")]))


# pictures, alone and in zips


def _picture_seeds() -> list[bytes]:
    kinds = [
        ("PNG", "RGB"),
        ("PNG", "P"),
        ("PNG", "LA"),
        ("JPEG", "RGB"),
        ("JPEG", "CMYK"),
        ("BMP", "RGB"),
        ("GIF", "P"),
    ]
    kinds += [("WEBP", "RGBA"), ("TIFF", "RGB"), ("TIFF", "L"), ("PPM", "RGB")]
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = Image.fromarray(_noise(SIDE, SIDE).astype(np.uint16) * 16)
    deeper = Image.fromarray(_noise(SIDE, SIDE).astype(np.float32) / 255)
    return [_picture(kind, mode) for kind, mode in kinds] + [
        _encoded(deep, "PNG"),
        _encoded(deep, "TIFF"),
        _encoded(deeper, "TIFF"),
        _encoded(Image.fromarray(_noise(SIDE, SIDE) % 2), "PNG"),
        _picture("MPO", save_all=True, append_images=[Image.new("RGB", (SIDE, SIDE))]),
        _picture("AVIF"),
        _picture("JPEG", exif=exif),
        _picture("TIFF", compression="tiff_lzw"),
        _picture("GIF", "P", save_all=True, append_images=[Image.new("P", (SIDE, SIDE))]),
    ]


def _read_picture(data: bytes, folder: Path) -> None:
    (folder / "set").mkdir()
    (folder / "set" / "a.png").write_bytes(data)
    _look(folder / "set", resolution=SIDE)


def _zip(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def _zip_seeds() -> list[bytes]:
    picture = _picture("PNG")
    table = b"file_name,kind,age\na.png,cat,3\nb.png,dog,40\n"
    sets = [
        {"cat/a.png": picture, "dog/b.png": picture},
        {"train/a.png": picture, "test/b.png": picture, "train/metadata.csv": b"file_name,x\na.png,1\n"},
        {"a.png": picture, "b.png": picture, "metadata.csv": table, "readme.txt": b"words"},
    ]
    stylegan = json.dumps({"labels": [["00000/a.png", 0], ["00000/b.png", 1]]}).encode()
    sets += [
        {"00000/a.png": picture, "00000/b.png": picture, "dataset.json": stylegan},
        {
            "top/Train/cat/a.png": picture,
            "top/Test/cat/b": picture,
            "top/x.heic": b"",
            "top/metadata.jsonl": b'{"file_name": "Train/cat/a.png", "kind": "x"}\n',
        },
        {"a.jpg": picture, "b.jpg": picture, "list_attr_celeba.txt": b"2\nMale\na.jpg 1\nb.jpg -1\n"},
    ]
    kinds = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    return [_zip(members, kind) for members in sets for kind in kinds]


def _read_zip(data: bytes, folder: Path) -> None:
    (folder / "set.zip").write_bytes(data)
    _look(folder / "set.zip", resolution=SIDE, bad_share=0.5)


def _table_seeds() -> list[bytes]:
    table = "file_name,kind,age\na.png,cat,3\nb.png,dog,40\n"
    lines = [{"file_name": "a.png", "kind": "cat"}, {"file_name": "b.png", "kind": None, "box": [1]}]
    return [
        table.encode(),
        table.replace(",", ";").replace("\n", "\r").encode("utf-16"),
        b"\tfile_name\t\xe9\n1\tC:\\x\\a.png\tx\n2\tC:\\x\\b.png\ty\n",
        "\n".join(map(json.dumps, lines)).encode(),
        json.dumps({"labels": [["a.png", 0], ["b.png", 1]]}).encode(),
        b"2\nMale Young\na.png 1 -1\nb.png -1 1\n",
        b"a.png 0\nb.png 2\n",
    ]


def _read_table(data: bytes, folder: Path) -> None:
    """As the table that it looks like, and as the one that is named."""
    name = "metadata.jsonl" if data[:1] == b"{" else "metadata.csv"
    name = "dataset.json" if data[:10] == b'{"labels":' else name
    name = "list_attr_celeba.txt" if data[:1].isdigit() else "list_eval_partition.txt" if data[:2] == b"a." else name
    for path in ("a.png", "b.png"):
        (folder / path).write_bytes(_picture("PNG"))
    (folder / name).write_bytes(data)
    _look(folder, bad_share=0.5)
    with suppress(ZerosumError):
        _look(folder, table=name)


# arrays


def _array_seeds() -> list[bytes]:
    buffers = [io.BytesIO() for _ in range(6)]
    images = _noise(6, SIDE, SIDE)
    np.save(buffers[0], images)
    np.savez(buffers[1], images=images, labels=np.arange(6) % 3)
    np.savez_compressed(buffers[2], x_train=images, y_train=np.array(list("ababab")), x_test=images, y_test=np.zeros(6))
    np.save(buffers[3], (images / 255).astype(np.float32))
    np.savez(buffers[4], train_images=images.reshape(6, -1) % 2, val_images=images[:2], train_labels=np.zeros((6, 1)))
    np.savez(buffers[5], x=np.asfortranarray(images.astype(np.uint16)), y=np.arange(12).reshape(6, 2) % 2)
    return [buffer.getvalue() for buffer in buffers]


def _read_array(data: bytes, folder: Path) -> None:
    path = folder / ("set.npz" if data[:2] == b"PK" else "set.npy")
    path.write_bytes(data)
    _look(path)


def _idx(array: Any) -> bytes:
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + bytes(array.tobytes())


def _idx_seeds() -> list[bytes]:
    images = _idx(_noise(6, SIDE, SIDE))
    return [images, gzip.compress(images)]


def _read_idx(data: bytes, folder: Path) -> None:
    ending = ".gz" if data[:2] == b"\x1f\x8b" else ""
    (folder / f"train-images-idx3-ubyte{ending}").write_bytes(data)
    (folder / "train-labels-idx1-ubyte").write_bytes(_idx(np.arange(6, dtype=np.uint8)))
    _look(folder)


def _statistics_seeds() -> list[bytes]:
    buffer = io.BytesIO()
    np.savez(buffer, mu=np.zeros(256), sigma=np.eye(256))
    return [buffer.getvalue()]


def _read_statistics(data: bytes, folder: Path) -> None:
    (folder / "real.npz").write_bytes(data)
    fakes = torch.from_numpy(_noise(4, 1, SIDE, SIDE))
    measure_against_statistics(random_features(1, SIDE, torch.device("cpu")), folder / "real.npz", [(fakes, None)], 4)


# shards


def _shard_seeds() -> list[bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    picture, seeds = _picture("PNG"), []
    features = {"label": {"_type": "ClassLabel", "names": ["a", "b"]}}
    facts = {"huggingface": json.dumps({"info": {"features": features}})}
    struct_column = [{"bytes": picture, "path": "x"}] * 6
    for images, options in (
        ([picture] * 6, {}),
        (struct_column, {"compression": "zstd"}),
        ([picture] * 6, {"use_dictionary": False, "compression": "none", "write_page_checksum": True}),
    ):
        table = pa.table({"image": images, "label": [0, 1] * 3, "word": list("xyxyxy")}).replace_schema_metadata(facts)
        buffer = io.BytesIO()
        pq.write_table(table, buffer, row_group_size=4, **options)
        seeds.append(buffer.getvalue())
    return seeds


def _read_shard(data: bytes, folder: Path) -> None:
    (folder / "train.parquet").write_bytes(data)
    _look(folder, resolution=SIDE, bad_share=0.5)


# run folders

TINY: dict[str, Any] = {
    "name": "tiny",
    "steps": 2,
    "batch": 2,
    "latent": {"size": 2},
    "generator": {"network": "mlp", "first": 4, "labels": 4, "hidden": [4]},
    "critic": {"network": "mlp", "first": 4, "labels": 4, "hidden": [4]},
    "condition": {"method": "join"},
    "average": {"half_life": 10.0},
    "precision": "fp32",
    "device": "cpu",
    "scores": {"every": 0},
}


CHECKPOINT = "checkpoints/step-000002"


def _source() -> PictureSource:
    return make_source(_noise(6, 1, SIDE, SIDE), np.arange(6) % 2)


@cache
def valid_run() -> dict[str, bytes]:
    """The files of a trained run, by their paths in its folder."""
    with tempfile.TemporaryDirectory() as folder, _quick():
        run = Run.prepare(Recipe.parse(TINY), _source())
        place = run.create_folder(Path(folder))
        for _ in train(run):
            pass
        tick = json.loads((place / "stats.jsonl").read_text(encoding="utf-8").splitlines()[-1])
        values: dict[str, Any] = {field.name: 0.5 for field in fields(Evidence)} | {"step": 2, "steps": 2}
        values |= {name: {"0": 0.5} for name in ("class_diversity", "class_accuracy", "class_share")}
        score = {
            "step": 2,
            "images": 4,
            "seconds": 0.1,
            "name": "fid50@random",
            "value": 1.0,
            "floor": None,
            "stamp": {},
        }
        finding = {"step": 1, "finding": "collapse", "evidence": "", "advice": "", "action": "warn", "setbacks": 0}
        logs = {"stats": tick, "scores": score, "evidence": values, "findings": finding}
        for name, line in logs.items():
            (place / f"{name}.jsonl").write_text(2 * (json.dumps(line) + "\n"), encoding="utf-8")
        best = {"step": 2, "name": "fid50@random", "value": 1.0}
        (place / "checkpoints" / "best.json").write_text(json.dumps(best), encoding="utf-8")
        paths = [path for path in place.rglob("*") if path.is_file() and path.suffix != ".png"]
        return {path.relative_to(place).as_posix(): path.read_bytes() for path in paths}


def _run_seeds() -> list[bytes]:
    files = valid_run()
    return [bytes([number]) + files[name] for number, name in enumerate(sorted(files))]


@contextmanager
def _quick() -> Iterator[None]:
    """Without pictures, and without asking git, which take longer than all the rest."""

    def leave_out(*values: object) -> None:
        next(value for value in values if isinstance(value, Path)).touch()

    with (
        patch("zerosum.data.pictures.drawing.save_grid", leave_out),
        patch("zerosum.plots.plot_losses", leave_out),
        patch("zerosum.plots.plot_scores", leave_out),
        patch("zerosum.engine.runs.run.environment", lambda _: ENVIRONMENT),
        patch("zerosum.engine.runs.stored.environment", lambda _: ENVIRONMENT),
    ):
        yield


ENVIRONMENT = {
    **{"versions": {"torch": "0"}, "machine": {"capability": "", "threads": 1}},
    **{"processes": 1, "precision": "fp32", "device": "cpu"},
}


def _read_run(data: bytes, folder: Path) -> None:
    """The first byte says which of the run's files the rest is; sums are made right, as a stranger would."""
    files = dict(valid_run())
    name = sorted(files)[data[0] % len(files)] if data else "recipe.yaml"
    files[name] = data[1:]
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    place = folder / CHECKPOINT
    if not name.endswith("manifest.json"):
        sums = {path.name: sha256(path) for path in place.iterdir() if path.name != "manifest.json"}
        (place / "manifest.json").write_text(json.dumps({"step": 2, "sha256": sums}), encoding="utf-8")
    with _quick():
        gan = api.load(folder, checkpoint="best" if name.endswith("best.json") else "last")
        assert len(gan.sample(2)) == 2
        run = Run.prepare(stored_recipe(folder), _source())
        check_same(folder, run.recipe, run.source)
        warn_of_changes(folder, run.recipe, run.precision)
        run.reopen(folder)
        Watch(None).reopen(run)  # type: ignore[arg-type]
        take_step(run, Totals())
        run.write_summary("finished")


TARGETS = {
    "recipe": Target(_recipe_seeds, _read_recipe),
    "override": Target(lambda: [b"optimizer.lr=1e-3", b"data.attributes={age: {a: [0, 3]}}"], _read_override),
    "picture": Target(_picture_seeds, _read_picture),
    "zip": Target(_zip_seeds, _read_zip),
    "table": Target(_table_seeds, _read_table),
    "array": Target(_array_seeds, _read_array),
    "idx": Target(_idx_seeds, _read_idx),
    "statistics": Target(_statistics_seeds, _read_statistics),
    "shard": Target(_shard_seeds, _read_shard),
    "run": Target(_run_seeds, _read_run),
}
