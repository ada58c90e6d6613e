"""What others do to find wrong labels, so that ours can be measured beside it.

Each method turns a data set and a detector's out-of-fold predictions into a `Suspicion`. They are here for
`metricsmith bench`; no run uses them.
"""

from .calibration import calibrated
from .diagnostics import diagnostics
from .losses import loss_inspection
from .metric_files import classic_metrics, score_files
from .mistakenness import mistakenness
from .objectlab import objectlab
from .suspicion import Suspicion

__all__ = [
    "Suspicion",
    "calibrated",
    "classic_metrics",
    "diagnostics",
    "loss_inspection",
    "mistakenness",
    "objectlab",
    "score_files",
]
