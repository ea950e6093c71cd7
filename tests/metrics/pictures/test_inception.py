"""The network of the FID: the same as others' for the same weights, resized as TensorFlow does, loaded or refused."""

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pooch
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from zerosum.errors import ZerosumError
from zerosum.metrics.pictures import inception
from zerosum.metrics.pictures.inception import FILE_NAME, Inception, load_inception, resize

Weights = dict[str, Tensor]


def empty() -> Weights:
    with torch.device("meta"):
        return Inception().state_dict()


def thin() -> Weights:
    """Weights of the right names and shapes that repeat one number, so that a file of them is small."""
    weights = empty()  # changed, not copied, since files of others too hold what torch notes beside the weights
    for number, (key, value) in enumerate(weights.items(), 1):
        counts = key.endswith("tracked")
        weights[key] = torch.tensor(number) if counts else torch.tensor(number / 600).expand(value.shape)
    return weights


def drawn() -> Weights:
    """Uniform weights that keep the size of activations."""
    random = np.random.default_rng(0)
    result = {}
    for key, value in sorted(empty().items()):
        if key.endswith("tracked"):
            continue
        shape = value.shape
        values = random.random(shape, np.float32)
        if key.endswith(("running_var", "bn.weight")):
            values += 0.5
        else:
            values -= 0.5
            values *= np.float32(np.sqrt(24 / np.prod(shape[1:])) if len(shape) == 4 else 0.25)
        result[key] = torch.from_numpy(values)
    return result


def pixels(count: int = 1, channels: int = 3, side: int = 20) -> Tensor:
    values = np.arange(count * channels * side * side, dtype=np.int64) ** 2 * 89 // 7 % 256
    return torch.from_numpy(values.astype(np.uint8)).view(count, channels, side, side)


def images(count: int = 1, channels: int = 3, side: int = 20) -> Tensor:
    return pixels(count, channels, side).float() / 127.5 - 1


@pytest.fixture(scope="module")
def network() -> Inception:
    with torch.device("meta"):
        made = Inception()
    counters = {key: torch.tensor(0) for key in made.state_dict() if key.endswith("tracked")}
    made.load_state_dict(drawn() | counters, assign=True)
    return made.eval().requires_grad_(False)


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Empty cache and data folders, and no network."""

    def refuse(*_: object, **__: object) -> str:
        raise ConnectionError("no route to host\nand a second line")

    monkeypatch.setattr(pooch, "retrieve", refuse)
    monkeypatch.delenv("ZEROSUM_INCEPTION", raising=False)
    monkeypatch.setenv("ZEROSUM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ZEROSUM_DATA", str(tmp_path / "data"))
    return tmp_path / "cache", tmp_path / "data"


def trust(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes this file the one whose hash is right."""
    monkeypatch.setattr(inception, "SHA256_PREFIX", hashlib.sha256(path.read_bytes()).hexdigest()[:8])
    return path


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def refused(file: Path | None = None) -> str:
    with pytest.raises(ZerosumError) as caught:
        load_inception(file)
    said = str(caught.value)
    assert "\n" not in said
    return said


# the network


def test_names_and_numbers_of_weights(network: Inception) -> None:
    found = {key: value.shape for key, value in network.state_dict().items()}
    assert sum(weight.numel() for weight in network.parameters()) == 23_850_960
    assert len(found) == 566
    for key, shape in {
        "Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3),
        "Conv2d_4a_3x3.bn.running_var": (192,),
        "Mixed_5b.branch1x1.conv.weight": (64, 192, 1, 1),
        "Mixed_5d.branch5x5_2.conv.weight": (64, 48, 5, 5),
        "Mixed_6a.branch3x3.conv.weight": (384, 288, 3, 3),
        "Mixed_6c.branch7x7_2.conv.weight": (160, 160, 1, 7),
        "Mixed_6e.branch7x7dbl_5.conv.weight": (192, 192, 1, 7),
        "Mixed_7a.branch7x7x3_4.conv.weight": (192, 192, 3, 3),
        "Mixed_7b.branch3x3_2a.conv.weight": (384, 384, 1, 3),
        "Mixed_7c.branch3x3dbl_3b.conv.weight": (384, 384, 3, 1),
        "Mixed_7c.branch_pool.bn.bias": (192,),
        "fc.weight": (1008, 2048),
        "fc.bias": (1008,),
    }.items():
        assert found[key] == shape, key


