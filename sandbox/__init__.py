"""The metric interface, validation, and the process that generated code runs in.

Imports nothing else of MetricSmith, and no torch, so that it starts fast.
"""

from .failure import Failure
from .interface import Level, Metric, Predictions, Sample, Suspicious
from .limits import Limits
from .runner import score
from .scores import Scores
from .validation import Check, check

__all__ = [
    "Check",
    "Failure",
    "Level",
    "Limits",
    "Metric",
    "Predictions",
    "Sample",
    "Scores",
    "Suspicious",
    "check",
    "score",
]
