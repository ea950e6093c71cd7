"""Super-resolution and pix2pix from end to end, by the command line: what a person does with them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Call, beside_data, same
from tests.data.make import bomb, encoded, noise, write
from tests.test_cli import run
from zerosum import api
from zerosum.engine.runs.files import read_lines
from zerosum.engine.runs.reading import STATS
from zerosum.engine.runs.run import Run
from zerosum.engine.training.state import tensors_of
from zerosum.recipe import Recipe

#: small and quick, with everything in it that a run has: a lazy penalty, an average, a fade
QUICK = {
    "steps": 6,
    "batch": 4,
    "tick": 1,
    "checkpoint": 2,
    "snapshot": 100,
    "data.resolution": 16,
    "data.hold_out": 0.25,
    "critic.width": 4,
    "critic.layers": 1,
    "penalties.r1.every": 2,
    "scores.every": 3,
    "scores.images": 50,
    "precision": "fp32",
    "device": "cpu",
}
SYSTEMS: dict[str, dict[str, Any]] = {
    "superres-faces": {"generator.width": 4, "generator.blocks": 1},
    "pix2pix": {"generator.width": 4, "generator.levels": 3},
    "pairs": {"generator.width": 4, "generator.levels": 3, "data.input": "pair"},
}


def sets(**keys: Any) -> list[str]:
    return [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]


def faces(count: int, seed: int = 0) -> list[np.ndarray[Any, Any]]:
    """Discs in several colours, 16x16, under fine stripes that a smaller picture has lost."""
    random = np.random.default_rng(seed)
    down, across = np.mgrid[:16, :16]
    found = []
    for _ in range(count):
        middle, radius, colours = random.uniform(5, 11, 2), random.uniform(3, 6), random.integers(30, 226, (2, 3))
        inside = ((down - middle[0]) ** 2 + (across - middle[1]) ** 2 < radius**2)[..., None]
        image = np.where(inside, colours[0], colours[1]) + 25.0 * (-1) ** across[..., None]
        found.append(image.clip(0, 255).astype(np.uint8))
    return found


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    pictures = faces(80)
    write(root / "plain", {f"{at}.png": encoded(image) for at, image in enumerate(pictures)})
    write(root / "pairs", {f"A/{at}.png": encoded(255 - image) for at, image in enumerate(pictures)})
    write(root / "pairs", {f"B/{at}.png": encoded(image) for at, image in enumerate(pictures)})
    return root


def recipe_for(name: str, data: Path) -> tuple[str, Path, dict[str, Any]]:
    place = data / ("pairs" if name == "pairs" else "plain")
    return "pix2pix" if name == "pairs" else name, place, QUICK | SYSTEMS[name]


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """A finished run of each."""
    out, found = tmp_path_factory.mktemp("runs"), {}
    for name in SYSTEMS:
        recipe, place, keys = recipe_for(name, data)
        found[name] = api.train(recipe, data=place, out=out, overrides=keys)
    return found


@pytest.fixture(scope="module")
def runs(trained: dict[str, Run]) -> dict[str, Path]:
    return {name: run.place for name, run in trained.items()}


@pytest.mark.parametrize("name", list(SYSTEMS))
def test_a_run_that_is_resumed_ends_with_the_same_bits(
    name: str, data: Path, trained: dict[str, Run], tmp_path: Path
) -> None:
    recipe, place, keys = recipe_for(name, data)
    cut = api.train(recipe, data=place, out=tmp_path, overrides=keys, minutes=1e-9)  # one step, and saved
    assert cut.state.step == 1
    again, whole = api.resume(cut.place), trained[name]
    assert again.state.step == whole.state.step == 6
    assert same(tensors_of(again.state), tensors_of(whole.state))
    ticks = [
        [{key: value for key, value in tick.items() if key != "seconds"} for tick in read_lines(run.place / STATS)]
        for run in (whole, again)
    ]
    assert ticks[0] == ticks[1]
    assert {"generator/content", "critic/loss", "critic/r1"} <= ticks[0][4].keys()


def test_training_comes_nearer_than_the_cubic_enlargement(data: Path, tmp_path: Path, call: Call) -> None:
    keys = QUICK | SYSTEMS["superres-faces"] | {"steps": 160, "batch": 8, "adversarial": 0, "optimizer.lr": 0.002}
    keys |= {"tick": 160, "scores.every": 0, "average.half_life": 0, "generator.width": 8, "data.factor": 2}
    found = api.train("superres-faces", data=data / "plain", out=tmp_path, overrides=keys)
    scores = json.loads(call("score", str(found.place), "--json")[1])
    assert scores["scores"]["psnr20"] > scores["baselines"]["cubic"]["psnr20"] + 0.5
    assert scores["scores"]["ssim20"] > scores["baselines"]["cubic"]["ssim20"]


def test_score(runs: dict[str, Path], call: Call) -> None:
    code, out, _ = call("score", str(runs["superres-faces"]), "--json")
    scores = json.loads(out)
    assert code == 0
    assert scores["scores"].keys() >= {"psnr20", "ssim20", "fid20@texture", "kid20@texture"}
    assert scores["baselines"]["cubic"].keys() == scores["scores"].keys()
    assert "fid20@texture" in scores["floor"]
    lines = read_lines(runs["superres-faces"] / "scores.jsonl")
    assert any(
        line.get("baselines", {}).get("cubic") == pytest.approx(scores["baselines"]["cubic"]["psnr20"])
        for line in lines
        if line["name"] == "psnr20"
    )
    code, out, _ = call("score", str(runs["superres-faces"]))
    assert code == 0
    assert out.splitlines()[0].split()[:5] == ["score", "value", "cubic", "real", "samples"]
    assert "baselines" not in json.loads(call("score", str(runs["pix2pix"]), "--json")[1])
    assert json.loads(call("score", str(runs["pairs"]), "--json")[1])["baselines"].keys() == {"given"}
    assert (
        "against = train: what is made from something given"
        in call("score", str(runs["pairs"]), "--against", "train")[2]
    )
    assert (
        "images made from pictures have no labels" in call("score", str(runs["pix2pix"]), "--features", "classifier")[2]
    )


def test_the_plan_says_what_is_given(data: Path, call: Call) -> None:
    for name, words in (
        ("superres-faces", ("given      shrunk, 3x4x4", "held out   20", "non-saturating x 0.02 + l1 x 1")),
        ("pix2pix", ("given      edges, 1x16x16", "held out   20", "non-saturating + l1 x 20")),
        ("pairs", ("given      pair, 3x16x16", "data       60 images 3x16x16")),
    ):
        recipe, place, keys = recipe_for(name, data)
        code, out, _ = call("train", recipe, "--data", str(place), "--dry-run", *sets(**keys))
        assert code == 0
        assert all(word in out for word in words), out
        assert "labels" not in out
    keys = QUICK | SYSTEMS["superres-faces"] | {"adversarial": 0}
    out = call("train", "superres-faces", "--data", str(data / "plain"), "--dry-run", *sets(**keys))[1]
    assert "critic     none: adversarial = 0" in out
    assert "game       l1 x 1, condition given" in out


def test_the_report_shows_given_made_and_true(runs: dict[str, Path], call: Call) -> None:
    call("score", str(runs["superres-faces"]))
    code, out, _ = call("report", str(runs["superres-faces"]))
    page = Path(out.strip()).read_text()
    assert code == 0
    assert "what is given, what the averaged generator makes of it, and the true images" in page
    assert ">cubic</th>" in page
    assert "Between latents" not in page
    assert "cannot be" not in page


def test_sharpening_a_persons_own_pictures(runs: dict[str, Path], tmp_path: Path) -> None:
    """Colour, grey, alpha and palette, of odd sizes; what is broken is named, and the others are made."""
    mine = write(
        tmp_path / "mine",
        {
            "a/colour.jpg": encoded(noise(61, 101, 3), "JPEG"),
            "grey.png": encoded(noise(61, 101)),
            "alpha.png": encoded(noise(61, 101, 4)),
            "colour.png": encoded(noise(5, 7, 3)),
            "colour.jpg": encoded(noise(7, 5, 3), "JPEG"),
            "broken.png": encoded(noise(61, 101))[:200],
            "bomb.png": bomb(),
            "notes.txt": "no picture",
        },
    )
    done = run("sample", str(runs["superres-faces"]), "--from", str(mine), "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'out'}\n"
    made = {path.relative_to(tmp_path / "out").as_posix(): path for path in (tmp_path / "out").rglob("*.png")}
    assert {name: size_of(path) for name, path in made.items()} == {
        "a/colour.png": (404, 244),
        "grey.png": (404, 244),
        "alpha.png": (404, 244),
        "colour.png": (20, 28),  # of colour.jpg, the first of that name
        "colour.png.png": (28, 20),
    }
    assert "2 of 7 pictures cannot be used" in done.stderr
    assert "broken.png" in done.stderr
    assert "bomb.png" in done.stderr


def test_translating_pictures_of_any_size(runs: dict[str, Path], tmp_path: Path, call: Call) -> None:
    mine = write(
        tmp_path / "mine", {f"{n}.png": encoded(noise(61, 101, *c)) for n, c in (("c", (3,)), ("g", ()), ("a", (4,)))}
    )
    for name in ("pix2pix", "pairs"):
        code, _, _ = call("sample", str(runs[name]), "--from", str(mine), "--out", str(tmp_path / name))
        assert code == 0
        assert {p.name: size_of(p) for p in (tmp_path / name).iterdir()} == {
            f"{letter}.png": (101, 61) for letter in "cga"
        }
    code, out, _ = call("sample", str(runs["pairs"]), "--from", str(mine / "c.png"))
    assert code == 0
    assert Path(out.strip()) == runs["pairs"] / "translated"
    assert sorted(path.name for path in (runs["pairs"] / "translated").iterdir()) == ["c.png"]


def test_a_model_of_pictures_needs_pictures(runs: dict[str, Path], tmp_path: Path, call: Call) -> None:
    code, out, err = call("sample", str(runs["superres-faces"]))
    assert (code, out) == (2, "")
    assert err.strip().endswith("this generator starts from pictures: give it some with --from FOLDER")
    for place, message in (
        (tmp_path / "nowhere", "no such file or folder of pictures"),
        (write(tmp_path / "empty", {"a.txt": "x"}), "no pictures"),
        (write(tmp_path / "bad", {"a.png": b"x", "b.png": b"y"}), "none of its 2 pictures can be used: a.png (not a"),
    ):
        code, out, err = call("sample", str(runs["pix2pix"]), "--from", str(place))
        assert (code, out) == (2, "")
        assert message in err
        assert err.count("\n") == 1


def test_a_model_of_labels_starts_from_no_picture(tmp_path: Path, call: Call, plot_nothing: object) -> None:
    keys = sets(steps=1, batch=4, **{"generator.width": 4, "critic.width": 4, "scores.every": 0})
    code, out, _ = call("train", "digits", "--out", str(tmp_path), *keys)
    assert code == 0
    code, out, err = call(
        "sample", out.strip(), "--from", str(write(tmp_path / "mine", {"a.png": encoded(noise(8, 8))}))
    )
    assert (code, out) == (2, "")
    assert (
        err.strip()
        == "zerosum: --from: this generator starts from nothing given: sample it without --from, --to and --action"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.input": "none"}, "condition.method = given with data.input = none"),
        ({"data.factor": 3}, "data.factor = 3: should be 2, 4 or 8"),
        ({"data.resolution": 18}, "data.factor = 4: a resolution of 18 does not shrink by it"),
        ({"data.hold_out": 1.0}, "data.hold_out = 1.0: should be less than 1"),
        ({"content.measure": "l3"}, "unknown content.measure 'l3'"),
        ({"generator": "{network: unet}"}, "unet keeps a picture's size"),
        ({"content.weight": 0, "adversarial": 0}, "adversarial = 0 without content.weight"),
        ({"data.given": "C"}, "data.given = 'C': should be 'A' or 'B'"),
    ],
)
def test_wrong_recipes(data: Path, call: Call, changes: dict[str, Any], message: str) -> None:
    keys = QUICK | changes
    code, out, err = call("train", "superres-faces", "--data", str(data / "plain"), *sets(**keys))
    assert (code, out) == (2, "")
    assert message in err
    assert len(beside_data(err)) == 1


def test_every_recipe_of_pictures_holds_some_out() -> None:
    assert all(Recipe.load(name).data.hold_out > 0 for name in ("superres-faces", "pix2pix"))
