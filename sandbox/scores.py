"""What a metric says about a data set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .interface import Level, Suspicious

__all__ = ["Scores"]


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """The final scores of one metric, after `rank`."""

    level: Level
    """`object`: one score a box; `image`: one an image."""
    suspicious: Suspicious
    """Which end is likely wrong or useless."""
    values: npt.NDArray[np.float64]
    """(R,) finite float64, read-only, in the order of the samples and of the boxes within each."""
    counts: tuple[int, ...]
    """How many of `values` belong to each sample; their sum is R."""
