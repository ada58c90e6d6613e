"""`bench label-errors` and `bench curation`: the engineer's metrics beside what others do."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table

from metricsmith.sandbox.errors import RunError

from ..accepted import read_metric
from ..display import Display
from .library import shipped
from .options import console, errors

if TYPE_CHECKING:
    from metricsmith.evaluation.curation_bench import Row
    from metricsmith.evaluation.dataset import Dataset
    from metricsmith.evaluation.label_error_bench import Figures
    from metricsmith.evaluation.trials import Trial

__all__ = [
    "DataSets",
    "Metrics",
    "Noise",
    "Place",
    "Runs",
    "Seeds",
    "digest",
    "places",
    "register",
    "sources",
]

DataSets = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="DATA…",
        show_default="the pandas of the demo",
        help="Data sets with labels to trust: mistakes are put into copies of them.",
    ),
]
Noise = Annotated[
    list[float] | None,
    typer.Option(
        "--noise", metavar="SHARE", show_default="0.05 and 0.2", help="Boxes to harm; may be repeated."
    ),
]
Seeds = Annotated[int, typer.Option(min=1, help="Repetitions, each with mistakes and trainings of its own.")]
Metrics = Annotated[
    list[Path] | None,
    typer.Option(
        "--metric",
        metavar="FILE",
        show_default="those in metrics_generated",
        help="Metrics to measure beside the others; may be repeated.",
    ),
]
Runs = Annotated[Path, typer.Option("--runs", metavar="DIR", help="The folder for caches and results.")]


def register(bench: typer.Typer) -> None:
    """Add the commands to `bench`."""
    bench.command("label-errors")(_label_errors)
    bench.command("curation")(_curation)


@dataclass(frozen=True)
class Place:
    """One case to be measured: where its clean labels are, and what the record calls it."""

    name: str
    clean: Dataset
    test: Dataset
    noise: float
    seed: int

    @property
    def key(self) -> tuple[object, ...]:
        """All that its measurements hang on, but for the metrics."""
        from metricsmith.evaluation.detectors import ProxySettings

        data = (self.clean.fingerprint(), self.test.fingerprint())
        return (self.name, *data, self.noise, self.seed, repr(ProxySettings()))


def _label_errors(
    data: DataSets = None,
    noise: Noise = None,
    seeds: Seeds = 3,
    metric: Metrics = None,
    runs: Runs = Path("runs"),
) -> None:
    """How well each method finds mistakes that were put into clean labels.

    Results are kept in DIR/bench: what was measured once is not measured again.
    """
    from metricsmith.evaluation.bench_record import BenchRecord
    from metricsmith.evaluation.detectors import ProxyDetector
    from metricsmith.evaluation.label_error_bench import Figures, figures, look, suspicions

    generated = sources(metric)
    record = BenchRecord(runs / "bench" / "label-errors.jsonl")
    detector = ProxyDetector(runs / "cache")
    rows: dict[tuple[str, float], list[Figures]] = {}
    with Display(errors) as display:
        for place in places(data, noise, seeds, runs, display):

            def measure(place: Place = place) -> Any:
                case = look(detector, place.clean, place.noise, place.seed, display.progress)
                found = suspicions(case, generated, display.progress)
                return [row.model_dump() for doubt in found for row in figures(case, doubt)]

            values = record.once(measure, *place.key, digest(generated))
            rows.setdefault((place.name, place.noise), []).extend(map(Figures.model_validate, values))
    for (name, share), found in rows.items():
        for level in ("image", "box"):
            console.print(
                _figures_table(f"{level.capitalize()} level: {name}, {share:.0%} harmed", level, found)
            )


def _figures_table(title: str, level: str, rows: Sequence[Figures]) -> Table:
    from metricsmith.evaluation.label_error_bench import AT, means

    own = [row for row in rows if row.level == level]
    aurocs = means(own, lambda row: row.auroc)
    table = _table(f"{title} (mean over the seeds; AUROC by kind)")
    kinds = sorted({row.kind for row in own} - {"all"})
    for heading in ("AUROC", "AP", f"P@{AT}", *kinds):
        table.add_column(heading, justify="right", no_wrap=True)
    total = [
        means(own, figure)
        for figure in (lambda row: row.auroc, lambda row: row.ap, lambda row: row.precision)
    ]
    methods = dict.fromkeys(row.method for row in own)
    for method in sorted(methods, key=lambda name: -total[1][name, own[0].level, "all"]):
        table.add_row(
            method,
            *(f"{figure[method, own[0].level, 'all']:.3f}" for figure in total),
            *(f"{aurocs[method, own[0].level, kind]:.3f}" for kind in kinds),
        )
    return table


class Kind(StrEnum):
    """What is done with a method's doubts."""

    filter = "filter"
    relabel = "relabel"


