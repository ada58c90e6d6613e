"""The parent's side of one metric in one child: commands out, frames in, and what its conduct amounts to.

Decides when a metric has failed, and how. Does not decide what it works on next: see `crew`. Trusts nothing
that comes from the child: not counts, not numbers, not text.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from .advice import KINDS
from .chunk import Chunk, pack_bytes
from .errors import SandboxError, UnsafeError
from .failure import Failure, Stage, scrub, source_line
from .frames import COMMAND, FLOATS, FRAME, Command, Frame, Kind, decode
from .interface import Level, Suspicious
from .launch import Child, queued_seconds
from .limits import Limits
from .selftest import walls

__all__ = ["Worker", "wait"]

_START_SECONDS = 120.0
_EXIT_SECONDS = 10.0
_SPARE_CPU = 60
_READ = 1 << 16

_Task = Literal["starting", "loading", "measuring", "ranking", "closing"]


class Worker:
    """One metric, the process that it runs in, and what came of it."""

    name: str = ""
    """The class's name, once loaded."""
    level: Level = "object"
    """As the metric says, once loaded."""
    suspicious: Suspicious = "none"
    """As the metric says, once loaded."""
    doc: str = ""
    """The first line of the class's docstring, once loaded."""
    failure: Failure | None = None
    """Why it failed; the child is gone then."""

    def __init__(self, source: str, limits: Limits, images: int, *, backwards: bool = False) -> None:
        """Make a worker that will see `images` in all its passes; nothing runs before `start`.

        `backwards`: the samples within a chunk are measured from the last to the first.
        """
        self._source, self._limits, self._images, self._backwards = source, limits, images, backwards
        self._child: Child | None = None
        self._task: _Task | None = None
        self._frames = bytearray()
        self._printed = bytearray()
        self._printed_count = 0

    def begin(self, stage: Stage, total: int, place: Callable[[int], str]) -> None:
        """Forget all measurements, for a pass over `total` samples; `place` names sample number i.

        From here on `position` counts the chunks that were handed out, `counts` has the rows of each sample,
        `measured` counts the samples done, `digest` stands for all measurements in whatever order they were
        made, and `ranked` holds what each `rank` gave.
        """
        self._stage, self._total, self._place = stage, total, place
        self.position = 0
        self.counts: list[int] = []
        self.measured = 0
        self.digest = 0
        self.ranked: list[npt.NDArray[np.float64]] = []
        self._pixels = 0
        self._wall = 0.0
        if self._child is not None:
            self._start_clocks()
            self._child.send(COMMAND.pack(Command.BEGIN, 0, 0))

    @property
    def started(self) -> bool:
        """Whether there is a child, running or gone."""
        return self._child is not None

    @property
    def busy(self) -> bool:
        """Whether a command is not answered yet."""
        return self._task is not None

    @property
    def fds(self) -> tuple[int, int, int]:
        """What to poll before `pump`."""
        assert self._child is not None
        return self._child.results, self._child.output, self._child.died

    @property
    def deadline(self) -> float:
        """When (time.monotonic) the next answer is due; infinite if none is."""
        return self._since + self._seconds if self.busy else float("inf")

    @property
    def cpu_seconds(self) -> float:
        """CPU time that the child used so far, the jail's own included."""
        return self._child.cpu_seconds() if self._child is not None else 0.0

    def start(self) -> None:
        """Start the child and let it load the metric. UnsafeError if it would not be jailed."""
        if self._limits.jailed:
            walls()
        self._child = Child(
            self._limits.memory,
            int(self._images * self._limits.seconds_per_call) + _SPARE_CPU,
            scipy="scipy" in self._source,
            jailed=self._limits.jailed,
        )
        fd = pack_bytes(self._source.encode())
        self._child.send(COMMAND.pack(Command.LOAD, 0, 0), [fd])
        os.close(fd)
        self._expect("starting", _START_SECONDS)

    def measure(self, chunk: Chunk) -> None:
        """Let it measure the samples of `chunk`."""
        assert self._child is not None
        self._child.send(COMMAND.pack(Command.MEASURE, self._backwards, chunk.first), [chunk.fd])
        order = list(zip(range(chunk.first, chunk.first + len(chunk)), chunk.pixels, strict=True))
        self._queue = deque(reversed(order) if self._backwards else order)
        self.counts += chunk.boxes if self.level == "object" else [1] * len(chunk)
        self.position += 1
        self._expect("measuring", self._limits.seconds_per_call)

    def rank(self, rows: int) -> None:
        """Let it rank the first `rows` rows; their scores are appended to `ranked`."""
        assert self._child is not None
        self._child.send(COMMAND.pack(Command.RANK, 0, rows))
        self._rows, self._missing = rows, rows
        self._parts: list[npt.NDArray[np.float64]] = []
        self._expect("ranking", self._limits.rank_seconds(self._total))

    def _expect(self, task: _Task | None, seconds: float = 0.0) -> None:
        self._task = task
        self._since = time.monotonic()
        self._seconds = seconds

    def pump(self) -> None:
        """Take in what the child sent and printed, then see whether it died or is late."""
        assert self._child is not None
        dead = self._child.is_dead  # asked before its pipes are read
        try:
            self._take_frames()
            self._take_output()
            if dead:
                self._die()
            if time.monotonic() >= self.deadline:
                self._be_late()
        except _FailedError as failed:
            self._fail(failed)

    def close(self) -> None:
        """End the child. A metric whose process does not end cleanly has failed, whatever it gave before."""
        if self._child is None or self.failure is not None:
            return
        self._child.hang_up()
        self._expect("closing", _EXIT_SECONDS)
        while self.busy and self.failure is None:
            wait([self])

    def kill(self) -> None:
        """End the child at once; harmless after `close`."""
        if self._child is not None:
            self._child.end()
            self._task = None

    def _take_frames(self) -> None:
        assert self._child is not None
        while data := _read(self._child.results):
            self._frames += data
            while len(self._frames) >= FRAME:
                raw = bytes(self._frames[:FRAME])
                del self._frames[:FRAME]
                try:
                    self._take(decode(raw))
                except (KeyError, TypeError, ValueError) as error:
                    raise _FailedError("crashed", "the process sent something that is no result") from error

    def _take_output(self) -> None:
        assert self._child is not None
        allowed = self._limits.output * self._images
        while data := _read(self._child.output):
            self._printed_count += len(data)
            if self._task == "starting":
                self._printed += data
            elif self._printed_count > allowed:
                raise _FailedError("too-much-output", f"the metric printed more than {allowed:,} bytes")

    def _take(self, frame: Frame) -> None:
        assert self._child is not None
        match self._task, frame.kind:
            case "starting", Kind.UNSAFE:
                raise UnsafeError(f"the kernel refuses the jail: {frame.text()['message']}")
            case "starting", Kind.READY:
                self._expect("loading", self._limits.seconds_per_call)
            case "loading", Kind.LOADED:
                self._take_about(frame)
                self._start_clocks()
                self._expect(None)
            case "measuring", Kind.MEASURED:
                self._take_measured(frame)
            case "ranking", Kind.SCORES:
                self._take_scores(frame)
            case (("loading" | "measuring" | "ranking"), Kind.FAILED):
                raise _reported(frame, self._limits)
            case _:
                raise ValueError("out of turn")

    def _take_about(self, frame: Frame) -> None:
        about = frame.text()
        if about["level"] not in get_args(Level) or about["suspicious"] not in get_args(Suspicious):
            raise ValueError("no such level or suspicious end")
        self.level, self.suspicious = about["level"], about["suspicious"]
        self.name, self.doc = scrub(str(about["name"])), scrub(str(about["doc"]))

    def _take_measured(self, frame: Frame) -> None:
        assert self._child is not None
        index, pixels = self._queue[0]
        if frame.number != index:
            raise ValueError("not the sample that is next")
        self.measured += 1
        self.digest ^= int.from_bytes(frame.body[:16])
        self._queue.popleft()
        self._pixels += pixels
        self._wall += time.monotonic() - self._since
        cpu = self._child.cpu_seconds() - self._cpu_before
        if cpu > self._limits.cpu_allowed(self._pixels):
            raise _FailedError("too-slow", f"measure took {self._limits.cpu_text}", everywhere=True)
        late = self._wall - self._limits.wall_allowed(self._pixels)
        if late > 0 and late > self._queued() - self._queued_before:
            raise _FailedError("too-slow", "measure waits instead of computing", everywhere=True)
        self._expect("measuring" if self._queue else None, self._limits.seconds_per_call)

    def _start_clocks(self) -> None:
        """From here on CPU time, and time without a core, are those of `measure`."""
        assert self._child is not None
        self._cpu_before, self._queued_before = self._child.cpu_seconds(), self._queued()

    def _queued(self) -> float:
        """Time for which a busy machine kept the child, or us who should hear it, from running."""
        assert self._child is not None
        return self._child.queued_seconds() + queued_seconds()

    def _take_scores(self, frame: Frame) -> None:
        count = min(self._missing, FLOATS)
        if frame.number != count:
            raise ValueError("not the scores that are missing")
        part = np.frombuffer(frame.body, "<f8", count)
        if not np.isfinite(part).all():
            raise ValueError("not finite")
        self._parts.append(part)
        self._missing -= count
        if not self._missing:
            scores = np.concatenate(self._parts)
            scores.setflags(write=False)
            self.ranked.append(scores)
            self._expect(None)

    def _die(self) -> None:
        assert self._child is not None
        starting, status = self._task == "starting", self._child.end()
        if starting:
            said = self._printed.decode(errors="replace").strip()
            raise SandboxError(f"the metric's process does not start (status {status}): {said[-2000:]}")
        if status == 0 and self._task == "closing":
            self._expect(None)
            return
        names = {-number: number.name for number in signal.Signals}
        how = (
            f"exited with status {status}" if status >= 0 else f"was ended by {names.get(status, 'a signal')}"
        )
        raise _FailedError("crashed", f"the metric's process {how}")

    def _be_late(self) -> None:
        if self._task == "starting":
            raise SandboxError(f"the metric's process does not start within {_START_SECONDS:.0f} s")
        what = {"measuring": "measure", "ranking": "rank", "loading": "the file's own code"}
        name = what.get(self._task or "", "the process")
        raise _FailedError("too-slow", f"{name} did not end within {self._seconds:g} s and was stopped")

    def _fail(self, failed: _FailedError) -> None:
        code = source_line(self._source, failed.line)
        self.failure = Failure(
            stage=self._stage,
            kind=failed.kind,
            message=failed.message,
            where=None if failed.everywhere else self._where(),
            exception=failed.exception,
            line=failed.line if code else None,
            code=code,
            value=failed.value,
        )
        self.kill()

    def _where(self) -> str:
        match self._task:
            case "measuring":
                return self._place(self._queue[0][0])
            case "ranking":
                return f"rank of {self._rows} row{'s' if self._rows != 1 else ''}"
            case "loading":
                return "loading the file"
        return "the end of the process"


