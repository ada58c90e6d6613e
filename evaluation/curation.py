"""Turns scores of metrics into a training set: leave out what is suspicious, draw evenly, mend labels.

Every training set has exactly the size of the control it is compared with, and shares with it whatever
the strategy does not touch. Nothing is trained here, and no strategy looks at val or test.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from metricsmith.sandbox.errors import DataError

from .corrections import CORRECTED, Correction, corrections
from .dataset import Dataset, Image
from .draws import control_draw, permutation, spread
from .scores import ScoreTable, combined

__all__ = ["DRAWS", "Curation", "Kind", "Step", "Strategy", "compose", "curate", "refuse_useless"]

Id = int | str
Kind = Literal["filter", "filter_boxes", "stratify", "spread", "relabel"]
DRAWS: frozenset[Kind] = frozenset({"stratify", "spread"})
"""The strategies that draw: they doubt nothing, and need neither a suspicious end nor a fraction."""
_BINS = 10
_TIES = 0  # the seed that breaks ties: which images are suspicious must not depend on a trial's seed


class Strategy(BaseModel):
    """What is done with a metric's scores."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind = Field(
        description=(
            "filter: leave the most suspicious images out and draw the training set at random from the rest. "
            "filter_boxes: draw at random, then take the most suspicious boxes out of the annotation. "
            "stratify: draw evenly over the range of the score (ten equal parts), in each from many videos. "
            "spread: draw as many images of every video, in each video evenly over the ranks of the score. "
            "relabel: draw at random, then have the most suspicious of the drawn images labelled anew."
        )
    )
    fraction: float = Field(
        description=(
            "filter: the share of all images that is left out; filter_boxes: the share of all boxes that is "
            "taken out; relabel: the share of the drawn images that is labelled anew. Above 0 and below 1: "
            "0.2 means 20 %. stratify and spread do not use it: write 0."
        ),
        validate_default=True,
        default=0.0,
    )

    def __str__(self) -> str:
        """The strategy in words: `filter 30 %`, `stratify`."""
        share = "" if self.kind in DRAWS else f" {self.fraction * 100:g} %"
        return f"{self.kind.replace('_', ' ')}{share}"

    @field_validator("fraction", mode="before")
    @classmethod
    def _unused_is_zero(cls, value: object, info: ValidationInfo) -> object:
        return 0.0 if info.data.get("kind") in DRAWS else value

    @field_validator("fraction")
    @classmethod
    def _is_a_share(cls, value: float, info: ValidationInfo) -> float:
        kind = info.data.get("kind", "stratify")
        if kind not in DRAWS and not 0 < value < 1:
            hint = f"; for {value:g} % write {value / 100:g}" if 1 <= value < 100 else ""
            raise ValueError(f"{kind} needs a fraction above 0 and below 1, not {value:g}{hint}")
        return value


@dataclass(frozen=True, slots=True)
class Step:
    """One metric's scores and what is done with them; a curation is made of one or several."""

    table: ScoreTable
    strategy: Strategy

    def __str__(self) -> str:
        """In words: `filter 30 % by Sharpness`."""
        return f"{self.strategy} by {self.table.metric}"


@dataclass(frozen=True, slots=True)
class Curation:
    """A training set made by one or several strategies."""

    images: tuple[Image, ...]
    """Exactly the budget, in the pool's order, with the boxes to train on."""
    left_out: tuple[Id, ...] = ()
    """The images that `filter` kept from being drawn, the most suspicious first."""
    relabelled: tuple[Id, ...] = ()
    """The images whose boxes are the reference's, the most suspicious first (or in random order)."""
    changed: int = 0
    """How many of `relabelled` came back with other boxes; see `corrections`."""
    corrected: Mapping[Correction, int] = field(default_factory=dict)
    """In how many of them a mistake of each kind was corrected, those that occurred."""
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
    """A training set of `budget` images of the pool by a single step; see `compose`."""
    return compose(pool, [Step(table, strategy)], budget=budget, seed=seed, reference=reference)


