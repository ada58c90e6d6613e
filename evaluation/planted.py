"""Whether a metric notices label mistakes: some are planted in sample images, to see what it says of them.

Mutation testing (DeMillo, Lipton & Sayward, 1978) of metrics instead of tests: no label needs to be known to
be right, nothing is trained, and it takes seconds. A mistake is an intended one on top of whatever is wrong
already. What a metric notices here need not be what raises mAP; what it does not notice, it cannot find.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from metricsmith.sandbox import Failure, Limits, Predictions, Sample, score
from metricsmith.sandbox.errors import DataError

from .boxes import clipped_xyxy
from .chance import p_value_above_zero
from .corruption import Harm, Rates, can_be_harmed, corrupt
from .dataset import Dataset, Image
from .progress import Progress, silent
from .samples import frozen, sample_runs, samples
from .scores import ScoreTable

__all__ = [
    "MISTAKES",
    "Field",
    "Findings",
    "Mistake",
    "Noticed",
    "Planting",
    "noticed",
    "plant",
    "plantable",
    "planted_samples",
]

Id = int | str
Mistake = Literal["drop", "shift", "enlarge", "flip", "spawn"]
"""A kind of label mistake that can be planted; see `corruption.Rates`."""
MISTAKES: Mapping[Mistake, str] = {
    "drop": "a box is left out; what is looked at is its image",
    "shift": "a box is moved, IoU with what it was 0.2 to 0.7",
    "enlarge": "a box is too large, IoU with what it was 0.25 to 0.7",
    "flip": "a box has another class",
    "spawn": "there is a box where there is nothing",
}
"""Every kind, in words."""

PARTS = 3
"""Of each planting one image in three has a mistake: the others say what is usual."""
TURNS = 2
"""How often each image gets a mistake, each time another one."""
EXAMPLES = 3
"""So many of the mistakes of a kind that a metric notices least are told."""
CHANCE = 0.05
"""The largest `Noticed.p_value` of a mistake that counts as noticed."""


@dataclass(frozen=True, slots=True)
class Planting:
    """The sample images with mistakes in some of them, one an image."""

    images: Dataset
    harms: tuple[Harm, ...]


class Noticed(BaseModel):
    """What becomes of a metric's suspicion when mistakes of one kind are planted.

    `before` and `after` are shares of the untouched boxes (or images) that are less suspicious than the one
    with the mistake, ties counting half: 0.5 is usual, 1 is more suspicious than any. `after` is the area
    under the ROC curve (Mann & Whitney, 1947) of the planted against the untouched.
    """

    model_config = ConfigDict(frozen=True)

    kind: Mistake
    count: int
    """How many were planted."""
    before: float
    """Mean over the mistakes, without the mistake; of a box that is not there yet, 0.5."""
    after: float
    """Mean over the mistakes, with it."""
    p_value: float
    """How likely a rise like this is by chance alone: the one-sided paired t-test."""

    @property
    def rises(self) -> bool:
        """Whether the mistake is more suspicious than what was there, by more than chance."""
        return self.p_value <= CHANCE

    @property
    def falls(self) -> bool:
        """Whether it is less suspicious than what was there, by more than chance."""
        return self.p_value >= 1 - CHANCE and self.after < self.before

    def __str__(self) -> str:
        return f"{self.kind} {100 * self.before:.0f} → {100 * self.after:.0f}"


@dataclass(frozen=True, slots=True)
class Findings:
    """What a metric says of planted mistakes."""

    noticed: tuple[Noticed, ...]
    """One for each kind."""
    missed: Mapping[Mistake, tuple[str, ...]]
    """Of each kind the mistakes that are the least suspicious, in words."""
    usual: str
    """The metric's scores of the images without mistakes, in words."""


def plantable(class_names: Collection[str]) -> tuple[Mistake, ...]:
    """Return the kinds that a data set with these classes can have."""
    return tuple(kind for kind in MISTAKES if kind != "flip" or len(class_names) > 1)


