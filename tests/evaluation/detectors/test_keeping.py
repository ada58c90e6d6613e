"""A detector is trained once for each training set and seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from metricsmith.evaluation.dataset import Box, Image
from metricsmith.evaluation.detectors import KeepingDetector
from metricsmith.evaluation.progress import Progress, silent
from metricsmith.sandbox import Predictions


class Counting:
    name = "counting"

    def __init__(self) -> None:
        self.trained = 0

    def prepare(self, images: Sequence[Image], progress: Progress = silent) -> None:
        pass

    def train(
        self, images: Sequence[Image], class_names: Sequence[str], *, seed: int, progress: Progress = silent
    ) -> Counting:
        self.trained += 1
        return Counting()

    def predict(self, images: Sequence[Image], progress: Progress = silent) -> list[Predictions]:
        return []


def picture(number: int, left: float = 1) -> Image:
    return Image(number, Path(f"{number}.png"), f"{number}.png", 9, 9, (Box(1, 0, (left, 1.0, 5.0, 5.0)),))


def test_only_what_differs_is_trained_again() -> None:
    counting = Counting()
    detector = KeepingDetector(counting)
    first = detector.train([picture(1), picture(2)], ["cat"], seed=0)
    assert detector.train([picture(1), picture(2)], ["cat"], seed=0) is first
    moved = [picture(1, 2), picture(2)]
    elsewhere = [replace(picture(1), path=Path("x/1.png")), picture(2)]
    for images, names, seed in [
        ([picture(1), picture(2)], ["cat"], 1),
        ([picture(1), picture(2)], ["dog"], 0),
        ([picture(2), picture(1)], ["cat"], 0),
        ([picture(1)], ["cat"], 0),
        (moved, ["cat"], 0),
        (elsewhere, ["cat"], 0),
    ]:
        assert detector.train(images, names, seed=seed) is not first
    assert counting.trained == 7
    assert detector.name == "counting"


def test_the_oldest_makes_room() -> None:
    counting = Counting()
    detector = KeepingDetector(counting, most=2)
    for number in (1, 2, 3, 3, 2, 1):
        detector.train([picture(number)], ["cat"], seed=0)
    assert counting.trained == 4, "only the first had to be trained again"
