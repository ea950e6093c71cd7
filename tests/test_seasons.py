"""CycleGAN from end to end, by the command line: two piles of pictures, there and back."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import zerosum as zs
from tests.conftest import Call, same, tiny_recipe
from tests.data.make import encoded, noise, write
from tests.test_cli import run
from zerosum import api
from zerosum.engine.runs.files import read_json, read_lines
from zerosum.engine.runs.reading import newest
from zerosum.engine.trained.pictures.translator import Translator
from zerosum.engine.training.state import tensors_of
from zerosum.metrics.pictures.domains import KINDS
from zerosum.recipe import Recipe

pytestmark = pytest.mark.usefixtures("quick_scores")

#: small and quick, with everything in it that a run has: an average, a fade, a pool that fills and is drawn from
QUICK: dict[str, Any] = {
    "steps": 8,
    "tick": 1,
    "checkpoint": 3,
    "snapshot": 100,
    "data.resolution": 16,
    "generator.width": 4,
    "generator.blocks": 1,
    "critic.width": 4,
    "cycle.pool": 4,
    "scores.every": 4,
    "scores.images": 50,
    "precision": "fp32",
    "device": "cpu",
}


def sets(keys: dict[str, Any]) -> list[str]:
    return [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]


def roads(count: int, snow: bool, seed: int) -> list[np.ndarray[Any, Any]]:
    """16x16: ground, dark green or white, and across it a grey road somewhere."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        image = random.normal((235, 235, 240) if snow else (40, 90, 40), 12, (16, 16, 3))
        at = random.integers(2, 11)
        image[:, at : at + 3] = random.normal(130, 8, (16, 3, 3))
        found.append(image.clip(0, 255).astype(np.uint8))
    return found


def files(seed: int = 0, **counts: int) -> dict[str, object]:
    return {
        f"{pile}/{at}.png": encoded(image)
        for number, (pile, count) in enumerate(counts.items())
        for at, image in enumerate(roads(count, pile.endswith("B"), seed + number))
    }


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("data") / "roads", files(trainA=40, trainB=36, testA=24, testB=28))


@pytest.fixture(scope="module")
def quick(data: Path, tmp_path_factory: pytest.TempPathFactory, quick_scores: None) -> Path:
    """A finished run, scored on the way."""
    return api.train("cyclegan-seasons", data=data, out=tmp_path_factory.mktemp("runs"), overrides=QUICK).place


def test_a_run_that_is_resumed_ends_with_the_same_bits(data: Path, quick: Path, tmp_path: Path) -> None:
    cut = api.train("cyclegan-seasons", data=data, out=tmp_path, overrides=QUICK, minutes=1e-9)  # one step, and saved
    assert cut.state.step == 1
    again = api.resume(cut.place)
    assert again.state.step == 8
    files = [read_json(newest(folder / "checkpoints") / "manifest.json")["sha256"] for folder in (quick, again.place)]
    for name in ("generator.safetensors", "state.safetensors"):
        assert files[0][name] == files[1][name]
    pools = {name for name in tensors_of(again.state) if name.startswith("critic/fake")}
    assert pools == {f"critic/fake_{pile}.{what}" for pile in "ab" for what in ("pictures", "fresh")}
    assert all(again.state.players.critic.get_buffer(name.removeprefix("critic/")).any() for name in pools)
    ticks = [
        [{key: value for key, value in tick.items() if key != "seconds"} for tick in read_lines(folder / "stats.jsonl")]
        for folder in (quick, again.place)
    ]
    assert ticks[0] == ticks[1]
    # and another pool is another training
    other = api.train(
        "cyclegan-seasons", data=data, out=tmp_path, overrides=QUICK | {"cycle.pool": 0, "scores.every": 0}
    )
    assert not same(
        *({k: v for k, v in tensors_of(r.state).items() if k.startswith("generator/")} for r in (again, other))
    )


def test_training_changes_the_season_and_finds_back(data: Path, tmp_path: Path) -> None:
    keys = QUICK | {"steps": 120, "tick": 120, "scores.every": 0, "optimizer.lr": 0.002, "average.half_life": 0}
    keys |= {"cycle.weight": 3.0, "cycle.identity": 0.0}
    gan = api.train("cyclegan-seasons", data=data, out=tmp_path, overrides=keys | {"generator.width": 8}).gan
    assert isinstance(gan, Translator)
    for to, snow in (("B", True), ("A", False)):
        mine = roads(12, not snow, 99)
        made = [gan.translate(torch.from_numpy(image).permute(2, 0, 1) / 127.5 - 1, to=to) for image in mine]
        for image, one in zip(mine, made, strict=True):
            grey = image.mean(2)
            road = np.abs(grey - 130).mean(0) < 40
            ground = one.mean(0)[:, torch.from_numpy(~road)].mean()
            assert (ground > 0.5) if snow else (ground < -0.3)
        assert gan.cycle_error(52) < 25


def test_scores(quick: Path, call: Call) -> None:
    code, out, _ = call("score", str(quick), "--json")
    scores = json.loads(out)
    assert code == 0
    assert scores["scores"].keys() == {f"{kind}52@classifier" for kind in KINDS} | {"cycle_error52"}
    assert (
        scores["baselines"]["unchanged"].keys() == scores["floor"].keys() == scores["scores"].keys() - {"cycle_error52"}
    )
    assert scores["baselines"]["unchanged"]["accuracy52@classifier"] < 0.05
    assert scores["floor"]["accuracy52@classifier"] > 0.95
    assert scores["scores"]["cycle_error52"] > 5
    assert scores["classes"].keys() == {"A", "B"}
    names = {line["name"] for line in read_lines(quick / "scores.jsonl")}
    assert {"fid50@classifier", "fid52@classifier", "cycle_error52"} <= names
    assert read_json(quick / "checkpoints" / "best.json")["name"] == "fid50@classifier"
    (evidence, *_) = read_lines(quick / "evidence.jsonl")
    assert evidence["class_accuracy"].keys() == {"A", "B"}
    assert evidence["gradient"] > 0
    code, out, _ = call("score", str(quick))
    assert code == 0
    assert "what comes back of it" in out
    assert "one class" not in out