def test_agrees_with_torch_fidelity(network: Inception) -> None:
    features, logits = network(images())
    assert features.shape == (1, 2048)
    assert logits.shape == (1, 1008)
    # what torch-fidelity 0.4.0, in float64, gives as "2048" and "logits_unbiased" for these weights and pixels, with
    # features of every branch of the last block
    expected = {0: 0.53668, 216: 23.00825, 320: 3.33537, 703: 1.05066, 704: 4.05088, 1087: 0.10338, 1088: 2.68601}
    expected |= {1471: 2.24862, 1472: 1.22843, 1591: 20.54858, 1855: 0.02659, 1856: 0, 1872: 36.22487, 2047: 0.00072}
    torch.testing.assert_close(features[0, list(expected)], torch.tensor([*expected.values()]), rtol=1e-4, atol=3e-5)
    logits_expected = torch.tensor([-12.68098, -4.89427, 7.73575, -19.18583, -3.08964, -17.83236])
    torch.testing.assert_close(logits[0, :6], logits_expected, rtol=1e-4, atol=3e-5)


def test_logits_are_without_the_bias(network: Inception) -> None:
    assert network.fc.bias.abs().max() > 0.1
    features, logits = network(images(side=8))
    torch.testing.assert_close(logits, features @ network.fc.weight.T)


def test_grey_is_colour_repeated_and_images_do_not_mix(network: Inception) -> None:
    grey = images(count=2, channels=1, side=8)
    features, logits = network(grey)
    again, _ = network(grey[1:].repeat(1, 3, 1, 1))
    torch.testing.assert_close(features[1:], again)
    assert (features[0] - features[1]).abs().max() > 0.01
    assert logits.shape == (2, 1008)


def test_it_sees_the_very_8_bit_values(network: Inception, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def look(values: Tensor) -> Tensor:
        seen.append(values)
        return resize(values)

    monkeypatch.setattr(inception, "resize", look)
    every = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    network(every.float().div_(127.5).sub_(1))
    assert torch.equal(seen[0], every.float())


# the resize


def test_a_row_is_resized_as_tensorflow_does() -> None:
    image = torch.tensor([10.0, 30.0]).expand(1, 1, 2, 2)
    row = resize(image)[0, 0, 0]
    assert row.shape == (299,)
    # read at 0, 2 / 299, 4 / 299, ..., 298 / 299; from 300 / 299 on beyond the last pixel
    expected = [10 + 20 * min(1, i * 2 / 299) for i in range(299)]
    torch.testing.assert_close(row, torch.tensor(expected))
    assert row[149] < 30
    assert row[150:].eq(30).all()


@pytest.mark.parametrize(("height", "width"), [(5, 5), (23, 23), (32, 20), (400, 310), (1, 1)])
def test_each_pixel_is_between_four(height: int, width: int) -> None:
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (height, width))).float()
    resized = resize(image[None, None])[0, 0]
    assert resized.shape == (299, 299)
    for i, j in [(0, 0), (0, 298), (298, 0), (298, 298), (150, 17), (13, 26), (77, 211)]:
        y, x = i * height / 299, j * width / 299
        top, left = int(y), int(x)
        bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
        upper = image[top, left] + (image[top, right] - image[top, left]) * (x - left)
        lower = image[bottom, left] + (image[bottom, right] - image[bottom, left]) * (x - left)
        assert float(resized[i, j]) == pytest.approx(float(upper + (lower - upper) * (y - top)), abs=0.02)