def compose(
    pool: Dataset,
    steps: Sequence[Step],
    *,
    budget: int,
    seed: int,
    reference: Dataset | None = None,
    mend: float = 0.0,
) -> Curation:
    """A training set of `budget` images of the pool, paired with `control_draw` of the same seed.

    The last `stratify` or `spread` draws (without one, the seed's order does). Of what is drawn the annotator
    mends the images that are the most suspicious by the mean rank of all `relabel` steps, the largest of
    their fractions: these stay whatever a filter says, since nothing is wrong with them any more. Of the
    others, `filter` leaves its images out, and the next in the same order take their places; `filter_boxes`
    takes boxes out. Where fewer than the share `mend` of the budget are mended, more of the drawn images are
    mended at random (a larger share contains every smaller one): what a `relabel` on top of these steps must
    beat, as it costs the annotator as much.

    `filter` and `relabel` go by `ScoreTable.image_suspicion`, `stratify` and `spread` by
    `ScoreTable.image_values`, `filter_boxes` by `ScoreTable.suspicion`. Where filters would leave fewer
    images than the budget they leave out fewer, the earlier steps first: see `effective_fraction`.
    `reference` holds the annotator's answers for `relabel`: the same file names, labels by class name.

    DataError if the pool is smaller than the budget, if a metric calls no end suspicious but its strategy
    needs one, if `filter_boxes` gets scores of images, or if the reference lacks an image or a class.
    KeyError if an image has no score.
    """
    for step in steps:
        refuse_useless(step)

    def of(*kinds: Kind) -> list[Step]:
        return [step for step in steps if step.strategy.kind in kinds]

    ids = [image.id for image in pool.images]
    control_draw(ids, budget, seed)  # refuses a budget that the pool cannot fill
    left_out = _left_out(ids, of("filter"), len(ids) - budget)
    draws = of(*DRAWS)

    def draw(order: Sequence[Id]) -> list[Id]:
        if not draws:
            return list(order[:budget])
        way = _stratified if draws[-1].strategy.kind == "stratify" else _spread
        return way(pool, order, draws[-1].table, budget)

    order = permutation(ids, seed)
    drawn = draw(order)
    mended = _suspects(ids, drawn, of("relabel"))
    # these do not draw in a random order: in `stratify` what is rare comes late
    shuffled = permutation(_these(ids, drawn), seed) if draws else drawn
    mended += _without_these(shuffled, mended)[: max(0, round(mend * budget) - len(mended))]
    others = _without_these(draw(_without_these(order, left_out)), mended)[: budget - len(mended)]
    doubted = set().union(*(_doubted_boxes(step) for step in of("filter_boxes")))
    curation = Curation(
        tuple(_without(image, doubted) for image in _pick(pool, [*mended, *others])),
        left_out=tuple(_without_these(left_out, mended)),
        effective_fraction=len(left_out) / len(ids),
    )
    return _relabelled(pool, curation, mended, reference) if of("relabel") or mend else curation


def _these(ids: Sequence[Id], chosen: Iterable[Id]) -> list[Id]:
    known = set(chosen)
    return [item for item in ids if item in known]


def _without_these(ids: Sequence[Id], others: Iterable[Id]) -> list[Id]:
    known = set(others)
    return [item for item in ids if item not in known]


def _suspects(ids: Sequence[Id], drawn: Sequence[Id], relabels: Sequence[Step]) -> list[Id]:
    """The drawn images that these steps have mended, the most suspicious first."""
    if not relabels:
        return []
    table = combined("relabel", [step.table for step in relabels])
    fraction = max(step.strategy.fraction for step in relabels)
    return _these(_most_suspicious(ids, table, len(ids)), drawn)[: round(fraction * len(drawn))]


def _relabelled(
    pool: Dataset, curation: Curation, relabelled: Sequence[Id], reference: Dataset | None
) -> Curation:
    if reference is None:
        raise DataError(
            pool.root,
            "relabel needs a reference, the labels an annotator would give",
            remedy="give a reference data set, or use filter or stratify",
        )
    answers = _reference_boxes(pool, reference, set(relabelled))
    images = tuple(answers.get(image.id, image) for image in curation.images)
    found = [corrections(image, answers[image.id]) for image in _pick(pool, relabelled)]
    counts = {kind: sum(kind in own for own in found) for kind in CORRECTED}
    return replace(
        curation,
        images=images,
        relabelled=tuple(relabelled),
        changed=sum(bool(own) for own in found),
        corrected={kind: count for kind, count in counts.items() if count},
        effective_fraction=len(relabelled) / len(images),
    )


def _pick(pool: Dataset, ids: Iterable[Id]) -> tuple[Image, ...]:
    return pool.subset(ids).images


