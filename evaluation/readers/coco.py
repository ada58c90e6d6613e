"""Reading COCO detection files: `images`, `annotations`, `categories` in one JSON.

Fields that we do not use (segmentations, licences, keypoints, …) are kept untouched in `extra`, so that
`writers.write_coco` gives back what was read; `Dataset.extra["categories"]` has the categories as they were.
An image's `video` or `video_id` becomes its group, `frame` or `frame_id` its frame. Detections (COCO results)
are no data set and are not read.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from metricsmith.sandbox.errors import DataError

from ..dataset import Box, Dataset, Image
from ..progress import Progress
from .document import Record, numbered, parsed
from .folders import find_images
from .intake import Intake, checked_box, size_of

__all__ = ["Category", "categories_of", "frame_of", "group_of", "read_coco"]


class _Document(Record):
    images: list[Any]
    annotations: list[Any]
    categories: list[Any]


class Category(Record):
    """A class: its id in this file and its name."""

    id: int
    name: str


class _Image(Record):
    id: int | str
    file_name: str
    width: int | None = None
    height: int | None = None


class _Annotation(Record):
    id: int | str
    image_id: int | str
    category_id: int
    bbox: Annotated[list[float], Field(min_length=4, max_length=4)]
    area: float | None = None
    iscrowd: Literal[0, 1] | bool | None = None


def read_coco(
    document: Any, file: Path, images: Path | None, name: str, intake: Intake, progress: Progress
) -> Dataset:
    """The data set in `document`, the JSON value of `file`. DataError where it is none."""
    if isinstance(document, list):
        reason = "this is a list (of detections?), not a data set"
        raise DataError(
            file, reason, remedy='a COCO data set is an object with "images", "annotations", "categories"'
        )
    whole = parsed(_Document, document, file)
    categories = categories_of(whole.categories, file)
    labels = {id: label for label, id in enumerate(categories)}

    records = _images(whole.images, file, intake)
    annotations = _annotations(whole.annotations, file, intake, records, labels)
    root = images or find_images(file, [image.file_name for image in records.values()])
    read: list[Image] = []
    for done, image in enumerate(records.values(), 1):
        with intake.item():
            path = root / image.file_name
            width, height = size_of(path, (image.width, image.height))
            boxes: list[Box] = []
            for place, annotation in annotations.get(image.id, ()):
                with intake.item():
                    boxes.append(_box(annotation, labels, (width, height), file, place))
            extra = image.model_extra or {}
            told = _told_by_place(extra)
            read.append(
                Image(
                    id=image.id,
                    path=path,
                    file_name=image.file_name,
                    width=width,
                    height=height,
                    boxes=tuple(boxes),
                    group=group_of(extra),
                    frame=frame_of(extra),
                    extra={key: value for key, value in extra.items() if key not in told},
                )
            )
        progress("reading images", done, len(records))

    return Dataset(
        name=name,
        root=root,
        images=tuple(read),
        class_names=tuple(category.name for category in categories.values()),
        class_ids=tuple(categories),
        extra={**(whole.model_extra or {}), "categories": whole.categories},
    )


def categories_of(values: Sequence[Any], file: Path) -> dict[int, Category]:
    """The categories by id, in their order. DataError where an id is used twice."""
    categories: dict[int, Category] = {}
    for item, value in numbered("categories", values):
        category = parsed(Category, value, file, item)
        if category.id in categories:
            raise DataError(
                file, f"category id {category.id} is used twice", item=item, remedy="renumber one"
            )
        categories[category.id] = category
    return categories


def group_of(fields: Mapping[str, Any]) -> str | None:
    """The video that an image with these COCO fields is a frame of: `video`, else `video_id`, else None."""
    for value in (fields.get("video"), fields.get("video_id")):
        if type(value) in (int, str):
            return str(value)
    return None


def frame_of(fields: Mapping[str, Any]) -> int | None:
    """The number within its video of an image with these COCO fields: `frame`, else `frame_id`, else None."""
    for value in (fields.get("frame"), fields.get("frame_id")):
        if type(value) is int or (type(value) is str and value.isdecimal() and len(value) < 16):
            return int(value)
    return None


def _images(values: Sequence[Any], file: Path, intake: Intake) -> dict[int | str, _Image]:
    """The images by id, in their order."""
    records: dict[int | str, _Image] = {}
    for item, value in numbered("images", values):
        with intake.item():
            image = parsed(_Image, value, file, item)
            if image.id in records:
                raise DataError(file, f"image id {image.id!r} is used twice", item=item)
            records[image.id] = image
    return records


def _annotations(
    values: Sequence[Any],
    file: Path,
    intake: Intake,
    images: Container[int | str],
    labels: Mapping[int, int],
) -> dict[int | str, list[tuple[str, _Annotation]]]:
    """The annotations by the id of their image, each with what to call it in a message."""
    by_image: dict[int | str, list[tuple[str, _Annotation]]] = {}
    seen: set[int | str] = set()
    for item, value in numbered("annotations", values):
        with intake.item():
            annotation = parsed(_Annotation, value, file, item)
            if annotation.id in seen:
                raise DataError(file, f"annotation id {annotation.id!r} is used twice", item=item)
            if annotation.category_id not in labels:
                known = ", ".join(map(str, labels)) or "none"
                reason = f"there is no category {annotation.category_id} (known: {known})"
                raise DataError(file, reason, item=item)
            if annotation.image_id not in images:
                raise DataError(file, f"there is no image {annotation.image_id!r}", item=item)
            seen.add(annotation.id)
            by_image.setdefault(annotation.image_id, []).append((item, annotation))
    return by_image


def _told_by_place(fields: Mapping[str, Any]) -> set[str]:
    """The fields that `Image.group` and `Image.frame` express, type and all: `extra` need not repeat them."""
    told = set()
    if type(fields.get("video")) is str and "video_id" not in fields:
        told.add("video")
    if type(fields.get("frame")) is int and "frame_id" not in fields:
        told.add("frame")
    return told


def _box(
    annotation: _Annotation, labels: Mapping[int, int], size: tuple[int, int], file: Path, item: str
) -> Box:
    return Box(
        id=annotation.id,
        label=labels[annotation.category_id],
        xywh=checked_box(annotation.bbox, size, file, item),
        crowd=bool(annotation.iscrowd),
        area=annotation.area,
        extra=annotation.model_extra or {},
    )
