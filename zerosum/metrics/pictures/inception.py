"""The Inception-v3 of the original FID (Heusel 2017): TensorFlow's network of 2015-12-05, as converted for PyTorch.

It is not torchvision's network: other weights, average pools that leave the padding out, a max pool in the last block,
1,008 classes, and TensorFlow 1's own way of resizing. Names of layers are those of the converted file.
"""

import hashlib
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import pooch
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import relu

from zerosum.data.cache import cache_folder, is_temporary, user_folder
from zerosum.errors import ZerosumError

FILE_NAME = "pt_inception-2015-12-05-6726825d.pth"
WEIGHTS_URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{FILE_NAME}"
#: how the file's SHA-256 begins, which its name tells
SHA256_PREFIX = "6726825d"
SIDE = 299
_GET_IT = f"get {FILE_NAME} from {WEIGHTS_URL}"

Pool = Literal["average", "max", "shrink"]
#: branch -> its layers as (channels, kernel), the last perhaps with two kernels side by side
Branches = dict[str, list[tuple[int, str]]]


def _at_35(pool: int) -> Branches:
    return {
        "branch1x1": [(64, "1x1")],
        "branch5x5": [(48, "1x1"), (64, "5x5")],
        "branch3x3dbl": [(64, "1x1"), (96, "3x3"), (96, "3x3")],
        "branch_pool": [(pool, "1x1")],
    }


def _at_17(inner: int) -> Branches:
    return {
        "branch1x1": [(192, "1x1")],
        "branch7x7": [(inner, "1x1"), (inner, "1x7"), (192, "7x1")],
        "branch7x7dbl": [(inner, "1x1"), (inner, "7x1"), (inner, "1x7"), (inner, "7x1"), (192, "1x7")],
        "branch_pool": [(192, "1x1")],
    }


_AT_8: Branches = {
    "branch1x1": [(320, "1x1")],
    "branch3x3": [(384, "1x1"), (384, "1x3 3x1")],
    "branch3x3dbl": [(448, "1x1"), (384, "3x3"), (384, "1x3 3x1")],
    "branch_pool": [(192, "1x1")],
}
_FROM_35_TO_17: Branches = {
    "branch3x3": [(384, "3x3")],
    "branch3x3dbl": [(64, "1x1"), (96, "3x3"), (96, "3x3")],
    "branch_pool": [],
}
_FROM_17_TO_8: Branches = {
    "branch3x3": [(192, "1x1"), (320, "3x3")],
    "branch7x7x3": [(192, "1x1"), (192, "1x7"), (192, "7x1"), (192, "3x3")],
    "branch_pool": [],
}
#: name -> the pool of its pool branch, and all branches
MIXED: dict[str, tuple[Pool, Branches]] = {
    "Mixed_5b": ("average", _at_35(32)),
    "Mixed_5c": ("average", _at_35(64)),
    "Mixed_5d": ("average", _at_35(64)),
    "Mixed_6a": ("shrink", _FROM_35_TO_17),
    "Mixed_6b": ("average", _at_17(128)),
    "Mixed_6c": ("average", _at_17(160)),
    "Mixed_6d": ("average", _at_17(160)),
    "Mixed_6e": ("average", _at_17(192)),
    "Mixed_7a": ("shrink", _FROM_17_TO_8),
    "Mixed_7b": ("average", _AT_8),
    "Mixed_7c": ("max", _AT_8),
}


