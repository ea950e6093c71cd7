"""DCGAN against the same networks in plain torch.nn, with the sizes and the statistics of the papers."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.plain import plain_critic, plain_generator
from zerosum.data.pictures.spec import PictureSpec
from zerosum.errors import ZerosumError
from zerosum.networks.conditioning import ConditionalNorm, multi_hot
from zerosum.networks.dcgan import Critic, Generator, label_maps
from zerosum.recipe import Recipe

METHODS = ["none", "join", "embed", "auxiliary"]


def spec(resolution: int = 16, channels: int = 1, classes: int = 3) -> PictureSpec:
    return PictureSpec.of(channels, resolution, resolution, {"class": tuple(str(i) for i in range(classes))})


def weights(network: nn.Module, *kinds: type[nn.Module]) -> Tensor:
    """All weights of these kinds of layer, in one row."""
    found = [module.weight for module in network.modules() if isinstance(module, kinds)]
    return torch.cat([weight.detach().flatten() for weight in found if isinstance(weight, Tensor)])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("resolution", "channels"), [(16, 1), (32, 3), (64, 4)])
def test_generator_is_a_stack_of_transposed_convolutions(resolution: int, channels: int, training: bool) -> None:
    torch.manual_seed(0)
    ours = Generator(spec(resolution, channels), 7, width=4).train(training)
    plain = plain_generator(ours, 7).train(training)
    z = torch.randn(5, 7)
    result = ours(z)
    torch.testing.assert_close(result, plain(z[:, :, None, None]), rtol=1e-5, atol=1e-6)
    # the same gradient reaches z
    slopes = []
    for network, shape in ((ours, (5, 7)), (plain, (5, 7, 1, 1))):
        leaf = z.view(shape).clone().requires_grad_()
        network(leaf).square().sum().backward()
        assert leaf.grad is not None
        slopes.append(leaf.grad.view(5, 7))
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize(("resolution", "channels"), [(16, 1), (32, 3), (64, 4)])
def test_critic_is_a_stack_of_convolutions(resolution: int, channels: int, norm: Any) -> None:
    torch.manual_seed(0)
    ours = Critic(spec(resolution, channels), width=4, norm=norm, init="he")
    images = torch.randn(5, channels, resolution, resolution)
    scores = ours(images)
    assert isinstance(scores, Tensor)
    torch.testing.assert_close(scores, plain_critic(ours)(images).view(5), rtol=1e-4, atol=1e-5)
    assert scores.std() > 1e-3


@pytest.mark.parametrize("kernel", [3, 4, 5])
def test_label_maps_are_the_convolution_of_constant_planes(kernel: int) -> None:
    torch.manual_seed(0)
    names = {"digit": tuple("0123456789"), "size": ("small", "large")}
    critic = Critic(PictureSpec.of(1, 16, 16, names), "join", width=8, kernel=kernel)
    assert critic.from_labels is not None
    assert critic.from_labels.bias is not None
    nn.init.normal_(critic.from_labels.bias)
    hot = multi_hot(torch.tensor([[3, 0], [9, 1], [3, 1]]), (10, 2))
    planes = hot[:, :, None, None].expand(-1, -1, 16, 16)
    maps = label_maps(critic.from_labels, hot, critic.side)
    torch.testing.assert_close(maps, critic.from_labels(planes), rtol=1e-4, atol=1e-5)
    assert maps.shape == (3, 4, 8, 8)


def test_joined_generator_is_two_branches_side_by_side() -> None:
    """Each branch normalised on its own, as two transposed convolutions with two normalisations would be."""
    torch.manual_seed(0)
    ours = Generator(spec(), 7, "join", width=4)
    assert ours.from_labels is not None
    z, labels = torch.randn(6, 7), torch.tensor([[0], [1], [2], [0], [1], [2]])
    blocks = []
    for layer, given, place in (
        (ours.from_z, z, slice(0, 4)),
        (ours.from_labels, multi_hot(labels, (3,)), slice(4, 8)),
    ):
        block = (given @ layer.weight.T).view(6, 4, 4, 4).permute(0, 3, 1, 2)
        mean, variance = block.mean((0, 2, 3), keepdim=True), block.var((0, 2, 3), unbiased=False, keepdim=True)
        norm = ours.norms[0]
        assert isinstance(norm, nn.BatchNorm2d)
        gain = norm.weight[place].view(1, -1, 1, 1)
        blocks.append(torch.relu((block - mean) / (variance + 1e-5).sqrt() * gain))
    x = ours.ups[0](torch.cat(blocks, 1))
    expected = torch.tanh(ours.to_image(torch.relu(ours.norms[1](x))))
    torch.testing.assert_close(ours(z, labels), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("resolution", [16, 32, 64, 128, 256])
def test_shapes(resolution: int, channels: int, method: str) -> None:
    torch.manual_seed(0)
    data = spec(resolution, channels)
    labels = torch.tensor([[0], [2]]) if method != "none" else None
    images = Generator(data, 5, method, width=2, max_width=8)(torch.randn(2, 5), labels)
    assert images.shape == (2, channels, resolution, resolution)
    assert images.abs().max() <= 1
    answer = Critic(data, method, width=2, max_width=8)(images, labels)
    scores, logits = answer if isinstance(answer, tuple) else (answer, None)
    assert scores.shape == (2,)
    assert torch.isfinite(scores).all()
    assert (logits is not None) == (method == "auxiliary")
    assert logits is None or logits.shape == (2, 3)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_other_kernels(kernel: int, norm: Any) -> None:
    images = Generator(spec(32, 3), 5, width=4, kernel=kernel, norm=norm)(torch.randn(2, 5))
    assert images.shape == (2, 3, 32, 32)
    assert Critic(spec(32, 3), width=4, kernel=kernel, norm=norm)(images).shape == (2,)


@pytest.mark.parametrize("method", ["join", "embed", "auxiliary"])
@pytest.mark.parametrize("role", ["generator", "critic"])
def test_labels_matter(role: str, method: str) -> None:
    torch.manual_seed(0)
    network: nn.Module
    if role == "generator":
        network, given = Generator(spec(), 5, method, width=4), torch.randn(1, 5)
        for module in network.modules():
            if isinstance(module, ConditionalNorm):
                nn.init.normal_(module.affine.weight)  # born without influence
    else:
        network, given = Critic(spec(), method, width=4, init="he"), torch.randn(1, 1, 16, 16)
    network.eval()
    answers = [network(given, torch.tensor([[label]])) for label in (0, 1, 1)]
    first, second, third = (answer[0] if isinstance(answer, tuple) else answer for answer in answers)
    assert torch.equal(second, third)
    if role == "critic" and method == "auxiliary":
        assert torch.equal(first, second)  # its classifier is told nothing
    else:
        assert (first - second).abs().max() > 1e-4


def test_channels_double_downwards_up_to_the_limit() -> None:
    generator, critic = Generator(spec(64), 5, width=4, max_width=16), Critic(spec(64), width=4, max_width=16)
    assert [norm.num_features for norm in generator.norms] == [16, 16, 8, 4]
    assert [down.out_channels for down in critic.downs] == [8, 16, 16]
    assert critic.from_image.out_channels == 4


@pytest.mark.parametrize("method", METHODS)
def test_normal_initialisation(method: str) -> None:
    torch.manual_seed(0)
    data = spec(32, 3)
    for network in (Generator(data, 100, method, width=16), Critic(data, method, width=16)):
        values = weights(network, nn.Conv2d, nn.ConvTranspose2d)
        assert 0.0195 < values.std().item() < 0.0205
        assert abs(values.mean().item()) < 0.0005
        assert 0.07 < values.abs().max().item() < 0.13  # a normal's tail, unlike a uniform's
        linear = weights(network, nn.Linear)
        assert 0.018 < linear[linear != 0].std().item() < 0.022
        gains = [m.weight for m in network.modules() if isinstance(m, nn.BatchNorm2d) and m.affine]
        if gains:
            gain = torch.cat([weight.detach() for weight in gains])
            assert 0.99 < gain.mean().item() < 1.01
            assert 0.015 < gain.std().item() < 0.025
        assert all(not weight.any() for name, weight in network.named_parameters() if name.endswith("bias"))


def test_he_initialisation() -> None:
    """The bounds of the WGAN-GP authors' code: sqrt(3) times a deviation of sqrt(4 / (fan in + fan out))."""
    torch.manual_seed(0)
    data = spec(32, 3)
    generator, critic = Generator(data, 64, width=16, init="he"), Critic(data, width=16, init="he")
    up, down = generator.ups[0], critic.downs[0]
    assert isinstance(up, nn.ConvTranspose2d)
    assert isinstance(down, nn.Conv2d)
    for weight, fan_in, fan_out, gain in (
        (up.weight, 64 * 16 / 4, 32 * 16, 4),
        (generator.to_image.weight, 16 * 16 / 4, 3 * 16, 4),
        (down.weight, 16 * 16, 32 * 16 / 4, 4),
        (critic.from_image.weight, 3 * 16, 16 * 16 / 4, 4),
        (generator.from_z.weight, 64, 16 * 64, 2),
        (critic.head.score.weight, 16 * 64, 1, 2),
    ):
        deviation = math.sqrt(gain / (fan_in + fan_out))
        assert 0.95 * deviation < weight.std().item() < 1.05 * deviation
        assert 0.98 * math.sqrt(3) * deviation < weight.abs().max().item() <= math.sqrt(3) * deviation


