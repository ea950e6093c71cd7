"""A data folder of their own for the tests of data, so that nothing is read from or written to the user's."""

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="package", autouse=True)
def own_data_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZEROSUM_DATA", str(tmp_path_factory.mktemp("zerosum-data")))
        patch.setenv("ZEROSUM_CACHE", str(tmp_path_factory.mktemp("zerosum-cache")))
        yield


@pytest.fixture
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder for one test, which is its cache folder too."""
    folder = tmp_path / "data-folder"
    folder.mkdir()
    monkeypatch.setenv("ZEROSUM_DATA", str(folder))
    monkeypatch.setenv("ZEROSUM_CACHE", str(folder))
    return folder
