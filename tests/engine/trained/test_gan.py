"""Sampling: each image is a function of its seed and its labels, whatever else is asked for."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from zerosum.data.pictures.spec import PictureSpec
from zerosum.engine.trained.gan import BLOCK, LabelGan, spherical
from zerosum.errors import ZerosumError
from zerosum.networks import dcgan, mlp
from zerosum.networks.conditioning import ConditionalNorm
from zerosum.recipe import Latent

ONE = PictureSpec.of(1, 16, 16, {"class": ("cat", "dog", "7")}, ((0,), (1,), (2,)), (10, 30, 60))
#: no young male in the data
TWO = PictureSpec.of(
    3,
    16,
    12,
    {"gender": ("female", "male"), "age": ("young", "old")},
    ((0, 0), (0, 1), (1, 1)),
    (20, 30, 50),
)


def make_gan(
    spec: PictureSpec = ONE, method: str = "embed", latent: Latent | None = None, network: str = "dcgan"
) -> LabelGan:
    latent = latent or Latent(size=6)
    torch.manual_seed(0)
    generator: nn.Module
    if network == "dcgan":
        generator = dcgan.Generator(spec, latent.count, method, width=4)
    else:
        generator = mlp.Generator(spec, latent.count, method, first=16, labels=16, hidden=(16,), init=0.5)
    with torch.no_grad():
        for module in generator.modules():
            if isinstance(module, ConditionalNorm):
                nn.init.normal_(module.affine.weight)
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                module.running_mean.normal_(std=0.01)
                assert module.running_var is not None
                module.running_var.fill_(0.01)
    generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return LabelGan(generator.eval(), spec, latent, method != "none", torch.device("cpu"))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 200), min_size=1, max_size=80), st.data())
def test_a_seed_gives_the_same_image_in_any_company(seeds: list[int], data: st.DataObject) -> None:
    gan = GANS[data.draw(st.sampled_from(sorted(GANS)))]
    images = gan.sample(seeds=seeds)
    assert images.shape[0] == len(seeds)
    place = data.draw(st.integers(0, len(seeds) - 1))
    alone = gan.sample(seed=seeds[place])
    assert torch.equal(images[place], alone[0])


GANS = {
    f"{network} {method}": make_gan(method=method, network=network)
    for network in ("dcgan", "mlp")
    for method in ("none", "join", "embed", "auxiliary")
}


@pytest.mark.parametrize("name", list(GANS))
def test_ranges_orders_and_neighbours(name: str) -> None:
    gan = GANS[name]
    images = gan.sample(BLOCK + 9, seed=3)
    assert torch.equal(gan.sample(5, seed=10), images[7:12])
    assert torch.equal(gan.sample(seeds=[12, 4, 40, 4]), images[[9, 1, 37, 1]])
    # seeds that share a place in their blocks
    assert torch.equal(gan.sample(seeds=[5 + BLOCK, 5])[1], images[2])
    if gan.conditional:
        cats = gan.sample(20, label="cat", seed=3)
        assert torch.equal(gan.sample(1, label="cat", seed=9)[0], cats[6])
        assert torch.equal(gan.sample(2, label=["dog", "cat"], seed=8)[1], cats[6])
    # different seeds give different images
    assert len({tuple(image.flatten().tolist()) for image in images}) == BLOCK + 9


class Rounding(nn.Module):
    """Rounds by the size of the batch and the place in it, as matrix products do, only more visibly."""

    def forward(self, z: Tensor, _: Tensor | None) -> Tensor:
        error = torch.arange(len(z)) / 1000 + len(z) / 100
        return torch.tanh(z.mean(1) + error)[:, None, None, None].expand(-1, 1, 16, 16)


def test_rounding_does_not_show() -> None:
    gan = LabelGan(Rounding(), ONE, Latent(size=6), True, torch.device("cpu"))
    images = gan.sample(3 * BLOCK, seed=5)
    assert torch.equal(gan.sample(1, seed=50)[0], images[45])
    assert torch.equal(gan.sample(20, seed=7), images[2:22])
    seeds = [BLOCK + 6, 6, 60, 6, 2 * BLOCK + 6, 5]
    assert torch.equal(gan.sample(seeds=seeds), images[[seed - 5 for seed in seeds]])


@pytest.mark.parametrize("name", list(GANS))
def test_a_stream_gives_what_sampling_at_once_does(name: str) -> None:
    gan = GANS[name]
    seeds = [*range(5, 80), 7, 39, 7]
    constraint = {"label": "dog"} if gan.conditional else {}
    for size in (1, 7, 256):
        parts = list(gan.stream(seeds, size=size, **constraint))  # type: ignore[arg-type]
        assert [len(images) for images, _ in parts] == [size] * (78 // size) + [78 % size] * (78 % size > 0)
        assert torch.equal(torch.cat([images for images, _ in parts]), gan.sample(seeds=seeds, **constraint))  # type: ignore[arg-type]
        labels = [labels for _, labels in parts if labels is not None]
        assert bool(labels) == gan.conditional
        assert not labels or torch.cat(labels).tolist() == [[1]] * 78
    free = [labels for _, labels in gan.stream(seeds, size=7) if labels is not None]
    drawn = gan.draw_labels(seeds, {})
    assert (drawn is None) == (not free)
    assert drawn is None or torch.equal(torch.cat(free), drawn)


def test_a_stream_is_refused_before_its_first_image() -> None:
    for keys, message in (
        ({"seeds": []}, "at least one"),
        ({"seeds": [0, -1]}, "from 0 on"),
        ({"label": "cow"}, "cow"),
    ):
        with pytest.raises(ZerosumError, match=message):
            GANS["mlp join"].stream(**({"seeds": [1]} | keys))


class Counting(nn.Module):
    calls = 0

    def forward(self, z: Tensor, _: Tensor | None) -> Tensor:
        self.calls += 1
        assert len(z) == BLOCK
        return z.new_zeros(len(z), 1, 16, 16)


@pytest.mark.parametrize(
    ("seeds", "blocks"),
    [
        (range(BLOCK), 1),
        (range(10 * BLOCK), 10),
        (range(3, 3 + BLOCK), 1),
        (range(BLOCK + 1), 2),
        (range(0, 5 * BLOCK, BLOCK), 5),  # all in the same place
        ([0, BLOCK, 1, 2 * BLOCK, 2], 3),
    ],
)
def test_no_more_blocks_than_seeds_need(seeds: list[int], blocks: int) -> None:
    network = Counting()
    LabelGan(network, ONE, Latent(size=6), False, torch.device("cpu")).sample(seeds=seeds)
    assert network.calls == blocks


def test_sampling_leaves_everything_as_it_was() -> None:
    gan = make_gan()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    gan.generator.train()
    before = {name: value.clone() for name, value in gan.generator.state_dict().items()}
    first = gan.sample(3)
    assert torch.equal(torch.rand(2), expected)
    assert gan.generator.training
    assert all(torch.equal(value, before[name]) for name, value in gan.generator.state_dict().items())
    assert torch.equal(gan.sample(3), first)


def test_labels_by_name_by_index_and_one_for_each() -> None:
    gan = make_gan()
    dogs = gan.sample(4, label="dog")
    assert torch.equal(dogs, gan.sample(4, label=1))
    assert torch.equal(dogs, gan.sample(4, where={"class": "dog"}))
    assert not torch.equal(dogs, gan.sample(4, label="cat"))
    mixed = gan.sample(3, label=["cat", 1, "dog"])
    assert torch.equal(mixed[1:], dogs[1:3])
    assert torch.equal(mixed[0], gan.sample(1, label=0)[0])
    # a value that is called 7 is meant by 7, be it a word or a number
    assert torch.equal(gan.sample(2, label=7), gan.sample(2, label="7"))
    assert torch.equal(gan.sample(2, label=7), gan.sample(2, label=2))


def test_where_with_several_attributes() -> None:
    gan = make_gan(TWO)
    labels = gan.draw_labels(range(50), gan.constraint(None, {"gender": "female", "age": "old"}))
    assert labels is not None
    assert labels.tolist() == [[0, 1]] * 50
    labels = gan.draw_labels(range(200), gan.constraint(None, {"gender": "female"}))
    assert labels is not None
    assert (labels[:, 0] == 0).all()
    assert 0.5 < labels[:, 1].float().mean().item() < 0.7  # 30 old among 50
    # never seen together: what was asked for is made all the same
    labels = gan.draw_labels(range(50), gan.constraint(None, {"gender": "male", "age": "young"}))
    assert labels is not None
    assert labels.tolist() == [[1, 0]] * 50
    labels = gan.draw_labels(range(50), gan.constraint(None, {"gender": "male"}))
    assert labels is not None
    assert labels.tolist() == [[1, 1]] * 50


@pytest.mark.parametrize(
    ("label", "where", "message"),
    [
        ("bird", None, r"unknown class 'bird': the data has cat, dog, 7"),
        (3, None, r"unknown class '3': the data has cat, dog, 7"),
        (-1, None, r"unknown class '-1'"),
        (None, {"clas": "cat"}, r"unknown attribute 'clas': did you mean 'class'"),
        (["cat", "dog"], None, r"2 labels for 4 samples"),
    ],
)
def test_unknown_labels_are_refused(
    label: str | int | list[str | int] | None, where: dict[str, str | int] | None, message: str
) -> None:
    with pytest.raises(ZerosumError, match=message):
        make_gan().sample(4, label=label, where=where)


def test_what_cannot_be_asked_for() -> None:
    with pytest.raises(ZerosumError, match=r"several attributes \(gender, age\): name them with where"):
        make_gan(TWO).sample(label="female")
    for label, where in (("cat", None), (None, {"class": "cat"}), (["cat"], None)):
        with pytest.raises(ZerosumError, match="trained without labels"):
            make_gan(method="none").sample(1, label=label, where=where)
    for seeds in ([], [-1], [3, -2]):
        with pytest.raises(ZerosumError, match="seeds are whole numbers"):
            make_gan().sample(seeds=seeds)
    with pytest.raises(ZerosumError, match="at least one"):
        make_gan().sample(0)


def test_open_labels_follow_the_data() -> None:
    labels = make_gan().draw_labels(range(3000), {})
    assert labels is not None
    shares = np.bincount(labels[:, 0].numpy(), minlength=3) / 3000
    assert np.abs(shares - [0.1, 0.3, 0.6]).max() < 0.03
    labels = make_gan(TWO).draw_labels(range(3000), {})
    assert labels is not None
    counts = {tuple(row): 0 for row in TWO.combinations}
    for row in labels.tolist():
        counts[tuple(row)] += 1  # and no other combination
    assert [count / 3000 for count in counts.values()] == pytest.approx([0.2, 0.3, 0.5], abs=0.03)
    assert make_gan(method="none").draw_labels(range(3), {}) is None


def test_labels_and_noise_of_a_seed_are_independent() -> None:
    """Else some classes would only ever be seen with some z."""
    for latent in (Latent(size=6), Latent(size=6, distribution="uniform", bound=1.7320508)):
        gan = make_gan(latent=latent)
        labels, z = gan.draw_labels(range(3000), {}), gan.latents(range(3000))
        assert labels is not None
        for label in range(3):
            chosen = z[labels[:, 0] == label]
            assert chosen.mean(0).abs().max().item() < 0.25
            assert (chosen.abs().mean(0) - z.abs().mean(0)).abs().max().item() < 0.15


def test_normal_latents() -> None:
    z = make_gan(latent=Latent(size=40)).latents(range(1000))
    assert z.shape == (1000, 40)
    assert z.dtype == torch.float32
    assert abs(z.mean().item()) < 0.02
    assert 0.98 < z.std().item() < 1.02
    assert 3.5 < z.abs().max().item() < 6
    assert torch.equal(make_gan(latent=Latent(size=40)).latents([7])[0], z[7])


@pytest.mark.parametrize("bound", [1.0, 1.7320508])
def test_uniform_latents(bound: float) -> None:
    z = make_gan(latent=Latent(size=40, distribution="uniform", bound=bound)).latents(range(1000))
    assert 0.999 * bound < z.max().item() <= bound
    assert -bound <= z.min().item() < -0.999 * bound
    assert abs(z.mean().item()) < 0.02
    assert 0.98 * bound / 3**0.5 < z.std().item() < 1.02 * bound / 3**0.5


def test_samples_have_the_datas_own_size() -> None:
    gan = make_gan(TWO)
    images = gan.sample(3)
    assert images.shape == (3, 3, 12, 12)
    assert images.dtype == torch.float32
    assert images.abs().max() <= 1
    assert not images.requires_grad
    assert make_gan(ONE).sample(2).shape == (2, 1, 16, 16)
    # 14 of 16 are padded: the frame is cut off again
    padded = make_gan(PictureSpec.of(1, 16, 14, ONE.labels, ONE.combinations, ONE.counts))
    whole: Tensor = padded.generate([0, 1], padded.draw_labels([0, 1], {}))
    assert torch.equal(padded.sample(2), whole[:, :, 1:15, 1:15])


def test_interpolation_leads_from_seed_to_seed_under_one_condition() -> None:
    gan = make_gan()
    way = gan.interpolate(3, 4, 7, label="dog")
    assert way.shape == (7, 1, 16, 16) and way.abs().max() <= 1
    ends = gan.sample(seeds=[3, 4], label="dog")
    assert (way[[0, -1]] - ends).abs().max() < 1e-5
    # without a label: what the first seed draws, all the way
    assert (gan.interpolate(3, 4, 2)[0] - gan.sample(seed=3)[0]).abs().max() < 1e-5
    native = make_gan(TWO).interpolate(0, 1, 2, where={"gender": "male", "age": "young"})
    assert native.shape == (2, 3, 12, 12)
    assert make_gan(method="none").interpolate(0, 0, 3).std(0).max() < 1e-5


def test_interpolation_is_refused_with_the_reason() -> None:
    gan = make_gan(method="none")
    for first, last, frames in ((0, 1, 1), (-1, 1, 3)):
        with pytest.raises(ZerosumError, match="at least two frames"):
            gan.interpolate(first, last, frames)
    with pytest.raises(ZerosumError, match="trained without labels"):
        gan.interpolate(0, 1, label="cat")


def test_the_way_between_normal_latents_keeps_their_length() -> None:
    start, end = torch.randn(2, 1000, generator=torch.Generator().manual_seed(0))
    shares = torch.linspace(0, 1, 11)
    way = torch.stack([spherical(start, end, share) for share in shares])
    assert torch.allclose(way[[0, -1]], torch.stack([start, end]), atol=1e-4)
    assert torch.allclose(way.norm(dim=1), torch.lerp(start.norm(), end.norm(), shares), rtol=1e-4)
    steps = torch.nn.functional.cosine_similarity(way[1:], way[:-1])  # equal angles
    assert steps.max() - steps.min() < 1e-3
    # no circle is given by directions that are the same or opposite, or by nothing
    for other in (start, 2 * start, -start, torch.zeros(1000)):
        middle = spherical(start, other, torch.tensor(0.5))
        assert torch.allclose(middle, (start + other) / 2, atol=1e-3)


def test_interpolation_leads_along_the_circle() -> None:
    """A straight line would pass through shorter latents, and so through other images."""
    gan = make_gan(method="none")
    start, end = gan.latents([0, 1])
    middle = spherical(start, end, torch.tensor(0.5))
    assert middle.norm() > 1.2 * torch.lerp(start, end, 0.5).norm()
    assert torch.allclose(middle.norm(), (start.norm() + end.norm()) / 2)
    expected, straight = gan.draw(torch.stack([middle, (start + end) / 2]))
    found = gan.interpolate(0, 1, 3)[1]
    assert (found - expected).abs().max() < 1e-5
    assert (found - straight).abs().max() > 1e-3


def test_the_way_between_uniform_latents_is_straight() -> None:
    gan = make_gan(method="none", latent=Latent(size=6, distribution="uniform"))
    middle = gan.interpolate(0, 1, 3)[1]
    z = gan.latents([0, 1]).mean(0, keepdim=True)
    with torch.no_grad():
        assert (gan.generator(z, None)[0] - middle).abs().max() < 1e-5
