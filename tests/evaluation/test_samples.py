from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np
import pytest

from metricsmith.evaluation.dataset import Box, Dataset, Image
from metricsmith.evaluation.samples import sample_ids, sample_runs, samples
from metricsmith.sandbox import Predictions
from metricsmith.sandbox.errors import DataError


@pytest.fixture
def dataset(tmp_path):
    """Two videos and a still; the frames of `a` are stored out of order and `b` lacks frame numbers."""
    images = []
    for number, (group, frame) in enumerate([("a", 20), ("a", 0), ("b", None), (None, None), ("a", 60)]):
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), np.full((8, 12, 3), (10, 20, number), np.uint8))
        box = Box(number, number % 2, (float(number), -2.0, 5.0, 6.0))
        boxes = (box,) if number != 3 else ()
        images.append(Image(f"i{number}", path, path.name, 12, 8, boxes, group, frame))
    return Dataset("toy", tmp_path, tuple(images), ("cat", "dog"))


def test_samples_come_in_order_as_rgb_with_clipped_boxes(dataset):
    found = list(samples(dataset))
    assert [sample.image[0, 0].tolist() for sample in found] == [[n, 20, 10] for n in range(5)]
    assert found[4].boxes.tolist() == [[4, 0, 9, 4]]
    assert found[3].boxes.shape == (0, 4)
    assert [sample.labels.tolist() for sample in found] == [[0], [1], [0], [], [0]]
    assert found[0].class_names == ("cat", "dog")
    assert (found[4].group, found[4].frame) == ("a", 60)


def test_neighbours_are_the_nearest_frames_that_exist(dataset):
    found = list(samples(dataset))
    assert found[0].previous_boxes.tolist() == [[1, 0, 6, 4]]
    assert found[0].previous_labels.tolist() == [1]
    assert found[0].next_boxes.tolist() == [[4, 0, 9, 4]]
    assert found[1].previous_boxes is None
    assert found[1].next_labels.tolist() == [0]
    assert found[4].next_boxes is None


def test_frame_without_a_number_and_still_have_no_neighbours(dataset):
    for sample in list(samples(dataset))[2:4]:
        assert sample.previous_boxes is sample.next_boxes is None
        assert sample.previous_labels is sample.next_labels is None


def test_chosen_images_keep_order_and_neighbours(dataset):
    found = list(samples(dataset, ids=["i4", "i0"]))
    assert [sample.frame for sample in found] == [20, 60]
    assert found[0].previous_boxes.tolist() == [[1, 0, 6, 4]], "i1 is not chosen but is there"


def test_unknown_id_is_named(dataset):
    with pytest.raises(KeyError, match="i9"):
        list(samples(dataset, ids=["i9"]))


def test_no_array_can_be_written_to(dataset):
    boxes = np.ones((1, 4), np.float32)
    predictions = {"i0": Predictions(boxes, np.ones(1, np.int64), np.ones(1, np.float32))}
    first = next(samples(dataset, predictions))
    arrays = [getattr(first, field.name) for field in fields(first)]
    arrays += [getattr(first.predictions, field.name) for field in fields(Predictions)]
    arrays = [array for array in arrays if isinstance(array, np.ndarray)]
    assert len(arrays) == 10
    for array in arrays:
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    assert boxes.flags.writeable, "the caller's own array stays as it was"


def test_image_without_predictions_has_empty_ones(dataset):
    assert next(samples(dataset, {})).predictions.boxes.shape == (0, 4)


def test_images_are_decoded_when_asked_for(dataset):
    dataset.images[1].path.unlink()
    found = samples(dataset)
    next(found)
    with pytest.raises(DataError, match=r"1\.png"):
        next(found)


def groups_of(sizes):
    images = [
        Image(f"{group}-{n}", None, "", 1, 1, group=f"{group}", frame=n)
        for group, size in enumerate(sizes)
        for n in range(size)
    ]
    return Dataset("toy", None, tuple(images), ())


def test_choice_is_spread_over_groups_and_in_order():
    dataset = groups_of([50, 3, 3, 1])
    chosen = sample_ids(dataset, 7)
    groups = [item.split("-")[0] for item in chosen]
    assert [groups.count(group) for group in "0123"] == [2, 2, 2, 1]
    assert chosen == [image.id for image in dataset.images if image.id in chosen]


def test_choice_depends_on_the_seed_alone():
    dataset = groups_of([40])
    assert sample_ids(dataset, 5, seed=1) == sample_ids(dataset, 5, seed=1) != sample_ids(dataset, 5, seed=2)


def test_choice_of_more_than_there_are_is_everything():
    assert len(sample_ids(groups_of([2, 3]))) == 5


@pytest.mark.parametrize(("count", "run"), [(64, 16), (10, 4), (3, 16), (1000, 5)])
def test_runs_of_frames_follow_each_other(count: int, run: int) -> None:
    frames = [
        Image(f"{group}-{frame}", Path("x"), "x", 8, 8, (), group, frame)
        for frame in range(0, 40, 2)
        for group in ("a", "b", "c")
    ]
    stills = [Image(f"still-{number}", Path("x"), "x", 8, 8) for number in range(3)]
    dataset = Dataset("zoo", Path("zoo"), (*frames, *stills), ("cow",))
    chosen = sample_runs(dataset, count, run, seed=1)
    assert len(chosen) == len(set(chosen)) == min(count, 3 * min(run, 20) + 3)
    assert [image.id for image in dataset.images if image.id in set(chosen)] == chosen
    for group in ("a", "b", "c"):
        own = [image.frame for image in frames if image.group == group and image.id in set(chosen)]
        assert len(own) <= run
        assert own == list(range(own[0], own[0] + 2 * len(own), 2)) if own else True
    assert sample_runs(dataset, count, run, seed=1) == chosen
