"""Everything that a jail must forbid, tried from within: the self-test of the walls.

Each attempt is a real system call, and what is not refused is a breach. Runs in a jailed child before any
metric does; outside of a jail it would leave things behind, so it is called nowhere else.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable

__all__ = ["ATTEMPTS", "breaches"]

_libc = ctypes.CDLL(None, use_errno=True)
_PARENT = os.getpid()  # the zygote loads this module; in the jail getppid is refused
_PTRACE_SEIZE = 0x4206
_PROT_ALL, _MAP_PRIVATE_ANONYMOUS = 7, 0x22
_SYS_IO_URING_SETUP, _SYS_PIDFD_OPEN = 425, 434


def _raw(result: int | None) -> None:
    if result is None or result < 0:
        raise OSError(ctypes.get_errno(), "refused")


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _executable_memory() -> None:
    _libc.mmap.restype = ctypes.c_ssize_t
    _raw(_libc.mmap(None, mmap.PAGESIZE, _PROT_ALL, _MAP_PRIVATE_ANONYMOUS, -1, 0))


ATTEMPTS: dict[str, Callable[[], object]] = {
    "read-a-file": lambda: os.open("/etc/passwd", os.O_RDONLY),
    "read-its-environment": lambda: os.open("/proc/self/environ", os.O_RDONLY),
    "write-a-file": lambda: os.open("/tmp/metricsmith-breach", os.O_WRONLY | os.O_CREAT, 0o600),
    "look-a-file-up": lambda: os.stat("/"),
    "list-a-folder": lambda: os.listdir("/"),
    "remove-a-file": lambda: os.unlink("/tmp/metricsmith-breach"),
    "link-a-file": lambda: os.symlink("/etc/passwd", "/tmp/metricsmith-breach"),
    "change-folder": lambda: os.chdir("/tmp"),
    "make-a-memory-file": lambda: os.memfd_create("breach"),
    "make-a-pipe": os.pipe,
    "open-an-internet-socket": lambda: socket.socket(socket.AF_INET),
    "open-a-unix-socket": lambda: socket.socket(socket.AF_UNIX),
    "fork": _fork,
    "run-a-program": lambda: subprocess.run(["/bin/true"], check=False),
    "start-a-thread": lambda: threading.Thread(target=time.time).start(),
    "signal-its-parent": lambda: os.kill(_PARENT, 0),
    "signal-itself": lambda: os.kill(os.getpid(), signal.SIGCONT),
    "trace-its-parent": lambda: _raw(_libc.ptrace(_PTRACE_SEIZE, _PARENT, 0, 0)),
    "reach-a-process": lambda: _raw(_libc.syscall(_SYS_PIDFD_OPEN, _PARENT, 0)),
    "set-up-io-uring": lambda: _raw(_libc.syscall(_SYS_IO_URING_SETUP, 8, b"\0" * 128)),
    "map-executable-memory": _executable_memory,
    "sleep": lambda: time.sleep(0.001),
    "wait-for-descriptors": lambda: select.poll().poll(0),
    "become-another-user": lambda: os.setuid(65534),
    "change-a-limit-of-another": lambda: _raw(_libc.prlimit(_PARENT, 0, None, b"\0" * 16)),
}
"""By name, what must be refused: by a PermissionError, or for a thread by a RuntimeError."""


def breaches() -> list[str]:
    """The names of the attempts that were not refused; one that fails otherwise had got past the walls."""
    found = []
    for name, attempt in ATTEMPTS.items():
        try:
            attempt()
        except (PermissionError, RuntimeError):
            continue
        except OSError:
            pass
        found.append(name)
    return found
