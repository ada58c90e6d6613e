"""Distance of each box from the image's border."""

import numpy as np

from metricsmith.sandbox import Metric, Sample


class BorderDistance(Metric):
    """Pixels between each box and the nearest edge of the image; low means cut off or forgotten halfway."""

    level = "object"
    suspicious = "low"

    def measure(self, sample: Sample) -> np.ndarray:
        height, width = sample.image.shape[:2]
        gaps = np.concatenate([sample.boxes[:, :2], np.array([width, height]) - sample.boxes[:, 2:]], axis=1)
        return gaps.min(axis=1)
