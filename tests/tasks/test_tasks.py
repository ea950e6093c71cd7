"""The register of tasks: every kind of data has one, and each has rules and generators that say how they are used."""

import pytest
import torch
from torch import nn

from tests.conftest import tiny_recipe, tiny_source, with_input
from zerosum.data.pictures.spec import Input
from zerosum.recipe import Recipe
from zerosum.sections import SECTIONS
from zerosum.sections.picture import TASKS as INPUTS
from zerosum.sections.picture import PictureData
from zerosum.tasks import TASKS, task_of
from zerosum.tasks.task import Task

#: what an input needs beside it in a recipe
BESIDE = {"domains": {"cycle": {"weight": 3}}}


def recipe_of(given: str) -> Recipe:
    said = {"data.input": given, "condition.method": "none" if given == "none" else "given"}
    return tiny_recipe({**said, **BESIDE.get(given, {})})


def test_every_kind_of_data_has_a_task() -> None:
    assert INPUTS.keys() == {*PictureData.model_fields["input"].annotation.__args__}  # type: ignore[union-attr]
    assert set(INPUTS.values()) == TASKS.keys()
    for given, name in INPUTS.items():
        assert task_of(recipe_of(given)) is TASKS[name]
    for section in SECTIONS.values():
        assert section().task in TASKS


@pytest.mark.parametrize("name", TASKS)
def test_each_has_both_steps(name: str) -> None:
    task = TASKS[name]
    assert isinstance(task, Task)
    assert callable(task.rules.critic_step)
    assert callable(task.rules.generator_step)
    assert task.from_held_out == (name != "generation")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("none", "LabelGan has no 'dance': use sample"),
        ("shrunk", r"Painter has no 'dance': .*\w\("),
        ("domains", r"Translator has no 'dance': .*\w\("),
        ("drive", r"WorldGan has no 'dance': .*\w\("),
    ],
)
def test_what_a_generator_cannot_do_says_what_it_can(given: str, said: str) -> None:
    spec = with_input(tiny_source(), PictureData.model_validate({"input": given, "factor": 2})).spec
    if given == "drive":
        clip = Input(1 * 2 + 3, frames=2, ahead=3, actions=("steering",))
        spec = tiny_source(side=64, labelled=False).spec.with_input(clip)
    recipe = recipe_of(given)
    gan = task_of(recipe).gan(recipe, nn.Identity(), spec, torch.device("cpu"))
    with pytest.raises(AttributeError, match=said) as refused:
        _ = gan.dance
    assert "\n" not in str(refused.value)
