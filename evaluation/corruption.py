"""Label mistakes made on purpose, and the ledger of them.

The kinds are those of the label-error literature (ObjectLab: Tkachenko et al., 2023, arXiv:2309.00832,
overlooked, badly located and swapped boxes; the "drop, shift, spawn, flip" of detector noise studies).
Pixels and masks are not touched here: see `panda.mistakes` for harm in masks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from metricsmith.sandbox.errors import DataError

from .dataset import Box, Dataset, Image
from .files import write_atomic

__all__ = [
    "Harm",
    "Kind",
    "Rates",
    "can_be_harmed",
    "corrupt",
    "enlarged",
    "harm",
    "harmed_images",
    "read_ledger",
    "shifted",
    "write_ledger",
]

Kind = Literal["drop", "shift", "enlarge", "flip", "spawn", "misplace"]
"""`misplace`: the box lies on something else altogether."""
XYWH = tuple[float, float, float, float]

LARGEST_SHARE = 0.6
"""A box that covers more of its image than this cannot be enlarged to an IoU below 0.7 with itself."""
TRIES = 100
"""Places tried for a spawned box before an image counts as full."""


@dataclass(frozen=True, slots=True)
class Rates:
    """How many boxes are harmed, each as a fraction of all boxes that are no crowds and have an area."""

    drop: float = 0.0
    """Left out."""
    shift: float = 0.0
    """Moved: 0.2 < IoU with the truth < 0.7."""
    enlarge: float = 0.0
    """Grown: 0.25 < IoU with the truth < 0.7."""
    flip: float = 0.0
    """Given another class."""
    spawn: float = 0.0
    """Added where there is nothing; may exceed 1."""


@dataclass(frozen=True, slots=True)
class Harm:
    """One mistake: what a label was and what it became."""

    image_id: int | str
    box_id: int | str
    kind: Kind
    before: XYWH | None
    """The truth, xywh pixels; None for a spawned box."""
    after: XYWH | None
    """What is now written, xywh pixels; None for a dropped box."""
    label_before: int | None
    label_after: int | None


def corrupt(dataset: Dataset, rates: Rates, *, seed: int) -> tuple[Dataset, tuple[Harm, ...]]:
    """Return the data set with mistakes, and every mistake in the data set's order.

    A box suffers at most one mistake. Numbers of mistakes are exact (rounded), except that boxes too
    large to grow are passed over. A moved or grown box loses its mask (`area`, `segmentation`), which
    would give the truth away; a spawned one gets an id of its own. The same seed gives the same mistakes.

    Raises `DataError` for rates that cannot be met.
    """
    _check(dataset, rates)
    rng = np.random.default_rng(seed)
    places = [(image, box) for image in dataset.images for box in image.boxes if can_be_harmed(image, box)]
    kinds = _draw_kinds(places, rates, rng)

    harms: list[Harm] = []
    images = []
    spawned = _spawn(dataset, places, round(rates.spawn * len(places)), rng)
    for image in dataset.images:
        boxes = []
        for box in image.boxes:
            kind = kinds.get((image.id, box.id))
            written = _harmed(image, box, kind, len(dataset.class_names), rng) if kind else box
            boxes += [written] if written else []
            if kind:
                harms.append(_harm(image, kind, box, written))
        extra = spawned.get(image.id, [])
        harms += [_harm(image, "spawn", None, box) for box in extra]
        images.append(replace(image, boxes=(*boxes, *extra)))
    return dataset.with_images(images), tuple(harms)


def harm(dataset: Dataset, noise: float, seed: int) -> tuple[Dataset, tuple[Harm, ...]]:
    """Return the data set with a share of `noise` of its boxes harmed, every kind as often as the others."""
    kinds = ["drop", "shift", "enlarge", "spawn", *(["flip"] if len(dataset.class_names) > 1 else [])]
    return corrupt(dataset, Rates(**dict.fromkeys(kinds, noise / len(kinds))), seed=seed)


def shifted(box: XYWH, width: int, height: int, rng: np.random.Generator) -> XYWH:
    """Return the box moved within the image, cut at its edges; IoU with a box that lay inside: 0.2 to 0.7.

    A move by the fractions (a, b) of width and height leaves m = (1 − a)(1 − b) of the box in common, and
    IoU = m / (2 − m), or up to m where the edge cuts the moved box.
    """
    left, top, right, bottom = _inside(box, width, height)
    common = rng.uniform(0.36, 0.66)
    horizontal = rng.uniform()
    dx = (1 - common**horizontal) * (right - left) * rng.choice((-1, 1))
    dy = (1 - common ** (1 - horizontal)) * (bottom - top) * rng.choice((-1, 1))
    dx = -dx if not 0 <= left + dx <= right + dx <= width else dx
    dy = -dy if not 0 <= top + dy <= bottom + dy <= height else dy
    left, top, right, bottom = _inside((left + dx, top + dy, right - left, bottom - top), width, height)
    return left, top, right - left, bottom - top


def enlarged(box: XYWH, width: int, height: int, rng: np.random.Generator) -> XYWH | None:
    """Return a larger box around the box, inside the image, IoU 0.25 to 0.7; None if it fills the image."""
    left, top, right, bottom = _inside(box, width, height)
    w, h = right - left, bottom - top
    share = w * h / (width * height)
    if share > LARGEST_SHARE:
        return None
    growth = 1 / max(rng.uniform(0.25, 0.55), share)
    new_w = min(width, w * growth ** rng.uniform(0.35, 0.65))
    new_h = min(height, growth * w * h / new_w)
    new_w = min(width, growth * w * h / new_h)
    x = rng.uniform(max(0.0, right - new_w), min(left, width - new_w))
    y = rng.uniform(max(0.0, bottom - new_h), min(top, height - new_h))
    return x, y, new_w, new_h


def can_be_harmed(image: Image, box: Box) -> bool:
    """Whether the box is no crowd and has an area inside its image."""
    left, top, right, bottom = _inside(box.xywh, image.width, image.height)
    return not box.crowd and right > left and bottom > top


def harmed_images(harms: Iterable[Harm]) -> set[int | str]:
    """Return the ids of all images with at least one mistake."""
    return {harm.image_id for harm in harms}


def write_ledger(path: Path, harms: Iterable[Harm]) -> None:
    """Write one JSON object a line, in one step."""
    write_atomic(path, "".join(json.dumps(asdict(harm)) + "\n" for harm in harms))


def read_ledger(path: Path) -> tuple[Harm, ...]:
    """Return what `write_ledger` wrote. `DataError` names the line that is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(path, f"the ledger cannot be read ({error})") from error
    return tuple(_parse(path, number, line) for number, line in enumerate(lines, 1))


