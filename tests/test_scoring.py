"""Scores through the front doors: runs and piles of images, from Python and by `zerosum score`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import zerosum as zs
from tests.conftest import Call, OwnGenerator, beside_data, tiny_recipe, tiny_source
from tests.data.make import encoded, write, write_zip
from zerosum.data.pictures.arrays import read_digits
from zerosum.data.pictures.drawing import to_pixels
from zerosum.data.pictures.fit import Pixels
from zerosum.data.pictures.forms import Form, reformed
from zerosum.data.pictures.source import PictureSource, make_source
from zerosum.engine.runs.files import read_lines
from zerosum.metrics.evaluate import differences
from zerosum.metrics.features import Reals
from zerosum.metrics.pictures import classifier as classifiers
from zerosum.scoring import as_json, as_table, shown

NAMES = ("cat", "dog", "owl")
TRAINING, TESTING = tiny_source(count=150), tiny_source(count=90, seed=1)
FAKES = tiny_source(count=80, seed=2)


pytestmark = pytest.mark.usefixtures("quick_scores")


def pictures(source: PictureSource, prefix: str = "", names: tuple[str, ...] = NAMES) -> dict[str, object]:
    """Its images as files in a folder for each class."""
    assert source.labels is not None
    labels = source.labels[:, 0].tolist()
    return {
        f"{prefix}{names[label]}/{number:03d}.png": encoded(image[0])
        for number, (image, label) in enumerate(zip(source.images, labels, strict=True))
    }


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training and test images of three classes, 8x8."""
    return write(tmp_path_factory.mktemp("data"), pictures(TRAINING, "train/") | pictures(TESTING, "test/"))


def train(out: Path, uri: object, **overrides: Any) -> zs.Run:
    keys = {"condition.method": "embed", "scores.every": 3, "scores.images": 50, "scores.features": "random"}
    return zs.train(tiny_recipe(keys | {"data.uri": str(uri)} | overrides), out=out)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, data: Path) -> zs.Run:
    """Six steps, with checkpoints at 3 and 6."""
    return train(tmp_path_factory.mktemp("runs"), data, name="first")


@pytest.fixture(scope="module")
def second(run: zs.Run, data: Path) -> zs.Run:
    """More of the same, and better at it."""
    return train(run.place.parent, data, name="second", steps=60, checkpoint=30, **{"optimizer.lr": 0.005})


