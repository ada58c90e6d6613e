"""Scores of many metrics over one data set, whose images are decoded once.

Runs metrics that were accepted before (see `validation`); a metric that fails all the same gives a `Failure`
in place of its scores and does not disturb the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .crew import Progress, run, silent
from .failure import Failure
from .interface import Sample
from .limits import Limits
from .policy import parse
from .scores import Scores
from .worker import Worker

__all__ = ["result", "score"]


def score(
    sources: Mapping[str, str],
    samples: Iterable[Sample],
    *,
    total: int,
    limits: Limits = Limits(),  # noqa: B008, it is frozen
    progress: Progress = silent,
) -> dict[str, Scores | Failure]:
    """The scores of each metric, or why it has none, by the names in `sources` and in their order.

    `sources`: name → source of a metric. `samples`: `total` samples, gone through once, a few chunks ahead;
    what the iterable raises is raised. SandboxError if no process can be started.
    """
    results: dict[str, Scores | Failure] = {}
    workers: dict[str, Worker] = {}
    for name, source in sources.items():
        parsed = parse(source)
        if isinstance(parsed, Failure):
            results[name] = parsed
            continue
        workers[name] = Worker(source, limits, total)
        workers[name].begin("score", total, lambda index: f"image {index + 1} of {total}")
    try:
        run(list(workers.values()), samples, total=total, progress=progress)
        for name, worker in workers.items():
            worker.close()
            results[name] = result(worker)
    finally:
        for worker in workers.values():
            worker.kill()
    return {name: results[name] for name in sources}


def result(worker: Worker) -> Scores | Failure:
    """What came of `worker`'s last pass."""
    if worker.failure is not None:
        return worker.failure
    return Scores(worker.level, worker.suspicious, worker.ranked[-1], tuple(worker.counts))