def _parse(path: Path, number: int, line: str) -> Harm:
    try:
        row = json.loads(line)
        if set(row) != {field.name for field in fields(Harm)} or row["kind"] not in get_args(Kind):
            raise ValueError("not the fields of a mistake")
        for name in ("before", "after"):
            if row[name] is not None:
                x, y, w, h = map(float, row[name])
                row[name] = (x, y, w, h)
        return Harm(**row)
    except (ValueError, TypeError) as error:
        raise DataError(path, f"not a line of a ledger ({error})", item=f"line {number}") from error


def _check(dataset: Dataset, rates: Rates) -> None:
    on_boxes = (rates.drop, rates.shift, rates.enlarge, rates.flip)
    if min(*on_boxes, rates.spawn) < 0 or sum(on_boxes) > 1 + 1e-9:
        raise DataError(
            dataset.root,
            f"{rates} cannot be met",
            remedy="give rates of at least 0; drop, shift, enlarge and flip together at most 1",
        )
    if rates.flip and len(dataset.class_names) < 2:
        raise DataError(dataset.root, "one class cannot be flipped to another", remedy="set flip to 0")


def _draw_kinds(
    places: list[tuple[Image, Box]], rates: Rates, rng: np.random.Generator
) -> dict[tuple[int | str, int | str], Kind]:
    # Growing comes first: not every box can.
    order: list[tuple[Kind, float, Callable[[Image, Box], bool]]] = [
        ("enlarge", rates.enlarge, _can_grow),
        ("drop", rates.drop, can_be_harmed),
        ("shift", rates.shift, can_be_harmed),
        ("flip", rates.flip, can_be_harmed),
    ]
    waiting = [places[index] for index in rng.permutation(len(places))]
    kinds: dict[tuple[int | str, int | str], Kind] = {}
    for kind, rate, possible in order:
        chosen = [place for place in waiting if possible(*place)][: round(rate * len(places))]
        kinds |= {(image.id, box.id): kind for image, box in chosen}
        waiting = [(image, box) for image, box in waiting if (image.id, box.id) not in kinds]
    return kinds


