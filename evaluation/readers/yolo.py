"""Reading YOLO: one text file an image, one box a line: `class cx cy w h`, in shares of the image's size.

Two layouts: a `data.yaml` with `names` and where `train`, `val`, `test` lie (all are read, since we split
ourselves; `Image.extra["split"]` keeps which it was), or a folder of `images/`, `labels/`, `classes.txt`. The
labels of `…/images/a/b.jpg` are `…/labels/a/b.txt`; where no folder is called `images`, they lie beside the
image. An image without a label file is one without objects. Polygons (YOLO segmentation) are not read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path

from metricsmith.sandbox.errors import DataError

from ..dataset import Box, Dataset, Image
from ..progress import Progress
from .document import Record, load_yaml, parsed, text_of
from .folders import files_in, first_folder, image_files
from .intake import Intake, checked_box, size_of

__all__ = ["description_file", "read_yolo"]

_SPLITS = ("train", "val", "test")
_NOT_LABELS = {
    "classes.txt",
    "obj.names",
}


class _Description(Record):
    names: list[str] | dict[int, str]
    path: str | None = None
    train: str | list[str] | None = None
    val: str | list[str] | None = None
    test: str | list[str] | None = None


def description_file(path: Path) -> Path | None:
    """The YAML file: `path` itself, or `data.yaml`, `data.yml`, `dataset.yaml` in it; None without one."""
    if path.is_file():
        return path
    files = (path / name for name in ("data.yaml", "data.yml", "dataset.yaml"))
    return next((file for file in files if file.is_file()), None)


def read_yolo(path: Path, images: Path | None, name: str, intake: Intake, progress: Progress) -> Dataset:
    """The data set described by a YAML file or lying in a folder. Ids count from 1, in the paths' order."""
    described = description_file(path)
    if described is None:
        root, class_names = images or first_folder(path, "images") or path, _listed_classes(path)
        splits = dict.fromkeys(image_files(root), "")
        labels = first_folder(path, "labels")
        label_files = {image: _label_file(image, root, labels) for image in splits}
    else:
        description = parsed(_Description, load_yaml(described), described)
        root, class_names = _root(described, description), _described_classes(described, description)
        splits = (
            dict.fromkeys(image_files(images), "")
            if images
            else _split_images(described, description, intake)
        )
        label_files = {image: _label_file(image) for image in splits}

    for orphan in _orphans(label_files):
        with intake.item():
            raise DataError(orphan, "there is no image for these labels")

    read: list[Image] = []
    box_ids = count(1)
    for done, (image, split) in enumerate(splits.items(), 1):
        with intake.item():
            size = size_of(image)
            boxes: list[Box] = []
            for item, line in _lines(label_files[image]):
                with intake.item():
                    boxes.append(_box(line, next(box_ids), class_names, size, label_files[image], item))
            file_name = Path(os.path.relpath(image, root)).as_posix()
            extra = {"split": split} if split else {}
            read.append(Image(done, image, file_name, *size, tuple(boxes), extra=extra))
        progress("reading images", done, len(splits))
    return Dataset(name, root, tuple(read), tuple(class_names))


def _listed_classes(path: Path) -> list[str]:
    names = ("classes.txt", "labels/classes.txt", "obj.names")
    file = next((path / name for name in names if (path / name).is_file()), None)
    if file is None:
        raise DataError(
            path, "there is no data.yaml and no classes.txt", remedy="write the class names, one a line"
        )
    return [line.strip() for line in text_of(file).rstrip().splitlines()]


def _described_classes(file: Path, description: _Description) -> list[str]:
    names = description.names
    if isinstance(names, list):
        return names
    if sorted(names) != list(range(len(names))):
        raise DataError(file, f"the classes are not numbered 0 to {len(names) - 1}", item="names")
    return [names[index] for index in range(len(names))]


def _root(file: Path, description: _Description) -> Path:
    """The folder that splits are relative to: `path`, or the file's own where that is another machine's."""
    stated = file.parent / (description.path or "")
    return stated if os.path.isdir(stated) else file.parent


def _split_images(file: Path, description: _Description, intake: Intake) -> dict[Path, str]:
    """Each image's split. An image of several (coco8 trains and tests on the same ones) is in the first."""
    root = _root(file, description)
    found: dict[Path, str] = {}
    for split in _SPLITS:
        places = getattr(description, split) or []
        for place in [places] if isinstance(places, str) else places:
            with intake.item():
                for image in _images_at(file, root, place, split):
                    found.setdefault(image, split)
    if not found and not any(getattr(description, split) for split in _SPLITS):
        return dict.fromkeys(image_files(first_folder(root, "images") or root), "")
    return found


def _images_at(file: Path, root: Path, place: str, split: str) -> list[Path]:
    # Roboflow writes `../train/images` for a folder that lies beside the YAML file.
    tried = [root / place, root / place.removeprefix("../")]
    there = next((path for path in tried if os.path.exists(path)), None)
    if there is None:
        raise DataError(file, f"there is no {tried[0]}", item=split)
    there = Path(os.path.normpath(there))
    if there.is_dir():
        return image_files(there)
    return [
        Path(os.path.normpath(there.parent / line)) for line in text_of(there).split("\n") if line.strip()
    ]


def _label_file(image: Path, root: Path | None = None, labels: Path | None = None) -> Path:
    if root and labels:
        return labels / image.relative_to(root).with_suffix(".txt")
    if "images" in image.parts[:-1]:
        last = max(index for index, part in enumerate(image.parts[:-1]) if part == "images")
        folder = Path(*image.parts[:last], "labels")
        if folder.is_dir():
            return folder.joinpath(*image.parts[last + 1 :]).with_suffix(".txt")
    return image.with_suffix(".txt")


def _orphans(label_files: Mapping[Path, Path]) -> list[Path]:
    """Label files without an image, in folders that hold nothing but labels."""
    folders = {labels.parent for image, labels in label_files.items() if labels.parent != image.parent}
    files = {file for folder in folders for file in files_in(folder, "*.txt") if file.name not in _NOT_LABELS}
    return sorted(files - set(label_files.values()))


def _lines(file: Path) -> Iterator[tuple[str, str]]:
    """Each line that is not blank, with what to call it in a message; none where there is no such file."""
    if file.is_file():
        for number, line in enumerate(text_of(file).splitlines(), 1):
            if line.strip():
                yield f"line {number}", line


def _box(line: str, id: int, class_names: Sequence[str], size: tuple[int, int], file: Path, item: str) -> Box:
    fields = line.split()
    if len(fields) != 5:
        kind = (
            "; is it a polygon?"
            if len(fields) > 6
            else "; is it a detection with a score?"
            if len(fields) == 6
            else ""
        )
        raise DataError(file, f"{len(fields)} fields instead of 5 (class cx cy w h){kind}", item=item)
    try:
        label, (cx, cy, w, h) = int(fields[0]), map(float, fields[1:])
    except ValueError as error:
        raise DataError(file, f"not a box (class cx cy w h): {error}", item=item) from None
    if not 0 <= label < len(class_names):
        raise DataError(file, f"there is no class {label} (known: 0 to {len(class_names) - 1})", item=item)
    width, height = size
    xywh = ((cx - w / 2) * width, (cy - h / 2) * height, w * width, h * height)
    return Box(id, label, checked_box(xywh, size, file, item))
