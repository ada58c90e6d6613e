import numpy as np
from scipy.optimize import linear_sum_assignment

from metricsmith.sandbox import Metric, Sample


class NeighbourAreaPeak(Metric):
    """Low: the box is no larger than in the neighbouring frames; high: it is larger than in both, or left out.

    With a box: r = ln(area / neighbour's area) for the previous and for the next
    frame, and the smaller r counts, so that only a local peak is high and not a
    steady approach or recession. If only one neighbour has a box, its r counts;
    if none has, 0. Clipped to [-2, 2]. With several boxes, each is matched one to
    one to the boxes of a neighbour and the highest score of a box is the image's.
    Without a box: 3 if a neighbour has a box, else 2.5.
    """

    level = "image"
    suspicious = "high"

    LIMIT = 2.0
    GAP = 3.0
    EMPTY = 2.5

    @staticmethod
    def _boxes(boxes) -> np.ndarray:
        if boxes is None:
            return np.zeros((0, 4), dtype=np.float64)
        return np.asarray(boxes, dtype=np.float64).reshape(-1, 4)

    @staticmethod
    def _log_area(boxes: np.ndarray) -> np.ndarray:
        width = np.maximum(boxes[:, 2] - boxes[:, 0], 0.0)
        height = np.maximum(boxes[:, 3] - boxes[:, 1], 0.0)
        return np.log(np.maximum(width * height, 1e-6))

    @classmethod
    def _log_ratios(cls, boxes, labels, other, other_labels) -> np.ndarray:
        """ln(area / area of the matched box) for each box; inf where none is matched."""
        ratios = np.full(len(boxes), np.inf)
        if len(boxes) == 0 or len(other) == 0:
            return ratios
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2.0
        other_centres = (other[:, :2] + other[:, 2:]) / 2.0
        cost = np.hypot(
            centres[:, None, 0] - other_centres[None, :, 0],
            centres[:, None, 1] - other_centres[None, :, 1],
        )
        if other_labels is not None:
            labels = np.asarray(labels).reshape(-1)
            other_labels = np.asarray(other_labels).reshape(-1)
            if len(labels) == len(boxes) and len(other_labels) == len(other):
                # A box of the same class is always preferred.
                cost = cost + 1e5 * (labels[:, None] != other_labels[None, :])
        rows, columns = linear_sum_assignment(cost)
        ratios[rows] = cls._log_area(boxes)[rows] - cls._log_area(other)[columns]
        return ratios

    def measure(self, sample: Sample) -> float:
        boxes = self._boxes(sample.boxes)
        previous = self._boxes(sample.previous_boxes)
        following = self._boxes(sample.next_boxes)

        if len(boxes) == 0:
            if len(previous) > 0 or len(following) > 0:
                return self.GAP
            return self.EMPTY

        before = self._log_ratios(boxes, sample.labels, previous, sample.previous_labels)
        after = self._log_ratios(boxes, sample.labels, following, sample.next_labels)
        # An unmatched side is inf, so the minimum is the other side's ratio.
        smaller = np.minimum(before, after)
        smaller = np.where(np.isfinite(smaller), smaller, 0.0)
        return float(np.clip(np.max(smaller), -self.LIMIT, self.LIMIT))
