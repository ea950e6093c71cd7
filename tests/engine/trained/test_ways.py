"""Ways between latents: where they begin and end, and what their rows are called."""

import torch

from tests.conftest import tiny_recipe, tiny_source
from zerosum.engine.runs.run import Run
from zerosum.engine.trained.gan import STATIONS, WAYS, LabelGan


def test_a_way_under_each_label_begins_and_ends_at_its_seeds() -> None:
    gan = Run.prepare(tiny_recipe({"condition.method": "embed"}), tiny_source()).gan
    assert isinstance(gan, LabelGan)
    found = gan.ways()
    assert found is not None
    images, names, columns = found
    assert columns == STATIONS
    values = next(iter(gan.spec.labels.values()))
    assert names == list(values)
    assert images.shape[0] == STATIONS * len(names)
    for label, row in zip(values, torch.split(images, STATIONS), strict=True):
        assert (row[[0, -1]] - gan.sample(2, label=label)).abs().max() < 1e-4


def test_without_labels_each_way_leads_between_two_seeds_of_its_own() -> None:
    gan = Run.prepare(tiny_recipe(), tiny_source(labelled=False)).gan
    assert isinstance(gan, LabelGan)
    found = gan.ways()
    assert found is not None
    images, names, columns = found
    assert columns == STATIONS
    assert names == [f"seeds {seed} and {seed + 1}" for seed in range(0, 2 * WAYS, 2)]
    ends = torch.cat([row[[0, -1]] for row in torch.split(images, STATIONS)])
    assert (ends - gan.sample(2 * WAYS)).abs().max() < 1e-4
