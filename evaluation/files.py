"""Writing files so that a kill at any instant leaves the old content or the new, never a half."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

__all__ = ["append_line", "cut_partial_line", "write_atomic"]


def write_atomic(path: Path, content: str | bytes) -> None:
    """Replace `path` by `content` in one step; its folder is made if missing."""
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def cut_partial_line(path: Path) -> None:
    """Cut off a last line that a kill left unfinished, so that the next one gets a line of its own."""
    if path.exists():
        data = path.read_bytes()
        if data and not data.endswith(b"\n"):
            with path.open("r+b") as file:
                file.truncate(data.rfind(b"\n") + 1)


def append_line(path: Path, line: str) -> None:
    """Append one line and wait until it is on disk. A kill may leave a partial last line, never two."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())
