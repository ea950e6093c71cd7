"""From a recipe to networks: families, options, and networks from outside."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import tiny_recipe
from zerosum.data.pictures.spec import Input, PictureSpec
from zerosum.errors import ZerosumError
from zerosum.loading import packaged
from zerosum.modalities.picture import section
from zerosum.networks import CRITICS, GENERATORS, dcgan, make_critic, make_generator, mlp
from zerosum.recipe import Recipe
from zerosum.tasks import task_of

SPEC = PictureSpec.of(1, 16, 16, {"class": ("a", "b", "c")})


class Own(nn.Module):
    """A generator from outside, which names only what it needs."""

    def __init__(self, latent: int, depth: int = 1) -> None:
        super().__init__()
        self.depth = depth
        self.layer = nn.Linear(latent, 256)

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        return torch.tanh(self.layer(z)).view(-1, 1, 16, 16)


class Greedy(nn.Module):
    """A critic from outside, which takes any option."""

    def __init__(self, spec: PictureSpec, method: str, **options: Any) -> None:
        super().__init__()
        self.spec, self.method, self.options = spec, method, options


def test_families_by_name() -> None:
    assert {"dcgan", "mlp"} <= {*GENERATORS} & {*CRITICS}
    assert isinstance(make_generator(tiny_recipe(), SPEC), mlp.Generator)
    assert isinstance(make_critic(tiny_recipe(network="dcgan"), SPEC), dcgan.Critic)


def test_options_arrive() -> None:
    recipe = tiny_recipe({"generator.hidden": [5, 6], "generator.dropout": 0.25, "condition.method": "join"})
    generator = make_generator(recipe, SPEC)
    assert isinstance(generator, mlp.Generator)
    assert [layer.out_features for layer in generator.hidden] == [5, 6]
    assert (generator.dropout, generator.method) == (0.25, "join")
    assert generator.from_z.in_features == recipe.latent.size


@pytest.mark.parametrize("name", [name for name in packaged() if name != "table"])  # see modalities/test_row.py
def test_every_packaged_recipe_builds(name: str) -> None:
    recipe = Recipe.load(name)
    data = section(recipe.data)
    given = Input(1, data.factor if data.input == "shrunk" else 1) if data.input != "none" else None
    if data.input == "drive":
        rules = data.drive
        planes = rules.frames + len(rules.actions) * rules.ahead
        given = Input(planes, 1, rules.frames, rules.ahead, rules.actions)
    spec = PictureSpec.of(1, data.resolution or 28, 28, {"class": ("a", "b")}, given=given)
    assert sum(weight.numel() for weight in task_of(recipe).make_generator(recipe, spec).parameters()) > 10_000
    assert sum(weight.numel() for weight in task_of(recipe).make_critic(recipe, spec).parameters()) > 10_000


def test_a_blind_critic() -> None:
    recipe = tiny_recipe({"condition.method": "join", "critic.conditional": False})
    critic, generator = make_critic(recipe, SPEC), make_generator(recipe, SPEC)
    assert isinstance(critic, mlp.Critic)
    assert isinstance(generator, mlp.Generator)
    assert critic.from_labels is None
    assert generator.from_labels is not None
    images = torch.zeros(2, 1, 16, 16)
    assert torch.equal(critic(images, torch.tensor([[0], [0]])), critic(images, torch.tensor([[1], [2]])))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("generator.netwrok", "mlp", r"unknown key 'generator.netwrok' of network mlp: did you mean 'network'"),
        ("generator.hiden", [4], r"did you mean 'hidden'"),
        ("generator.latent", 5, r"unknown key 'generator.latent'"),
        ("critic.pieces", 5, r"critic: pieces = 5: should be"),
        ("critic.first", "many", r"critic: first = 'many': should be"),
        ("critic.network", "dcgam", r"unknown critic.network 'dcgam': did you mean 'dcgan'"),
        ("generator.network", "no.such.module:Class", r"generator.network 'no.such.module:Class' cannot be imported"),
        ("generator.network", "tests.networks.test_build:Missing", r"cannot be imported"),
        ("generator.network", "tests.networks.test_build:SPEC", r"is no torch.nn.Module class"),
    ],
)
def test_what_does_not_fit_is_refused(key: str, value: Any, message: str) -> None:
    recipe = tiny_recipe({key: value})
    with pytest.raises(ZerosumError, match=message):
        make_generator(recipe, SPEC)
        make_critic(recipe, SPEC)


def test_networks_by_dotted_path() -> None:
    path = "tests.networks.test_build:Own"
    recipe = Recipe.parse({"generator": {"network": path, "depth": 3}, "latent": {"size": 9}})
    generator = make_generator(recipe, SPEC)
    assert isinstance(generator, Own)
    assert (generator.depth, generator.layer.in_features) == (3, 9)
    with pytest.raises(ZerosumError, match=r"unknown key 'generator.dept'.*did you mean 'depth'"):
        make_generator(recipe.with_overrides({"generator.dept": 3}), SPEC)
    recipe = Recipe.parse({"critic": {"network": "tests.networks.test_build:Greedy", "anything": [1, "two"]}})
    critic = make_critic(recipe, SPEC)
    assert isinstance(critic, Greedy)
    assert (critic.spec, critic.method, critic.options) == (SPEC, "none", {"anything": [1, "two"]})


def test_families_fit_the_condition() -> None:
    pictured = tiny_recipe({"condition.method": "given", "data.input": "edges"})
    given = PictureSpec.of(1, 16, 16, given=Input(1))
    with pytest.raises(
        ZerosumError, match=r"generator.network = mlp is not for picture data .* given: choose from .*srr"
    ):
        make_generator(pictured, given)
    with pytest.raises(ZerosumError, match=r"critic.network = mlp is not for picture data .* given: choose from patch"):
        make_critic(pictured, given)
    with pytest.raises(
        ZerosumError, match=r"= srresnet is not for picture data with samples of channel, .*: choose from dcgan, mlp$"
    ):
        make_generator(tiny_recipe({"generator": {"network": "srresnet"}}), SPEC)
    with pytest.raises(ZerosumError, match=r"latent.size = 0: a generator to which nothing is given"):
        make_generator(tiny_recipe({"latent.size": 0}), SPEC)
    assert make_critic(tiny_recipe({"critic": {"network": "patch", "width": 4, "layers": 1}}), SPEC)
