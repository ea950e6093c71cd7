"""Data sets known by name: found in the data folder, or downloaded once into it and checked."""

import tarfile
import zlib
from pathlib import Path

import numpy as np
import pooch

from zerosum.data.cache import is_writable, user_folder
from zerosum.data.pictures.arrays import Array
from zerosum.errors import ZerosumError

_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
_CIFAR = "https://www.cs.toronto.edu/~kriz/"

#: name -> (where from, file -> hash)
DOWNLOADS: dict[str, tuple[str, dict[str, str]]] = {
    "mnist": (
        _MNIST,
        {
            "train-images-idx3-ubyte.gz": "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte.gz": "md5:d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte.gz": "md5:9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte.gz": "md5:ec29112dd5afa0611ce80d1b7f02629c",
        },
    ),
    "fashion-mnist": (
        _FASHION,
        {
            "train-images-idx3-ubyte.gz": "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "md5:25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "md5:bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "md5:bb300cfdad3c16e7a12a480ee83cd310",
        },
    ),
    "cifar10": (_CIFAR, {"cifar-10-binary.tar.gz": "md5:c32a1d4ab5d03f1284b67883e8d87530"}),
}

CLASSES = {
    "fashion-mnist": [
        "t-shirt",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle-boot",
    ],
    "cifar10": ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
}


def data_folder() -> Path:
    """$ZEROSUM_DATA, or the user's cache folder; ZerosumError for a user who has neither."""
    folder = user_folder("ZEROSUM_DATA")
    if folder is None:
        raise ZerosumError(
            "data is looked for by name in the home folder, and this user has none: set ZEROSUM_DATA to a folder for "
            "data, or give a path with --data"
        )
    return folder


def find(name: str, split: str) -> Path | None:
    """A folder, zip or array of this name in the data folder; name_train.zip and name_test.zip are a split set."""
    folder = data_folder()
    candidates = [name, f"{name}.zip", f"{name}.npz", f"{name}.npy", f"{name}_{split}.zip"]
    return next((folder / one for one in candidates if (folder / one).exists()), None)


def is_partial(name: str) -> bool:
    """Whether an earlier download was cut short: the set's folder holds some of its files and nothing else."""
    folder = data_folder() / name
    there = {path.name.removesuffix(".gz") for path in folder.iterdir()} if folder.is_dir() else None
    return there is not None and there < {file.removesuffix(".gz") for file in DOWNLOADS[name][1]}


def present() -> list[str]:
    """Names of what lies in the data folder."""
    folder = data_folder()
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return [name.removesuffix(".zip").removesuffix("_train").removesuffix("_test") for name in names]


def download(name: str) -> Path:
    """Fetches a known set into the data folder; ZerosumError if there is no network or a hash is wrong."""
    base, files = DOWNLOADS[name]
    folder = data_folder() / name
    if not is_writable(folder):
        raise ZerosumError(
            f"{name} is not in {data_folder()} and cannot be downloaded, since {folder} cannot be written: put "
            f"{', '.join(files)} into it, or set ZEROSUM_DATA to a folder that can be written"
        )
    pooch.get_logger().setLevel("WARNING")
    for file, known in files.items():
        try:
            pooch.retrieve(base + file, known_hash=known, fname=file, path=folder, progressbar=False)
        except Exception as error:  # whatever the network throws, the person needs the same one line
            raise ZerosumError(
                f"{name} is not in {data_folder()} and could not be downloaded ({type(error).__name__}): "
                f"put {', '.join(files)} into {folder}, or set ZEROSUM_DATA to a folder that has it"
            ) from None
    return folder


def is_cifar(folder: Path) -> bool:
    return (folder / "cifar-10-binary.tar.gz").is_file()


def read_cifar(folder: Path, split: str) -> tuple[Array, Array]:
    """Images (N, 3, 32, 32) uint8 and labels (N,) from the binary version: rows of a label and 3,072 pixels."""
    path = folder / "cifar-10-binary.tar.gz"
    names = [f"data_batch_{i}.bin" for i in range(1, 6)] if split == "train" else ["test_batch.bin"]
    rows = []
    try:
        with tarfile.open(path) as archive:
            for name in names:
                file = archive.extractfile(f"cifar-10-batches-bin/{name}")
                if file is None:
                    raise KeyError(name)
                rows.append(np.frombuffer(file.read(3073 * 10000), np.uint8).reshape(-1, 3073))
    except (tarfile.TarError, OSError, KeyError, ValueError, EOFError, zlib.error, RecursionError) as error:
        raise ZerosumError(f"{path}: damaged: {error}") from None
    table = np.concatenate(rows)
    if len(table) == 0:
        raise ZerosumError(f"{path}: damaged: holds no images")
    return table[:, 1:].reshape(-1, 3, 32, 32), table[:, 0]
