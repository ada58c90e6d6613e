"""The start of a child process: the one place that knows how generated code is shut in.

Whatever starts it, callers see a `Child`: a way to send commands, a pipe of frames, a pipe of what it prints,
and its death. It is started anew (exec), never forked from the product, and inherits neither environment nor
files.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress

from .errors import SandboxError

__all__ = ["Child"]

# One thread each: many children run side by side, and sums must not depend on the number of cores.
_ENVIRONMENT = {
    "HOME": "/nonexistent",
    "LC_ALL": "C.UTF-8",
    "MKL_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PATH": "/nonexistent",
    "PYTHONHASHSEED": "0",
    "TMPDIR": "/nonexistent",
}
_CPUCLOCK_SCHED = 2


class Child:
    """A running child process, until `end`; it dies with the thread that started it.

    `results` (frames), `output` (what it prints) and `died` (readable once it is dead) are to be polled.
    """

    def __init__(self) -> None:
        """Start it. SandboxError if there are no processes or files left."""
        with ExitStack() as ours, ExitStack() as theirs:
            try:
                self._control, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                ours.enter_context(self._control)
                theirs.enter_context(control)
                self.results, results = _pipe(ours, theirs)
                self.output, output = _pipe(ours, theirs)
                process = subprocess.Popen(
                    [sys.executable, "-s", "-P", "-B", "-W", "ignore", "-m", f"{__package__}.child"]
                    + [str(word) for word in (control.fileno(), results, os.getpid())],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd="/",
                    env=_ENVIRONMENT,
                    pass_fds=(control.fileno(), results),
                    start_new_session=True,
                )
                ours.callback(_end, process)
                self.died = os.pidfd_open(process.pid)
                ours.callback(os.close, self.died)
            except OSError as error:
                raise SandboxError(
                    f"cannot start a process for a metric: {error}; close other programs"
                ) from error
            self._process = process
            self._ours = ours.pop_all()

    def send(self, packet: bytes, fds: Sequence[int] = ()) -> None:
        """Give it a command. Says nothing if it is dead: `died` tells."""
        with suppress(BrokenPipeError, ConnectionResetError):
            socket.send_fds(self._control, [packet], fds)

    def hang_up(self) -> None:
        """Tell it that there are no more commands, which ends it."""
        with suppress(OSError):  # dead already: `died` tells
            self._control.shutdown(socket.SHUT_WR)

    def cpu_seconds(self) -> float:
        """CPU time that it used so far, asked of the kernel."""
        # clock_getcpuclockid(3) of another process, as glibc computes it
        return time.clock_gettime((~self._process.pid << 3) | _CPUCLOCK_SCHED)

    def end(self) -> int:
        """Kill whatever is left of it and its group; its exit status, or minus the signal that ended it."""
        self._ours.close()
        return self._process.returncode


def _pipe(ours: ExitStack, theirs: ExitStack) -> tuple[int, int]:
    read, write = os.pipe2(os.O_CLOEXEC)
    ours.callback(os.close, read)
    theirs.callback(os.close, write)
    os.set_blocking(read, False)
    return read, write


def _end(process: subprocess.Popen[bytes]) -> None:
    # The dead leader is not yet waited for, so its group's number cannot belong to others.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