def refusal(action: Callable[[], object]) -> str:
    with pytest.raises(zs.ZerosumError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def fid(*arguments: Any, **keys: Any) -> float:
    return zs.score(*arguments, **keys).value("fid")


# runs


def test_a_run_and_its_folder(run: zs.Run, data: Path) -> None:
    by_object, by_folder = zs.score(run), zs.score(run.place)
    assert by_folder.scores == pytest.approx(by_object.scores, rel=1e-6)
    assert zs.score(str(run.place), data).scores == by_folder.scores
    assert by_folder.stamp == by_object.stamp
    # as many as there are training samples; the generator is asked for classes and the data teaches a classifier
    assert next(iter(by_folder.scores)) == "fid150@classifier"
    assert by_folder.stamp["real_split"] == "test"
    assert by_folder.stamp["real"] == Reals.of(zs.open_source(run.recipe.data, split="test")[0], "test").identity
    assert "accuracy150@classifier" in by_folder.scores
    assert list(by_folder.classes) == list(NAMES)
    assert by_folder.value("fid") > 3 * by_folder.floor["fid150@classifier"]


def test_how_many(run: zs.Run) -> None:
    scores = zs.score(run, n=60, features="random")
    assert next(iter(scores.scores)) == "fid60@random"
    assert zs.score(run, n=400, features="random").stamp["fake_images"] == 400


def test_against_training_images(run: zs.Run) -> None:
    stamp = zs.score(run, features="random", against="train").stamp
    assert (stamp["real_split"], stamp["real"]) == ("train", stamp["training"])


def test_images_for_scores_are_those_of_the_seeds(run: zs.Run) -> None:
    batches = list(run.gan.batches(40, size=7))
    assert [len(images) for images, _ in batches] == [7, 7, 7, 7, 7, 5]
    pixels = torch.cat([images for images, _ in batches])
    assert pixels.dtype == torch.uint8
    assert torch.equal(pixels, to_pixels(run.sample(40)).permute(0, 3, 1, 2))
    labels = run.gan.draw_labels(range(40), {})
    assert labels is not None
    assert torch.equal(torch.cat([one for _, one in batches if one is not None]), labels)


def test_pictures_of_a_run_get_its_scores(run: zs.Run, data: Path, tmp_path: Path, call: Call) -> None:
    assert call("sample", str(run.place), "--seeds", "0-79", "--out", str(tmp_path / "made"))[0] == 0
    for features in ("random", "classifier"):
        scores = zs.score(run, n=80, features=features)
        files = zs.score(tmp_path / "made", data, features=features)
        assert files.value("fid") == pytest.approx(scores.value("fid"), rel=1e-6)
        assert files.value("precision") == scores.value("precision")
        assert differences(files.stamp, scores.stamp) == []
    assert zs.compare({"run": scores, "files": files})


def test_checkpoints(run: zs.Run) -> None:
    best = json.loads((run.place / "checkpoints" / "best.json").read_text())["step"]
    assert best in (3, 6)
    values = {which: fid(run.place, n=60, features="random", checkpoint=which) for which in ("last", "best", 3, "6")}
    assert values["last"] == values["6"] != values[3]
    assert values["best"] == values[best if best == 3 else "6"]
    said = refusal(lambda: zs.score(run.place, checkpoint=5))
    assert "no checkpoint '5'" in said
    assert "choose last, best, or a step: 6, 3" in said


def test_scores_while_training_are_made_in_the_same_way(run: zs.Run) -> None:
    lines = [line for line in read_lines(run.place / "scores.jsonl") if line["step"] == 6]
    scores = zs.score(run.place, n=50, features="random")
    assert lines[0]["name"] == "fid50@random"
    assert lines[0]["value"] == pytest.approx(scores.value("fid"), rel=1e-6)
    assert lines[0]["floor"] == pytest.approx(scores.floor["fid50@random"], rel=1e-6)
    assert differences(lines[0]["stamp"], scores.stamp) == []


def test_a_run_on_enlarged_images_is_compared_with_the_originals(tmp_path: Path, data: Path, run: zs.Run) -> None:
    enlarged = train(tmp_path, data, **{"data.resolution": 12, "steps": 3})
    scores = zs.score(enlarged.place, n=50, features="random")
    assert enlarged.gan.spec.sample.sides == (12, 12)
    assert scores.stamp["side"] == 8
    assert differences(scores.stamp, zs.score(run, n=50, features="random").stamp) == []
    (line, *_) = read_lines(enlarged.place / "scores.jsonl")
    assert differences(line["stamp"], scores.stamp) == []


def test_a_run_without_labels(tmp_path: Path, data: Path) -> None:
    plain = train(tmp_path, data, **{"condition.method": "none"})
    scores = zs.score(plain.place, n=60)
    assert next(iter(scores.scores)) == "fid60@classifier"
    assert "worst_class_share60@classifier" in scores.scores
    assert not [name for name in scores.scores if name.startswith(("accuracy", "class_"))]
    assert [{*inside} for inside in scores.classes.values()] == [{"share"}] * 3


def test_a_run_with_a_source_of_its_own(tmp_path: Path) -> None:
    keys = {"condition.method": "embed"}
    given = zs.train(tiny_recipe(keys), source=TRAINING, out=tmp_path)
    scores = zs.score(given, n=60)
    assert scores.stamp["real_split"] == "half 2 of train"
    said = refusal(lambda: zs.score(given.place, n=60))
    assert "real=source, from Python" in said
    again = zs.score(given.place, TRAINING, n=60)
    assert again.scores == pytest.approx(scores.scores, rel=1e-6)
    assert again.stamp == scores.stamp
    assert "accuracy60@classifier" in again.scores


def test_a_run_with_a_generator_of_its_own(tmp_path: Path, data: Path) -> None:
    recipe = tiny_recipe({"data.uri": str(data), "steps": 2})
    own = zs.train(recipe, generator=OwnGenerator(), out=tmp_path)
    assert "your own OwnGenerator" in refusal(lambda: zs.score(own.place))
    scores = zs.score(own.place, n=50, features="random", generator=OwnGenerator())
    assert scores.value("fid") == pytest.approx(fid(own, n=50, features="random"), rel=1e-6)


def test_other_real_images_for_a_run(run: zs.Run, tmp_path: Path) -> None:
    np.save(tmp_path / "grey.npy", TESTING.images)
    by_file = zs.score(run.place, tmp_path / "grey.npy", n=60, features="random")
    by_array = zs.score(run.place, TESTING.images, n=60, features="random")
    assert by_file.scores == by_array.scores
    assert by_file.stamp["real_split"] == "half 2 of train"
    # labels whose names are not the generator's say nothing of it
    strange = zs.score(run.place, TESTING.images, real_labels=TESTING.labels, n=60)
    assert next(iter(strange.scores)) == "fid60@classifier"
    assert "accuracy60@classifier" not in strange.scores


# piles


@pytest.fixture(scope="module")
def expected() -> float:
    return fid(FAKES.images, TESTING.images, features="random")


def as_floats(images: Pixels) -> np.ndarray[Any, np.dtype[np.float32]]:
    return (images / 127.5 - 1).astype(np.float32)


FORMS: dict[str, Callable[[Pixels], Any]] = {
    "tensor": torch.from_numpy,
    "(N, H, W)": lambda images: images[:, 0],
    "(N, H, W, C)": lambda images: images.transpose(0, 2, 3, 1),
    "transposed twice": lambda images: images.transpose(0, 1, 3, 2).copy().transpose(0, 1, 3, 2),
    "floats in [-1, 1]": as_floats,
    "doubles in [-1, 1]": lambda images: images / 127.5 - 1,
    "floats in [0, 1]": lambda images: images / 255,
    "a tensor with a gradient": lambda images: torch.from_numpy(as_floats(images)).requires_grad_(),
    "integers": lambda images: images.astype(np.int32),
    "16 bits": lambda images: images.astype(np.uint16) * 257,
    "source": zs.make_source,
    "padded": lambda images: zs.make_source(np.pad(images, ((0, 0), (0, 0), (0, 1), (0, 1)), mode="edge"), native=8),
}


@pytest.mark.parametrize("form", FORMS)
def test_arrays_of_any_form(form: str, expected: float) -> None:
    assert fid(FORMS[form](FAKES.images), TESTING.images, features="random") == pytest.approx(expected, rel=1e-6)
    assert fid(FAKES.images, FORMS[form](TESTING.images), features="random") == pytest.approx(expected, rel=1e-6)


def test_the_order_of_a_pile_does_not_matter(expected: float) -> None:
    assert fid(FAKES.images[::-1], TESTING.images, features="random") == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kind", ["folder", "zip", "npy", "npz"])
def test_files_of_any_kind(kind: str, expected: float, tmp_path: Path) -> None:
    place = tmp_path / f"set.{kind}"
    files = {f"{number:03d}.png": encoded(image[0]) for number, image in enumerate(FAKES.images)}
    match kind:
        case "folder":
            write(place, files)
        case "zip":
            write_zip(place, files)
        case "npy":
            np.save(place, FAKES.images)
        case "npz":
            np.savez(place, images=FAKES.images)
    for path in (place, str(place)):
        assert fid(path, TESTING.images, features="random") == pytest.approx(expected, rel=1e-6)


def test_colour() -> None:
    real, fake = tiny_source(8, 3, 90, seed=1), tiny_source(8, 3, 60, seed=2)
    floats = torch.from_numpy(fake.images).float() / 127.5 - 1
    channels_last = fake.images.transpose(0, 2, 3, 1)
    for images in (floats, channels_last):
        scores = zs.score(images, real, fake_labels=fake.labels)
        assert scores.stamp["channels"] == 3
        assert scores.value("accuracy") == 1


def test_labels_of_arrays() -> None:
    def accuracy(labels: Any) -> float:
        return zs.score(FAKES.images, TESTING, fake_labels=labels).value("accuracy")

    assert FAKES.labels is not None
    labels = FAKES.labels[:, 0]
    for right in (labels, labels.tolist(), FAKES.labels, torch.from_numpy(labels), labels.astype(np.uint8)):
        assert accuracy(right) == 1
    assert accuracy((labels + 1) % 3) == 0
    assert "80 images but 79 labels" in refusal(lambda: accuracy(labels[1:]))
    as_arrays = zs.score(FAKES.images, TESTING.images, fake_labels=labels, real_labels=TESTING.labels)
    assert as_arrays.value("accuracy") == 1
    assert list(as_arrays.classes) == ["0", "1", "2"]


def test_classes_are_matched_by_name(data: Path, tmp_path: Path) -> None:
    """Without cats, dogs are class 0 of the generated samples and class 1 of the real ones."""
    assert FAKES.labels is not None
    chosen = FAKES.labels[:, 0] != 0
    fakes = make_source(FAKES.images[chosen], FAKES.labels[chosen])
    scores = zs.score(write(tmp_path / "few", pictures(fakes)), data)
    assert scores.value("accuracy") == 1
    assert list(scores.classes) == ["dog", "owl"]
    # a class that the data lacks says that the labels mean something else
    strange = zs.score(write(tmp_path / "strange", pictures(fakes, names=("cat", "dog", "elk"))), data)
    assert strange.value("fid") == pytest.approx(scores.value("fid"), rel=1e-6)
    assert "accuracy53@classifier" in scores.scores
    assert "accuracy53@classifier" not in strange.scores


def table(folder: Path, columns: tuple[str, str], source: PictureSource) -> Path:
    """Pictures with a metadata.csv of the two attributes of each class: owls are dark and round."""
    attributes = {"shade": ("dark", "grey", "bright"), "shape": ("round", "square", "square")}
    lines = [f"file_name,{columns[0]},{columns[1]}"]
    assert source.labels is not None
    for number, label in enumerate(source.labels[:, 0].tolist()):
        lines.append(f"{number:03d}.png,{attributes[columns[0]][label]},{attributes[columns[1]][label]}")
    files: dict[str, object] = {f"{number:03d}.png": encoded(image[0]) for number, image in enumerate(source.images)}
    return write(folder, files | {"metadata.csv": "\n".join(lines) + "\n"})


def test_attributes_are_matched_by_name(tmp_path: Path) -> None:
    real = table(tmp_path / "real", ("shade", "shape"), TRAINING)
    fake = table(tmp_path / "fake", ("shape", "shade"), FAKES)
    scores = zs.score(fake, real)
    assert scores.value("accuracy") == 1
    assert list(scores.classes) == ["bright square", "dark round", "grey square"]


# one form


def reduced(source: PictureSource, side: int) -> Pixels:
    images: Pixels = reformed(source, Form(source.spec.channels, side)).images
    return images


def test_larger_real_images_are_shrunk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    large = tiny_source(16, count=60, seed=16)
    np.save(tmp_path / "16.npy", large.images)
    write(tmp_path / "16", {f"{number:02d}.png": encoded(image[0]) for number, image in enumerate(large.images)})
    expected = zs.score(FAKES.images, reduced(large, 8))
    assert capsys.readouterr().err == ""
    for real in (tmp_path / "16.npy", tmp_path / "16", large.unlabelled()):
        scores = zs.score(FAKES.images, real)
        # the fingerprint of the real samples is that of what was compared: nothing more stands in the stamp
        assert (scores.scores, scores.stamp) == (expected.scores, expected.stamp)
        said = capsys.readouterr().err
        assert "generated images have 8 pixels, 1 channel, real ones 16 pixels, 1 channel: compared as 1x8x8" in said
        assert 'overrides={"data.resolution": 32}' in said


def test_larger_generated_images_are_shrunk_and_stamped(tmp_path: Path) -> None:
    large = tiny_source(16, count=60, seed=16)
    np.save(tmp_path / "16.npy", large.images)
    np.save(tmp_path / "8.npy", TESTING.images)
    small = zs.score(reduced(large, 8), TESTING.images)
    for fake, real in ((large.images, TESTING.images), (tmp_path / "16.npy", tmp_path / "8.npy")):
        scores = zs.score(fake, real)
        assert scores.scores == small.scores
        assert scores.stamp == small.stamp | {"form": "generated 16 pixels, 1 channel, brought to 1x8x8"}
    with pytest.raises(zs.ZerosumError, match=r"cannot be compared: form is .* and None"):
        zs.compare({"shrunk": scores, "small": small})


def unlike(folder: Path, sides: tuple[int, ...], seed: int) -> Path:
    """Sixty pictures of these sides in turns, a little wider than high."""
    random = np.random.default_rng(seed)
    sizes = [sides[number % len(sides)] for number in range(60)]
    return write(
        folder,
        {
            f"{number:02d}.png": encoded(random.integers(0, 255, (side, side + 3, 3), dtype=np.uint8))
            for number, side in enumerate(sizes)
        },
    )


def test_pictures_of_unlike_sizes(tmp_path: Path, call: Call) -> None:
    fake, real = unlike(tmp_path / "fake", (20, 23, 22), 0), unlike(tmp_path / "real", (26, 24), 1)
    command = ["score", "--fake", str(fake), "--real", str(real), "--json"]
    code, out, err = call(*command)
    assert code == 0, err
    assert parsed(out)["stamp"]["side"] == 20
    assert parsed(out)["stamp"]["form"] == "generated 20 to 23 pixels, 3 channels, brought to 3x20x20"
    assert "real ones 24 to 26 pixels, 3 channels: compared as 3x20x20, the smallest side among them" in err
    # what that line advises is an option of this command
    option, value = err.partition("another: ")[2].split()[:2]
    code, out, err = call(*command, option, value)
    assert code == 0, err
    assert (option, value, parsed(out)["stamp"]["side"]) == ("--set", "data.resolution=32", 32)
    assert zs.score(fake, real, overrides={"data.resolution": 32}).stamp == parsed(out)["stamp"]
    # the other way round, and in grey
    stamp = zs.score(real, fake, overrides={"data.channels": 1}).stamp
    assert (stamp["side"], stamp["channels"]) == (20, 1)


def as_files(images: Pixels, mode: str) -> dict[str, object]:
    return {f"{number:03d}.png": encoded(Image.fromarray(one[0]).convert(mode)) for number, one in enumerate(images)}


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_grey_pictures_in_disguise(mode: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """torchvision's save_image writes grey as colour, other programs add an alpha that hides nothing."""
    plain = zs.score(FAKES.images, TESTING.images, features="random")
    np.savez(tmp_path / "real.npz", images=TESTING.images)
    fake = write(tmp_path / "fake", as_files(FAKES.images, mode))
    for real in (tmp_path / "real.npz", TESTING.images):
        scores = zs.score(fake, real, features="random")
        assert scores.value("fid") == pytest.approx(plain.value("fid"), rel=1e-6)
        assert scores.stamp == plain.stamp
        assert "compared as 1x8x8, by which the generated images lose nothing" in capsys.readouterr().err
    back = zs.score(FAKES.images, write(tmp_path / "real", as_files(TESTING.images, mode)), features="random")
    assert back.value("fid") == pytest.approx(plain.value("fid"), rel=1e-6)
    assert back.stamp == plain.stamp
    # among their own kind they stay what they are
    alike = zs.score(fake, tmp_path / "real", features="random")
    assert alike.stamp["channels"] == len(mode.replace("LA", "RGBA"))
    assert "form" not in alike.stamp


def test_colour_beside_grey_is_compared_in_grey(capsys: pytest.CaptureFixture[str]) -> None:
    colourful = tiny_source(8, 3, 80, seed=2)
    scores = zs.score(colourful.images, TESTING.images, features="random")
    assert scores.stamp["form"] == "generated 8 pixels, 3 channels, brought to 1x8x8"
    assert capsys.readouterr().err.endswith("real ones 8 pixels, 1 channel: compared as 1x8x8\n")
    grey = reformed(colourful, Form(1, 8)).images
    assert scores.scores == zs.score(grey, TESTING.images, features="random").scores
    assert "form" not in zs.score(FAKES.images, colourful.images, features="random").stamp


def test_large_images_stay_large_for_networks_that_shrink_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zerosum.metrics.pictures.piles.LARGEST", 10)
    fakes, reals = tiny_source(12, count=40), tiny_source(12, count=40, seed=1)
    bounded = zs.score(fakes.images, reals.images, features="random")
    assert bounded.stamp["side"] == 10
    assert bounded.stamp["form"] == "generated 12 pixels, 1 channel, brought to 1x10x10"
    for scores in (
        zs.score(fakes.images, reals.images, features="torch.nn:Flatten"),
        zs.score(fakes.images, reals.images, features="random", overrides={"data.resolution": 12}),
    ):
        assert scores.stamp["side"] == 12
        assert "form" not in scores.stamp


def test_pictures_larger_than_what_networks_learn_from(tmp_path: Path) -> None:
    for name, seed in (("fake", 0), ("real", 1)):
        images = np.random.default_rng(seed).integers(0, 255, (4, 300, 300), dtype=np.uint8)
        write(tmp_path / name, {f"{number}.png": encoded(image) for number, image in enumerate(images)})
    network = nn.Sequential(nn.AvgPool2d(100), nn.Flatten())
    assert zs.score(tmp_path / "fake", tmp_path / "real", features=network).stamp["side"] == 300
    asked = zs.score(tmp_path / "fake", tmp_path / "real", features=network, overrides={"data.resolution": 280})
    assert asked.stamp["side"] == 280


def test_a_run_in_another_form(run: zs.Run, data: Path, tmp_path: Path, call: Call) -> None:
    code, out, err = call(
        *("score", str(run.place), "--n", "60", "--features", "random", "--json"),
        *("--set", "data.resolution=12", "--set", "data.channels=3"),
    )
    assert code == 0, err
    stamp = parsed(out)["stamp"]
    assert (stamp["side"], stamp["channels"]) == (12, 3)
    assert stamp["form"] == "generated 8 pixels, 1 channel, brought to 3x12x12"
    # beside smaller real samples, and beside larger ones
    for side, expected in ((4, 4), (16, 8)):
        real = tiny_source(side, count=60, seed=side)
        scores = zs.score(run.place, real, n=60, features="random")
        assert (scores.stamp["side"], "form" in scores.stamp) == (expected, expected != 8)
    # other keys change no form, and so no stamp
    usual = zs.score(run.place, n=60, features="random")
    assert zs.score(run.place, n=60, features="random", overrides={"data.bad_share": 0.5}).stamp == usual.stamp


def test_statistics_of_images_in_another_form(tmp_path: Path) -> None:
    path = tmp_path / "real.npz"
    zs.score(FAKES.images, TESTING.images, features="random", statistics=path)
    large = tiny_source(16, count=60, seed=16)
    scores = zs.score(large.images, path, features="random", overrides={"data.resolution": 8})
    assert scores.scores == zs.score(reduced(large, 8), path, features="random").scores
    assert "form" in scores.stamp


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"resolution": 8}, "did you mean 'data.resolution'?"),
        ({"data.resolutoin": 8}, "did you mean 'data.resolution'"),
        ({"steps": 8}, "says nothing of how images are read"),
        ({"data.mirror": True}, "says nothing of how images are read"),
        ({"data.resolution": 7}, "from 8 to 4096"),
        ({"data.resolution": 5000}, "from 8 to 4096"),
        ({"data.resolution": "large"}, "from 8 to 4096"),
        ({"data.resolution": True}, "from 8 to 4096"),
        ({"data.channels": 2}, "data.channels = 2"),
        ({"data.bad_share": 2}, "data.bad_share = 2"),
    ],
)
def test_overrides_that_say_nothing_of_images(overrides: dict[str, Any], message: str) -> None:
    assert message in refusal(lambda: zs.score(FAKES.images, TESTING.images, overrides=overrides))


