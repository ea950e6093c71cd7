"""Sets known by name: found in the data folder, downloaded once, read whole or refused. Nothing touches a network."""

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pooch
import pytest

from tests.data.make import colour, idx_folder, noise, opened, write_zip
from zerosum.data.pictures import known
from zerosum.errors import ZerosumError


class Server:
    """Takes the place of pooch.retrieve: makes its folder, as that does, then gives a file or fails."""

    def __init__(self, files: Path) -> None:
        self.files = files
        self.asked: list[str] = []
        self.online = True

    def __call__(self, url: str, known_hash: str, fname: str, path: Path, **_: Any) -> str:
        target = Path(path) / fname
        if target.is_file():
            return str(target)
        self.asked.append(url)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not self.online:
            raise ConnectionError("no route to host\nand a second line")
        assert known_hash.startswith("md5:")
        target.write_bytes((self.files / fname).read_bytes())
        return str(target)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server(idx_folder(tmp_path / "server"))
    monkeypatch.setattr(pooch, "retrieve", server)
    return server


def test_the_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZEROSUM_DATA", str(tmp_path))
    assert known.data_folder() == tmp_path
    monkeypatch.setenv("ZEROSUM_DATA", "")
    assert known.data_folder().name == "zerosum"
    monkeypatch.delenv("ZEROSUM_DATA")
    assert known.data_folder().name == "zerosum"


def test_a_set_is_downloaded_once(server: Server, data_folder: Path) -> None:
    first = opened("mnist")
    assert len(server.asked) == 4
    assert all(url.startswith("http") and url.endswith("-ubyte.gz") for url in server.asked)
    assert sorted(path.name for path in (data_folder / "mnist").iterdir()) == sorted(known.DOWNLOADS["mnist"][1])
    server.online = False
    again = opened("mnist")
    assert len(server.asked) == 4
    assert first.fingerprint == again.fingerprint
    np.testing.assert_array_equal(first.images[:, 0], noise(20, 28, 28))


def test_classes_of_fashion_have_their_names(server: Server, data_folder: Path) -> None:
    source = opened("fashion-mnist")
    assert source.spec.labels["class"][:2] == ("t-shirt", "trouser")
    assert source.spec.labels["class"][-1] == "ankle-boot"
    assert source.labels is not None
    assert source.labels[:3, 0].tolist() == [0, 1, 2]
    assert len(server.asked) == 4
    assert (data_folder / "fashion-mnist").is_dir()


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10"])
def test_without_a_network_one_line_says_what_to_do(name: str, server: Server, data_folder: Path) -> None:
    server.online = False
    with pytest.raises(ZerosumError) as caught:
        opened(name)
    said = str(caught.value)
    assert "\n" not in said
    assert "could not be downloaded" in said
    assert "ConnectionError" in said
    assert str(data_folder / name) in said
    assert all(file in said for file in known.DOWNLOADS[name][1])


def test_a_failed_download_is_taken_up_again(server: Server, data_folder: Path) -> None:
    server.online = False
    for _ in range(2):
        with pytest.raises(ZerosumError, match="could not be downloaded"):
            opened("mnist")
    server.online = True
    assert len(opened("mnist")) == 20
    assert len(list((data_folder / "mnist").iterdir())) == 4


def test_a_download_cut_short_is_completed(server: Server, data_folder: Path) -> None:
    opened("mnist")
    (data_folder / "mnist" / "train-labels-idx1-ubyte.gz").unlink()
    assert len(opened("mnist")) == 20
    assert len(server.asked) == 5


def test_a_set_in_the_data_folder_is_not_downloaded(server: Server, data_folder: Path) -> None:
    idx_folder(data_folder / "mnist", count=30, zipped=False)
    assert len(opened("mnist")) == 30
    assert server.asked == []


def test_what_is_found_by_a_bare_name(data_folder: Path) -> None:
    for name in ("one.zip", "two_train.zip", "two_test.zip"):
        write_zip(data_folder / name, {"a.png": colour()})
    (data_folder / "three").mkdir()
    np.save(data_folder / "four.npy", noise(2, 8, 8))
    assert known.find("one", "train") == data_folder / "one.zip"
    assert known.find("one", "test") == data_folder / "one.zip"
    assert known.find("two", "train") == data_folder / "two_train.zip"
    assert known.find("two", "test") == data_folder / "two_test.zip"
    assert known.find("three", "train") == data_folder / "three"
    assert known.find("four", "train") == data_folder / "four.npy"
    assert known.find("five", "train") is None


# CIFAR


def cifar(folder: Path, label: int = 0, rows: int = 4, leave_out: str = "") -> Path:
    """A made-up archive of five training files and one for testing."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for seed, name in enumerate([*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]):
            if name == leave_out:
                continue
            labels = (np.arange(rows) + seed + label).astype(np.uint8)
            data = np.concatenate([labels[:, None], noise(rows, 3072, seed=seed)], 1).tobytes()
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def test_cifar(data_folder: Path) -> None:
    cifar(data_folder / "cifar10")
    train, test = opened("cifar10"), opened("cifar10", split="test")
    assert train.images.shape == (20, 3, 32, 32)
    assert test.images.shape == (4, 3, 32, 32)
    np.testing.assert_array_equal(train.images[4:8], noise(4, 3072, seed=1).reshape(4, 3, 32, 32))
    np.testing.assert_array_equal(test.images, noise(4, 3072, seed=5).reshape(4, 3, 32, 32))
    assert train.spec.labels == test.spec.labels
    assert train.spec.labels["class"][0] == "airplane"
    assert train.labels is not None
    assert train.labels[4:8, 0].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "member", "flipped"])
def test_damaged_cifar_is_refused(damage: str, data_folder: Path) -> None:
    path = cifar(data_folder / "cifar10", leave_out="data_batch_3.bin" if damage == "member" else "")
    whole = path.read_bytes()
    middle = len(whole) // 2
    changed = {
        "truncated": [whole[:-3000]],
        "empty": [b""],
        "text": [b"not found"],
        "member": [whole],
        "flipped": [
            whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :] for place in range(middle, middle + 60)
        ],
    }
    refused = 0
    for content in changed[damage]:
        path.write_bytes(content)
        try:
            opened("cifar10")
        except ZerosumError as error:
            refused += 1
            assert "cifar-10-binary.tar.gz" in str(error)
    assert 1 <= refused <= len(changed[damage])


def test_labels_beyond_the_classes_are_refused(server: Server, data_folder: Path, tmp_path: Path) -> None:
    server.files = idx_folder(tmp_path / "odd", count=24, classes=12)
    with pytest.raises(ZerosumError, match="label"):
        opened("fashion-mnist")
    cifar(data_folder / "cifar10", label=7)
    with pytest.raises(ZerosumError, match="label"):
        opened("cifar10")


# real sets


def test_real_mnist(real_data: Path, data_folder: Path) -> None:
    if not (real_data / "mnist").is_dir():
        pytest.skip("no mnist in the real data")
    (data_folder / "mnist").symlink_to(real_data / "mnist")
    train, test = opened("mnist"), opened("mnist", split="test")
    assert train.images.shape == (60_000, 1, 28, 28)
    assert test.images.shape == (10_000, 1, 28, 28)
    assert train.spec.counts == (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
    assert test.spec.counts == (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)
    assert 33.2 < float(train.images.mean()) < 33.4
