from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from metricsmith.evaluation.card_boxes import SHAPE, box_facts, count_changes, usable
from metricsmith.evaluation.dataset import Box, Dataset, Image


def video(*frames, size=(100, 50), group="v"):
    """A data set of one video; a frame is a list of (label, x, y, w, h)."""
    images, boxes = [], 0
    for number, frame in enumerate(frames):
        own = tuple(Box(boxes + k, label, xywh) for k, (label, *xywh) in enumerate(frame))
        boxes += len(own)
        images.append(Image(number, Path(f"{number}"), f"{number}", *size, own, group, number))
    return Dataset("toy", Path(), tuple(images), ("cat", "dog"))


def test_shape_of_a_hand_made_box():
    facts = box_facts(video([(0, 10, 5, 40, 10)]))
    shape = dict(zip(SHAPE, facts.shape[0], strict=True))
    assert shape == {
        "width px": 40,
        "height px": 10,
        "√area px": 20,
        "% of image": 8,
        "width/height": 4,
        "to border px": 5,
    }


def test_box_over_the_edge_is_cut_off():
    facts = box_facts(video([(0, 90, 10, 30, 10)]))
    assert facts.xyxy.tolist() == [[90, 10, 100, 20]]
    assert facts.shape[0, SHAPE.index("to border px")] == 0


def test_crowds_and_boxes_without_area_are_left_out():
    dataset = video([(0, 1, 1, 5, 5), (0, 2, 2, 0, 4), (0, 3, 3, 4, 4)])
    image = dataset.images[0]
    image = replace(image, boxes=(*image.boxes[:2], replace(image.boxes[2], crowd=True)))
    assert usable(image).tolist() == [True, False, False]
    assert len(box_facts(dataset.with_images([image])).label) == 1


def test_overlap_counts_same_and_other_classes_apart():
    facts = box_facts(video([(0, 0, 0, 10, 10), (0, 0, 0, 10, 5), (1, 5, 0, 10, 10)]))
    assert facts.overlap_same.tolist() == [0.5, 0.5, 0]
    assert facts.overlap_other == pytest.approx([1 / 3, 25 / 125, 1 / 3])


def test_motion_against_the_box_that_overlaps_most():
    facts = box_facts(video([(0, 0, 0, 20, 20), (0, 50, 0, 20, 20)], [(0, 5, 0, 20, 20), (0, 50, 0, 40, 40)]))
    assert np.isnan(facts.motion[:2]).all()
    assert facts.motion[2] == pytest.approx([5 / 20, 1, 15 / 25])
    assert facts.motion[3] == pytest.approx([np.hypot(10, 10) / 20, 4, 0.25])


def test_motion_against_the_nearest_where_none_overlaps():
    facts = box_facts(video([(0, 0, 0, 10, 10), (0, 80, 0, 10, 10)], [(0, 20, 0, 10, 10)]))
    assert facts.motion[2] == pytest.approx([2, 1, 0])


def test_motion_never_matches_another_class():
    facts = box_facts(video([(1, 0, 0, 10, 10)], [(0, 0, 0, 10, 10)]))
    assert np.isnan(facts.motion).all()


def test_stills_have_no_motion():
    facts = box_facts(video([(0, 0, 0, 10, 10)], [(0, 0, 0, 10, 10)], group=None))
    assert np.isnan(facts.motion).all()


def test_missing_box_in_one_frame_is_a_flicker():
    one, none = [(0, 0, 0, 10, 10)], [(1, 0, 0, 10, 10)]
    assert count_changes(video(one, none, one, one), 0) == (2 / 3, 1 / 2)
    assert count_changes(video(one, none, none, none), 0) == (1 / 3, 0)


def test_data_set_without_any_box_has_empty_facts():
    facts = box_facts(video([], []))
    assert facts.shape.shape == (0, len(SHAPE))
    assert facts.motion.shape == (0, 3)
    assert count_changes(video([], []), 0) == (0, 0)