def test_the_plan(data: Path, call: Call) -> None:
    code, out, _ = call("train", "cyclegan-seasons", "--data", str(data), "--dry-run", *sets(QUICK))
    assert code == 0
    prepared = api.prepare("cyclegan-seasons", data, QUICK)
    one = sum(weight.numel() for weight in prepared.state.players.generator.get_submodule("to_b").parameters())
    assert "76 images 3x16x16" in out
    assert "given      domains: A, B, 3x" in out
    assert f"generator  resnet, {2 * one:,} weights, in both directions together" in out
    cycle = prepared.game.cycle
    assert cycle is not None
    rules = f"least-squares x 2 + cycle x {cycle.weight:g} + identity x {cycle.identity:g} + 4 past fakes"
    assert f"{rules}, condition given" in out


def test_pictures_of_a_person_in_both_directions(quick: Path, tmp_path: Path) -> None:
    pictures = {"wide.png": noise(20, 50, 3), "odd/grey.jpg": noise(33, 17)}
    mine = write(tmp_path / "mine", {name: encoded(image) for name, image in pictures.items()})
    made = {}
    for to in "AB":
        done = run("sample", str(quick), "--from", str(mine), "--to", to, "--out", str(tmp_path / to))
        assert (done.returncode, done.stdout) == (0, f"{tmp_path / to}\n")
        for name, image in pictures.items():
            with Image.open((tmp_path / to / name).with_suffix(".png")) as opened:
                assert opened.size == (image.shape[1], image.shape[0])
                made[to, name] = np.asarray(opened.convert("RGB"))
    assert (made["A", "wide.png"] != made["B", "wide.png"]).any()
    gan = zs.load(quick)
    assert isinstance(gan, Translator)
    direct = gan.translate(torch.from_numpy(pictures["wide.png"]).permute(2, 0, 1) / 127.5 - 1, to="B")
    assert np.abs((direct.permute(1, 2, 0).numpy() + 1) * 127.5 - made["B", "wide.png"]).max() < 0.51


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "MINE"], "this generator has two directions: --to A or --to B"),
        (["--from", "MINE", "--to", "C"], "unknown domain 'C': choose from A, B"),
        (["--to", "B"], "--to B: show the generator pictures, with --from FOLDER"),
        ([], "this generator starts from pictures: give it some with --from FOLDER"),
    ],
)
def test_what_sample_needs(quick: Path, data: Path, call: Call, arguments: list[str], message: str) -> None:
    mine = str(data / "testA")
    code, _, err = call("sample", str(quick), *(mine if word == "MINE" else word for word in arguments))
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_a_generator_of_one_direction_takes_no_pile(data: Path, tmp_path: Path, call: Call) -> None:
    keys = QUICK | {"steps": 1, "scores.every": 0, "data.factor": 2, "batch": 2, "critic.layers": 1}
    keys = {key: value for key, value in keys.items() if not key.startswith("cycle")}
    folder = api.train("superres-faces", data=data / "trainA", out=tmp_path, overrides=keys).place
    code, _, err = call("sample", str(folder), "--from", str(data / "testA"), "--to", "B")
    assert code == 2
    assert "--to B: this generator has one direction only: leave it out" in err


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"cycle": None}, "data.input = domains without a part cycle"),
        ({"data.input": "edges"}, "data.input = edges with a part cycle"),
        ({"critic.steps": 2}, "critic.steps = 2: a cycle has one step of the critics"),
        ({"penalties.r1.weight": 1.0}, "penalties: the critics of a cycle pay none"),
        ({"cycle.pool": -1}, "cycle.pool = -1"),
        ({"cycle.wieght": 5.0}, "unknown key 'cycle.wieght'"),
        ({"generator.network": "srresnet"}, "srresnet makes pictures larger"),
        ({"generator.network": "dcgan"}, "generator.network = dcgan is not for picture data"),
        ({"latent.size": 4}, "latent.size = 4: generator.network = resnet draws nothing"),
        ({"batch": 90}, "fewer than one batch"),
    ],
)
def test_wrong_recipes(data: Path, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(zs.ZerosumError, match=message.replace(".", r"\.")) as error:
        api.prepare("cyclegan-seasons", data, QUICK | keys)
    assert "\n" not in str(error.value)


def test_divergence_and_reports(data: Path, tmp_path: Path, quick: Path, call: Call) -> None:
    keys = QUICK | {"optimizer.lr": 1e20, "scores.every": 0, "steps": 30}
    code, _, err = call(
        "train", "cyclegan-seasons", "--data", str(data), "--out", str(tmp_path), *sets(keys | {"optimizer.fade": 1.0})
    )
    assert code == 3
    assert "training diverged" in err
    code, out, _ = call("report", str(quick))
    assert code == 0
    page = Path(out.strip()).read_text()
    assert "cyclegan-seasons" in page
    assert "as the averaged generators make ones of the other domain" in page
    assert "the true images" not in page


def test_other_recipes_have_no_cycle() -> None:
    assert tiny_recipe().cycle is None
    assert Recipe.load("cyclegan-seasons").cycle is not None
