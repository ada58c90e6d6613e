"""Every error that MetricSmith raises for a reason a user can act on.

    MetricSmithError
    ├── DataError                a data set, an image or an annotation cannot be used
    ├── MetricError              a metric file cannot be used; carries a `Failure`
    ├── SandboxError             the sandbox itself failed: nothing is known about the metric
    │   └── UnsafeError               there is no jail here, or it does not hold: no metric was run
    ├── DetectorError            a detector cannot be built, trained or loaded
    ├── ModelError               the language model gave no usable answer
    │   └── StaleTranscriptError      a replayed request is not the one that was recorded
    └── RunError                 a run folder is missing, damaged or belongs to other settings

Each carries what a program needs as attributes and says, as text, what is wrong, why, and what to do
next. The command line prints the text in one line and no traceback. Anything else that reaches the user
is a bug of ours.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .failure import Failure

__all__ = [
    "DataError",
    "DetectorError",
    "MetricError",
    "MetricSmithError",
    "ModelError",
    "RunError",
    "SandboxError",
    "StaleTranscriptError",
    "UnsafeError",
]


class MetricSmithError(Exception):
    """Base of all errors a user can act on; `str()` of it is the whole message."""


class DataError(MetricSmithError):
    """A data set, an image or an annotation cannot be used.

    Attributes: `file` (the offending file), `item` (the image, annotation or line within it, or None),
    `reason` (what is wrong), `remedy` (the next step, may be empty).
    """

    def __init__(self, file: Path | str, reason: str, *, item: str | None = None, remedy: str = "") -> None:
        self.file = Path(file)
        self.item = item
        self.reason = reason
        self.remedy = remedy
        where = f"{file}: {item}" if item else str(file)
        super().__init__(f"{where}: {reason}" + (f"; {remedy}" if remedy else ""))


class MetricError(MetricSmithError):
    """A metric file cannot be used. Attribute: `failure`, the stage, the reason and how to mend it."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(str(failure))


class SandboxError(MetricSmithError):
    """The sandbox failed, not the metric: no child process, no pipe, no memory for the images."""


class UnsafeError(SandboxError):
    """There is no jail here, or it does not hold. Attribute: `reason`. No metric was run."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"{reason}; no metric was run: `metricsmith doctor` says more, --unsafe-no-sandbox takes the risk"
        )


class DetectorError(MetricSmithError):
    """A detector cannot be built, trained or loaded (unknown name, weights out of reach, no images)."""


class ModelError(MetricSmithError):
    """The language model gave no usable answer (no key, no endpoint, gave up after retries)."""


class StaleTranscriptError(ModelError):
    """A replayed request differs from the recorded one. Attribute: `diff`, a unified diff of the two."""

    def __init__(self, message: str, diff: str = "") -> None:
        self.diff = diff
        super().__init__(message + (f"\n{diff}" if diff else ""))


class RunError(MetricSmithError):
    """A run folder is missing, damaged, or was made with other settings or other data."""
