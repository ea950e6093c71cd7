"""The command line. Results go to standard output, everything else to standard error.

Exit codes: 0 done; 2 wrong usage, recipe or data; 3 training diverged, or stopped by a finding; 4 files can no longer
be written, or another process of the training is gone; 128 + n stopped by signal n with everything saved: 130 Ctrl-C,
143 SIGTERM, 129 SIGHUP (the terminal was closed), 138 SIGUSR1, 140 SIGUSR2, 152 SIGXCPU (numbers of Linux).
"""

import sys
from typing import Annotated

import typer

from zerosum import streams
from zerosum.cli import recipes, report, resume, sample, score, study, train
from zerosum.errors import ZerosumError, at_command_line
from zerosum.progress import complain


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"zerosum {version('zerosum')}")
        raise typer.Exit


app = typer.Typer(
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


@app.callback()
def whole(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Train, understand, score and ship generative adversarial networks."""


for _verb in (recipes.recipes, train.train, resume.resume, sample.sample, score.score, study.study, report.report):
    app.command()(_verb)


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
