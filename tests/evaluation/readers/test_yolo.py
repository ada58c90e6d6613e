from __future__ import annotations

from pathlib import Path

import globox
import numpy as np
import PIL.Image
import pytest

from metricsmith.evaluation.readers import read_dataset
from metricsmith.sandbox.errors import DataError


def image_at(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", (60, 40)).save(path)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """images/ and labels/, one level deeper for one of them, and one image without labels."""
    for name in ("a.jpg", "sub/b.JPG", "c.png"):
        image_at(tmp_path / "images" / name)
    write(tmp_path / "labels/a.txt", "0 0.5 0.5 1 1\n\n1 0.25 0.5 0.1 0.2\n")
    write(tmp_path / "labels/sub/b.txt", "1 0.5 0.5 0.333333 0.1")
    write(tmp_path / "classes.txt", "panda\nred panda\n\n")
    return tmp_path


def test_folder_with_images_labels_and_classes(folder: Path) -> None:
    dataset = read_dataset(folder)
    assert dataset.class_names == ("panda", "red panda")
    assert [image.file_name for image in dataset.images] == ["a.jpg", "c.png", "sub/b.JPG"]
    first, empty, last = dataset.images
    assert first.boxes[0].xywh == (0, 0, 60, 40)
    assert first.boxes[1].xywh == pytest.approx((12, 16, 6, 8), abs=1e-12)
    assert empty.boxes == ()
    assert last.labels.tolist() == [1]


def test_boxes_equal_those_that_globox_reads(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image_at(tmp_path / "images/a.jpg")
    sizes = rng.uniform(0.05, 0.4, (50, 2))
    centres = rng.uniform(sizes / 2, 1 - sizes / 2)
    rows = [
        f"{number % 2} {cx:.6f} {cy:.6f} {w:.6f} {h:.6f}"
        for number, (cx, cy, w, h) in enumerate(np.hstack([centres, sizes]))
    ]
    write(tmp_path / "labels/a.txt", "\n".join(rows))
    write(tmp_path / "classes.txt", "x\ny")
    theirs = globox.AnnotationSet.from_yolo_v5(tmp_path / "labels", image_folder=tmp_path / "images")
    ours = read_dataset(tmp_path).images[0]
    assert [str(label) for label in ours.labels] == [box.label for box in theirs["a.jpg"].boxes]
    expected = [box.ltwh for box in theirs["a.jpg"].boxes]
    np.testing.assert_allclose([box.xywh for box in ours.boxes], expected, atol=1e-9)


def yaml_set(root: Path, text: str) -> Path:
    for split in ("train", "val"):
        image_at(root / split / "images" / f"{split}.jpg")
        write(root / split / "labels" / f"{split}.txt", "0 0.5 0.5 0.5 0.5")
    return write(root / "data.yaml", text)


def test_data_yaml_reads_all_splits_and_says_which(tmp_path: Path) -> None:
    file = yaml_set(tmp_path, "train: train/images\nval: val/images\nnc: 1\nnames: [panda]\n")
    for path in (file, tmp_path):
        dataset = read_dataset(path)
        assert [image.extra["split"] for image in dataset.images] == ["train", "val"]
        assert [image.file_name for image in dataset.images] == [
            "train/images/train.jpg",
            "val/images/val.jpg",
        ]
        assert dataset.box_count == 2
        assert dataset.class_names == ("panda",)


@pytest.mark.parametrize(
    "text",
    [
        "train: ../train/images\nval: ../val/images\nnames: [panda]",  # as Roboflow writes it
        "path: .\ntrain: [train/images, val/images]\nnames: {0: panda}",
        "path: /home/someone/datasets/x\ntrain: train/images\nval: val/images\nnames:\n  0: panda\n",
        "train: train/images\nval: val/images\ntest: train/images\nnames: [panda]",
        "train: list.txt\nnames: [panda]",
    ],
)
def test_ways_to_write_data_yaml(text: str, tmp_path: Path) -> None:
    root = tmp_path / "set"
    write(root / "list.txt", "./train/images/train.jpg\nval/images/val.jpg\n")
    dataset = read_dataset(yaml_set(root, text))
    assert [image.path.name for image in dataset.images] == ["train.jpg", "val.jpg"]
    assert dataset.box_count == 2
    assert dataset.class_names == ("panda",)


def test_labels_beside_the_images(tmp_path: Path) -> None:
    image_at(tmp_path / "pictures/a.jpg")
    write(tmp_path / "pictures/a.txt", "0 0.5 0.5 0.5 0.5")
    write(tmp_path / "pictures/README.txt", "hello")
    write(tmp_path / "data.yaml", "train: pictures\nnames: [panda]")
    assert read_dataset(tmp_path).box_count == 1


def test_images_may_lie_elsewhere(folder: Path) -> None:
    elsewhere = folder.parent / (folder.name + "-pictures")
    (folder / "images").rename(elsewhere)
    assert read_dataset(folder, images=elsewhere).box_count == 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.5", "line 1: 4 fields instead of 5"),
        ("0 0.5 0.5 0.5 0.5 0.9", "6 fields .* a detection with a score"),
        ("0 0.1 0.1 0.2 0.2 0.3 0.1", "7 fields .* a polygon"),
        ("panda 0.5 0.5 0.5 0.5", "not a box .*'panda'"),
        ("0 0.5 0.5 x 0.5", "not a box .*'x'"),
        ("2 0.5 0.5 0.5 0.5", r"there is no class 2 \(known: 0 to 1\)"),
        ("-1 0.5 0.5 0.5 0.5", "there is no class -1"),
        ("0 0.5 0.5 nan 0.5", "is not finite"),
        ("0 0.5 0.5 0 0.5", "has no area"),
        ("0 0.9 0.5 0.5 0.5", "lies outside its 60×40 image"),
        ("0 30 20 10 10", "lies outside its 60×40 image"),
    ],
)
def test_bad_line_is_named_or_skipped(line: str, message: str, folder: Path) -> None:
    file = write(folder / "labels/c.txt", line)
    with pytest.raises(DataError, match=message) as error:
        read_dataset(folder)
    assert error.value.file == file
    assert "--skip-bad" in error.value.remedy
    dataset = read_dataset(folder, skip_bad=True)
    assert (len(dataset), dataset.box_count, len(dataset.skipped)) == (3, 3, 1)


def test_labels_without_an_image_are_named_or_skipped(folder: Path) -> None:
    write(folder / "labels/ghost.txt", "0 0.5 0.5 0.5 0.5")
    with pytest.raises(DataError, match=r"ghost\.txt: there is no image"):
        read_dataset(folder)
    assert len(read_dataset(folder, skip_bad=True).skipped) == 1


def test_damaged_image_is_named_or_skipped(folder: Path) -> None:
    (folder / "images/a.jpg").write_bytes((folder / "images/a.jpg").read_bytes()[:300])
    with pytest.raises(DataError, match=r"a\.jpg: "):
        read_dataset(folder)
    dataset = read_dataset(folder, skip_bad=True)
    assert (len(dataset), len(dataset.skipped)) == (2, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "valid dictionary"),
        ("names: [a", "not YAML"),
        ("train: images", "names: field required"),
        ("names: {0: a, 2: b}", "the classes are not numbered 0 to 1"),
        ("names: [1, 2]", "names"),
        ("names: [a, b]\ntrain: nowhere", r"data\.yaml: train: there is no .*nowhere"),
        ("names: [a, b]\ntrain: {a: b}", "train"),
        (f"names: [a, b]\ntrain: {'x' * 5000}", "train: there is no"),
        (f'names: [a, b]\npath: {"x" * 5000}\ntrain: "\\0"', "train: there is no"),
    ],
)
def test_bad_data_yaml_is_named(text: str, message: str, folder: Path) -> None:
    write(folder / "data.yaml", text)
    with pytest.raises(DataError, match=message):
        read_dataset(folder)


def test_what_macos_leaves_in_folders_is_not_read(folder: Path) -> None:
    write(folder / "images/._a.jpg", "Mac OS X")
    write(folder / "labels/._a.txt", "Mac OS X")
    assert len(read_dataset(folder)) == 3


def test_missing_classes_are_named(folder: Path) -> None:
    (folder / "classes.txt").unlink()
    with pytest.raises(DataError, match=r"no data\.yaml and no classes\.txt; write the class names"):
        read_dataset(folder)
