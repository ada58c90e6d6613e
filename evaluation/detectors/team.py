"""Trains several proxy networks at once, one a process, into the stock that all processes share.

A proxy trains with one thread, so that its bits do not depend on the machine; several trainings side by side
are what uses the other cores. A worker takes pickled jobs from its standard input and tells its steps on its
standard output (see `trainer`). Both are pipes, so that no worker outlives the process that asked, busy or
idle.
"""

from __future__ import annotations

import atexit
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import BinaryIO, cast

from ..progress import Progress, silent
from .detector import Job
from .proxy_settings import ProxySettings

__all__ = ["cores", "train_together"]

_MOST = 8
"""Workers at most: each holds a torch of its own, some 500 MB."""


def cores() -> int:
    """How many cores this process may use: `OMP_NUM_THREADS` if it is set, else those it may run on."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def train_together(
    cache: Path, settings: ProxySettings, jobs: Sequence[Job], progress: Progress = silent
) -> None:
    """Train all jobs, as many at once as there are cores; the networks are in the stock of `cache` after it.

    A job that fails is left out: whoever trains it again is told why. The workers stay, idle, for the next
    call of this process: to start one takes seconds.
    """
    waiting: SimpleQueue[Job] = SimpleQueue()
    for job in jobs:
        waiting.put(job)
    told: SimpleQueue[int | None] = SimpleQueue()
    """Steps done since a worker last told, None when it stops."""
    workers = [_idle.pop() if _idle else _start() for _ in range(min(cores(), len(jobs), _MOST))]
    try:
        for worker in workers:
            Thread(target=_feed, args=(worker, (cache, settings), waiting, told), daemon=True).start()
        done, running = 0, len(workers)
        what, total = f"training {len(jobs)} networks at once", len(jobs) * settings.steps
        while running:
            progress(what, done, total)
            steps = told.get()
            if steps is None:
                running -= 1
            else:
                done += steps
        progress(what, total, total)
    except BaseException:
        _end(workers)
        raise
    _idle.extend(worker for worker in workers if worker.poll() is None)


_idle: list[subprocess.Popen[bytes]] = []
"""Workers without a job."""


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", f"{__package__}.trainer"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,  # Ctrl-C is for the process that asked, which then ends this one
    )


@atexit.register
def _end(workers: list[subprocess.Popen[bytes]] = _idle) -> None:
    """End these workers, whatever they are doing."""
    for worker in workers:
        worker.kill()
        worker.communicate()


def _feed(
    worker: subprocess.Popen[bytes],
    detector: tuple[Path, ProxySettings],
    waiting: SimpleQueue[Job],
    told: SimpleQueue[int | None],
) -> None:
    """Give one worker jobs until none is left, and pass on what it tells."""
    asked, answers = cast("BinaryIO", worker.stdin), cast("BinaryIO", worker.stdout)
    with suppress(Empty, OSError, ValueError):  # nothing is left, or the worker was ended
        while True:
            pickle.dump((*detector, waiting.get_nowait()), asked)
            asked.flush()
            before = 0
            while (line := answers.readline()).strip().isdigit():
                told.put(int(line) - before)
                before = int(line)
            if not line:
                worker.kill()
                worker.wait()
                break
    told.put(None)
