"""Which prediction finds which label: the greedy matching of COCO, blind to classes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from metricsmith.sandbox import Predictions

from ..boxes import iou
from ..dataset import Image

__all__ = ["match"]


def match(
    image: Image, predictions: Predictions, threshold: float = 0.5
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return for each label the prediction that found it, −1 for none, and their IoU, 0 for none.

    By falling score, each prediction takes the free label that it overlaps most, if their IoU reaches the
    threshold. Both results have shape (N,), N the number of labels.
    """
    overlaps = iou(predictions.boxes, image.xyxy)
    partner = np.full(len(image.boxes), -1, np.int64)
    found = np.zeros(len(image.boxes))
    for number, row in enumerate(overlaps):
        free = np.where(partner < 0, row, -1.0)
        if len(free) and free.max() >= threshold:
            best = int(free.argmax())
            partner[best], found[best] = number, free[best]
    return partner, found
