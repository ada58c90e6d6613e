"""The program of the process that generated code runs in.

    python -m metricsmith.sandbox.child CONTROL RESULTS PARENT

CONTROL is the socket that commands come from, RESULTS the pipe that frames go to (see `frames`), PARENT the
process id to die with. It limits itself before it loads the metric, and trusts its parent. Its judgement of
measurements only explains mistakes well: the parent judges again what matters. Never imported by the product.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import resource
import signal
import socket
import sys
from typing import NoReturn

import cv2
import numpy as np
import numpy.typing as npt

from .chunk import read_bytes, unpack
from .frames import COMMAND, FLOATS, Command, Kind, encode, encode_text
from .guest import Guest, MistakeError

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1
_SPARE = 32 << 20
_OPEN_FILES = 64


def main() -> NoReturn:
    """Serve commands until the parent closes the socket."""
    control_fd, results, parent = (int(word) for word in sys.argv[1:])
    _die_with(parent)
    cv2.setNumThreads(1)
    control = socket.socket(fileno=control_fd)
    os.write(results, encode(Kind.READY))
    try:
        _serve(control, results)
    except MistakeError as mistake:
        _lift_memory()
        os.write(results, encode_text(Kind.FAILED, **mistake.fields()))
        os._exit(1)
    # atexit handlers and threads of the metric get no say
    os._exit(0)


def _serve(control: socket.socket, results: int) -> None:
    guest: Guest | None = None
    while True:
        packet, fds, _, _ = socket.recv_fds(control, COMMAND.size, 1)
        if not packet:
            return
        command, backwards, number = COMMAND.unpack(packet)
        if command == Command.LOAD:
            job = json.loads(read_bytes(fds[0]))
            _limit(job["memory"], job["cpu"])
            guest = Guest(job["source"])
            os.write(results, encode_text(Kind.LOADED, **guest.about()))
        assert guest is not None
        if command == Command.BEGIN:
            guest.begin()
        elif command == Command.MEASURE:
            samples = list(enumerate(unpack(fds[0]), number))
            for index, sample in reversed(samples) if backwards else samples:
                rows = guest.measure(index, sample)
                digest = hashlib.blake2b(b"%d:" % index + rows.tobytes(), digest_size=16).digest()
                os.write(results, encode(Kind.MEASURED, index, digest))
            # the last views keep the chunk mapped
            del samples, sample
        elif command == Command.RANK:
            _send_scores(results, guest.rank(number))
        for fd in fds:
            os.close(fd)


def _send_scores(results: int, scores: npt.NDArray[np.float64]) -> None:
    for start in range(0, max(len(scores), 1), FLOATS):
        part = scores[start : start + FLOATS]
        os.write(results, encode(Kind.SCORES, len(part), part.tobytes()))


def _die_with(parent: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    # the parent may have died before the call above
    if os.getppid() != parent:
        os._exit(1)


def _limit(memory: int, cpu: int) -> None:
    with open("/proc/self/statm", encoding="ascii") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory + _SPARE))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _lift_memory() -> None:
    """Make room to report that there is none."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


if __name__ == "__main__":
    main()
