from __future__ import annotations

import json
from pathlib import Path

import pytest

from metricsmith.evaluation.readers import FORMATS, read_dataset
from metricsmith.evaluation.readers.intake import checked_box, tolerance
from metricsmith.sandbox.errors import DataError


@pytest.mark.parametrize(
    ("name", "images", "boxes", "classes"),
    [
        ("airplane", 962, 962, ("airplane",)),
        ("raccoon", 200, 217, ("raccoon",)),
        ("bccd", 364, 4886, ("Platelets", "RBC", "WBC")),
    ],
)
def test_real_data_sets(
    name: str, images: int, boxes: int, classes: tuple[str, ...], real_data: Path
) -> None:
    dataset = read_dataset(real_data / name, skip_bad=True)
    assert (dataset.name, len(dataset), dataset.box_count) == (name, images, boxes)
    assert dataset.class_names == classes
    assert len(dataset.skipped) == (2 if name == "bccd" else 0)


def test_degenerate_boxes_of_bccd_are_an_error_by_default(real_data: Path) -> None:
    with pytest.raises(DataError, match=r"BloodImage_00338\.xml: object\[12\] \(RBC\): box .* has no area"):
        read_dataset(real_data / "bccd")


def test_airplane_frames_know_their_video(real_data: Path) -> None:
    dataset = read_dataset(real_data / "airplane")
    assert len({image.group for image in dataset.images}) == 59
    assert all(image.frame is not None and image.frame % 20 == 0 for image in dataset.images)


def test_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: there is no such file or folder"):
        read_dataset(tmp_path / "nowhere")


def test_missing_images_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder of images; check what --images says"):
        read_dataset(tmp_path, images=tmp_path / "nowhere")


def test_folder_without_a_data_set_lists_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"looked for COCO or YouTube-VIS .* VOC .* YOLO .* YouTube-VOS"):
        read_dataset(tmp_path)


def test_other_files_list_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    with pytest.raises(DataError, match="cannot be told from this file; looked for"):
        read_dataset(tmp_path / "a.csv")


def test_several_json_files_are_listed(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    for name in ("train", "val"):
        (tmp_path / "annotations" / f"{name}.json").write_text("{}")
    with pytest.raises(
        DataError, match=r"2 JSON files \(annotations/train\.json, annotations/val\.json\); name"
    ):
        read_dataset(tmp_path)


def test_unknown_format_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unknown format 'kitti'; known are coco, youtube-vis, voc, yolo"):
        read_dataset(tmp_path, format="kitti")


@pytest.mark.parametrize("format", FORMATS)
def test_wrong_format_is_an_error_that_a_user_can_read(format: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"hello": "world"}))
    for path in (tmp_path, tmp_path / "a.json"):
        with pytest.raises(DataError):
            read_dataset(path, format=format)


def test_tolerance_is_a_pixel_or_half_a_percent() -> None:
    assert tolerance(100) == 1
    assert tolerance(1000) == 5
    file = Path("a.json")
    assert checked_box((-5, -1, 1010, 102), (1000, 100), file, "x") == (-5, -1, 1010, 102)
    with pytest.raises(DataError, match=r"a\.json: x: box .* lies outside"):
        checked_box((-5.1, 0, 50, 50), (1000, 100), file, "x")
