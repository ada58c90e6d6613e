"""The command line: `metricsmith COMMAND`. What a command does is in `commands`; here is how it fails."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from metricsmith.sandbox.errors import MetricSmithError

from .commands import bench, data, doctor, library, metrics, runs

__all__ = ["app", "main"]

app = typer.Typer(
    name="metricsmith",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "An autonomous data-centric ML engineer for object detection.\n\n"
        "A language model proposes data-quality metrics and writes their code; a sandbox validates and runs "
        "it; a fixed detector is trained on the curated data and on an equal-size random sample; what "
        "measurably lifts mAP and recall is kept, and the next round builds on it."
    ),
)
for group in (runs, data, metrics, library, doctor, bench):
    group.register(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"metricsmith {version('metricsmith')}")
        raise typer.Exit


@app.callback()
def _root(
    shown: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of all commands."""


def main() -> None:
    """Run the command line. A mistake of the user's is one line on stderr and exit status 1."""
    try:
        app(prog_name="metricsmith")
    except MetricSmithError as error:
        print(f"metricsmith: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("metricsmith: interrupted; what was computed is kept", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # `metricsmith describe … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
