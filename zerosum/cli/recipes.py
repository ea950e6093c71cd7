"""`zerosum recipes`."""

import sys
from typing import Annotated

import typer

from zerosum.errors import ZerosumError, suggest
from zerosum.progress import console


def recipes(
    recipe: Annotated[str | None, typer.Argument(help="Print the file of this one, to copy and change.")] = None,
) -> None:
    """What can be trained, in one table."""
    from rich.table import Table

    from zerosum.loading import packaged
    from zerosum.recipe import Recipe

    known = packaged()
    if recipe is not None:
        if recipe not in known:
            raise ZerosumError(f"unknown recipe '{recipe}': {suggest(recipe, known)}")
        typer.echo(known[recipe].read_text(encoding="utf-8"), nl=False)
        return
    table = Table("recipe", "what it is", "data", "steps", "batch", box=None, header_style="bold")
    for name in known:
        rules = Recipe.load(name)
        table.add_row(name, rules.about, rules.data.uri or "yours: --data", f"{rules.steps:,}", str(rules.batch))
    console(sys.stdout, width=None if sys.stdout.isatty() else 120).print(table)
