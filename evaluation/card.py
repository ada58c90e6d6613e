"""The dataset card: what a careful engineer would look up about a data set before judging its labels.

`describe` measures; `card_facts.Card` is what it finds, and `card_markdown` shows it. The card states facts
and draws no conclusions; no reference is used, so it cannot say which labels are wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from metricsmith.sandbox.errors import DataError

from .card_boxes import SHAPE, BoxFacts, box_facts, count_changes
from .card_facts import Card, ClassFacts, Comparison, Extreme, GroupFacts, Looks, Motion, Profile, Spread
from .card_pixels import COLOURS, FEATURES, PixelFacts, pixel_facts
from .dataset import Dataset
from .pixels import load_rgb
from .progress import Progress, silent
from .samples import neighbours, sample_ids

__all__ = ["describe"]

Floats = npt.NDArray[np.float64]
_DETAILED = 4
"""How many classes, the most frequent, are described one by one."""
_TRAITS = 5
_MOST = 0.65
"""A trait of a class is what at least so many of its boxes show, and more than chance would."""
_CHANCE = 0.001
_ODDEST = 4


def describe(
    dataset: Dataset, *, about: str = "", images: int = 400, seed: int = 0, progress: Progress = silent
) -> Card:
    """The card of a data set of at least one image. Decodes up to `images` images, drawn with `seed`.

    DataError if the data set is empty or an image cannot be read.
    """
    if not dataset.images:
        raise DataError(dataset.root, "the data set has no images", remedy="nothing can be said about it")
    boxes = box_facts(dataset)
    chosen = set(sample_ids(dataset, images, seed))
    positions = [number for number, image in enumerate(dataset.images) if image.id in chosen]
    measured = np.flatnonzero(np.isin(boxes.image, positions))
    pixels, whole = _measure(dataset, positions, boxes, progress)
    counts = Counter(boxes.label.tolist())
    order = sorted(range(len(dataset.class_names)), key=lambda label: -counts[label])
    crowds = sum(box.crowd for image in dataset.images for box in image.boxes)
    return Card(
        name=dataset.name,
        about=about,
        images=len(dataset),
        boxes=dataset.box_count,
        sizes=dict(Counter(f"{image.width}×{image.height}" for image in dataset.images).most_common()),
        groups=_groups(dataset),
        boxes_per_image=_spread([len(image.boxes) for image in dataset.images]),
        without_boxes=sum(not image.boxes for image in dataset.images) / len(dataset),
        crowds=crowds,
        without_area=dataset.box_count - crowds - len(boxes.label),
        skipped=len(dataset.skipped),
        measured_images=len(positions),
        seed=seed,
        whole_image=_spreads(FEATURES, whole),
        classes=tuple(
            _class_facts(dataset, label, boxes, measured, pixels)
            for label in order[:_DETAILED]
            if counts[label]
        ),
        other_classes={
            dataset.class_names[label]: counts[label]
            for number, label in enumerate(order)
            if number >= _DETAILED or not counts[label]
        },
    )


def _measure(
    dataset: Dataset, positions: Sequence[int], boxes: BoxFacts, progress: Progress
) -> tuple[PixelFacts, Floats]:
    """The pixel facts of all usable boxes of these images, in order, and the features of the images."""
    parts, whole = [], []
    for done, position in enumerate(positions):
        progress("looking at images", done, len(positions))
        first, last = np.searchsorted(boxes.image, [position, position + 1])
        rgb = load_rgb(dataset.images[position].path)
        part, features = pixel_facts(rgb, boxes.xyxy[first:last])
        parts.append(part)
        whole.append(features)
    progress("looking at images", len(positions), len(positions))
    return PixelFacts.joined(parts), np.array(whole)


def _groups(dataset: Dataset) -> GroupFacts | None:
    frames = Counter(image.group for image in dataset.images if image.group is not None)
    if not frames:
        return None
    number = {image.id: image.frame for image in dataset.images}
    apart = [
        (number[image_id] or 0) - (previous.frame or 0)
        for image_id, (previous, _) in neighbours(dataset.images).items()
        if previous is not None
    ]
    return GroupFacts(
        count=len(frames),
        frames=_spread(list(frames.values())),
        stills=len(dataset) - frames.total(),
        apart=Spread.of(np.array(apart, float)),
    )


def _class_facts(
    dataset: Dataset, label: int, boxes: BoxFacts, measured: npt.NDArray[np.int64], pixels: PixelFacts
) -> ClassFacts:
    """The facts of one class that has boxes; `pixels` are those of the boxes at `measured`."""
    own = boxes.label == label
    seen = own[measured]
    mine = pixels.take(seen)
    return ClassFacts(
        name=dataset.class_names[label],
        boxes=int(own.sum()),
        images=len(np.unique(boxes.image[own])),
        shape=_spreads(SHAPE, boxes.shape[own]),
        overlaps_same=float(np.mean(boxes.overlap_same[own] > 0.5)),
        overlaps_other=float(np.mean(boxes.overlap_other[own] > 0.5)),
        at_border=float(np.mean(boxes.shape[own, SHAPE.index("to border px")] <= 1)),
        measured=int(seen.sum()),
        pixels=_comparisons(mine),
        contrast=Spread.of(mine.contrast),
        edge_span=_spreads(("width", "height"), mine.edge_span),
        looks=_looks(dataset, boxes, measured[seen], mine),
        profile=_profile(mine) if seen.any() else None,
        colours_inside=_mean_shares(mine.inside_colours),
        colours_ring=_mean_shares(mine.ring_colours),
        motion=_motion(dataset, label, boxes.motion[own]),
        extremes=tuple(_extremes(dataset, boxes, np.flatnonzero(own), measured[seen], mine)),
    )


def _comparisons(pixels: PixelFacts) -> dict[str, Comparison]:
    found = {}
    for column, name in enumerate(FEATURES):
        inside, ring = pixels.inside[:, column], pixels.ring[:, column]
        spread = Spread.of(inside)
        if spread is not None:
            found[name] = Comparison(
                inside=spread,
                ring=Spread.of(ring),
                difference=Spread.of(inside - ring),
                inside_greater=float(np.mean(inside > ring)),
                inside_less=float(np.mean(inside < ring)),
            )
    return found


def _looks(
    dataset: Dataset, boxes: BoxFacts, rows: npt.NDArray[np.int64], pixels: PixelFacts
) -> Looks | None:
    """What most boxes have in common against their rings, and the boxes that have least of it."""
    difference = pixels.inside - pixels.ring
    ringed = np.flatnonzero(~np.isnan(difference).any(axis=1))
    if not len(ringed):
        return None
    greater = np.sum(difference[ringed] > 0, axis=0)
    less = np.sum(difference[ringed] < 0, axis=0)
    count = np.maximum(greater, less)
    # How often a coin would show as many boxes or more on one of its sides.
    chance = 2 * binom.sf(count - 1, len(ringed), 0.5)
    share = count / len(ringed)
    traits = [
        n for n in np.argsort(-share, kind="stable").tolist() if share[n] >= _MOST and chance[n] < _CHANCE
    ]
    traits = traits[:_TRAITS]
    if not traits:
        return None
    signs = np.where(greater >= less, 1, -1)[traits]
    shown = np.sum(difference[ringed][:, traits] * signs > 0, axis=1)
    odd = np.flatnonzero(2 * shown < len(traits))
    oddest = odd[np.argsort(shown[odd], kind="stable")][:_ODDEST]
    return Looks(
        traits={FEATURES[n]: float(share[n] * sign) for n, sign in zip(traits, signs.tolist(), strict=True)},
        odd=len(odd) / len(ringed),
        oddest=tuple(
            _extreme("traits shown", float(shown[n]), dataset, boxes, int(rows[ringed[n]])) for n in oddest
        ),
    )


def _profile(pixels: PixelFacts) -> Profile:
    return Profile(
        distance=tuple(Spread.of(column) for column in pixels.distance.T),
        edges=tuple(
            None if np.isnan(column).all() else float(np.nanmean(column)) for column in pixels.edges.T
        ),
    )


def _motion(dataset: Dataset, label: int, motion: Floats) -> Motion | None:
    shift, resize, overlap = (Spread.of(column) for column in motion.T)
    if shift is None or resize is None or overlap is None:
        return None
    changes, flickers = count_changes(dataset, label)
    return Motion(
        boxes=int((~np.isnan(motion[:, 0])).sum()),
        shift=shift,
        resize=resize,
        iou=overlap,
        count_changes=changes,
        flickers=flickers,
    )


def _extremes(
    dataset: Dataset,
    boxes: BoxFacts,
    own: npt.NDArray[np.int64],
    seen: npt.NDArray[np.int64],
    pixels: PixelFacts,
) -> Iterator[Extreme]:
    """The boxes at the ends of what can be pictured, the first of equals."""
    shape, inside = boxes.shape[own].T, pixels.inside.T
    for rows, values, lowest, highest in (
        (own, shape[SHAPE.index("√area px")], "smallest, √area px", "largest, √area px"),
        (own, shape[SHAPE.index("width/height")], "narrowest, width/height", "widest, width/height"),
        (seen, inside[FEATURES.index("brightness")], "darkest, brightness", "brightest, brightness"),
        (seen, pixels.contrast, "least contrast to the ring", "most contrast to the ring"),
        (seen, pixels.edge_span.mean(axis=1), "shortest edge span", None),
        (own, boxes.motion[own, 0], None, "farthest shift from the previous frame"),
    ):
        if np.isnan(values).all():
            continue
        for what, at in ((lowest, np.nanargmin(values)), (highest, np.nanargmax(values))):
            if what is not None:
                yield _extreme(what, float(values[at]), dataset, boxes, int(rows[at]))


def _extreme(what: str, value: float, dataset: Dataset, boxes: BoxFacts, row: int) -> Extreme:
    x1, y1, x2, y2 = boxes.xyxy[row].tolist()
    name = dataset.images[boxes.image[row]].file_name
    return Extreme(what=what, value=value, file_name=name, xywh=(x1, y1, x2 - x1, y2 - y1))


def _mean_shares(colours: Floats) -> dict[str, float]:
    shares = colours[~np.isnan(colours).any(axis=1)]
    if not len(shares):
        return {}
    means = dict(zip(COLOURS, shares.mean(axis=0).tolist(), strict=True))
    return dict(sorted(means.items(), key=lambda item: -item[1]))


def _spreads(names: Sequence[str], columns: Floats) -> dict[str, Spread]:
    found = {name: Spread.of(column) for name, column in zip(names, columns.T, strict=True)}
    return {name: spread for name, spread in found.items() if spread is not None}


def _spread(values: Sequence[int]) -> Spread:
    spread = Spread.of(np.array(values, float))
    assert spread is not None, "only called with values"
    return spread
