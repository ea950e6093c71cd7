"""What strangers' parts are told by zerosum.testing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.conftest import OwnGenerator, same, snapshot, tiny_recipe, tiny_source
from zerosum.data.source import Source
from zerosum.errors import ZerosumError
from zerosum.modalities import make_source, modality
from zerosum.modalities.array import Array
from zerosum.modalities.modality import Modality
from zerosum.sections.row import RowData
from zerosum.testing import check_modality, check_network, check_source


def array(*shape: int) -> Source:
    return make_source(np.random.default_rng(0).normal(0, 3, (20, *shape)))


def rows(path: Path) -> RowData:
    words = "\n".join(f"{i / 7:.3f},{'ab'[i % 2]},{i if i % 3 else ''}" for i in range(60))
    path.write_text(f"x,kind,y\n{words}\n")
    return RowData(uri=str(path))


def test_what_comes_with_the_package_fits(tmp_path: Path) -> None:
    data = rows(tmp_path / "a.csv")
    check_modality(modality("row"), data=data)
    check_source(modality("row").open(data)[0])
    for source in (tiny_source(), array(5), array(3, 64), make_source(np.arange(40).reshape(8, 5), values="one-hot")):
        check_source(source)
        check_modality(modality(source.spec.modality), source)


class Restless(Source):
    def floats(self, index: Any, device: Any = "cpu") -> Tensor:
        return super().floats(index, device) * torch.rand(())


def test_sources_that_do_not_fit() -> None:
    good = array(5)
    bad: list[tuple[Any, str]] = [
        (3, "source is a int"),
        (replace(good, stored=good.stored * np.nan), "NaN"),
        (replace(good, encode=lambda stored: stored.float() * 100), "should be from -1 to 1"),
        (replace(good, labels=np.zeros((3, 1), np.int64)), "20 samples but 3 labels"),
        (Restless(good.stored, None, good.spec, encode=good.encode), "other samples for the same seed"),
    ]
    for source, said in bad:
        with pytest.raises(ZerosumError, match=said) as refused:
            check_source(source)
        assert "\n" not in str(refused.value)


class Flat(nn.Module):
    """z or samples to (N, *shape)."""

    def __init__(self, inputs: int, shape: tuple[int, ...], bound: Any = torch.tanh) -> None:
        super().__init__()
        self.layer, self.shape, self.bound = nn.Linear(inputs, int(np.prod(shape))), shape, bound

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.bound(self.layer(x.flatten(1)).view(len(x), *self.shape))
        return made


def test_networks() -> None:
    source = array(5)
    generator, critic = Flat(100, (5,)), Flat(5, (1,), nn.Identity())
    before = snapshot(generator), snapshot(critic)
    check_network(generator, source=source)
    check_network(critic=critic, source=source)
    check_network(generator, critic, source=source)
    assert same(before[0], snapshot(generator))
    assert same(before[1], snapshot(critic))
    check_network(OwnGenerator(), source=tiny_source(), recipe=tiny_recipe())
    for parts, said in (
        ({"generator": Flat(100, (6,))}, r"the generator makes .* of \(6,\), the data has \(5,\)"),
        ({"generator": Flat(7, (5,))}, "raised RuntimeError"),
        ({"generator": Flat(100, (5,), torch.sigmoid)}, "sigmoid"),
        ({"critic": Flat(5, (1,), torch.sigmoid)}, "returns probabilities"),
        ({"critic": Flat(5, (), torch.mean)}, "a row for each"),
        ({}, "no network to look at"),
    ):
        with pytest.raises(ZerosumError, match=said) as refused:
            check_network(**parts, source=source)  # type: ignore[arg-type]
        assert "\n" not in str(refused.value)


class Other(Array):
    """Arrays whose modality does one thing wrong."""

    def __init__(self, **wrong: Any) -> None:
        for name, value in wrong.items():
            setattr(self, name, value)


class Bare(Modality):
    name = "array"


def raising(*_: Any) -> Any:
    raise KeyError("facts")


def test_modalities_that_do_not_fit() -> None:
    source = array(5)
    image = Image.new("L", (4, 4))
    for wrong, said in (
        (Other(show=lambda *_: None), "show returns a NoneType"),
        (Other(show=raising), "show raised KeyError: 'facts'"),
        (Other(show=lambda *_: image, write=lambda *_: None), r"write makes no file samples\.npy"),
        (Other(endings=()), "endings names no file"),
        (Other(parse=lambda values: replace(source.spec, facts={})), "parse gives another spec"),
        (Other(scored=lambda finished, _: finished * torch.rand(())), "scored gives something else"),
        (Other(finished=lambda samples, _: samples[:1]), "finished should return a tensor with a row for each"),
        (Other(name="row"), "the spec says that its modality is array"),
        (Bare(), "show is missing"),
        (Array, "modality is the class Array"),
    ):
        with pytest.raises(ZerosumError, match=said) as refused:
            check_modality(wrong, source)
        assert "\n" not in str(refused.value)
    with pytest.raises(ZerosumError, match="give a source, or the data section"):
        check_modality(Array())
