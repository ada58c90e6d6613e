"""`check` and `score`: commands on metric files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from metricsmith.evaluation.planted import Field, Noticed
from metricsmith.evaluation.samples import samples
from metricsmith.evaluation.scores import ScoreTable, write_scores
from metricsmith.evaluation.split_folders import Source, open_pool
from metricsmith.sandbox import Failure, Limits, check, score
from metricsmith.sandbox.errors import DataError, MetricError

from ..accepted import read_metric
from ..display import Display
from ..noticed_table import noticed_table
from .options import Format, Images, SkipBad, Unsafe, console, errors

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("check", rich_help_panel="Metrics")(_check)
    app.command("score", rich_help_panel="Metrics")(_score)


def _check(
    file: Annotated[Path, typer.Argument(metavar="FILE.py", show_default=False, help="A metric file.")],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DATA",
            show_default="fixtures only",
            help="Also check on 64 images of DATA, and tell which label mistakes it notices when they are "
            "planted there.",
        ),
    ] = None,
    images: Images = None,
    format: Format = None,
    skip_bad: SkipBad = False,
    policy: Annotated[
        bool, typer.Option("--policy/--no-policy", help="Refuse forbidden imports and calls.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    unsafe: Unsafe = False,
) -> None:
    """Validate one metric file and print what failed. Exit status 0 if it is accepted, else 1."""
    source = read_metric(file)
    limits = Limits(jailed=not unsafe)
    seen: Sequence[Noticed] = ()
    if data is None:
        result = check(source, policy=policy, limits=limits)
    else:
        with Display(errors) as display:
            dataset = open_pool(
                Source(data, images=images, format=format, skip_bad=skip_bad), progress=display.progress
            )
            field = Field.of(dataset)
            result = check(source, field.samples, policy=policy, limits=limits)
            if result.accepted:
                found = field.noticed_by(source, result.name, limits, display.progress)
                if isinstance(found, Failure):
                    result = replace(result, accepted=False, stage="planted", failure=found)
                else:
                    seen = found.noticed
    if as_json:
        print(json.dumps({**result.to_dict(), "noticed": [own.model_dump() for own in seen]}, indent=2))
    elif result.accepted:
        console.print(
            f"accepted: {result.name}, a score for each {result.level}, suspicious end: {result.suspicious}",
            highlight=False,
        )
        if seen:
            console.print(noticed_table(seen))
    else:
        console.print(f"not accepted\n{result.failure}", highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(0 if result.accepted else 1)


def _score(
    metric: Annotated[
        list[Path],
        typer.Option(
            "--metric", metavar="FILE.py", show_default=False, help="A metric file; may be repeated."
        ),
    ],
    data: Annotated[
        Path, typer.Option("--data", metavar="DATA", show_default=False, help="The data set to score.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE.parquet", help="Where the scores go.")] = Path(
        "scores.parquet"
    ),
    images: Images = None,
    format: Format = None,
    skip_bad: SkipBad = False,
    unsafe: Unsafe = False,
) -> None:
    """Score a data set with metric files: one row an image or a box, one column a metric.

    The metrics see no predictions here; a run gives them a detector's out-of-fold predictions.
    """
    limits = Limits(jailed=not unsafe)
    sources = {}
    for file in metric:
        result = check(source := read_metric(file), limits=limits)
        if result.failure is not None:
            raise MetricError(result.failure)
        if result.name in sources:
            raise DataError(
                file, f"a second metric of the name {result.name}", remedy="rename one of the classes"
            )
        sources[result.name] = source
    with Display(errors) as display:
        dataset = open_pool(
            Source(data, images=images, format=format, skip_bad=skip_bad), progress=display.progress
        )
        found = score(sources, samples(dataset), total=len(dataset), limits=limits, progress=display.progress)
    tables = []
    for name, scores in found.items():
        if isinstance(scores, Failure):
            raise MetricError(scores)
        tables.append(ScoreTable.of(name, scores.level, scores.suspicious, scores.values, dataset))
    write_scores(out, dataset, tables)
    console.print(f"{out}: {len(dataset)} images × {len(tables)} metrics", highlight=False, soft_wrap=True)
