from __future__ import annotations

from pathlib import Path

import globox
import PIL.Image
import pytest

from metricsmith.evaluation.readers import read_dataset
from metricsmith.sandbox.errors import DataError

OBJECT = """<object><name>panda</name><pose>Left</pose><truncated>1</truncated><difficult>0</difficult>
<bndbox><xmin>1</xmin><ymin>2.5</ymin><xmax>60</xmax><ymax>40</ymax></bndbox>
<part><name>head</name></part></object>"""
SIZE = "<size><width>60</width><height>40</height><depth>3</depth></size>"


def write(root: Path, body: str = SIZE + OBJECT, name: str = "a", filename: str = "a.jpg") -> Path:
    for folder in ("Annotations", "JPEGImages"):
        (root / folder).mkdir(exist_ok=True)
    PIL.Image.new("RGB", (60, 40)).save(root / "JPEGImages" / f"{name}.jpg")
    file = root / "Annotations" / f"{name}.xml"
    file.write_text(f"<annotation><folder>f</folder><filename>{filename}</filename>{body}</annotation>")
    return file


def test_boxes_classes_and_all_else(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path, SIZE + OBJECT.replace("panda", "bear") + OBJECT, name="b", filename="b.jpg")
    dataset = read_dataset(tmp_path)
    assert dataset.class_names == ("bear", "panda")
    first, second = dataset.images
    assert (first.id, first.file_name, first.width, first.height) == (1, "a.jpg", 60, 40)
    assert first.extra == {"folder": "f"}
    assert first.boxes[0].xywh == (1, 2.5, 59, 37.5)
    extra = {"pose": "Left", "truncated": "1", "difficult": "0", "part": {"name": "head"}}
    assert first.boxes[0].extra == extra
    assert second.labels.tolist() == [0, 1]
    assert [box.id for image in dataset.images for box in image.boxes] == [1, 2, 3]


def test_real_boxes_equal_those_that_globox_reads(real_data: Path) -> None:
    dataset = read_dataset(real_data / "raccoon")
    theirs = globox.AnnotationSet.from_pascal_voc(real_data / "raccoon" / "annotations")
    assert {image.file_name for image in dataset.images} == set(theirs.image_ids)
    for image in dataset.images:
        expected = [(box.label, (*box.ltwh,)) for box in theirs[image.file_name].boxes]
        assert [(dataset.class_names[box.label], box.xywh) for box in image.boxes] == expected


@pytest.mark.parametrize("filename", ["renamed.jpg", "a", "C:\\\\elsewhere\\\\a.png", ""])
def test_renamed_image_is_found_by_the_name_of_its_xml(filename: str, tmp_path: Path) -> None:
    write(tmp_path, filename=filename)
    assert read_dataset(tmp_path).images[0].file_name == "a.jpg"


def test_size_may_be_missing_or_zero(tmp_path: Path) -> None:
    for size in ("", SIZE.replace("60", "0").replace("40", "0")):
        write(tmp_path, size + OBJECT)
        assert read_dataset(tmp_path).images[0].width == 60


def test_image_without_objects_is_read(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path, SIZE, name="b", filename="b.jpg")
    assert [len(image.boxes) for image in read_dataset(tmp_path).images] == [1, 0]


def test_image_without_xml_is_not_read(tmp_path: Path) -> None:
    write(tmp_path)
    PIL.Image.new("RGB", (60, 40)).save(tmp_path / "JPEGImages" / "b.jpg")
    assert len(read_dataset(tmp_path)) == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (SIZE + OBJECT.replace("<xmin>1", "<xmin>60"), r"a\.xml: object\[0\] \(panda\): box .* has no area"),
        (
            SIZE + OBJECT.replace("<xmax>60", "<xmax>62"),
            r"object\[0\] \(panda\): box .* lies outside its 60×40",
        ),
        (SIZE + OBJECT.replace("<xmin>1", "<xmin>one"), "<bndbox/xmin> is not a number: 'one'"),
        (SIZE + OBJECT.replace("<xmin>1", "<xmin>nan"), "is not finite"),
        (SIZE + OBJECT.replace("<xmin>1</xmin>", ""), "there is no <bndbox/xmin>"),
        (SIZE + OBJECT.replace("<name>panda</name>", ""), r"object\[0\]: the object has no name"),
        (
            SIZE.replace("60", "61") + OBJECT,
            r"a\.jpg: the annotations declare width 61, but the image is 60×40",
        ),
        (SIZE.replace("60", "wide") + OBJECT, "<size/width> is not a number: 'wide'"),
        (SIZE.replace("60", "inf") + OBJECT, "declare width inf, but the image is 60×40"),
        (SIZE + "<object>", "this is not XML: mismatched tag"),
    ],
)
def test_bad_item_is_named_or_skipped(body: str, message: str, tmp_path: Path) -> None:
    write(tmp_path, body)
    write(tmp_path, name="b", filename="b.jpg")
    with pytest.raises(DataError, match=message) as error:
        read_dataset(tmp_path)
    assert "--skip-bad" in error.value.remedy
    dataset = read_dataset(tmp_path, skip_bad=True)
    assert (dataset.box_count, len(dataset.skipped)) == (1, 1)


@pytest.mark.parametrize(
    "content", [b"", b"<html/>", b"<?xml version='1.0' encoding='nonsense'?><a/>", b"\xff\x00"]
)
def test_file_that_is_no_annotation_is_named(content: bytes, tmp_path: Path) -> None:
    file = write(tmp_path)
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"not XML|no VOC annotation") as error:
        read_dataset(tmp_path)
    assert error.value.file == file


def test_annotation_without_an_image_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "JPEGImages" / "a.jpg").unlink()
    with pytest.raises(DataError, match=r"a\.xml: there is no image 'a\.jpg' in .*JPEGImages"):
        read_dataset(tmp_path)
