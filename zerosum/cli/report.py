"""`zerosum report`."""

from pathlib import Path
from typing import Annotated

import typer

from zerosum.progress import note


def report(
    folder: Annotated[Path, typer.Argument(metavar="RUN_OR_STUDY", help="A run folder, or the folder of a study.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="The page, or a folder for it.", show_default="report.html in the folder"),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
) -> None:
    """One standalone HTML page about a run or a study; the last line is its path."""
    import webbrowser

    from zerosum.reporting import report as write

    page = write(folder, out)
    if open_ and not webbrowser.open(page.resolve().as_uri()):
        note("no browser could be started: open the page yourself")
    typer.echo(str(page))
