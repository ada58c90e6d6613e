from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from metricsmith.evaluation.dataset import Dataset
from metricsmith.evaluation.readers import read_dataset
from metricsmith.sandbox.errors import DataError


def document(panda_id: int = 15) -> dict[str, Any]:
    """A video of three frames with two tracks, one of them absent from the frame in the middle."""
    rle = {"counts": [0, 2400], "size": [40, 60]}
    return {
        "info": {"year": 2019},
        "videos": [
            {
                "id": 1,
                "width": 60,
                "height": 40,
                "length": 3,
                "file_names": [f"v/{n:05}.jpg" for n in (0, 5, 10)],
            }
        ],
        "annotations": [
            {
                "id": 11,
                "video_id": 1,
                "category_id": panda_id,
                "iscrowd": 0,
                "bboxes": [[0.5, 1, 20, 30], None, [2, 2, 5, 5]],
                "areas": [300, None, 20],
                "segmentations": [rle, None, rle],
            },
            {"id": 12, "video_id": 1, "category_id": 3, "bboxes": [None, None, [1, 1, 2, 2]]},
        ],
        "categories": [
            {"id": panda_id, "name": "giant_panda", "supercategory": "object"},
            {"id": 3, "name": "ape"},
        ],
    }


def read(folder: Path, value: dict[str, Any], **options: Any) -> Dataset:
    for number in (0, 5, 10):
        path = folder / "JPEGImages" / "v" / f"{number:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("RGB", (60, 40)).save(path)
    (folder / "instances.json").write_text(json.dumps(value))
    return read_dataset(folder, **options)


def test_each_frame_is_an_image_with_the_boxes_present_in_it(tmp_path: Path) -> None:
    dataset = read(tmp_path, document())
    facts = [(image.id, image.file_name, image.group, image.frame) for image in dataset.images]
    assert facts == [(1, "v/00000.jpg", "v", 0), (2, "v/00005.jpg", "v", 5), (3, "v/00010.jpg", "v", 10)]
    assert [[box.extra["track"] for box in image.boxes] for image in dataset.images] == [[11], [], [11, 12]]
    box = dataset.images[0].boxes[0]
    assert (box.xywh, box.area) == ((0.5, 1, 20, 30), 300)
    assert box.extra["segmentation"]["size"] == [40, 60]
    assert len({box.id for image in dataset.images for box in image.boxes}) == 3
    assert dataset.extra["info"] == {"year": 2019}


def test_categories_are_known_by_name_whatever_their_ids(tmp_path: Path) -> None:
    for panda_id in (15, 40):
        dataset = read(tmp_path, document(panda_id))
        label = dataset.images[0].boxes[0].label
        assert dataset.class_names[label] == "giant_panda"
        assert dataset.class_ids[label] == panda_id


def test_frames_without_a_number_are_counted(tmp_path: Path) -> None:
    value = document()
    value["videos"][0]["file_names"] = ["x.jpg", "y.jpg", "z.jpg"]
    for name in "xyz":
        (tmp_path / "JPEGImages").mkdir(exist_ok=True)
        PIL.Image.new("RGB", (60, 40)).save(tmp_path / "JPEGImages" / f"{name}.jpg")
    assert [(image.group, image.frame) for image in read(tmp_path, value).images] == [
        ("1", 0),
        ("1", 1),
        ("1", 2),
    ]


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("bboxes", [[0, 0, 0, 5], None, None], r"annotation 12 in v/00000\.jpg: box .* has no area"),
        ("bboxes", [[59, 0, 9, 5], None, None], r"annotation 12 in v/00000\.jpg: box .* lies outside"),
        ("bboxes", [None, None], r"annotations\[1\] \(id 12\): bboxes has 2 entries, its video 3 frames"),
        ("bboxes", [[1, 2, 3], None, None], "bboxes.0: list should have at least 4 items"),
        ("areas", [1], "areas has 1 entries"),
        ("category_id", 99, r"there is no category 99 \(known: 15, 3\)"),
        ("video_id", 9, "there is no video 9"),
        ("id", 11, "annotation id 11 is used twice"),
    ],
)
def test_bad_track_is_named_or_skipped(place: str, value: Any, message: str, tmp_path: Path) -> None:
    changed = document()
    changed["annotations"][1][place] = value
    with pytest.raises(DataError, match=message) as error:
        read(tmp_path, changed)
    assert "--skip-bad" in error.value.remedy
    dataset = read(tmp_path, changed, skip_bad=True)
    assert (len(dataset), dataset.box_count, len(dataset.skipped)) == (3, 2, 1)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("file_names", [], "has no images|file_names"),
        ("width", 61, "declare width 61"),
        ("file_names", ["v/00000.jpg", "v/00005.jpg", "v/00011.jpg"], r"00011\.jpg: the image is missing"),
    ],
)
def test_bad_video_is_named(place: str, value: Any, message: str, tmp_path: Path) -> None:
    changed = document()
    changed["videos"][0][place] = value
    with pytest.raises(DataError, match=message):
        read(tmp_path, changed)


def test_file_without_annotations_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="annotations: input should be a valid list"):
        read(tmp_path, document() | {"annotations": None})
