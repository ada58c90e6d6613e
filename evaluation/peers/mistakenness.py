"""FiftyOne's mistakenness, from its published formula; FiftyOne itself is not used here.

Source: `fiftyone.brain` (Voxel51), `compute_mistakenness` on detections with confidences: for a label that
a prediction matches at IoU 0.5, classes aside, (m · c + 1) / 2 with m = 1 where the classes differ and −1
where they agree, and for its place (c · (2 i − 1) + 1) / 2 with i = 2 (1 − IoU); c is the confidence. A
label without a match is "possibly spurious"; an unmatched prediction with a confidence above 0.95 is
"possibly missing".
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from metricsmith.sandbox import Predictions

from ..dataset import Dataset
from .matching import match
from .suspicion import Suspicion

__all__ = ["mistakenness"]

_SURE = 0.95


def mistakenness(
    dataset: Dataset, predictions: Mapping[int | str, Predictions], method: str = "mistakenness"
) -> Suspicion:
    """Return the greater of class and place mistakenness for each box; the flags count as 1."""
    boxes, missing = [], []
    for image in dataset.images:
        own = predictions[image.id]
        partner, overlap = match(image, own)
        matched = partner >= 0
        scores = np.append(own.scores.astype(float), 0.0)[partner]
        labels = np.append(own.labels, -1)[partner]
        wrong = np.where(labels == image.labels, -1.0, 1.0)
        by_class = (wrong * scores + 1) / 2
        by_place = (scores * (4 * (1 - overlap) - 1) + 1) / 2
        boxes.append(np.where(matched, np.maximum(by_class, by_place), 1.0))
        alone = np.setdiff1d(np.arange(len(own.scores)), partner)
        missing.append(float(np.any(own.scores[alone] > _SURE)))
    return Suspicion.of_boxes(method, dataset, boxes, missing)