def test_how_many_may_be_damaged(tmp_path: Path) -> None:
    fake = write(tmp_path / "fake", as_files(FAKES.images[:8], "L") | {"bad.png": b"\x89PNG"})
    assert "more than data.bad_share" in refusal(lambda: zs.score(fake, TESTING.images))
    assert zs.score(fake, TESTING.images, overrides={"data.bad_share": 0.2}).stamp["fake_images"] == 8


# few images


@pytest.mark.parametrize(("fakes", "reals"), [(1, 60), (60, 1), (60, 2), (1, 1)])
def test_one_image_is_one_clear_line(fakes: int, reals: int) -> None:
    said = refusal(lambda: zs.score(FAKES.images[:fakes], TESTING.images[:reals], features="random"))
    assert "too few" in said
    assert ("1 image is" in said) != ("1 real sample" in said)


@pytest.mark.parametrize(("fakes", "reals"), [(5, 10), (10, 5), (60, 3), (2, 4), (60, 60)])
def test_few_images_are_said_in_the_table(fakes: int, reals: int) -> None:
    scores = zs.score(FAKES.images[:fakes], TESTING.images[:reals], features="random")
    text = as_table({"few": scores})
    assert f"note: few images ({fakes} generated, {-(-reals // 2)} real): fid is biased upwards" in text
    assert parsed(as_json({"few": scores}))["notes"] == list(scores.notes)
    dashes = {
        row[0].rstrip("0123456789")
        for row in map(str.split, text.replace("@random", "").splitlines())
        if row[1:2] == ["-"]
    }
    assert dashes == (
        set()
        if reals == 60
        else {"precision", "recall", "density", "coverage"} | ({"memorised"} if reals < 3 else set())
    )


