"""The metric interface, validation, and the process that generated code runs in.

Imports nothing else of MetricSmith, and no torch, so that it starts fast.
"""

from .interface import Metric, Predictions, Sample

__all__ = ["Metric", "Predictions", "Sample"]
