"""The one seeded order of images from which every random choice of images is drawn.

Control and curation draw from the same order, so that for one seed they share every image they can; that
is what makes their difference a paired one. This module draws; it judges no image: see `curation`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence

import numpy as np

from metricsmith.sandbox.errors import DataError

__all__ = ["control_draw", "oracle_draw", "permutation", "spread"]

Id = int | str


def permutation(ids: Sequence[Id], seed: int) -> list[Id]:
    """The ids in a random order that depends on their number and the seed alone.

    Sorts the raw 64-bit output of PCG64: NumPy promises that stream for all versions and machines, and
    does not promise that of `Generator.permutation`.
    """
    keys = np.random.PCG64(seed).random_raw(len(ids))
    return [ids[position] for position in np.argsort(keys, kind="stable").tolist()]


def control_draw(ids: Sequence[Id], budget: int, seed: int) -> list[Id]:
    """`budget` of the ids, drawn at random without replacement, in the order given.

    They are the first `budget` of `permutation`, so a larger budget contains every smaller one. DataError
    if there are fewer ids than that.
    """
    if not 0 < budget <= len(ids):
        raise DataError(
            "pool",
            f"a training set of {budget} images cannot be drawn from {len(ids)}",
            remedy=f"choose a budget from 1 to {len(ids)} images",
        )
    drawn = set(permutation(ids, seed)[:budget])
    return [item for item in ids if item in drawn]


def oracle_draw(ids: Sequence[Id], budget: int, seed: int, harmed: Collection[Id]) -> list[Id] | None:
    """`budget` of the ids that are not harmed, in the order given; None if there are fewer of them.

    It shares with `control_draw` of the same seed every image that is not harmed: what a filter that knows
    every mistake would draw.
    """
    sound = [item for item in permutation(ids, seed) if item not in harmed][:budget]
    if len(sound) < budget:
        return None
    drawn = set(sound)
    return [item for item in ids if item in drawn]


def spread(ids: Sequence[Id], groups: Mapping[Id, Hashable]) -> list[Id]:
    """The ids reordered so that every group has had its turn before any has its next.

    Within a turn the order given is kept. An id whose group is None, or missing, is a group of its own.

        >>> spread([1, 2, 3, 4], {1: "a", 2: "a", 3: "b", 4: None})
        [1, 3, 4, 2]
    """
    turns: Counter[Hashable] = Counter()
    turn_of: dict[Id, int] = {}
    for item in ids:
        group = groups.get(item)
        turn_of[item] = 0 if group is None else turns[group]
        turns[group] += 1
    return sorted(ids, key=turn_of.__getitem__)