def test_the_table_says_what_its_errors_are() -> None:
    scores = {"kid2k@x": 4.5, "inception_score2k@x": 3.0, "diversity2k@x": 0.5, "recall2k@x": 0.5, "fid2k@x": 1.0}
    text = as_table({"one": zs.Scores(scores, {"kid2k@x": 0.1, "inception_score2k@x": 0.2}, {}, {}, {})})
    ends = {row.split()[0].partition("2k")[0]: row for row in text.splitlines()[1:6]}
    assert ends["kid"].endswith("unbiased; \u00b1 jackknife standard error (less is better)")
    assert ends["inception_score"].endswith("\u00b1 standard deviation over 10 splits (more is better)")
    assert ends["diversity"].endswith("(best near 1)")
    assert ends["recall"].endswith("(more is better)")
    without = as_table({"one": zs.Scores({"kid2k@x": 4.5}, {}, {}, {}, {})})
    assert "\u00b1" not in without


def test_how_many_of_a_pile() -> None:
    stamp = zs.score(FAKES.images, TESTING.images, n=50, features="random").stamp
    assert stamp["fake_images"] == 50
    said = refusal(lambda: zs.score(FAKES.images, TESTING.images, n=81))
    assert "81 images were to be scored, but there are only 80" in said
    assert "too few to score" in refusal(lambda: zs.score(FAKES.images, TESTING.images, n=1))


