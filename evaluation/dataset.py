"""The one in-memory form of a data set that every reader ends in.

Boxes are kept as they were written, in COCO's xywh, so that writing them back loses nothing; `xyxy` and
`labels` give the arrays that everything else works on. Pixels are not here: see `pixels`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Box", "Dataset", "Image", "Skipped"]


@dataclass(frozen=True, slots=True)
class Box:
    """One annotated object."""

    id: int | str
    """Unique within the data set, as written in the source or counted from 1."""
    label: int
    """Index into `Dataset.class_names`."""
    xywh: tuple[float, float, float, float]
    """Left, top, width, height in pixels, exactly as written."""
    crowd: bool = False
    """COCO's `iscrowd`: evaluation ignores it."""
    area: float | None = None
    """COCO's `area` (of the mask, in pixels²); None where the source has none: then width × height."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Every other field of the source's annotation."""

    @property
    def xyxy(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom in pixels."""
        x, y, w, h = self.xywh
        return x, y, x + w, y + h


@dataclass(frozen=True, slots=True)
class Image:
    """One image file and its boxes."""

    id: int | str
    """Unique within the data set, as written in the source or counted from 1."""
    path: Path
    """Where the file lies."""
    file_name: str
    """As written in the source, relative to the images' folder."""
    width: int
    """Pixels, after EXIF rotation."""
    height: int
    """Pixels, after EXIF rotation."""
    boxes: tuple[Box, ...] = ()
    group: str | None = None
    """The video that this is a frame of; None for a still."""
    frame: int | None = None
    """Its number within the group; None for a still."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Every other field of the source's image."""

    @property
    def xyxy(self) -> npt.NDArray[np.float32]:
        """The boxes, (N, 4) float32, xyxy pixels."""
        return np.array([box.xyxy for box in self.boxes], np.float32).reshape(-1, 4)

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """The boxes' classes, (N,) int64, indices into `Dataset.class_names`."""
        return np.array([box.label for box in self.boxes], np.int64)


@dataclass(frozen=True, slots=True)
class Skipped:
    """An item that `--skip-bad` left out."""

    file: Path
    item: str | None
    reason: str


@dataclass(frozen=True)
class Dataset:
    """Images, boxes and classes. Immutable; `with_images` makes another one."""

    name: str
    root: Path
    images: tuple[Image, ...]
    class_names: tuple[str, ...]
    class_ids: tuple[int, ...] = ()
    """The category ids of the source, one a class name; empty: 1, 2, …"""
    skipped: tuple[Skipped, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Every other top-level field of the source (COCO's info, licenses, category fields, …)."""

    def __len__(self) -> int:
        """The number of images."""
        return len(self.images)

    @property
    def box_count(self) -> int:
        """The number of boxes in all images."""
        return sum(len(image.boxes) for image in self.images)

    def with_images(self, images: Iterable[Image]) -> Dataset:
        """The same data set with other images."""
        return replace(self, images=tuple(images))

    def subset(self, ids: Iterable[int | str]) -> Dataset:
        """The images with these ids, in the data set's own order. KeyError if one is missing."""
        wanted = set(ids)
        missing = wanted - {image.id for image in self.images}
        if missing:
            raise KeyError(f"no image with id {sorted(missing, key=str)[0]!r} in {self.name}")
        return self.with_images(image for image in self.images if image.id in wanted)

    def fingerprint(self) -> str:
        """SHA-256 (hex) of classes, file names, sizes, groups and boxes; not of the pixels or the folder."""
        facts = [
            self.class_names,
            [
                (i.id, i.file_name, i.width, i.height, i.group, i.frame, [(b.label, b.xywh) for b in i.boxes])
                for i in self.images
            ],
        ]
        return hashlib.sha256(json.dumps(facts, separators=(",", ":")).encode()).hexdigest()
