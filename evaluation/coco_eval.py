"""The twelve COCO statistics of a detector's predictions, from either of two evaluators.

`pycocotools` is the reference; `hotcoco` gives the same numbers many times faster and is the default. This
module trains nothing and judges nothing: see `trials`.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import hotcoco
import numpy as np
from pycocotools import coco, cocoeval

from metricsmith.sandbox import Predictions

from .dataset import Image

__all__ = ["CocoStats", "Evaluator", "evaluate", "open_evaluation"]

Evaluator = Literal["hotcoco", "pycocotools"]


@dataclass(frozen=True, slots=True)
class CocoStats:
    """COCO's twelve statistics, each in [0, 1], or −1 where there is no box to find, as pycocotools has it.

    In pycocotools' order. Small, medium and large are boxes of an area below 32², up to 96², and above.
    """

    map: float
    """Average precision, the mean over IoU 0.50, 0.55, …, 0.95."""
    ap50: float
    """Average precision at IoU 0.50."""
    ap75: float
    """Average precision at IoU 0.75."""
    ap_small: float
    """`map` of the small boxes."""
    ap_medium: float
    """`map` of the medium boxes."""
    ap_large: float
    """`map` of the large boxes."""
    ar1: float
    """Average recall with the best prediction of each image and class, the mean over the IoUs of `map`."""
    ar10: float
    """Average recall with the 10 best predictions of each image and class."""
    ar100: float
    """Average recall with the 100 best predictions of each image and class."""
    ar_small: float
    """`ar100` of the small boxes."""
    ar_medium: float
    """`ar100` of the medium boxes."""
    ar_large: float
    """`ar100` of the large boxes."""
    by_class: dict[str, float] = field(default_factory=dict)
    """`map` of each class that has a box to find; it is none of COCO's twelve."""

    @property
    def twelve(self) -> tuple[float, ...]:
        """COCO's own, in pycocotools' order."""
        return tuple(getattr(self, name) for name in _TWELVE)


_TWELVE = [one.name for one in fields(CocoStats) if one.name != "by_class"]


def evaluate(
    images: Sequence[Image],
    predictions: Sequence[Predictions],
    class_names: Sequence[str],
    *,
    evaluator: Evaluator = "hotcoco",
) -> CocoStats:
    """Return the statistics of `predictions`, one entry an image, against the images' own boxes.

    Crowd boxes are ignored as COCO ignores them. Without any box to find every statistic is −1.
    """
    run = open_evaluation(images, predictions, class_names, evaluator=evaluator)
    with contextlib.redirect_stdout(io.StringIO()):
        run.accumulate()
        run.summarize()
    twelve = {name: float(value) for name, value in zip(_TWELVE, run.stats, strict=True)}
    return CocoStats(**twelve, by_class=_by_class(run, class_names))


def open_evaluation(
    images: Sequence[Image],
    predictions: Sequence[Predictions],
    class_names: Sequence[str],
    *,
    evaluator: Evaluator = "hotcoco",
) -> Any:
    """Return the evaluator's own `COCOeval`, after `evaluate()`: for all that it can tell besides.

    Its images, labels and predictions are numbered from 1, in the order given.
    """
    frame, truth, found = _documents(images, predictions, class_names)
    # Both evaluators print their progress and their table.
    with contextlib.redirect_stdout(io.StringIO()):
        if evaluator == "hotcoco":
            run = hotcoco.COCOeval(hotcoco.COCO(frame | truth), hotcoco.COCO(frame | found), "bbox")
        else:
            run = cocoeval.COCOeval(_reference(frame | truth), _reference(frame | found), "bbox")
        run.evaluate()
    return run


def _by_class(run: Any, class_names: Sequence[str]) -> dict[str, float]:
    """The mean precision over IoUs and recalls at all sizes, of each class that has a box to find."""
    precision = np.asarray(run.eval["precision"])  # (IoU, recall, class, size, most predictions)
    found = {name: precision[:, :, label, 0, -1] for label, name in enumerate(class_names)}
    return {name: float(values.mean()) for name, values in found.items() if (values > -1).all()}


def _documents(
    images: Sequence[Image], predictions: Sequence[Predictions], class_names: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """What labels and predictions share in COCO's format, and the annotations of either."""
    truth = [
        {
            "image_id": number,
            "category_id": box.label + 1,
            "bbox": list(box.xywh),
            "area": box.xywh[2] * box.xywh[3] if box.area is None else box.area,
            "iscrowd": int(box.crowd),
        }
        for number, image in enumerate(images, 1)
        for box in image.boxes
    ]
    found = [
        {
            "image_id": number,
            "category_id": label + 1,
            "bbox": [left, top, right - left, bottom - top],
            "area": (right - left) * (bottom - top),
            "iscrowd": 0,
            "score": score,
        }
        for number, (_, prediction) in enumerate(zip(images, predictions, strict=True), 1)
        for (left, top, right, bottom), label, score in zip(
            prediction.boxes.tolist(), prediction.labels.tolist(), prediction.scores.tolist(), strict=True
        )
    ]
    frame = {
        "images": [
            {"id": number, "width": image.width, "height": image.height}
            for number, image in enumerate(images, 1)
        ],
        "categories": [{"id": number, "name": name} for number, name in enumerate(class_names, 1)],
    }
    return frame, _numbered(truth), _numbered(found)


def _numbered(annotations: list[dict[str, Any]]) -> dict[str, Any]:
    # Ids start at 1: pycocotools takes a match with id 0 for no match.
    return {"annotations": [{"id": number, **item} for number, item in enumerate(annotations, 1)]}


def _reference(document: dict[str, Any]) -> Any:
    # Not `loadRes`: it fails on an empty list.
    index = coco.COCO()
    index.dataset = document
    index.createIndex()
    return index
