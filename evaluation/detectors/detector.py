"""What every detector can do: train on images, then predict others.

A detector is a recipe with fixed settings; only its training set and its seed change between trials. This
module holds no detector.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from metricsmith.sandbox import Predictions

from ..dataset import Image
from ..progress import Progress, silent

__all__ = ["Detector", "Job", "TellsLosses", "Trained", "TrainsAhead", "train_ahead"]


class Trained(Protocol):
    """A detector after training."""

    def predict(self, images: Sequence[Image], progress: Progress = silent) -> list[Predictions]:
        """Return at most 100 predictions for each image, in pixels of the image file."""
        ...


@runtime_checkable
class TellsLosses(Protocol):
    """A trained detector that can say how badly each label fits what it learnt."""

    def box_losses(self, images: Sequence[Image]) -> list[npt.NDArray[np.float64]]:
        """Return for each image the training loss of each of its boxes, (N,); NaN for boxes never learnt."""
        ...


class Job(NamedTuple):
    """One training, as `Detector.train` is asked for it."""

    images: Sequence[Image]
    class_names: Sequence[str]
    seed: int
    to_predict: Sequence[Image] = ()
    """What the trained detector will be asked for, if that is known."""


class Detector(Protocol):
    """A detector before training."""

    name: str
    """What the command line calls it."""

    def prepare(self, images: Sequence[Image], progress: Progress = silent) -> None:
        """Do once what all trials share; training and prediction would otherwise do it themselves."""
        ...

    def train(
        self, images: Sequence[Image], class_names: Sequence[str], *, seed: int, progress: Progress = silent
    ) -> Trained:
        """Return the detector trained on the images' boxes, bit for bit the same for the same seed.

        Images without boxes are negatives; crowd boxes are left out. DetectorError: there are no images.
        """
        ...


@runtime_checkable
class TrainsAhead(Protocol):
    """A detector that trains several times at once faster than one after the other."""

    def train_ahead(self, jobs: Sequence[Job], progress: Progress = silent) -> None:
        """Do these trainings and predictions, so that `train` and `predict` find them done."""
        ...


def train_ahead(detector: Detector, jobs: Sequence[Job], progress: Progress = silent) -> None:
    """Have a detector do this work at once if it can; others do each training when it is asked for."""
    if isinstance(detector, TrainsAhead):
        detector.train_ahead(jobs, progress)
