"""Which planted mistakes a metric notices, as a table for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from metricsmith.evaluation.planted import MISTAKES, Noticed

__all__ = ["noticed_table"]


def noticed_table(found: Sequence[Noticed]) -> Table:
    """Return the table: one row a kind of mistake, what is noticed in green, the contrary in red."""
    table = Table(
        title="Planted mistakes: % of the untouched that are less suspicious", box=box.SIMPLE_HEAD, padding=0
    )
    table.add_column("kind")
    table.add_column("the mistake")
    for heading in ("planted", "before", "after"):
        table.add_column(heading, justify="right", no_wrap=True)
    for own in found:
        colour = "green" if own.rises else "red" if own.falls else "dim"
        table.add_row(
            own.kind,
            MISTAKES[own.kind],
            str(own.count),
            f"{100 * own.before:.0f}",
            f"[{colour}]{100 * own.after:.0f}[/]",
        )
    return table
