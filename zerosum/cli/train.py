"""`zerosum train`, and the plan that `--dry-run` prints."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zerosum.choice import shown
from zerosum.cli.options import Minutes, Set
from zerosum.progress import is_silent, note

if TYPE_CHECKING:
    from zerosum.engine.runs.run import Run


def train(
    recipe: Annotated[str, typer.Argument(help="A name from `zerosum recipes`, or a YAML file.")] = "digits",
    data: Annotated[
        str | None,
        typer.Option(
            metavar="URI",
            help="digits, mnist, fashion-mnist, cifar10, or a path: a folder or zip of pictures (class folders or a "
            "metadata.csv), a folder of IDX files, .npz, .npy, Parquet files; for the recipe table a .csv or .parquet.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where run folders are made.")] = Path("runs"),
    name: Annotated[str | None, typer.Option(help="Name of the run folder, after its number.")] = None,
    set_: Set = None,
    minutes: Minutes = None,
    init_from: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Begin a new run with the weights of this one; to go on with it: resume."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, print the plan, train nothing.")
    ] = False,
) -> None:
    """Train a recipe; the last line is the run folder."""
    from zerosum.loading import dotted, parse_overrides
    from zerosum.recipe import Recipe

    overrides = dotted(Recipe, parse_overrides(Recipe, set_ or []), {} if name is None else {"name": name})
    from zerosum import api
    from zerosum.engine.runs.folder import check_writable

    if dry_run:
        run = api.prepare(recipe, data, overrides)
        if init_from is not None:
            run.start_from(init_from)
        check_writable(next(place for place in (out, *out.absolute().parents) if place.exists()))
        typer.echo(_plan(run))
        return
    finish(api.train(recipe, data=data, out=out, overrides=overrides, init_from=init_from, minutes=minutes))


def _plan(run: "Run") -> str:
    from zerosum.modalities import modality_of
    from zerosum.tasks import task_of

    recipe, spec, players = run.recipe, run.source.spec, run.state.players
    weights = {
        name: sum(weight.numel() for weight in network.parameters())
        for name, network in (("generator", players.generator), ("critic", players.critic))
    }
    task, images = task_of(recipe), recipe.steps * recipe.batch * recipe.critic.steps
    seen = spec.sample.sides
    trained = f", trained at {'x'.join(map(str, seen))}" if seen and spec.size != str(spec.sample) else ""
    both = "" if recipe.cycle is None else ", in both directions together"
    lines = {
        "recipe": f"{recipe.name} ({recipe.about})" if recipe.about else recipe.name,
        "data": f"{len(run.source):,} {modality_of(spec).plural} {spec.size}{trained}",
        **task.plan(recipe, spec, run.held_out),
        "generator": f"{recipe.generator.network}, {weights['generator']:,} weights{both}",
        "critic": f"{recipe.critic.network}, {weights['critic']:,} weights, {recipe.critic.steps} steps each{both}"
        if recipe.adversarial
        else "none: adversarial = 0",
        "game": _game(run),
        "length": f"{recipe.steps:,} steps of batch {recipe.batch}: {images / len(run.source):.1f} epochs",
        "computed": f"{run.precision.name} on {run.precision.device}"
        + (f", threads {recipe.threads}" if run.precision.device.type == "cpu" else "")
        + (", steps recorded as CUDA graphs" if run.recorder.records else ""),
    }
    return "\n".join(f"{name:10} {text}" for name, text in lines.items())


def _game(run: "Run") -> str:
    from zerosum.tasks import task_of

    recipe = run.recipe
    objective = shown(recipe.objective)
    parts = [f"{objective} x {recipe.adversarial:g}"] if recipe.adversarial != 1 else [objective]
    parts = parts if recipe.adversarial else []
    parts += [f"{recipe.content.measure} x {recipe.content.weight:g}"] if recipe.content.weight else []
    parts += task_of(recipe).plan_of_game(recipe)
    augmented = "" if recipe.augment == "none" else f", augment {shown(recipe.augment)}"
    return f"{' + '.join(parts)}, condition {recipe.condition.method}{augmented}"


def finish(run: "Run") -> None:
    if is_silent():  # beside the process that leads
        return
    pictures = [f"samples/{run.state.step:06d}.png", "reals.png", "losses.png", "scores.png"]
    note("look at " + ", ".join(str(run.place / name) for name in pictures if (run.place / name).is_file()))
    typer.echo(str(run.place))
