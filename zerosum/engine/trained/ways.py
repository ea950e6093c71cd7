"""Ways from one latent to another, which show whether a generator has learnt the data or some samples of it."""

import torch
from torch import Tensor

from zerosum.engine.trained.gan import LabelGan

#: samples on the way, and ways
STATIONS, WAYS = 9, 6


def ways(gan: LabelGan) -> tuple[Tensor, list[str]]:
    """Samples for a picture of STATIONS columns, a row for each way, and the names of the rows.

    With labels, the same way under combinations that are evenly chosen; without, ways between different latents.
    """
    spec, names, rows = gan.spec, list[str](), list[Tensor]()
    if gan.conditional:
        for combination in spec.combinations[:: -(-len(spec.combinations) // WAYS)]:
            labels = zip(spec.labels.items(), combination, strict=True)
            where = {name: values[index] for (name, values), index in labels}
            rows.append(gan.interpolate(0, 1, STATIONS, where=where))
            names.append(spec.describe(combination))
    else:
        for seed in range(0, 2 * WAYS, 2):
            rows.append(gan.interpolate(seed, seed + 1, STATIONS))
            names.append(f"seeds {seed} and {seed + 1}")
    return torch.cat(rows), names
