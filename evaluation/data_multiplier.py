"""How many random images would do what a curated training set does: read off a curve, never extrapolated.

The curve is that of random samples of growing size, each the mean over the seeds. Nothing is trained here.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

__all__ = ["SIZES", "Multiplier", "Point", "read_off"]

SIZES = (0.125, 0.25, 0.5, 1.0)
"""The sizes of the curve, as shares of the pool."""


class Point(BaseModel):
    """Random samples of one size."""

    model_config = ConfigDict(frozen=True)

    images: int
    map: float
    """On val, mean over the seeds."""


class Multiplier(BaseModel):
    """What a curated training set is worth in random images."""

    model_config = ConfigDict(frozen=True)

    images: int
    """Of the curated training set."""
    map: float
    curve: tuple[Point, ...]
    """By growing size."""
    least: int | None
    """So many random images would do as well, at least; None: the curve begins above the curated mAP."""
    most: int | None
    """And at most; None: no sample of the curve does as well. Equal to `least` where it can be read off."""

    @property
    def factor(self) -> float | None:
        """Random images for each curated one, where that can be read off."""
        return self.least / self.images if self.least is not None and self.least == self.most else None

    def __str__(self) -> str:
        worth = f"{self.images} curated images (mAP {self.map:.3f}) are worth"
        if self.factor is not None:
            return f"{worth} {self.least} random ones, {self.factor:.1f} times as many"
        if self.most is None:
            return f"{worth} more than {self.least} random ones: all there are reach {self.curve[-1].map:.3f}"
        return f"{worth} fewer than {self.most} random ones, the smallest sample of the curve"


def read_off(images: int, ap: float, curve: Sequence[Point]) -> Multiplier:
    """Return what `images` images that reach an mAP of `ap` are worth.

    Between two neighbouring sizes of the curve mAP is taken to be linear in the number of images. Where the
    curve falls with more images, what a smaller sample reached counts as reached: it is there to be drawn.

    >>> read_off(10, 0.35, [Point(images=10, map=0.3), Point(images=20, map=0.4)]).least
    15
    """
    points = sorted(curve, key=lambda point: point.images)
    least: int | None = None
    most: int | None = None
    if points[0].map >= ap:
        most = points[0].images
    else:
        least = points[-1].images
        for before, after in itertools.pairwise(points):
            if after.map >= ap:
                share = (ap - before.map) / (after.map - before.map)
                least = most = round(before.images + share * (after.images - before.images))
                break
    return Multiplier(images=images, map=ap, curve=tuple(points), least=least, most=most)
