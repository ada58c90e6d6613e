"""Reading YouTube-VIS: one JSON of `videos` (with `file_names`), `annotations` (a box a frame), `categories`.

Each frame becomes an image of the group named after its video's folder, each box of a track a box with the
track's id in `extra["track"]`. Every frame is taken as annotated: one without boxes has no objects. Category
ids differ between the years' files, names do not: classes are known by their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import Field

from metricsmith.sandbox.errors import DataError

from ..dataset import Box, Dataset, Image
from ..progress import Progress
from .coco import categories_of
from .document import Record, numbered, parsed
from .folders import find_images
from .intake import Intake, checked_box, size_of

__all__ = ["is_youtube_vis", "read_youtube_vis"]

_Bbox = Annotated[list[float], Field(min_length=4, max_length=4)]


class _Document(Record):
    videos: list[Any]
    annotations: list[Any]
    categories: list[Any]


class _Video(Record):
    id: int | str
    file_names: Annotated[list[str], Field(min_length=1)]
    width: int | None = None
    height: int | None = None


class _Track(Record):
    id: int | str
    video_id: int | str
    category_id: int
    bboxes: list[_Bbox | None]
    areas: list[float | None] | None = None
    segmentations: list[Any] | None = None
    iscrowd: Literal[0, 1] | bool | None = None


def is_youtube_vis(document: Any) -> bool:
    """Whether a JSON value looks like YouTube-VIS: `videos` that list their `file_names`."""
    videos = document.get("videos") if isinstance(document, dict) else None
    return isinstance(videos, list) and any(
        isinstance(video, dict) and "file_names" in video for video in videos
    )


def read_youtube_vis(
    document: Any, file: Path, images: Path | None, name: str, intake: Intake, progress: Progress
) -> Dataset:
    """The data set in `document`, the JSON value of `file`. Image and box ids count from 1."""
    whole = parsed(_Document, document, file)
    categories = categories_of(whole.categories, file)
    labels = {id: label for label, id in enumerate(categories)}

    videos: dict[int | str, _Video] = {}
    for item, raw in numbered("videos", whole.videos):
        with intake.item():
            video = parsed(_Video, raw, file, item)
            if video.id in videos:
                raise DataError(file, f"video id {video.id!r} is used twice", item=item)
            videos[video.id] = video

    tracks: dict[int | str, list[_Track]] = {}
    seen: set[int | str] = set()
    for item, raw in numbered("annotations", whole.annotations):
        with intake.item():
            track = parsed(_Track, raw, file, item)
            if track.id in seen:
                raise DataError(file, f"annotation id {track.id!r} is used twice", item=item)
            _check(track, videos, labels, file, item)
            seen.add(track.id)
            tracks.setdefault(track.video_id, []).append(track)

    frames = [(video, index) for video in videos.values() for index in range(len(video.file_names))]
    root = images or find_images(file, [video.file_names[index] for video, index in frames])
    read: list[Image] = []
    box_ids = count(1)
    for done, (video, index) in enumerate(frames, 1):
        with intake.item():
            file_name = video.file_names[index]
            size = size_of(root / file_name, (video.width, video.height))
            boxes: list[Box] = []
            for track in tracks.get(video.id, ()):
                with intake.item():
                    label = labels[track.category_id]
                    box = _box(track, index, next(box_ids), label, size, file, file_name)
                    boxes += [box] if box else []
            group, frame = _place(video, index)
            read.append(Image(done, root / file_name, file_name, *size, tuple(boxes), group, frame))
        progress("reading images", done, len(frames))
    return Dataset(
        name=name,
        root=root,
        images=tuple(read),
        class_names=tuple(category.name for category in categories.values()),
        class_ids=tuple(categories),
        extra={**(whole.model_extra or {}), "categories": whole.categories},
    )


def _check(
    track: _Track, videos: Mapping[int | str, _Video], labels: Mapping[int, int], file: Path, item: str
) -> None:
    """Raise DataError where the track refers to what is not there."""
    if track.category_id not in labels:
        known = ", ".join(map(str, labels)) or "none"
        raise DataError(file, f"there is no category {track.category_id} (known: {known})", item=item)
    if track.video_id not in videos:
        raise DataError(file, f"there is no video {track.video_id!r}", item=item)
    frames = len(videos[track.video_id].file_names)
    for name in ("bboxes", "areas", "segmentations"):
        values = getattr(track, name)
        if values is not None and len(values) != frames:
            raise DataError(file, f"{name} has {len(values)} entries, its video {frames} frames", item=item)


def _box(
    track: _Track, index: int, id: int, label: int, size: tuple[int, int], file: Path, frame: str
) -> Box | None:
    """The track's box in the frame, or None where it is absent."""
    bbox = track.bboxes[index]
    if bbox is None:
        return None
    extra: dict[str, Any] = {"track": track.id}
    if track.segmentations is not None:
        extra["segmentation"] = track.segmentations[index]
    return Box(
        id=id,
        label=label,
        xywh=checked_box(bbox, size, file, f"annotation {track.id} in {frame}"),
        crowd=bool(track.iscrowd),
        area=track.areas[index] if track.areas is not None else None,
        extra=extra,
    )


def _place(video: _Video, index: int) -> tuple[str, int]:
    """The group and the frame number that the file name states as folder and name, else id and index."""
    name = PurePosixPath(video.file_names[index])
    group = str(name.parent) if name.parent.name else str(video.id)
    return group, int(name.stem) if name.stem.isdecimal() else index
