"""What runs in the process of one metric: it walls itself in, then loads, measures and ranks as it is told.

Its descriptors are fixed: 1 and 2 what it prints, `CONTROL` the socket that commands come from, `RESULTS` the
pipe that frames go to (see `frames`). It trusts its parent. Its judgement of measurements only explains
mistakes well: the parent judges again what matters.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import resource
import signal
import socket
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from . import jail, trespass
from .chunk import read_bytes, unpack
from .frames import COMMAND, FLOATS, Command, Kind, encode, encode_text
from .guest import Guest, MistakeError

__all__ = ["CONTROL", "RESULTS", "main"]

CONTROL, RESULTS = 3, 4

_PR_SET_PDEATHSIG = 1


def main(memory: int, cpu: int, *, jailed: bool) -> NoReturn:
    """Serve commands until the parent closes the socket; at most `memory` bytes more and `cpu` seconds."""
    _die_with_parent()
    control = socket.socket(fileno=CONTROL)
    try:
        jail.limit(memory, cpu)
        walls = jail.lock() if jailed else "none"
    except OSError as error:
        os.write(RESULTS, encode_text(Kind.UNSAFE, message=str(error)))
        os._exit(1)
    os.write(RESULTS, encode_text(Kind.READY, walls=walls))
    try:
        _serve(control)
    except MistakeError as mistake:
        _lift_memory()
        os.write(RESULTS, encode_text(Kind.FAILED, **mistake.fields()))
        os._exit(1)
    # atexit handlers and threads of the metric get no say
    os._exit(0)


def _serve(control: socket.socket) -> None:
    guest: Guest | None = None
    while True:
        packet, fds, _, _ = socket.recv_fds(control, COMMAND.size, 1)
        if not packet:
            return
        command, backwards, number = COMMAND.unpack(packet)
        if command == Command.TRESPASS:
            os.write(RESULTS, encode_text(Kind.BREACHES, names=" ".join(trespass.breaches())))
            continue
        if command == Command.LOAD:
            guest = Guest(read_bytes(fds[0]).decode())
            os.write(RESULTS, encode_text(Kind.LOADED, **guest.about()))
        assert guest is not None
        if command == Command.BEGIN:
            guest.begin()
        elif command == Command.MEASURE:
            samples = list(enumerate(unpack(fds[0]), number))
            for index, sample in reversed(samples) if backwards else samples:
                rows = guest.measure(index, sample)
                digest = hashlib.blake2b(b"%d:" % index + rows.tobytes(), digest_size=16).digest()
                os.write(RESULTS, encode(Kind.MEASURED, index, digest))
            # the last views keep the chunk mapped
            del samples, sample
        elif command == Command.RANK:
            _send_scores(guest.rank(number))
        for fd in fds:
            os.close(fd)


def _send_scores(scores: npt.NDArray[np.float64]) -> None:
    for start in range(0, max(len(scores), 1), FLOATS):
        part = scores[start : start + FLOATS]
        os.write(RESULTS, encode(Kind.SCORES, len(part), part.tobytes()))


def _die_with_parent() -> None:
    parent = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    # the parent may have died before the call above
    if os.getppid() != parent:
        os._exit(1)


def _lift_memory() -> None:
    """Make room to report that there is none."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
