"""The program from which every metric's process is forked: it has loaded what metrics may import.

    python -m metricsmith.sandbox.zygote SOCKET

It is started anew (exec) with an environment of its own, so that it holds no key and no file of the product.
It runs no generated code: what a metric does to its process, no other metric sees. What is loaded here is all
that a metric can import, as a jailed process can open no file. It ends with the socket.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

import cv2

from . import child
from .zygote_protocol import READY, REPLY, REQUEST, SCIPY, STATUS, UNJAILED

__all__ = ["main"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3

_ALWAYS = """
    array bisect cmath collections collections.abc colorsys contextlib copy dataclasses datetime decimal enum
    fractions functools hashlib heapq itertools json linecache math numbers operator random re statistics
    string struct textwrap time traceback types typing unicodedata warnings weakref zlib
    encodings.ascii encodings.idna encodings.latin_1 encodings.unicode_escape
    numpy numpy.char numpy.fft numpy.lib.recfunctions numpy.lib.scimath numpy.lib.stride_tricks numpy.linalg
    numpy.ma numpy.polynomial numpy.random numpy.rec numpy.strings cv2
"""
_SCIPY = """
    scipy scipy.cluster.hierarchy scipy.cluster.vq scipy.constants scipy.fft scipy.fftpack scipy.integrate
    scipy.interpolate scipy.linalg scipy.ndimage scipy.optimize scipy.signal scipy.signal.windows scipy.sparse
    scipy.sparse.csgraph scipy.sparse.linalg scipy.spatial scipy.spatial.distance scipy.spatial.transform
    scipy.special scipy.stats scipy.stats.mstats scipy.stats.qmc
"""


def main() -> NoReturn:
    """Serve requests until the other end of the socket is closed."""
    server = socket.socket(fileno=int(sys.argv[1]))
    _keep_freed_memory()
    cv2.setNumThreads(1)
    cv2.ocl.setUseOpenCL(False)
    cv2.ipp.setUseIPP(False)  # its last bits depend on where in memory an array happens to lie
    _load(_ALWAYS)
    if (threads := len(os.listdir("/proc/self/task"))) > 1:
        sys.exit(f"{threads} threads run where one must: a library started some")
    server.send(READY)
    _Zygote(server).serve()
    os._exit(0)


class _Zygote:
    def __init__(self, server: socket.socket) -> None:
        self._server = server
        self._has_scipy = False
        self._children: dict[int, tuple[int, int]] = {}

    def serve(self) -> None:
        poll = select.poll()
        poll.register(self._server, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd != self._server.fileno():
                    poll.unregister(fd)
                    self._bury(fd)
                    continue
                packet, fds, _, _ = socket.recv_fds(self._server, REQUEST.size, 4)
                if not packet:
                    return
                if (pidfd := self._fork(packet, fds)) is not None:
                    poll.register(pidfd, select.POLLIN)

    def _fork(self, packet: bytes, fds: list[int]) -> int | None:
        """The pidfd of a new child, after the requester was told; None if there is none."""
        flags, memory, cpu = REQUEST.unpack(packet)
        if flags & SCIPY and not self._has_scipy:
            _load(_SCIPY)
            self._has_scipy = True
        gc.freeze()
        control, results, output, status = fds
        try:
            pid = os.fork()
        except OSError as error:
            self._server.send(REPLY.pack(0, error.errno or 0))
            for fd in fds:
                os.close(fd)
            return None
        if pid == 0:
            _become(control, results, output, lambda: child.main(memory, cpu, jailed=not flags & UNJAILED))
        for fd in (control, results, output):
            os.close(fd)
        pidfd = os.pidfd_open(pid)
        self._children[pidfd] = (pid, status)
        socket.send_fds(self._server, [REPLY.pack(pid, 0)], [pidfd])
        return pidfd

    def _bury(self, pidfd: int) -> None:
        """Tell what became of a dead child."""
        pid, status = self._children.pop(pidfd)
        # whatever an unjailed child started; the number cannot be another's before the wait below
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        _, ended = os.waitpid(pid, 0)
        with suppress(BrokenPipeError):
            os.write(status, STATUS.pack(os.waitstatus_to_exitcode(ended)))
        os.close(status)
        os.close(pidfd)


def _keep_freed_memory() -> None:
    """Have glibc take arrays from its heap and keep what is freed: fresh pages cost more than computing."""
    with suppress(AttributeError):  # another C library
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 32 << 20)
        libc.mallopt(_M_TRIM_THRESHOLD, 1 << 30)


def _load(names: str) -> None:
    for name in names.split():
        importlib.import_module(name)


def _become(control: int, results: int, output: int, run: Callable[[], NoReturn]) -> NoReturn:
    """Turn a fresh fork into a child: a group of its own, the three descriptors where it looks, no others."""
    try:
        os.setsid()
        moved = [os.dup2(fd, 100 + place) for place, fd in enumerate((output, output, control, results))]
        for place, fd in enumerate(moved, start=1):
            os.dup2(fd, place, inheritable=False)
        os.closerange(5, 1 << 20)
        run()
    finally:
        os._exit(70)


if __name__ == "__main__":
    main()
