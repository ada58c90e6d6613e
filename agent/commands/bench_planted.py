"""`bench planted`: do planted mistakes tell which metric finds the mistakes that are there?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich import box
from rich.table import Table

from ..display import Display
from .bench_labels import DataSets, Metrics, Noise, Place, Runs, Seeds, digest, places, sources
from .options import console, errors

if TYPE_CHECKING:
    from metricsmith.evaluation.planted_bench import Pair

__all__ = ["register"]


def register(bench: typer.Typer) -> None:
    """Add the command to `bench`."""
    bench.command("planted")(_planted)


def _planted(
    data: DataSets = None,
    noise: Noise = None,
    seeds: Seeds = 1,
    metric: Metrics = None,
    runs: Runs = Path("runs"),
) -> None:
    """How well each metric finds mistakes by kind: planted in a sample, and those of a ledger.

    Mistakes are put into clean labels; the planted ones come on top of them, in 64 images. Results are kept
    in DIR/bench: what was measured once is not measured again.
    """
    from metricsmith.evaluation.bench_record import BenchRecord
    from metricsmith.evaluation.detectors import ProxyDetector
    from metricsmith.evaluation.label_error_bench import look
    from metricsmith.evaluation.peers import classic_metrics
    from metricsmith.evaluation.planted_bench import Pair, agreement, pairs

    metrics = classic_metrics() | sources(metric)
    record = BenchRecord(runs / "bench" / "planted.jsonl")
    detector = ProxyDetector(runs / "cache")
    found: dict[str, list[Pair]] = {}
    with Display(errors) as display:
        for place in places(data, noise, seeds, runs, display):

            def measure(place: Place = place) -> Any:
                case = look(detector, place.clean, place.noise, place.seed, display.progress)
                return [pair.model_dump() for pair in pairs(case, metrics, display.progress)]

            values = record.once(measure, *place.key, digest(metrics))
            found.setdefault(f"{place.name}, {place.noise:.0%}", []).extend(map(Pair.model_validate, values))
    everything = [pair for own in found.values() for pair in own]
    console.print(_table(everything))
    for name, own in found.items():
        console.print(f"{name}: Spearman {agreement(own):+.2f} over {len(own)} pairs", highlight=False)
    if len(found) > 1:
        console.print(
            f"All: Spearman {agreement(everything):+.2f} over {len(everything)} pairs", highlight=False
        )


def _table(pairs: list[Pair]) -> Table:
    kinds = list(dict.fromkeys(pair.kind for pair in pairs))
    table = Table(title="AUROC, planted / known (mean)", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("metric", overflow="fold", min_width=24)
    for kind in kinds:
        table.add_column(kind, justify="right", no_wrap=True)
    for name in dict.fromkeys(pair.metric for pair in pairs):
        cells = []
        for kind in kinds:
            own = [pair for pair in pairs if (pair.metric, pair.kind) == (name, kind)]
            means = [
                sum(getattr(pair, side) for pair in own) / len(own) for side in ("planted", "known") if own
            ]
            cells.append("/".join(f"{mean:.2f}".removeprefix("0") for mean in means) or "–")
        table.add_row(name, *cells)
    return table
