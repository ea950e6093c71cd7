"""Worlds to act in: drives step by step, from pictures, the same after a resume."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import Call, empty_picture
from tests.drives import drive_recipe, make_drive
from zerosum import api
from zerosum.data.pictures.drives import DriveSource
from zerosum.engine.runs.run import Run
from zerosum.engine.runs.stored import stored_gan
from zerosum.engine.trained.pictures.world import WorldGan
from zerosum.errors import ZerosumError


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_drive(tmp_path_factory.mktemp("drive"), 120)


@pytest.fixture(scope="module")
def run(drive: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Trained for a moment, so that actions change something."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zerosum.plots.plot_losses", empty_picture)
        return api.train(drive_recipe(drive, steps=12), out=tmp_path_factory.mktemp("runs"))


@pytest.fixture
def gan(run: Run) -> WorldGan:
    assert isinstance(run.gan, WorldGan)
    return run.gan


def start(gan: WorldGan) -> torch.Tensor:
    return gan.recording.clips(np.array([0]), 1).given[0, :6].reshape(2, 3, 16, 32)


def test_steps_are_what_the_generator_makes_of_the_whole_drive(gan: WorldGan) -> None:
    batch = gan.recording.clips(np.array([0]), 4, forced=-0.5)
    whole = gan.drive(batch.given, torch.zeros(1, 0)).reshape(4, 3, 16, 32)
    world = gan.play(start(gan))
    for frame in whole:
        assert torch.allclose(world.step(steering=-0.5, throttle=1.0), frame, atol=1e-4)


def test_what_is_not_named_is_not_done_and_what_is_done_matters(gan: WorldGan) -> None:
    one, other, turned = (gan.play(start(gan)) for _ in range(3))
    still = one.step()
    assert torch.equal(still, other.step(steering=0.0, throttle=0.0))
    assert still.shape == (3, 16, 32)
    assert float(still.abs().max()) <= 1
    assert not torch.equal(still, turned.step(steering=1.0))


def test_wrong_actions_and_frames_are_named(gan: WorldGan) -> None:
    world = gan.play(start(gan))
    with pytest.raises(ZerosumError, match="unknown action 'stering': did you mean 'steering'"):
        world.step(stering=1.0)
    with pytest.raises(ZerosumError, match=r"steering = 1.5: actions are from -1 to 1"):
        world.step(steering=1.5)
    with pytest.raises(ZerosumError, match="2 frames of 3x16x32"):
        gan.play(start(gan)[:1])
    with pytest.raises(ZerosumError, match="2 frames of 3x16x32"):
        gan.play(torch.zeros(2, 3, 16, 16))
    for name in ("sample", "interpolate"):
        with pytest.raises(AttributeError, match=f"no '{name}': this world is to be acted in"):
            getattr(gan, name)


def test_a_drive_begins_with_the_first_pictures_of_a_folder_of_any_size(
    gan: WorldGan, drive: Path, tmp_path: Path
) -> None:
    first = gan.play(drive).step(steering=0.25)
    frames = torch.stack([torch.from_numpy(np.array(Image.open(drive / f"IMG/000{at}.png"))) for at in (0, 1)])
    tensor = frames.permute(0, 3, 1, 2).float().div(127.5).sub(1)
    assert torch.allclose(first, gan.play(tensor).step(steering=0.25), atol=1e-6)
    for at in range(2):
        Image.new("RGB", (50 + at, 40), (255, 0, 0)).save(tmp_path / f"{at}.jpg")
    assert gan.play(tmp_path).step().shape == (3, 16, 32)
    (tmp_path / "1.jpg").write_bytes(b"none")
    with pytest.raises(ZerosumError, match=r"1\.jpg: a frame that cannot be read"):
        gan.play(tmp_path)
    (tmp_path / "1.jpg").unlink()
    with pytest.raises(ZerosumError, match="1 pictures: a drive begins with 2 frames"):
        gan.play(tmp_path)


def test_films_share_their_frames_among_the_actions(gan: WorldGan) -> None:
    film = gan.play(start(gan)).film(5, [{"steering": 1.0}, {"steering": -1.0}])
    world = gan.play(start(gan))
    frames = [world.step(steering=steering) for steering in (1.0, 1.0, 1.0, -1.0, -1.0)]
    assert torch.equal(film, torch.stack(frames))


def test_the_exhibit_shows_the_recording_above_what_is_played(gan: WorldGan) -> None:
    images, rows, _ = gan.exhibit()
    assert rows == ["true", "played"] * 4
    assert images.shape == (80, 3, 16, 32)
    source = gan.recording
    ahead = min(30, source.longest)
    clip = source.clips(source.spread(4, ahead)[:1], ahead).real[0]
    assert torch.equal(images[0], clip[:3])
    assert torch.equal(images[9], clip[-3:])


def test_a_run_that_goes_on_ends_with_the_same_bits(
    drive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zerosum.plots.plot_losses", empty_picture)
    whole = api.train(drive_recipe(drive), out=tmp_path)
    part = api.train(drive_recipe(drive, steps=3), out=tmp_path)
    assert part.folder is not None
    again = api.resume(part.folder, steps=6)
    for one, other in (
        (whole.state.players.generator, again.state.players.generator),
        (whole.gan.generator, again.gan.generator),
    ):
        theirs = other.state_dict()
        assert all(torch.equal(value, theirs[name]) for name, value in one.state_dict().items())
    gan = stored_gan(part.folder)
    assert isinstance(gan, WorldGan)
    frames = start(whole.gan)  # type: ignore[arg-type]
    assert torch.equal(gan.play(frames).step(steering=1.0), whole.gan.play(frames).step(steering=1.0))


def test_the_command_makes_films_and_refuses_what_is_wrong(run: Run, drive: Path, tmp_path: Path, call: Call) -> None:
    folder = str(run.folder)
    out = tmp_path / "films" / "left.gif"
    common = ("sample", folder, "--from", str(drive), "--frames", "6", "--out", str(out))
    code, printed, _ = call(*common, "--action", "steering=-0.5,throttle=1", "--action", "steering=0.5")
    assert (code, printed.strip()) == (0, str(out))
    with Image.open(out) as film:
        assert (film.n_frames, film.size) == (6, (128, 64))  # type: ignore[attr-defined]
    code, printed, _ = call(
        "sample", folder, "--from", str(drive), "--frames", "2", "--out", str(tmp_path / "idle.gif")
    )
    assert (code, printed.strip()) == (0, str(tmp_path / "idle.gif"))
    wrong: dict[str, tuple[Any, ...]] = {
        "unknown action 'wheel'": (*common, "--action", "wheel=1"),
        "write name=value": (*common, "--action", "steering"),
        "with which pictures the drive begins": ("sample", folder, "--action", "steering=1"),
        "no such file or folder": ("sample", folder, "--from", str(tmp_path / "none"), "--action", "steering=1"),
        "to be acted in": ("sample", folder),
        "cannot write to": (*common[:-1], str(drive / "log.csv" / "x.gif")),
    }
    for said, command in wrong.items():
        code, _, err = call(*command)
        assert code == 2
        assert said in err
        assert len(err.strip().splitlines()) == 1


def test_a_dry_run_tells_the_shape(drive: Path, tmp_path: Path, call: Call) -> None:
    recipe = tmp_path / "world.yaml"
    recipe.write_text(drive_recipe(drive).to_yaml())
    code, plan, _ = call("train", str(recipe), "--dry-run")
    assert code == 0
    assert "images 3x16x32, trained at 16x32" in plan


def test_the_recording_is_needed_for_scores_only(run: Run) -> None:
    assert run.folder is not None
    gan = stored_gan(run.folder)
    assert isinstance(gan, WorldGan)
    with pytest.raises(ZerosumError, match="give it frames"):
        next(gan.batches(2))
    assert isinstance(run.held_out, DriveSource)