@pytest.mark.parametrize(
    ("fake", "message"),
    [
        (np.zeros((4, 8, 9), np.uint8), r"(4, 1, 8, 9)"),
        (np.zeros((4, 2, 8, 8), np.uint8), "(4, 2, 8, 8)"),
        (np.zeros((0, 1, 8, 8), np.uint8), "no pixels"),
        (np.full((4, 8, 8), np.nan), "NaN"),
        (np.full((4, 8, 8), 300.5), "300"),
        (np.zeros((4, 8, 8), complex), "complex"),
        ("no/such/place", "no/such/place"),
    ],
)
def test_what_is_no_pile_of_images(fake: Any, message: str) -> None:
    assert message in refusal(lambda: zs.score(fake, TESTING.images))


def test_images_need_real_ones() -> None:
    assert "need real ones to be compared with" in refusal(lambda: zs.score(FAKES.images))


def test_own_networks() -> None:
    scores = zs.score(FAKES.images, TESTING.images, features=nn.Sequential(nn.Flatten(), nn.AvgPool1d(8)))
    assert next(iter(scores.scores)) == "fid80@Sequential"
    by_path = zs.score(FAKES.images, TESTING.images, features="torch.nn:Flatten")
    assert by_path.stamp["network"] == "Flatten"


def test_statistics_stand_for_real_images(tmp_path: Path) -> None:
    path = tmp_path / "real.npz"
    scores = zs.score(FAKES.images, TESTING.images, features="random", statistics=path)
    again = zs.score(FAKES.images, path, features="random")
    assert again.scores == {"fid80@random": pytest.approx(scores.value("fid"), rel=1e-9)}
    said = refusal(lambda: zs.score(FAKES.images, path))
    assert "belongs to the network that made it" in said
    assert "made by another network" in refusal(lambda: zs.score(FAKES.images, path, features="torch.nn:Flatten"))


