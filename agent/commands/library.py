"""`stats`, `metrics` and `promote`: what runs brought, and the library of metrics they earned."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.syntax import Syntax
from rich.table import Table

from metricsmith.evaluation.files import write_atomic
from metricsmith.sandbox.errors import RunError

from ..accepted import accept, card_of, read_metric
from ..run_folder import RunFolder
from .options import console

if TYPE_CHECKING:
    from ..stats import Stats

__all__ = ["register", "shipped"]

Library = Annotated[
    Path | None,
    typer.Option("--library", metavar="DIR", show_default="metrics_generated", help="The folder of metrics."),
]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("stats", rich_help_panel="Runs")(_stats)
    app.command("metrics", rich_help_panel="Metrics")(_metrics)
    app.command("promote", rich_help_panel="Metrics")(_promote)


def shipped() -> Path:
    """Return the folder of the metrics that come with the program."""
    spec = find_spec("metricsmith.metrics_generated")
    places = [Path(place) for place in (spec and spec.submodule_search_locations) or ()]
    return next(place for place in places if place.is_dir())


def _stats(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", show_default=False, help="Folders of runs.")],
) -> None:
    """Print what runs cost and brought: ideas, code, verdicts, calls, tokens, time, best gain by round."""
    from ..stats import stats_of

    found = stats_of([RunFolder(run) for run in runs])
    table = Table(box=box.SIMPLE, show_header=False)
    tokens = (
        "unknown: the provider did not say"
        if found.prompt_tokens is None or found.completion_tokens is None
        else f"{found.prompt_tokens:,} in prompts, {found.completion_tokens:,} in answers"
    )
    rows = {
        "runs, rounds, ideas": f"{found.runs}, {found.rounds}, {found.ideas}",
        "rounds by mode": _counts(found.modes) or "none",
        "families tried for the first time": f"in {found.new_families} of {found.rounds} rounds",
        "composites, without new code": str(found.composites),
        "does text tell what scores say": _text_tells(found),
        "code asked for": f"{found.candidates} times",
        "valid at the first try": _share(found.valid_at_first, found.share_at_first),
        "valid after repair": _share(found.valid_after_repair, found.share_after_repair),
        "sent back to be sharper": f"{found.weak}, better {found.sharper}",
        "refused code": _counts(found.mistakes) or "none",
        "verdicts": _counts(found.verdicts) or "none",
        "hints of a person": str(found.hints),
        "calls": f"{found.calls}"
        + (f", {found.calls / found.kept:.1f} for each metric kept" if found.kept else ""),
        "tokens": tokens,
        "time": ", ".join(f"{step} {seconds:,.0f} s" for step, seconds in found.seconds.items() if seconds),
        **{
            f"best gain in mAP by round, {run}": ", ".join(f"{gain:+.1f} %" for gain in gains)
            for run, gains in found.best.items()
        },
    }
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)


def _metrics(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", show_default="all, as a table", help="One to show.")
    ] = None,
    library: Library = None,
) -> None:
    """List the metrics that runs have kept, or show one with its card and its code."""
    folder = library or shipped()
    if name is not None:
        file = folder / f"{name}.py"
        source = read_metric(file)
        if card := card_of(file):
            for key, value in card.model_dump().items():
                console.print(f"{key}: {value}", highlight=False, soft_wrap=True)
        console.print(Syntax(source, "python"))
        return
    table = Table("metric", "use", "from", "gain", box=box.SIMPLE_HEAD)
    files = sorted(folder.glob("*.py"))
    for file in files:
        card = card_of(file)
        if card is None:
            table.add_row(file.stem, "", "no card", "")
            continue
        gains = [
            f"{what} {gain:+.1f} %"
            for what, gain in (("mAP", card.map_gain_pct), ("AR@100", card.ar100_gain_pct))
            if gain is not None
        ]
        table.add_row(card.name, card.strategy, f"{card.run}, round {card.round}", ", ".join(gains))
    console.print(table if files else f"{folder}: no metrics yet; `metricsmith promote RUN METRIC` adds one")


def _promote(
    run: Annotated[Path, typer.Argument(metavar="RUN", show_default=False, help="The folder of a run.")],
    metric: Annotated[
        str, typer.Argument(metavar="METRIC", show_default=False, help="A metric that it kept.")
    ],
    library: Library = None,
) -> None:
    """Copy a metric that a run has kept, with its card, into the library."""
    folder = RunFolder(run)
    folder.read_settings()  # says what is wrong where there is no run
    kept = {card.name: file for file in sorted(folder.metrics.glob("*.py")) if (card := card_of(file))}
    if metric not in kept:
        known = ", ".join(kept) or "none"
        raise RunError(f"{run}: this run kept no metric {metric!r}; it kept: {known}")
    source, card = read_metric(kept[metric]), card_of(kept[metric])
    assert card is not None, "only metrics with a card were kept"
    target = (library or shipped()) / f"{metric}.py"
    if target.exists() and target.read_text(encoding="utf-8") != source:
        raise RunError(f"{target}: there is another metric of this name; rename or remove it first")
    write_atomic(target, source)
    accept(target, card)
    console.print(f"{target}", highlight=False, soft_wrap=True)


def _text_tells(found: Stats) -> str:
    """What similarity of descriptions is worth as a guess at the correlation of scores."""
    if found.text_tells is None:
        return "unknown: fewer than three pairs of metrics"
    return f"rank correlation {found.text_tells:+.2f} over {len(found.pairs)} pairs of metrics"


def _share(count: int, share: float | None) -> str:
    return f"{count}" if share is None else f"{count} ({share:.0%})"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())
