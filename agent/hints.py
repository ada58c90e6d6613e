"""A person's hints to a run that is under way: said at any time, heard at the start of the next round."""

from __future__ import annotations

import json
from pathlib import Path

from metricsmith.evaluation.files import append_line
from metricsmith.sandbox.errors import RunError

from .journal import Journal

__all__ = ["hear", "say"]


def say(path: Path, hint: str) -> None:
    """Leave a hint in the file `path`. RunError: it is empty."""
    hint = " ".join(hint.split())
    if not hint:
        raise RunError("the hint is empty; say what the engineer should look at")
    append_line(path, json.dumps(hint, ensure_ascii=False))


def hear(path: Path, journal: Journal, number: int, *, is_new: bool) -> list[str]:
    """Return the hints that this round begins with, through the journal: those not heard in earlier rounds.

    `is_new`: nothing of this round has happened yet; otherwise it begins with what it began with.
    """
    fresh: list[str] = []
    if journal.find("hinted", round=number) is None:
        if is_new and journal.is_at_end:
            heard = sum(len(event["hints"]) for event in journal.events("hinted"))
            fresh = _read(path)[heard:]
        if not fresh:
            return []
    return list(journal.once("hinted", lambda: {"hints": fresh}, round=number)["hints"])


def _read(path: Path) -> list[str]:
    if not path.exists():
        return []
    *lines, _ = path.read_text(encoding="utf-8").split("\n")  # the last one may be half written
    return [json.loads(line) for line in lines]
