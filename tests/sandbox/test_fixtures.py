from __future__ import annotations

import numpy as np
import pytest

from metricsmith.sandbox import Sample
from metricsmith.sandbox.fixtures import fixtures

FIXTURES = fixtures()


@pytest.mark.parametrize("name", FIXTURES)
def test_fixture_keeps_what_the_interface_promises(name: str) -> None:
    sample = FIXTURES[name]
    height, width, channels = sample.image.shape
    assert (sample.image.dtype, channels) == (np.uint8, 3)
    predictions = sample.predictions
    pairs = [(sample.boxes, sample.labels), (predictions.boxes, predictions.labels)]
    for boxes, labels in (
        (sample.previous_boxes, sample.previous_labels),
        (sample.next_boxes, sample.next_labels),
    ):
        assert (boxes is None) == (labels is None)
        if boxes is not None and labels is not None:
            pairs.append((boxes, labels))
    for boxes, labels in pairs:
        assert (boxes.dtype, boxes.shape) == (np.float32, (len(boxes), 4))
        assert (labels.dtype, labels.shape) == (np.int64, (len(boxes),))
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, :2] <= boxes[:, 2:]).all()
        assert (boxes[:, 2] <= width).all()
        assert (boxes[:, 3] <= height).all()
        assert set(labels.tolist()) <= set(range(len(sample.class_names)))
    assert predictions.scores.dtype == np.float32
    assert (np.diff(predictions.scores) <= 0).all()


def test_fixtures_are_the_same_each_time() -> None:
    again = fixtures()
    assert list(again) == list(FIXTURES)
    assert all(np.array_equal(again[name].image, FIXTURES[name].image) for name in again)
    assert all(np.array_equal(again[name].boxes, FIXTURES[name].boxes) for name in again)


def test_every_state_of_a_neighbouring_frame_occurs() -> None:
    def state(boxes: np.ndarray | None) -> str:
        return "none" if boxes is None else "some" if len(boxes) else "empty"

    def states(pick: str) -> set[str]:
        return {state(getattr(sample, pick)) for sample in FIXTURES.values()}

    assert states("previous_boxes") == states("next_boxes") == {"none", "some", "empty"}


def test_a_class_occurs_that_a_table_of_the_others_lacks() -> None:
    sample = FIXTURES["classes that no other image has"]
    others = [other for name, other in FIXTURES.items() if other is not sample]
    assert min(sample.labels) >= max(len(other.class_names) for other in others)
    assert not set(sample.labels.tolist()) & set(sample.predictions.labels.tolist())


def test_areas_and_counts_reach_the_extremes() -> None:
    def area(sample: Sample) -> np.ndarray:
        return (sample.boxes[:, 2:] - sample.boxes[:, :2]).prod(axis=1)

    areas = np.concatenate([area(sample) for sample in FIXTURES.values()])
    assert (areas == 0).any()
    assert (areas == 1).any()
    assert {0, 1, 300} <= {len(sample.boxes) for sample in FIXTURES.values()}