class _FailedError(Exception):
    """What `Failure` says, less what the worker itself knows."""

    def __init__(self, kind: str, message: str, *, everywhere: bool = False) -> None:
        self.kind, self.message, self.everywhere = kind, message, everywhere
        self.exception: str | None = None
        self.value: str | None = None
        self.line: int | None = None
        super().__init__(message)


def _reported(frame: Frame, limits: Limits) -> _FailedError:
    """The child's own report, checked. KeyError, TypeError or ValueError if it is none."""
    fields = frame.text()
    if fields["kind"] not in KINDS:
        raise ValueError("no such kind")
    message = scrub(str(fields["message"]))
    if fields["kind"] == "out-of-memory":
        message = f"more than {limits.memory >> 20} MiB are needed" + (f": {message}" if message else "")
    failed = _FailedError(fields["kind"], message)
    for name in ("exception", "value"):
        if fields[name] is not None:
            setattr(failed, name, scrub(str(fields[name])))
    if isinstance(fields["line"], int) and fields["line"] > 0:
        failed.line = fields["line"]
    return failed


def wait(workers: Sequence[Worker], *, patient: bool = True) -> None:
    """Let each of the busy `workers` take in what its child has for it.

    If `patient`, that is after one of them has something, or after the first deadline.
    """
    poll = select.poll()
    for worker in workers:
        for fd in worker.fds:
            poll.register(fd, select.POLLIN)
    if patient and workers:
        due = min(worker.deadline for worker in workers)
        poll.poll(max(0.0, due - time.monotonic()) * 1000)
    for worker in workers:
        worker.pump()


def _read(fd: int) -> bytes:
    """What is there to read now; empty if nothing is."""
    try:
        return os.read(fd, _READ)
    except BlockingIOError:
        return b""
