"""`zerosum study`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from zerosum.cli.options import Set, parse_seeds
from zerosum.progress import console, note


def study(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[STUDY | RECIPE | FOLDER]", help="Without it: the studies of the package, in one table."
        ),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=A,B,C", help="Values of a recipe key, each against the recipe's own; may be repeated."
        ),
    ] = None,
    grid: Annotated[bool, typer.Option("--grid", help="All combinations of the values instead.")] = False,
    search: Annotated[
        int | None,
        typer.Option(
            min=1, help="Draw this many settings from --vary; KEY=LOW..HIGH or 'KEY=LOW..HIGH log' is a range."
        ),
    ] = None,
    by: Annotated[str | None, typer.Option(help="The score that --search is for.", show_default="fid")] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            metavar="N", help="How many times each setting is trained; or which seeds: 0-2,7.", show_default="3"
        ),
    ] = None,
    data: Annotated[str | None, typer.Option(metavar="URI", help="As in train.")] = None,
    set_: Set = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where study folders are made.")] = Path("studies"),
    jobs: Annotated[int, typer.Option(min=1, help="Processes, which share the cores.")] = 1,
    quick: Annotated[bool, typer.Option("--quick", help="The short form of a study.")] = False,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="A database that hands out the runs, in place of a file in the study's folder."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, print the plan, train nothing.")
    ] = False,
) -> None:
    """Train settings from several seeds and judge claims about them; the last line is the study folder.

    The same command with the folder goes on with a study that was stopped, and helps with one that is running.
    """
    from zerosum.loading import parse_overrides
    from zerosum.recipe import Recipe
    from zerosum.studying.plan import parse_vary

    if what is None:
        _list_studies()
        return
    values, overrides = parse_vary(vary or []), parse_overrides(Recipe, set_ or [])
    wanted = None if seeds is None else int(seeds) if seeds.strip().isdecimal() else parse_seeds(seeds)
    from zerosum.studying import check, work

    if dry_run:
        plan = work.plan_of(what, values, grid, search, by, wanted, data, overrides, quick)
        check.check(plan, check.Bench(), dry=True)
        typer.echo(work.describe(plan))
        return
    done = work.study(
        what,
        vary=values,
        grid=grid,
        search=search,
        by=by,
        seeds=wanted,
        data=data,
        out=out,
        overrides=overrides,
        jobs=jobs,
        quick=quick,
        storage=storage,
    )
    note("\n" + done.table)
    typer.echo(str(done.folder))


def _list_studies() -> None:
    from rich.table import Table

    from zerosum.studying.plan import StudyFile, packaged_studies

    table = Table("study", "what it asks", "claims", "how long", box=None, header_style="bold")
    for name in packaged_studies():
        known = StudyFile.load(name)
        table.add_row(name, known.about, str(len(known.claims)), known.budget)
    console(sys.stdout, width=None if sys.stdout.isatty() else 120).print(table)
