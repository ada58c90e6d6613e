"""The careless labeller: true masks in, harmed masks and what was done to them out.

Mistakes strike each object of each frame alike and independently; nothing looks at how hard a frame is.
Boxes without masks are harmed by `corruption`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from ..corruption import XYWH, Harm, Kind, enlarged, shifted

__all__ = ["RATE", "SHARES", "harm", "mask_box", "to_indices"]

Mask = npt.NDArray[np.bool_]

RATE = 0.41
"""Share of all objects that are mislabelled."""
SHARES: dict[Kind, float] = {"drop": 0.30, "enlarge": 0.40, "shift": 0.15, "misplace": 0.15}
"""How the mistakes divide into kinds."""
TRIES = 80
"""Places tried for an outline in the background."""


def mask_box(mask: Mask) -> XYWH | None:
    """Return the tight box of a mask, xywh pixels; None for an empty one."""
    x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
    return (float(x), float(y), float(w), float(h)) if w and h else None


def to_indices(masks: Mapping[int, Mask], shape: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return (H, W) uint8: the number of the object at each pixel, 0 where there is none; later ones win."""
    indices = np.zeros(shape, np.uint8)
    for number, mask in masks.items():
        indices[mask] = number
    return indices


def harm(
    image_id: str, truth: Mapping[int, Mask], others: Sequence[Mask], rng: np.random.Generator
) -> tuple[dict[int, Mask], list[Harm]]:
    """Return the masks that a careless labeller draws, and every mistake among them.

    A panda that fills too much of the frame to be outlined larger, or elsewhere, gets a shifted outline.
    Where a mistake covers an object that was labelled well, the good label stays on top.
    """
    names, shares = list(SHARES), list(SHARES.values())
    kinds: dict[int, Kind] = {}
    drawn: dict[int, Mask] = {}
    for number, mask in truth.items():
        struck, kind = rng.uniform() < RATE, names[int(rng.choice(len(names), p=shares))]
        if not struck:
            continue
        kinds[number] = kind
        if kind == "drop":
            continue
        wrong = None
        if kind == "enlarge":
            wrong = _enlarge(mask, rng)
        elif kind == "misplace":
            wrong = _misplace(mask, list(truth.values()), others, rng)
        if wrong is None:
            kinds[number], wrong = "shift", _shift(mask, rng)
        drawn[number] = wrong
    drawn |= {number: mask for number, mask in truth.items() if number not in kinds}

    # A mask holds one object a pixel, so what counts is what is left of each.
    indices = to_indices(drawn, next(iter(truth.values())).shape) if truth else None
    masks = {} if indices is None else {n: indices == n for n in sorted(drawn) if (indices == n).any()}
    harms = [
        Harm(
            image_id=image_id,
            box_id=f"{image_id}/{number}",
            kind=kind if number in masks else "drop",
            before=mask_box(truth[number]),
            after=mask_box(masks[number]) if number in masks else None,
            label_before=0,
            label_after=0 if number in masks else None,
        )
        for number, kind in sorted(kinds.items())
    ]
    return masks, harms


def _box(mask: Mask) -> XYWH:
    box = mask_box(mask)
    assert box is not None, "only objects in sight are labelled"
    return box


def _enlarge(mask: Mask, rng: np.random.Generator) -> Mask | None:
    """A rounded outline around far more than the object."""
    box = enlarged(_box(mask), mask.shape[1], mask.shape[0], rng)
    if box is None:
        return None
    left, top, right, bottom = round(box[0]), round(box[1]), round(box[0] + box[2]), round(box[1] + box[3])
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]] + 0.5
    across = (2 * x - left - right) / (right - left)
    down = (2 * y - top - bottom) / (bottom - top)
    return np.asarray((across**4 + down**4 <= 1) | mask, np.bool_)


def _shift(mask: Mask, rng: np.random.Generator) -> Mask:
    """The object's outline beside the object."""
    box = _box(mask)
    moved = shifted(box, mask.shape[1], mask.shape[0], rng)
    # A box cut at the left or upper edge has moved by more than its corner tells.
    dx = moved[0] - box[0] if moved[0] > 0 else moved[0] + moved[2] - box[0] - box[2]
    dy = moved[1] - box[1] if moved[1] > 0 else moved[1] + moved[3] - box[1] - box[3]
    return _moved(mask, round(dx), round(dy))


def _misplace(mask: Mask, truth: list[Mask], others: Sequence[Mask], rng: np.random.Generator) -> Mask | None:
    """A bystander's outline, or the object's own, maybe smaller, somewhere in the background."""
    if others:
        return others[int(rng.integers(len(others)))]
    rows, columns = mask.shape
    x, y, w, h = (int(v) for v in _box(mask))
    taken = np.zeros_like(mask)
    for other in truth:
        left, top, wide, high = (int(v) for v in _box(other))
        taken[top : top + high, left : left + wide] = True
    outline = mask[y : y + h, x : x + w].astype(np.uint8)
    for attempt in range(TRIES):
        # The more often there was no room, the smaller the outline.
        size = 0.97**attempt
        shape = (max(4, int(w * size)), max(4, int(h * size)))
        small = cv2.resize(outline, shape, interpolation=cv2.INTER_AREA) > 0
        left = int(rng.integers(0, columns - shape[0], endpoint=True))
        top = int(rng.integers(0, rows - shape[1], endpoint=True))
        place = (slice(top, top + shape[1]), slice(left, left + shape[0]))
        if not taken[place].any():
            result = np.zeros_like(mask)
            result[place] = small
            return result
    return None


def _moved(mask: Mask, dx: int, dy: int) -> Mask:
    matrix = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
    size = (mask.shape[1], mask.shape[0])
    moved = cv2.warpAffine(mask.astype(np.uint8), matrix, size, flags=cv2.INTER_NEAREST)
    return np.asarray(moved > 0, np.bool_)
