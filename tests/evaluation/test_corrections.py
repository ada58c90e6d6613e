"""What an annotator corrected, against mistakes that were made on purpose."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.evaluation.corrections import corrections
from metricsmith.evaluation.corruption import Rates, corrupt
from metricsmith.evaluation.dataset import Box, Dataset, Image


def image(*boxes: tuple[float, float, float, float], labels: tuple[int, ...] = ()) -> Image:
    own = tuple(Box(number, labels[number] if labels else 0, xywh) for number, xywh in enumerate(boxes))
    return Image(1, Path("a.jpg"), "a.jpg", 400, 400, own)


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        (image(), image(), {}),
        (image((0, 0, 10, 10)), image((0, 0, 10, 9)), {}),
        (image((0, 0, 10, 10)), image((0, 0, 10, 7.9)), {"enlarge": 1}),
        (image((0, 0, 10, 7.9)), image((0, 0, 10, 10)), {"shrink": 1}),
        (image((0, 0, 10, 10)), image((4, 0, 10, 10)), {"shift": 1}),
        (image((0, 0, 10, 10)), image((50, 0, 10, 10)), {"spawn": 1, "drop": 1}),
        (image((0, 0, 10, 10)), image((0, 0, 10, 10), labels=(1,)), {"flip": 1}),
        (image((0, 0, 10, 10)), image((4, 0, 10, 10), labels=(1,)), {"shift": 1, "flip": 1}),
        (image(), image((0, 0, 5, 5), (9, 9, 5, 5)), {"drop": 2}),
        (image((0, 0, 5, 5), (0, 0, 5, 5)), image((0, 0, 5, 5)), {"spawn": 1}),
        # two classes on one spot are told apart by class before place
        (
            image((0, 0, 10, 10), (1, 0, 10, 10), labels=(0, 1)),
            image((1, 0, 10, 10), (0, 0, 10, 10), labels=(0, 1)),
            {},
        ),
    ],
)
def test_corrections_are_told_by_kind(before: Image, after: Image, found: dict[str, int]) -> None:
    assert corrections(before, after) == found


@pytest.mark.parametrize("kind", ["drop", "shift", "enlarge", "flip", "spawn"])
def test_each_mistake_made_on_purpose_is_named(kind: str) -> None:
    """In the middle of its image, where no edge cuts a moved box into a smaller one."""
    images = tuple(replace(image((150 + n, 160 - n, 60, 50), labels=(n % 2,)), id=n) for n in range(40))
    truth = Dataset("t", Path("t"), images, ("cow", "hen"))
    written, harms = corrupt(truth, Rates(**{kind: 1.0}), seed=3)
    assert len(harms) == 40
    for harmed, right in zip(written.images, truth.images, strict=True):
        mistakes = sum(harm.image_id == right.id for harm in harms)
        assert corrections(harmed, right) == ({kind: mistakes} if mistakes else {})


boxes = st.lists(
    st.tuples(st.integers(0, 300), st.integers(0, 300), st.integers(1, 90), st.integers(1, 90)), max_size=6
)


@given(boxes, boxes, st.randoms())
def test_the_order_of_boxes_is_no_mistake_and_every_box_is_accounted_for(before, after, random) -> None:  # type: ignore[no-untyped-def]
    old, new = image(*before), image(*after)
    shuffled = list(old.boxes)
    random.shuffle(shuffled)
    assert not corrections(old, replace(old, boxes=tuple(shuffled)))
    found = corrections(old, new)
    assert found["drop"] - found["spawn"] == len(new.boxes) - len(old.boxes)
    back = corrections(new, old)
    assert (back["drop"], back["spawn"]) == (found["spawn"], found["drop"])
