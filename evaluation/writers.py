"""Writing data sets as COCO JSON, so that reading them back gives the same data set.

Images are not copied. Other formats are not written: every tool reads COCO.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from metricsmith.sandbox.errors import DataError

from .dataset import Box, Dataset, Image
from .files import write_atomic
from .readers.coco import frame_of, group_of
from .readers.folders import find_images

__all__ = ["link_images", "write_coco"]


def write_coco(dataset: Dataset, path: Path, *, relative_to: Path | None = None) -> None:
    """Write the data set to `path`, atomically.

    Every field of a COCO source is written as it was read, `extra` included. Where the source had none,
    `area` is width × height, `iscrowd` 0, and group and frame become the image's `video` and `frame`. A file
    name is the source's where the readers will find the image by it; else it is the way there from
    `relative_to`, by default the folder of `path`. DataError where `extra` holds what JSON cannot express.
    """
    ids = dataset.class_ids or tuple(range(1, len(dataset.class_names) + 1))
    sources = {(source["id"], source["name"]): source for source in dataset.extra.get("categories", ())}
    name_of = _naming(dataset, path, relative_to)
    document = {
        **dataset.extra,
        "images": [_image(image, name_of(image)) for image in dataset.images],
        "annotations": [
            _annotation(image, box, ids[box.label]) for image in dataset.images for box in image.boxes
        ],
        "categories": [
            {**sources.get((id, name), {}), "id": id, "name": name}
            for id, name in zip(ids, dataset.class_names, strict=True)
        ],
    }
    try:
        text = json.dumps(document, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise DataError(path, f"the data set cannot be written as JSON: {error}") from None
    write_atomic(path, text)


def link_images(dataset: Dataset, folder: Path) -> None:
    """Make `images` in `folder` a link to the images' folder, so that files written there keep the names.

    Does nothing where the images have no folder in common that their file names are relative to.
    """
    homes = {_home(image) for image in dataset.images}
    if len(homes) == 1 and (home := homes.pop()):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "images").symlink_to(home, target_is_directory=True)


def _home(image: Image) -> Path | None:
    """The folder that the image's file name is relative to."""
    depth = len(Path(image.file_name).parts)
    home = Path(os.path.realpath(image.path.parents[depth - 1])) if depth <= len(image.path.parents) else None
    return home if home and os.path.realpath(home / image.file_name) == os.path.realpath(image.path) else None


def _naming(dataset: Dataset, path: Path, relative_to: Path | None) -> Callable[[Image], str]:
    """How to name an image's file."""
    if relative_to is None and _found_again(dataset, path):
        return lambda image: image.file_name
    base = os.path.realpath(relative_to or path.parent)

    def relative(image: Image) -> str:
        # Folders are resolved, or `..` would lead out of a linked one; the file itself may be a link.
        place = Path(os.path.relpath(os.path.realpath(image.path.parent), base))
        return (place / image.path.name).as_posix()

    return relative


def _found_again(dataset: Dataset, path: Path) -> bool:
    """Whether the readers, given `path`, would take each file name for the file that it is now."""
    try:
        folder = find_images(path, [image.file_name for image in dataset.images])
    except DataError:
        return False
    return all(
        os.path.realpath(folder / image.file_name) == os.path.realpath(image.path) for image in dataset.images
    )


def _image(image: Image, file_name: str) -> dict[str, Any]:
    fields = {
        **image.extra,
        "id": image.id,
        "file_name": file_name,
        "width": image.width,
        "height": image.height,
    }
    if group_of(fields) != image.group:
        fields["video"] = image.group
    if frame_of(fields) != image.frame:
        fields["frame"] = image.frame
    return fields


def _annotation(image: Image, box: Box, category_id: int) -> dict[str, Any]:
    return {
        **box.extra,
        "id": box.id,
        "image_id": image.id,
        "category_id": category_id,
        "bbox": list(box.xywh),
        "area": box.xywh[2] * box.xywh[3] if box.area is None else box.area,
        "iscrowd": int(box.crowd),
    }
