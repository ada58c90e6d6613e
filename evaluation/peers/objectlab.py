"""cleanlab's ObjectLab (arXiv 2309.00832), by cleanlab itself."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from metricsmith.sandbox import Predictions
from metricsmith.sandbox.errors import RunError

from ..dataset import Dataset
from .suspicion import Suspicion

__all__ = ["objectlab"]


def objectlab(
    dataset: Dataset, predictions: Mapping[int | str, Predictions], method: str = "ObjectLab"
) -> Suspicion:
    """Return 1 − label quality: for an image all three of ObjectLab's scores, for a box badloc and swap.

    RunError: cleanlab is not installed.
    """
    try:
        from cleanlab.object_detection.rank import (
            compute_badloc_box_scores,
            compute_swap_box_scores,
            get_label_quality_scores,
        )
    except ImportError:
        raise RunError("ObjectLab needs cleanlab: pip install 'metricsmith[bench]'") from None
    labels = [{"bboxes": image.xyxy, "labels": image.labels} for image in dataset.images]
    found = [_by_class(predictions[image.id], len(dataset.class_names)) for image in dataset.images]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where nothing is above its thresholds, and goes on
        images = get_label_quality_scores(labels, found, verbose=False)
        badloc = compute_badloc_box_scores(labels=labels, predictions=found)
        swap = compute_swap_box_scores(labels=labels, predictions=found)
    boxes = np.concatenate(
        [np.zeros(0), *(np.fmin(place, kind) for place, kind in zip(badloc, swap, strict=True))]
    )
    return Suspicion(
        method, 1 - np.nan_to_num(np.asarray(images, float), nan=1.0), 1 - np.nan_to_num(boxes, nan=1.0)
    )


def _by_class(predictions: Predictions, classes: int) -> npt.NDArray[np.object_]:
    """The form that cleanlab takes: for each class an array of rows (x1, y1, x2, y2, score)."""
    rows = np.column_stack([predictions.boxes, predictions.scores])
    found = np.empty(classes, dtype=object)
    for label in range(classes):
        found[label] = rows[predictions.labels == label]
    return found
