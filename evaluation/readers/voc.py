"""Reading Pascal VOC: one XML file an image in `Annotations/`, the images in `JPEGImages/` or `images/`.

A box is (xmin, ymin, xmax - xmin, ymax - ymin), as most tools write and read it (globox does), not the
original VOC's inclusive pixels counted from 1. Images without an XML file are not annotated and not read;
`ImageSets/` is not either, since we split ourselves. `difficult`, `truncated`, `pose` and all else go into
`extra`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from metricsmith.sandbox.errors import DataError

from ..dataset import Box, Dataset, Image
from ..progress import Progress
from .folders import files_in, first_folder, image_named
from .intake import Intake, checked_box, size_of

__all__ = ["annotation_files", "read_voc"]


def annotation_files(path: Path) -> list[Path]:
    """The XML files in `Annotations/` or `annotations/`, sorted. Empty where there are none."""
    folder = first_folder(path, "Annotations", "annotations")
    return files_in(folder, "*.xml") if folder else []


def read_voc(path: Path, images: Path | None, name: str, intake: Intake, progress: Progress) -> Dataset:
    """The data set in the folder `path`. Classes are in alphabetical order; ids count from 1."""
    root = images or first_folder(path, "JPEGImages", "images") or path
    files = annotation_files(path)
    trees: dict[Path, Element] = {}
    for file in files:
        with intake.item():
            trees[file] = _tree(file)
    names = {_text(obj, "name") for tree in trees.values() for obj in tree.findall("object")}
    labels = {name: label for label, name in enumerate(sorted(names - {""}))}

    read: list[Image] = []
    box_ids = count(1)
    for done, (file, tree) in enumerate(trees.items(), 1):
        with intake.item():
            image_path = _image_path(file, tree, root)
            size = size_of(image_path, (_declared(file, tree, "width"), _declared(file, tree, "height")))
            boxes: list[Box] = []
            for index, obj in enumerate(tree.findall("object")):
                with intake.item():
                    boxes.append(_box(obj, next(box_ids), labels, size, file, f"object[{index}]"))
            extra = _fields(tree, without={"filename", "size", "object"})
            file_name = image_path.relative_to(root).as_posix()
            read.append(Image(done, image_path, file_name, *size, tuple(boxes), extra=extra))
        progress("reading images", done, len(trees))
    return Dataset(name, root, tuple(read), tuple(labels))


def _tree(file: Path) -> Element:
    try:
        tree = ElementTree.parse(file).getroot()
    except (
        ElementTree.ParseError,
        OSError,
        ValueError,
        LookupError,
    ) as error:  # LookupError: unknown encoding
        raise DataError(file, f"this is not XML: {error}") from None
    if tree.tag != "annotation":
        raise DataError(file, f"this is no VOC annotation: its root is <{tree.tag}>, not <annotation>")
    return tree


def _image_path(file: Path, tree: Element, root: Path) -> Path:
    """The image that the file names or, since images get renamed, that has the file's own name."""
    named = Path(_text(tree, "filename")).name
    if named and os.path.isfile(root / named):
        return root / named
    found = (image_named(root, named) if named else None) or image_named(root, file.stem)
    if found is None:
        raise DataError(file, f"there is no image {named or file.stem!r} in {root}")
    return found


def _box(
    obj: Element, id: int, labels: Mapping[str, int], size: tuple[int, int], file: Path, item: str
) -> Box:
    name = _text(obj, "name")
    if not name:
        raise DataError(file, "the object has no name", item=item)
    item = f"{item} ({name})"
    left, top, right, bottom = (
        _number(file, item, obj, f"bndbox/{key}") for key in ("xmin", "ymin", "xmax", "ymax")
    )
    xywh = checked_box((left, top, right - left, bottom - top), size, file, item)
    return Box(id, labels[name], xywh, extra=_fields(obj, without={"name", "bndbox"}))


def _text(element: Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def _number(file: Path, item: str | None, element: Element, path: str) -> float:
    text = _text(element, path)
    try:
        return float(text)
    except ValueError:
        reason = f"<{path}> is not a number: {text!r}" if text else f"there is no <{path}>"
        raise DataError(file, reason, item=item) from None


def _declared(file: Path, tree: Element, side: str) -> float | None:
    """The declared width or height; None where it is missing or, as some tools write it, 0."""
    if not _text(tree, f"size/{side}"):
        return None
    value = _number(file, None, tree, f"size/{side}")
    return (int(value) if value.is_integer() else value) or None


def _fields(element: Element, without: set[str]) -> dict[str, Any]:
    """The element's children by tag, as text or, where they have children, in the same form."""
    return {
        child.tag: _fields(child, without=set()) if len(child) else (child.text or "").strip()
        for child in element
        if child.tag not in without
    }
