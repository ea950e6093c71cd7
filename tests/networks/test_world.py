"""The generator of the next frames: how it warps, how it goes on from its own frames, and that it learns to obey."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.drives import drive_recipe, make_drive
from zerosum.data.pictures.drives import DriveSource, make_given
from zerosum.data.pictures.open import open_source
from zerosum.data.pictures.spec import Input, PictureSpec
from zerosum.errors import ZerosumError
from zerosum.modalities.picture import section
from zerosum.networks import make_critic, make_generator
from zerosum.networks.world import Generator, warp

RULES = Input(2 * 3 + 2 * 3 + 6, 1, 2, 3, ("steering", "throttle"), 6)
SPEC = PictureSpec.of(3, 16, 16, given=RULES, wide=2)


def condition(ahead: int = 3, steering: float = 0.0) -> Tensor:
    random = torch.Generator().manual_seed(0)
    actions = torch.zeros(2, ahead, 2)
    actions[:, :, 0] = steering
    return make_given(torch.rand(2, 6, 16, 32, generator=random) * 2 - 1, actions, torch.zeros(2, 6))


def made(**options: int) -> Generator:
    torch.manual_seed(0)
    generator = Generator(SPEC, 0, **{"width": 8, "blocks": 1} | options)
    torch.nn.init.normal_(generator.last.weight, 0.0, 0.3)  # born, it would hardly move anything
    return generator


def test_warp_moves_by_whole_pixels_exactly_and_repeats_the_border() -> None:
    images = torch.rand(2, 3, 8, 16)
    assert torch.allclose(warp(images, torch.zeros(2, 2, 8, 16)), images, atol=1e-5)
    flow = torch.zeros(2, 2, 8, 16)
    flow[:, 0] = 2 / 16 * 3  # from three pixels to the right
    flow[:, 1] = -2 / 8  # and one above
    moved = warp(images, flow)
    assert torch.allclose(moved[:, :, 1:, :13], images[:, :, :-1, 3:], atol=1e-5)
    assert torch.allclose(moved[:, :, 0, :13], images[:, :, 0, 3:], atol=1e-5)


def test_it_is_born_as_one_that_nearly_repeats_the_last_frame() -> None:
    torch.manual_seed(0)
    given = condition()
    frames = Generator(SPEC, 0, width=8)(torch.zeros(2, 0), given).reshape(2, 3, 3, 16, 32)
    far = (frames - given[:, None, 3:6]).abs().mean((0, 2, 3, 4))
    assert far[0] < 0.12
    assert far[0] < far[1] < far[2]


def test_several_frames_are_what_single_ones_would_be_one_after_the_other() -> None:
    generator, given = made(), condition(steering=0.7)
    whole = generator(torch.zeros(2, 0), given)
    history, actions, style = given[:, :6], torch.tensor([0.7, 0.0]).expand(2, 1, 2), torch.zeros(2, 6)
    for at in range(3):
        frame = generator(torch.zeros(2, 0), make_given(history, actions, style))
        assert torch.allclose(frame, whole[:, 3 * at : 3 * at + 3], atol=1e-5)
        history = torch.cat([history[:, 3:], frame], 1)


def test_actions_style_and_latent_change_what_is_made_and_early_actions_late_frames() -> None:
    torch.manual_seed(0)
    generator = Generator(SPEC, 4, width=8)
    torch.nn.init.normal_(generator.last.weight, 0.0, 0.3)
    z, given = torch.zeros(2, 4), condition().requires_grad_()
    z.requires_grad_()
    last = generator(z, given)[:, -3:].square().sum()
    of_given, of_z = torch.autograd.grad(last, [given, z])
    planes = of_given[:, 6:].sum((2, 3)).abs()
    assert (planes > 0).all()  # each action of each frame, and each number of the style
    assert (of_z.abs() > 0).all()
    assert of_given[:, :6].abs().sum() > 0


def test_frames_are_float32_and_nearly_the_same_in_bf16() -> None:
    generator, given = made(), condition()
    exact = generator(torch.zeros(2, 0), given)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = generator(torch.zeros(2, 0), given)
    assert rounded.dtype == torch.float32
    assert (rounded - exact).abs().mean() < 0.05 * exact.abs().mean()


def test_networks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ZerosumError, match=r"needs data.input = drive"):
        Generator(PictureSpec.of(3, 16, 16, given=Input(3)), 0)
    with pytest.raises(ZerosumError, match="multiple of 8"):
        Generator(PictureSpec.of(3, 20, 20, given=RULES, wide=2), 0)
    with pytest.raises(ZerosumError, match="multiple of 4"):
        Generator(SPEC, 0, width=6)


def test_the_critic_sees_the_clip_with_its_actions(tmp_path: Path) -> None:
    torch.manual_seed(0)
    critic = make_critic(drive_recipe(tmp_path), SPEC)
    clip, given = torch.randn(2, 9, 16, 32), condition().requires_grad_()
    clip.requires_grad_()
    scores = critic(clip, given)
    assert scores.shape == (2, 1, 2, 6)
    of_clip, of_given = torch.autograd.grad(scores.sum(), [clip, given])
    assert (of_clip.abs().sum((0, 2, 3)) > 0).all()
    assert (of_given.abs().sum((0, 2, 3)) > 0).all()


def test_it_learns_that_steering_rolls_the_world(tmp_path: Path) -> None:
    recipe = drive_recipe(make_drive(tmp_path), data__drive__ahead=2, generator__width=16)
    source, _ = open_source(section(recipe.data))
    held_out, _ = open_source(section(recipe.data), split="test")
    assert isinstance(held_out, DriveSource)
    torch.manual_seed(0)
    generator = make_generator(recipe, source.spec)
    optimizer = torch.optim.Adam(generator.parameters(), 0.004)
    for draw in range(80):
        batch = source.batch(0, draw, 8)
        optimizer.zero_grad()
        (generator(torch.zeros(8, 0), batch.given) - batch.real).abs().mean().backward()
        optimizer.step()
    batch = held_out.pick(np.arange(len(held_out)))
    with torch.no_grad():
        frames = generator(torch.zeros(len(batch.real), 0), batch.given)
    repeated = batch.given[:, 3:6].repeat(1, 2, 1, 1)
    assert (frames - batch.real).abs().mean() < 0.6 * (repeated - batch.real).abs().mean()
