"""hotcoco against pycocotools, and both against cases worked out by hand."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metricsmith.evaluation.coco_eval import evaluate
from metricsmith.evaluation.dataset import Box, Image
from metricsmith.sandbox import Predictions

NAMES = ("cat", "dog", "never seen")


def image(number: int, boxes: tuple[Box, ...]) -> Image:
    return Image(number, Path(f"{number}.png"), f"{number}.png", 640, 480, boxes)


def found(boxes: list[list[float]], labels: list[int], scores: list[float]) -> Predictions:
    return Predictions(
        np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64), np.array(scores, np.float32)
    )


def random_case(seed: int) -> tuple[list[Image], list[Predictions]]:
    """Images with 0 to 6 boxes of all sizes, crowds among them; predictions near them, elsewhere, or none."""
    rng = np.random.default_rng(seed)
    images, predictions, next_id = [], [], 1
    for number in range(int(rng.integers(0, 12))):
        boxes, near = [], []
        for _ in range(int(rng.integers(0, 7))):
            width, height = np.exp(rng.uniform(1.5, 5.5, 2))
            left, top = rng.uniform(0, 640 - width), rng.uniform(0, 480 - height)
            label = int(rng.integers(2))
            area = None if rng.random() < 0.5 else float(width * height * rng.uniform(0.4, 1))
            boxes.append(
                Box(next_id, label, (left, top, width, height), crowd=bool(rng.random() < 0.15), area=area)
            )
            next_id += 1
            for _ in range(int(rng.integers(0, 4))):
                jitter = rng.normal(0, 0.12, 4) * [width, height, width, height]
                corner = np.array([left, top, left + width, top + height]) + jitter
                near.append((corner, label if rng.random() < 0.9 else 1 - label))
        for _ in range(int(rng.integers(0, 3)) * 40 if rng.random() < 0.2 else 0):
            left, top, width, height = rng.uniform(1, 200, 4)
            near.append((np.array([left, top, left + width, top + height]), int(rng.integers(2))))
        # Few distinct scores: ties must be broken alike.
        scores = -np.sort(-rng.integers(1, 20, len(near)) / 20)
        images.append(image(number, tuple(boxes)))
        predictions.append(
            found([list(corner) for corner, _ in near], [label for _, label in near], list(scores))
        )
    return images, predictions


@given(st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_all_twelve_equal_pycocotools(seed: int) -> None:
    images, predictions = random_case(seed)
    ours = asdict(evaluate(images, predictions, NAMES))
    reference = asdict(evaluate(images, predictions, NAMES, evaluator="pycocotools"))
    assert ours.pop("by_class") == pytest.approx(reference.pop("by_class"), abs=1e-6)
    assert ours == pytest.approx(reference, abs=1e-6)


@given(st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_ap_of_a_class_is_that_of_the_class_alone(seed: int) -> None:
    images, predictions = random_case(seed)
    found = evaluate(images, predictions, NAMES)
    for label, name in enumerate(NAMES):
        alone = [replace(i, boxes=tuple(box for box in i.boxes if box.label == label)) for i in images]
        own = [
            Predictions(*(a[p.labels == label] for a in (p.boxes, p.labels, p.scores))) for p in predictions
        ]
        assert found.by_class.get(name, -1) == pytest.approx(evaluate(alone, own, NAMES).map, abs=1e-9)


@pytest.mark.parametrize("evaluator", ["hotcoco", "pycocotools"])
def test_a_perfect_prediction_scores_one_and_nothing_is_printed(
    evaluator: str, capfd: pytest.CaptureFixture[str]
) -> None:
    images = [image(1, (Box(1, 0, (10.0, 20.0, 50.0, 60.0)),))]
    stats = evaluate(images, [found([[10, 20, 60, 80]], [0], [0.9])], NAMES, evaluator=evaluator)  # type: ignore[arg-type]
    assert (stats.map, stats.ap50, stats.ar1, stats.ar100, stats.ap_medium) == pytest.approx((1, 1, 1, 1, 1))
    assert (stats.ap_small, stats.ap_large) == (-1, -1)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("evaluator", ["hotcoco", "pycocotools"])
def test_a_shift_counts_up_to_its_overlap(evaluator: str) -> None:
    # 100×100 shifted by 20: IoU 80/120 = 0.67, a match at 0.50, 0.55, 0.60 and 0.65 of ten thresholds.
    images = [image(1, (Box(1, 0, (0.0, 0.0, 100.0, 100.0)),))]
    stats = evaluate(images, [found([[20, 0, 120, 100]], [0], [0.9])], NAMES, evaluator=evaluator)  # type: ignore[arg-type]
    assert (stats.map, stats.ap50, stats.ap75, stats.ar100) == pytest.approx((0.4, 1, 0, 0.4))


@pytest.mark.parametrize("evaluator", ["hotcoco", "pycocotools"])
@pytest.mark.parametrize("images", [[], [image(1, ())]], ids=["no images", "no boxes"])
def test_without_a_box_to_find_every_statistic_is_minus_one(images: list[Image], evaluator: str) -> None:
    stats = evaluate(images, [Predictions() for _ in images], NAMES, evaluator=evaluator)  # type: ignore[arg-type]
    values = asdict(stats)
    assert values.pop("by_class") == {}
    assert set(values.values()) == {-1.0}


@pytest.mark.parametrize("evaluator", ["hotcoco", "pycocotools"])
def test_without_predictions_the_score_is_zero(evaluator: str) -> None:
    images = [image(1, (Box(1, 0, (0.0, 0.0, 20.0, 20.0)),))]
    stats = evaluate(images, [Predictions()], NAMES, evaluator=evaluator)  # type: ignore[arg-type]
    assert (stats.map, stats.ar100, stats.ap_small, stats.ap_large) == (0, 0, 0, -1)


def test_one_prediction_list_too_few_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        evaluate([image(1, ())], [], NAMES)
