"""Turns a metric's scores into a training set: leave the suspicious out, draw evenly, or mend labels.

Every training set has exactly the size of the control it is compared with, and shares with it whatever
the strategy does not touch. Nothing is trained here, and no strategy looks at val or test.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from metricsmith.sandbox.errors import DataError

from .dataset import Dataset, Image
from .draws import control_draw, permutation, spread
from .scores import ScoreTable

__all__ = ["Curation", "Strategy", "curate", "relabel_at_random"]

Id = int | str
_BINS = 10
_TIES = 0  # the seed that breaks ties: which images are suspicious must not depend on a trial's seed


class Strategy(BaseModel):
    """What is done with a metric's scores."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["filter", "stratify", "relabel"] = Field(
        description=(
            "filter: leave the most suspicious images out and draw the training set at random from the rest. "
            "stratify: draw evenly over the range of the score (ten equal parts), in each from many videos. "
            "relabel: draw at random, then have the most suspicious of the drawn images labelled anew."
        )
    )
    fraction: float = Field(
        description=(
            "filter: the share of all images that is left out; relabel: the share of the drawn images that "
            "is labelled anew. Above 0 and below 1: 0.2 means 20 %. stratify does not use it: write 0."
        ),
        validate_default=True,
        default=0.0,
    )

    @field_validator("fraction", mode="before")
    @classmethod
    def _unused_is_zero(cls, value: object, info: ValidationInfo) -> object:
        return 0.0 if info.data.get("kind") == "stratify" else value

    @field_validator("fraction")
    @classmethod
    def _is_a_share(cls, value: float, info: ValidationInfo) -> float:
        kind = info.data.get("kind")
        if kind in ("filter", "relabel") and not 0 < value < 1:
            hint = f"; for {value:g} % write {value / 100:g}" if 1 <= value < 100 else ""
            raise ValueError(f"{kind} needs a fraction above 0 and below 1, not {value:g}{hint}")
        return value


@dataclass(frozen=True, slots=True)
class Curation:
    """A training set made by a strategy."""

    images: tuple[Image, ...]
    """Exactly the budget, in the pool's order, with the boxes to train on."""
    left_out: tuple[Id, ...] = ()
    """The images that `filter` kept from being drawn, the most suspicious first."""
    relabelled: tuple[Id, ...] = ()
    """The images whose boxes are the reference's, the most suspicious first (or in random order)."""
    effective_fraction: float = 0.0
    """The share of images really left out or labelled anew: whole images, and enough left for the budget."""


def curate(
    pool: Dataset,
    table: ScoreTable,
    strategy: Strategy,
    *,
    budget: int,
    seed: int,
    reference: Dataset | None = None,
) -> Curation:
    """A training set of `budget` images of the pool, paired with `control_draw` of the same seed.

    `filter` and `relabel` go by `ScoreTable.image_suspicion`, `stratify` by `ScoreTable.image_values`.
    Where `filter` would leave fewer images than the budget it leaves out fewer: see `effective_fraction`.
    `reference` holds the annotator's answers for `relabel`: the same file names, labels by class name.

    DataError if the pool is smaller than the budget, if the metric calls no end suspicious but the
    strategy needs one, or if the reference lacks an image or a class. KeyError if an image has no score.
    """
    ids = [image.id for image in pool.images]
    control = control_draw(ids, budget, seed)
    if strategy.kind == "stratify":
        return Curation(_pick(pool, _stratified(pool, table, budget, seed)))
    if table.suspicious == "none":
        raise DataError(
            table.metric,
            f"this metric calls no score suspicious, so {strategy.kind} has nothing to go by",
            remedy="set `suspicious` to low, high or both, or use stratify",
        )
    if strategy.kind == "filter":
        wanted = min(round(strategy.fraction * len(ids)), len(ids) - budget)
        left_out = _most_suspicious(ids, table, wanted)
        kept = set(ids) - set(left_out)
        drawn = [item for item in permutation(ids, seed) if item in kept][:budget]
        return Curation(_pick(pool, drawn), left_out=left_out, effective_fraction=len(left_out) / len(ids))
    chosen = set(control)
    suspects = [item for item in _most_suspicious(ids, table, len(ids)) if item in chosen]
    return _relabelled(pool, control, suspects[: round(strategy.fraction * budget)], reference)


