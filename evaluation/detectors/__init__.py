"""The detectors that a curation is tried with."""

from __future__ import annotations

from pathlib import Path

from metricsmith.sandbox.errors import DetectorError

from .detector import Detector, Job, TellsLosses, Trained, train_ahead
from .fine_tuned import ARCHITECTURES, FineTunedDetector, FineTuning
from .keeping import KeepingDetector
from .proxy import ProxyDetector
from .proxy_settings import ProxySettings
from .team import cores

__all__ = [
    "ARCHITECTURES",
    "Detector",
    "FineTunedDetector",
    "FineTuning",
    "Job",
    "KeepingDetector",
    "ProxyDetector",
    "ProxySettings",
    "TellsLosses",
    "Trained",
    "cores",
    "make_detector",
    "train_ahead",
]


def make_detector(name: str, cache: Path, weights: Path | None = None) -> Detector:
    """Return the detector of this name; what its trials share lies under `cache`, what it trained in memory.

    `weights`: what a `torchvision:NAME` starts from; None: torchvision's own. DetectorError: there is no
    detector of this name, or it takes no weights.
    """
    if name == ProxyDetector.name:
        if weights is not None:
            raise DetectorError(
                f"{weights}: the proxy detector brings its weights along; leave --weights out"
            )
        return KeepingDetector(ProxyDetector(cache))
    kind, _, architecture = name.partition(":")
    if kind == "torchvision":
        return KeepingDetector(FineTunedDetector(architecture, weights=weights), most=6)
    raise DetectorError(
        f"there is no detector {name!r}; there are: {ProxyDetector.name}, "
        + ", ".join(f"torchvision:{known}" for known in ARCHITECTURES)
    )
