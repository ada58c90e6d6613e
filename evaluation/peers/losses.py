"""Loss inspection (Schubert et al., arXiv 2303.06999): a label is as suspicious as its loss is high."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from metricsmith.sandbox import Predictions

from ..dataset import Dataset
from .matching import match
from .suspicion import Suspicion

__all__ = ["loss_inspection"]


def loss_inspection(
    dataset: Dataset,
    losses: Mapping[int | str, npt.NDArray[np.float64]],
    predictions: Mapping[int | str, Predictions],
) -> Suspicion:
    """Return each box's out-of-fold training loss; a forgotten box is a prediction that no label explains.

    `losses`: (N,) for each image, NaN where the detector has no place that would learn the box: then the
    mean of all. An unmatched prediction of score s costs −ln(1 − s), its loss as background.
    """
    every = np.concatenate([np.zeros(0), *losses.values()])
    mean = float(np.nanmean(every)) if np.isfinite(every).any() else 0.0
    boxes, missing = [], []
    for image in dataset.images:
        boxes.append(np.nan_to_num(losses[image.id], nan=mean))
        own = predictions[image.id]
        alone = np.setdiff1d(np.arange(len(own.scores)), match(image, own)[0])
        highest = float(own.scores[alone].max()) if len(alone) else 0.0
        missing.append(float(-np.log1p(-min(highest, 0.999))))
    return Suspicion.of_boxes("loss inspection", dataset, boxes, missing)
