"""Processes for metrics: a zygote for this process, and the children that it forks.

Callers see a `Child`: a way to send commands, and pipes of frames, of what it prints and of its end. A child
inherits neither environment nor files nor memory of this process.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from .errors import SandboxError
from .zygote_protocol import READY, REPLY, REQUEST, SCIPY, STATUS, UNJAILED

__all__ = ["Child", "Zygote", "queued_seconds", "zygote"]

# One thread each: many children run side by side, and sums must not depend on the number of cores.
_ENVIRONMENT = {
    "HOME": "/nonexistent",
    "LC_ALL": "C.UTF-8",
    "MKL_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OPENCV_OPENCL_RUNTIME": "disabled",
    "PATH": "/nonexistent",
    "PYTHONHASHSEED": "0",
    "TMPDIR": "/nonexistent",
}
_START_SECONDS = 120.0
_CPUCLOCK_SCHED = 2


class Zygote:
    """The process that children are forked from. It ends with this object, and with this process."""

    def __init__(self, executable: str = sys.executable) -> None:
        """Start it and wait until it is ready, about half a second. SandboxError if it does not start."""
        self._lock = threading.Lock()
        self._owner = os.getpid()
        with ExitStack() as ours, ExitStack() as theirs:
            try:
                self._socket, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                ours.enter_context(self._socket)
                theirs.enter_context(far)
                complaints = os.memfd_create("metricsmith-complaints", os.MFD_CLOEXEC)
                theirs.callback(os.close, complaints)
                options = ("-s", "-P", "-B", "-W", "ignore")
                self._process = subprocess.Popen(
                    [executable, *options, "-m", f"{__package__}.zygote", str(far.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=complaints,
                    stderr=complaints,
                    cwd="/",
                    env=_ENVIRONMENT,
                    pass_fds=(far.fileno(),),
                    start_new_session=True,
                )
            except OSError as error:
                raise SandboxError(
                    f"cannot start a process for metrics: {error}; close other programs"
                ) from error
            ours.callback(self._end)
            far.close()
            self._socket.settimeout(_START_SECONDS)
            try:
                ready = self._socket.recv(len(READY))
            except TimeoutError:
                raise SandboxError(
                    f"the process for metrics does not start within {_START_SECONDS:.0f} s"
                ) from None
            if ready != READY:
                said = os.pread(complaints, 1 << 16, 0).decode(errors="replace").strip()
                raise SandboxError(
                    f"the process for metrics does not start (status {self._process.wait()}): {said[-2000:]}"
                )
            self._ours = ours.pop_all()

    @property
    def alive(self) -> bool:
        """Whether it can fork. Not in a fork of the process that started it."""
        return self._owner == os.getpid() and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def fork(self, flags: int, memory: int, cpu: int, fds: Sequence[int]) -> tuple[int, int]:
        """A child's process id and pidfd. SandboxError if there is none.

        `fds`: what it takes for control, results, output and status; the caller closes its own copies.
        """
        with self._lock:
            try:
                socket.send_fds(self._socket, [REQUEST.pack(flags, memory, cpu)], fds)
                packet, received, _, _ = socket.recv_fds(self._socket, REPLY.size, 1)
            except OSError as error:
                self._end()  # dying, and perhaps not yet to be waited for
                raise SandboxError(f"the process for metrics does not answer: {error}; try again") from error
        if not packet:
            self._end()
            raise SandboxError("the process for metrics has died; try again")
        pid, number = REPLY.unpack(packet)
        if pid == 0:
            raise SandboxError(
                f"cannot start a process for a metric: {os.strerror(number)}; close other programs"
            )
        return pid, received[0]

    def close(self) -> None:
        """End it and all its children."""
        self._ours.close()

    def _end(self) -> None:
        if self._owner == os.getpid():
            self._process.kill()
            self._process.wait()


_current: Zygote | None = None
_starting = threading.Lock()


def zygote() -> Zygote:
    """The zygote of this process, started if there is none. SandboxError if it does not start."""
    global _current
    with _starting:
        if _current is None or not _current.alive:
            if _current is None:
                atexit.register(_close)
            else:
                _current.close()
            _current = Zygote()
        return _current


def _fork(flags: int, memory: int, cpu: int, fds: Sequence[int]) -> tuple[int, int]:
    """`Zygote.fork` of this process's zygote; of a new one if the first was dying when it was asked."""
    first = zygote()
    try:
        return first.fork(flags, memory, cpu, fds)
    except SandboxError:
        if first.alive:
            raise
        return zygote().fork(flags, memory, cpu, fds)