def plant(images: Dataset, seed: int) -> list[Planting]:
    """Return the images several times over, each time with a mistake in a third of those that have boxes.

    Every image gets its turn twice, with two kinds of mistakes; every kind is planted equally often, except
    where there is no room for it (a box that fills the image cannot grow). The same seed plants the same.
    """
    rng = np.random.default_rng(seed)
    kinds = plantable(images.class_names)
    annotated = [image for image in images.images if image.boxes]
    plantings = []
    for turn in range(TURNS):
        for part in range(PARTS):
            harmed: dict[Id, Image] = {}
            harms: list[Harm] = []
            for place, image in enumerate(annotated[part::PARTS]):
                kind = kinds[(place + turn * (len(kinds) // 2)) % len(kinds)]
                found = _with_one(images.subset([image.id]), kind, int(rng.integers(2**32)))
                if found is not None:
                    harmed[image.id], harm = found
                    harms.append(harm)
            written = images.with_images(harmed.get(image.id, image) for image in images.images)
            plantings.append(Planting(written, tuple(harms)))
    return plantings


def planted_samples(untouched: Sequence[Sample], planting: Planting) -> list[Sample]:
    """Return the samples of `plant`'s images, in their order, with the boxes of this planting."""
    harmed = {harm.image_id for harm in planting.harms}
    return [
        replace(sample, boxes=frozen(clipped_xyxy(image)), labels=frozen(image.labels))
        if image.id in harmed
        else sample
        for sample, image in zip(untouched, planting.images.images, strict=True)
    ]


def noticed(
    before: ScoreTable,
    plantings: Sequence[Planting],
    rescored: Callable[[Planting], ScoreTable | Failure],
    progress: Progress = silent,
) -> Findings | Failure:
    """Return what a metric says of each kind of mistake, or why it failed on one of the plantings.

    `before`: its scores of the images without mistakes; `rescored`: those with the mistakes of a planting.
    """
    places: dict[Mistake, list[tuple[float, float]]] = {}
    told: dict[Mistake, list[tuple[float, str]]] = {}
    for number, planting in enumerate(plantings):
        progress("planting mistakes", number, len(plantings))
        after = rescored(planting)
        if isinstance(after, Failure):
            return after
        harmed = {harm.image_id for harm in planting.harms}
        old, new = _Places(before, harmed), _Places(after, harmed)
        for harm in planting.harms:
            kind: Mistake = harm.kind  # type: ignore[assignment]  # no other kind is planted
            pair = old.of(harm, written=False), new.of(harm, written=True)
            places.setdefault(kind, []).append(pair)
            said = _in_words(harm, old.score(harm, written=False), new.score(harm, written=True))
            told.setdefault(kind, []).append((pair[1], said))
    scores = before.summary().quantiles
    return Findings(
        noticed=tuple(_noticed(kind, places[kind]) for kind in MISTAKES if kind in places),
        missed={kind: tuple(said for _, said in sorted(own)[:EXAMPLES]) for kind, own in told.items()},
        usual=", ".join(f"{percent} % {scores[percent]:.3g}" for percent in (5, 25, 50, 75, 95) if scores),
    )


@dataclass(frozen=True, slots=True)
class Field:
    """Sample images, and the same with mistakes planted in them: made once for all metrics of a data set."""

    images: Dataset
    samples: tuple[Sample, ...]
    """The images as a metric sees them, in their order."""
    plantings: tuple[Planting, ...]

    @classmethod
    def of(
        cls, dataset: Dataset, predictions: Mapping[Id, Predictions] | None = None, seed: int = 0
    ) -> Field:
        """Choose images in runs of frames (`sample_runs`) and plant in them; DataError: one is unreadable."""
        ids = sample_runs(dataset, seed=seed)
        images = dataset.subset(ids)
        return cls(images, tuple(samples(dataset, predictions, ids)), tuple(plant(images, seed)))

    def noticed_by(
        self, source: str, name: str, limits: Limits, progress: Progress = silent
    ) -> Findings | Failure:
        """Return what the metric `name` says, or why it failed; it goes through the images seven times."""

        def scored(own: Sequence[Sample], annotated: Dataset) -> ScoreTable | Failure:
            found = score({name: source}, own, total=len(own), limits=limits)[name]
            if isinstance(found, Failure):
                return found
            return ScoreTable.of(name, found.level, found.suspicious, found.values, annotated)

        def rescored(planting: Planting) -> ScoreTable | Failure:
            return scored(planted_samples(self.samples, planting), planting.images)

        before = scored(self.samples, self.images)
        return before if isinstance(before, Failure) else noticed(before, self.plantings, rescored, progress)


class _Places:
    """Where a box or an image stands among those of the images that nothing was planted in."""

    def __init__(self, table: ScoreTable, harmed: Collection[Id]) -> None:
        suspicion = table.suspicion().tolist()
        self._boxes: Mapping[tuple[Id, Id], float] = {}
        if table.box_ids is not None:
            keys = zip(table.image_ids, table.box_ids, strict=True)
            self._boxes = dict(zip(keys, suspicion, strict=True))
        rows: Iterable[object] = self._boxes or table.image_ids
        self._scores: dict[object, float] = dict(zip(rows, table.values.tolist(), strict=True))
        self._images = table.image_suspicion()
        self._is_object = table.box_ids is not None
        self._usual_boxes = [own for (image, _), own in self._boxes.items() if image not in harmed]
        self._usual_images = [own for image, own in self._images.items() if image not in harmed]

    def of(self, harm: Harm, *, written: bool) -> float:
        """Of the box with the mistake, or of its image where the metric scores images or the box is gone."""
        if not self._is_object or harm.kind == "drop":
            return _above(self._images[harm.image_id], self._usual_images)
        if harm.kind == "spawn" and not written:
            return 0.5
        return _above(self._boxes[harm.image_id, harm.box_id], self._usual_boxes)

    def score(self, harm: Harm, *, written: bool) -> float | None:
        """Of the box with the mistake, or of its image where the metric scores images; None: no such box."""
        if not self._is_object:
            return self._scores[harm.image_id]
        is_there = harm.kind != ("drop" if written else "spawn")
        return self._scores[harm.image_id, harm.box_id] if is_there else None


def _in_words(harm: Harm, before: float | None, after: float | None) -> str:
    """One mistake and what becomes of the score."""
    corners = [f"({x:.0f}, {y:.0f}, {x + w:.0f}, {y + h:.0f})" for x, y, w, h in _xywhs(harm)]
    scores = " → ".join("none" if score is None else f"{score:.3g}" for score in (before, after))
    match harm.kind:
        case "drop":
            what = f"{corners[0]} left out"
        case "spawn":
            what = f"{corners[0]} is on nothing"
        case "flip":
            what = f"{corners[0]} has another class"
        case _:
            what = f"{corners[0]} became {corners[1]}"
    return f"box {what}, score {scores}"


def _xywhs(harm: Harm) -> Iterator[tuple[float, float, float, float]]:
    yield from (xywh for xywh in (harm.before, harm.after) if xywh is not None)


def _above(own: float, usual: Iterable[float]) -> float:
    """The share of the usual values that are lower, ties counting half; 0.5 where there are none."""
    others = np.fromiter(usual, np.float64)
    return float(((others < own) + 0.5 * (others == own)).mean()) if len(others) else 0.5


def _noticed(kind: Mistake, pairs: Sequence[tuple[float, float]]) -> Noticed:
    before, after = np.array(pairs).T
    return Noticed(
        kind=kind,
        count=len(pairs),
        before=round(float(before.mean()), 3),
        after=round(float(after.mean()), 3),
        p_value=float(f"{p_value_above_zero(after - before):.3g}"),
    )


def _with_one(image: Dataset, kind: Mistake, seed: int) -> tuple[Image, Harm] | None:
    """The only image of a data set with one mistake, or None where there is no room for it."""
    only = image.images[0]
    count = sum(can_be_harmed(only, box) for box in only.boxes)
    if not count:
        return None
    try:
        written, harms = corrupt(image, Rates(**{kind: 1 / count}), seed=seed)
    except DataError:  # a spawned box finds no free place
        return None
    return (written.images[0], harms[0]) if harms else None
