"""What a process and its zygote say to each other; apart, as asking must not load what the zygote loads."""

from __future__ import annotations

import struct

__all__ = ["READY", "REPLY", "REQUEST", "SCIPY", "STATUS", "UNJAILED"]

READY = b"ready"
"""The zygote's first packet."""

REQUEST = struct.Struct("<BQQ")
"""Flags, memory, CPU seconds; beside it the control socket, and the pipes for results, output and status."""

REPLY = struct.Struct("<iI")
"""Process id, or 0 and the error's number; beside it the pidfd."""

STATUS = struct.Struct("<i")
"""What goes into the status pipe in the end: the exit status, or minus the signal."""

SCIPY, UNJAILED = 1, 2
"""Flags: scipy is needed; no jail."""
