"""A person's hints to a run that is under way, in a file: said at any time, heard between rounds."""

from __future__ import annotations

import json
from pathlib import Path

from metricsmith.evaluation.files import append_line, cut_partial_line
from metricsmith.sandbox.errors import RunError

__all__ = ["read_hints", "say"]


def say(path: Path, hint: str) -> None:
    """Leave a hint in the file `path`. RunError: it is empty."""
    hint = " ".join(hint.split())
    if not hint:
        raise RunError("the hint is empty; say what the engineer should look at")
    cut_partial_line(path)  # of a hint that a kill cut in half
    append_line(path, json.dumps(hint, ensure_ascii=False))


def read_hints(path: Path) -> list[str]:
    """Return all hints so far, oldest first."""
    if not path.exists():
        return []
    *lines, _ = path.read_text(encoding="utf-8").split("\n")  # the last one may be half written
    return [json.loads(line) for line in lines]
