"""The metric inside its own process: load it, measure, rank, and explain what is wrong with what it returns.

Runs in the child only; knows nothing of processes and limits.
"""

from __future__ import annotations

import inspect
import re
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, get_args

import cv2
import numpy as np
import numpy.typing as npt

from .failure import scrub
from .interface import Level, Metric, Sample, Suspicious

__all__ = ["Guest", "MistakeError"]

_FILE = "<metric>"


class MistakeError(Exception):
    """The metric does something that it may not. Attributes as in `Failure`."""

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        value: str | None = None,
        exception: str | None = None,
        line: int | None = None,
    ) -> None:
        self.kind, self.message = kind, message
        self.value, self.exception, self.line = value, exception, line
        super().__init__(message)

    def fields(self) -> dict[str, str | int | None]:
        """The attributes by name."""
        return {name: getattr(self, name) for name in ("kind", "message", "value", "exception", "line")}


class Guest:
    """One loaded metric and its measurements so far."""

    def __init__(self, source: str) -> None:
        self._metric = _load(source)
        self._has_rank = type(self._metric).rank is not Metric.rank
        self.begin()

    def about(self) -> dict[str, str | int | None]:
        """Name, level, suspicious end and the docstring's first line."""
        kind = type(self._metric)
        doc = inspect.getdoc(kind) if kind.__doc__ else None
        return {
            "name": kind.__name__,
            "level": self._metric.level,
            "suspicious": self._metric.suspicious,
            "doc": doc.strip().split("\n")[0] if doc else "",
        }

    def begin(self) -> None:
        """Forget all measurements."""
        self._rows: dict[int, npt.NDArray[np.float64]] = {}
        self._width: tuple[int, ...] | None = None

    def measure(self, index: int, sample: Sample) -> npt.NDArray[np.float64]:
        """The measurements of sample number `index`: (n,) or (n, K), one row a box, or one for the image."""
        with _explained():
            value = self._metric.measure(sample)
        rows = _image_row(value) if self._metric.level == "image" else _box_rows(value, len(sample.boxes))
        if len(rows):
            self._check_width(rows.shape[1:], value)
        self._rows[index] = rows
        return rows

    def _check_width(self, width: tuple[int, ...], value: object) -> None:
        unit = "an image" if self._metric.level == "image" else "a box"
        if width and not self._has_rank:
            raise MistakeError(
                "wrong-shape",
                f"measure gives {width[0]} numbers {unit}, and there is no rank method to turn them into one",
                value=describe(value),
            )
        if self._width is None:
            self._width = width
        if width != self._width:
            before, now = (w[0] if w else 1 for w in (self._width, width))
            raise MistakeError(
                "wrong-shape",
                f"measure gives {now} numbers {unit}, but gave {before} before",
                value=describe(value),
            )

    def rank(self, count: int) -> npt.NDArray[np.float64]:
        """The scores of the first `count` rows in the data set's order: (count,) finite float64."""
        empty = np.zeros((0, *(self._width or ())))
        ordered = [self._rows[index] for index in sorted(self._rows)]
        rows = np.concatenate([empty, *(part for part in ordered if len(part))])[:count]
        with _explained():
            value = self._metric.rank(rows.copy())
        if not isinstance(value, np.ndarray):
            raise MistakeError(
                "wrong-type", "rank must return a numpy array of floats", value=describe(value)
            )
        if value.shape != (count,):
            raise MistakeError(
                "wrong-shape",
                f"rank gets {count} rows, so it must return shape ({count},), not {value.shape}",
                value=describe(value),
            )
        return _finite("rank", value)


def _load(source: str) -> Metric:
    module = types.ModuleType("metric")
    # dataclasses look their module up by name
    sys.modules["metric"] = module
    with _explained():
        exec(compile(source, _FILE, "exec", dont_inherit=True), module.__dict__)
    # a second name for the same class does no harm
    found = {
        value: None
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Metric) and value.__module__ == "metric"
    }
    if not found:
        raise MistakeError("no-metric-class", "the file defines no subclass of Metric")
    if len(found) > 1:
        names = ", ".join(kind.__name__ for kind in found)
        raise MistakeError(
            "many-metric-classes", f"the file defines {len(found)} subclasses of Metric: {names}"
        )
    (kind,) = found
    for name, allowed in (("level", get_args(Level)), ("suspicious", get_args(Suspicious))):
        if getattr(kind, name) not in allowed:
            raise MistakeError(f"bad-{name}", f"{name} must be one of {', '.join(allowed)}")
    if kind.measure is Metric.measure:
        raise MistakeError("no-measure", "the class does not define measure")
    with _explained():
        return kind()


