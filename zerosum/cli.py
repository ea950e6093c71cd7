"""The command line. Results go to standard output, everything else to standard error.

Exit codes: 0 done; 2 wrong usage, recipe or data; 3 training diverged, or stopped by a finding; 4 files can no longer
be written, or another process of the training is gone; 128 + n stopped by signal n with everything saved: 130 Ctrl-C,
143 SIGTERM, 129 SIGHUP (the terminal was closed), 138 SIGUSR1, 140 SIGUSR2, 152 SIGXCPU (numbers of Linux).
"""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from zerosum import streams
from zerosum.errors import ZerosumError, at_command_line, suggest
from zerosum.progress import complain, console, is_silent, note, once, track

if TYPE_CHECKING:
    from zerosum.engine.runs.run import Run


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"zerosum {version('zerosum')}")
        raise typer.Exit


app = typer.Typer(
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)

#: values of an attribute that a plan names
MOST_SHOWN = 20

Set = Annotated[
    Optional[list[str]],  # noqa: UP045 - typer reads this form
    typer.Option("--set", metavar="KEY=VALUE", help="Override a recipe key; may be repeated."),
]
Minutes = Annotated[Optional[float], typer.Option(min=0.01, help="Stop, with everything saved, after so long.")]  # noqa: UP045
Checkpoint = Annotated[
    str, typer.Option(metavar="WHICH", help="Of the run: last, best (by the score of its recipe), or a step.")
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, as `zerosum train` prints it.")]


@app.callback()
def whole(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Train, understand, score and ship generative adversarial networks."""


@app.command()
def recipes(
    recipe: Annotated[Optional[str], typer.Argument(help="Print the file of this one, to copy and change.")] = None,  # noqa: UP045
) -> None:
    """What can be trained, in one table."""
    from rich.table import Table

    from zerosum.recipe import Recipe, packaged

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


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A name from `zerosum recipes`, or a YAML file.")] = "digits",
    data: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="URI",
            help="digits, mnist, fashion-mnist, cifar10, or a path: a folder or zip of pictures (class folders or a "
            "metadata.csv), a folder of IDX files, .npz, .npy, Parquet files.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where run folders are made.")] = Path("runs"),
    name: Annotated[Optional[str], typer.Option(help="Name of the run folder, after its number.")] = None,  # noqa: UP045
    set_: Set = None,
    minutes: Minutes = None,
    init_from: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="RUN", help="Begin a new run with the weights of this one; to go on with it: resume."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, print the plan, train nothing.")
    ] = False,
) -> None:
    """Train a recipe; the last line is the run folder."""
    from zerosum.recipe import dotted, parse_overrides

    overrides = dotted(parse_overrides(set_ or []), {} if name is None else {"name": name})
    from zerosum import api
    from zerosum.engine.runs.run import check_writable

    if dry_run:
        run = api.prepare(recipe, data, overrides)
        if init_from is not None:
            run.start_from(init_from)
        check_writable(next(place for place in (out, *out.absolute().parents) if place.exists()))
        typer.echo(_plan(run))
        return
    _finish(api.train(recipe, data=data, out=out, overrides=overrides, init_from=init_from, minutes=minutes))


@app.command()
def resume(
    run: RunFolder,
    data: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="URI", help="Where the data is now, if it was moved."),
    ] = None,
    set_: Set = None,
    minutes: Minutes = None,
) -> None:
    """Go on exactly where a run stopped; --set steps=N trains a finished one further."""
    from zerosum import api
    from zerosum.recipe import parse_overrides

    _finish(api.resume(run, data=data, overrides=parse_overrides(set_ or []), minutes=minutes))


@app.command()
def sample(
    run: RunFolder,
    n: Annotated[int, typer.Option("--n", min=1, help="How many, in one grid, from seeds 0 on.")] = 64,
    seeds: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="A-B,C", help="One PNG for each of these seeds, ends included: 0-63 or 1,5,9."),
    ] = None,
    class_: Annotated[Optional[str], typer.Option("--class", help="Generate this class only.")] = None,  # noqa: UP045
    where: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="NAME=VALUE,...", help="Attributes to generate: gender=female,age=old."),
    ] = None,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="PATH", help="A .png for a grid, a folder for --seeds.", show_default="in RUN"),
    ] = None,
    from_: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--from",
            metavar="PATH",
            help="Pictures that a generator of pictures from pictures starts from: a folder, zip or file, any size.",
        ),
    ] = None,
    action: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            metavar="NAME=VALUE,...",
            help="With --from, of a world: a film of a drive that begins with those pictures, and in which this is "
            "done: steering=-0.5,throttle=1; what is not named is 0. Of several, each for an equal share of the film.",
        ),
    ] = None,
    frames: Annotated[int, typer.Option(min=1, max=10_000, help="Length of that film.")] = 60,
    to: Annotated[
        Optional[str],  # noqa: UP045
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


@app.command()
def score(
    runs: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Argument(metavar="[RUN]...", help="Run folders; several are ranked in one table."),
    ] = None,
    fake: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="PATH", help="Images of any program instead: a folder, zip, .npz or .npy."),
    ] = None,
    real: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="URI", help="Real images, as in train --data, or an .npz with mu and sigma."),
    ] = None,
    n: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--n", min=2, help="How many generated images.", show_default="10,000, or as many as there are"),
    ] = None,
    features: Annotated[
        str,
        typer.Option(
            help="classifier (of the data itself), random, texture, inception, or package.module:Class. auto: "
            "classifier for data with labels, else random; texture for images made from pictures."
        ),
    ] = "auto",
    against: Annotated[str, typer.Option(help="Real images to compare with: test (held out) or train.")] = "test",
    checkpoint: Checkpoint = "last",
    inception: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="Weights of the Inception network; also $ZEROSUM_INCEPTION."),
    ] = None,
    statistics: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--save-statistics", metavar="FILE", help="Write mu and sigma of the real images to this .npz."),
    ] = None,
    set_: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--set",
            metavar="data.KEY=VALUE",
            help="How generated and real images are read: data.resolution, data.channels, data.bad_share, "
            "data.attributes, data.hold_out, data.memory; may be repeated. Without it, images of unlike sizes or "
            "channels are compared at the smallest side and the fewest channels among them.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
) -> None:
    """Score runs, or a pile of images, against real images; real images' own scores stand beside as the floor."""
    if bool(runs) == (fake is not None):
        raise ZerosumError("score: give a run folder, or --fake PATH with --real URI")
    if against not in ("test", "train"):
        raise ZerosumError(f"--against {against}: choose test or train")
    from zerosum.recipe import parse_overrides

    overrides = parse_overrides(set_ or [])
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


@app.command()
def study(
    what: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(
            metavar="[STUDY | RECIPE | FOLDER]", help="Without it: the studies of the package, in one table."
        ),
    ] = None,
    vary: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            metavar="KEY=A,B,C", help="Values of a recipe key, each against the recipe's own; may be repeated."
        ),
    ] = None,
    grid: Annotated[bool, typer.Option("--grid", help="All combinations of the values instead.")] = False,
    search: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Draw so many settings from --vary; KEY=LOW..HIGH or 'KEY=LOW..HIGH log' is a range."),
    ] = None,
    by: Annotated[Optional[str], typer.Option(help="The score that --search is for.", show_default="fid")] = None,  # noqa: UP045
    seeds: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="N", help="How many times each setting is trained; or which seeds: 0-2,7.", show_default="3"
        ),
    ] = None,
    data: Annotated[Optional[str], typer.Option(metavar="URI", help="As in train.")] = None,  # noqa: UP045
    set_: Set = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where study folders are made.")] = Path("studies"),
    jobs: Annotated[int, typer.Option(min=1, help="Processes, which share the cores.")] = 1,
    quick: Annotated[bool, typer.Option("--quick", help="The short form of a study.")] = False,
    storage: Annotated[
        Optional[str],  # noqa: UP045
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
    from zerosum.recipe import parse_overrides
    from zerosum.studying.plan import parse_vary

    if what is None:
        _list_studies()
        return
    values, overrides = parse_vary(vary or []), parse_overrides(set_ or [])
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


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="RUN_OR_STUDY", help="A run folder, or the folder of a study.")],
    out: Annotated[
        Optional[Path],  # noqa: UP045
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


def _list_studies() -> None:
    from rich.table import Table

    from zerosum.studying.plan import StudyFile, packaged_studies

    table = Table("study", "what it asks", "claims", "how long", box=None, header_style="bold")
    for name in packaged_studies():
        known = StudyFile.load(name)
        table.add_row(name, known.about, str(len(known.claims)), known.budget)
    console(sys.stdout, width=None if sys.stdout.isatty() else 120).print(table)


def parse_seeds(text: str) -> list[int]:
    """
    >>> parse_seeds("0-3,7")
    [0, 1, 2, 3, 7]
    """
    result: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?:-(\d{1,9}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last < first + 1_000_000:
            raise ZerosumError(f"--seeds {text}: write 0-63 or 1,5,9")
        result += range(first, last + 1)
    return result


def parse_where(text: str | None) -> dict[str, str] | None:
    """
    >>> parse_where("gender=female, age=old")
    {'gender': 'female', 'age': 'old'}
    """
    if text is None:
        return None
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(name.strip() and equals and value.strip() for name, equals, value in pairs):
        raise ZerosumError(f"--where {text}: write name=value, for example --where gender=female,age=old")
    return {name.strip(): value.strip() for name, _, value in pairs}


def parse_action(text: str) -> dict[str, float]:
    """
    >>> parse_action("steering=-0.5, throttle=1")
    {'steering': -0.5, 'throttle': 1.0}
    """
    result = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        try:
            result[name.strip()] = float(value)
        except ValueError:
            equals = ""
        if not equals or not name.strip():
            raise ZerosumError(f"--action {text}: write name=value, for example --action steering=-0.5,throttle=1")
    return result


def _plan(run: "Run") -> str:
    recipe, spec, players = run.recipe, run.source.spec, run.state.players
    weights = {
        name: sum(weight.numel() for weight in network.parameters())
        for name, network in (("generator", players.generator), ("critic", players.critic))
    }
    condition = {"labels": "; ".join(map(_values, spec.labels.items())) or "none"}
    if (given := spec.input) is not None:
        side = spec.resolution // given.factor
        piles = ", ".join(name for names in spec.labels.values() for name in names)
        kind = f"{recipe.data.input}: {piles}" if piles else recipe.data.input
        condition = {"given": f"{kind}, {given.channels}x{side}x{side * spec.wide}"}
        condition |= {} if run.held_out is None else {"held out": f"{len(run.held_out):,}"}
    images = recipe.steps * recipe.batch * recipe.critic.steps
    size = f"{spec.channels}x{spec.native}x{spec.native * spec.wide}"
    trained = f"{spec.resolution}x{spec.resolution * spec.wide}" if spec.wide > 1 else str(spec.resolution)
    both = "" if recipe.cycle is None else ", in both directions together"
    lines = {
        "recipe": f"{recipe.name} ({recipe.about})" if recipe.about else recipe.name,
        "data": f"{len(run.source):,} images {size}, trained at {trained}",
        **condition,
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


def _values(attribute: tuple[str, tuple[str, ...]]) -> str:
    name, values = attribute
    more = f" and {len(values) - MOST_SHOWN} more" if len(values) > MOST_SHOWN else ""
    return f"{name}: {', '.join(values[:MOST_SHOWN])}{more}"


def _game(run: "Run") -> str:
    recipe = run.recipe
    parts = [f"{recipe.objective} x {recipe.adversarial:g}"] if recipe.adversarial != 1 else [recipe.objective]
    parts = parts if recipe.adversarial else []
    parts += [f"{recipe.content.measure} x {recipe.content.weight:g}"] if recipe.content.weight else []
    if (cycle := recipe.cycle) is not None:
        parts += [f"cycle x {cycle.weight:g}", f"identity x {cycle.identity:g}", f"{cycle.pool} past fakes"]
    return f"{' + '.join(parts)}, condition {recipe.condition.method}"


def _finish(run: "Run") -> None:
    if is_silent():  # beside the process that leads
        return
    pictures = [f"samples/{run.state.step:06d}.png", "reals.png", "losses.png", "scores.png"]
    note("look at " + ", ".join(str(run.place / name) for name in pictures if (run.place / name).is_file()))
    typer.echo(str(run.place))


def main() -> None:
    """The `zerosum` command."""
    streams.open_closed()
    code = 0
    try:
        with at_command_line():
            code = app(sys.argv[1:] or ["--help"], standalone_mode=False) or 0
    except ZerosumError as error:
        complain(f"zerosum: {error}")
        code = error.exit_code
    except typer.Exit as stop:
        code = stop.exit_code
    except typer.Abort:
        code = 130
    except typer.TyperException as error:
        complain(f"zerosum: {error.format_message()}")
        code = 2
    except BrokenPipeError:
        streams.discard(sys.stdout)  # the reader has enough; no complaint at exit
    except OSError as error:
        if error.filename or not streams.is_gone(
            sys.stdout
        ):  # if it is, the terminal was closed, and nobody reads this
            complain(f"zerosum: {error.filename or 'file system'}: {error.strerror or error}")
            code = 2
    except KeyboardInterrupt:
        code = 130
    for stream in (sys.stdout, sys.stderr):
        streams.settle(stream)
    sys.exit(code)
