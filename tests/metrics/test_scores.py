"""The formulas against closed forms, slow loops over their definitions, and torchmetrics."""

import itertools
import math
from dataclasses import astuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import KernelInceptionDistance

from zerosum.metrics import scores
from zerosum.metrics.pictures.edges import Edges
from zerosum.metrics.scores import (
    LabelReader,
    Manifold,
    Moments,
    frechet_distance,
    kernel_distance,
    label_effect,
    manifold,
    nearest,
    squared_distances,
)

Row = tuple[float, ...]

seeds = st.integers(0, 10_000)
few = settings(deadline=None, max_examples=25)


def normal(count: int, size: int, seed: int = 0) -> Tensor:
    """Float64 rows of a standard Gaussian."""
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def whole(count: int, size: int, seed: int = 0, most: int = 4) -> Tensor:
    """Small whole numbers: their squared distances are exact, and many are equal."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-most, most + 1, (count, size), generator=generator).double()


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def as_rows(pile: Tensor) -> list[Row]:
    return [tuple(row) for row in pile.tolist()]


def exact_distances(rows: Tensor, columns: Tensor) -> Tensor:
    """Differences first, so that nothing cancels."""
    return torch.cdist(rows.double(), columns.double(), compute_mode="donot_use_mm_for_euclid_dist")


class Unchanged(nn.Module):
    """The feature network for torchmetrics: images are features already."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.num_features = size

    def forward(self, features: Tensor) -> Tensor:
        return features


# --- moments


@few
@given(st.lists(st.integers(0, 23), max_size=8), st.integers(1, 6), st.sampled_from((0.01, 1.0, 30.0)), seeds)
def test_moments_do_not_depend_on_batches(cuts: list[int], size: int, scale: float, seed: int) -> None:
    rows = normal(23, size, seed) * scale + scale
    moments = Moments(size)
    for batch in torch.tensor_split(rows, sorted(cuts)):  # equal cuts make empty batches
        moments.add(batch)
    covariance = torch.cov(rows.T).reshape(size, size)
    assert moments.count == 23
    torch.testing.assert_close(moments.mean, rows.mean(0), rtol=1e-10, atol=1e-10 * scale)
    torch.testing.assert_close(moments.covariance, covariance, rtol=1e-10, atol=1e-10 * scale**2)
    assert moments.spread == pytest.approx(math.sqrt(float(covariance.trace())), rel=1e-10)


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_moments_far_from_the_origin(batch: int) -> None:
    """Sums of squares would have lost four of the digits that are asked for here."""
    rows = normal(1000, 3) + 1e6
    moments = Moments(3)
    for part in torch.split(rows, batch):
        moments.add(part)
    torch.testing.assert_close(moments.mean, rows.mean(0), rtol=1e-14, atol=0)
    torch.testing.assert_close(moments.covariance, torch.cov(rows.T), rtol=1e-8, atol=1e-8)


def test_an_empty_batch_changes_nothing() -> None:
    moments = Moments(2).add(column(1, 5).expand(2, 2))
    before = moments.count, moments.mean.clone(), moments.covariance, moments.spread
    moments.add(torch.zeros(0, 2))
    assert (moments.count, moments.spread) == (before[0], before[3])
    assert torch.equal(moments.mean, before[1])
    assert torch.equal(moments.covariance, before[2])
    untouched = Moments(2).add(torch.zeros(0, 2))
    assert (untouched.count, untouched.spread) == (0, 0.0)
    assert torch.equal(untouched.covariance, torch.zeros(2, 2, dtype=torch.float64))


def test_a_single_row_is_its_own_mean_without_spread() -> None:
    row = normal(1, 4)
    moments = Moments(4).add(row)
    assert torch.equal(moments.mean, row[0])
    assert torch.equal(moments.covariance, torch.zeros(4, 4, dtype=torch.float64))
    assert moments.spread == 0


def test_moments_by_hand() -> None:
    moments = Moments(2).add(torch.tensor([[0.0, 0.0], [2.0, 4.0]]))
    assert moments.mean.tolist() == [1, 2]
    assert moments.covariance.tolist() == [[2, 4], [4, 8]]
    assert moments.spread == pytest.approx(math.sqrt(10))


def test_float32_features_are_summed_in_float64() -> None:
    real, fake = (normal(60, 3, seed).float() * 0.1 + 30 for seed in (1, 2))
    single, double = Moments(3).add(real), Moments(3).add(real.double())
    assert torch.equal(single.mean, double.mean)
    assert torch.equal(single.covariance, double.covariance)
    assert kernel_distance(real, fake) == kernel_distance(real.double(), fake.double())
    assert manifold(real, fake) == manifold(real.double(), fake.double())
    readers = LabelReader((3,), 60), LabelReader((3,), 60)
    readers[0].add(real, None)
    readers[1].add(real.double(), None)
    assert readers[0].inception_score == readers[1].inception_score


# --- Frechet distance


def spread_out(size: int, seed: int) -> Tensor:
    """A covariance that is far from singular."""
    rows = normal(2 * size + 2, size, seed)
    return rows.T @ rows / len(rows) + 0.1 * torch.eye(size, dtype=torch.float64)


