"""Arithmetic on boxes as arrays, xyxy pixels throughout.

Boxes have no pixel offsets here: (0, 0, 1, 1) covers one pixel and has area 1, as in COCO.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .dataset import Image

__all__ = ["clipped_xyxy", "iou", "learnable"]


def clipped_xyxy(image: Image) -> npt.NDArray[np.float32]:
    """The image's boxes cut off at its edges, (N, 4) float32 xyxy pixels.

    Image.boxes are as written, and the readers let them stand out a little.
    """
    limits = np.array([image.width, image.height, image.width, image.height], np.float32)
    return np.clip(image.xyxy, np.float32(0), limits)


def learnable(image: Image, xyxy: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Which of the image's boxes, given as `xyxy`, a detector learns: no crowds, none without area; (N,)."""
    usable = np.array([not box.crowd for box in image.boxes], bool)
    usable &= (xyxy[:, 2:] - xyxy[:, :2] > 0).all(axis=1)
    return usable


def iou(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Intersection over union of each of `a` (N, 4) with each of `b` (M, 4): (N, M) float64 in [0, 1].

    N or M may be 0. Two boxes without area have an IoU of 0.
    """
    first, second = np.asarray(a, np.float64)[:, None], np.asarray(b, np.float64)[None]
    sides = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2])
    shared = np.prod(np.maximum(sides, 0), axis=-1)
    union = np.prod(first[..., 2:] - first[..., :2], axis=-1) - shared
    union = union + np.prod(second[..., 2:] - second[..., :2], axis=-1)
    result: npt.NDArray[np.float64] = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return result
