import numpy as np
from metricsmith.sandbox import Metric, Sample


class NeighbourSizeExcess(Metric):
    """Low: every box is as large as or smaller than in the neighbouring frames; high: a box is larger than its neighbours, or missing.

    With a the log area of a box and p, n the log areas of the nearest box in the
    previous and the next frame, a box scores
    0.5 * (a - min(p, n)) + 0.5 * max(0, a - max(p, n)), not clipped;
    with one neighbour m only, a - m; with none, 0. The image gets the score of
    its worst (highest) box. An image without boxes gets 3 if a neighbouring
    frame has a box, else 2.
    """

    level = "image"
    suspicious = "high"

    MIN_AREA = 1.0  # square pixels; keeps the logarithm of degenerate boxes finite
    MISSING_BESIDE_BOX = 3.0
    MISSING = 2.0

    @staticmethod
    def _as_boxes(boxes):
        if boxes is None:
            return np.zeros((0, 4), dtype=np.float64)
        return np.asarray(boxes, dtype=np.float64).reshape(-1, 4)

    @classmethod
    def _log_areas(cls, boxes):
        width = np.maximum(boxes[:, 2] - boxes[:, 0], 0.0)
        height = np.maximum(boxes[:, 3] - boxes[:, 1], 0.0)
        return np.log(np.maximum(width * height, cls.MIN_AREA))

    @classmethod
    def _nearest_log_areas(cls, boxes, others):
        """Log area of the box in others with the nearest centre; None without any."""
        if len(others) == 0:
            return None
        centres = 0.5 * (boxes[:, :2] + boxes[:, 2:])
        other_centres = 0.5 * (others[:, :2] + others[:, 2:])
        difference = centres[:, None, :] - other_centres[None, :, :]
        nearest = np.argmin(np.sum(difference * difference, axis=2), axis=1)
        return cls._log_areas(others)[nearest]

    def measure(self, sample: Sample) -> float:
        boxes = self._as_boxes(sample.boxes)
        previous = self._as_boxes(sample.previous_boxes)
        following = self._as_boxes(sample.next_boxes)

        if len(boxes) == 0:
            if len(previous) > 0 or len(following) > 0:
                return self.MISSING_BESIDE_BOX
            return self.MISSING

        area = self._log_areas(boxes)
        before = self._nearest_log_areas(boxes, previous)
        after = self._nearest_log_areas(boxes, following)

        if before is not None and after is not None:
            smaller = np.minimum(before, after)
            larger = np.maximum(before, after)
            scores = 0.5 * (area - smaller) + 0.5 * np.maximum(0.0, area - larger)
        elif before is not None:
            scores = area - before
        elif after is not None:
            scores = area - after
        else:
            return 0.0

        return float(np.max(scores))