def rotation(size: int, seed: int) -> Tensor:
    q: Tensor = torch.linalg.qr(normal(size, size, seed)).Q
    return q


def pair(size: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Means and covariances of two Gaussians."""
    means = normal(2, size, seed)
    return means[0], spread_out(size, seed + 1), means[1], spread_out(size, seed + 2)


def of_rows(real: Tensor, fake: Tensor) -> float:
    one, other = Moments(real.shape[1]).add(real), Moments(fake.shape[1]).add(fake)
    return frechet_distance(one.mean, one.covariance, other.mean, other.covariance)


@few
@given(st.floats(-5, 5), st.floats(0.1, 4), st.floats(-5, 5), st.floats(0.1, 4))
def test_frechet_distance_on_a_line(mean: float, std: float, other_mean: float, other_std: float) -> None:
    distance = frechet_distance(column(mean)[0], column(std**2), column(other_mean)[0], column(other_std**2))
    assert distance == pytest.approx((mean - other_mean) ** 2 + (std - other_std) ** 2, rel=1e-9, abs=1e-9)


@few
@given(st.integers(1, 6), seeds, st.booleans())
def test_frechet_distance_of_covariances_with_the_same_axes(size: int, seed: int, turned: bool) -> None:
    stds, means = normal(2, size, seed).abs(), normal(2, size, seed + 1)
    axes = rotation(size, seed) if turned else torch.eye(size, dtype=torch.float64)
    one, other = (axes * row.square() @ axes.T for row in stds)
    expected = float((means[0] - means[1]).square().sum() + (stds[0] - stds[1]).square().sum())
    assert frechet_distance(means[0], one, means[1], other) == pytest.approx(expected, rel=1e-7)


@few
@given(seeds)
def test_frechet_distance_in_the_plane(seed: int) -> None:
    """A 2x2 matrix has tr(M^(1/2))^2 = tr M + 2 det(M)^(1/2), whatever its axes."""
    mean, one, other_mean, other = pair(2, seed)
    product = one @ other
    root = math.sqrt(float(product.trace()) + 2 * math.sqrt(float(torch.linalg.det(product))))
    expected = float((mean - other_mean).square().sum() + one.trace() + other.trace()) - 2 * root
    assert frechet_distance(mean, one, other_mean, other) == pytest.approx(expected, rel=1e-9)


@few
@given(st.integers(1, 8), seeds, st.floats(0.1, 10))
def test_frechet_distance_does_what_a_squared_distance_does(size: int, seed: int, scale: float) -> None:
    mean, one, other_mean, other = pair(size, seed)
    distance = frechet_distance(mean, one, other_mean, other)
    assert distance > 0
    assert frechet_distance(other_mean, other, mean, one) == pytest.approx(distance, rel=1e-9)
    q = rotation(size, seed + 3)
    turned = frechet_distance(q @ mean, q @ one @ q.T, q @ other_mean, q @ other @ q.T)
    assert turned == pytest.approx(distance, rel=1e-9)
    scaled = frechet_distance(scale * mean, scale**2 * one, scale * other_mean, scale**2 * other)
    assert scaled == pytest.approx(scale**2 * distance, rel=1e-9)
    for same in (frechet_distance(mean, one, mean, one), frechet_distance(other_mean, other, other_mean, other)):
        assert 0 <= same < 1e-9


@few
@given(st.integers(2, 9), st.integers(2, 9), seeds)
def test_frechet_distance_of_fewer_rows_than_features(count: int, other_count: int, seed: int) -> None:
    """tr (C1 C2)^(1/2) is also the sum of the singular values of A B^T, where C1 = A^T A and C2 = B^T B."""
    real, fake = normal(count, 12, seed), 2 * normal(other_count, 12, seed + 1) + 1
    one, other = torch.cov(real.T), torch.cov(fake.T)
    a, b = ((pile - pile.mean(0)) / math.sqrt(len(pile) - 1) for pile in (real, fake))
    apart = float((real.mean(0) - fake.mean(0)).square().sum() + one.trace() + other.trace())
    distance = of_rows(real, fake)
    assert distance == pytest.approx(apart - 2 * float(torch.linalg.svdvals(a @ b.T).sum()), rel=1e-5)
    roots = torch.linalg.eigvals(one @ other).sqrt().real.sum()
    assert distance == pytest.approx(apart - 2 * float(roots), rel=1e-5)
    assert 0 <= of_rows(real, real) < 1e-5


def test_frechet_distance_of_points() -> None:
    """Without any spread only the means are apart."""
    nothing = torch.zeros(3, 3, dtype=torch.float64)
    assert frechet_distance(column(1, 2, 3)[:, 0], nothing, column(1, 0, 0)[:, 0], nothing) == pytest.approx(13)


def test_samples_approach_the_frechet_distance_of_their_gaussians() -> None:
    mean, one, other_mean, other = pair(4, 5)
    roots = [torch.linalg.cholesky(covariance) for covariance in (one, other)]
    expected = frechet_distance(mean, one, other_mean, other)
    off = []
    for count in (100, 100_000):
        real, fake = normal(count, 4, 1) @ roots[0].T + mean, normal(count, 4, 2) @ roots[1].T + other_mean
        off.append(abs(of_rows(real, fake) / expected - 1))
    assert off[1] < 0.01
    assert 3 * off[1] < off[0] < 0.5


@pytest.mark.parametrize(("count", "size"), [(300, 8), (500, 40), (20, 40)])
def test_frechet_distance_agrees_with_torchmetrics(count: int, size: int) -> None:
    mix = spread_out(size, 3)
    real, fake = normal(count, size, 1) @ mix, normal(count + 30, size, 2) * 1.3 + 0.2
    theirs = FrechetInceptionDistance(Unchanged(size)).set_dtype(torch.float64)
    for batch in torch.split(real, 64):
        theirs.update(batch, real=True)
    for batch in torch.split(fake, 64):
        theirs.update(batch, real=False)
    # with fewer rows than features most eigenvalues are roots of rounding errors
    rel = 1e-9 if count > size else 1e-5
    assert of_rows(real, fake) == pytest.approx(float(theirs.compute()), rel=rel)


# --- kernel distance


def kernel(x: Row, y: Row) -> float:
    dot: float = sum(a * b for a, b in zip(x, y, strict=True))
    return (dot / len(x) + 1) ** 3


def slow_kernel_distance(real: list[Row], fake: list[Row]) -> float:
    n, m = len(real), len(fake)
    inside = sum(kernel(real[i], real[j]) for i, j in itertools.permutations(range(n), 2)) / (n * (n - 1))
    inside += sum(kernel(fake[i], fake[j]) for i, j in itertools.permutations(range(m), 2)) / (m * (m - 1))
    return inside - 2 * sum(kernel(x, y) for x in real for y in fake) / (n * m)


def slow_jackknife(real: Tensor, fake: Tensor, blocks: int) -> float:
    values = []
    for left_out in range(blocks):
        kept = []
        for pile in (real, fake):
            parts = torch.tensor_split(pile, blocks)
            kept.append(as_rows(torch.cat([part for index, part in enumerate(parts) if index != left_out])))
        values.append(slow_kernel_distance(*kept))
    mean = sum(values) / blocks
    return math.sqrt((blocks - 1) / blocks * sum((value - mean) ** 2 for value in values))


@few
@given(st.integers(2, 13), st.integers(2, 13), st.integers(1, 5), st.integers(1, 8), seeds)
def test_kernel_distance_is_a_double_loop(n: int, m: int, size: int, blocks: int, seed: int) -> None:
    real, fake = normal(n, size, seed), 1.5 * normal(m, size, seed + 1) + 0.5
    value, error = kernel_distance(real, fake, blocks)
    assert value == pytest.approx(slow_kernel_distance(as_rows(real), as_rows(fake)), rel=1e-9, abs=1e-9)
    blocks = min(blocks, n // 2, m // 2)  # two rows of each are left in every block
    if blocks < 3:
        assert math.isnan(error)
    else:
        assert error == pytest.approx(slow_jackknife(real, fake, blocks), rel=1e-9, abs=1e-9)


def test_kernel_distance_by_hand() -> None:
    """Kernels 1 and 27 inside, 1 and 1, 8 and 27 across: 1 + 27 - 2 (1 + 1 + 8 + 27) / 4."""
    real, fake = column(0, 1), column(1, 2)
    assert kernel_distance(real, fake)[0] == pytest.approx(1 + 27 - 2 * (1 + 1 + 8 + 27) / 4)
    # the dot product is divided by the number of features
    assert kernel_distance(real.expand(2, 7), fake.expand(2, 7))[0] == pytest.approx(9.5)


def test_kernel_distance_has_the_same_value_for_any_blocks() -> None:
    real, fake = normal(103, 4, 1), normal(71, 4, 2) * 1.2
    value, error = kernel_distance(real, fake)
    assert (value, error) == kernel_distance(real, fake, 20)
    for blocks in (1, 2, 3, 7, 35, 1000):
        other, other_error = kernel_distance(real, fake, blocks)
        assert other == pytest.approx(value, rel=1e-9)
        assert math.isnan(other_error) if blocks < 3 else error / 3 < other_error < 3 * error


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save all extracted features:UserWarning")
@pytest.mark.parametrize(("count", "size"), [(40, 3), (250, 48)])
def test_kernel_distance_agrees_with_torchmetrics(count: int, size: int) -> None:
    real, fake = normal(count, size, 1), normal(count, size, 2) * 1.3 + 0.2
    theirs = KernelInceptionDistance(Unchanged(size), subsets=1, subset_size=count)
    theirs.update(real, real=True)
    theirs.update(fake, real=False)
    assert kernel_distance(real, fake)[0] == pytest.approx(float(theirs.compute()[0]), rel=1e-9)


def kernel_distance_of_gaussians(mean: float, std: float, other_mean: float, other_std: float) -> float:
    """(x y + 1)^3 has the features 1, 3^(1/2) x, 3^(1/2) x^2, x^3: how far their means are apart."""

    def powers(m: float, s: float) -> tuple[float, float, float]:
        return m, m**2 + s**2, m**3 + 3 * m * s**2

    (a1, a2, a3), (b1, b2, b3) = powers(mean, std), powers(other_mean, other_std)
    return 3 * (a1 - b1) ** 2 + 3 * (a2 - b2) ** 2 + (a3 - b3) ** 2


def drawn_kernel_distances(other_mean: float, other_std: float, draws: int) -> Tensor:
    """Of 8 rows from N(0.4, 0.6) and 5 from another Gaussian."""
    real, fake = normal(draws, 8, 1) * 0.6 + 0.4, normal(draws, 5, 2) * other_std + other_mean
    return torch.tensor([kernel_distance(x[:, None], y[:, None])[0] for x, y in zip(real, fake, strict=True)])


@pytest.mark.parametrize(("mean", "std"), [(-0.2, 0.5), (0.4, 0.2)])
def test_kernel_distance_is_right_on_average(mean: float, std: float) -> None:
    values = drawn_kernel_distances(mean, std, 2500)
    expected, doubt = kernel_distance_of_gaussians(0.4, 0.6, mean, std), float(values.std()) / math.sqrt(len(values))
    assert doubt < expected / 15
    assert abs(float(values.mean()) - expected) < 3 * doubt


def test_kernel_distance_of_equals_is_around_zero() -> None:
    values = drawn_kernel_distances(0.4, 0.6, 2500)
    doubt = float(values.std()) / math.sqrt(len(values))
    assert abs(float(values.mean())) < 3 * doubt < 0.1
    assert 0.3 < float((values < 0).double().mean()) < 0.9


def test_the_error_of_the_kernel_distance_is_the_scatter_of_draws() -> None:
    draws = [kernel_distance(normal(200, 2, seed), normal(120, 2, 5000 + seed) + 0.5) for seed in range(300)]
    values, errors = torch.tensor(draws, dtype=torch.float64).unbind(1)
    assert 1 / 1.2 < float(errors.square().mean().sqrt() / values.std()) < 1.2


def test_the_error_of_the_kernel_distance_of_equals_is_cautious() -> None:
    """Where nothing differs, the jackknife counts the scatter twice in the variance."""
    draws = [kernel_distance(normal(120, 2, seed), normal(120, 2, 5000 + seed)) for seed in range(300)]
    values, errors = torch.tensor(draws, dtype=torch.float64).unbind(1)
    assert 1 < float(errors.square().mean().sqrt() / values.std()) < 1.8


# --- precision, recall, density, coverage


def squared(x: Row, y: Row) -> float:
    return sum((a - b) ** 2 for a, b in zip(x, y, strict=True))


def ball(pile: list[Row], centre: int, neighbours: int) -> float:
    """Squared radius of the ball around one row that reaches its k-th nearest other row."""
    others = [squared(pile[centre], row) for index, row in enumerate(pile) if index != centre]
    return sorted(others)[neighbours - 1]


def slow_manifold(real: list[Row], fake: list[Row]) -> Manifold:
    """Kynkaanniemi 2019, equations 1 to 3, with k = 3; Naeem 2020, equations 5 and 6, with k = 5."""
    thirds = [ball(real, index, 3) for index in range(len(real))]
    fake_thirds = [ball(fake, index, 3) for index in range(len(fake))]
    fifths = [ball(real, index, 5) for index in range(len(real))]
    precise = recalled = covered = inside = 0
    for y in fake:
        precise += any(squared(x, y) <= radius for x, radius in zip(real, thirds, strict=True))
        inside += sum(squared(x, y) <= radius for x, radius in zip(real, fifths, strict=True))
    for x, radius in zip(real, fifths, strict=True):
        recalled += any(squared(x, y) <= reach for y, reach in zip(fake, fake_thirds, strict=True))
        covered += any(squared(x, y) <= radius for y in fake)
    return Manifold(precise / len(fake), recalled / len(real), inside / (5 * len(fake)), covered / len(real))


@pytest.mark.parametrize("strip", [3, 512])
@settings(deadline=None, max_examples=40)
@given(
    n=st.integers(6, 30),
    m=st.integers(6, 30),
    size=st.integers(1, 5),
    shift=st.integers(0, 3),
    exact=st.booleans(),
    seed=seeds,
)
def test_manifold_is_a_double_loop(strip: int, n: int, m: int, size: int, shift: int, exact: bool, seed: int) -> None:
    """Whole numbers put many rows onto the surface of a ball, which belongs to it."""
    draw = whole if exact else normal
    real, fake = draw(n, size, seed), draw(m, size, seed + 1) + shift
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scores, "ROWS", strip)
        found = manifold(real, fake)
    assert astuple(found) == pytest.approx(astuple(slow_manifold(as_rows(real), as_rows(fake))), rel=1e-12)


def test_manifold_by_hand() -> None:
    """Third neighbours of 0 1 2 3 4 9 are 3 2 2 2 3 7 away, fifth ones 9 8 7 6 5 9.

    Of the generated samples, third neighbours of 5 6 20 21 22 23 are 16 15 3 2 2 3 away.
    """
    real, fake = column(0, 1, 2, 3, 4, 9), column(5, 6, 20, 21, 22, 23)
    found = manifold(real, fake)
    # 5 is within reach of 3 and 4, and 6 of 4; 20 and those above are within that of none
    assert found.precision == pytest.approx(2 / 6)
    # 0 is 5 away from 5, which reaches 16; all the others are nearer
    assert found.recall == 1
    # 5 and 6 lie in all six balls
    assert found.density == pytest.approx(12 / (5 * 6))
    assert found.coverage == 1


def test_the_number_of_neighbours_counts() -> None:
    """A generated sample on the surface of the last ball of a line, or just outside, is told apart."""
    real = column(0, 1, 2, 3, 4, 5, 6, 7)
    far = [100.0 * step for step in range(1, 8)]
    # the third neighbour of 7 is at 4, its fifth at 2
    assert manifold(real, column(10, *far)).precision == pytest.approx(1 / 8)
    assert manifold(real, column(10.1, *far)).precision == 0
    assert manifold(real, column(12, *far)).coverage == pytest.approx(1 / 8)
    assert manifold(real, column(12.1, *far)).coverage == 0
    assert manifold(real, column(12, *far)).density == pytest.approx(1 / 40)
    # both numbers are free, and recall goes by the first
    assert manifold(real, column(9, *far), narrow=2).precision == pytest.approx(1 / 8)
    assert manifold(real, column(9.1, *far), narrow=2).precision == 0
    assert manifold(column(*far, 10), real, narrow=3).recall == pytest.approx(1 / 8)
    assert manifold(column(*far, 10), real, narrow=2).recall == 0
    assert manifold(real, column(13, *far), wide=6).density == pytest.approx(1 / 48)


@few
@given(st.integers(6, 60), st.integers(1, 8), seeds)
def test_real_images_against_themselves(count: int, size: int, seed: int) -> None:
    real = normal(count, size, seed)
    found = manifold(real, real.flip(0))
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)
    assert 1 <= found.density <= 1.2  # each ball holds its centre and five more


def test_images_far_away_cover_nothing() -> None:
    assert manifold(normal(40, 3, 1), normal(30, 3, 2) + 1000) == Manifold(0, 0, 0, 0)


def test_a_collapsed_generator_is_precise_but_recalls_nothing() -> None:
    real = normal(50, 2, 1)
    found = manifold(real, real.mean(0).expand(20, 2))
    assert (found.precision, found.recall) == (1, 0)
    assert 0 < found.coverage < 0.5
    assert found.density == pytest.approx(found.coverage * 50 / 5)  # each ball that holds one holds all of them


def test_copies_of_outliers_are_precise_but_not_dense() -> None:
    """Six real samples stand alone; drawing them again covers them, not the crowd."""
    lonely = column(*(1000.0 * 3**step for step in range(6)))
    crowd = column(*range(54))
    found = manifold(torch.cat([crowd, lonely]), lonely)
    assert found.precision == 1
    assert found.coverage == pytest.approx(6 / 60)
    assert found.density < 1
    # balls around outliers are so wide that they take in the whole crowd: what recall is known to be fooled by
    assert found.recall == 1


@pytest.mark.parametrize("strip", [1, 3, 512])
def test_squared_distances_come_in_strips(strip: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "ROWS", strip)
    rows, columns = normal(10, 4, 1), normal(7, 4, 2)
    strips = list(squared_distances(rows, columns))
    assert [len(matrix) for _, matrix in strips] == [min(strip, 10 - start) for start in range(0, 10, strip)]
    assert torch.equal(torch.cat([torch.arange(10)[place] for place, _ in strips]), torch.arange(10))
    expected = exact_distances(rows, columns).square()
    torch.testing.assert_close(torch.cat([matrix for _, matrix in strips]), expected, rtol=1e-10, atol=1e-10)
    same = torch.cat([matrix for _, matrix in squared_distances(rows + 1e4, rows + 1e4)])
    assert float(same.min()) >= 0


# --- nearest training samples


def own_kin(training: Tensor) -> Tensor:
    """(M,): from each row to the nearest other one."""
    return exact_distances(training, training).fill_diagonal_(torch.inf).min(1).values


@pytest.mark.parametrize("strip", [3, 512])
@few
@given(n=st.integers(1, 30), m=st.integers(2, 30), size=st.integers(3, 20), seed=seeds)
def test_nearest_is_a_full_search(strip: int, n: int, m: int, size: int, seed: int) -> None:
    training, fake = normal(m, size, seed), normal(n, size, seed + 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scores, "ROWS", strip)
        found = nearest(training, fake)
    apart, kin = exact_distances(fake, training), own_kin(training)
    # rows that are nearer by less than float32 tells may change places
    torch.testing.assert_close(found.distance, apart.min(1).values, rtol=1e-5, atol=0)
    there = apart[range(n), found.index]
    torch.testing.assert_close(found.distance, there, rtol=1e-12, atol=0)
    torch.testing.assert_close(found.between, kin[found.index], rtol=1e-5, atol=0)
    torch.testing.assert_close(found.ratio, there / kin[found.index], rtol=1e-5, atol=0)


def test_copies_are_at_distance_zero_and_counted() -> None:
    training, fresh = normal(60, 5, 1).float(), normal(30, 5, 2).float() + 3
    found = nearest(training, torch.cat([training[20:30], fresh]))
    assert found.index[:10].tolist() == list(range(20, 30))
    assert torch.equal(found.distance[:10], torch.zeros(10, dtype=torch.float64))
    assert torch.equal(found.ratio[:10], torch.zeros(10, dtype=torch.float64))
    assert bool((found.distance[10:] > 0).all())
    assert bool((found.between > 0).all())
    assert found.memorised == pytest.approx(10 / 40)


def test_memorised_by_hand() -> None:
    """A third of the way to the nearest kin is still memorised."""
    found = nearest(column(0, 9, 109), column(3, 3.25, -3, -3.25, 9, 112, 209))
    assert found.index.tolist() == [0, 0, 0, 0, 1, 2, 2]
    assert found.distance.tolist() == [3, 3.25, 3, 3.25, 0, 3, 100]
    assert found.between.tolist() == [9, 9, 9, 9, 9, 100, 100]
    assert found.memorised == pytest.approx(4 / 7)
    assert found.ratio.tolist() == pytest.approx([3 / 9, 3.25 / 9, 3 / 9, 3.25 / 9, 0, 0.03, 1])


def test_a_training_image_is_not_its_own_kin() -> None:
    two = column(0, 4)
    assert nearest(two, two).between.tolist() == [4, 4]
    # unless it is there twice: a copy of it is still a copy
    found = nearest(column(4, 0, 7, 0), column(0))
    assert (float(found.distance), float(found.between), float(found.ratio), found.memorised) == (0, 0, 0, 1)


def test_new_images_are_as_far_as_training_images_are_apart() -> None:
    found = nearest(normal(500, 20, 1), normal(500, 20, 2))
    assert 0.9 < float(found.ratio.median()) < 1.3
    assert found.memorised == 0


def test_training_sets_that_do_not_fit_into_one_strip() -> None:
    training = normal(20_000, 6, 1)
    edges = torch.tensor([0, 511, 512, 16_383, 16_384, 16_385, 19_999])
    training[17_000] = training[7] + 1e-3  # its kin lies in the other strip
    fake = torch.cat([normal(200, 6, 2), training[edges], training[[7, 17_000]]])
    found = nearest(training, fake)
    distance, index = exact_distances(fake, training).min(1)
    assert torch.equal(found.index, index)
    torch.testing.assert_close(found.distance, distance, rtol=1e-12, atol=0)
    kin = exact_distances(training[index], training)
    kin[range(len(index)), index] = torch.inf
    torch.testing.assert_close(found.between, kin.min(1).values, rtol=1e-12, atol=0)
    assert found.between[-2:].tolist() == pytest.approx([math.sqrt(6) * 1e-3] * 2, rel=1e-6)
    # strips have to matter for this test to say anything
    assert int((index < 16_384).sum()) > 100
    assert int((index >= 16_384).sum()) > 20
    assert found.memorised == pytest.approx(9 / len(fake), abs=2 / len(fake))


# --- labels


def reader_of(
    logits: Tensor, sizes: tuple[int, ...], labels: Tensor | None = None, cuts: tuple[int, ...] = ()
) -> LabelReader:
    reader = LabelReader(sizes, len(logits))
    start = 0
    for batch in torch.tensor_split(logits, cuts):
        reader.add(batch, None if labels is None else labels[start : start + len(batch)])
        start += len(batch)
    return reader


def sure(classes: Tensor, count: int) -> Tensor:
    """Logits without doubt."""
    return 1000.0 * nn.functional.one_hot(classes, count).double()


@pytest.fixture
def undivided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LabelReader, "SPLITS", 1)


@pytest.mark.filterwarnings("ignore:Metric `InceptionScore` will save all extracted features:UserWarning")
@pytest.mark.parametrize("splits", [2, 10])
def test_inception_score_agrees_with_torchmetrics(splits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LabelReader, "SPLITS", splits)
    monkeypatch.setattr(torch, "randperm", torch.arange)  # theirs would be split in a random order
    logits = 2 * normal(300, 7) + torch.arange(7) / 3
    theirs = InceptionScore(Unchanged(7), splits=splits)
    for batch in torch.split(logits, 64):
        theirs.update(batch)
    mean, std = theirs.compute()
    value, error = reader_of(logits, (7,)).inception_score
    assert value == pytest.approx(float(mean), rel=1e-9)
    # theirs divides by one split less; the code of Salimans, torch-fidelity and StyleGAN prints numpy.std
    assert error == pytest.approx(float(std) * math.sqrt((splits - 1) / splits), rel=1e-9)
    assert error > 0.01


@pytest.mark.filterwarnings("ignore:Metric `InceptionScore` will save all extracted features:UserWarning")
@pytest.mark.filterwarnings(r"ignore:std.*degrees of freedom is <= 0:UserWarning")
def test_inception_score_in_one_piece_agrees_with_torchmetrics(undivided: None) -> None:
    logits = 3 * normal(150, 5)
    theirs = InceptionScore(Unchanged(5), splits=1)
    theirs.update(logits)
    value, error = reader_of(logits, (5,)).inception_score
    assert value == pytest.approx(float(theirs.compute()[0]), rel=1e-9)
    assert math.isnan(error)


@few
@given(st.integers(2, 12), st.integers(10, 60))
def test_inception_scores_that_are_known(classes: int, count: int) -> None:
    every = torch.arange(10 * classes) % classes  # ten splits of one image of each class
    assert reader_of(sure(every, classes), (classes,)).inception_score == pytest.approx((classes, 0), rel=1e-12)
    unsure = torch.full((count, classes), 3.0)
    assert reader_of(unsure, (classes,)).inception_score == pytest.approx((1, 0), abs=1e-12)
    one = torch.full((count,), classes - 1)
    assert reader_of(sure(one, classes), (classes,)).inception_score == pytest.approx((1, 0), abs=1e-12)


def test_inception_score_in_between(undivided: None) -> None:
    """Classes with shares of 1/2, 1/4 and 1/4 have an entropy of 3/2 log 2; blurred to (3/4, 1/4), less is left."""
    assert reader_of(sure(torch.tensor([0, 0, 1, 2]), 3), (3,)).inception_score[0] == pytest.approx(2**1.5)
    blurred = torch.tensor([[3.0, 1.0], [1.0, 3.0]]).log()
    divergence = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert reader_of(blurred, (2,)).inception_score[0] == pytest.approx(math.exp(divergence), rel=1e-6)


def test_scores_of_independent_attributes_multiply(undivided: None) -> None:
    sizes, logits = (2, 5, 3), 2 * normal(90, 10)
    together = reader_of(logits, sizes)
    apart = [reader_of(part, (part.shape[1],)) for part in torch.split(logits, list(sizes), 1)]
    expected = math.prod(reader.inception_score[0] for reader in apart)
    assert together.inception_score[0] == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(together.shares, torch.cat([reader.shares for reader in apart]))


def test_all_combinations_of_attributes_score_their_number() -> None:
    pairs = torch.cartesian_prod(torch.arange(2), torch.arange(3)).repeat(10, 1)
    logits = torch.cat([sure(pairs[:, 0], 2), sure(pairs[:, 1], 3)], 1)
    assert reader_of(logits, (2, 3), pairs).inception_score == pytest.approx((6, 0), rel=1e-12)


def test_splits_are_runs_of_images() -> None:
    """Ten classes one after the other are all the same inside a split; in turns they are all there."""
    sorted_classes = torch.arange(10).repeat_interleave(10)
    assert reader_of(sure(sorted_classes, 10), (10,)).inception_score == pytest.approx((1, 0), abs=1e-12)
    in_turns = torch.arange(100) % 10
    assert reader_of(sure(in_turns, 10), (10,)).inception_score == pytest.approx((10, 0), rel=1e-12)
    # nine splits of one class and one of two: mean (9 + 2) / 10, deviations nine times 1 / 10 and once 9 / 10
    last = torch.zeros(100, dtype=torch.int64)
    last[95:] = 1
    assert reader_of(sure(last, 2), (2,)).inception_score == pytest.approx((1.1, 0.3), rel=1e-12)


@few
@given(st.integers(1, 57), st.lists(st.integers(0, 57), max_size=4))
def test_splits_are_as_equal_as_can_be(total: int, cuts: list[int]) -> None:
    """Each image is its own class, so that the mean probabilities tell which split it went to."""
    reader = reader_of(sure(torch.arange(total), total), (total,), cuts=tuple(sorted(cuts)))
    split = reader.probabilities.argmax(0)
    assert reader.splits == min(10, total)
    assert split[0] == 0
    assert split[-1] == reader.splits - 1
    assert set(split.diff().tolist()) <= {0, 1}
    sizes = split.bincount()
    assert torch.equal(sizes.double(), reader.counts)
    assert int(sizes.max() - sizes.min()) <= 1
    score = float(reader.counts.mean())  # the mean over splits of how many classes each holds
    assert reader.inception_score[0] == pytest.approx(score, rel=1e-12)


@few
@given(st.lists(st.integers(0, 37), max_size=6), seeds)
def test_readings_do_not_depend_on_batches(cuts: list[int], seed: int) -> None:
    logits, sizes = 2 * normal(37, 5, seed), (2, 3)
    labels = torch.stack([torch.arange(37) % 2, torch.arange(37) % 3], 1)
    whole_pile, parts = (reader_of(logits, sizes, labels, to) for to in ((), tuple(sorted(cuts))))
    assert parts.seen == 37
    assert parts.inception_score == pytest.approx(whole_pile.inception_score, rel=1e-12)
    assert parts.accuracy == whole_pile.accuracy
    assert parts.cross_entropy == pytest.approx(whole_pile.cross_entropy, rel=1e-12)
    torch.testing.assert_close(parts.shares, whole_pile.shares, rtol=1e-12, atol=0)


def test_an_image_is_right_if_all_its_attributes_are() -> None:
    read = torch.tensor([[0, 0], [0, 1], [1, 2], [1, 0]])
    asked = torch.tensor([[0, 0], [0, 2], [0, 2], [0, 1]])
    reader = LabelReader((2, 3), 8)
    right = reader.add(torch.cat([sure(read[:, 0], 2), sure(read[:, 1], 3)], 1), asked)
    assert right.dtype == torch.bool
    assert right.tolist() == [True, False, False, False]
    assert reader.accuracy == 1 / 4
    again = reader.add(torch.cat([sure(asked[:, 0], 2), sure(asked[:, 1], 3)], 1), asked)
    assert again.tolist() == [True] * 4
    assert reader.accuracy == 5 / 8


@few
@given(st.lists(st.integers(2, 5), min_size=1, max_size=3), st.integers(1, 30), seeds)
def test_cross_entropy_and_accuracy_are_those_of_torch(sizes: list[int], count: int, seed: int) -> None:
    logits = 2 * normal(count, sum(sizes), seed)
    generator = torch.Generator().manual_seed(seed)
    labels = torch.stack([torch.randint(size, (count,), generator=generator) for size in sizes], 1)
    reader = reader_of(logits, tuple(sizes), labels)
    parts = torch.split(logits, sizes, 1)
    pairs = list(zip(parts, labels.unbind(1), strict=True))
    assert reader.cross_entropy == pytest.approx(sum(float(cross_entropy(*each)) for each in pairs), rel=1e-12)
    right = torch.stack([part.argmax(1) == wanted for part, wanted in pairs]).all(0)
    assert reader.accuracy == pytest.approx(float(right.double().mean()))
    shares = torch.cat([part.softmax(1).mean(0) for part in parts])
    torch.testing.assert_close(reader.shares, shares, rtol=1e-12, atol=1e-12)
    assert float(reader.shares.sum()) == pytest.approx(len(sizes))


def test_nan_is_no_perfect_distance() -> None:
    nothing, one = torch.zeros(1, dtype=torch.float64), torch.eye(1, dtype=torch.float64)
    assert math.isnan(frechet_distance(nothing, one, nothing + math.nan, one))


def test_copies_lie_on_the_surface_of_their_originals_balls() -> None:
    """Products of different shapes round differently; a tenth of these balls would lose a copy without slack."""
    random = torch.Generator().manual_seed(0)
    for seed in range(20):
        real = torch.randn(700, 64, generator=random.manual_seed(seed)).double()
        exact = torch.cdist(real, real, compute_mode="donot_use_mm_for_euclid_dist")
        radii = exact.kthvalue(6, dim=1).values  # itself, then five neighbours
        expected = float((exact[:, :100] <= radii[:, None]).sum()) / 5 / 100
        assert manifold(real, real[:100]).density == pytest.approx(expected, abs=1e-12)
    far = torch.randn(20, 33, generator=random).double() * 100
    row = torch.randn(1, 33, generator=random).double()
    assert manifold(torch.cat([far, row.expand(7, -1)]), row.expand(8, -1)).precision == 1


@pytest.mark.parametrize("offset", [0, 100, 10_000])
def test_nearest_far_from_the_origin(offset: float) -> None:
    training = torch.randn(2000, 8, generator=torch.Generator().manual_seed(0)) + offset
    assert nearest(training, training).memorised == 1


def test_readings_without_labels_are_no_number() -> None:
    reader = LabelReader((3,), 4)
    reader.add(torch.zeros(2, 3), None)
    assert math.isnan(reader.accuracy)
    assert math.isnan(reader.cross_entropy)
    assert reader.inception_score[0] == pytest.approx(1)  # of the splits that came


# edges and labels


def test_edges_of_a_single_bright_pixel() -> None:
    """Its Laplacian is -4 at the pixel and 1 beside it: 16 + 4 over the 9 inner pixels of a side of 5."""
    image = torch.zeros(1, 1, 5, 5, dtype=torch.uint8)
    image[0, 0, 2, 2] = 10
    assert Edges().add(image).strength == pytest.approx(10 * math.sqrt(20 / 9), rel=1e-6)
    assert Edges().add(image.expand(1, 3, 5, 5)).strength == pytest.approx(10 * math.sqrt(20 / 9), rel=1e-6)
    ramp = torch.arange(5, dtype=torch.uint8).expand(2, 1, 5, 5)
    assert Edges().add(ramp).strength == 0  # slopes are no edges
    assert Edges().add(image).add(ramp).strength == pytest.approx(10 * math.sqrt(20 / 9 / 3), rel=1e-6)
    assert Edges().strength == 0


@few
@given(seeds, st.integers(1, 5))
def test_edges_do_not_depend_on_the_batches(seed: int, size: int) -> None:
    images = torch.randint(0, 256, (7, 3, 6, 6), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    together, apart = Edges().add(images), Edges()
    for part in torch.split(images, size):
        apart.add(part)
    assert apart.strength == pytest.approx(together.strength, rel=1e-6)


@few
@given(seeds, st.floats(0.1, 10))
def test_label_effect_is_the_ratio_of_two_spreads(seed: int, weight: float) -> None:
    """Where an image is the sum of a latent's and a label's, it is the ratio of their spreads."""
    latents, labels = normal(6, 20, seed), normal(3, 20, seed + 1)
    images = latents[:, None] + weight * labels[None]
    expected = weight * math.sqrt(float(labels.var(0).mean() / latents.var(0).mean()))
    assert label_effect(images) == pytest.approx(expected, rel=1e-9)


def test_label_effect_at_its_ends() -> None:
    rows = normal(4, 5)
    assert label_effect(rows[:, None].expand(4, 3, 5)) == 0
    assert label_effect(rows[None].expand(3, 4, 5)) == math.inf
    assert label_effect(torch.zeros(2, 2, 5)) == 0