def _image_row(value: object) -> npt.NDArray[np.float64]:
    # int is a float where types are concerned (PEP 484); bool would hide a comparison left undone
    if isinstance(value, (int, float, np.floating)) and not isinstance(value, bool):
        value = np.asarray(value, np.float64)
    if not isinstance(value, np.ndarray):
        raise MistakeError("wrong-type", "measure must return one float for an image", value=describe(value))
    if value.ndim > 1 or value.size == 0:
        raise MistakeError(
            "wrong-shape",
            f"level is image, so measure must return one float (or K for rank), not shape {value.shape}",
            value=describe(value),
        )
    rows = _finite("measure", value)
    return rows.reshape(1) if rows.ndim == 0 else rows[np.newaxis]


def _box_rows(value: object, boxes: int) -> npt.NDArray[np.float64]:
    if not isinstance(value, np.ndarray):
        raise MistakeError(
            "wrong-type",
            "measure must return a numpy array of floats, one for each box",
            value=describe(value),
        )
    if value.ndim not in (1, 2) or len(value) != boxes or (value.ndim == 2 and value.shape[1] == 0):
        if value.size == boxes == 0:
            return np.zeros(0)
        count = "one box" if boxes == 1 else f"{boxes} boxes"
        raise MistakeError(
            "wrong-shape",
            f"measure must return shape ({boxes},) for {count}, not {value.shape}",
            value=describe(value),
        )
    return _finite("measure", value)


def _finite(method: str, value: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    if not np.issubdtype(value.dtype, np.floating):
        raise MistakeError(
            "wrong-dtype", f"{method} must return floats, not {value.dtype}", value=describe(value)
        )
    with np.errstate(over="ignore"):
        rows = value.astype(np.float64)
    bad = ~np.isfinite(rows)
    if bad.any():
        first = np.unravel_index(int(bad.argmax()), bad.shape)
        place = "" if rows.ndim == 0 else f", the first at index {', '.join(str(i) for i in first)}"
        raise MistakeError(
            "not-finite",
            f"{method} returned nan or inf: {int(bad.sum())} of {bad.size}{place}",
            value=describe(value),
        )
    return rows


def describe(value: object) -> str:
    """Type, shape and range of what a metric returned; no contents that differ between runs."""
    if isinstance(value, np.ndarray):
        text = f"{value.dtype} array of shape {value.shape}"
        numbers = value[np.isfinite(value)] if value.dtype.kind in "fiub" else np.zeros(0)
        return (
            f"{text}, from {float(numbers.min()):.6g} to {float(numbers.max()):.6g}" if numbers.size else text
        )
    if isinstance(value, (bool, int, float, np.generic)):
        return f"{type(value).__name__} {value}"
    if isinstance(value, (list, tuple, dict, set, str)):
        return f"{type(value).__name__} of length {len(value)}"
    return type(value).__name__


@contextmanager
def _explained() -> Iterator[None]:
    """Turn whatever the metric raises into a MistakeError that names its own line."""
    try:
        yield
    except BaseException as error:
        line, trace = None, error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == _FILE:
                line = trace.tb_lineno
            trace = trace.tb_next
        message = _text(error)
        raise MistakeError(_kind(error, message), message, exception=_name(type(error)), line=line) from None


def _text(error: BaseException) -> str:
    if isinstance(error, cv2.error) and hasattr(error, "err"):
        # without the C++ signature, the bullets, and what is said for each overload
        function = re.split(r"[(<]", error.func)[0]
        reasons = dict.fromkeys(re.sub("(?m)^> ", "", error.err).strip().split("\n"))
        return scrub(f"{' '.join(reasons)} in {function}")
    try:
        return scrub(str(error))
    except Exception:
        return "(its text cannot be shown)"


def _name(kind: type) -> str:
    """The type's name; with its module where the name alone says nothing, as in cv2.error."""
    return f"{kind.__module__}.error" if kind.__name__ == "error" else kind.__name__


def _kind(error: BaseException, message: str) -> str:
    if isinstance(error, MemoryError) or "Insufficient memory" in message:
        return "out-of-memory"
    if isinstance(error, SyntaxError):
        return "syntax-error"
    # FrozenInstanceError is an AttributeError that says which field
    if "read-only" in message or "readonly" in message or type(error).__name__ == "FrozenInstanceError":
        return "mutated-input"
    return "exception"
