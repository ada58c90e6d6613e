"""How much faster hotcoco evaluates than pycocotools, and whether it finds the same, in one run.

Prints nothing; see `metricsmith bench coco`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metricsmith.sandbox import Predictions

from .coco_eval import CocoStats, Evaluator, evaluate
from .dataset import Box, Image

__all__ = ["Comparison", "compare"]

_NAMES = tuple(f"class {number}" for number in range(10))
_SIZE = 640


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both evaluators on the same images."""

    pycocotools: float
    """Wall-clock seconds."""
    hotcoco: float
    """Wall-clock seconds."""
    difference: float
    """The largest absolute difference among the 12 statistics."""

    @property
    def ratio(self) -> float:
        """How many times as fast hotcoco is."""
        return self.pycocotools / self.hotcoco


def compare(images: int, seed: int = 0) -> Comparison:
    """Evaluate `images` drawn at random, with about 8 boxes and 40 predictions each, in 10 classes."""
    rng = np.random.default_rng(seed)
    truth = [_image(number, rng) for number in range(images)]
    found = [_predictions(image, rng) for image in truth]
    slow, slow_seconds = _timed(truth, found, "pycocotools")
    fast, fast_seconds = _timed(truth, found, "hotcoco")
    difference = max(abs(a - b) for a, b in zip(slow.twelve, fast.twelve, strict=True))
    return Comparison(slow_seconds, fast_seconds, difference)


def _timed(
    images: Sequence[Image], predictions: Sequence[Predictions], evaluator: Evaluator
) -> tuple[CocoStats, float]:
    start = time.perf_counter()
    statistics = evaluate(images, predictions, _NAMES, evaluator=evaluator)
    return statistics, time.perf_counter() - start


def _image(number: int, rng: np.random.Generator) -> Image:
    boxes = []
    for place in range(int(rng.integers(0, 16))):
        side = np.exp(rng.uniform(np.log(8), np.log(400), 2))
        corner = rng.uniform(0, np.maximum(_SIZE - side, 1))
        xywh = (float(corner[0]), float(corner[1]), float(side[0]), float(side[1]))
        crowd = bool(rng.random() < 0.02)
        boxes.append(Box(1000 * number + place, int(rng.integers(len(_NAMES))), xywh, crowd=crowd))
    return Image(number, Path(f"{number}.jpg"), f"{number}.jpg", _SIZE, _SIZE, tuple(boxes))


def _predictions(image: Image, rng: np.random.Generator) -> Predictions:
    """Each box three times, more or less shifted, and 16 false ones."""
    exact = np.repeat(image.xyxy, 3, axis=0)
    near = exact + rng.normal(0, 0.08, exact.shape) * np.tile(exact[:, 2:] - exact[:, :2], 2)
    corner = rng.uniform(0, 500, (16, 2))
    false = np.concatenate([corner, corner + rng.uniform(8, 140, (16, 2))], axis=1)
    labels = np.concatenate([np.repeat(image.labels, 3), rng.integers(0, len(_NAMES), 16)])
    boxes = np.concatenate([near, false]).astype(np.float32)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    scores = rng.uniform(0.02, 1, len(boxes)).astype(np.float32)
    order = np.argsort(-scores)
    return Predictions(boxes[order], labels[order], scores[order])
