"""Workers that go through the same samples side by side.

Decides who works on what, and how far samples are decoded ahead; judges nothing.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from .chunk import Chunk, chunks
from .interface import Sample
from .worker import Worker, wait

__all__ = ["Progress", "run", "silent"]

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done, and how many there are."""

_AHEAD = 2


def silent(what: str, done: int, total: int) -> None:
    """Tell nobody."""


def run(
    workers: Sequence[Worker],
    samples: Iterable[Sample],
    *,
    total: int,
    ranks: Callable[[int], Sequence[int]] = lambda rows: [rows],
    progress: Progress = silent,
) -> None:
    """Let each worker measure all samples, then rank; each ends idle with its results, or failed.

    `samples` is gone through once, no further than two chunks ahead of the slowest worker, and no further at
    all once every worker has failed; ValueError if `total` is not their number. `ranks` gives, from the count
    of rows, of how many first rows to ask a ranking. No more workers compute at a time than there are cores.
    """
    cores = len(os.sched_getaffinity(0))
    window = _Window(samples)
    plans: dict[Worker, deque[int]] = {}
    told = -1
    try:
        while alive := [worker for worker in workers if worker.failure is None]:
            free = cores - sum(worker.busy for worker in alive)
            # the one furthest behind comes first: it holds the window
            for worker in sorted((w for w in alive if not w.busy), key=lambda w: w.position):
                if free and _next(worker, window, total, plans, ranks):
                    free -= 1
            if all(worker in plans and not worker.busy and not plans[worker] for worker in alive):
                return
            # a chunk's memory is used again, so no one may be at work on it
            window.forget(min(worker.position - worker.busy for worker in alive))
            # decoding goes on while the children compute
            decoded = window.decode()
            wait([worker for worker in alive if worker.busy], patient=not decoded)
            if (done := min(worker.measured for worker in alive)) != told:
                told = done
                progress("scoring", done, total)
    finally:
        window.close()


def _next(
    worker: Worker,
    window: _Window,
    total: int,
    plans: dict[Worker, deque[int]],
    ranks: Callable[[int], Sequence[int]],
) -> bool:
    """Whether there was something to do for `worker`; it is busy with it now."""
    if not worker.started:
        worker.start()
    elif (chunk := window.get(worker.position)) is not None:
        worker.measure(chunk)
    elif window.ended_at(worker.position):
        if window.count != total:
            raise ValueError(f"{window.count} samples came where {total} were announced")
        plan = plans.setdefault(worker, deque(ranks(sum(worker.counts))))
        if not plan:
            return False
        worker.rank(plan.popleft())
    else:
        return False
    return True


class _Window:
    """The chunks that some worker still needs, and at most two that none has begun."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self.count = 0
        self._source = chunks(samples)
        self._chunks: dict[int, Chunk] = {}
        self._next = 0
        self._ended = False

    def get(self, position: int) -> Chunk | None:
        """Chunk number `position`, or None if it is not decoded yet or will never be."""
        return self._chunks.get(position)

    def ended_at(self, position: int) -> bool:
        """Whether there are no more chunks from `position` on."""
        return self._ended and position == self._next

    def decode(self) -> bool:
        """Whether there was room for one more chunk, and one more."""
        if self._ended or len(self._chunks) >= _AHEAD:
            return False
        chunk = next(self._source, None)
        if chunk is None:
            self._ended = True
        else:
            self._chunks[self._next] = chunk
            self._next += 1
            self.count += len(chunk)
        return True

    def forget(self, position: int) -> None:
        """Give the chunks before `position` back."""
        for old in [number for number in self._chunks if number < position]:
            self._chunks.pop(old).close()

    def close(self) -> None:
        """Give all chunks back."""
        self.forget(self._next)
        self._source.close()
