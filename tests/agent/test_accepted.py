"""Accepted metrics are pinned by the hash of their source."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from scripted import GOOD

from metricsmith.agent.accepted import MetricCard, accept, read_metric
from metricsmith.sandbox.errors import DataError

CARD = MetricCard(
    name="BoxArea",
    sha256=hashlib.sha256(GOOD.encode()).hexdigest(),
    level="object",
    suspicious="low",
    description="The area of each box.",
    strategy="filter 20 %",
    run="pandas",
    round=2,
    dataset="panda",
    model="manual",
    seeds=3,
    map_gain_pct=4.5,
    ar100_gain_pct=None,
)


def test_an_accepted_metric_comes_back(tmp_path: Path) -> None:
    (tmp_path / "BoxArea.py").write_text(GOOD)
    accept(tmp_path / "BoxArea.py", CARD)
    assert read_metric(tmp_path / "BoxArea.py") == GOOD
    assert MetricCard.model_validate_json((tmp_path / "BoxArea.json").read_bytes()) == CARD


def test_a_metric_without_a_card_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(GOOD)
    assert read_metric(tmp_path / "mine.py") == GOOD


def test_a_changed_metric_is_not_the_accepted_one(tmp_path: Path) -> None:
    file = tmp_path / "BoxArea.py"
    file.write_text(GOOD)
    accept(file, CARD)
    file.write_text(GOOD + "import os\n")
    with pytest.raises(
        DataError, match=r"not the code that was accepted in round 2 of the run pandas; restore it"
    ):
        read_metric(file)


def test_a_damaged_card_is_named(tmp_path: Path) -> None:
    (tmp_path / "BoxArea.py").write_text(GOOD)
    accept(tmp_path / "BoxArea.py", CARD)
    (tmp_path / "BoxArea.json").write_text("{}")
    with pytest.raises(DataError, match=r"BoxArea\.json: not the card of a metric"):
        read_metric(tmp_path / "BoxArea.py")


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "x.py").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.py: .*name a metric file"):
        read_metric(tmp_path / "x.py")