def _curation(
    data: DataSets = None,
    strategy: Annotated[
        Kind, typer.Option(help="Leave the doubted images out of the pool, or mend those that were drawn?")
    ] = Kind.filter,
    noise: Noise = None,
    seeds: Seeds = 3,
    metric: Metrics = None,
    runs: Runs = Path("runs"),
) -> None:
    """What a detector gains when each method leaves out or mends what it doubts, beside random and oracle.

    Every method leaves out as many images as are harmed (or has as large a share of the drawn ones mended)
    and trains on 25 % of the pool; numbers are those of test. Results are kept in DIR/bench: what was
    measured once is not measured again.
    """
    from metricsmith.evaluation.bench_record import BenchRecord
    from metricsmith.evaluation.curation_bench import Row, train_on, training_set
    from metricsmith.evaluation.detectors import Job, ProxyDetector, train_ahead
    from metricsmith.evaluation.label_error_bench import look, suspicions

    generated = sources(metric)
    record = BenchRecord(runs / "bench" / "curation.jsonl")
    how = () if strategy is Kind.filter else (strategy.value,)  # older records know one strategy only
    detector = ProxyDetector(runs / "cache")
    rows: list[Row] = []
    with Display(errors) as display:
        for place in places(data, noise, seeds, runs, display):

            def trial_key(method: str, place: Place = place) -> tuple[object, ...]:
                return (*place.key, *how, method, digest({method: generated.get(method, "")}))

            def measure(place: Place = place, key: Callable[[str], tuple[object, ...]] = trial_key) -> Any:
                case = look(detector, place.clean, place.noise, place.seed, display.progress)
                doubts = list(suspicions(case, generated, display.progress))
                classes = place.clean.class_names
                jobs = [
                    Job(training_set(case, doubt, strategy.value), classes, place.seed) for doubt in doubts
                ]
                train_ahead(detector, jobs, display.progress)
                methods = []
                for doubt in doubts:
                    errors.print(
                        f"{place.name}, {place.noise:.0%}, seed {place.seed}: {doubt.method}", highlight=False
                    )
                    train = partial(
                        train_on, detector, case, doubt, place.test, strategy.value, display.progress
                    )
                    record.once(partial(_dumped, train), *key(doubt.method))
                    methods.append(doubt.method)
                return methods

            for method in record.once(measure, *place.key, *how, "methods", digest(generated)):
                trial = record.once(dict, *trial_key(method))
                rows.append(Row(dataset=place.name, noise=place.noise, method=method, trial=trial))
    for (name, share), own in _grouped(rows).items():
        console.print(_curation_table(f"{name}, {share:.0%} harmed, {strategy}", own))
    if len(_grouped(rows)) > 1:
        console.print(_curation_table(f"All, {strategy}", rows))


def _dumped(train: Callable[[], Trial]) -> dict[str, Any]:
    return train().model_dump()


def _grouped(rows: Sequence[Row]) -> dict[tuple[str, float], list[Row]]:
    groups: dict[tuple[str, float], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.dataset, row.noise), []).append(row)
    return groups


def _curation_table(title: str, rows: Sequence[Row]) -> Table:
    from metricsmith.evaluation.curation_bench import standings

    table = _table(f"{title} (test; gain over random in %, share of the oracle's gain)")
    for heading in ("mAP", "gain", "share", "AR@100", "gain", "share", "better"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in sorted(standings(rows), key=lambda row: -row.map):
        table.add_row(
            row.method,
            f"{row.map:.3f}",
            _number(row.map_gain_pct, "+.1f"),
            _number(row.map_share, ".0%"),
            f"{row.ar100:.3f}",
            _number(row.ar100_gain_pct, "+.1f"),
            _number(row.ar100_share, ".0%"),
            f"{row.better}/{row.cases}",
        )
    return table


def _table(title: str) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("method", overflow="fold", min_width=24)
    return table


def _number(value: float | None, spec: str) -> str:
    return "–" if value is None else format(value, spec)


def sources(files: Sequence[Path] | None) -> dict[str, str]:
    """Return the sources of the metrics by name; those that came with the program if none are given."""
    if files is None:
        files = sorted(shipped().glob("*.py"))
    return {f"ours: {file.stem}": read_metric(file) for file in files}


def digest(found: dict[str, str]) -> str:
    """What the sources of these metrics are known by in a record."""
    return hashlib.sha256(repr(sorted(found.items())).encode()).hexdigest()[:16]


def places(
    data: Sequence[Path] | None, noise: Sequence[float] | None, seeds: int, runs: Path, display: Display
) -> Iterator[Place]:
    """Yield what is to be measured: each data set with each share of mistakes, once a seed."""
    from metricsmith.evaluation.split_folders import Source, open_splits

    from ..demo import pandas_in

    for share in noise or ():
        if not 0 < share < 1:
            raise RunError(f"--noise {share:g}: a share above 0 and below 1 is needed, such as 0.2")
    for path in data or [pandas_in(runs, display.progress)]:
        opened = open_splits(Source(path, skip_bad=True), progress=display.progress)
        clean = opened.reference or opened.splits.pool
        for share in noise or (0.05, 0.2):
            for seed in range(seeds):
                yield Place(path.resolve().stem, clean, opened.splits.test, share, seed)
