"""`doctor`: what this machine can do."""

from __future__ import annotations

import platform

import typer

from metricsmith.sandbox.errors import SandboxError, UnsafeError

from .options import console

__all__ = ["register"]

_WALLS = {"A": "seccomp and Landlock", "B": "seccomp alone; this kernel has no Landlock"}


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("doctor", rich_help_panel="This machine")(_doctor)


def _doctor() -> None:
    """Try whether generated code can be jailed here. Exit status 0 if it can, else 1."""
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
