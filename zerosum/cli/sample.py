"""`zerosum sample`."""

from pathlib import Path
from typing import Annotated

import typer

from zerosum.cli.options import Checkpoint, RunFolder, parse_action, parse_seeds, parse_where


def sample(
    run: RunFolder,
    n: Annotated[int, typer.Option("--n", min=1, help="How many, in one file, from seeds 0 on.")] = 64,
    seeds: Annotated[
        str | None,
        typer.Option(metavar="A-B,C", help="One file for each of these seeds, ends included: 0-63 or 1,5,9."),
    ] = None,
    class_: Annotated[str | None, typer.Option("--class", help="Generate this class only.")] = None,
    where: Annotated[
        str | None,
        typer.Option(metavar="NAME=VALUE,...", help="Attributes to generate: gender=female,age=old."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="A file, .png for a grid of pictures, .csv or .parquet for rows; a folder for --seeds.",
            show_default="in RUN",
        ),
    ] = None,
    from_: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="PATH",
            help="Pictures that a generator of pictures from pictures starts from: a folder, zip or file, any size.",
        ),
    ] = None,
    action: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE,...",
            help="With --from, of a world: a film of a drive that begins with those pictures, and in which this is "
            "done: steering=-0.5,throttle=1; what is not named is 0. Of several, each for an equal share of the film.",
        ),
    ] = None,
    frames: Annotated[int, typer.Option(min=1, max=10_000, help="Frames in the film (with --action).")] = 60,
    to: Annotated[
        str | None,
        typer.Option(metavar="DOMAIN", help="With --from, of two domains: what the pictures become, A or B."),
    ] = None,
    checkpoint: Checkpoint = "last",
) -> None:
    """Generate images with the averaged generator; the same seed gives the same image."""
    wanted = None if seeds is None else parse_seeds(seeds)
    conditions = parse_where(where)
    actions = None if action is None else [parse_action(one) for one in action]
    from zerosum import api
    from zerosum.engine.trained.order import Order

    gan = api.load(run, checkpoint=checkpoint)
    order = Order(out, run, n, wanted, class_, conditions, from_, to, actions, frames)
    typer.echo(str(gan.write(order)))
