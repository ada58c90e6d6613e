"""A process that trains, predicts and computes features into the cache of proxy detectors; see `team`.

It takes pickles from its standard input, each the cache, the settings and a task, until the pipe is closed.
On its standard output it tells the number of steps done, line by line, and `done` (or `failed`) at the end
of each task.
"""

from __future__ import annotations

import pickle
import sys
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, TextIO

from metricsmith.sandbox.errors import MetricSmithError

from ..progress import Progress
from .detector import Job
from .proxy import ProxyDetector
from .proxy_settings import ProxySettings
from .team import Task

__all__: list[str] = []


def _work(tasks: BinaryIO, told: TextIO) -> None:
    def progress(what: str, done: int, total: int) -> None:
        if what == counted:
            print(done, file=told, flush=True)

    while True:
        try:
            cache, settings, task = pickle.load(tasks)
        except EOFError:
            return
        counted = "training" if isinstance(task, Job) else "computing features"
        try:
            _do(_detector(cache, settings), task, progress)
        except MetricSmithError:
            print("failed", file=told, flush=True)
        else:
            print("done", file=told, flush=True)


def _do(detector: ProxyDetector, task: Task, progress: Progress) -> None:
    if isinstance(task, Job):
        trained = detector.train(task.images, task.class_names, seed=task.seed, progress=progress)
        trained.predict(task.to_predict)
    else:
        detector.prepare(task, progress)


@lru_cache(maxsize=4)
def _detector(cache: Path, settings: ProxySettings) -> ProxyDetector:
    """A detector that remembers which files it has read."""
    return ProxyDetector(cache, settings)


if __name__ == "__main__":
    _work(sys.stdin.buffer, sys.stdout)
