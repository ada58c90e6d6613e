"""Whether the jail holds here: asked of a real jailed process, once, before the first metric runs."""

from __future__ import annotations

import os
import select
import time

from .errors import UnsafeError
from .frames import COMMAND, FRAME, Command, Frame, Kind, decode
from .jail import Walls
from .launch import Child, Zygote, zygote

__all__ = ["forget", "walls"]

_MEMORY = 256 << 20
_SECONDS = 20.0

_found: tuple[Zygote, Walls] | None = None


def walls() -> Walls:
    """The level of the jail here. UnsafeError if there is none, or if it lets something through."""
    global _found
    current = zygote()
    if _found is None or _found[0] is not current:
        _found = current, _try()
    return _found[1]


def forget() -> None:
    """Have the next `walls` try again."""
    global _found
    _found = None


def _try() -> Walls:
    child = Child(_MEMORY, int(_SECONDS))
    try:
        ready = _frame(child)
        if ready.kind == Kind.UNSAFE:
            raise UnsafeError(f"the kernel refuses the jail: {ready.text()['message']}")
        child.send(COMMAND.pack(Command.TRESPASS, 0, 0))
        answer = _frame(child)
    finally:
        child.end()
    if ready.kind != Kind.READY or answer.kind != Kind.BREACHES:
        raise UnsafeError("the self-test of the jail answers what it should not")
    if names := answer.text()["names"]:
        raise UnsafeError(f"the jail does not hold: it lets a metric {names.replace(' ', ', ')}")
    level = ready.text()["walls"]
    if level not in ("A", "B"):
        raise UnsafeError("the self-test found no jail around itself")
    return level  # type: ignore[no-any-return]


def _frame(child: Child) -> Frame:
    """The child's next frame."""
    data, deadline = b"", time.monotonic() + _SECONDS
    poll = select.poll()
    for fd in (child.results, child.died):
        poll.register(fd, select.POLLIN)
    while len(data) < FRAME:
        poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
        try:
            part = os.read(child.results, FRAME - len(data))
        except BlockingIOError:
            part = b""
        if not part and (time.monotonic() > deadline or child.is_dead):
            raise UnsafeError("the self-test of the jail ended without an answer")
        data += part
    return decode(data)
