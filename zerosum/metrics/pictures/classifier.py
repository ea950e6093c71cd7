"""A small classifier of the data itself: trained once on the labelled images, kept in the cache, used as features."""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import relu

from zerosum.data.cache import cache_folder, is_temporary, keep
from zerosum.data.pictures.source import from_bytes
from zerosum.data.pictures.spec import PictureSpec, pictured
from zerosum.errors import ZerosumError
from zerosum.metrics.extractor import Extractor
from zerosum.metrics.features import CHUNK, Reals
from zerosum.metrics.pictures.features import OWN_SIZE
from zerosum.metrics.scores import LabelReader
from zerosum.networks.conditioning import label_loss
from zerosum.progress import note, track

#: share of held-out images that the classifier of a well-known set must read right; others: see `required`
KNOWN = {"mnist": 0.985, "fashion-mnist": 0.88, "cifar10": 0.65, "digits": 0.95}

STEPS = 1000
#: images wider than SMALL take long: there, no more than so many times through the data, and FEWEST steps at least
EPOCHS, FEWEST, SMALL = 20, 150, 32
SIZE = 128


class Classifier(nn.Module):
    """images (N, channels, side, side) in [-1, 1] -> features (N, 128), logits (N, sum of the attributes' sizes)."""

    def __init__(self, channels: int, side: int, sizes: tuple[int, ...]) -> None:
        super().__init__()
        width = 32 if side <= 32 else 16
        layers, widths = [nn.Conv2d(channels, width, 3, 1, 1, bias=False)], [width]
        while side > 7:
            widths.append(min(2 * width, 128))
            layers.append(nn.Conv2d(width, widths[-1], 4, 2, 1, bias=False))
            width, side = widths[-1], side // 2
        self.layers = nn.ModuleList(layers)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths)
        self.features = nn.Linear(width * side * side, SIZE)
        self.logits = nn.Linear(SIZE, sum(sizes))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        if not self.training:
            images = images.contiguous(memory_format=torch.channels_last)  # twice as fast on a CPU
        for layer, norm in zip(self.layers, self.norms, strict=True):
            images = relu(norm(layer(images)))
        features = relu(self.features(images.flatten(1)))
        return features, self.logits(features)


def required(name: str | None, spec: PictureSpec) -> float:
    """The accuracy below which scores in the classifier's features would mean little.

    A number of its own for a well-known set; else halfway from always naming the commonest class to no error.
    """
    chance = max(spec.counts) / sum(spec.counts)
    return KNOWN.get(name or "", (1 + chance) / 2)


def classifier(
    training: Reals, held_out: Reals, name: str | None, device: torch.device, bf16: bool = False
) -> Extractor:
    """The classifier of these training images, from the cache or trained now, with its accuracy on held-out ones.

    name: of the data set. Raises ZerosumError if the accuracy is below what is `required`.
    """
    spec = pictured(training.source.spec)
    with torch.random.fork_rng([]):  # what layers draw by themselves is not used
        network = Classifier(spec.channels, spec.native, spec.sizes)
    place = cache_folder() / "classifiers" / f"{training.identity}-{held_out.identity}.safetensors"
    accuracy = _recall(place, network)
    if accuracy is None:
        accuracy = _train(network, training, held_out, device, bf16)
        weights = {key: value.cpu().contiguous() for key, value in network.state_dict().items()}
        kept = keep(place, lambda draft: save_file(weights, draft, {"accuracy": json.dumps(accuracy)}))
        later = "; kept for the next time" if kept else ""
        note(f"classifier of the data: reads {accuracy:.2%} of held-out images right{later}")
    if accuracy < (bar := required(name, spec)):
        raise ZerosumError(
            f"the classifier of this data reads only {accuracy:.1%} of held-out images right where {bar:.1%} is "
            "required: scores in its features would mean little; use random features, Inception, or your own network"
        )
    network.eval().requires_grad_(False).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    facts = {"accuracy": round(accuracy, 5)}
    return Extractor("classifier", network, device, from_bytes, OWN_SIZE, sizes=spec.sizes, labelled=True, facts=facts)


def _recall(place: Path, network: Classifier) -> float | None:
    try:
        with safe_open(place, "pt") as file:
            network.load_state_dict({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118
            return float(json.loads(file.metadata()["accuracy"]))
    except (OSError, SafetensorError, RuntimeError, KeyError, ValueError, TypeError):
        return None  # not there yet, or damaged


def _train(network: Classifier, training: Reals, held_out: Reals, device: torch.device, bf16: bool) -> float:
    """Trains in place, from a fixed seed; returns the share of held-out images of which every attribute is right."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
                module.reset_parameters()
    network.to(device=device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3, fused=True)
    random = np.random.default_rng(0)
    sizes, steps = training.source.spec.sizes, STEPS
    if pictured(training.source.spec).native > SMALL:
        steps = min(STEPS, max(FEWEST, EPOCHS * len(training) // 128))
    once = "" if is_temporary(cache_folder()) else " (once for this data)"
    for step in track(range(steps), steps, f"training the classifier that scores{once}"):
        optimizer.param_groups[0]["lr"] = 2e-3 * min(1.0, 2 * (1 - step / steps))
        chosen = training.drawn(step, 128, random)
        images = training.at(chosen).to(device).contiguous(memory_format=torch.channels_last)
        labels = torch.from_numpy(training.source.labels[chosen]).to(device)  # type: ignore[index]
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            _, logits = network(images)
        optimizer.zero_grad()
        label_loss(logits, labels, sizes).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    network.eval()
    count = min(len(held_out), CHUNK)
    looker, reader = (
        Extractor("classifier", network, device, from_bytes, OWN_SIZE, sizes=sizes),
        LabelReader(sizes, count),
    )
    for pixels, wanted in held_out.batches(count):
        _, seen = looker.look(pixels)
        reader.add(seen, wanted)  # type: ignore[arg-type]
    return reader.accuracy
