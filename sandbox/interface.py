"""What a metric sees and what it returns: `Sample` in, scores out.

A metric file is its imports and one subclass of `Metric`:

    import numpy as np
    from metricsmith.sandbox import Metric, Sample

    class AspectRatio(Metric):
        \"\"\"Width over height of each box; very low and very high values are unusual shapes.\"\"\"
        level = "object"
        suspicious = "both"

        def measure(self, sample: Sample) -> np.ndarray:
            width = sample.boxes[:, 2] - sample.boxes[:, 0]
            height = sample.boxes[:, 3] - sample.boxes[:, 1]
            return width / np.maximum(height, 1e-6)

This module holds no checks: `check` tells a metric what is wrong with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["Level", "Metric", "Predictions", "Sample", "Suspicious"]

Level = Literal["object", "image"]
Suspicious = Literal["low", "high", "both", "none"]


def _no_boxes() -> npt.NDArray[np.float32]:
    return np.zeros((0, 4), np.float32)


def _no_labels() -> npt.NDArray[np.int64]:
    return np.zeros(0, np.int64)


def _no_scores() -> npt.NDArray[np.float32]:
    return np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a detector that never trained on the image finds in it; empty where there was no detector.

    Sorted by falling score.
    """

    boxes: npt.NDArray[np.float32] = field(default_factory=_no_boxes)
    """(M, 4) float32, xyxy pixels."""
    labels: npt.NDArray[np.int64] = field(default_factory=_no_labels)
    """(M,) int64, indices into `class_names`."""
    scores: npt.NDArray[np.float32] = field(default_factory=_no_scores)
    """(M,) float32 in [0, 1], the detector's confidence."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with its annotations. Every array is read-only; copy before changing one."""

    image: npt.NDArray[np.uint8]
    """(H, W, 3) uint8, RGB (not BGR)."""
    boxes: npt.NDArray[np.float32]
    """(N, 4) float32, xyxy pixels: x1, y1, x2, y2 with 0 ≤ x1 ≤ x2 ≤ W; N may be 0."""
    labels: npt.NDArray[np.int64]
    """(N,) int64, indices into `class_names`."""
    class_names: tuple[str, ...]
    """The names of the data set's classes."""
    predictions: Predictions = field(default_factory=Predictions)
    """A detector's out-of-fold predictions; see `Predictions`."""
    group: str | None = None
    """The video that the image is a frame of, or None for a still."""
    frame: int | None = None
    """The frame's number within its group, or None for a still."""
    previous_boxes: npt.NDArray[np.float32] | None = None
    """(P, 4) boxes of the previous frame we have of this group; None where there is no such frame."""
    previous_labels: npt.NDArray[np.int64] | None = None
    """(P,) labels of `previous_boxes`; None where there is no such frame."""
    next_boxes: npt.NDArray[np.float32] | None = None
    """(Q, 4) boxes of the next frame we have of this group; None where there is no such frame."""
    next_labels: npt.NDArray[np.int64] | None = None
    """(Q,) labels of `next_boxes`; None where there is no such frame."""


class Metric:
    """One score for each image, or for each box of each image. Subclass it; see this module's example.

    A metric is constructed once, without arguments, in a process of its own. It must be deterministic:
    the same sample gives the same score, in any order and in any process.
    """

    level: Level = "object"
    """`object`: one score a box; `image`: one score an image."""
    suspicious: Suspicious = "low"
    """Which end of the scores is likely wrong or useless: low, high, both, or none (merely descriptive)."""

    def measure(self, sample: Sample) -> npt.NDArray[np.floating] | float:
        """Return the measurements of one sample.

        `object` level: an array of shape (N,), or (N, K) where `rank` turns K numbers a box into one.
        `image` level: one float, or an array of shape (K,) where `rank` turns K numbers an image into one.
        """
        raise NotImplementedError

    def rank(self, measurements: npt.NDArray[np.float64]) -> npt.NDArray[np.floating]:
        """Return one score for each row of the whole data set's measurements: (R,) from (R,) or (R, K).

        R counts all images (`image`) or all boxes (`object`) in the data set's order. The default returns
        the measurements as they are, and therefore needs them to be one number a row.
        """
        return measurements
