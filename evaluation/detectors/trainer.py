"""A process that trains proxy networks into the stock of a cache, one after the other; see `team`.

It takes pickles from its standard input, each the cache, the settings and a job, until the pipe is closed. On
its standard output it tells the number of steps done, line by line, and `trained` (or `failed`) at the end of
each job.
"""

from __future__ import annotations

import pickle
import sys
from typing import BinaryIO, TextIO

from metricsmith.sandbox.errors import MetricSmithError

from .proxy import ProxyDetector

__all__: list[str] = []


def _work(jobs: BinaryIO, told: TextIO) -> None:
    def progress(what: str, done: int, total: int) -> None:
        if what == "training":
            print(done, file=told, flush=True)

    while True:
        try:
            cache, settings, job = pickle.load(jobs)
        except EOFError:
            return
        try:
            ProxyDetector(cache, settings).train(
                job.images, job.class_names, seed=job.seed, progress=progress
            )
        except MetricSmithError:
            print("failed", file=told, flush=True)
        else:
            print("trained", file=told, flush=True)


if __name__ == "__main__":
    _work(sys.stdin.buffer, sys.stdout)
