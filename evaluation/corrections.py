"""What an annotator corrected in an image: the kinds of mistakes that were there."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import numpy as np
from scipy.optimize import linear_sum_assignment

from .boxes import iou
from .dataset import Image

__all__ = ["CORRECTED", "Correction", "corrections"]

Correction = Literal["drop", "shift", "enlarge", "shrink", "flip", "spawn"]
"""A mistake that was corrected; the words are those of `corruption`, and `shrink`: a box was too small."""
CORRECTED: tuple[Correction, ...] = ("drop", "shift", "enlarge", "shrink", "flip", "spawn")

_SAME = 0.8
"""Two boxes of at least this IoU are one person's and another's box of the same object."""
_ANOTHER = 0.1
"""Two boxes of less than this IoU are boxes of two objects."""
_SIZE = 1.25
"""A box with this many times the area of the right one is too large."""


def corrections(before: Image, after: Image) -> Counter[Correction]:
    """Count the mistakes of each kind that an annotator's answer `after` corrects; none: it is but a nudge.

    Boxes are paired one to one, those of one class and an IoU of at least 0.8 first, the others by IoU; a
    pair of less than 0.1 is none. What has no partner was spawned or dropped. A pair of an IoU below 0.8 is
    too large, too small, or else moved; of two classes, flipped, too.
    """
    overlap = iou(before.xyxy, after.xyxy)
    same_class = before.labels[:, None] == after.labels[None, :]
    rows, columns = linear_sum_assignment(overlap + 2.0 * ((overlap >= _SAME) & same_class), maximize=True)
    found: Counter[Correction] = Counter()
    pairs = [(i, j) for i, j in zip(rows, columns, strict=True) if overlap[i, j] >= _ANOTHER]
    for i, j in pairs:
        if overlap[i, j] < _SAME:
            found[_moved(before.xyxy[i], after.xyxy[j])] += 1
        if not same_class[i, j]:
            found["flip"] += 1
    found["spawn"] += len(before.boxes) - len(pairs)
    found["drop"] += len(after.boxes) - len(pairs)
    return +found


def _moved(before: np.ndarray, after: np.ndarray) -> Correction:
    ratio = np.prod(before[2:] - before[:2]) / max(np.prod(after[2:] - after[:2]), 1e-9)
    return "enlarge" if ratio >= _SIZE else "shrink" if ratio <= 1 / _SIZE else "shift"
