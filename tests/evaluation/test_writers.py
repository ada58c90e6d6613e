from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import globox
import numpy as np
import PIL.Image
import pycocotools.coco
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from metricsmith.evaluation.dataset import Box, Dataset, Image
from metricsmith.evaluation.readers import read_dataset
from metricsmith.evaluation.writers import link_images, write_coco
from metricsmith.sandbox.errors import DataError

_NAMES = ("a.png", "b.png", "sub/c.png")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three 60×40 images."""
    root = tmp_path_factory.mktemp("set")
    for name in _NAMES:
        (root / name).parent.mkdir(exist_ok=True)
        PIL.Image.new("RGB", (60, 40)).save(root / name)
    return root


def frames(folder: Path) -> Dataset:
    """A data set that comes from no COCO file: two frames of a video, one with a box."""
    first, second = (
        Image(number, folder / name, name, 60, 40, group="v", frame=number * 5)
        for number, name in enumerate(_NAMES[:2])
    )
    box = Box(1, 1, (0.1, 0.2, 30.3, 20), extra={"object": 4})
    return Dataset("frames", folder, (replace(first, boxes=(box,)), second), ("ape", "panda"))


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


def _extra(*known: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.text(max_size=6).filter(lambda key: key not in known), _values, max_size=3)


@st.composite
def coco(draw: st.DrawFn) -> dict[str, Any]:
    """A valid COCO document about the folder's images, with any fields besides."""
    names = draw(st.lists(st.sampled_from(_NAMES), unique=True, min_size=1))
    ids = st.integers() | st.text(max_size=3)
    image_ids = draw(st.lists(ids, unique=True, min_size=len(names), max_size=len(names)))
    category_ids = draw(st.lists(st.integers(), unique=True, min_size=1, max_size=3))
    grouped = st.fixed_dictionaries(
        {},
        optional={
            "video": st.text(max_size=3) | st.integers() | st.none(),
            "video_id": st.integers() | st.text(max_size=2) | _values,
            "frame": st.integers() | st.text(max_size=2) | st.none(),
            "frame_id": st.integers(0, 99) | st.just("0012"),
        },
    )
    sides = st.tuples(st.floats(0.01, 0.9), st.floats(0.01, 0.9))
    images = [
        draw(_extra("id", "file_name", "width", "height")) | draw(grouped)
        | {"id": id, "file_name": name, "width": 60, "height": 40}
        for id, name in zip(image_ids, names, strict=True)
    ]  # fmt: skip
    annotations = [
        draw(_extra("id", "image_id", "category_id", "bbox", "area", "iscrowd"))
        | {
            "id": id,
            "image_id": draw(st.sampled_from(image_ids)),
            "category_id": draw(st.sampled_from(category_ids)),
            "bbox": [60 * x, 40 * y, 60 * min(w, 1 - x), 40 * min(h, 1 - y)],
            "area": draw(st.floats(0, 2400) | st.integers(0, 2400)),
            "iscrowd": draw(st.sampled_from([0, 1])),
        }
        for id, (x, y), (w, h) in draw(
            st.lists(st.tuples(ids, sides, sides), unique_by=lambda row: row[0], max_size=4)
        )
    ]
    categories = [draw(_extra("id", "name")) | {"id": id, "name": draw(st.text())} for id in category_ids]
    top = draw(_extra("images", "annotations", "categories", "videos"))
    return top | {"images": images, "annotations": annotations, "categories": categories}


def in_id_order(document: dict[str, Any]) -> dict[str, Any]:
    """The document with its annotations sorted: their order means nothing."""
    ordered = sorted(document["annotations"], key=lambda annotation: repr(annotation["id"]))
    return document | {"annotations": ordered}


@settings(max_examples=80, suppress_health_check=list(HealthCheck), deadline=None)
@given(document=coco())
@example(
    document={
        "images": [
            {"id": 1, "file_name": "a.png", "width": 60, "height": 40, "video": "5", "video_id": 5},
            {"id": 2, "file_name": "b.png", "width": 60, "height": 40, "frame": 0, "frame_id": 0},
        ],
        "annotations": [],
        "categories": [{"id": 1, "name": "x"}],
    }
)
def test_coco_comes_back_without_loss(document: dict[str, Any], folder: Path) -> None:
    (folder / "in.json").write_text(json.dumps(document))
    first = read_dataset(folder / "in.json")
    write_coco(first, folder / "out.json")
    assert in_id_order(json.loads((folder / "out.json").read_text())) == in_id_order(document)
    again = read_dataset(folder / "out.json", name=first.name)
    assert again == first
    assert again.fingerprint() == first.fingerprint()


