"""The run folder, which other tools read."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.conftest import same, snapshot, tiny_recipe, tiny_source
from zerosum.data.pictures.source import make_source
from zerosum.engine.runs.files import read_lines
from zerosum.engine.runs.folder import check_writable, new_folder
from zerosum.engine.runs.reading import stored_recipe
from zerosum.engine.runs.run import Run
from zerosum.engine.runs.stored import check_same, stored_spec
from zerosum.engine.training.loop import train
from zerosum.errors import ZerosumError
from zerosum.games.objectives import objective


def prepared(overrides: dict[str, Any] | None = None, network: str = "mlp", side: int = 8) -> Run:
    return Run.prepare(tiny_recipe(overrides, network), tiny_source(side))


def test_layout(tmp_path: Path) -> None:
    run = prepared({"steps": 4, "snapshot": 2, "checkpoint": 2, "condition.method": "embed"})
    folder = run.create_folder(tmp_path / "runs")
    assert folder == tmp_path / "runs" / "00000-tiny" == run.place
    names = ["data.json", "environment.json", "reals.png", "recipe.yaml", "samples"]
    assert sorted(path.name for path in folder.iterdir()) == names
    for _ in train(run):
        pass
    names += ["checkpoints", "losses.png", "stats.jsonl", "summary.json", "ways.png"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    found = sorted(path.name for path in (folder / "samples").iterdir())
    assert found == ["000000.png", "000002.png", "000004.png"]
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["step-000002", "step-000004"]

    assert stored_recipe(folder) == run.recipe
    assert stored_spec(folder) == run.source.spec
    environment = json.loads((folder / "environment.json").read_text())
    assert {"zerosum", "torch", "numpy", "python"} <= set(environment["versions"])
    assert environment["versions"]["torch"] == torch.__version__
    assert (environment["device"], environment["precision"]) == ("cpu", "fp32")
    data = json.loads((folder / "data.json").read_text())
    assert (data["images"], data["fingerprint"]) == (22, run.source.fingerprint)
    with Image.open(folder / "reals.png") as reals, Image.open(folder / "samples" / "000000.png") as samples:
        # a row for each class, ten columns, in the same layout
        assert reals.size == samples.size
        assert samples.height == 3 * 50 + 2
        assert samples.width > 10 * 50 + 2
    with Image.open(folder / "losses.png") as losses:
        assert losses.size == (1288, 442)


def test_snapshots_show_the_same_seeds_every_time(tmp_path: Path) -> None:
    run = prepared({"condition.method": "embed"})
    run.create_folder(tmp_path)
    first = run.snapshot().read_bytes()
    assert run.snapshot().read_bytes() == first
    with torch.no_grad():
        next(run.state.players.generator.parameters()).add_(0.3)
    assert run.snapshot().read_bytes() != first


def test_snapshots_without_labels(tmp_path: Path) -> None:
    run = prepared()
    run.create_folder(tmp_path)
    with Image.open(run.snapshot()) as sheet, Image.open(run.place / "reals.png") as reals:
        assert sheet.size == (10 * 50 + 2, 8 * 50 + 2)
        assert reals.size == (10 * 50 + 2, 3 * 50 + 2)  # there are but 22 images


def test_numbers(tmp_path: Path) -> None:
    assert new_folder(tmp_path, "a").name == "00000-a"
    assert new_folder(tmp_path, "b").name == "00001-b"
    (tmp_path / "00041-c").mkdir()
    (tmp_path / "notes-99999").mkdir()
    (tmp_path / "123-short").mkdir()
    assert new_folder(tmp_path, "a").name == "00042-a"
    (tmp_path / "99999-x").mkdir()
    assert new_folder(tmp_path, "a").name == "100000-a"
    assert new_folder(tmp_path, "a").name == "100001-a"
    assert all(path.is_dir() for path in tmp_path.iterdir())


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ZerosumError, match=r"cannot write runs into .*; choose another place with out="):
        check_writable(tmp_path / "file")
    with pytest.raises(ZerosumError, match="cannot write runs into"):
        check_writable(tmp_path / "file" / "below")
    check_writable(tmp_path / "new" / "below")
    assert list((tmp_path / "new" / "below").iterdir()) == []


def test_another_recipe_is_refused_with_the_differences(tmp_path: Path) -> None:
    run = prepared()
    folder = run.create_folder(tmp_path)
    check_same(folder, run.recipe, run.source)
    changed = run.recipe.with_overrides({"optimizer.lr": 0.5, "generator.first": 99, "batch": 8})
    with pytest.raises(ZerosumError) as caught:
        check_same(folder, changed, run.source)
    message = str(caught.value)
    for part in ("optimizer.lr was 0.0002, now 0.5", "generator.first was 16, now 99", "batch was 4, now 8"):
        assert part in message
    assert "To go on, leave that as it was; a new run with these weights: zs.train(" in message
    assert "latent" not in message
    # what changes nothing that is trained so far may differ
    allowed = {"steps": 99, "tick": 7, "snapshot": 8, "checkpoint": 9, "keep": 5, "name": "other", "about": "more"}
    check_same(folder, run.recipe.with_overrides(allowed), run.source)


def test_other_data_is_refused(tmp_path: Path) -> None:
    run = prepared({"condition.method": "join"})
    folder = run.create_folder(tmp_path)
    images = run.source.stored.copy()
    assert run.source.labels is not None
    check_same(folder, run.recipe, make_source(images, run.source.labels))
    images[3, 0, 2, 2] ^= 1
    with pytest.raises(ZerosumError, match=r"changed since \(22 samples as before, but others\)\. .* with data="):
        check_same(folder, run.recipe, make_source(images, run.source.labels))
    with pytest.raises(ZerosumError, match=r"\(22 samples then, 23 now\)"):
        check_same(folder, run.recipe, tiny_source(count=23))
    labels = run.source.labels.copy()
    labels[[0, 1]] = labels[[1, 0]]
    with pytest.raises(ZerosumError, match="the data has changed"):
        check_same(folder, run.recipe, make_source(run.source.stored, labels))


def test_no_run_folder(tmp_path: Path) -> None:
    with pytest.raises(ZerosumError, match=r"is no run folder: it has no recipe\.yaml"):
        stored_recipe(tmp_path)
    (tmp_path / "recipe.yaml").write_text("- a list\n")
    with pytest.raises(ZerosumError, match="expected 'key: value' lines"):
        stored_recipe(tmp_path)
    with pytest.raises(ZerosumError, match=r"data\.json"):
        stored_spec(tmp_path)
    (tmp_path / "data.json").write_text('{"channels": 1}')
    with pytest.raises(ZerosumError, match="does not describe data"):
        stored_spec(tmp_path)


def test_preparing_checks_what_does_not_fit() -> None:
    with pytest.raises(ZerosumError, match=r"22 samples, fewer than one batch of 64: batch=5"):
        prepared({"batch": 64})
    with pytest.raises(ZerosumError, match=r"recipe tiny is conditional .* but the data has no labels"):
        Run.prepare(tiny_recipe({"condition.method": "join"}), tiny_source(labelled=False))
    with pytest.raises(ZerosumError, match="unknown objective 'hinj'"):
        prepared({"objective": "hinj"})
    with pytest.raises(ZerosumError, match=r"the generator makes .*\(1, 9, 9\), the data .*\(1, 8, 8\)"):
        Run.prepare(tiny_recipe(), tiny_source(), generator=Wrong())


class Wrong(nn.Module):
    """Makes images of 9x9."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(1))

    def forward(self, z: Tensor, _: Tensor | None) -> Tensor:
        return self.value.expand(len(z), 1, 9, 9)