def _harmed(image: Image, box: Box, kind: Kind, classes: int, rng: np.random.Generator) -> Box | None:
    if kind == "drop":
        return None
    if kind == "flip":
        return replace(box, label=int((box.label + rng.integers(1, classes)) % classes))
    change = shifted if kind == "shift" else enlarged
    xywh = change(box.xywh, image.width, image.height, rng)
    assert xywh is not None, "only boxes that can grow are drawn"
    extra = {name: value for name, value in box.extra.items() if name != "segmentation"}
    return replace(box, xywh=xywh, area=None, extra=extra)


def _harm(image: Image, kind: Kind, before: Box | None, after: Box | None) -> Harm:
    known = before or after
    assert known is not None
    return Harm(
        image_id=image.id,
        box_id=known.id,
        kind=kind,
        before=before.xywh if before else None,
        after=after.xywh if after else None,
        label_before=before.label if before else None,
        label_after=after.label if after else None,
    )


def _spawn(
    dataset: Dataset, places: list[tuple[Image, Box]], count: int, rng: np.random.Generator
) -> dict[int | str, list[Box]]:
    """New boxes by image id: size and class of a random true box, clear of every box of their image."""
    ids = [box.id for image in dataset.images for box in image.boxes]
    numbers = [identity for identity in ids if isinstance(identity, int)]
    spawned: dict[int | str, list[Box]] = {}
    for number in range(count):
        for _ in range(TRIES):
            image = dataset.images[rng.integers(len(dataset))]
            model = places[rng.integers(len(places))][1]
            xywh = _free_place(image, spawned.get(image.id, []), model, rng)
            if xywh:
                break
        else:
            raise DataError(
                dataset.root,
                f"no room for {count} spawned boxes beside the true ones",
                remedy="lower the spawn rate",
            )
        identity = max(numbers, default=0) + 1 + number if len(numbers) == len(ids) else f"spawn-{number}"
        spawned.setdefault(image.id, []).append(Box(identity, model.label, xywh))
    return spawned


def _free_place(image: Image, others: list[Box], model: Box, rng: np.random.Generator) -> XYWH | None:
    taken = np.array([box.xyxy for box in (*image.boxes, *others)]).reshape(-1, 4)
    for _ in range(TRIES):
        factor = rng.uniform(0.4, 1.0)
        w, h = model.xywh[2] * factor, model.xywh[3] * factor
        if w > image.width or h > image.height:
            continue
        x, y = rng.uniform(0, image.width - w), rng.uniform(0, image.height - h)
        clear = (taken[:, 2] <= x) | (taken[:, 0] >= x + w) | (taken[:, 3] <= y) | (taken[:, 1] >= y + h)
        if clear.all():
            return x, y, w, h
    return None


def _inside(box: XYWH, width: int, height: int) -> tuple[float, float, float, float]:
    x, y, w, h = box
    return max(x, 0.0), max(y, 0.0), min(x + w, float(width)), min(y + h, float(height))


def _can_grow(image: Image, box: Box) -> bool:
    _, _, w, h = box.xywh
    return w * h <= LARGEST_SHARE * image.width * image.height
