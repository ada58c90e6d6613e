"""What curated images are worth in random ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.evaluation.data_multiplier import Point, read_off

CURVE = [Point(images=n, map=ap) for n, ap in ((50, 0.2), (100, 0.3), (200, 0.35), (400, 0.4))]


@pytest.mark.parametrize(
    ("ap", "least", "most"),
    [(0.25, 75, 75), (0.3, 100, 100), (0.325, 150, 150), (0.4, 400, 400), (0.41, 400, None), (0.1, None, 50)],
)
def test_the_number_is_read_off_the_curve(ap: float, least: int | None, most: int | None) -> None:
    found = read_off(100, ap, CURVE)
    assert (found.least, found.most) == (least, most)


def test_what_a_smaller_sample_reached_is_reached() -> None:
    dip = [Point(images=n, map=ap) for n, ap in ((50, 0.2), (100, 0.3), (200, 0.25), (400, 0.4))]
    assert read_off(100, 0.28, dip).least == 90
    assert read_off(100, 0.35, dip).least == 333


def test_it_is_said_in_words() -> None:
    assert str(read_off(100, 0.325, CURVE)) == (
        "100 curated images (mAP 0.325) are worth 150 random ones, 1.5 times as many"
    )
    assert str(read_off(100, 0.5, CURVE)) == (
        "100 curated images (mAP 0.500) are worth more than 400 random ones: all there are reach 0.400"
    )
    assert str(read_off(100, 0.1, CURVE)) == (
        "100 curated images (mAP 0.100) are worth fewer than 50 random ones, the smallest sample of the curve"
    )


@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=6),
    st.floats(0, 1),
    st.permutations(range(6)),
)
def test_it_never_leaves_the_curve(aps: list[float], ap: float, order: list[int]) -> None:
    points = [Point(images=10 * (n + 1), map=value) for n, value in enumerate(aps)]
    found = read_off(10, ap, [points[n] for n in order if n < len(points)])
    for number in (found.least, found.most):
        assert number is None or 10 <= number <= 10 * len(points)
    assert found.least is not None or found.most is not None
