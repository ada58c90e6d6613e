"""Width over height of each box."""

import numpy as np

from metricsmith.sandbox import Metric, Sample


class AspectRatio(Metric):
    """Width over height of each box; very low and very high values are unusual shapes."""

    level = "object"
    suspicious = "both"

    def measure(self, sample: Sample) -> np.ndarray:
        width = sample.boxes[:, 2] - sample.boxes[:, 0]
        height = sample.boxes[:, 3] - sample.boxes[:, 1]
        return width / np.maximum(height, 1e-6)
