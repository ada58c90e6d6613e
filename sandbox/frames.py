"""The two languages that a parent and its child speak: commands one way, results the other.

A command is one packet on a socket, perhaps with a memfd beside it. A result is one frame of exactly 4,096
bytes on a pipe, written in one piece: a header, then floats or a short JSON text. The parent trusts no field
of a frame; this module only lays bytes out.
"""

from __future__ import annotations

import json
import struct
from enum import IntEnum
from typing import Any, NamedTuple

__all__ = ["COMMAND", "FLOATS", "FRAME", "Command", "Frame", "Kind", "decode", "encode", "encode_text"]

COMMAND = struct.Struct("<BBQ")
"""Command, reversed (0 or 1), a number: the first sample of MEASURE, the rows of RANK."""

FRAME = 4096
"""Bytes in a frame: what the kernel writes to a pipe in one piece."""

_HEADER = struct.Struct("<4sIQ")
_LONG, _SHORT = 300, 100
_MAGIC = b"MSf1"

FLOATS = (FRAME - _HEADER.size) // 8
"""How many float64 a frame holds."""


class Command(IntEnum):
    """What a parent asks for."""

    LOAD = 1
    """Load the metric in the memfd; answered by LOADED."""
    BEGIN = 2
    """Forget all measurements; not answered."""
    MEASURE = 3
    """Measure the samples in the memfd; answered by one MEASURED a sample."""
    RANK = 4
    """Rank the first rows; answered by as many SCORES as they need, at least one."""
    TRESPASS = 5
    """Try whatever the jail must forbid; answered by BREACHES."""


class Kind(IntEnum):
    """What a child answers."""

    READY = 1
    """Text: walls, the level of the jail that the child is in, or "none"."""
    LOADED = 2
    """Text: name, level, suspicious, doc."""
    MEASURED = 3
    """Number: the sample; body: a 16-byte digest of that number and its measurements."""
    SCORES = 4
    """Number: how many floats the body holds."""
    FAILED = 5
    """Text: kind, message, exception, line, value. The last frame of a child."""
    UNSAFE = 6
    """Text: message, why there is no jail. The only frame of a child."""
    BREACHES = 7
    """Text: names, what the jail should have forbidden and did not."""


class Frame(NamedTuple):
    """One result."""

    kind: int
    number: int
    body: bytes

    def text(self) -> dict[str, Any]:
        """The body as a JSON object. ValueError if it is none."""
        try:
            fields = json.loads(self.body.rstrip(b"\0"))
        except RecursionError as error:
            raise ValueError("nested too deep") from error
        if not isinstance(fields, dict):
            raise ValueError("not a JSON object")
        return fields


def encode(kind: Kind, number: int = 0, body: bytes = b"") -> bytes:
    """The frame's 4,096 bytes. ValueError if the body is too long."""
    if len(body) > FRAME - _HEADER.size:
        raise ValueError("the body does not fit into a frame")
    return (_HEADER.pack(_MAGIC, kind, number) + body).ljust(FRAME, b"\0")


def encode_text(kind: Kind, /, **fields: str | int | None) -> bytes:
    """The frame with `fields` as a JSON object, their texts cut so that they always fit."""
    short = {
        name: value[: _LONG if name in ("doc", "message") else _SHORT] if isinstance(value, str) else value
        for name, value in fields.items()
    }
    body = json.dumps(short, ensure_ascii=False).encode("utf-8", "replace")
    return encode(kind, 0, body)


def decode(data: bytes) -> Frame:
    """The frame in `data`. ValueError if it is none."""
    magic, kind, number = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise ValueError("not a frame")
    return Frame(kind, number, data[_HEADER.size :])
