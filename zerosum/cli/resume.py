"""`zerosum resume`."""

from typing import Annotated

import typer

from zerosum.cli.options import Minutes, RunFolder, Set
from zerosum.cli.train import finish


def resume(
    run: RunFolder,
    data: Annotated[
        str | None,
        typer.Option(metavar="URI", help="Where the data is now, if it was moved."),
    ] = None,
    set_: Set = None,
    minutes: Minutes = None,
) -> None:
    """Go on exactly where a run stopped; --set steps=N trains a finished one further."""
    from zerosum import api
    from zerosum.loading import parse_overrides
    from zerosum.recipe import Recipe

    finish(api.resume(run, data=data, overrides=parse_overrides(Recipe, set_ or []), minutes=minutes))
