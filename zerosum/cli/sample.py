"""`zerosum sample`."""

from pathlib import Path
from typing import Annotated

import typer

from zerosum.cli.options import Checkpoint, RunFolder, parse_action, parse_seeds, parse_where
from zerosum.errors import ZerosumError
from zerosum.progress import track


def sample(
    run: RunFolder,
    n: Annotated[int, typer.Option("--n", min=1, help="How many, in one grid, from seeds 0 on.")] = 64,
    seeds: Annotated[
        str | None,
        typer.Option(metavar="A-B,C", help="One PNG for each of these seeds, ends included: 0-63 or 1,5,9."),
    ] = None,
    class_: Annotated[str | None, typer.Option("--class", help="Generate this class only.")] = None,
    where: Annotated[
        str | None,
        typer.Option(metavar="NAME=VALUE,...", help="Attributes to generate: gender=female,age=old."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="A .png for a grid, a folder for --seeds.", show_default="in RUN"),
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
        typer.Option(metavar="PILE", help="With --from, of two piles: what the pictures become, A or B."),
    ] = None,
    checkpoint: Checkpoint = "last",
) -> None:
    """Generate images with the averaged generator; the same seed gives the same image."""
    wanted = None if seeds is None else parse_seeds(seeds)
    conditions = parse_where(where)
    import torch

    from zerosum import api
    from zerosum.data.pictures import drawing as pictures

    gan = api.load(run, checkpoint=checkpoint)
    if action is not None and from_ is None:
        raise ZerosumError("--action: say with which pictures the drive begins, with --from PATH")
    if from_ is not None and (action is not None or api.is_world(gan)):
        actions = [parse_action(one) for one in action or []] or [{}]
        typer.echo(str(api.film(gan, from_, actions, frames, out or run / "film.gif")))
        return
    if to is not None and from_ is None:
        raise ZerosumError(f"--to {to}: show the generator pictures, with --from FOLDER")
    if from_ is not None:
        typer.echo(str(api.translate(gan, from_, out or run / "translated", to)))
        return
    if wanted is None:
        place = out or run / f"samples-{n}.png"
        most = pictures.most_in_grid(gan.spec.native, gan.spec.native * gan.spec.wide)
        if n > most:
            raise ZerosumError(
                f"--n {n}: a grid holds {most:,} of this generator's images at most; one file each: --seeds 0-{n - 1}"
            )
        blocks = track(gan.stream(range(n), class_, conditions), -(-n // 256), "blocks of 256")
        parts = [(pictures.to_pixels(images), labels) for images, labels in blocks]
        pixels = torch.cat([part for part, _ in parts])
        labels = [row for _, part in parts if part is not None for row in part.tolist()]
        if labels:  # equal ones stand together
            pixels = pixels[sorted(range(n), key=labels.__getitem__)]
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            pictures.save_grid(pixels, max(1, round(n**0.5)), place)
        except (OSError, ValueError) as error:  # a suffix of no picture, for one
            raise ZerosumError(_unwritable(place, error)) from None
    else:
        place = out or run / "samples-by-seed"
        made = gan.stream(wanted, class_, conditions)
        each = (one for images, _ in made for one in pictures.to_pixels(images))
        try:
            place.mkdir(parents=True, exist_ok=True)
            for seed, one in zip(wanted, track(each, len(wanted), "pictures"), strict=True):
                pictures.save_whole(pictures.to_image(one), place / f"seed{seed:04d}.png")
        except OSError as error:
            raise ZerosumError(_unwritable(place, error)) from None
    typer.echo(str(place))


def _unwritable(place: Path, error: Exception) -> str:
    return f"cannot write to {place}: {getattr(error, 'strerror', None) or error}"
