"""What is given to the generator, and who plays: one file for each kind of game, a `Task`."""

from zerosum.recipe import Recipe
from zerosum.tasks.generation import Generation
from zerosum.tasks.task import Task
from zerosum.tasks.translation import Translation
from zerosum.tasks.unpaired import Unpaired
from zerosum.tasks.world import World

#: the names are those of a data section's `task`; a new task is one more entry
TASKS: dict[str, Task] = {
    "generation": Generation(),
    "translation": Translation(),
    "unpaired": Unpaired(),
    "world": World(),
}


def task_of(recipe: Recipe) -> Task:
    """The task of a recipe, which follows from its data section."""
    return TASKS[recipe.data.task]
