"""Pool, val and test out of one data set, never cutting through a group.

It draws; it does not keep the draw: who needs it again writes the image ids down.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isclose

import numpy as np
import numpy.typing as npt

from metricsmith.sandbox.errors import DataError

from .dataset import Dataset, Image

__all__ = ["Splits", "split_by_group"]


@dataclass(frozen=True, slots=True)
class Splits:
    """Three data sets without a group in common."""

    pool: Dataset
    """What training sets are chosen from."""
    val: Dataset
    """What decides between ideas."""
    test: Dataset
    """What is looked at once, at the end."""


def split_by_group(
    dataset: Dataset, *, fractions: tuple[float, float, float] = (0.6, 0.2, 0.2), seed: int = 0
) -> Splits:
    """Return pool, val and test, named "NAME-pool" and so on, each in the data set's own order.

    Groups stay whole and a still is its own group. Each part's share of the images and of the boxes of
    each class comes near its fraction: groups are dealt, large ones first and in random order among
    those of about one size, each to the part where it lowers the chi-square distance
    Σ (share − fraction)² / fraction most. Every part gets at least one group.

    Raises `DataError` for fewer than three groups and for fractions that are not positive or do not add
    up to 1.
    """
    if min(fractions) <= 0 or not isclose(sum(fractions), 1, abs_tol=1e-6):
        raise DataError(
            dataset.root,
            f"fractions {fractions} for pool, val and test cannot be used",
            remedy="give three positive numbers that add up to 1",
        )
    groups: dict[object, list[Image]] = {}
    for image in dataset.images:
        groups.setdefault(("still", image.id) if image.group is None else image.group, []).append(image)
    if len(groups) < 3:
        raise DataError(
            dataset.root,
            f"{len(groups)} group(s) of images cannot make pool, val and test",
            remedy="add videos or stills, or give the three parts as data sets of their own",
        )
    members = list(groups.values())
    part_of = _deal(_shares(members, len(dataset.class_names)), [len(m) for m in members], fractions, seed)
    chosen = {image.id: part for part, group in zip(part_of, members, strict=True) for image in group}

    def part(number: int, name: str) -> Dataset:
        images = (image for image in dataset.images if chosen[image.id] == number)
        return replace(dataset.with_images(images), name=f"{dataset.name}-{name}")

    return Splits(part(0, "pool"), part(1, "val"), part(2, "test"))


def _shares(groups: list[list[Image]], classes: int) -> npt.NDArray[np.float64]:
    """(G, 2 + C): each group's share of all images, of images without a box, and of each class's boxes."""
    counts = np.zeros((len(groups), 2 + classes))
    for row, images in zip(counts, groups, strict=True):
        row[0] = len(images)
        row[1] = sum(not image.boxes for image in images)
        for image in images:
            np.add.at(row, 2 + image.labels, 1)
    shares: npt.NDArray[np.float64] = counts / np.maximum(counts.sum(axis=0), 1)
    return shares


def _deal(
    shares: npt.NDArray[np.float64], sizes: list[int], fractions: tuple[float, float, float], seed: int
) -> list[int]:
    """The part (0, 1 or 2) of each group."""
    target = np.array(fractions)[:, None]
    # Sizes must come near first; the classes together weigh as much as they do.
    weight = np.full(shares.shape[1], 1 / (shares.shape[1] - 1))
    weight[0] = 1
    order = sorted(
        np.random.default_rng(seed).permutation(len(sizes)).tolist(), key=lambda g: -sizes[g].bit_length()
    )
    held = np.zeros((3, shares.shape[1]))
    part_of = [0] * len(sizes)
    for dealt, group in enumerate(order):
        change = (shares[group] * (2 * (held - target) + shares[group]) / target) @ weight
        empty = ~held.any(axis=1)
        if empty.sum() == len(order) - dealt:
            change[~empty] = np.inf
        part_of[group] = int(change.argmin())
        held[part_of[group]] += shares[group]
    return part_of
