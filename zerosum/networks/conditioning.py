"""How labels enter networks.

Labels are integers (N, attributes). They enter as `multi_hot` rows (N, sum of the attributes' sizes), so that a linear
layer on them is the sum of one embedding per attribute, and one attribute or several take the same path.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

Sizes = tuple[int, ...]


def multi_hot(labels: Tensor, sizes: Sizes) -> Tensor:
    """(N, attributes) integers -> (N, sum(sizes)) float32 of zeros and one 1 per attribute."""
    starts = [sum(sizes[:index]) for index in range(len(sizes))]
    # not one tensor of starts, which would be copied to a GPU: that cannot be recorded as a graph
    columns = torch.stack([column + start for column, start in zip(labels.unbind(1), starts, strict=True)], 1)
    return torch.zeros(len(labels), sum(sizes), device=labels.device).scatter_(1, columns, 1.0)


def label_loss(logits: Tensor, labels: Tensor, sizes: Sizes) -> Tensor:
    """Categorical cross-entropy, summed over attributes. logits: (N, sum(sizes)), labels: (N, attributes)."""
    losses = [
        cross_entropy(part, labels[:, index])
        for index, part in enumerate(torch.split(logits.float(), list(sizes), dim=1))
    ]
    return torch.stack(losses).sum()


class ConditionalNorm(nn.Module):
    """Batch normalisation whose gain and bias depend on the labels (Dumoulin 2017, de Vries 2017).

    x: (N, units, ...), hot: (N, sum(sizes)). Born as a plain normalisation: gain 1, bias 0.
    """

    def __init__(self, units: int, sizes: Sizes) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(units, affine=False)
        self.affine = nn.Linear(sum(sizes), 2 * units, bias=False)
        nn.init.zeros_(self.affine.weight)

    def forward(self, x: Tensor, hot: Tensor) -> Tensor:
        gain, bias = self.affine(hot).view(len(hot), 2, -1, *[1] * (x.dim() - 2)).unbind(1)
        normal = self.norm(x if x.dim() == 4 else x[..., None, None])
        return torch.addcmul(bias, normal.view_as(x), gain + 1)


class Head(nn.Module):
    """From a critic's features (N, features) to its raw score (N,), and to label logits where it has a classifier.

    embed adds the projection <embedding(labels), features> (Miyato & Koyama 2018); auxiliary adds logits
    (N, sum(sizes)) of a classifier (Odena 2017). Other methods use the features alone.
    """

    def __init__(self, features: int, method: str, sizes: Sizes) -> None:
        super().__init__()
        self.score = nn.Linear(features, 1)
        self.embedding = nn.Linear(sum(sizes), features, bias=False) if method == "embed" else None
        self.classifier = nn.Linear(features, sum(sizes)) if method == "auxiliary" else None

    def forward(self, features: Tensor, hot: Tensor | None) -> Tensor | tuple[Tensor, Tensor]:
        score = self.score(features).squeeze(1)
        if self.embedding is not None:
            score = score + (self.embedding(hot) * features).sum(1)
        if self.classifier is not None:
            return score, self.classifier(features)
        return score  # type: ignore[no-any-return]
