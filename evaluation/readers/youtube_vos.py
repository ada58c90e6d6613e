"""Reading YouTube-VOS: `meta.json`, `JPEGImages/VIDEO/FRAME.jpg`, `Annotations/VIDEO/FRAME.png`.

The masks are palette images whose pixel values are object numbers; an object's box is the extent of its
pixels: (xmin, ymin, xmax - xmin + 1, ymax - ymin + 1). An object may be absent from a frame. A frame without
a mask file was not annotated, which is not the same as being empty: it is not read. Which videos there are,
`meta.json` says; others are not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image

from metricsmith.sandbox.errors import DataError

from ..dataset import Box, Dataset, Image
from ..progress import Progress
from .document import Record, load_json, parsed
from .folders import files_in, image_named
from .intake import Intake, checked_box, size_of

__all__ = ["is_youtube_vos", "read_youtube_vos"]


class _Object(Record):
    category: str


class _Video(Record):
    objects: dict[str, _Object]


class _Meta(Record):
    videos: dict[str, _Video]


def is_youtube_vos(path: Path) -> bool:
    """Whether the folder looks like a YouTube-VOS data set."""
    return (path / "meta.json").is_file() and (path / "Annotations").is_dir()


def read_youtube_vos(
    path: Path, images: Path | None, name: str, intake: Intake, progress: Progress
) -> Dataset:
    """The data set in the folder `path`. Classes are in alphabetical order.

    An image has the id `VIDEO/FRAME`, a box `VIDEO/FRAME/OBJECT`, as in the files' names."""
    root, meta_file = images or path / "JPEGImages", path / "meta.json"
    meta = parsed(_Meta, load_json(meta_file), meta_file)
    names = {obj.category for video in meta.videos.values() for obj in video.objects.values()}
    labels = {category: label for label, category in enumerate(sorted(names))}

    masks: list[tuple[str, Path]] = []
    for video in sorted(meta.videos):
        with intake.item():
            found = files_in(path / "Annotations" / video, "*.png")
            if not found:
                reason = f"it has no masks in {path / 'Annotations' / video}"
                raise DataError(meta_file, reason, item=f"video {video}")
            masks += [(video, mask) for mask in found]

    read: list[Image] = []
    for done, (video, mask) in enumerate(masks, 1):
        with intake.item():
            if not mask.stem.isdecimal():
                raise DataError(mask, "the file is not named by its frame's number")
            image = image_named(root / video, mask.stem)
            if image is None:
                raise DataError(mask, f"there is no image {mask.stem!r} in {root / video}")
            size, name_of_image = size_of(image), f"{video}/{mask.stem}"
            boxes: list[Box] = []
            for number, xywh, area in _extents(_object_numbers(mask, size)):
                with intake.item():
                    obj = meta.videos[video].objects.get(str(number))
                    item = f"object {number}"
                    if obj is None:
                        raise DataError(mask, f"video {video} has no such object in {meta_file}", item=item)
                    box = checked_box(xywh, size, mask, item)
                    extra = {"object": number}
                    box_id = f"{name_of_image}/{number}"
                    boxes.append(Box(box_id, labels[obj.category], box, area=area, extra=extra))
            file_name = image.relative_to(root).as_posix()
            frame = int(mask.stem)
            read.append(Image(name_of_image, image, file_name, *size, tuple(boxes), video, frame))
        progress("reading images", done, len(masks))
    return Dataset(name, root, tuple(read), tuple(labels))


def _object_numbers(file: Path, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """The object number of each pixel, (H, W); 0 is the background."""
    try:
        with PIL.Image.open(file) as mask:
            if mask.mode not in {"P", "L"}:
                raise DataError(file, f"the mask is not a palette image (its mode is {mask.mode})")
            numbers = np.array(mask, np.uint8)
    except DataError:
        raise
    except Exception as error:  # a damaged file raises whatever its decoder stumbles over
        raise DataError(file, f"the mask is truncated, damaged or no image: {error}") from None
    if numbers.shape != size[::-1]:
        reason = f"the mask is {numbers.shape[1]}×{numbers.shape[0]}, its image {size[0]}×{size[1]}"
        raise DataError(file, reason)
    return numbers


def _extents(
    numbers: npt.NDArray[np.uint8],
) -> Iterator[tuple[int, tuple[float, float, float, float], float]]:
    """Each object's number, its xywh box and its area in pixels."""
    areas = np.bincount(numbers.ravel())
    for number in map(int, np.flatnonzero(areas)):
        if number == 0:
            continue
        pixels = numbers == number
        columns, rows = np.flatnonzero(pixels.any(axis=0)), np.flatnonzero(pixels.any(axis=1))
        left, top = int(columns[0]), int(rows[0])
        xywh = (left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1)
        yield number, xywh, float(areas[number])