def test_conditional_norms_are_born_plain() -> None:
    for init in ("normal", "he"):
        generator = Generator(spec(), 5, "embed", width=4, init=init)
        norms = [module for module in generator.modules() if isinstance(module, ConditionalNorm)]
        assert len(norms) == 2
        assert not any(norm.affine.weight.any() for norm in norms)


def test_weights_of_the_classical_conditional_network() -> None:
    """The convolutional cGAN of the literature at 32x32, width 128: counted by hand."""
    recipe = Recipe.load("cdcgan-mnist")
    data = spec(32, 1, 10)
    generator = Generator(data, recipe.latent.count, recipe.condition.method, **recipe.generator.options)
    critic = Critic(data, recipe.condition.method, **recipe.critic.options)
    # z and digit to 256 channels of 4x4 each, with normalisation; 512 -> 256 -> 128 -> 1
    up = 100 * 256 * 16 + 10 * 256 * 16 + 2 * 512 + 512 * 256 * 16 + 2 * 256 + 256 * 128 * 16 + 2 * 128 + 128 * 16 + 1
    # image and digit maps to 64 channels each, with bias; 128 -> 256 -> 512 with normalisation, 4x4 to a score
    down = 64 * 16 + 64 + 10 * 64 * 16 + 64 + 128 * 256 * 16 + 2 * 256 + 256 * 512 * 16 + 2 * 512 + 512 * 16 + 1
    assert sum(weight.numel() for weight in generator.parameters()) == up == 3_075_841
    assert sum(weight.numel() for weight in critic.parameters()) == down == 2_642_561


@pytest.mark.parametrize("resolution", [9, 24, 28, 100])
def test_other_resolutions_are_refused(resolution: int) -> None:
    for network in (lambda: Generator(spec(resolution), 5), lambda: Critic(spec(resolution))):
        with pytest.raises(ZerosumError, match=rf"samples of {resolution}x{resolution}: .*powers of two"):
            network()


def test_impossible_options_are_refused() -> None:
    with pytest.raises(ZerosumError, match="embed works through the normalisation"):
        Generator(spec(), 5, "embed", norm="none")
    with pytest.raises(ZerosumError, match="2 <= width <= max_width"):
        Critic(spec(), width=64, max_width=32)
    with pytest.raises(ZerosumError, match="2 <= width"):
        Critic(spec(), width=1)