def test_statistics_for_a_run(run: zs.Run, tmp_path: Path) -> None:
    path = tmp_path / "real.npz"
    scores = zs.score(run, n=60, features="random", statistics=path)
    again = zs.score(run.place, path, n=60, features="random")
    assert again.scores == {"fid60@random": pytest.approx(scores.value("fid"), rel=1e-6)}


def test_a_collapsed_generator_ranks_last() -> None:
    """One perfect image of each class, again and again, is read better than any real sample."""
    (images, labels), (held_out, wanted) = read_digits("train"), read_digits("test")
    real = zs.make_source(images[:, None], labels)
    noise = np.random.default_rng(0).normal(0, 25, held_out.shape)
    piles = {
        "collapsed": np.stack([images[labels == label][0] for label in wanted]),
        "noisy": np.clip(held_out + noise, 0, 255).astype(np.uint8),
        "real": held_out,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifiers, "STEPS", 150)
        scores = {name: zs.score(pile, real, fake_labels=wanted) for name, pile in piles.items()}
    assert zs.compare(scores) == ["real", "noisy", "collapsed"]
    accuracies = {name: score.value("accuracy") for name, score in scores.items()}
    assert accuracies["collapsed"] == 1 > max(accuracies["noisy"], accuracies["real"])
    worst = {name: score.value("worst_class_diversity") for name, score in scores.items()}
    assert worst["collapsed"] < 1e-6
    assert min(worst["noisy"], worst["real"]) > 0.7
    # spread over all classes hides it; images that repeat are no longer what real ones would find near them
    assert scores["collapsed"].value("diversity") > 0.9
    assert scores["collapsed"].value("recall") < 0.1 < scores["noisy"].value("recall")
    assert scores["collapsed"].value("memorised") == 1
    # and real samples get what the floor says
    floor = scores["real"].floor["fid299@classifier"]
    assert 0.7 * floor < scores["real"].value("fid") < 1.4 * floor < 0.2 * scores["collapsed"].value("fid")


# what is shown


def made(value: float, **stamp: Any) -> zs.Scores:
    scores, floor = {"fid2k@x": value, "accuracy2k@x": 0.5}, {"fid2k@x": 0.25}
    return zs.Scores(scores, {"fid2k@x": 0.1}, floor, {"cat": {"fid": 3.0}, "dog": {}}, {"real": "abc"} | stamp)


