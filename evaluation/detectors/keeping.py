"""A detector that keeps what it trained in this process, so that test looks at the very detectors val judged.

Training is deterministic, so keeping changes no number, only the time. Nothing is written to disk, and of
large detectors only the last few are kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from ..dataset import Image
from ..progress import Progress, silent
from .detector import Detector, Job, Trained, train_ahead

__all__ = ["KeepingDetector"]


class KeepingDetector:
    """Implements `Detector` by another one, which is trained once for each training set and seed."""

    def __init__(self, detector: Detector, most: int = 1000) -> None:
        """Train with `detector`, and keep at most `most` of what it trained."""
        self.name = detector.name
        self._detector = detector
        self._most = most
        self._kept: dict[str, Trained] = {}

    def prepare(self, images: Sequence[Image], progress: Progress = silent) -> None:
        """Do once what all trials share."""
        self._detector.prepare(images, progress)

    def train_ahead(self, jobs: Sequence[Job], progress: Progress = silent) -> None:
        """Have the other detector do these trainings at once, if it can."""
        train_ahead(self._detector, jobs, progress)

    def train(
        self, images: Sequence[Image], class_names: Sequence[str], *, seed: int, progress: Progress = silent
    ) -> Trained:
        """Return the trained detector, the kept one if the images, boxes, classes and seed are the same."""
        facts = [(str(i.path), [(box.label, box.xywh, box.crowd) for box in i.boxes]) for i in images]
        key = hashlib.sha256(repr((seed, tuple(class_names), facts)).encode()).hexdigest()
        if key not in self._kept:
            trained = self._detector.train(images, class_names, seed=seed, progress=progress)
            if len(self._kept) >= self._most:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = trained
        return self._kept[key]
