"""The label error candidates of hotcoco's `image_diagnostics`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from metricsmith.sandbox import Predictions

from ..coco_eval import open_evaluation
from ..dataset import Dataset
from .suspicion import Suspicion

__all__ = ["diagnostics"]


def diagnostics(
    dataset: Dataset, predictions: Mapping[int | str, Predictions], method: str = "hotcoco label errors"
) -> Suspicion:
    """Return the confidence of the prediction that contradicts a label (or finds none); 0 for no candidate.

    Its threshold on confidence is taken off, so that it ranks as much as it can.
    """
    found = [predictions[image.id] for image in dataset.images]
    run = open_evaluation(dataset.images, found, dataset.class_names)
    candidates = run.image_diagnostics(iou_thr=0.5, score_thr=0.0)["label_errors"]
    images, boxes = np.zeros(len(dataset)), np.zeros(dataset.box_count)
    for candidate in candidates:
        # `open_evaluation` numbers images and boxes from 1, in their order.
        image = candidate["image_id"] - 1
        images[image] = max(images[image], candidate["dt_score"])
        if candidate["gt_id"] is not None:
            box = candidate["gt_id"] - 1
            boxes[box] = max(boxes[box], candidate["dt_score"])
    return Suspicion(method, images, boxes)