def test_numbers_as_shown() -> None:
    assert [shown(value) for value in (4.23456, 0.99234, 123.456, 0.0, -0.5, None, float("nan"))] == [
        *("4.23", "0.992", "123", "0", "-0.5", "-", "-")
    ]
    assert shown(4.23456, 0.1) == "4.23 ± 0.1"


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_one_pile_as_a_table() -> None:
    text = as_table({"runs/00000-one": made(4.5)})
    first, second, third, *_ = rows(text)
    assert first == ["score", "value", "real", "samples", "what", "it", "says"]
    assert second[:5] == ["fid2k@x", "4.5", "±", "0.1", "0.25"]
    assert second[-6:] == ["apart;", "±", "error", "(less", "is", "better)"]
    assert third[:3] == ["accuracy2k@x", "0.5", "-"]
    assert third[-3:] == ["(more", "is", "better)"]
    for row in (["class", "fid"], ["cat", "3"], ["dog", "-"], ["stamp:", "real", "abc"]):
        assert row in rows(text)
    assert max(map(len, text.splitlines())) <= 160


def test_several_piles_as_a_table() -> None:
    text = as_table({"runs/worse": made(9), "runs/better": made(4)})
    first, second, *_ = rows(text)
    assert first == ["score", "better", "worse", "real", "samples"]
    assert second == ["fid2k@x", "4", "±", "0.1", "9", "±", "0.1", "0.25"]
    assert "cat" not in text
    with pytest.raises(zs.ZerosumError, match="a and b cannot be compared: real is abc and xyz"):
        as_table({"a": made(1), "b": made(2, real="xyz")})


def no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def parsed(text: str) -> Any:
    return json.loads(text, parse_constant=no_constant)


def test_nothing_but_numbers_in_json() -> None:
    alone = parsed(as_json({"one": made(float("nan"))}))
    assert set(alone) == {"scores", "errors", "floor", "classes", "stamp", "seconds"}
    assert alone["scores"] == {"fid2k@x": None, "accuracy2k@x": 0.5}
    several = parsed(as_json({"b": made(float("inf")), "a": made(3)}))
    assert several["ranking"] == ["a", "b"]
    assert several["runs"]["b"]["scores"]["fid2k@x"] is None
    with pytest.raises(zs.ZerosumError, match="cannot be compared"):
        as_json({"a": made(1), "b": made(2, real="xyz")})


# the command


def test_the_command_shows_a_table(run: zs.Run, call: Call) -> None:
    scores = zs.score(run, n=60)  # from now on the classifier is in the cache
    code, out, err = call("score", str(run.place), "--n", "60")
    assert (code, beside_data(err)) == (0, [])
    assert err.count("\n") == 2  # what was found, and where labels came from
    shown_rows = {row[0]: row for row in rows(out) if row}
    for name, value in scores.scores.items():
        assert shown_rows[name][1] == f"{value:.3g}"
    assert [name for name in shown_rows if name in NAMES] == list(NAMES)
    assert f"real {scores.stamp['real']}" in out


def test_the_command_keeps_what_it_found(run: zs.Run, call: Call, tmp_path: Path) -> None:
    before = read_lines(run.place / "scores.jsonl")
    for number, checkpoint in enumerate((None, "3")):
        chosen = [] if checkpoint is None else ["--checkpoint", checkpoint]
        (run.place / "pairs.png").unlink(missing_ok=True)
        code, out, _ = call("score", str(run.place), "--n", "70", "--features", "random", "--json", *chosen)
        assert code == 0
        found = parsed(out)
        lines = read_lines(run.place / "scores.jsonl")[len(before) + number * len(found["scores"]) :]
        assert [line["name"] for line in lines] == list(found["scores"])
        step = int(checkpoint or 6)
        for line in lines:
            assert line["value"] == pytest.approx(found["scores"][line["name"]], rel=1e-7)
            assert line["floor"] == pytest.approx(found["floor"][line["name"]], rel=1e-7)
            assert line["stamp"] == found["stamp"]
            assert (line["step"], line["images"]) == (step, step * 4)
            assert line["seconds"] > 0
        assert lines[0]["name"] == "fid70@random"
        assert any("error" in line for line in lines)
        with Image.open(run.place / "pairs.png") as image:
            assert image.size[1] == 4 * 50 + 2


def test_json_of_a_pile(data: Path, call: Call, tmp_path: Path) -> None:
    fake = write(tmp_path / "fake", pictures(FAKES))
    code, out, _ = call("score", "--fake", str(fake), "--real", str(data), "--json")
    assert code == 0
    found = parsed(out)
    assert set(found) == {"scores", "errors", "floor", "classes", "stamp", "seconds", "notes"}
    expected = json.loads(json.dumps(zs.score(fake, data).plain()))
    assert {key: found[key] for key in ("scores", "floor", "stamp", "classes")} == {
        key: expected[key] for key in ("scores", "floor", "stamp", "classes")
    }
    assert found["scores"]["accuracy80@classifier"] == 1
    # of 5 images of each class nothing can be said of a class
    code, out, _ = call("score", "--fake", str(fake), "--real", str(data), "--n", "15", "--json")
    assert code == 0
    assert parsed(out)["scores"]["worst_class_accuracy15@classifier"] is None
    # pictures that belong to no run leave nothing behind
    assert sorted(path.name for path in fake.iterdir()) == list(NAMES)


def test_only_results_go_to_standard_output(call: Call, empty_cache: Path, tmp_path: Path) -> None:
    """Even where a classifier is trained first, and remarks are made."""
    real = write(tmp_path / "real", pictures(TRAINING) | {"beside.docx": b""})
    code, out, err = call("score", "--fake", str(real), "--real", str(real), "--json")
    assert code == 0
    assert parsed(out)["stamp"]["network"] == "classifier"
    assert err.count("150 pictures; 1 other file (beside.docx)") == 1
    assert "reads 100.00% of held-out images right" in err
    assert list((empty_cache / "classifiers").iterdir())


