from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from metricsmith.evaluation.dataset import Dataset
from metricsmith.evaluation.readers import read_dataset
from metricsmith.sandbox.errors import DataError


def document() -> dict[str, Any]:
    """Two 60×40 images; three boxes, one of them a crowd; two classes; fields that we have no use for."""
    return {
        "info": {"year": 2023, "nested": [1, {"a": None}]},
        "licenses": [{"id": 1, "name": "CC0"}],
        "images": [
            {"id": 7, "file_name": "a.png", "width": 60, "height": 40, "license": 1,
             "video": "v", "frame": 3},
            {"id": "x", "file_name": "b.png", "width": 60, "height": 40, "video_id": 5, "frame_id": "0012"},
        ],
        "annotations": [
            {"id": 3, "image_id": "x", "category_id": 9, "bbox": [1.25, 2, 30.1, 10], "area": 7.5,
             "iscrowd": 0, "segmentation": [[1, 2, 3, 4, 5, 6]]},
            {"id": 1, "image_id": 7, "category_id": 2, "bbox": [0, 0, 60, 40], "area": 2400,
             "iscrowd": 1, "segmentation": {"counts": [0, 2400], "size": [40, 60]}},
            {"id": 2, "image_id": "x", "category_id": 2, "bbox": [10, 10, 5, 5], "area": 25,
             "iscrowd": 0, "attributes": {"occluded": True}},
        ],
        "categories": [{"id": 9, "name": "panda", "supercategory": "bear"}, {"id": 2, "name": "bear"}],
    }  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for name in ("a.png", "b.png"):
        PIL.Image.new("RGB", (60, 40)).save(folder / name)
    return folder


def read(value: Any, images: Path, **options: Any) -> Dataset:
    file = images / "annotations.json"
    file.write_text(json.dumps(value))
    return read_dataset(file, **options)


def test_everything_is_kept(images: Path) -> None:
    dataset = read(document(), images)
    assert dataset.class_names == ("panda", "bear")
    assert dataset.class_ids == (9, 2)
    assert dataset.name == "annotations"
    first, second = dataset.images
    assert (first.id, first.group, first.frame, first.extra) == (7, "v", 3, {"license": 1})
    assert first.path == images / "a.png"
    assert (second.id, second.group, second.frame) == ("x", "5", 12)
    assert second.extra == {"video_id": 5, "frame_id": "0012"}
    assert first.boxes[0].crowd
    assert [box.id for box in second.boxes] == [3, 2]
    assert second.boxes[0].xywh == (1.25, 2, 30.1, 10)
    assert second.boxes[0].extra == {"segmentation": [[1, 2, 3, 4, 5, 6]]}
    assert second.boxes[0].area == 7.5
    assert dataset.extra["info"] == document()["info"]
    assert second.labels.tolist() == [0, 1]


def broken(path: str, value: Any) -> dict[str, Any]:
    """The document with one value, addressed like "images/0/width", replaced; `...` deletes it."""
    changed = copy.deepcopy(document())
    *parents, last = path.split("/")
    target: Any = changed
    for part in parents:
        target = target[int(part) if part.isdigit() else part]
    key: Any = int(last) if last.isdigit() else last
    if value is ...:
        del target[key]
    else:
        target[key] = value
    return changed


