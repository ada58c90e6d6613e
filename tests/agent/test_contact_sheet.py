"""The contact sheet: what is chosen, how it is drawn, what the legend says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from metricsmith.agent.contact_sheet import TILE, Tile, contact_sheet, contradiction, tiles
from metricsmith.evaluation.dataset import Box, Dataset, Image
from metricsmith.evaluation.scores import ScoreTable
from metricsmith.sandbox import Predictions

BOX = (10.0, 10.0, 40.0, 20.0)


def found(*boxes: tuple[float, float, float, float], score: float = 0.9) -> Predictions:
    return Predictions(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.zeros(len(boxes), np.int64),
        np.full(len(boxes), score, np.float32),
    )


@pytest.fixture
def pool(tmp_path: Path) -> Dataset:
    images = []
    for number in range(20):
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), np.full((60, 80, 3), 10 * number, np.uint8))
        boxes = (Box(number, 0, BOX),) if number else ()
        images.append(Image(number, path, path.name, 80, 60, boxes))
    return Dataset("toy", tmp_path, tuple(images), ("cat",))


def test_four_random_four_contradicted_and_four_suspicious_none_twice(pool: Dataset) -> None:
    predictions = {image.id: found((10, 10, 50, 30)) for image in pool.images}
    predictions |= {number: found((60, 40, 79, 59)) for number in (3, 5, 7, 9, 11)}
    table = ScoreTable.of("Dark", "image", "low", np.arange(20.0), pool)
    chosen = tiles(pool, predictions, table, seed=0)
    assert len({tile.image.id for tile in chosen}) == len(chosen) == 12
    why = [tile.why for tile in chosen]
    assert why == ["random"] * 4 + ["contradicted by the detector"] * 4 + ["most suspicious by Dark"] * 4
    assert {tile.image.id for tile in chosen[4:8]} <= {0, 3, 5, 7, 9, 11}
    assert [tile.predictions is not None for tile in chosen] == [False] * 4 + [True] * 4 + [False] * 4
    left = [n for n in range(20) if n not in {tile.image.id for tile in chosen[:8]}]
    assert [tile.image.id for tile in chosen[8:]] == left[:4]
    assert chosen == tiles(pool, predictions, table, seed=0)


@pytest.mark.parametrize(
    ("boxes", "predicted", "value"),
    [
        ((BOX,), found((10, 10, 50, 30)), 0.0),
        ((BOX,), found((10, 10, 30, 30)), 0.5),
        ((BOX,), found((60, 40, 79, 59)), 1.0),
        ((BOX,), found(), 1.0),
        ((), found((60, 40, 79, 59), score=0.7), 0.7),
        ((), found((60, 40, 79, 59), score=0.2), 0.0),
        ((), found(), 0.0),
    ],
)
def test_contradiction(boxes: tuple[tuple[float, ...], ...], predicted: Predictions, value: float) -> None:
    image = Image(1, Path("1"), "1", 80, 60, tuple(Box(n, 0, box) for n, box in enumerate(boxes)))  # type: ignore[arg-type]
    assert contradiction(image, predicted) == pytest.approx(value)


def test_a_sheet_has_rows_of_four_numbered_tiles_with_boxes(pool: Dataset) -> None:
    chosen = [Tile(image, "random") for image in pool.images[1:5]]
    chosen.append(Tile(pool.images[6], "contradicted by the detector", found((60, 40, 79, 59))))
    sheet = contact_sheet(chosen)
    pixels = cv2.imdecode(np.frombuffer(sheet.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert pixels.shape == (2 * TILE[1], 4 * TILE[0], 3)
    # 80×60 is drawn four times as large: the left side of the box is at 40, its top at 40
    blue, green, red = (int(value) for value in pixels[80, 40])
    assert red > 180
    assert green > 160
    assert blue < 90, "annotated boxes are yellow"
    blue, green, red = (int(value) for value in pixels[TILE[1] + 200, 240])
    assert blue > 180
    assert red < 90, "predictions are cyan"
    assert sheet.legend.split("\n") == [
        "- 1: 1.png, 1 annotated; random",
        "- 2: 2.png, 1 annotated; random",
        "- 3: 3.png, 1 annotated; random",
        "- 4: 4.png, 1 annotated; random",
        "- 5: 6.png, 1 annotated; contradicted by the detector",
    ]


def test_an_image_that_cannot_be_read_is_not_shown(pool: Dataset) -> None:
    lost = replace(pool.images[1], path=Path("lost.png"))
    sheet = contact_sheet([Tile(lost, "random"), Tile(pool.images[2], "random")])
    assert sheet.legend == "- 1: 2.png, 1 annotated; random"
