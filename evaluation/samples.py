"""Images of a data set as a metric sees them: decoded one at a time, with boxes, neighbours, predictions.

Nothing is cached and nothing is scored here; the arrays handed out cannot be written to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from metricsmith.sandbox import Predictions, Sample

from .boxes import clipped_xyxy
from .dataset import Dataset, Image
from .draws import permutation, spread
from .pixels import load_rgb

__all__ = ["frozen", "neighbours", "sample_ids", "sample_runs", "samples"]

Id = int | str
_Scalar = TypeVar("_Scalar", bound=np.generic)


def samples(
    dataset: Dataset,
    predictions: Mapping[Id, Predictions] | None = None,
    ids: Iterable[Id] | None = None,
) -> Iterator[Sample]:
    """One `Sample` an image, in the data set's order; each image is decoded when it is asked for.

    `ids` limits the images, not the frames in which `previous_boxes` and `next_boxes` are looked for:
    those are always the nearest earlier and later frame of the group in the whole data set. KeyError if an
    id is not in the data set; DataError if an image cannot be read.
    """
    chosen = dataset.images if ids is None else dataset.subset(ids).images
    frames_beside = neighbours(dataset.images)
    for image in chosen:
        previous, following = frames_beside.get(image.id, (None, None))
        found = predictions.get(image.id) if predictions else None
        yield Sample(
            image=frozen(load_rgb(image.path)),
            boxes=frozen(clipped_xyxy(image)),
            labels=frozen(image.labels),
            class_names=dataset.class_names,
            predictions=_frozen_predictions(found) if found else Predictions(),
            group=image.group,
            frame=image.frame,
            previous_boxes=frozen(clipped_xyxy(previous)) if previous else None,
            previous_labels=frozen(previous.labels) if previous else None,
            next_boxes=frozen(clipped_xyxy(following)) if following else None,
            next_labels=frozen(following.labels) if following else None,
        )


def sample_ids(dataset: Dataset, count: int = 64, seed: int = 0) -> list[Id]:
    """Up to `count` image ids, drawn at random and spread over the groups, in the data set's order."""
    groups = {image.id: image.group for image in dataset.images}
    order = permutation([image.id for image in dataset.images], seed)
    chosen = set(spread(order, groups)[:count])
    return [image.id for image in dataset.images if image.id in chosen]


def sample_runs(dataset: Dataset, count: int = 64, run: int = 16, seed: int = 0) -> list[Id]:
    """Up to `count` image ids in runs of frames that follow each other, in the data set's order.

    From groups in random order, of each a run of up to `run` frames; a still is a run of its own. What sees
    the whole data set finds there what it would find: near-duplicates, tracks, the usual of a video.
    """
    groups: dict[object, list[Image]] = {}
    for image in dataset.images:
        groups.setdefault(image.id if image.group is None else (image.group,), []).append(image)
    rng = np.random.default_rng(seed)
    chosen: set[Id] = set()
    keys = list(groups)
    for number in rng.permutation(len(keys)):
        frames = sorted(groups[keys[number]], key=lambda image: image.frame or 0)
        start = int(rng.integers(max(len(frames) - run, 0) + 1))
        chosen.update(image.id for image in frames[start : start + min(run, count - len(chosen))])
        if len(chosen) >= count:
            break
    return [image.id for image in dataset.images if image.id in chosen]


def neighbours(images: Iterable[Image]) -> dict[Id, tuple[Image | None, Image | None]]:
    """The nearest earlier and later frame of each frame; images without group or number are left out."""
    groups: dict[str, dict[int, list[Image]]] = {}
    for image in images:
        if image.group is not None and image.frame is not None:
            groups.setdefault(image.group, {}).setdefault(image.frame, []).append(image)
    found: dict[Id, tuple[Image | None, Image | None]] = {}
    for frames in groups.values():
        numbers = sorted(frames)
        for position, number in enumerate(numbers):
            # two images with one frame number are no neighbours of each other
            previous = frames[numbers[position - 1]][0] if position else None
            following = frames[numbers[position + 1]][0] if position + 1 < len(numbers) else None
            for image in frames[number]:
                found[image.id] = previous, following
    return found


def frozen(array: npt.NDArray[_Scalar]) -> npt.NDArray[_Scalar]:
    """Return a view of the array that cannot be written to."""
    view = array.view()
    view.flags.writeable = False
    return view


def _frozen_predictions(found: Predictions) -> Predictions:
    return Predictions(frozen(found.boxes), frozen(found.labels), frozen(found.scores))
