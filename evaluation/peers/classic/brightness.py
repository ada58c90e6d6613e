"""Mean brightness of the image."""

import numpy as np

from metricsmith.sandbox import Metric, Sample


class Brightness(Metric):
    """Mean of all pixels; very dark and very bright images are hard to annotate."""

    level = "image"
    suspicious = "both"

    def measure(self, sample: Sample) -> float:
        return float(np.mean(sample.image))
