"""`doctor`: what this machine can do."""

from __future__ import annotations

import platform
from typing import Annotated

import typer

from metricsmith.sandbox.errors import SandboxError, UnsafeError

from .options import console

__all__ = ["register"]

_WALLS = {"A": "seccomp and Landlock", "B": "seccomp alone; this kernel has no Landlock"}


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("doctor", rich_help_panel="This machine")(_doctor)


def _doctor(
    llm: Annotated[
        str | None,
        typer.Option(
            "--llm",
            metavar="MODEL",
            show_default="not asked",
            help="Also make one small call to this language model, openai:MODEL or openai:MODEL@BASE_URL.",
        ),
    ] = None,
) -> None:
    """Try whether generated code can be jailed here. Exit status 0 if it can, else 1.

    With --llm it also says what the language model's endpoint can do.
    """
    from metricsmith.sandbox.selftest import walls
    from metricsmith.sandbox.trespass import ATTEMPTS

    system = f"{platform.system()} {platform.release()}, {platform.machine()}"
    console.print(f"system  {system}, Python {platform.python_version()}", highlight=False)
    try:
        level = walls()
    except UnsafeError as error:
        console.print(f"jail    none: {error.reason}", highlight=False, soft_wrap=True)
        console.print(
            "        No generated code runs here, unless you say --unsafe-no-sandbox.", highlight=False
        )
        raise typer.Exit(1) from None
    except SandboxError as error:
        console.print(f"jail    not tried: {error}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    console.print(
        f"jail    level {level} ({_WALLS[level]}): {len(ATTEMPTS)} forbidden operations tried, all refused",
        highlight=False,
        soft_wrap=True,
    )
    if llm is not None:
        _tell_endpoint(llm)


def _tell_endpoint(spec: str) -> None:
    from ..models import ModelSettings
    from ..models.probe import probe

    found = probe(ModelSettings.from_spec(spec))
    json_mode = "takes JSON mode" if found.json_mode else "has no JSON mode (prompts ask for JSON in words)"
    answer = f"answered with something else ({found.problem})" if found.problem else "answered with JSON"
    usage = "counts tokens" if found.says_usage else "does not count tokens"
    reasoning = ", shows its reasoning" if found.shows_reasoning else ""
    console.print(
        f"model   {found.model} over the {found.api} API: {json_mode}, {answer}, {usage}{reasoning}; "
        f"{found.seconds:.1f} s",
        highlight=False,
        soft_wrap=True,
    )
    if found.problem:
        raise typer.Exit(1)
