from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.evaluation.dataset import Box, Dataset, Image
from metricsmith.evaluation.splits import split_by_group
from metricsmith.sandbox.errors import DataError


def dataset_of(groups: list[tuple[str | None, list[int]]]) -> Dataset:
    """One image for each (group, labels of its boxes)."""
    images = tuple(
        Image(
            number,
            Path(f"{number}.jpg"),
            f"{number}.jpg",
            100,
            80,
            tuple(Box(f"{number}/{k}", label, (1, 2, 30, 40)) for k, label in enumerate(labels)),
            group,
        )
        for number, (group, labels) in enumerate(groups)
    )
    return Dataset("farm", Path("/data/farm"), images, ("cow", "hen"))


def videos(sizes: list[int]) -> Dataset:
    return dataset_of([(f"v{k}", [k % 2]) for k, size in enumerate(sizes) for _ in range(size)])


@given(sizes=st.lists(st.integers(1, 30), min_size=3, max_size=60), seed=st.integers(0, 9))
def test_no_group_is_cut_and_sizes_are_within_about_one_group(sizes: list[int], seed: int) -> None:
    dataset = videos(sizes)
    splits = split_by_group(dataset, seed=seed)
    parts = (splits.pool, splits.val, splits.test)
    groups = [{image.group for image in part.images} for part in parts]
    assert sum(map(len, parts)) == len(dataset)
    assert all(groups)
    assert len(groups[0] | groups[1] | groups[2]) == sum(map(len, groups)) == len(sizes)
    for part, fraction in zip(parts, (0.6, 0.2, 0.2), strict=True):
        assert abs(len(part) - fraction * len(dataset)) <= 1.25 * max(sizes)


def test_equal_groups_meet_the_fractions_exactly() -> None:
    splits = split_by_group(videos([16] * 40))
    assert [len(part) for part in (splits.pool, splits.val, splits.test)] == [384, 128, 128]


def test_stills_are_their_own_groups_and_classes_stay_proportional() -> None:
    rng = np.random.default_rng(0)
    labels = [[int(rng.uniform() < 0.1)] for _ in range(400)] + [[] for _ in range(100)]
    splits = split_by_group(dataset_of([(None, row) for row in labels]))
    hens = sum(row == [1] for row in labels)
    for part, fraction in ((splits.pool, 0.6), (splits.val, 0.2), (splits.test, 0.2)):
        assert len(part) == pytest.approx(fraction * 500, abs=3)
        assert sum((i.labels == 1).sum() for i in part.images) == pytest.approx(fraction * hens, abs=2)
        assert sum(not i.boxes for i in part.images) == pytest.approx(fraction * 100, abs=3)


def test_same_seed_gives_the_same_split_and_another_seed_another() -> None:
    dataset = videos([5, 6, 7] * 10)
    first, again, other = (split_by_group(dataset, seed=seed) for seed in (3, 3, 4))
    assert first == again
    assert first.test.images != other.test.images


def test_parts_are_named_and_keep_the_order() -> None:
    splits = split_by_group(videos([3, 4, 5, 6]))
    assert (splits.pool.name, splits.val.name, splits.test.name) == ("farm-pool", "farm-val", "farm-test")
    ids = [image.id for image in splits.pool.images]
    assert ids == sorted(ids, key=int)


def test_two_groups_are_too_few() -> None:
    with pytest.raises(DataError, match=r"/data/farm: 2 group\(s\) of images cannot make"):
        split_by_group(videos([9, 9]))


@pytest.mark.parametrize("fractions", [(0.6, 0.3, 0.2), (1.0, 0.0, 0.0)])
def test_fractions_that_do_not_add_up(fractions: tuple[float, float, float]) -> None:
    with pytest.raises(DataError, match="add up to 1"):
        split_by_group(videos([1] * 9), fractions=fractions)
