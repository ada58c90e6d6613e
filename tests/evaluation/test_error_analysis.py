"""Each kind of error on a case of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metricsmith.evaluation.coco_eval import evaluate
from metricsmith.evaluation.dataset import Box, Image
from metricsmith.evaluation.error_analysis import Missed, analyse
from metricsmith.sandbox import Predictions

NAMES = ("cat", "dog")
A = (10.0, 10.0, 40.0, 40.0)
MOVED, FAR = (30.0, 10.0, 40.0, 40.0), (150.0, 150.0, 40.0, 40.0)  # IoU with A: 1/3 and 0
NOTHING = (10.0, 150.0, 40.0, 40.0)


def image(
    number: int, *boxes: tuple[int, tuple[float, float, float, float]], group: str | None = None
) -> Image:
    own = tuple(Box(100 * number + row, label, xywh) for row, (label, xywh) in enumerate(boxes))
    return Image(number, Path(f"{number}.png"), f"{number}.png", 200, 200, own, group, number)


def found(*rows: tuple[int, tuple[float, float, float, float], float]) -> Predictions:
    boxes = np.array([(x, y, x + w, y + h) for _, (x, y, w, h), _ in rows], np.float32).reshape(-1, 4)
    return Predictions(
        boxes, np.array([row[0] for row in rows], np.int64), np.array([row[2] for row in rows], np.float32)
    )


@pytest.mark.parametrize(
    ("kind", "predictions"),
    [
        ("missed", found()),
        ("wrong place", found((0, MOVED, 0.9))),
        ("wrong class", found((1, A, 0.9))),
        ("wrong place and class", found((1, MOVED, 0.9))),
        ("duplicate", found((0, A, 0.95), (0, A, 0.9))),
        ("background", found((0, NOTHING, 0.97), (0, A, 0.9))),
    ],
)
def test_the_kind_of_error_is_the_one_that_costs(kind: str, predictions: Predictions) -> None:
    """Beside a hundred sound images, whose predictions are a little less sure."""
    images = [image(n, (0, A), (1, FAR)) for n in range(20)]
    sound = [found((0, A, 0.8), (1, FAR, 0.8))] * 10
    bad = Predictions(
        np.concatenate([predictions.boxes, found((1, FAR, 0.8)).boxes]),
        np.concatenate([predictions.labels, [1]]),
        np.concatenate([predictions.scores, np.array([0.8], np.float32)]),
    )
    errors = analyse(images, [[*sound, *[bad] * 10]], NAMES)
    assert errors is not None
    dear = {name for name, cost in errors.cost.items() if cost > 0.01}
    # what is found neither in its place nor as its class is missed, too
    assert dear == ({kind, "missed"} if kind == "wrong place and class" else {kind})
    assert list(errors.cost.values()) == sorted(errors.cost.values(), reverse=True)


def test_ap50_is_cocos() -> None:
    images = [image(n, (0, A)) for n in range(4)]
    predictions = [found((0, A, 0.9)), found((0, MOVED, 0.8)), found((0, A, 0.7)), found()]
    errors = analyse(images, [predictions], NAMES)
    assert errors is not None
    assert errors.ap50 == pytest.approx(evaluate(images, predictions, NAMES).ap50, abs=1e-6)


def test_missed_boxes_are_counted_by_size_and_by_video() -> None:
    small, medium, large = (5.0, 5.0, 20.0, 20.0), (60.0, 5.0, 60.0, 60.0), (60.0, 80.0, 110.0, 110.0)
    images = [
        *(image(n, (0, small), (0, medium), group="good") for n in range(4)),
        *(image(4 + n, (0, small), (0, large), group="bad") for n in range(4)),
        image(8, (0, small), group="short"),
        image(9, (1, small)),
    ]
    predictions = [
        *[found((0, small, 0.9), (0, medium, 0.9))] * 4,
        *[found((0, large, 0.9))] * 4,
        found(),
        found((0, small, 0.9)),
    ]
    errors = analyse(images, [predictions], NAMES)
    assert errors is not None
    counts = {name: (part.boxes, part.share) for name, part in errors.by_size.items()}
    assert counts == {"small": (10, pytest.approx(0.6)), "medium": (4, 0), "large": (4, 0)}
    assert {name: part.share for name, part in errors.by_group.items()} == {"bad": 0.5, "good": 0}
    assert list(errors.by_group) == ["bad", "good"]


def test_crowds_are_not_missed() -> None:
    crowd = Image(1, Path("1.png"), "1.png", 200, 200, (Box(1, 0, A, crowd=True), Box(2, 0, FAR)))
    errors = analyse([crowd], [[found((0, FAR, 0.9))]], NAMES)
    assert errors is not None
    assert [(part.boxes, part.share) for part in errors.by_size.values()] == [(1, 0)]


def test_without_boxes_there_is_nothing_to_say() -> None:
    assert analyse([image(1)], [[found((0, A, 0.9))]], NAMES) is None


def test_several_detectors_are_averaged() -> None:
    images = [image(n, (0, A), group="video") for n in range(6)]
    astray, sound = [found((0, MOVED, 0.9))] * 6, [found((0, A, 0.9))] * 6
    errors = analyse(images, [astray, sound, sound, sound], NAMES)
    assert errors is not None
    assert errors.ap50 == pytest.approx(0.75)
    assert errors.cost["wrong place"] == pytest.approx(0.25)
    assert [(part.boxes, part.share) for part in errors.by_size.values()] == [(6, 0.25)]
    assert errors.by_group == {"video": Missed(boxes=6, share=0.25)}


def test_what_is_never_predicted_is_missed() -> None:
    """hotcoco's TIDE says 0 for a class without any prediction."""
    images = [image(n, (0, A), (1, FAR)) for n in range(6)]
    blind, half = [found()] * 6, [found((0, A, 0.9))] * 6
    for detectors, ap50, missed in (([blind], 0, 1), ([half], 0.5, 0.5), ([blind, half], 0.25, 0.75)):
        errors = analyse(images, detectors, NAMES)
        assert errors is not None
        assert errors.ap50 == pytest.approx(ap50)
        assert errors.cost["missed"] == pytest.approx(missed)
        assert next(iter(errors.cost)) == "missed"