def refuse_useless(step: Step) -> None:
    """DataError: the scores give the strategy nothing to go by."""
    kind = step.strategy.kind
    if kind not in DRAWS and step.table.suspicious == "none":
        raise DataError(
            step.table.metric,
            f"this metric calls no score suspicious, so {kind} has nothing to go by",
            remedy="set `suspicious` to low, high or both, or use stratify or spread",
        )
    if kind == "filter_boxes" and step.table.box_ids is None:
        raise DataError(
            step.table.metric,
            "this metric scores images, so filter_boxes cannot tell their boxes apart",
            remedy='set `level` to "object", or use filter',
        )


def _left_out(ids: Sequence[Id], filters: Sequence[Step], most: int) -> tuple[Id, ...]:
    """What the filters leave out, each its share of `ids`, the first filter's first; `most` in all."""
    left_out: dict[Id, None] = {}
    for step in filters:
        wanted = round(step.strategy.fraction * len(ids))
        left_out.update(dict.fromkeys(_most_suspicious(ids, step.table, wanted)))
    return tuple(left_out)[:most]


def _doubted_boxes(step: Step) -> set[Id]:
    """The ids of the most suspicious share of all boxes of the pool."""
    assert step.table.box_ids is not None, "checked in refuse_useless"
    doubt = dict(zip(step.table.box_ids, step.table.suspicion().tolist(), strict=True))
    order = sorted(permutation(step.table.box_ids, _TIES), key=lambda box: -doubt[box])
    return set(order[: round(step.strategy.fraction * len(order))])


def _without(image: Image, doubted: Collection[Id]) -> Image:
    """The image without these boxes."""
    kept = tuple(box for box in image.boxes if box.id not in doubted)
    return image if len(kept) == len(image.boxes) else replace(image, boxes=kept)


def _most_suspicious(ids: Sequence[Id], table: ScoreTable, count: int) -> tuple[Id, ...]:
    suspicion = table.image_suspicion()
    return tuple(sorted(permutation(ids, _TIES), key=lambda item: -suspicion[item])[:count])


def _stratified(pool: Dataset, order: Sequence[Id], table: ScoreTable, budget: int) -> list[Id]:
    """`budget` ids: each bin gives one in its turn, each group of a bin one in its turn within the bin.

    The bins cut the range of the scores, from the 1 % to the 99 % quantile, into equal parts, so that rare
    scores are drawn as often as common ones; bins with as many images each would draw what the pool holds.
    A bin that runs dry passes its turns on to the others. Images without a value keep their share of
    `order`: there may be few of them, and a bin of their own would draw them all.
    """
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


def _spread(pool: Dataset, order: Sequence[Id], table: ScoreTable, budget: int) -> list[Id]:
    """`budget` ids: as many of every video, those of a video evenly spaced in the ranks of their scores.

    Stills count as one video, but with the share of the budget that they have of `order`. What a short video
    cannot give, others do; which of them give one more, and where in a video the even steps begin, the order
    decides. Images without a value come last in their video. The ids are returned in the order given.
    """
    values = table.image_values()
    groups = {image.id: image.group for image in pool.images}
    members: dict[str | None, list[Id]] = {}
    for item in order:
        members.setdefault(groups[item], []).append(item)
    stills = len(members.get(None, ()))
    quotas: dict[str | None, int] = {None: round(budget * stills / len(order))} if stills else {}
    sizes: dict[str | None, int] = {name: len(own) for name, own in members.items() if name is not None}
    quotas |= _even(sizes, budget - sum(quotas.values()))
    chosen: set[Id] = set()
    for group, quota in quotas.items():
        own = members[group]
        ranked = sorted(own, key=lambda item: (item not in values, values.get(item, 0.0)))  # ties: in order
        begin = ranked.index(own[0]) * quota % len(own)
        chosen.update(ranked[(begin + number * len(own)) // quota] for number in range(quota))
    return [item for item in order if item in chosen]


def _even(sizes: Mapping[str | None, int], total: int) -> dict[str | None, int]:
    """`total` shared out one by one in turns, nobody more than its size; there must be enough."""
    shares = dict.fromkeys(sizes, 0)
    while total > 0:
        for name in [name for name, size in sizes.items() if shares[name] < size][:total]:
            shares[name] += 1
            total -= 1
    return shares


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
