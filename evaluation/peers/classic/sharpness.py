"""Variance of the Laplacian of the image."""

import cv2

from metricsmith.sandbox import Metric, Sample


class Sharpness(Metric):
    """Variance of the Laplacian; low means blurred."""

    level = "image"
    suspicious = "low"

    def measure(self, sample: Sample) -> float:
        gray = cv2.cvtColor(sample.image, cv2.COLOR_RGB2GRAY)
        return float(cv2.Laplacian(gray, cv2.CV_64F).var())