def test_a_full_size_image_is_untouched() -> None:
    image = torch.randint(0, 256, (2, 3, 299, 299), generator=torch.Generator().manual_seed(0)).float()
    assert torch.equal(resize(image), image)


def test_shrinking_does_not_smooth() -> None:
    image = torch.randint(0, 256, (1, 1, 598, 598), generator=torch.Generator().manual_seed(0)).float()
    assert torch.equal(resize(image), image[:, :, ::2, ::2])


# loading


@pytest.mark.parametrize("variant", ["whole", "no counters", "old format"])
def test_a_good_file(variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = thin()
    path = tmp_path / "weights.pth"
    for key in [key for key in weights if variant == "no counters" and key.endswith("tracked")]:
        del weights[key]
    torch.save(weights, path, _use_new_zipfile_serialization=variant != "old format")
    before = torch.get_rng_state()
    loaded = load_inception(trust(path, monkeypatch))
    assert torch.equal(torch.get_rng_state(), before)
    assert not loaded.training
    assert not any(weight.requires_grad for weight in loaded.parameters())
    for key, value in loaded.state_dict().items():
        counts = key.endswith("tracked")
        assert value.dtype == (torch.int64 if counts else torch.float32)
        assert value.device.type == "cpu"
        assert counts or torch.equal(value, weights[key]), key


def test_the_hash_and_the_address_are_those_of_the_name() -> None:
    assert FILE_NAME.removesuffix(".pth").endswith("-" + inception.SHA256_PREFIX)
    assert inception.WEIGHTS_URL.startswith("https://github.com/")
    assert inception.WEIGHTS_URL.endswith("/" + FILE_NAME)


def test_another_hash_is_refused(folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "weights.pth", thin())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    said = refused(path)
    assert all(part in said for part in (str(path), digest, "6726825d", inception.WEIGHTS_URL, ".safetensors"))
    monkeypatch.setenv("ZEROSUM_INCEPTION", str(path))
    assert digest in refused()
    monkeypatch.delenv("ZEROSUM_INCEPTION")
    for folder in folders:
        found = write(folder / FILE_NAME, thin())
        assert str(found) in refused()
        found.unlink()


def test_a_file_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(tmp_path / "none.pth").startswith(f"{tmp_path / 'none.pth'}: there is no such file")
    assert "no such file" in refused(tmp_path)
    monkeypatch.setenv("ZEROSUM_INCEPTION", str(tmp_path / "none.pth"))
    assert refused().startswith(f"ZEROSUM_INCEPTION = {tmp_path / 'none.pth'}: there is no such file")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "header"])
