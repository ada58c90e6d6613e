"""The detectors that a curation is tried with."""

from __future__ import annotations

from pathlib import Path

from metricsmith.sandbox.errors import DetectorError

from .detector import Detector, TellsLosses, Trained
from .keeping import KeepingDetector
from .proxy import ProxyDetector, ProxySettings

__all__ = [
    "Detector",
    "KeepingDetector",
    "ProxyDetector",
    "ProxySettings",
    "TellsLosses",
    "Trained",
    "make_detector",
]


def make_detector(name: str, cache: Path) -> Detector:
    """Return the detector of this name; what its trials share lies under `cache`, what it trained in memory.

    DetectorError: there is none of this name.
    """
    if name == ProxyDetector.name:
        return KeepingDetector(ProxyDetector(cache))
    raise DetectorError(f"there is no detector {name!r}; there is: {ProxyDetector.name}")
