"""Why a metric was turned down, in words that a language model can act on.

Holds no checks; `policy`, `child` and `worker` find the failures. Nothing in a `Failure` differs between two
runs of the same code, since its text is part of a recorded prompt: `scrub` takes out addresses and paths, and
a time is given as the limit that was passed, never as measured.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any, Literal

from .advice import advise

__all__ = ["Failure", "Stage", "scrub", "source_line"]

Stage = Literal["parse", "policy", "fixtures", "sample", "planted", "score"]

_SHOWN = 200
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{4,}")
_PATH = re.compile(r"(?<![\w./])(?:/[\w.+@-]+)+/(?=[\w.+@-])")


def scrub(text: str) -> str:
    """`text` in one printable line, without memory addresses and without the folders of paths.

    >>> scrub("<f at 0x7f3a11c0> in /usr/lib/x.py")
    '<f at 0x…> in x.py'
    """
    return _printable(_PATH.sub("", _ADDRESS.sub("0x…", " ".join(text.split()))))


def source_line(source: str, line: int | None) -> str | None:
    """The text of a line of `source`, counted from 1, fit to be shown; None if there is no such line."""
    lines = source.splitlines()
    if line is None or not 1 <= line <= len(lines):
        return None
    return _printable(lines[line - 1].strip()[:_SHOWN])


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "�" for char in text)


@dataclass(frozen=True, slots=True)
class Failure:
    """One reason why a metric cannot be used; `str()` of it goes into a repair prompt as it is."""

    stage: Stage
    """How far the metric got."""
    kind: str
    """A short slug, such as `wrong-shape`; `advice` has one line for each."""
    message: str
    """What is wrong, in one line."""
    where: str | None = None
    """The fixture, the image's number, or the step in which it happened."""
    exception: str | None = None
    """The type of the exception that the metric raised."""
    line: int | None = None
    """The line of the metric's own source, counted from 1."""
    code: str | None = None
    """The text of that line."""
    value: str | None = None
    """What the metric returned: type, shape and range."""

    @property
    def advice(self) -> str:
        """How to mend it, in one line."""
        return advise(self.kind, self.exception, self.message)

    def to_dict(self) -> dict[str, Any]:
        """Every field and the advice, as JSON values."""
        return {**asdict(self), "advice": self.advice}

    def __str__(self) -> str:
        where = f" ({self.where})" if self.where else ""
        message = f"{self.exception}: {self.message}" if self.exception else self.message
        lines = [f"Failed in stage {self.stage}: {self.kind}{where}.", message]
        if self.line is not None:
            lines.append(f"Line {self.line}: {self.code}" if self.code else f"Line {self.line}")
        if self.value is not None:
            lines.append(f"Returned: {self.value}")
        lines.append(f"Advice: {self.advice}")
        return "\n".join(lines)
