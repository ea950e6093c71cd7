"""Fully connected networks: against layers written by hand, with the sizes and the statistics of the papers."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from zerosum.data.pictures.spec import PictureSpec
from zerosum.networks.conditioning import ConditionalNorm, multi_hot
from zerosum.networks.mlp import Critic, Generator, Maxout
from zerosum.recipe import Recipe

METHODS = ["none", "join", "embed", "auxiliary"]


def spec(resolution: int = 8, channels: int = 1, classes: int = 3) -> PictureSpec:
    return PictureSpec.of(channels, resolution, resolution, {"class": tuple(str(i) for i in range(classes))})


def linear(x: Tensor, layer: nn.Module) -> Tensor:
    assert isinstance(layer, nn.Linear)
    return x @ layer.weight.T + layer.bias


def count(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("resolution", [8, 13, 28])
def test_shapes(resolution: int, channels: int, method: str) -> None:
    data = spec(resolution, channels)
    labels = torch.tensor([[0], [2]]) if method != "none" else None
    images = Generator(data, 5, method, first=6, labels=4, hidden=(7, 8))(torch.randn(2, 5), labels)
    assert images.shape == (2, channels, resolution, resolution)
    assert images.abs().max() <= 1
    answer = Critic(data, method, first=6, labels=4, hidden=(7, 8))(images, labels)
    scores, logits = answer if isinstance(answer, tuple) else (answer, None)
    assert scores.shape == (2,)
    assert (logits is not None) == (method == "auxiliary")
    assert logits is None or logits.shape == (2, 3)


def test_joined_generator_by_hand() -> None:
    torch.manual_seed(0)
    ours = Generator(spec(), 5, "join", first=6, labels=4, hidden=(7,), init=0.5)
    assert ours.from_labels is not None
    z, labels = torch.randn(3, 5), torch.tensor([[0], [2], [1]])
    x = torch.cat([linear(z, ours.from_z).relu(), linear(multi_hot(labels, (3,)), ours.from_labels).relu()], 1)
    x = linear(x, ours.hidden[0]).relu()
    expected = 2 * torch.sigmoid(linear(x, ours.to_image)) - 1
    torch.testing.assert_close(ours(z, labels), expected.view(3, 1, 8, 8), rtol=1e-4, atol=1e-6)


def test_joined_critic_by_hand() -> None:
    torch.manual_seed(0)
    ours = Critic(spec(), "join", first=6, labels=4, hidden=(7,), pieces=(5, 2), init=0.5)
    assert isinstance(ours.from_labels, Maxout)
    images, labels = torch.rand(3, 1, 8, 8) * 2 - 1, torch.tensor([[0], [2], [1]])

    def maxout(x: Tensor, layer: nn.Module, pieces: int) -> Tensor:
        assert isinstance(layer, Maxout)
        values = linear(x, layer.linear)
        return torch.stack(
            [values[:, i * pieces : (i + 1) * pieces].max(1).values for i in range(values.shape[1] // pieces)], 1
        )

    pixels = (images.reshape(3, 64) + 1) / 2
    x = torch.cat([maxout(pixels, ours.from_image, 5), maxout(multi_hot(labels, (3,)), ours.from_labels, 5)], 1)
    x = maxout(x, ours.hidden[0], 2)
    torch.testing.assert_close(ours(images, labels), linear(x, ours.head.score)[:, 0], rtol=1e-4, atol=1e-5)


def test_one_piece_is_a_leaky_rectifier() -> None:
    layer, x = Maxout(4, 3, 1), torch.randn(20, 4)
    assert torch.equal(layer(x), leaky_relu(layer.linear(x), 0.2))
    assert (layer(x) < 0).any()


def test_dropout_is_for_training_only() -> None:
    torch.manual_seed(0)
    generator = Generator(spec(), 5, first=64, dropout=0.5)
    critic = Critic(spec(), first=64, input_dropout=0.2, dropout=0.5)
    z = torch.randn(2, 5)
    for network, given in ((generator, z), (critic, torch.rand(2, 1, 8, 8))):
        network.train()
        assert not torch.equal(network(given), network(given))
        network.eval()
        assert torch.equal(network(given), network(given))


def test_input_dropout_keeps_the_mean_and_its_share() -> None:
    torch.manual_seed(0)
    critic = Critic(spec(32), first=1, hidden=(), pieces=(1,), input_dropout=0.2)
    nn.init.constant_(critic.from_image.linear.weight, 1.0)
    seen = critic.from_image
    values: list[Tensor] = []
    seen.register_forward_pre_hook(lambda _, given: values.append(given[0]))
    critic(torch.ones(8, 1, 32, 32))
    assert 0.18 < (values[0] == 0).float().mean().item() < 0.22
    assert values[0].max().item() == pytest.approx(1 / 0.8)


@pytest.mark.parametrize("init", [0.05, 0.005])
@pytest.mark.parametrize("method", METHODS)
def test_uniform_initialisation(method: str, init: float) -> None:
    torch.manual_seed(0)
    for network in (Generator(spec(), 50, method, init=init), Critic(spec(), method, init=init)):
        layers = [module for module in network.modules() if isinstance(module, nn.Linear)]
        values = torch.cat([layer.weight.detach().flatten() for layer in layers])
        values = values[values != 0]
        assert 0.99 * init < values.abs().max().item() <= init
        assert 0.97 * init / math.sqrt(3) < values.std().item() < 1.03 * init / math.sqrt(3)
        assert abs(values.mean().item()) < 0.02 * init
        assert all(not layer.bias.any() for layer in layers if layer.bias is not None)
        assert not any(m.affine.weight.any() for m in network.modules() if isinstance(m, ConditionalNorm))


def test_batch_normalisation_is_an_option() -> None:
    norms = [m for m in Generator(spec(), 5, norm="batch").modules() if isinstance(m, nn.BatchNorm1d)]
    assert [norm.num_features for norm in norms] == [256, 512]
    assert not any(isinstance(m, nn.BatchNorm1d) for m in Generator(spec(), 5).modules())


def test_weights_of_the_original_networks() -> None:
    """Goodfellow 2014 and Mirza 2014 on MNIST, counted by hand."""
    data = spec(28, 1, 10)
    recipe = Recipe.load("gan-mnist")
    generator = Generator(data, recipe.latent.count, **_options(recipe, "generator"))
    critic = Critic(data, **_options(recipe, "critic"))
    assert count(generator) == 101 * 1200 + 1201 * 1200 + 1201 * 784 == 2_503_984
    assert count(critic) == 785 * 240 * 5 + 241 * 240 * 5 + 241 == 1_231_441
    recipe = Recipe.load("cgan-mnist")
    generator = Generator(data, recipe.latent.count, "join", **_options(recipe, "generator"))
    critic = Critic(data, "join", **_options(recipe, "critic"))
    assert count(generator) == 101 * 200 + 11 * 1000 + 1201 * 1200 + 1201 * 784 == 2_413_984
    assert count(critic) == 785 * 240 * 5 + 11 * 50 * 5 + 291 * 240 * 4 + 241 == 1_224_351


def _options(recipe: Recipe, role: str) -> dict[str, Any]:
    options = (recipe.generator if role == "generator" else recipe.critic).options
    return {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}


def test_the_critic_can_start_with_other_weights_for_labels() -> None:
    torch.manual_seed(0)
    critic = Critic(spec(), "join", labels=500, init=0.005, label_init=0.02)
    assert critic.from_labels is not None
    assert 0.019 < critic.from_labels.linear.weight.abs().max() <= 0.02
    assert 0.0049 < critic.from_image.linear.weight.abs().max() <= 0.005


@pytest.mark.parametrize("pieces", [(1,), (3,)])
def test_labels_that_meet_their_weights_once_each_give_what_joined_rows_give(pieces: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    critic = Critic(spec(), "join", first=7, labels=5, hidden=(6, 4), pieces=pieces, init=0.5)
    images, labels = torch.rand(9, 1, 8, 8), torch.randint(0, 3, (9, 1))

    def joined() -> Tensor:
        hot = multi_hot(labels, (3,))
        assert critic.from_labels is not None
        x = torch.cat([critic.from_image((images.flatten(1) + 1) / 2), critic.from_labels(hot)], 1)
        for layer in critic.hidden:
            x = layer(x)
        return critic.head(x, hot)  # type: ignore[no-any-return]

    def gradients(scores: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(scores.square().sum(), list(critic.parameters()))

    torch.testing.assert_close(critic(images, labels), joined(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradients(critic(images, labels)), gradients(joined()), rtol=1e-5, atol=1e-5)