def test_preparing_changes_nothing() -> None:
    """The trial of the networks leaves no trace: neither in them nor in torch's random numbers."""
    source = tiny_source(16)
    first = prepared(network="dcgan", side=16)
    generator, critic = first.state.players.generator, first.state.players.critic
    torch.manual_seed(2)
    expected = torch.rand(3)
    torch.manual_seed(2)
    before = snapshot(generator), snapshot(critic)
    run = Run.prepare(tiny_recipe(network="dcgan"), source, generator, critic, objective("hinge"))
    assert run.game.objective is objective("hinge")
    assert run.state.players.generator is generator
    assert same(before[0], snapshot(generator))
    assert same(before[1], snapshot(critic))
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(2)
    prepared({"generator.dropout": 0.5, "critic.dropout": 0.5})
    assert torch.equal(torch.rand(3), expected)


def test_stats_cut_short_by_a_crash(tmp_path: Path) -> None:
    assert read_lines(tmp_path / "stats.jsonl") == []
    (tmp_path / "stats.jsonl").write_text('{"step": 1, "a": 2.0}\n{"step": 2, "a": 3.0}\n{"step": 3, "a')
    assert read_lines(tmp_path / "stats.jsonl") == [{"step": 1, "a": 2.0}, {"step": 2, "a": 3.0}]


def test_samples_come_from_the_averaged_generator() -> None:
    run = prepared({"average.half_life": 100.0})
    before = run.sample(2, seed=5)
    with torch.no_grad():
        for weight in run.state.players.generator.parameters():
            weight.add_(0.5)
    assert torch.equal(run.sample(2, seed=5), before)
    with torch.no_grad():
        for weight in run.state.average.parameters():
            weight.add_(0.5)
    assert not torch.equal(run.sample(2, seed=5), before)
    last = prepared()
    assert last.state.average is last.state.players.generator


def test_a_run_without_folder() -> None:
    with pytest.raises(ZerosumError, match="no folder yet"):
        _ = prepared().place


def test_real_images_stand_in_the_row_of_their_class(tmp_path: Path) -> None:
    """Also those of a rare class, which are repeated."""
    values = np.repeat(np.array([0, 120, 240], np.uint8), [14, 7, 1])
    images = np.broadcast_to(values[:, None, None, None], (22, 1, 16, 16)).copy()
    labels = np.repeat([0, 1, 2], [14, 7, 1])
    run = Run.prepare(tiny_recipe({"condition.method": "join"}), make_source(images, labels))
    folder = run.create_folder(tmp_path)
    with Image.open(folder / "reals.png") as sheet:
        pixels = np.asarray(sheet.convert("L"))
    left = pixels.shape[1] - 10 * 50 - 2
    for row, value in enumerate((0, 120, 240)):
        for column in range(10):
            assert pixels[row * 50 + 26, left + column * 50 + 26] == value
