"""What a detector gets wrong, by kind of error, by size and by video: where better labels could help.

The kinds are TIDE's (Bolya et al., 2020, arXiv:2008.08115), computed by hotcoco. Nothing is trained here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from statistics import fmean

import numpy as np
from pydantic import BaseModel, ConfigDict

from metricsmith.sandbox import Predictions

from .coco_eval import open_evaluation
from .dataset import Box, Image

__all__ = ["Errors", "Missed", "analyse", "errors_in_words"]

_KINDS = {
    "Miss": "missed",
    "Loc": "wrong place",
    "Cls": "wrong class",
    "Both": "wrong place and class",
    "Dupe": "duplicate",
    "Bkg": "background",
}
_WORST = 5


class Missed(BaseModel):
    """How many of some boxes no prediction of their class finds at IoU 0.5."""

    model_config = ConfigDict(frozen=True)

    boxes: int
    share: float
    """Mean over the detectors."""


class Errors(BaseModel):
    """The errors of detectors of one kind on one data set; means over them."""

    model_config = ConfigDict(frozen=True)

    ap50: float
    cost: dict[str, float]
    """By how much AP50 would rise if this kind of error were mended: TIDE's ΔAP. The dearest first.

    `missed`: no prediction near; `wrong place`: right class, IoU 0.1 to 0.5; `wrong class`: IoU above 0.5;
    `wrong place and class`; `duplicate`: the object was found already; `background`: nothing is there."""
    by_size: dict[str, Missed]
    """COCO's small (area below 32²), medium (up to 96²) and large boxes; absent sizes are left out."""
    by_group: dict[str, Missed]
    """The videos of which the largest share is missed, the worst first: up to five, of five boxes or more."""


def analyse(
    images: Sequence[Image], detectors: Sequence[Sequence[Predictions]], class_names: Sequence[str]
) -> Errors | None:
    """Return the errors of one or more detectors, each with its predictions, an entry an image.

    None where there is no box to find.
    """
    boxes = [(image, box) for image in images for box in image.boxes]
    places = [place for place, (_, box) in enumerate(boxes) if not box.crowd]
    if not places:
        return None
    labels = {boxes[place][1].label for place in places}
    ap50, cost = [], defaultdict[str, list[float]](list)
    found = np.zeros((len(detectors), len(boxes)), bool)
    for own, predictions in zip(found, detectors, strict=True):
        run = open_evaluation(images, predictions, class_names)
        tide = run.tide_errors(pos_thr=0.5, bg_thr=0.1)
        status = run.image_diagnostics(iou_thr=0.5, score_thr=0.0)["gt_status"]
        own[:] = [status.get(place + 1) == "matched" for place in range(len(boxes))]
        ap50.append(float(tide["ap_base"]))
        # TIDE gives nothing for a class that is never predicted, though finding its boxes would give all.
        predicted = {int(label) for one in predictions for label in one.labels}
        silent = len(labels - predicted) / len(labels)
        for kind, name in _KINDS.items():
            cost[name].append(float(tide["delta_ap"][kind]) + (silent if name == "missed" else 0.0))

    def missed(key: Callable[[Image, Box], str | None]) -> dict[str, Missed]:
        parts = defaultdict[str, list[int]](list)
        for place in places:
            if (name := key(*boxes[place])) is not None:
                parts[name].append(place)
        return {
            name: Missed(boxes=len(own), share=1 - float(found[:, own].mean()))
            for name, own in sorted(parts.items())
        }

    sizes = missed(lambda _, box: _size(box))
    groups = missed(lambda image, _: image.group)
    told = {name: part for name, part in groups.items() if part.boxes >= _WORST}
    return Errors(
        ap50=fmean(ap50),
        cost=dict(sorted(((n, fmean(c)) for n, c in cost.items()), key=lambda item: -item[1])),
        by_size={name: sizes[name] for name in ("small", "medium", "large") if name in sizes},
        by_group=dict(sorted(told.items(), key=lambda item: -item[1].share)[:_WORST]),
    )


def errors_in_words(errors: Errors | None) -> str:
    """Return the errors in a few lines of Markdown; None: that they are not known."""
    if errors is None:
        return "Not known."
    cost = ", ".join(f"{kind} {share:+.3f}" for kind, share in errors.cost.items())
    lines = [f"By how much AP50 ({errors.ap50:.3f}) would rise if one kind of error were mended: {cost}."]
    for what, parts in (("size", errors.by_size), ("video, the worst", errors.by_group)):
        if parts:
            missed = ", ".join(f"{name} {part.share:.0%} of {part.boxes}" for name, part in parts.items())
            lines.append(f"Boxes that no prediction finds at IoU 0.5, by {what}: {missed}.")
    return "\n".join(f"- {line}" for line in lines)


def _size(box: Box) -> str:
    area = box.xywh[2] * box.xywh[3] if box.area is None else box.area
    return "small" if area < 32**2 else "medium" if area <= 96**2 else "large"
