"""The formulas: functions of features (N, D), float64 wherever numbers are summed or subtracted.

"real" is the reference, "fake" what is scored. Distances are Euclidean.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

#: rows of a distance matrix that are in memory at a time
ROWS = 512


class Moments:
    """Count, mean (D,) and covariance (D, D) of rows that come in batches, in memory that does not grow with them."""

    def __init__(self, size: int) -> None:
        self.count = 0
        self.mean = torch.zeros(size, dtype=torch.float64)
        self.scatter = torch.zeros(size, size, dtype=torch.float64)

    def add(self, rows: Tensor) -> "Moments":
        """rows: (N, D). Merged as in Chan, Golub & LeVeque 1979, which does not cancel far from the origin."""
        if len(rows) == 0:
            return self
        rows = rows.double()
        mean = rows.mean(0)
        centred, shift, count = rows - mean, mean - self.mean, self.count + len(rows)
        self.scatter += centred.T @ centred + torch.outer(shift, shift) * (self.count * len(rows) / count)
        self.mean += shift * (len(rows) / count)
        self.count = count
        return self

    @property
    def covariance(self) -> Tensor:
        """Unbiased; zero for a single row."""
        return self.scatter / max(self.count - 1, 1)

    @property
    def spread(self) -> float:
        """Root mean square distance of the rows from their mean."""
        return math.sqrt(float(self.scatter.diagonal().sum()) / max(self.count - 1, 1))

    @property
    def is_flat(self) -> bool:
        """Whether all rows are equal, but for what float32 loses between one batch and another."""
        return self.spread <= 1e-5 * max(float(self.mean.norm()), 1e-30)


def frechet_distance(mean: Tensor, covariance: Tensor, other_mean: Tensor, other_covariance: Tensor) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), for two Gaussians (Dowson & Landau 1982; Heusel 2017: FID).

    means: (D,), covariances: (D, D), positive semi-definite; float64. The trace of the root is that of the symmetric
    (C1^(1/2) C2 C1^(1/2))^(1/2), which needs no complex numbers.
    """
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    between = torch.linalg.eigvalsh(root @ other_covariance @ root).clamp(min=0).sqrt().sum()
    traces = covariance.diagonal().sum() + other_covariance.diagonal().sum()
    distance = float((mean - other_mean).square().sum() + traces - 2 * between)
    return distance if math.isnan(distance) else max(0.0, distance)


