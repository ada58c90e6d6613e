"""What a detector that never saw an image, nor another frame of its video, finds in it.

The predictions are the material of metrics such as object confidence, so they are few and cheap: a handful
of folds, the best predictions of each image. Evaluation does not use them.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from metricsmith.sandbox import Predictions
from metricsmith.sandbox.errors import DataError

from .dataset import Dataset, Image
from .detectors import Detector, Job, Trained, train_ahead
from .draws import control_draw, permutation
from .files import write_atomic
from .progress import Progress, silent

__all__ = ["best", "held_out", "out_of_fold", "read_predictions", "write_predictions"]

_MOST = 20
_LOWEST = 0.05


def out_of_fold(
    detector: Detector,
    dataset: Dataset,
    *,
    folds: int = 2,
    train_images: int | None = None,
    seed: int,
    progress: Progress = silent,
) -> dict[int | str, Predictions]:
    """Return for each image id at most 20 predictions of a score of at least 0.05, in the data set's order.

    See `held_out` for how the images are dealt out.
    """
    found: dict[int | str, Predictions] = {}
    for fold, trained in held_out(
        detector, dataset, folds=folds, train_images=train_images, seed=seed, progress=progress
    ):
        for image, predictions in zip(fold, trained.predict(fold, progress), strict=True):
            found[image.id] = best(predictions)
    return {image.id: found[image.id] for image in dataset.images}


def held_out(
    detector: Detector,
    dataset: Dataset,
    *,
    folds: int = 2,
    train_images: int | None = None,
    seed: int,
    progress: Progress = silent,
) -> Iterator[tuple[list[Image], Trained]]:
    """Yield each fold's images and a detector that saw none of their groups.

    The groups are dealt out to `folds` folds of about the same number of images, and each fold's detector
    trains on the others, or on `train_images` images drawn from them. A still is a group of its own.
    DataError: there are fewer groups than folds.
    """
    members = _deal(dataset, folds, seed)
    detector.prepare(dataset.images, progress)
    jobs = []
    for number in range(folds):
        train = [image for other, rest in enumerate(members) if other != number for image in rest]
        if train_images is not None and train_images < len(train):
            drawn = set(control_draw([image.id for image in train], train_images, seed))
            train = [image for image in train if image.id in drawn]
        jobs.append(Job(train, dataset.class_names, seed, members[number]))
    train_ahead(detector, jobs, progress)
    for number, (fold, job) in enumerate(zip(members, jobs, strict=True)):
        progress("predicting out of fold", number, folds)
        yield fold, detector.train(job.images, job.class_names, seed=job.seed, progress=progress)
    progress("predicting out of fold", folds, folds)


def write_predictions(path: Path, predictions: Mapping[int | str, Predictions]) -> None:
    """Write the predictions as one .npz file, atomically: the same predictions give the same bytes."""
    every = list(predictions.values())
    buffer = io.BytesIO()
    np.savez(
        buffer,
        # JSON keeps 1 apart from "1".
        ids=np.array([json.dumps(item) for item in predictions], np.str_),
        counts=np.array([len(found.scores) for found in every], np.int64),
        boxes=np.concatenate([np.zeros((0, 4), np.float32), *(found.boxes for found in every)]),
        labels=np.concatenate([np.zeros(0, np.int64), *(found.labels for found in every)]),
        scores=np.concatenate([np.zeros(0, np.float32), *(found.scores for found in every)]),
    )
    write_atomic(path, buffer.getvalue())


def read_predictions(path: Path) -> dict[int | str, Predictions]:
    """Return what `write_predictions` wrote. DataError: the file is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            ids, counts = file["ids"], file["counts"]
            boxes, labels, scores = file["boxes"], file["labels"], file["scores"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            path, f"no predictions can be read from it ({error})", remedy="delete it to have it made again"
        ) from error
    stops = np.cumsum(counts)
    return {
        json.loads(item): Predictions(boxes[start:stop], labels[start:stop], scores[start:stop])
        for item, start, stop in zip(ids.tolist(), stops - counts, stops, strict=True)
    }


def _deal(dataset: Dataset, folds: int, seed: int) -> list[list[Image]]:
    """The images of each fold: groups in random order, each to the fold with the fewest images so far."""
    groups: dict[tuple[str, int | str], list[Image]] = {}
    for image in dataset.images:
        name = ("still", image.id) if image.group is None else ("group", image.group)
        groups.setdefault(name, []).append(image)
    if len(groups) < folds:
        raise DataError(
            dataset.root,
            f"{len(groups)} groups of images cannot be dealt out to {folds} folds",
            remedy="leave out-of-fold predictions away, or add images of other videos",
        )
    dealt: list[list[Image]] = [[] for _ in range(folds)]
    members = list(groups.values())
    for position in permutation(range(len(members)), seed):
        min(dealt, key=len).extend(members[int(position)])
    return dealt


def best(predictions: Predictions) -> Predictions:
    """Return at most 20 of the predictions, of a score of at least 0.05."""
    stop = min(_MOST, int(np.count_nonzero(predictions.scores >= _LOWEST)))
    return Predictions(predictions.boxes[:stop], predictions.labels[:stop], predictions.scores[:stop])
