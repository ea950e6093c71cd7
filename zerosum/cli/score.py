"""`zerosum score`."""

from pathlib import Path
from typing import Annotated

import typer

from zerosum.cli.options import Checkpoint
from zerosum.errors import ZerosumError
from zerosum.progress import note, once


def score(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[RUN]...", help="Run folders; several are ranked in one table."),
    ] = None,
    fake: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Images of any program instead: a folder, zip, .npz or .npy."),
    ] = None,
    real: Annotated[
        str | None,
        typer.Option(metavar="URI", help="Real samples, as in train --data, or an .npz with mu and sigma."),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option("--n", min=2, help="How many generated samples.", show_default="10,000, or as many as there are"),
    ] = None,
    features: Annotated[
        str,
        typer.Option(
            help="classifier (of the data itself), random, texture, inception, or package.module:Class. auto: "
            "classifier for data with labels, else random; texture for images made from pictures."
        ),
    ] = "auto",
    against: Annotated[str, typer.Option(help="Real samples to compare with: test (held out) or train.")] = "test",
    checkpoint: Checkpoint = "last",
    inception: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Weights of the Inception network; also $ZEROSUM_INCEPTION."),
    ] = None,
    statistics: Annotated[
        Path | None,
        typer.Option("--save-statistics", metavar="FILE", help="Write mu and sigma of the real samples to this .npz."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="data.KEY=VALUE",
            help="How generated and real samples are read, by keys of their data section such as data.resolution or "
            "data.hold_out; may be repeated. Without it, pictures of unlike forms are compared in the smallest among "
            "them.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
) -> None:
    """Score runs, or a pile of images, against real samples; real samples' own scores stand beside as the floor."""
    if bool(runs) == (fake is not None):
        raise ZerosumError("score: give a run folder, or --fake PATH with --real URI")
    if against not in ("test", "train"):
        raise ZerosumError(f"--against {against}: choose test or train")
    from zerosum.loading import parse_overrides
    from zerosum.recipe import Recipe

    overrides = parse_overrides(Recipe, set_ or [])
    from zerosum import scoring

    piles = runs or [Path(str(fake))]
    named = {}
    with once():
        for pile in piles:
            if runs and not (pile / "recipe.yaml").is_file():
                raise ZerosumError(
                    f"{pile} is no run folder: it has no recipe.yaml; for a folder of images: --fake {pile}"
                )
            scores = scoring.score(
                pile,
                real,
                n=n,
                features=features,
                against=against,  # type: ignore[arg-type]
                checkpoint=checkpoint,
                inception=inception,
                statistics=statistics,
                overrides=overrides,
            )
            if runs:
                try:
                    scoring.store(scores, pile, checkpoint)
                except OSError as error:  # a run of someone else, perhaps
                    note(f"the scores cannot be kept in {pile}: {error.strerror or error}")
            named[str(pile)] = scores
    typer.echo(scoring.as_json(named) if as_json else scoring.as_table(named), nl=False)
