"""Recordings of drives: which frames and actions make a clip, and what is wrong with bad ones."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.drives import drive_recipe, make_drive, read_log, write_log
from zerosum.data.pictures.drives import DriveSource, fit_frame
from zerosum.data.pictures.open import open_held_out, open_source
from zerosum.data.pictures.source import PictureSource
from zerosum.data.pictures.spec import Input, PictureSpec
from zerosum.errors import NoTestSplit, ZerosumError
from zerosum.modalities.picture import section


def opened(folder: Path, split: str = "train", **overrides: Any) -> DriveSource:
    source, _ = open_source(section(drive_recipe(folder, **overrides).data), split=split)
    assert isinstance(source, DriveSource)
    return source


def frames_of(folder: Path) -> torch.Tensor:
    pixels = np.stack([np.asarray(Image.open(path)) for path in sorted((folder / "IMG").iterdir())])
    return torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def test_a_clip_is_what_follows_and_its_condition_what_led_there(tmp_path: Path) -> None:
    folder = make_drive(tmp_path)
    source, frames, log = opened(folder), frames_of(folder), read_log(folder)
    assert source.spec.input == Input(2 * 3 + 2 * 3 + 6, 1, 2, 3, ("steering", "throttle"), 6)
    assert (source.spec.channels, source.spec.planes, source.spec.resolution, source.spec.wide) == (3, 9, 16, 2)
    batch = source.clips(np.array([7]), 3)
    assert torch.allclose(batch.real[0], frames[9:12].flatten(0, 1))
    picture = batch.given[0]
    assert torch.allclose(picture[:6], frames[7:9].flatten(0, 1))
    planes = picture[6:12].reshape(3, 2, -1)
    assert torch.equal(planes, planes[:, :, :1].expand_as(planes))  # constant
    # what was steered at frame 8 leads to frame 9
    assert planes[:, 0, 0].tolist() == [float(str(log[at][2])) for at in (8, 9, 10)]
    assert planes[:, 1, 0].tolist() == [1.0, 1.0, 1.0]
    given = frames[7:9].transpose(0, 1).flatten(1)
    assert torch.allclose(picture[12:, 3, 5], torch.cat([given.mean(1), 2 * given.std(1)]), atol=1e-5)


def test_a_mirror_turns_the_steering_and_nothing_else(tmp_path: Path) -> None:
    source = opened(make_drive(tmp_path))
    first = np.array([7, 7])
    batch = source.clips(first, 3, flip=torch.tensor([False, True]))
    assert torch.equal(batch.real[1], batch.real[0].flip(2))
    assert torch.equal(batch.given[1, :6], batch.given[0, :6].flip(2))
    plain, turned = (batch.given[at, 6:12, 0, 0].reshape(3, 2) for at in (0, 1))
    assert plain[:, 0].abs().sum() > 0
    assert torch.equal(turned, plain * torch.tensor([-1.0, 1.0]))
    assert torch.allclose(batch.given[1, 12:], batch.given[0, 12:], atol=1e-5)
    forced = source.clips(first, 3, forced=0.5).given[:, 6:12, 0, 0].reshape(2, 3, 2)
    assert (forced == torch.tensor([0.5, 1.0])).all()


def test_what_is_held_out_is_the_last_part_and_no_clip_reaches_into_it(tmp_path: Path) -> None:
    folder = make_drive(tmp_path)
    train, test = opened(folder), opened(folder, "test")
    assert (len(train.images), len(test.images)) == (36, 24)
    frames = frames_of(folder)
    assert torch.equal(train.pick(np.array([0])).given[0, :3], frames[train.rows[0]])  # type: ignore[index]
    assert train.rows is not None
    assert test.rows is not None
    assert train.rows.max() + 5 == 36
    assert torch.allclose(test.clips(np.array([0]), 3).given[0, :3], frames[36])
    held_out = open_held_out(section(drive_recipe(folder).data), train.spec)
    assert held_out is not None
    assert held_out.fingerprint == test.fingerprint != train.fingerprint
    with pytest.raises(NoTestSplit, match="hold_out"):
        opened(folder, "test", data__hold_out=0.0)


def test_clips_cross_neither_gaps_nor_recordings(tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_drive(tmp_path / name, 20, seed=len(name))
    rows = read_log(tmp_path / "one")
    for row in rows[12:]:
        row[1] = float(str(row[1])) + 1.0  # a gap before frame 12
    write_log(tmp_path / "one", rows)
    source, notes = open_source(section(drive_recipe(tmp_path, data__hold_out=0.0, data__drive__turning=0.0).data))
    assert "2 recordings, 40 frames" in notes[0]
    assert source.rows is not None
    assert source.rows.tolist() == [*range(8), *range(12, 16), *range(20, 36)]


def test_clips_with_turns_are_repeated_up_to_their_share(tmp_path: Path) -> None:
    folder = make_drive(tmp_path)
    rows = read_log(folder)
    for at, row in enumerate(rows):
        row[2] = 0.5 if 10 <= at < 14 else 0.01
    write_log(folder, rows)
    plain = opened(folder, data__hold_out=0.0, data__drive__turning=0.0)
    even = opened(folder, data__hold_out=0.0, data__drive__turning=0.3)
    assert plain.rows is not None
    assert even.rows is not None
    assert set(even.rows) == set(plain.rows)
    starts, counts = np.unique(even.rows, return_counts=True)
    # at least half of the three actions that lead to what follows
    assert starts[counts > 1].tolist() == [8, 9, 10, 11]
    assert counts.max() == round(0.3 / 0.7 * (len(starts) - 4) / 4)


def test_order_follows_from_seed_and_draw_and_the_fingerprint_from_actions(tmp_path: Path) -> None:
    folder = make_drive(tmp_path)
    one, other = opened(folder), opened(folder)
    assert torch.equal(one.batch(3, 5, 4).given, other.batch(3, 5, 4).given)
    assert not torch.equal(one.batch(3, 5, 4).given, one.batch(3, 6, 4).given)
    parts = [one.batch(3, 5, 4, share=slice(at, at + 2)).given for at in (0, 2)]
    assert torch.equal(torch.cat(parts), one.batch(3, 5, 4).given)
    rows = read_log(folder)
    rows[3][3] = 0.5
    write_log(folder, rows)
    assert opened(folder).fingerprint != one.fingerprint == other.fingerprint


def test_a_zip_is_as_good_and_columns_may_have_other_names(tmp_path: Path) -> None:
    folder = make_drive(tmp_path / "drive")
    write_log(folder, read_log(folder), "picture, seconds, wheel, pedal")
    with zipfile.ZipFile(tmp_path / "drive.zip", "w") as archive:
        for path in sorted(folder.rglob("*.*")):
            archive.write(path, path.relative_to(folder))
    names: dict[str, Any] = {"data__drive__file": "picture", "data__drive__time": "seconds"}
    names |= {"data__drive__actions": ["wheel", "pedal"], "data__drive__turns": ["wheel"]}
    plain, zipped = (opened(path, **names) for path in (folder, tmp_path / "drive.zip"))
    assert plain.fingerprint == zipped.fingerprint
    assert zipped.input.actions == ("wheel", "pedal")


def test_frames_become_as_wide_as_their_shape_asks_for() -> None:
    pixels = np.arange(3 * 30 * 100, dtype=np.int64).reshape(3, 30, 100).astype(np.uint8)
    assert fit_frame(pixels, 16, 3).shape == (3, 16, 48)
    assert fit_frame(pixels[:1], 16, 3).shape == (1, 16, 48)
    same = np.zeros((3, 16, 48), np.uint8)
    assert fit_frame(same, 16, 3) is same
    ramp = np.tile(np.linspace(0, 255, 100).astype(np.uint8), (3, 30, 1))
    fitted = fit_frame(ramp, 10, 3).astype(int)  # 90 of 100 columns, in the middle
    assert 8 <= fitted[0, 0, 0] <= 18
    assert 237 <= fitted[0, 0, -1] <= 247


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda f: (f / "log.csv").unlink(), "no CSV in it"),
        (lambda f: (f / "second.csv").write_text("a\n"), "several CSVs in one folder"),
        (lambda f: write_log(f, read_log(f), "file_name,time,wheel,throttle"), "a column 'steering' once"),
        (lambda f: write_log(f, [*read_log(f), ["IMG/9.png", 9, 0, 0]]), "line 62: there is no file IMG/9.png"),
        (lambda f: write_log(f, [*read_log(f), ["../../secret.png", 9, 0, 0]]), "there is no file"),
        (
            lambda f: write_log(f, [*read_log(f), ["IMG/0001.png", 9, "left", 0]]),
            "line 62: 9, left, 0: these should be",
        ),
        (lambda f: write_log(f, [*read_log(f), ["IMG/0001.png", 9, 25, 0]]), "line 62: actions are numbers from -1"),
        (lambda f: write_log(f, [*read_log(f), ["IMG/0001.png", 9, "nan", 0]]), "line 62: actions are numbers"),
        (lambda f: write_log(f, [*read_log(f), ["IMG/0001.png", 1, 0, 0]]), "line 62: time runs backwards"),
        (lambda f: write_log(f, [*read_log(f), ["IMG/0001.png", 9]]), "line 62: 2 values"),
        (lambda f: write_log(f, read_log(f)[:6]), "nowhere 5 without a gap"),
        (lambda f: write_log(f, []), "lists no files"),
        (lambda f: (f / "IMG/0005.png").write_bytes(b"none"), "IMG/0005.png: a frame that cannot be read"),
    ],
)
def test_bad_recordings_are_refused_in_one_line(tmp_path: Path, break_it: Any, said: str) -> None:
    folder = make_drive(tmp_path)
    break_it(folder)
    with pytest.raises(ZerosumError, match=said) as caught:
        opened(folder)
    assert "\n" not in str(caught.value)


def test_bad_recipes_of_drives(tmp_path: Path) -> None:
    folder = make_drive(tmp_path)
    with pytest.raises(ZerosumError, match="'stering' is no action: did you mean 'steering'"):
        opened(folder, data__drive__turns=["stering"])
    with pytest.raises(ZerosumError, match="name the actions that change sign"):
        opened(folder, data__drive__turns=[])
    with pytest.raises(ZerosumError, match=r"no absent\.csv in it"):
        opened(folder, data__drive__table="absent.csv")
    with pytest.raises(ZerosumError, match=r"GiB, more than data\.memory"):
        opened(folder, data__memory=1e-6)
    write_log(folder, [[*row, *row[3:] * 5] for row in read_log(folder)], "file_name,time,steering,throttle,a,b,c,d,e")
    with pytest.raises(ZerosumError, match="planes, more than 256"):
        opened(
            folder,
            data__drive__ahead=32,
            data__drive__frames=16,
            data__drive__actions=["steering", "throttle", *"abcde"],
        )
    with pytest.raises(ZerosumError, match="name each of them once"):
        opened(folder, data__drive__actions=["steering"] * 2)
    with pytest.raises(ZerosumError, match="frames and a CSV of actions"):
        open_source(section(drive_recipe(folder, data__uri=None).data))
    with pytest.raises(ZerosumError, match="is no drive"):
        open_source(section(drive_recipe(folder, data__uri="digits").data))


def test_specs_of_drives_are_parsed_strictly(tmp_path: Path) -> None:
    spec = opened(make_drive(tmp_path)).spec
    assert PictureSpec.parse(spec.plain()) == spec
    for key, value in (("frames", 0), ("ahead", -1), ("style", 5), ("channels", 300)):
        bad = spec.plain()
        bad["facts"] = bad["facts"] | {"input": bad["facts"]["input"] | {key: value}}
        with pytest.raises(ValueError, match=r"frames|channels"):
            PictureSpec.parse(bad)


def test_real_drive(real_data: Path) -> None:
    recipe = drive_recipe(real_data / "driving64x128.zip", data__resolution=32, data__hold_out=0.2)
    source, _ = open_source(section(recipe.data), split="test")
    assert isinstance(source, PictureSource)
    assert source.images.shape == (811, 3, 32, 64)
