"""The round log: the table that a person watches while the run goes on."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from .outcome import Numbers, Outcome
from .summary import Summary

__all__ = ["confirmation_table", "final_table", "round_table"]

_COLOURS = {"kept": "green", "dropped": "red", "inconclusive": "yellow", "beaten": "cyan"}


def round_table(outcomes: Sequence[Outcome], control: Numbers, seeds: int) -> Table:
    """Return the table of the rounds so far, the control on top; it fits into 80 columns."""
    title = f"Rounds (val, mean of up to {seeds} seeds; gain in % against the control)"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=0)
    table.add_column("#", justify="right")
    table.add_column("metric, strategy", overflow="fold", min_width=18)
    for heading in ("images", "mAP", "gain", "AR@100", "gain", "tries"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_row(
        "",
        "control: random sample",
        str(control.images),
        f"{control.map:.3f}",
        "",
        f"{control.ar100:.3f}",
        "",
        "",
        "",
    )
    for outcome in outcomes:
        curated = outcome.curated
        colour = _COLOURS.get(outcome.verdict, "dim")
        table.add_row(
            str(outcome.round),
            f"{outcome.metric}\n[dim]{outcome.strategy} · {outcome.family}[/]",
            str(curated.images) if curated else "–",
            f"{curated.map:.3f}" if curated else "–",
            _gain(outcome.map_gain_pct),
            f"{curated.ar100:.3f}" if curated else "–",
            _gain(outcome.ar100_gain_pct),
            str(outcome.repairs + 1),
            f"[{colour}]{outcome.verdict}[/]",
        )
        if versus := outcome.random_relabel:
            table.add_row(
                "",
                "[dim]as many relabelled at random[/]",
                str(versus.other.images),
                f"{versus.other.map:.3f}",
                _gain(_over_control(versus.other.map, control.map)),
                f"{versus.other.ar100:.3f}",
                _gain(_over_control(versus.other.ar100, control.ar100)),
                "",
                "",
            )
    return table


def confirmation_table(summary: Summary) -> Table:
    """Return the table of the best curations, tried again with fresh seeds; it fits into 80 columns."""
    fresh = summary.fresh_seeds
    table = Table(
        box=box.SIMPLE_HEAD, padding=0, title=f"Confirmation (val, mAP; {fresh} seeds that no round has seen)"
    )
    table.add_column("#", justify="right")
    table.add_column("metric, strategy", overflow="fold", min_width=18)
    for heading in (f"{summary.seeds} seeds", f"{fresh} fresh", "all", "gain"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for finalist in summary.confirmation:
        row = summary.rounds[finalist.round - 1]
        table.add_row(
            str(finalist.round),
            f"{row.metric}\n[dim]{row.strategy}[/]",
            f"{finalist.map_before:.3f}",
            f"{finalist.map_fresh:.3f}",
            f"{finalist.map:.3f}",
            _gain(finalist.control.map_pct),
            f"[{_COLOURS[finalist.verdict]}]{finalist.verdict}[/]",
        )
    return table


def final_table(summary: Summary) -> Table:
    """Return the table of the test split, looked at once."""
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"Test ({summary.budget} training images, mean of {summary.test.seeds} seeds)",
    )
    table.add_column("training set")
    for heading in ("mAP", "gain", "AR@100", "gain"):
        table.add_column(heading, justify="right")
    control, best = summary.test.control, summary.test.best
    table.add_row("random sample", f"{control.map:.3f}", "", f"{control.ar100:.3f}", "")
    for name, other in (
        ("as many relabelled at random", summary.test.random_relabel),
        ("oracle: random unharmed images", summary.test.oracle),
    ):
        if other:
            table.add_row(
                f"[dim]{name}[/]",
                f"{other.map:.3f}",
                _gain(_over_control(other.map, control.map)),
                f"{other.ar100:.3f}",
                _gain(_over_control(other.ar100, control.ar100)),
            )
    if best:
        table.add_row(
            f"round {best.round}: {best.metric} ({best.strategy})",
            f"{best.map:.3f}",
            _gain(best.map_gain_pct),
            f"{best.ar100:.3f}",
            _gain(best.ar100_gain_pct),
        )
    return table


def _over_control(value: float, control: float) -> float | None:
    return 100 * (value / control - 1) if control > 0 else None


def _gain(percent: float | None) -> str:
    return "–" if percent is None else f"{percent:+.1f}"
