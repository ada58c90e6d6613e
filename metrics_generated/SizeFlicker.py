import numpy as np
from scipy.optimize import linear_sum_assignment
from metricsmith.sandbox import Metric, Sample


class SizeFlicker(Metric):
    """Low: size and number of boxes continue in the neighbour frames; high: both neighbours contradict a size, an absence or an extra box.

    Per neighbour frame the boxes are matched one-to-one. A pair disagrees by
    min(1.5, |log width ratio| + |log height ratio|), an unmatched box on either
    side by 1.5; D is the greatest disagreement with that neighbour.
    Score = 0.75 * min(D_prev, D_next) + 0.25 * max(D_prev, D_next); with one
    neighbour its D; with none 0.
    """

    level = "image"
    suspicious = "high"

    CAP = 1.5
    MIN_SIDE = 1.0  # pixels; keeps the logarithms finite for degenerate boxes

    def _geometry(self, boxes):
        boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        centre = 0.5 * (boxes[:, :2] + boxes[:, 2:])
        size = np.maximum(boxes[:, 2:] - boxes[:, :2], self.MIN_SIDE)
        return centre, size

    def _disagreement(self, boxes, other_boxes):
        centre_a, size_a = self._geometry(boxes)
        centre_b, size_b = self._geometry(other_boxes)
        n, m = len(size_a), len(size_b)
        if n == 0 and m == 0:
            return 0.0
        if n != m:
            # At least one box stays unmatched, and no pair can exceed the cap.
            return self.CAP

        area_a = size_a[:, 0] * size_a[:, 1]
        area_b = size_b[:, 0] * size_b[:, 1]
        offset = centre_a[:, None, :] - centre_b[None, :, :]
        distance = np.sqrt((offset ** 2).sum(axis=2))
        mean_area = 0.5 * (area_a[:, None] + area_b[None, :])
        log_area = np.abs(np.log(area_a)[:, None] - np.log(area_b)[None, :])
        cost = distance / np.sqrt(mean_area) + log_area

        rows, cols = linear_sum_assignment(cost)
        log_ratio = np.abs(np.log(size_a[rows]) - np.log(size_b[cols]))
        pair = np.minimum(self.CAP, log_ratio.sum(axis=1))
        return float(pair.max())

    def measure(self, sample: Sample) -> float:
        found = [
            self._disagreement(sample.boxes, neighbour)
            for neighbour in (sample.previous_boxes, sample.next_boxes)
            if neighbour is not None
        ]
        if not found:
            return 0.0
        if len(found) == 1:
            return float(found[0])
        return float(0.75 * min(found) + 0.25 * max(found))