BAD_IMAGES = [
    ("images/1/file_name", "nowhere.png", r"nowhere\.png: the image is missing"),
    ("images/1/file_name", 5, r"images\[1\] \(id x\): file_name: input should be a valid string"),
    ("images/1/file_name", ..., r"images\[1\] \(id x\): file_name: field required"),
    ("images/1/width", 61, "declare width 61, but the image is 60×40"),
    ("images/1/height", "40", r"images\[1\] \(id x\): height: input should be a valid integer"),
    ("images/1/id", 7, r"images\[1\] \(id 7\): image id 7 is used twice"),
    ("images/1/id", 1.5, r"images\[1\]: id"),
    ("images/1", None, r"images\[1\]: input should be a valid dictionary"),
]
BAD_ANNOTATIONS = [
    ("annotations/0/bbox", [1, 2, 0, 4], r"annotations\[0\] \(id 3\): box .* has no area"),
    ("annotations/0/bbox", [1, 2, 3, -4], "has no area"),
    ("annotations/0/bbox", [1, math.nan, 3, 4], "bbox.1: input should be a finite number"),
    ("annotations/0/bbox", [1, math.inf, 3, 4], "bbox.1: input should be a finite number"),
    ("annotations/0/bbox", [1, 2, 3], "bbox: list should have at least 4 items"),
    ("annotations/0/bbox", [1, 2, 3, 4, 5], "bbox: list should have at most 4 items"),
    ("annotations/0/bbox", [1, 2, 3, "4"], "bbox.3: input should be a valid number"),
    ("annotations/0/bbox", [1, 2, 3, True], "bbox.3: input should be a valid number"),
    ("annotations/0/bbox", ..., "bbox: field required"),
    ("annotations/0/bbox", [30, 2, 31.5, 4], "lies outside its 60×40 image"),
    ("annotations/0/bbox", [-1.5, 2, 30, 4], "lies outside its 60×40 image"),
    ("annotations/0/bbox", [60, 2, 1, 4], "lies outside its 60×40 image"),
    ("annotations/0/bbox", [1e308, 2, 1e308, 4], "lies outside its 60×40 image"),
    ("annotations/0/category_id", 3, r"annotations\[0\] \(id 3\): there is no category 3 \(known: 9, 2\)"),
    ("annotations/0/image_id", 99, "there is no image 99"),
    ("annotations/0/image_id", "7", "there is no image '7'"),
    ("annotations/0/id", 1, "annotation id 1 is used twice"),
    ("annotations/0/iscrowd", "no", "iscrowd"),
    ("annotations/0/area", [], "area"),
    ("annotations/0", [], "input should be a valid dictionary"),
]


@pytest.mark.parametrize(("path", "value", "message"), BAD_IMAGES + BAD_ANNOTATIONS)
def test_bad_item_is_named(path: str, value: Any, message: str, images: Path) -> None:
    with pytest.raises(DataError, match=message) as error:
        read(broken(path, value), images)
    assert "--skip-bad" in error.value.remedy


@pytest.mark.parametrize(("path", "value", "message"), BAD_ANNOTATIONS)
def test_skip_bad_leaves_out_the_box_alone(path: str, value: Any, message: str, images: Path) -> None:
    dataset = read(broken(path, value), images, skip_bad=True)
    assert (len(dataset), dataset.box_count, len(dataset.skipped)) == (2, 2, 1)
    assert dataset.skipped[0].reason


def test_skip_bad_leaves_out_the_image_with_its_boxes(images: Path) -> None:
    dataset = read(broken("images/1/file_name", "nowhere.png"), images, skip_bad=True)
    assert (len(dataset), dataset.box_count, len(dataset.skipped)) == (1, 1, 1)
    assert dataset.skipped[0].file == images / "nowhere.png"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("images", ..., "images: field required"),
        ("annotations", None, "annotations: input should be a valid list"),
        ("categories", {}, "categories: input should be a valid list"),
        ("categories/0/name", 3, r"categories\[0\] \(id 9\): name"),
        ("categories/0/id", 2, r"categories\[1\] \(id 2\): category id 2 is used twice"),
        ("images", [], "has no images"),
    ],
)
def test_what_makes_the_whole_file_useless_is_never_skipped(
    path: str, value: Any, message: str, images: Path
) -> None:
    for skip_bad in (False, True):
        with pytest.raises(DataError, match=message):
            read(
                broken(path, value) | ({"annotations": []} if path == "images" else {}),
                images,
                skip_bad=skip_bad,
            )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("  \n", "the file is empty"),
        ('{"images": [', "this is not JSON: .* at line 1, column 13"),
        ("\xff", "this is not JSON"),
        ("[" * 100_000, "cannot be read"),
        ("9" * 5000, "cannot be read"),
        ('[{"image_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]', "a list .*, not a data set"),
        ("3", "input should be a valid dictionary"),
    ],
)
def test_file_that_is_no_coco_is_named(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message) as error:
        read_dataset(file)
    assert error.value.file == file


def test_binary_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not UTF-8 text"):
        read_dataset(tmp_path / "a.json")


def test_boxes_on_and_a_little_over_the_edges_are_kept_as_written(images: Path) -> None:
    for bbox in ([0, 0, 60, 40], [-1, -1, 62, 42], [59, 39, 1, 1], [59.5, 0, 1.5, 1]):
        dataset = read(broken("annotations/0/bbox", bbox), images)
        assert list(dataset.images[1].boxes[0].xywh) == bbox


