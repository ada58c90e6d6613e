"""`bench`: what MetricSmith claims, measured on this machine."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from . import bench_labels, bench_planted, bench_proxy
from .options import console

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    bench = typer.Typer(
        no_args_is_help=True,
        help="Measure on this machine what MetricSmith claims, as ratios within one run.",
    )
    bench.command("sandbox")(_bench_sandbox)
    bench.command("coco")(_bench_coco)
    bench_labels.register(bench)
    bench_planted.register(bench)
    bench_proxy.register(bench)
    app.add_typer(bench, name="bench", rich_help_panel="This machine")


def _bench_sandbox(
    images: Annotated[int, typer.Option(min=16, help="Images of 640×480.")] = 1000,
    repeats: Annotated[int, typer.Option(min=1, help="The least of so many is taken.")] = 3,
) -> None:
    """What the jail costs: CPU time against the same metrics in this process, and the start of a job."""
    from metricsmith.sandbox import bench

    table = Table("metric", title=f"CPU seconds over {images} images of 640×480, least of {repeats}")
    for heading in ("in process", "jailed", "ratio"):
        table.add_column(heading, justify="right")
    with console.status("measuring"):
        found = bench.costs(images, repeats)
        start, job, fork = bench.zygote_start(), bench.empty_job(), bench.fork_and_jail()
        workers, faster = bench.scaling(images)
    for cost in found:
        table.add_row(cost.metric, f"{cost.in_process:.2f}", f"{cost.jailed:.2f}", f"{cost.ratio:.2f}")
    console.print(table)
    console.print(
        f"A job without images: {job * 1000:.1f} ms, of which fork, jail and end {fork * 1000:.1f} ms; "
        f"the zygote's start, once a process: {start * 1000:.0f} ms.\n"
        f"{workers} workers are {faster:.2f} times as fast as one after the other.",
        highlight=False,
        soft_wrap=True,
    )


def _bench_coco(images: Annotated[int, typer.Option(min=1, help="Images drawn at random.")] = 1000) -> None:
    """How much faster the evaluator (hotcoco) is than pycocotools, and whether they agree."""
    from metricsmith.evaluation.coco_bench import compare

    with console.status("measuring"):
        found = compare(images)
    console.print(
        f"{images} images: pycocotools {found.pycocotools:.2f} s, hotcoco {found.hotcoco:.3f} s, "
        f"{found.ratio:.0f} times as fast; the 12 statistics differ by {found.difference:.1e} at most",
        highlight=False,
        soft_wrap=True,
    )