class ConvNorm(nn.Module):
    """Convolution, normalisation, relu: (N, before, H, W) -> (N, after, H', W')."""

    def __init__(self, before: int, after: int, kernel: str, stride: int = 1, padding: str = "valid") -> None:
        super().__init__()
        height, width = map(int, kernel.split("x"))
        self.conv = nn.Conv2d(before, after, (height, width), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(after, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.bn(self.conv(x)), inplace=True)


class Mixed(nn.Module):
    """Branches over one input, their outputs stacked: (N, before, H, W) -> (N, self.after, H', W').

    Layers keep the side, except under pool "shrink", where the last of each branch and the pool halve it.
    """

    def __init__(self, before: int, pool: Pool, branches: Branches) -> None:
        super().__init__()
        match pool:
            case "average":
                self.pool: nn.Module = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
            case "max":
                self.pool = nn.MaxPool2d(3, 1, 1)
            case "shrink":
                self.pool = nn.MaxPool2d(3, 2)
        self.after = 0
        #: branch -> names of its layers, in a list of one, or of two that read the same input
        self.branches: dict[str, list[list[str]]] = {}
        for branch, layers in branches.items():
            channels, names = before, [branch]
            self.branches[branch] = []
            for number, (wide, kernels) in enumerate(layers, 1):
                name = branch if len(layers) == 1 else f"{branch}_{number}"
                shapes = kernels.split()
                names = [name] if len(shapes) == 1 else [name + letter for letter in "ab"]
                stride, padding = (2, "valid") if pool == "shrink" and number == len(layers) else (1, "same")
                for own, shape in zip(names, shapes, strict=True):
                    self.add_module(own, ConvNorm(channels, wide, shape, stride, padding))
                self.branches[branch].append(names)
                channels = wide
            self.after += channels * len(names)

    def forward(self, x: Tensor) -> Tensor:
        ends = []
        for branch, layers in self.branches.items():
            outputs = [self.pool(x) if branch == "branch_pool" else x]
            for names in layers:
                outputs = [self.get_submodule(name)(outputs[0]) for name in names]
            ends += outputs
        return torch.cat(ends, 1)


class Inception(nn.Module):
    """images (N, 1 or 3, S, S) in [-1, 1], made of 8-bit values -> features (N, 2048), logits (N, 1008).

    Logits are without the bias: the code of the Inception Score (Salimans 2016) multiplies by the weights only.
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = ConvNorm(3, 32, "3x3", stride=2)
        self.Conv2d_2a_3x3 = ConvNorm(32, 32, "3x3")
        self.Conv2d_2b_3x3 = ConvNorm(32, 64, "3x3", padding="same")
        self.Conv2d_3b_1x1 = ConvNorm(64, 80, "1x1")
        self.Conv2d_4a_3x3 = ConvNorm(80, 192, "3x3")
        self.pool = nn.MaxPool2d(3, 2)
        channels = 192
        for name, (pool, branches) in MIXED.items():
            block = Mixed(channels, pool, branches)
            self.add_module(name, block)
            channels = block.after
        self.fc = nn.Linear(channels, 1008)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        # rounding gives back the very 8-bit values
        x = (resize(((images + 1) * 127.5).round()) - 128) / 128
        x = self.Conv2d_1a_3x3(x.expand(-1, 3, -1, -1))
        x = self.pool(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(x)))
        x = self.pool(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)))
        for name in MIXED:
            x = self.get_submodule(name)(x)
        features = x.mean((2, 3))
        return features, features @ self.fc.weight.T


def resize(images: Tensor, side: int = SIDE) -> Tensor:
    """(N, C, H, W) -> (N, C, side, side), bilinear as in TensorFlow 1: corners aligned at the top left only, and no
    smoothing before shrinking."""
    rows, columns = (_weights(size, side).to(images) for size in images.shape[2:])
    return rows @ images @ columns.T


def _weights(before: int, after: int) -> Tensor:
    """(after, before): output i is read at i * before / after, between two pixels, or at the last pixel beyond it."""
    places = torch.arange(after, dtype=torch.float32) * (torch.tensor(before, dtype=torch.float32) / after)
    low = places.floor().long()
    high = (low + 1).clamp(max=before - 1)
    eye = torch.eye(before)
    return torch.lerp(eye[low], eye[high], (places - low)[:, None])


def load_inception(file: Path | None = None) -> Inception:
    """The network with its weights, in eval mode, without gradients.

    From the file, or $ZEROSUM_INCEPTION, or FILE_NAME in the cache or data folder, or downloaded into the cache folder.
    Only the file of the original FID is taken, told by its hash, or one's own conversion as .safetensors.
    """
    where = ""
    if file is None and (variable := os.environ.get("ZEROSUM_INCEPTION")):
        file, where = Path(variable), "ZEROSUM_INCEPTION = "
    if file is None:
        places = [folder / FILE_NAME for folder in (cache_folder(), user_folder("ZEROSUM_DATA")) if folder]
        file = next((place for place in places if place.is_file()), None) or _download()
    elif not file.is_file():
        raise ZerosumError(f"{where}{file}: there is no such file: {_GET_IT}")
    weights = _read(file)
    # made without memory and without random numbers: the weights take the place of what the layers would draw
    with torch.device("meta"):
        network = Inception()
    # counters of training steps, which some files have and others lack, are not used in eval mode
    counters = [key for key in network.state_dict() if key.endswith(".num_batches_tracked")]
    try:
        network.load_state_dict(weights | {key: torch.tensor(0) for key in counters}, assign=True)
    except RuntimeError as error:
        detail = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        short = detail if len(detail) < 200 else f"{detail[:200]} ..."
        raise ZerosumError(f"{file}: not the weights of the FID's Inception-v3: {short}") from None
    # a third less time on a CPU
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.eval().requires_grad_(False)


def _read(path: Path) -> dict[str, Tensor]:
    own = path.suffix == ".safetensors"
    try:
        if not own:
            _check_hash(path, str(path))
        weights = load_file(path) if own else torch.load(path, map_location="cpu", weights_only=True)
    except ZerosumError:
        raise
    except Exception as error:  # damaged files make the readers throw nearly anything
        raise ZerosumError(f"{path}: cannot be read ({type(error).__name__}): {_GET_IT}") from None
    if not isinstance(weights, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in weights.items()
    ):
        raise ZerosumError(f"{path}: holds no state dict (names and tensors): {_GET_IT}")
    return {key: value.float() for key, value in weights.items()}


def _check_hash(path: Path, where: str) -> None:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(SHA256_PREFIX):
        raise ZerosumError(
            f"{where}: its SHA-256 is {digest} and should begin with {SHA256_PREFIX}: damaged, or other weights: "
            f"{_GET_IT}, or give your own conversion as .safetensors"
        )


def _download() -> Path:
    """Fetches the file into the cache folder, where it appears once it is whole and right."""
    folder = cache_folder()
    pooch.get_logger().setLevel("WARNING")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix="inception-", dir=folder) as draft:
            # pooch checks whole hashes only, and of this one the beginning is known
            path = Path(pooch.retrieve(WEIGHTS_URL, known_hash=None, fname=FILE_NAME, path=draft, progressbar=False))
            _check_hash(path, f"the download of {WEIGHTS_URL}")
            return path.replace(folder / FILE_NAME)
    except ZerosumError:
        raise
    except Exception as error:  # whatever the network throws, the person needs the same one line
        where = "" if is_temporary(folder) else f"put it into {folder}, or "
        raise ZerosumError(
            f"the Inception network is not on this machine and could not be downloaded ({type(error).__name__}): "
            f"get {WEIGHTS_URL} and {where}name the file in ZEROSUM_INCEPTION; "
            "features=classifier and features=random need no download"
        ) from None
