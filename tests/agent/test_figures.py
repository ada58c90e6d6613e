"""Plots and pictures of the report."""

from __future__ import annotations

import base64
import xml.etree.ElementTree as ET
from pathlib import Path

import cv2
import numpy as np
import pytest

from metricsmith.agent.figures import gain_plot, histogram, most_suspicious
from metricsmith.evaluation.dataset import Box, Dataset, Image
from metricsmith.evaluation.scores import ScoreTable

RECT = "{*}rect"


@pytest.mark.parametrize(
    "rounds",
    [[(1, 10.0, 34.0)], [(1, -3.0, 0.0), (2, 250.0, -80.0)], [(n, 0.01, -0.01) for n in range(1, 13)]],
)
def test_gain_plot_has_two_bars_a_round_within_its_frame(rounds: list[tuple[int, float, float]]) -> None:
    plot = ET.fromstring(gain_plot(rounds))
    _, _, width, height = map(float, plot.attrib["viewBox"].split())
    bars = plot.findall(RECT)
    assert len(bars) == 2 * len(rounds)
    for bar in bars:
        x, y, w, h = (float(bar.attrib[key]) for key in ("x", "y", "width", "height"))
        assert 0 <= x <= x + w <= width
        assert 0 <= y <= y + h <= height
    assert [bar[0].text for bar in bars[:2]] == [f"{value:+.1f} %" for value in rounds[0][1:]]


def test_histogram_counts_every_score() -> None:
    plot = ET.fromstring(histogram(np.array([0.0, 0.0, 1.0, 4.0])))
    counts = [int((bar[0].text or "").rsplit(" ", 1)[1]) for bar in plot.findall(RECT)]
    assert (sum(counts), counts[0], counts[-1]) == (4, 2, 1)


def test_no_scores_give_no_histogram() -> None:
    assert histogram(np.zeros(0)) == ""


@pytest.fixture
def pool(tmp_path: Path) -> Dataset:
    images = []
    for number in range(4):
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), np.full((120, 480, 3), 128, np.uint8))
        boxes = (Box(2 * number, 0, (40, 20, 80, 60)), Box(2 * number + 1, 0, (200, 20, 80, 60)))
        images.append(Image(number, path, path.name, 480, 120, boxes))
    return Dataset("toy", tmp_path, tuple(images), ("cat",))


def test_the_worst_images_come_first_with_the_doubted_box_in_colour(pool: Dataset) -> None:
    scores = np.array([5, 5, 5, 1, 2, 5, 5, 5], float)
    pictures = most_suspicious(pool, ScoreTable.of("M", "object", "low", scores, pool), count=2)
    assert [(picture.file_name, picture.score) for picture in pictures] == [("1.png", 1.0), ("2.png", 2.0)]
    data = base64.b64decode(pictures[0].uri.removeprefix("data:image/jpeg;base64,"))
    drawn = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert drawn.shape == (60, 240, 3)
    blue, green, red = drawn[10, 120].astype(int)
    assert red > 200
    assert red - blue > 100, "the second box is the doubted one"
    assert drawn[10, 40].min() > 180, "the first one is white"
    assert green < red


def test_without_a_suspicious_end_the_highest_scores_come_first(pool: Dataset) -> None:
    table = ScoreTable.of("M", "image", "none", np.array([1.0, 9.0, 2.0, 3.0]), pool)
    names = [picture.file_name for picture in most_suspicious(pool, table)]
    assert names == ["1.png", "3.png", "2.png", "0.png"]


def test_a_lost_image_is_left_out(pool: Dataset) -> None:
    pool.images[1].path.unlink()
    table = ScoreTable.of("M", "image", "high", np.array([1.0, 9.0, 2.0, 3.0]), pool)
    assert [picture.file_name for picture in most_suspicious(pool, table)] == ["3.png", "2.png", "0.png"]
