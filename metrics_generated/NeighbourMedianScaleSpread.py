import numpy as np
from metricsmith.sandbox import Metric, Sample


class NeighbourMedianScaleSpread(Metric):
    """Low: the largest aircraft is small and distant; high: it is large and near; neither is suspicious.

    The score is y = 0.5 * log(width * height) of the image's largest box, as the
    median over this frame and the boxes with the nearest centre in the previous and
    the next frame. Without a box in this frame it is the median of y of the
    neighbouring frames' largest boxes, and without those the data set median.
    """

    level = "image"
    suspicious = "none"

    # Boxes below one square pixel count as one, so that a degenerate box
    # gives y = 0 instead of an extreme outlier.
    MIN_AREA = 1.0

    @staticmethod
    def _as_boxes(boxes) -> np.ndarray:
        if boxes is None:
            return np.zeros((0, 4), dtype=np.float64)
        return np.asarray(boxes, dtype=np.float64).reshape(-1, 4)

    @classmethod
    def _log_scale(cls, boxes: np.ndarray) -> np.ndarray:
        width = np.maximum(boxes[:, 2] - boxes[:, 0], 0.0)
        height = np.maximum(boxes[:, 3] - boxes[:, 1], 0.0)
        return 0.5 * np.log(np.maximum(width * height, cls.MIN_AREA))

    @staticmethod
    def _centres(boxes: np.ndarray) -> np.ndarray:
        return 0.5 * (boxes[:, :2] + boxes[:, 2:])

    def measure(self, sample: Sample) -> np.ndarray:
        boxes = self._as_boxes(sample.boxes)
        neighbours = [
            self._as_boxes(sample.previous_boxes),
            self._as_boxes(sample.next_boxes),
        ]

        values = []
        if len(boxes) > 0:
            scales = self._log_scale(boxes)
            largest = int(np.argmax(scales))
            values.append(float(scales[largest]))
            centre = self._centres(boxes)[largest]
            for other in neighbours:
                if len(other) > 0:
                    distance = np.sum((self._centres(other) - centre) ** 2, axis=1)
                    nearest = int(np.argmin(distance))
                    values.append(float(self._log_scale(other)[nearest]))
        else:
            for other in neighbours:
                if len(other) > 0:
                    values.append(float(np.max(self._log_scale(other))))

        if not values:
            return np.array([0.0, 0.0], dtype=np.float64)
        return np.array([float(np.median(values)), 1.0], dtype=np.float64)

    def rank(self, measurements: np.ndarray) -> np.ndarray:
        rows = np.asarray(measurements, dtype=np.float64).reshape(-1, 2)
        scores = rows[:, 0].copy()
        known = rows[:, 1] > 0.5
        fallback = float(np.median(scores[known])) if np.any(known) else 0.0
        scores[~known] = fallback
        return scores
