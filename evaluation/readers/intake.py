"""The checks that every format's images and boxes pass, and what becomes of those that fail.

A box may stand out of its image by `tolerance`: annotation tools round. It is kept as written,
and `boxes.clipped_xyxy` cuts it off. What stands out further is an error: it was drawn for another image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from metricsmith.sandbox.errors import DataError

from ..dataset import Skipped
from ..pixels import checked_size

__all__ = ["Intake", "checked_box", "size_of", "tolerance"]

_REMEDY = "correct it, or leave such items out with --skip-bad"


class Intake:
    """Lets bad items stop the reading, or leaves them out and remembers why."""

    def __init__(self, skip_bad: bool) -> None:
        self._skip_bad = skip_bad
        self.skipped: list[Skipped] = []

    @contextmanager
    def item(self) -> Iterator[None]:
        """Around the work on one item: a DataError within leaves the item out, or passes with a next step."""
        try:
            yield
        except DataError as error:
            if not self._skip_bad:
                remedy = error.remedy or _REMEDY
                raise DataError(error.file, error.reason, item=error.item, remedy=remedy) from None
            self.skipped.append(Skipped(error.file, error.item, error.reason))


def size_of(path: Path, declared: tuple[float | None, float | None] = (None, None)) -> tuple[int, int]:
    """(width, height) of the image file, upright. DataError where it is bad or not of the declared size."""
    size = checked_size(path)
    for name, says, measured in zip(("width", "height"), declared, size, strict=True):
        if says is not None and says != measured:
            actual = f"{size[0]}×{size[1]} (after EXIF rotation)"
            raise DataError(path, f"the annotations declare {name} {says}, but the image is {actual}")
    return size


def tolerance(side: int) -> float:
    """How many pixels a box may stand out of an image, along a side of this length: 1, or half a percent."""
    return max(1.0, 0.005 * side)


def checked_box(
    xywh: Sequence[float], size: tuple[int, int], file: Path, item: str
) -> tuple[float, float, float, float]:
    """`xywh` as it is, if it is a box within an image of this size; else DataError naming file and item."""
    x, y, w, h = xywh
    reason = ""
    if not all(map(math.isfinite, xywh)):
        reason = "is not finite"
    elif w <= 0 or h <= 0:
        reason = "has no area"
    elif not (_reaches_into(x, x + w, size[0]) and _reaches_into(y, y + h, size[1])):
        reason = f"lies outside its {size[0]}×{size[1]} image"
    if reason:
        raise DataError(file, f"box (x {x:g}, y {y:g}, w {w:g}, h {h:g}) {reason}", item=item)
    return x, y, w, h


def _reaches_into(start: float, end: float, side: int) -> bool:
    slack = tolerance(side)
    return -slack <= start and end <= side + slack and min(end, side) > max(start, 0)