def test_size_is_taken_from_the_file_where_none_is_declared(images: Path) -> None:
    dataset = read(broken("images/0/width", ...), images)
    assert (dataset.images[0].width, dataset.images[0].height) == (60, 40)


def test_size_is_the_one_after_exif_rotation(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    for name in ("a.png", "b.png"):
        PIL.Image.new("RGB", (40, 60)).save(tmp_path / name, exif=exif)
    assert len(read(document(), tmp_path)) == 2


@pytest.mark.parametrize(
    ("file", "folder"),
    [
        ("annotations.json", "."),
        ("annotations.json", "images"),
        ("annotations/instances.json", "images"),
        ("annotations/instances_train2017.json", "train2017"),
        ("annotations/instances_train2017.json", "images/train2017"),
    ],
)
def test_images_are_found_in_the_usual_places(
    file: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    for name in ("a.png", "b.png"):
        PIL.Image.new("RGB", (60, 40)).save(tmp_path / folder / name)
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(json.dumps(document()))
    assert read_dataset(tmp_path / file).root == tmp_path / folder
    assert len(read_dataset(tmp_path)) == 2
    monkeypatch.chdir((tmp_path / file).parent)
    assert len(read_dataset(Path(file).relative_to(Path(file).parent))) == 2


def test_images_may_lie_elsewhere(images: Path, tmp_path: Path) -> None:
    file = tmp_path / "deep" / "down" / "a.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(document()))
    with pytest.raises(
        DataError, match=r"none of its 2 images \(a\.png, …\) was found; say where .*--images"
    ):
        read_dataset(file)
    assert read_dataset(file, images=images).root == images


def test_two_categories_of_one_name_are_kept(images: Path) -> None:
    assert read(broken("categories/1/name", "panda"), images).class_names == ("panda", "panda")


def test_progress_counts_images(images: Path) -> None:
    told: list[tuple[str, int, int]] = []
    read(document(), images, progress=lambda *told_now: told.append(told_now))
    assert told == [("reading images", 1, 2), ("reading images", 2, 2)]


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
_IMAGE = ("id", "file_name", "width", "video", "video_id", "frame", "frame_id", "new")
_ANNOTATION = ("id", "image_id", "category_id", "bbox", "bbox/2", "area", "iscrowd")
_PLACES = ["images", "annotations", "categories", "info", "images/0", "annotations/1", "categories/0"]
_PLACES += [f"images/0/{key}" for key in _IMAGE] + [f"annotations/0/{key}" for key in _ANNOTATION]
_PLACES += ["categories/1/id", "categories/1/name"]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(value=_json)
@example(value={"images": [{"id": 1, "file_name": "\0"}], "annotations": [], "categories": []})
@example(value={"images": [{"id": 1, "file_name": "\ud800"}], "annotations": [], "categories": []})
@example(value={"images": [{"id": 1, "file_name": "a" * 5000}], "annotations": [], "categories": []})
@example(value={"videos": [{"file_names": None}]})
def test_any_json_gives_a_data_set_or_a_data_error(value: Any, images: Path) -> None:
    _reads_or_refuses(value, images)


@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(place=st.sampled_from(_PLACES), value=_json, skip_bad=st.booleans())
@example(place="annotations/0/bbox/2", value=10**400, skip_bad=False)
@example(place="annotations/0/area", value=10**400, skip_bad=False)
@example(place="images/0/width", value=10**400, skip_bad=False)
@example(place="images/0/frame", value=10**400, skip_bad=False)
@example(place="annotations/0/bbox/2", value=1e-320, skip_bad=False)
@example(place="images/0/file_name", value="\0", skip_bad=True)
@example(place="images/0/file_name", value="\ud800", skip_bad=True)
@example(place="images/0/file_name", value="a" * 5000, skip_bad=True)
@example(place="images/0/id", value="\ud800", skip_bad=False)
@example(place="images/0/new", value={"\ud800": "\ud800", "model_config": 1}, skip_bad=False)
def test_any_value_in_any_place_gives_a_data_set_or_a_data_error(
    place: str, value: Any, skip_bad: bool, images: Path
) -> None:
    _reads_or_refuses(broken(place, value), images, skip_bad=skip_bad)


def _reads_or_refuses(value: Any, images: Path, **options: Any) -> None:
    try:
        dataset = read(value, images, **options)
    except DataError:
        return
    for image in dataset.images:
        assert np.isfinite(image.xyxy).all()
        assert image.path.is_file()
    dataset.fingerprint()
