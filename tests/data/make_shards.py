"""Made-up Parquet shards for tests."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.data.make import encoded, noise


def picture(seed: int, side: int = 8, channels: int = 3) -> bytes:
    """A PNG of noise."""
    return encoded(noise(side, side, seed=seed) if channels == 1 else noise(side, side, channels, seed=seed))


def write_shard(
    path: Path,
    images: Sequence[bytes | None],
    labels: Mapping[str, Sequence[Any]] | None = None,
    rows: int = 5,
    struct: bool = False,
    classes: Mapping[str, list[str]] | None = None,
    **options: Any,
) -> Path:
    """A file with row groups of so many rows; struct and classes: as Hugging Face writes images and class labels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    column = [{"bytes": data, "path": "/etc/passwd"} for data in images] if struct else images
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()}) if struct else pa.binary()
    table = pa.table({"image": pa.array(column, kind), **(labels or {})})
    if classes is not None:
        features = {name: {"_type": "ClassLabel", "names": names} for name, names in classes.items()}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, row_group_size=rows, **options)
    return path


def write_set(
    root: Path, count: int = 60, shards: int = 3, rows: int = 5, side: int = 8, classes: int = 3, split: str = "train"
) -> Path:
    """Noise, image i with seed i and of class i % classes, in files such as train-00000-of-00003.parquet."""
    for shard in range(shards):
        chosen = range(shard, count, shards)
        write_shard(
            root / f"{split}-{shard:05d}-of-{shards:05d}.parquet",
            [picture(seed, side) for seed in chosen],
            {"class": [seed % classes for seed in chosen]},
            rows,
        )
    return root