def _close() -> None:
    if _current is not None:
        _current.close()


def queued_seconds(process: int | str = "thread-self") -> float:
    """Time that a process, by default this thread, was ready to run but had no core; 0 where nobody tells.

    It is the run delay of its main thread, as Linux tells it (Documentation/scheduler/sched-stats).
    """
    try:
        return int(Path(f"/proc/{process}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


class Child:
    """A running child process, until `end`.

    `results` (frames), `output` (what it prints) and `died` (readable once it is dead) are to be polled.
    """

    def __init__(self, memory: int, cpu: int, *, scipy: bool = False, jailed: bool = True) -> None:
        """Fork it: `memory` bytes and `cpu` seconds are its limits. SandboxError if that cannot be done."""
        flags = SCIPY * scipy | UNJAILED * (not jailed)
        with ExitStack() as ours, ExitStack() as theirs:
            try:
                self._control, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                ours.enter_context(self._control)
                theirs.enter_context(control)
                self.results, results = _pipe(ours, theirs)
                self.output, output = _pipe(ours, theirs)
                self.died, status = _pipe(ours, theirs)
            except OSError as error:
                raise SandboxError(
                    f"cannot start a process for a metric: {error}; close other programs"
                ) from error
            self._pid, self._pidfd = _fork(flags, memory, cpu, (control.fileno(), results, output, status))
            ours.callback(os.close, self._pidfd)
            self._ours = ours.pop_all()
        self._status: int | None = None
        self._cpu = self._queued = 0.0

    def send(self, packet: bytes, fds: Sequence[int] = ()) -> None:
        """Give it a command. Says nothing if it is dead: `died` tells."""
        with suppress(BrokenPipeError, ConnectionResetError):
            socket.send_fds(self._control, [packet], fds)

    def hang_up(self) -> None:
        """Tell it that there are no more commands, which ends it."""
        with suppress(OSError):  # dead already: `died` tells
            self._control.shutdown(socket.SHUT_WR)

    def cpu_seconds(self) -> float:
        """CPU time that it used so far, asked of the kernel; of a dead one, what was told last."""
        with suppress(OSError):
            # clock_getcpuclockid(3) of another process, as glibc computes it
            self._cpu = time.clock_gettime((~self._pid << 3) | _CPUCLOCK_SCHED)
        return self._cpu

    def queued_seconds(self) -> float:
        """Time that it was ready to run but had no core; of a dead one, what was told last."""
        self._queued = max(self._queued, queued_seconds(self._pid))
        return self._queued

    @property
    def is_dead(self) -> bool:
        """Whether it has ended; whatever it wrote before is in its pipes by then."""
        poll = select.poll()
        poll.register(self.died, select.POLLIN)
        return bool(poll.poll(0))

    def end(self) -> int:
        """Kill whatever is left of it; its exit status, or minus the signal that ended it."""
        if self._status is None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            poll = select.poll()
            poll.register(self.died, select.POLLIN)
            poll.poll()
            told = os.read(self.died, STATUS.size)
            # nothing is told when the zygote died, and all its children with it
            self._status = STATUS.unpack(told)[0] if told else -signal.SIGKILL
            self._ours.close()
        return self._status


def _pipe(ours: ExitStack, theirs: ExitStack) -> tuple[int, int]:
    read, write = os.pipe2(os.O_CLOEXEC)
    ours.callback(os.close, read)
    theirs.callback(os.close, write)
    os.set_blocking(read, False)
    return read, write
