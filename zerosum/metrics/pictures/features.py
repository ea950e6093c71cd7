"""Networks that turn pictures into features without having learnt anything: random convolutions."""

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from zerosum.data.pictures.source import from_bytes
from zerosum.metrics.extractor import Extractor

#: how these networks bring images to their input
OWN_SIZE = "the images' own size"


class RandomFeatures(nn.Module):
    """Convolutions with fixed random weights: (N, channels, side, side) -> (N, 256).

    Distances in it order runs on the same data, without labels and without a download (Naeem 2020, section 3.3, argue
    for random embeddings where no trained one fits); their size means nothing beyond that data.
    """

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        widths = [channels, 32, 64, 128][: 1 + min(3, side.bit_length() - 1)]
        with torch.random.fork_rng([]):  # what layers draw by themselves is not used
            self.layers = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in zip(widths, widths[1:], strict=False))
            self.out = nn.Linear(widths[-1] * (side >> len(self.layers)) ** 2, 256)
        fix_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        for layer in self.layers:
            images = leaky_relu(layer(images), 0.2)
        return self.out(images.flatten(1))  # type: ignore[no-any-return]


class Texture(nn.Module):
    """Means and spreads, over the image, of what convolutions with fixed random weights answer at three sizes:
    (N, channels, side, side) -> (N, 448).

    Such statistics describe how an image looks from near, fine detail above all, whatever it shows (Ustyuzhaninov
    2016). They see a blur that the other random features, which see where things are, take for a small change.
    """

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        widths = [channels, 32, 64, 128][: 1 + max(1, min(3, side.bit_length() - 2))]
        with torch.random.fork_rng([]):
            self.layers = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in zip(widths, widths[1:], strict=False))
        fix_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        found = []
        for layer in self.layers:
            images = leaky_relu(layer(images), 0.2)
            found += [images.mean((2, 3)), images.var((2, 3), correction=0).sqrt()]
        return torch.cat(found, 1)


def fix_weights(network: nn.Module) -> None:
    """Weights from one fixed seed, scaled for rectifiers; no biases; none of them learns."""
    draw = torch.Generator().manual_seed(2014)
    for weight in network.parameters():
        fan_in = weight[0].numel()
        weight.data = torch.randn(weight.shape, generator=draw) * (2 / fan_in) ** 0.5 * (weight.dim() > 1)
    network.requires_grad_(False)


def texture_features(channels: int, side: int, device: torch.device) -> Extractor:
    return Extractor("texture", Texture(channels, side).eval().to(device), device, from_bytes, OWN_SIZE)


def random_features(channels: int, side: int, device: torch.device) -> Extractor:
    return Extractor("random", RandomFeatures(channels, side).eval().to(device), device, from_bytes, OWN_SIZE)