def kernel_distance(real: Tensor, fake: Tensor, blocks: int = 20) -> tuple[float, float]:
    """Squared maximum mean discrepancy under the kernel (x.y / D + 1)^3, and its standard error (Binkowski 2018: KID).

    The unbiased estimate over all pairs (Gretton 2012, eq. 3); it may be slightly negative. The error is the
    jackknife's, leaving out one of so many blocks of both piles at a time; for equal distributions, where the leading
    term vanishes, it is about 1.4 times too large. Needs two rows of each.
    """
    blocks = max(1, min(blocks, len(real) // 2, len(fake) // 2))
    parts = [pile.double().tensor_split(blocks) for pile in (real, fake)]
    n, m = (torch.tensor([len(block) for block in part], dtype=torch.float64) for part in parts)
    xx, yy, xy = _kernel_sums(parts[0]), _kernel_sums(parts[1]), _kernel_sums(*parts)

    def estimate(left_out: int | None = None) -> float:
        keep = torch.ones(blocks, dtype=torch.float64)
        if left_out is not None:
            keep[left_out] = 0
        a, b = float(n @ keep), float(m @ keep)
        return float(
            (keep @ xx @ keep) / (a * (a - 1)) + (keep @ yy @ keep) / (b * (b - 1)) - 2 * (keep @ xy @ keep) / (a * b)
        )

    if blocks < 3:
        return estimate(), math.nan
    without = torch.tensor([estimate(block) for block in range(blocks)], dtype=torch.float64)
    error = math.sqrt((blocks - 1) / blocks * float((without - without.mean()).square().sum()))
    return estimate(), error


def _kernel_sums(left: tuple[Tensor, ...], right: tuple[Tensor, ...] | None = None) -> Tensor:
    """(blocks, blocks): sums of the kernel over the pairs of two blocks, a row with itself left out."""
    columns = torch.cat(right or left)
    sizes = [len(block) for block in right or left]
    result = []
    for index, rows in enumerate(left):
        kernel = (rows @ columns.T).div_(columns.shape[1]).add_(1).pow_(3)
        sums = torch.stack([part.sum() for part in torch.split(kernel, sizes, 1)])
        if right is None:
            sums[index] -= (rows.square().sum(1) / rows.shape[1] + 1).pow(3).sum()
        result.append(sums)
    return torch.stack(result)


def label_effect(images: Tensor) -> float:
    """How far a change of label moves an image, over how far a change of latent does (root mean squares).

    images: (latents, labels, D), at least two of each. 0: labels change nothing; below 1: an image keeps more of itself
    under another label than under another latent; infinity: latents change nothing.
    """
    by_label, by_latent = images.double().var(1).mean(), images.double().var(0).mean()
    return float((by_label / by_latent).sqrt()) if by_label > 0 else 0.0


def squared_distances(rows: Tensor, columns: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Strips (ROWS, M) of the matrix of squared distances, with the rows that they are of."""
    lengths = columns.square().sum(1)
    for start in range(0, len(rows), ROWS):
        strip = rows[start : start + ROWS]
        matrix = torch.addmm(lengths, strip, columns.T, alpha=-2).add_(strip.square().sum(1, keepdim=True))
        yield slice(start, start + len(strip)), matrix.clamp_(min=0)


@dataclass(frozen=True)
class Manifold:
    """How two piles cover one another; all but density lie in [0, 1]."""

    #: share of generated samples within the third-neighbour ball of some real one, and the reverse (Kynkaanniemi 2019)
    precision: float
    recall: float
    #: real fifth-neighbour balls around a generated sample, over 5; real samples whose ball has one (Naeem 2020)
    density: float
    coverage: float


def manifold(real: Tensor, fake: Tensor, narrow: int = 3, wide: int = 5) -> Manifold:
    """Precision and recall with `narrow` neighbours, density and coverage with `wide` ones.

    Needs more than `wide` rows of each. A ball holds its own surface; no image is its own neighbour.
    """
    real, fake = real.double(), fake.double()
    # products of other shapes round otherwise, and a copy must still lie on the surface of its original's ball
    slack = 1e-12 * max(float(pile.square().sum(1).max()) for pile in (real, fake))
    radii = _radii(real, (narrow, wide)) + slack
    fake_radii = _radii(fake, (narrow,))[:, 0] + slack
    precise = torch.zeros(len(fake), dtype=torch.bool)
    recalled, covered, inside = 0, 0, 0
    for rows, matrix in squared_distances(real, fake):
        small, large = radii[rows].unbind(1)
        precise |= (matrix <= small[:, None]).any(0)
        recalled += int((matrix <= fake_radii).any(1).sum())
        within = (matrix <= large[:, None]).sum(1)
        inside += int(within.sum())
        covered += int((within > 0).sum())
    return Manifold(
        float(precise.double().mean()), recalled / len(real), inside / (wide * len(fake)), covered / len(real)
    )


def _radii(pile: Tensor, neighbours: tuple[int, ...]) -> Tensor:
    """(N, len(neighbours)): squared distance of each row to its k-th nearest other row."""
    most = max(neighbours)
    result = []
    for rows, matrix in squared_distances(pile, pile):
        places = torch.arange(rows.start, rows.stop)
        matrix[torch.arange(len(places)), places] = torch.inf
        nearest = matrix.topk(most, largest=False).values
        result.append(nearest[:, [k - 1 for k in neighbours]])
    return torch.cat(result)


@dataclass(frozen=True)
class Nearest:
    """For each generated sample the nearest training sample, and how close training samples lie there."""

    index: Tensor  # (N,)
    distance: Tensor  # (N,)
    #: from that training sample to the nearest other one
    between: Tensor  # (N,)

    @property
    def ratio(self) -> Tensor:
        """(N,): 0 for a copy, around 1 for an image that is as new as the training samples are to one another."""
        return self.distance / self.between.clamp(min=1e-12)

    @property
    def memorised(self) -> float:
        """Share of copies: at most a third as far from the nearest training sample as that is from its own neighbour.

        The factor is that of Yoon 2023, who compare with the second nearest training sample instead.
        """
        return float((3 * self.distance <= self.between).double().mean())


def nearest(training: Tensor, fake: Tensor) -> Nearest:
    """Features of the training samples (M, D), M >= 2, and of the generated ones (N, D)."""
    # searched in float32 for speed, around the mean, where it loses least; measured in float64: a copy is at distance 0
    centre = training.double().mean(0)
    rows, columns = (fake.double() - centre).float(), (training.double() - centre).float()
    index = _nearest_index(rows, columns)
    hit, back = torch.unique(index, return_inverse=True)
    other = _nearest_index(columns[hit], columns, hit)
    distance = (fake.double() - training[index].double()).norm(dim=1)
    between = (training[hit].double() - training[other].double()).norm(dim=1)
    return Nearest(index, distance, between[back])


def _nearest_index(rows: Tensor, columns: Tensor, themselves: Tensor | None = None) -> Tensor:
    """(N,): the nearest column of each row; themselves: columns that the rows are, which do not count."""
    best = torch.full((len(rows),), torch.inf)
    found = torch.zeros(len(rows), dtype=torch.int64)
    for start in range(0, len(columns), 16384):  # strips that stay in the processor's cache are several times faster
        part = columns[start : start + 16384]
        for place, matrix in squared_distances(rows, part):
            if themselves is not None:
                own = themselves[place] - start
                here = (own >= 0) & (own < len(part))
                matrix[here.nonzero()[:, 0], own[here]] = torch.inf
            values, index = matrix.min(1)
            closer = values < best[place]
            best[place] = torch.where(closer, values, best[place])
            found[place] = torch.where(closer, index + start, found[place])
    return found


class LabelReader:
    """Inception score, accuracy and cross-entropy of class logits that come in batches.

    sizes: how many logits each attribute has; one number for an ordinary classifier. total: images to come.
    """

    SPLITS = 10

    def __init__(self, sizes: tuple[int, ...], total: int) -> None:
        self.sizes, self.total, self.seen = sizes, total, 0
        self.splits = min(self.SPLITS, total)
        self.probabilities = torch.zeros(self.splits, sum(sizes), dtype=torch.float64)
        self.negative_entropy = torch.zeros(self.splits, dtype=torch.float64)
        self.counts = torch.zeros(self.splits, dtype=torch.float64)
        self.labelled = self.right = 0
        self.loss = 0.0

    def add(self, logits: Tensor, labels: Tensor | None) -> Tensor:
        """logits (N, sum(sizes)), labels (N, attributes) or None; returns which images were read right (N,)."""
        split = (torch.arange(self.seen, self.seen + len(logits)) * self.splits).div(self.total, rounding_mode="floor")
        split.clamp_(max=self.splits - 1)
        self.seen += len(logits)
        right = torch.ones(len(logits), dtype=torch.bool)
        logs = [part.log_softmax(1) for part in torch.split(logits.double(), list(self.sizes), 1)]
        each = torch.cat(logs, 1)
        self.probabilities.index_add_(0, split, each.exp())
        self.negative_entropy.index_add_(0, split, (each.exp() * each).sum(1))
        self.counts.index_add_(0, split, torch.ones(len(logits), dtype=torch.float64))
        for column, log in enumerate(logs if labels is not None else ()):
            wanted = labels[:, column]  # type: ignore[index]
            right &= log.argmax(1) == wanted
            self.loss -= float(log.gather(1, wanted[:, None]).sum())
        if labels is not None:
            self.labelled += len(labels)
            self.right += int(right.sum())
        return right

    @property
    def inception_score(self) -> tuple[float, float]:
        """exp(E[KL(p(y|x) || p(y))]), mean and standard deviation over ten splits (Salimans 2016).

        The deviation is that of the ten values themselves, divided by ten and not by nine, as the code of Salimans,
        torch-fidelity and StyleGAN prints it. Several attributes count as independent: their divergences are added.
        """
        some = self.counts > 0
        mean = self.probabilities[some] / self.counts[some, None]
        entropy = -torch.xlogy(mean, mean).sum(1)
        values = (self.negative_entropy[some] / self.counts[some] + entropy).exp()
        return float(values.mean()), float(values.std(correction=0)) if len(values) > 1 else math.nan

    @property
    def shares(self) -> Tensor:
        """(sum(sizes),): the mean probability of each class."""
        return self.probabilities.sum(0) / self.counts.sum()

    @property
    def accuracy(self) -> float:
        """Share of images of which every attribute was read as asked for."""
        return self.right / self.labelled if self.labelled else math.nan

    @property
    def cross_entropy(self) -> float:
        """Mean categorical cross-entropy in nats, summed over attributes."""
        return self.loss / self.labelled if self.labelled else math.nan
