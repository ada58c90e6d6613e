from __future__ import annotations

from pathlib import Path

import numpy as np
import pycocotools.mask
import pytest

from metricsmith.evaluation.boxes import clipped_xyxy, iou
from metricsmith.evaluation.dataset import Box, Image


def test_iou_equals_pycocotools() -> None:
    rng = np.random.default_rng(0)
    a, b = (
        np.sort(rng.integers(0, 40, (n, 2, 2)), axis=1).reshape(n, 4).astype(np.float32) for n in (60, 50)
    )
    xywh = [np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).astype(float) for boxes in (a, b)]
    ours = iou(a, b)
    assert ours.shape == (60, 50)
    has_area = (np.prod(xywh[0][:, 2:], 1) > 0)[:, None] & (np.prod(xywh[1][:, 2:], 1) > 0)[None]
    theirs = pycocotools.mask.iou(xywh[0], xywh[1], [0] * 50)
    np.testing.assert_allclose(ours[has_area], theirs[has_area], rtol=1e-12)
    assert (ours > 0).sum() > 100


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (2, 0)])
def test_iou_of_no_boxes_is_empty(n: int, m: int) -> None:
    assert iou(np.zeros((n, 4)), np.zeros((m, 4))).shape == (n, m)


def test_iou_of_boxes_without_area_is_zero() -> None:
    point = np.array([[3.0, 3.0, 3.0, 3.0]])
    assert iou(point, point).tolist() == [[0.0]]


def test_clipped_boxes_end_at_the_edges() -> None:
    boxes = (Box(1, 0, (-1, -0.5, 11.5, 21)), Box(2, 0, (2, 3, 4, 5)))
    image = Image(1, Path("a.jpg"), "a.jpg", width=10, height=20, boxes=boxes)
    assert clipped_xyxy(image).tolist() == [[0, 0, 10, 20], [2, 3, 6, 8]]
    assert clipped_xyxy(image).dtype == np.float32


def test_an_image_without_boxes_has_an_empty_array() -> None:
    assert clipped_xyxy(Image(1, Path("a.jpg"), "a.jpg", width=10, height=20)).shape == (0, 4)
