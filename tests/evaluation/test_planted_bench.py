"""Planted against known mistakes, with metrics whose sight is known, in the real sandbox."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scripted import GOOD

from metricsmith.evaluation.corruption import Rates, corrupt
from metricsmith.evaluation.dataset import Box, Dataset, Image
from metricsmith.evaluation.label_error_bench import Case
from metricsmith.evaluation.planted_bench import Pair, agreement, pairs
from metricsmith.sandbox.errors import DataError

AREA = GOOD.replace('"low"', '"high"')
COUNT = """\
from metricsmith.sandbox import Metric, Sample


class Count(Metric):
    \"\"\"Boxes; low means that one may be missing.\"\"\"

    level = "image"
    suspicious = "low"

    def measure(self, sample: Sample) -> float:
        return float(len(sample.boxes))
"""


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Boxes of nearly one size: what is enlarged stands out."""
    folder = tmp_path_factory.mktemp("farm")
    rng = np.random.default_rng(0)
    images = []
    for number in range(80):
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), rng.integers(0, 255, (90, 120, 3), np.uint8))
        boxes = tuple(
            Box(2 * number + k, 0, (40.0 * k + rng.uniform(0, 9), 30.0, rng.uniform(24, 28), 25.0))
            for k in range(2)
        )
        images.append(Image(number, path, path.name, 120, 90, boxes))
    clean = Dataset("farm", folder, tuple(images), ("cow",))
    dirty, harms = corrupt(clean, Rates(drop=0.1, enlarge=0.1), seed=0)
    return Case(clean, dirty, harms, {}, {}, seed=0)


def test_a_metric_sees_planted_mistakes_as_it_sees_known_ones(case: Case) -> None:
    found = {(pair.metric, pair.kind): pair for pair in pairs(case, {"area": AREA, "count": COUNT})}
    assert set(found) == {(name, kind) for name in ("area", "count") for kind in ("drop", "enlarge")}
    assert found["area", "enlarge"].known == 1.0
    assert found["area", "enlarge"].planted > 0.9
    assert found["count", "drop"].planted > 0.85 < found["count", "drop"].known
    assert 0.35 < found["count", "enlarge"].known < 0.65
    assert found["count", "enlarge"].planted == pytest.approx(0.5, abs=0.1)


def test_a_metric_that_cannot_be_used_is_named(case: Case) -> None:
    with pytest.raises(DataError, match="broken fails on farm"):
        list(pairs(case, {"broken": AREA.replace("sample.boxes[:, 2]", "sample.boxes[2]")}))


def test_agreement_is_a_rank_correlation() -> None:
    made = [
        Pair(metric="m", kind="drop", planted=planted, known=known)
        for planted, known in ((0.5, 0.51), (0.6, 0.9), (0.9, 0.95))
    ]
    assert agreement(made) == pytest.approx(1.0)
    assert agreement([*made, Pair(metric="m", kind="drop", planted=1.0, known=0.1)]) == pytest.approx(-0.2)