def relabel_at_random(
    pool: Dataset, fraction: float, *, budget: int, seed: int, reference: Dataset | None
) -> Curation:
    """What `relabel` must beat: the same draw, as many of its images labelled anew, chosen at random.

    A larger fraction contains every smaller one. DataError as for `curate`.
    """
    ids = [image.id for image in pool.images]
    control = control_draw(ids, budget, seed)
    # The order of the draw is random within it, too.
    return _relabelled(pool, control, permutation(ids, seed)[: round(fraction * budget)], reference)


def _relabelled(
    pool: Dataset, drawn: Iterable[Id], relabelled: Sequence[Id], reference: Dataset | None
) -> Curation:
    if reference is None:
        raise DataError(
            pool.root,
            "relabel needs a reference, the labels an annotator would give",
            remedy="give a reference data set, or use filter or stratify",
        )
    answers = _reference_boxes(pool, reference, set(relabelled))
    images = tuple(answers.get(image.id, image) for image in _pick(pool, drawn))
    return Curation(images, relabelled=tuple(relabelled), effective_fraction=len(relabelled) / len(images))


def _pick(pool: Dataset, ids: Iterable[Id]) -> tuple[Image, ...]:
    return pool.subset(ids).images


def _most_suspicious(ids: Sequence[Id], table: ScoreTable, count: int) -> tuple[Id, ...]:
    suspicion = table.image_suspicion()
    return tuple(sorted(permutation(ids, _TIES), key=lambda item: -suspicion[item])[:count])


def _stratified(pool: Dataset, table: ScoreTable, budget: int, seed: int) -> list[Id]:
    """`budget` ids: each bin gives one in its turn, each group of a bin one in its turn within the bin.

    The bins cut the range of the scores, from the 1 % to the 99 % quantile, into equal parts, so that rare
    scores are drawn as often as common ones; bins with as many images each would draw what the pool holds.
    A bin that runs dry passes its turns on to the others. Images without a value keep their share of the
    pool: there may be few of them, and a bin of their own would draw them all.
    """
    order = permutation([image.id for image in pool.images], seed)
    place = {item: number for number, item in enumerate(order)}
    groups = {image.id: image.group for image in pool.images}
    values = table.image_values()
    scored = [item for item in order if item in values]
    unscored = [item for item in order if item not in values]
    turn: dict[Id, int] = {}
    bins = _bins(np.array([values[item] for item in scored]))
    for number in range(_BINS):
        members = [item for item, own in zip(scored, bins, strict=True) if own == number]
        turn.update({item: number for number, item in enumerate(spread(members, groups))})
    share = round(budget * len(unscored) / len(order))
    drawn = sorted(turn, key=lambda item: (turn[item], place[item]))
    return unscored[:share] + drawn[: budget - share]


def _bins(values: npt.NDArray[np.float64]) -> list[int]:
    """The bin of each score, 0 to `_BINS` − 1; scores beyond the two quantiles are in the outermost bins."""
    if not len(values):
        return []
    low, high = np.percentile(values, (1, 99))
    # halved, because the range of two finite numbers may not be finite
    edges = 2 * np.linspace(low / 2, high / 2, _BINS + 1)[1:-1]
    bins: list[int] = np.digitize(values, edges).tolist()
    return bins


def _reference_boxes(pool: Dataset, reference: Dataset, ids: set[Id]) -> Mapping[Id, Image]:
    """These images of the pool with the boxes that the reference has for their files."""
    known = {image.file_name: image for image in reference.images}
    missing = [name for name in reference.class_names if name not in pool.class_names]
    if missing:
        raise DataError(
            reference.root,
            f"the reference has a class {missing[0]!r} that {pool.name} has not",
            remedy="give a reference with the same class names",
        )
    label_of = [pool.class_names.index(name) for name in reference.class_names]
    answers: dict[Id, Image] = {}
    for image in pool.subset(ids).images:
        answer = known.get(image.file_name)
        if answer is None:
            raise DataError(
                reference.root,
                "the reference has no labels for this image",
                item=image.file_name,
                remedy="give a reference that covers every image of the pool",
            )
        boxes = tuple(replace(box, label=label_of[box.label]) for box in answer.boxes)
        answers[image.id] = replace(image, boxes=boxes)
    return answers
