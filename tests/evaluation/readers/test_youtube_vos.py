from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from metricsmith.evaluation.readers import read_dataset
from metricsmith.sandbox.errors import DataError


def mask(path: Path, objects: dict[int, tuple[int, int, int, int]], size: tuple[int, int] = (60, 40)) -> None:
    """A palette mask with a filled box (x, y, w, h) for each object number."""
    numbers = np.zeros(size[::-1], np.uint8)
    for number, (x, y, w, h) in objects.items():
        numbers[y : y + h, x : x + w] = number
    image = PIL.Image.fromarray(numbers).convert("P")
    image.putdata(numbers.ravel().tolist())
    # All colours alike: who looks at colours instead of numbers finds nothing.
    image.putpalette([9, 9, 9] * 256)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Video `v`: two objects, of which one leaves; frame 10 has no mask. Video `w`: one object."""
    for name in ("v/00000", "v/00005", "v/00010", "w/00020"):
        path = tmp_path / "JPEGImages" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("RGB", (60, 40)).save(path)
    mask(tmp_path / "Annotations/v/00000.png", {1: (0, 0, 60, 40), 2: (10, 5, 1, 1)})
    mask(tmp_path / "Annotations/v/00005.png", {1: (55, 30, 5, 10)})
    mask(tmp_path / "Annotations/w/00020.png", {1: (3, 4, 7, 9)})
    panda, ape = {"category": "giant_panda", "frames": ["00000"]}, {"category": "ape"}
    write_meta(tmp_path, {"v": {"objects": {"1": panda, "2": ape}}, "w": {"objects": {"1": panda}}})
    return tmp_path


def write_meta(folder: Path, videos: Any) -> None:
    (folder / "meta.json").write_text(json.dumps({"videos": videos}))


def test_boxes_are_the_extents_of_the_masks(folder: Path) -> None:
    dataset = read_dataset(folder)
    assert dataset.class_names == ("ape", "giant_panda")
    facts = [(image.file_name, image.group, image.frame) for image in dataset.images]
    assert facts == [("v/00000.jpg", "v", 0), ("v/00005.jpg", "v", 5), ("w/00020.jpg", "w", 20)]
    first, second, third = dataset.images
    assert [(box.xywh, box.area) for box in first.boxes] == [((0, 0, 60, 40), 2399), ((10, 5, 1, 1), 1)]
    assert first.labels.tolist() == [1, 0]
    assert [dict(box.extra) for box in first.boxes] == [{"object": 1}, {"object": 2}]
    assert [box.xywh for box in second.boxes] == [(55, 30, 5, 10)]
    assert [box.xywh for box in third.boxes] == [(3, 4, 7, 9)]


def test_frame_without_a_mask_is_not_annotated_and_not_read(folder: Path) -> None:
    dataset = read_dataset(folder)
    assert "v/00010.jpg" not in {image.file_name for image in dataset.images}
    assert dataset.skipped == ()


def test_mask_without_objects_is_a_frame_without_boxes(folder: Path) -> None:
    mask(folder / "Annotations/v/00010.png", {})
    assert [len(image.boxes) for image in read_dataset(folder).images] == [2, 1, 0, 1]


def _no_image(folder: Path) -> None:
    (folder / "JPEGImages/v/00005.jpg").unlink()


def _other_size(folder: Path) -> None:
    mask(folder / "Annotations/v/00005.png", {1: (0, 0, 5, 5)}, size=(30, 20))


def _truncated(folder: Path) -> None:
    file = folder / "Annotations/v/00005.png"
    file.write_bytes(file.read_bytes()[:60])


def _colours(folder: Path) -> None:
    PIL.Image.new("RGB", (60, 40)).save(folder / "Annotations/v/00005.png")


def _no_number(folder: Path) -> None:
    (folder / "Annotations/v/00005.png").rename(folder / "Annotations/v/five.png")


def _unknown_object(folder: Path) -> None:
    mask(folder / "Annotations/v/00005.png", {7: (0, 0, 5, 5)})


def _no_masks(folder: Path) -> None:
    (folder / "Annotations/w/00020.png").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_no_image, r"v/00005\.png: there is no image '00005' in .*JPEGImages/v"),
        (_other_size, r"v/00005\.png: the mask is 30×20, its image 60×40"),
        (_truncated, r"v/00005\.png: the mask is truncated, damaged or no image"),
        (_colours, r"v/00005\.png: the mask is not a palette image \(its mode is RGB\)"),
        (_no_number, r"five\.png: the file is not named by its frame's number"),
        (_unknown_object, r"v/00005\.png: object 7: video v has no such object in .*meta\.json"),
        (_no_masks, r"meta\.json: video w: it has no masks in .*Annotations/w"),
    ],
)
def test_damage_is_named_or_skipped(damage: Any, message: str, folder: Path) -> None:
    damage(folder)
    with pytest.raises(DataError, match=message) as error:
        read_dataset(folder)
    assert "--skip-bad" in error.value.remedy
    dataset = read_dataset(folder, skip_bad=True)
    assert (dataset.box_count, len(dataset.skipped)) == (3, 1)


@pytest.mark.parametrize(
    ("videos", "message"),
    [
        ([], "videos: input should be a valid dictionary"),
        ({"v": {"objects": {"1": {"category": 3}}}}, "videos.v.objects.1.category"),
        ({}, "has no images"),
    ],
)
def test_bad_meta_is_named(videos: Any, message: str, folder: Path) -> None:
    write_meta(folder, videos)
    with pytest.raises(DataError, match=message):
        read_dataset(folder)
