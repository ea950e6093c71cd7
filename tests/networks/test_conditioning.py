"""Labels in networks, against one-hot rows, separate cross-entropies and an affine map per class."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy, one_hot

from zerosum.networks.conditioning import ConditionalNorm, Head, label_loss, multi_hot


@settings(deadline=None)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=4), st.integers(1, 5), st.integers(0, 1000))
def test_multi_hot_is_one_hots_side_by_side(sizes: list[int], count: int, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    labels = torch.stack([torch.randint(size, (count,), generator=random) for size in sizes], 1)
    hot = multi_hot(labels, tuple(sizes))
    expected = torch.cat([one_hot(labels[:, i], size) for i, size in enumerate(sizes)], 1)
    assert hot.dtype == torch.float32
    assert torch.equal(hot, expected.float())


def test_label_loss_sums_over_attributes() -> None:
    torch.manual_seed(0)
    sizes = (3, 1, 5)
    logits = torch.randn(6, 9, requires_grad=True)
    labels = torch.stack([torch.randint(size, (6,)) for size in sizes], 1)
    parts = [
        cross_entropy(logits[:, start:end], labels[:, i]) for i, (start, end) in enumerate([(0, 3), (3, 4), (4, 9)])
    ]
    loss = label_loss(logits, labels, sizes)
    assert loss.shape == ()
    torch.testing.assert_close(loss, parts[0] + parts[1] + parts[2])
    assert label_loss(logits.bfloat16(), labels, sizes).dtype == torch.float32
    assert label_loss(1000 * (multi_hot(labels, sizes) - 0.5), labels, sizes).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("shape", [(8, 4), (8, 4, 3, 3)])
def test_conditional_norm_is_an_affine_map_for_each_class(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    norm = ConditionalNorm(4, (3,))
    nn.init.normal_(norm.affine.weight)
    x = torch.randn(shape) * 3 + 2
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 2, 2])
    result = norm(x, multi_hot(labels[:, None], (3,)))
    assert result.shape == shape
    others = [axis for axis in range(len(shape)) if axis != 1]
    normal = (x - x.mean(others, keepdim=True)) / (x.var(others, unbiased=False, keepdim=True) + 1e-5).sqrt()
    gains, biases = norm.affine.weight[:4].T + 1, norm.affine.weight[4:].T  # (3 classes, 4 channels)
    for i, label in enumerate(labels.tolist()):
        for channel in range(4):
            expected = normal[i, channel] * gains[label, channel] + biases[label, channel]
            torch.testing.assert_close(result[i, channel], expected, rtol=1e-5, atol=1e-5)


def test_conditional_norm_adds_the_gains_of_several_attributes() -> None:
    torch.manual_seed(0)
    norm = ConditionalNorm(2, (2, 3)).eval()
    nn.init.normal_(norm.affine.weight)
    x = torch.randn(1, 2, 2, 2)
    result = norm(x, multi_hot(torch.tensor([[1, 2]]), (2, 3)))
    weight = norm.affine.weight[:, 1] + norm.affine.weight[:, 2 + 2]
    scaled = x / (1 + 1e-5) ** 0.5  # running mean 0 and variance 1 at first
    torch.testing.assert_close(result, scaled * (1 + weight[:2].view(2, 1, 1)) + weight[2:].view(2, 1, 1))


def test_conditional_norm_is_born_plain() -> None:
    torch.manual_seed(0)
    x = torch.randn(8, 4, 3, 3)
    hot = multi_hot(torch.arange(8)[:, None] % 3, (3,))
    torch.testing.assert_close(ConditionalNorm(4, (3,))(x, hot), nn.BatchNorm2d(4, affine=False)(x))


def test_head_projects_on_the_labels() -> None:
    torch.manual_seed(0)
    head = Head(6, "embed", (2, 3))
    features, labels = torch.randn(4, 6), torch.tensor([[0, 2], [1, 0], [0, 0], [1, 1]])
    scores = head(features, multi_hot(labels, (2, 3)))
    assert isinstance(scores, torch.Tensor)
    assert head.embedding is not None
    for i, (first, second) in enumerate(labels.tolist()):
        embedded = head.embedding.weight[:, first] + head.embedding.weight[:, 2 + second]
        expected = features[i] @ head.score.weight[0] + head.score.bias[0] + features[i] @ embedded
        torch.testing.assert_close(scores[i], expected)


@pytest.mark.parametrize("method", ["none", "join"])
def test_plain_heads_read_features_alone(method: str) -> None:
    head = Head(6, method, (3,))
    features = torch.randn(4, 6)
    assert torch.equal(head(features, None), head.score(features)[:, 0])
    assert sum(weight.numel() for weight in head.parameters()) == 7


def test_auxiliary_head_gives_logits() -> None:
    head = Head(6, "auxiliary", (2, 3))
    features = torch.randn(4, 6)
    scores, logits = head(features, None)
    assert scores.shape == (4,)
    assert head.classifier is not None
    assert torch.equal(logits, head.classifier(features))
    assert logits.shape == (4, 5)
