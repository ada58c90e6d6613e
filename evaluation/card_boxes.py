"""What the boxes of a data set look like without their pixels: shape, place, overlap, motion.

Nothing is summed up here: every fact is an array with one value a box.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .boxes import clipped_xyxy, iou
from .dataset import Dataset, Image
from .samples import neighbours

__all__ = ["SHAPE", "BoxFacts", "box_facts", "count_changes", "usable"]

Floats = npt.NDArray[np.float64]

SHAPE = ("width px", "height px", "√area px", "% of image", "width/height", "to border px")


@dataclass(frozen=True, slots=True)
class BoxFacts:
    """Facts about the N usable boxes of a data set, in its order."""

    image: npt.NDArray[np.int64]
    """(N,) position of the box's image in the data set."""
    label: npt.NDArray[np.int64]
    """(N,) class."""
    xyxy: Floats
    """(N, 4) pixels, clipped to the image."""
    shape: Floats
    """(N, 6) the measurements named in `SHAPE`; `to border` is the least of the four distances."""
    overlap_same: Floats
    """(N,) the greatest IoU with another box of the same class in the image; 0 where there is none."""
    overlap_other: Floats
    """(N,) the greatest IoU with a box of another class in the image; 0 where there is none."""
    motion: Floats
    """(N, 3) against the box of the same class in the previous frame with the greatest IoU, or where none
    overlaps the nearest: shift of the centre in units of that box's √area, ratio of areas, IoU. NaN where
    there is no such box."""


def usable(image: Image) -> npt.NDArray[np.bool_]:
    """Which of the image's boxes are one object with an area, within the image: (N,) bool."""
    boxes = clipped_xyxy(image)
    crowd = np.array([box.crowd for box in image.boxes], bool)
    return np.asarray((boxes[:, 2:] > boxes[:, :2]).all(axis=1) & ~crowd)


def box_facts(dataset: Dataset) -> BoxFacts:
    """The facts of all usable boxes."""
    beside = neighbours(dataset.images)
    parts = []
    for position, image in enumerate(dataset.images):
        previous, _ = beside.get(image.id, (None, None))
        if len(image.boxes):
            parts.append(_of_image(position, image, previous))
    if not parts:
        return BoxFacts(*(np.zeros((0, *tail), kind) for kind, tail in _COLUMNS))
    return BoxFacts(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def count_changes(dataset: Dataset, label: int) -> tuple[float, float]:
    """How often the number of a class's boxes changes between frames, as two shares in [0, 1].

    The share of frames with a previous one that differ from it, and the share of frames with both
    neighbours that differ from both while these agree. 0 where there are no such frames.
    """
    changes, flickers = [], []
    count = {image.id: int((image.labels[usable(image)] == label).sum()) for image in dataset.images}
    for image_id, (previous, following) in neighbours(dataset.images).items():
        if previous is not None:
            changes.append(count[image_id] != count[previous.id])
            if following is not None:
                flickers.append(count[image_id] != count[previous.id] == count[following.id])
    return _share(changes), _share(flickers)


_COLUMNS: tuple[tuple[type, tuple[int, ...]], ...] = (
    *((np.int64, ()), (np.int64, ()), (np.float64, (4,)), (np.float64, (len(SHAPE),))),
    *((np.float64, ()), (np.float64, ()), (np.float64, (3,))),
)


def _of_image(position: int, image: Image, previous: Image | None) -> tuple[npt.NDArray[np.generic], ...]:
    keep = usable(image)
    boxes, labels = clipped_xyxy(image)[keep].astype(np.float64), image.labels[keep]
    overlap = iou(boxes, boxes)
    np.fill_diagonal(overlap, 0)
    same = labels[:, None] == labels[None]
    return (
        np.full(len(boxes), position),
        labels,
        boxes,
        _shape(boxes, image.width, image.height),
        np.where(same, overlap, 0).max(axis=1, initial=0),
        np.where(same, 0, overlap).max(axis=1, initial=0),
        _motion(boxes, labels, previous),
    )


def _shape(boxes: Floats, width: int, height: int) -> Floats:
    sides = boxes[:, 2:] - boxes[:, :2]
    area = sides.prod(axis=1)
    border = np.minimum(boxes[:, :2], np.array([width, height]) - boxes[:, 2:]).min(axis=1)
    return np.column_stack(
        [sides, np.sqrt(area), 100 * area / (width * height), sides[:, 0] / sides[:, 1], border]
    )


def _motion(boxes: Floats, labels: npt.NDArray[np.int64], previous: Image | None) -> Floats:
    found = np.full((len(boxes), 3), np.nan)
    if previous is None:
        return found
    keep = usable(previous)
    earlier, earlier_labels = clipped_xyxy(previous)[keep].astype(np.float64), previous.labels[keep]
    for label in np.unique(labels):
        mine, theirs = labels == label, earlier[earlier_labels == label]
        if not len(theirs):
            continue
        overlap = iou(boxes[mine], theirs)
        apart = np.linalg.norm(_centres(boxes[mine])[:, None] - _centres(theirs)[None], axis=-1)
        match = np.where(overlap.max(axis=1) > 0, overlap.argmax(axis=1), apart.argmin(axis=1))
        rows = np.arange(len(match))
        size = np.sqrt(_areas(theirs)[match])
        found[mine] = np.column_stack(
            [apart[rows, match] / size, _areas(boxes[mine]) / size**2, overlap[rows, match]]
        )
    return found


def _centres(boxes: Floats) -> Floats:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def _areas(boxes: Floats) -> Floats:
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))


def _share(flags: list[bool]) -> float:
    return sum(flags) / len(flags) if flags else 0.0
