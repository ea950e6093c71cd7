"""Scores of images made from pictures: closed forms, torchmetrics, and what a blur gets beside the true images."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from tests.conftest import CPU
from zerosum.data.pictures.drawing import to_pixels
from zerosum.data.pictures.source import PictureSource, make_source
from zerosum.data.pictures.views import edges_source, enlarge, shrink, shrunk_source
from zerosum.errors import ZerosumError
from zerosum.metrics.features import Reals
from zerosum.metrics.pictures.features import texture_features
from zerosum.metrics.pictures.paired import PairedYardstick, psnr, ssim
from zerosum.metrics.request import Looking
from zerosum.metrics.result import Images
from zerosum.metrics.vocabulary import kind_of
from zerosum.sections.picture import PictureData
from zerosum.tasks import TASKS


def plain(value: float, channels: int = 3, side: int = 16) -> Tensor:
    return torch.full((1, channels, side, side), value).to(torch.uint8)


def noisy(seed: int, side: int = 24) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    true = torch.randint(0, 256, (3, 3, side, side), generator=random)
    spread = torch.tensor([2.0, 20.0, 90.0]).view(3, 1, 1, 1)
    made = (true + spread * torch.randn(true.shape, generator=random)).round().clamp(0, 255)
    return made.to(torch.uint8), true.to(torch.uint8)


@pytest.mark.parametrize("error", [1, 16, 255])
def test_psnr_of_a_constant_error(error: int) -> None:
    expected = 20 * math.log10(255 / error)
    assert psnr(plain(error), plain(0)).item() == pytest.approx(expected, abs=1e-9)
    half = plain(0).clone()
    half[..., :8] = error  # half of the pixels: half of the mean squared error
    assert psnr(half, plain(0)).item() == pytest.approx(expected + 10 * math.log10(2), abs=1e-9)


def test_psnr_of_equal_images_is_bounded() -> None:
    assert psnr(plain(7), plain(7)).item() == pytest.approx(100, abs=1e-9)


def test_ssim_of_constant_images() -> None:
    """No variance: only the comparison of brightness is left."""
    c1 = (0.01 * 255) ** 2
    expected = (2 * 100 * 150 + c1) / (100**2 + 150**2 + c1)
    assert ssim(plain(100), plain(150)).item() == pytest.approx(expected, abs=1e-9)
    assert ssim(plain(100), plain(100)).item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("side", [11, 24, 25])
def test_both_agree_with_torchmetrics(side: int) -> None:
    made, true = noisy(side, side)
    theirs = peak_signal_noise_ratio(made.double(), true.double(), data_range=255.0, reduction="none", dim=(1, 2, 3))
    torch.testing.assert_close(psnr(made, true), theirs.double(), rtol=0, atol=1e-5)
    _, everywhere = structural_similarity_index_measure(
        made.double(), true.double(), data_range=255.0, reduction="none", return_full_image=True
    )
    inside = everywhere[..., 5:-5, 5:-5]  # theirs goes on into mirrored edges
    torch.testing.assert_close(ssim(made, true), inside.mean((1, 2, 3)), rtol=0, atol=1e-9)
    assert ssim(made, true).diff().max() < 0  # more noise, less alike


@pytest.mark.parametrize(("side", "window"), [(8, 7), (9, 9), (10, 9)])
def test_ssim_of_small_images_takes_the_largest_odd_window(side: int, window: int) -> None:
    made, true = noisy(0, side)
    _, everywhere = structural_similarity_index_measure(
        made.double(),
        true.double(),
        data_range=255.0,
        reduction="none",
        return_full_image=True,
        gaussian_kernel=False,
        kernel_size=window,
    )
    edge = window // 2
    flat = everywhere[..., edge:-edge, edge:-edge].mean((1, 2, 3))
    assert (ssim(made, true) - flat).abs().max() < 0.15  # a bell in place of a box, over the same places
    assert torch.isfinite(ssim(made, true)).all()


def pile(count: int, seed: int) -> PictureSource:
    """Smooth shapes under fine grain, so that a blur is visible."""
    random = np.random.default_rng(seed)
    coarse = random.normal(0, 50, (count, 3, 4, 4)).repeat(8, 2).repeat(8, 3)
    return make_source((128 + coarse + random.normal(0, 25, (count, 3, 32, 32))).clip(0, 255).astype(np.uint8))


TRAINING, HELD_OUT = shrunk_source(pile(300, 0), 4), shrunk_source(pile(60, 1), 4)


@pytest.fixture(scope="module")
def yardstick() -> PairedYardstick:
    found = TASKS["translation"].yardstick(PictureData(uri="given"), TRAINING, HELD_OUT, Looking("auto", CPU.device))
    assert isinstance(found, PairedYardstick)
    return found


def made_of(yardstick: PairedYardstick, count: int, share: float) -> Images:
    """The true images, part of their way to their cubic enlargement."""
    batch = HELD_OUT.pick(yardstick.true.order[:count])
    images = torch.lerp(batch.real, enlarge(batch.given, 4), share)
    yield to_pixels(images).permute(0, 3, 1, 2).contiguous(), None


def test_blur_is_worse_than_the_true_images(yardstick: PairedYardstick) -> None:
    """The true images are the floor, exactly, and each step towards the blur is worse in every way."""
    found = [yardstick.measure(made_of(yardstick, 60, share), 60, False) for share in (0, 0.3, 1)]
    true, blurred = found[0], found[-1]
    assert true.value("psnr") == pytest.approx(100, abs=1e-9)
    assert true.value("ssim") == pytest.approx(1, abs=1e-9)
    assert true.value("fid") == pytest.approx(true.floor["fid60@texture"], rel=1e-6)
    assert "psnr60" not in true.floor
    for kind, better in (("psnr", 1), ("ssim", 1), ("fid", -1), ("kid", -1), ("sharpness", 1)):
        values = [better * scores.value(kind) for scores in found]
        assert values[0] > values[1] > values[2], kind
    assert blurred.value("fid") > 2 * true.value("fid")


def test_the_cubic_enlargement_stands_beside(yardstick: PairedYardstick) -> None:
    scores = yardstick.measure(made_of(yardstick, 60, 0.3), 60, False)
    cubic = yardstick.measure(made_of(yardstick, 60, 1), 60, False)
    assert scores.baselines.keys() == {"cubic"}
    assert scores.baselines["cubic"] == pytest.approx(cubic.scores, rel=1e-9)
    assert scores.baselines == scores.plain()["baselines"]
    assert yardstick.measure(made_of(yardstick, 60, 0.3), 60, False, cheap=True).baselines == {}


def test_what_is_compared_with(yardstick: PairedYardstick) -> None:
    assert (len(yardstick.true), len(yardstick.reference), yardstick.most) == (60, 300, 60)
    stamp = yardstick.stamp(60)
    assert (stamp["network"], stamp["real_split"], stamp["true_split"]) == ("texture", "train", "test")
    assert stamp["true"] == Reals.of(HELD_OUT, "test").identity


def test_without_a_held_out_part_one_half_is_compared_with_the_other() -> None:
    yardstick = PairedYardstick.of(TRAINING, None, texture_features(3, 32, CPU.device))
    assert yardstick.most == len(yardstick.reference) == 150
    assert not set(yardstick.true.order) & set(yardstick.reference.order)


def test_the_picture_itself_where_it_could_be_the_image() -> None:
    yardstick = PairedYardstick.of(edges_source(pile(60, 2)), None, texture_features(3, 32, CPU.device))
    assert yardstick.baselines == {}  # outlines have one channel
    grey = make_source(np.random.default_rng(0).integers(0, 256, (60, 1, 16, 16), dtype=np.uint8))
    yardstick = PairedYardstick.of(edges_source(grey), None, texture_features(1, 16, CPU.device))
    assert yardstick.baselines.keys() == {"given"}


def test_texture_features_of_shapes_and_blur() -> None:
    """What they see is how an image looks, not where: moving it changes little, blurring it much."""
    network = texture_features(3, 32, CPU.device)
    batch = HELD_OUT.pick(np.arange(60)).real
    features = network.look(to_pixels(batch).permute(0, 3, 1, 2))[0]
    assert features.shape == (60, 448)
    moved = network.look(to_pixels(batch.roll(8, 3)).permute(0, 3, 1, 2))[0]
    soft = network.look(to_pixels(enlarge(shrink(batch, 4), 4)).permute(0, 3, 1, 2))[0]
    assert (features - soft).mean(0).norm() > 3 * (features - moved).mean(0).norm()
    assert texture_features(1, 8, CPU.device).look(torch.zeros(1, 1, 8, 8, dtype=torch.uint8))[0].isfinite().all()


def test_labels_do_not_score_pictures() -> None:
    with pytest.raises(ZerosumError, match=r"features = classifier: images made from pictures have no labels"):
        TASKS["translation"].yardstick(PictureData(uri="given"), TRAINING, HELD_OUT, Looking("classifier", CPU.device))


def test_names(yardstick: PairedYardstick) -> None:
    names = yardstick.measure(made_of(yardstick, 60, 1), 60, False).scores
    assert kind_of(next(iter(names))) == "fid"  # which progress shows
    assert {"psnr60", "ssim60", "fid60@texture", "kid60@texture"} <= names.keys()