def test_real_coco_comes_back_without_loss(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "airplane" / "annotations.json"
    (tmp_path / "images").symlink_to(real_data / "airplane" / "images")
    write_coco(read_dataset(source), tmp_path / "annotations.json")
    written = json.loads((tmp_path / "annotations.json").read_text())
    assert in_id_order(written) == in_id_order(json.loads(source.read_text()))


def test_what_no_coco_source_says_is_filled_in(folder: Path, tmp_path: Path) -> None:
    write_coco(frames(folder), tmp_path / "a.json", relative_to=folder)
    document = json.loads((tmp_path / "a.json").read_text())
    assert document == {
        "images": [
            {"id": 0, "file_name": "a.png", "width": 60, "height": 40, "video": "v", "frame": 0},
            {"id": 1, "file_name": "b.png", "width": 60, "height": 40, "video": "v", "frame": 5},
        ],
        "annotations": [
            {"id": 1, "image_id": 0, "category_id": 2, "bbox": [0.1, 0.2, 30.3, 20], "area": 606,
             "iscrowd": 0, "object": 4},
        ],
        "categories": [{"id": 1, "name": "ape"}, {"id": 2, "name": "panda"}],
    }  # fmt: skip


def test_file_names_lead_from_where_the_file_is_written(folder: Path, tmp_path: Path) -> None:
    dataset = frames(folder)
    (tmp_path / "deep").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "deep")
    for place in (
        tmp_path / "link" / "a.json",
        tmp_path / "new" / "folders" / "a.json",
        folder / "x" / "a.json",
    ):
        write_coco(dataset, place)
        again = read_dataset(place)
        assert [image.path.resolve() for image in again.images] == [image.path for image in dataset.images]
        assert [image.boxes[:1] for image in again.images] != [(), ()]
        assert [(image.group, image.frame) for image in again.images] == [("v", 0), ("v", 5)]


def test_namesakes_beside_the_file_are_not_taken_for_the_images(folder: Path, tmp_path: Path) -> None:
    for name in _NAMES[:2]:
        PIL.Image.new("RGB", (10, 10)).save(tmp_path / name)
    write_coco(frames(folder), tmp_path / "a.json")
    assert [image.path.resolve() for image in read_dataset(tmp_path / "a.json").images] == [
        folder / "a.png",
        folder / "b.png",
    ]


def test_file_names_may_be_relative_to_a_folder(folder: Path, tmp_path: Path) -> None:
    write_coco(frames(folder), tmp_path / "a.json", relative_to=folder.parent)
    names = [image["file_name"] for image in json.loads((tmp_path / "a.json").read_text())["images"]]
    assert names == [f"{folder.name}/a.png", f"{folder.name}/b.png"]
    assert len(read_dataset(tmp_path / "a.json", images=folder.parent)) == 2


def test_category_fields_stay_with_their_class(folder: Path) -> None:
    document = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [],
        "categories": [
            {"id": 3, "name": "x", "supercategory": "s"},
            {"id": 1, "name": "y", "supercategory": "t"},
        ],
    }
    (folder / "in.json").write_text(json.dumps(document))
    dataset = read_dataset(folder / "in.json")
    swapped = replace(dataset, class_names=("y", "x"), class_ids=(1, 3))
    write_coco(swapped, folder / "out.json")
    assert json.loads((folder / "out.json").read_text())["categories"] == document["categories"][::-1]


@pytest.mark.parametrize("name", ["raccoon", "bccd"])
def test_oracles_read_the_same_boxes(name: str, real_data: Path, tmp_path: Path) -> None:
    dataset = read_dataset(real_data / name, skip_bad=True)
    write_coco(dataset, tmp_path / "a.json")
    theirs = pycocotools.coco.COCO(tmp_path / "a.json")
    assert len(theirs.anns) == dataset.box_count
    for image in dataset.images:
        boxes = [annotation["bbox"] for annotation in theirs.imgToAnns[image.id]]
        assert boxes == [list(box.xywh) for box in image.boxes]
    by_name = {entry.image_id: entry for entry in globox.AnnotationSet.from_coco(tmp_path / "a.json")}
    for image, entry in zip(dataset.images, theirs.imgs.values(), strict=True):
        found = by_name[entry["file_name"]].boxes
        np.testing.assert_allclose([box.ltrb for box in found], image.xyxy, rtol=1e-6)
        assert [box.label for box in found] == [dataset.class_names[label] for label in image.labels]


def test_what_json_cannot_express_is_named_and_leaves_no_file(folder: Path, tmp_path: Path) -> None:
    dataset = replace(frames(folder), extra={"info": {1, 2}})
    with pytest.raises(DataError, match=r"cannot be written as JSON: .*set"):
        write_coco(dataset, tmp_path / "a.json")
    assert list(tmp_path.iterdir()) == []


def test_linked_images_keep_their_names(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "images" / "v1").mkdir(parents=True)
    PIL.Image.new("RGB", (6, 4)).save(source / "images" / "v1" / "0.png")
    image = Image(1, source / "images" / "v1" / "0.png", "v1/0.png", 6, 4)
    out = tmp_path / "out"
    link_images(Dataset("toy", source, (image,), ("cat",)), out)
    write_coco(Dataset("toy", source, (image,), ("cat",)), out / "pool.json")
    assert json.loads((out / "pool.json").read_text())["images"][0]["file_name"] == "v1/0.png"
    assert read_dataset(out / "pool.json").images[0].path.samefile(image.path)


def test_images_of_several_folders_are_not_linked(tmp_path: Path) -> None:
    images = (
        Image(1, tmp_path / "a" / "0.png", "0.png", 6, 4),
        Image(2, tmp_path / "b" / "1.png", "1.png", 6, 4),
    )
    link_images(Dataset("toy", tmp_path, images, ("cat",)), tmp_path / "out")
    assert not (tmp_path / "out").exists()