def test_several_runs_are_ranked(run: zs.Run, second: zs.Run, call: Call) -> None:
    both = [str(run.place), str(second.place)]
    code, out, err = call("score", *both, "--n", "60")
    assert (code, beside_data(err)) == (0, [])
    assert err.count("\n") == 2  # the data of both is told of once
    first = out.splitlines()[0].split()
    assert first == ["score", second.place.name, run.place.name, "real", "samples"]
    code, out, _ = call("score", *both, "--n", "60", "--json")
    assert code == 0
    found = parsed(out)
    assert set(found) == {"ranking", "runs"}
    assert found["ranking"] == both[::-1]
    values = [found["runs"][name]["scores"]["fid60@classifier"] for name in found["ranking"]]
    assert values == sorted(values)
    assert values[0] == pytest.approx(fid(second, n=60), rel=1e-6)


def test_runs_on_other_data_are_not_ranked(run: zs.Run, tmp_path: Path, call: Call) -> None:
    files = pictures(TRAINING, "train/") | pictures(tiny_source(count=90, seed=5), "test/")
    other = train(tmp_path / "runs", write(tmp_path / "data", files))
    arguments = ["score", str(run.place), str(other.place), "--n", "60", "--features", "random"]
    for chosen in ([], ["--json"]):
        code, out, err = call(*arguments, *chosen)
        assert (code, out) == (2, "")
        assert f"{run.place} and {other.place} cannot be compared: real is " in err
        assert len(beside_data(err)) == 1
    # but they are against the same images
    assert call(*arguments, "--real", str(tmp_path / "data"))[0] == 0


def test_statistics_by_the_command(data: Path, run: zs.Run, call: Call, tmp_path: Path) -> None:
    path = str(tmp_path / "real.npz")
    usual = ["score", str(run.place), "--n", "60", "--features", "random", "--json"]
    code, out, _ = call(*usual, "--save-statistics", path)
    assert code == 0
    expected = parsed(out)["scores"]["fid60@random"]
    code, out, _ = call(*usual, "--real", path)
    assert code == 0
    assert parsed(out)["scores"] == {"fid60@random": pytest.approx(expected, rel=1e-6)}


WRONG: list[tuple[list[str], str]] = [
    ([], "give a run folder, or --fake PATH with --real URI"),
    (["RUN", "--fake", "FAKE"], "give a run folder, or --fake PATH with --real URI"),
    (["--fake", "FAKE"], "--real URI"),
    (["--fake", "nothing.npy", "--real", "digits"], "nothing.npy"),
    (["--fake", "FAKE", "--real", "digts"], "did you mean 'digits'?"),
    (["--fake", "FAKE", "--real", "FAKE", "--n", "5000"], "only 80"),
    (["no/such/run"], "no/such/run is no run folder"),
    (["FAKE"], "--fake"),
    (["RUN", "--n", "1"], "--n"),
    (["RUN", "--against", "validation"], "choose test or train"),
    (["RUN", "--features", "clasifier"], "did you mean 'classifier'?"),
    (["RUN", "--features", "no.module:Net"], "cannot be imported"),
    (["RUN", "--features", "inception", "--inception", "no.pth"], "there is no such file"),
    (["RUN", "--checkpoint", "5"], "choose last, best, or a step: 6, 3"),
    (["RUN", "--checkpoint", "bets"], "no checkpoint 'bets'"),
    (["--fake", "FAKE", "--real", ""], "the name of the real images is empty"),
    (["RUN", "--set", "steps=5"], "'steps' says nothing of how images are read for scores"),
    (["RUN", "--set", "data.resolution"], "write key=value"),
    (["RUN", "--real", "FAKE", "--against", "train"], "no test split"),
    (["RUN", "--n", "60", "--features", "random", "--save-statistics", "no/such/folder/real.npz"], "No such file"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_wrong_usage_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, run: zs.Run, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("fake.npy", FAKES.images)
    places = {"RUN": str(run.place), "FAKE": "fake.npy"}
    before = read_lines(run.place / "scores.jsonl")
    code, out, err = call("score", *(places.get(word, word) for word in arguments))
    assert (code, out) == (2, "")
    assert message in err
    assert beside_data(err) == err.splitlines()[-1:]
    assert err.splitlines()[-1].startswith("zerosum: ")
    assert [path.name for path in tmp_path.iterdir()] == ["fake.npy"]
    assert read_lines(run.place / "scores.jsonl") == before


def test_a_table_of_several_shows_scores_that_the_first_lacks() -> None:
    stamp = {"network": "classifier"}
    plain = zs.Scores({"fid1k@classifier": 1.0}, {}, {"fid1k@classifier": 0.5}, {}, stamp)
    own = {"accuracy1k@classifier": 0.75, "fid1k@classifier": 2.0}
    labelled = zs.Scores(own, {}, {"accuracy1k@classifier": 0.96875, "fid1k@classifier": 0.5}, {}, stamp)
    rows = [line.split() for line in as_table({"runs/plain": plain, "runs/labelled": labelled}).splitlines()]
    assert rows[0] == ["score", "plain", "labelled", "real", "samples"]
    assert rows[1] == ["fid1k@classifier", "1", "2", "0.5"]
    assert rows[2] == ["accuracy1k@classifier", "-", "0.75", "0.969"]
