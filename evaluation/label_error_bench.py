"""How well each method finds mistakes that were put into clean labels on purpose, by box and by image.

Every method sees the same labels and the same out-of-fold predictions. Nothing is printed here and nothing is
curated; see `metricsmith bench label-errors`, and `curation_bench` for what the detector makes of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict
from scipy.stats import rankdata

from metricsmith.sandbox import Predictions

from .corruption import Harm, harm, harmed_images
from .dataset import Dataset
from .detectors import Detector, TellsLosses
from .draws import permutation
from .out_of_fold import best, held_out
from .peers import (
    Suspicion,
    calibrated,
    classic_metrics,
    diagnostics,
    loss_inspection,
    mistakenness,
    objectlab,
    score_files,
)
from .progress import Progress, silent

__all__ = ["Case", "Figures", "figures", "look", "suspicions"]

Floats = npt.NDArray[np.float64]
Level = Literal["box", "image"]
AT = 200
"""Precision is that of so many of the most suspicious."""


@dataclass(frozen=True, eq=False)
class Case:
    """A data set with known mistakes, and what a detector found in it out of fold."""

    clean: Dataset
    dirty: Dataset
    harms: tuple[Harm, ...]
    predictions: Mapping[int | str, Predictions]
    losses: Mapping[int | str, Floats]
    """For each image the training loss of each of its boxes under the detector that never saw it; empty
    where the detector does not tell."""
    seed: int


class Figures(BaseModel):
    """How well one method ranks the harmed above the sound."""

    model_config = ConfigDict(frozen=True)

    method: str
    level: Level
    kind: str
    """The kind of mistake, or "all"; those of the other kinds are left out, not counted as sound."""
    positives: int
    total: int
    auroc: float
    """Area under the ROC curve: how often a harmed one is ranked above a sound one; ties count half."""
    ap: float
    """Average precision of the ranking, ties broken at random."""
    precision: float
    """The share of harmed among the first `AT` (or among as many as there are)."""


def look(detector: Detector, dataset: Dataset, noise: float, seed: int, progress: Progress = silent) -> Case:
    """Harm the data set, and predict it out of fold with a detector trained on what is left of it."""
    dirty, harms = harm(dataset, noise, seed)
    predictions: dict[int | str, Predictions] = {}
    losses: dict[int | str, Floats] = {}
    for fold, trained in held_out(detector, dirty, seed=seed, progress=progress):
        for image, found in zip(fold, trained.predict(fold, progress), strict=True):
            predictions[image.id] = best(found)
        if isinstance(trained, TellsLosses):
            losses |= zip((image.id for image in fold), trained.box_losses(fold), strict=True)
    return Case(dataset, dirty, harms, predictions, losses, seed)


def suspicions(case: Case, generated: Mapping[str, str], progress: Progress = silent) -> Iterator[Suspicion]:
    """Yield every method's doubts about the case; `generated`: sources of metrics by name."""
    dirty, predictions = case.dirty, case.predictions
    sure = calibrated(dirty, predictions)
    yield Suspicion.random(dirty, case.seed)
    yield objectlab(dirty, predictions)
    yield objectlab(dirty, sure, "ObjectLab, calibrated")
    yield mistakenness(dirty, predictions)
    yield mistakenness(dirty, sure, "mistakenness, calibrated")
    yield diagnostics(dirty, predictions)
    if case.losses:
        yield loss_inspection(dirty, case.losses, predictions)
    yield from score_files(classic_metrics() | dict(generated), dirty, predictions, progress)
    yield oracle(case)


def oracle(case: Case) -> Suspicion:
    """Return the doubts of one who has read the ledger."""
    images = harmed_images(case.harms)
    harmed_boxes = {(item.image_id, item.box_id) for item in case.harms}
    return Suspicion(
        "oracle",
        np.array([image.id in images for image in case.dirty.images], float),
        np.array([(i.id, box.id) in harmed_boxes for i in case.dirty.images for box in i.boxes], float),
    )


def figures(case: Case, suspicion: Suspicion) -> list[Figures]:
    """Return how well the mistakes are found: all and by kind, of images and (but for dropped ones) of boxes.

    A kind without any mistake has no figures.
    """
    by_image: dict[int | str, set[str]] = defaultdict(set)
    by_box: dict[tuple[int | str, int | str], set[str]] = defaultdict(set)
    for item in case.harms:
        by_image[item.image_id].add(item.kind)
        by_box[item.image_id, item.box_id].add(item.kind)
    images = [by_image[image.id] for image in case.dirty.images]
    boxes = [by_box[image.id, box.id] for image in case.dirty.images for box in image.boxes]
    found = []
    levels: list[tuple[Level, Floats, list[set[str]]]] = [
        ("image", suspicion.images, images),
        ("box", suspicion.on_boxes(case.dirty), boxes),
    ]
    for level, values, truth in levels:
        for kind in ("all", *sorted({kind for own in truth for kind in own})):
            used = [row for row, own in enumerate(truth) if kind == "all" or not own or kind in own]
            harmed = np.array([bool(truth[row]) for row in used])
            if harmed.any() and not harmed.all():
                found.append(_figures(suspicion.method, level, kind, values[used], harmed, case.seed))
    return found


def _figures(
    method: str, level: Level, kind: str, values: Floats, harmed: npt.NDArray[np.bool_], seed: int
) -> Figures:
    positives = int(harmed.sum())
    ranks = rankdata(values)
    auroc = (ranks[harmed].sum() - positives * (positives + 1) / 2) / (positives * (len(harmed) - positives))
    ranked = harmed[_falling(values, seed)]
    precisions = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    return Figures(
        method=method,
        level=level,
        kind=kind,
        positives=positives,
        total=len(harmed),
        auroc=float(auroc),
        ap=float(precisions[ranked].mean()),
        precision=float(ranked[:AT].mean()),
    )


def _falling(values: Floats, seed: int) -> npt.NDArray[np.int64]:
    """Positions by falling value, ties in a random order that the seed fixes."""
    shuffled = np.array(permutation(range(len(values)), seed), np.int64)
    return shuffled[np.argsort(-values[shuffled], kind="stable")]


def means(rows: Sequence[Figures], figure: Callable[[Figures], float]) -> dict[tuple[str, Level, str], float]:
    """Return the mean of a figure over the cases, by method, level and kind."""
    groups: dict[tuple[str, Level, str], list[float]] = defaultdict(list)
    for row in rows:
        groups[row.method, row.level, row.kind].append(figure(row))
    return {key: sum(values) / len(values) for key, values in groups.items()}
