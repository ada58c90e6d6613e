"""Scores that say what they promise: 0.9 for predictions of which nine in ten find a label."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from sklearn.isotonic import IsotonicRegression

from metricsmith.sandbox import Predictions

from ..dataset import Dataset
from .matching import match

__all__ = ["calibrated"]


def calibrated(
    dataset: Dataset, predictions: Mapping[int | str, Predictions]
) -> dict[int | str, Predictions]:
    """Return the predictions with scores that are the share of such predictions that find a label.

    Isotonic regression (Zadrozny and Elkan, 2002) of "matches a label of its class at IoU 0.5" on the
    score, over the whole data set: what a user without the truth can do. Equal scores keep their order.
    """
    found: list[npt.NDArray[np.bool_]] = []
    for image in dataset.images:
        own = predictions[image.id]
        partner, _ = match(image, own)
        hits = np.zeros(len(own.scores), bool)
        for row, number in enumerate(partner.tolist()):
            if number >= 0:
                hits[number] = own.labels[number] == image.labels[row]
        found.append(hits)
    scores = np.concatenate([np.zeros(0), *(predictions[image.id].scores for image in dataset.images)])
    if not len(scores):
        return dict(predictions)
    curve = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
    curve.fit(scores, np.concatenate(found).astype(float))
    return {
        item: Predictions(
            own.boxes,
            own.labels,
            curve.predict(own.scores.astype(float)).astype(np.float32) if len(own.scores) else own.scores,
        )
        for item, own in predictions.items()
    }