def test_a_damaged_file_is_refused(damage: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"a": torch.zeros(1000)}, path)
    else:
        save_file({"a": torch.zeros(1000)}, path)
    whole = path.read_bytes()
    half = whole[: len(whole) // 2]
    path.write_bytes({"truncated": half, "empty": b"", "text": b"<html>", "header": b"\xff" * 30 + whole[30:]}[damage])
    said = refused(trust(path, monkeypatch))
    assert str(path) in said
    assert inception.WEIGHTS_URL in said


class Harmful:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("new", [True, False])
def test_code_in_a_file_is_not_run(new: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, mark = tmp_path / "weights.pth", tmp_path / "mark"
    torch.save(thin() | {"fc.bias": Harmful(mark)}, path, _use_new_zipfile_serialization=new)
    assert "cannot be read (UnpicklingError)" in refused(trust(path, monkeypatch))
    assert not mark.exists()
    torch.load(path, weights_only=False)
    assert mark.exists()


@pytest.mark.parametrize("content", [[torch.zeros(1)], torch.zeros(1), {"state_dict": {}}, {1: torch.zeros(1)}, 5])
def test_what_is_no_state_dict_is_refused(content: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = trust(write(tmp_path / "weights.pth", content), monkeypatch)
    assert refused(path).startswith(f"{path}: holds no state dict")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("change", ["missing", "more", "another counter", "shape", "nothing"])
def test_other_weights_are_refused(change: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = {
        "missing": "Mixed_7b.branch_pool.bn.running_var",
        "more": "AuxLogits.fc.weight",
        "another counter": "Mixed_9z.bn.num_batches_tracked",
        "shape": "fc.bias",
        "nothing": "Conv2d_1a_3x3.conv.weight",
    }[change]
    weights = {} if change == "nothing" else thin()
    if change == "missing":
        del weights[key]
    elif change != "nothing":
        weights[key] = torch.zeros(1000)
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        trust(write(path, weights), monkeypatch)
    else:
        # a file of safetensors repeats nothing: one that is small holds few of the names
        few = {name: value.contiguous() for name, value in weights.items() if value.numel() <= 1000}
        save_file(few, path)
    said = refused(path)
    assert said.startswith(f"{path}: not the weights")
    if suffix == ".pth":
        assert key in said


def test_own_weights_as_safetensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, path = thin(), tmp_path / "own.safetensors"
    save_file({key: value.bfloat16().contiguous() for key, value in weights.items()}, path)
    monkeypatch.setenv("ZEROSUM_INCEPTION", str(path))
    loaded = load_inception()
    path.unlink()  # pytest would keep 48 MB
    assert loaded.fc.weight.dtype == torch.float32
    torch.testing.assert_close(loaded.fc.weight[0, 0], weights["fc.weight"][0, 0], rtol=0.01, atol=0)


# where the file is looked for


def marked(path: Path, mark: float) -> Path:
    return write(path, thin() | {"fc.bias": torch.full((1008,), mark)})


def test_the_order_of_places(folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def used(file: Path | None = None) -> float:
        return float(load_inception(file).fc.bias[0])

    monkeypatch.setattr(inception, "SHA256_PREFIX", "")  # every hash begins so
    cache, data = folders
    marked(data / FILE_NAME, 1)
    assert used() == 1
    marked(cache / FILE_NAME, 2)
    assert used() == 2
    monkeypatch.setenv("ZEROSUM_INCEPTION", str(marked(tmp_path / "three.pth", 3)))
    assert used() == 3
    assert used(marked(tmp_path / "four.pth", 4)) == 4
    monkeypatch.setenv("ZEROSUM_INCEPTION", "")
    assert used() == 2


def test_without_a_network_one_line_says_what_to_do(folders: tuple[Path, Path]) -> None:
    said = refused()
    for part in (
        "ConnectionError",
        inception.WEIGHTS_URL,
        str(folders[0]),
        "ZEROSUM_INCEPTION",
        "features=classifier",
        "features=random",
    ):
        assert part in said
    assert list(folders[0].iterdir()) == []


def test_a_cache_folder_that_cannot_be_made(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where what stands in for the cache is made
    folders[0].write_text("a file")
    assert "could not be downloaded" in refused()


class Server:
    """Takes the place of pooch.retrieve."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.asked: list[str] = []

    def __call__(self, url: str, known_hash: None, fname: str, path: str, progressbar: bool) -> str:
        self.asked.append(url)
        target = Path(path) / fname
        target.write_bytes(self.content)
        return str(target)


def test_it_is_downloaded_once(folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = trust(marked(tmp_path / "server.pth", 5), monkeypatch)
    server = Server(path.read_bytes())
    monkeypatch.setattr(pooch, "retrieve", server)
    for _ in range(2):
        assert float(load_inception().fc.bias[0]) == 5
    assert server.asked == [inception.WEIGHTS_URL]
    assert [found.name for found in folders[0].iterdir()] == [FILE_NAME]


def test_a_wrong_download_is_not_kept(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(b"<html>blocked</html>")
    monkeypatch.setattr(pooch, "retrieve", server)
    for _ in range(2):
        said = refused()
        assert hashlib.sha256(server.content).hexdigest() in said
        assert inception.WEIGHTS_URL in said
    assert len(server.asked) == 2
    assert list(folders[0].iterdir()) == []
