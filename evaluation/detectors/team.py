"""Does several things at once for the proxy detector, one a process, into the cache that all processes share.

A proxy computes with one thread, so that its bits do not depend on the machine; several trainings side by
side are what uses the other cores. A worker takes pickled tasks from its standard input and tells its steps
on its standard output (see `trainer`). Both are pipes, so that no worker outlives the process that asked,
busy or idle.
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

from ..dataset import Image
from ..progress import Progress, silent
from .detector import Job
from .proxy_settings import ProxySettings

__all__ = ["Task", "cores", "prepare_together", "train_together"]

Task = Job | list[Image]
"""A training with its predictions, or images whose features are wanted."""

_MOST = 8
"""Workers at most: each holds a torch of its own, some 500 MB."""
_CHUNK = 16
"""Images of one task."""


def cores() -> int:
    """How many cores this process may use: `OMP_NUM_THREADS` if it is set, else those it may run on."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def train_together(
    cache: Path,
    settings: ProxySettings,
    jobs: Sequence[Job],
    progress: Progress = silent,
    *,
    only_predict: bool = False,
) -> None:
    """Train and predict all jobs, as many at once as there are cores; `cache` has what comes of it.

    A job that fails is left out: whoever trains it again is told why. `only_predict`: the networks are there
    already, so that this is what progress tells.
    """
    what = f"{'predicting with' if only_predict else 'training'} {len(jobs)} networks at once"
    _work((cache, settings), jobs, what, len(jobs) * settings.steps, progress)


def prepare_together(
    cache: Path, settings: ProxySettings, images: Sequence[Image], progress: Progress = silent
) -> None:
    """Compute the features of all images, as many at once as there are cores; `cache` has them after it.

    After an image that fails some are left out: whoever computes them again is told why.
    """
    chunks = [list(images[start : start + _CHUNK]) for start in range(0, len(images), _CHUNK)]
    _work((cache, settings), chunks, "computing features", len(images), progress)


def _work(
    detector: tuple[Path, ProxySettings], tasks: Sequence[Task], what: str, total: int, progress: Progress
) -> None:
    """Do all tasks, `total` steps. The workers stay, idle, for the next ones: to start one takes seconds."""
    waiting: SimpleQueue[Task] = SimpleQueue()
    for task in tasks:
        waiting.put(task)
    told: SimpleQueue[int | None] = SimpleQueue()
    """Steps done since a worker last told, None when it stops."""
    workers = [_idle.pop() if _idle else _start() for _ in range(min(cores(), len(tasks), _MOST))]
    try:
        for worker in workers:
            Thread(target=_feed, args=(worker, detector, waiting, told), daemon=True).start()
        done, running = 0, len(workers)
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
    waiting: SimpleQueue[Task],
    told: SimpleQueue[int | None],
) -> None:
    """Give one worker tasks until none is left, and pass on what it tells."""
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
