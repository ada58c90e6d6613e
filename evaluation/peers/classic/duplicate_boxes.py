"""Overlap of each box with the others of its class."""

import numpy as np

from metricsmith.sandbox import Metric, Sample


class DuplicateBoxes(Metric):
    """Highest IoU of each box with another box of its class; high means annotated twice."""

    level = "object"
    suspicious = "high"

    def measure(self, sample: Sample) -> np.ndarray:
        boxes = sample.boxes.astype(np.float64)
        low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
        high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
        shared = np.prod(np.maximum(high - low, 0), axis=2)
        area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
        overlap = shared / np.maximum(area[:, None] + area[None] - shared, 1e-9)
        overlap[sample.labels[:, None] != sample.labels[None]] = 0
        np.fill_diagonal(overlap, 0)
        return overlap.max(axis=1, initial=0)
