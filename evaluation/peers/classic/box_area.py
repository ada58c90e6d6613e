"""Area of each box."""

import numpy as np

from metricsmith.sandbox import Metric, Sample


class BoxArea(Metric):
    """Share of the image that each box covers; very small and very large boxes are unusual."""

    level = "object"
    suspicious = "both"

    def measure(self, sample: Sample) -> np.ndarray:
        width = sample.boxes[:, 2] - sample.boxes[:, 0]
        height = sample.boxes[:, 3] - sample.boxes[:, 1]
        return width * height / (sample.image.shape[0] * sample.image.shape[1])
