"""What was trained once is not trained again, and a damaged file is as good as none."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from metricsmith.evaluation.dataset import Box, Image
from metricsmith.evaluation.detectors import ProxyDetector, ProxySettings
from metricsmith.evaluation.detectors.stock import Stock

TINY = ProxySettings(image_size=64, window=64, steps=2, batch=2, channels=16)


def picture(folder: Path, number: int, left: float = 5.0) -> Image:
    path = folder / f"{number}.png"
    cv2.imwrite(str(path), np.random.default_rng(number).integers(0, 255, (48, 64, 3), np.uint8))
    return Image(number, path, path.name, 64, 48, (Box(number, 0, (left, 5.0, 20.0, 20.0)),))


def test_a_state_comes_back_under_its_key_alone(tmp_path: Path) -> None:
    stock = Stock(tmp_path)
    stock.put({"weight": torch.arange(3.0)}, "recipe", 1)
    again = Stock(tmp_path).get("recipe", 1)
    assert again is not None
    assert torch.equal(again["weight"], torch.arange(3.0))
    assert stock.get("recipe", 2) is None


@pytest.mark.parametrize("damage", [b"", b"PK", b"nonsense"])
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, damage: bytes) -> None:
    stock = Stock(tmp_path)
    stock.put({"weight": torch.arange(3.0)}, 1)
    (file,) = tmp_path.rglob("*.pt")
    file.write_bytes(damage)
    assert stock.get(1) is None
    file.write_bytes(b"")
    stock.put({"weight": torch.arange(3.0)}, 1)
    assert stock.get(1) is not None


def trainings(detector: ProxyDetector, images: list[Image], names: list[str], seed: int) -> int:
    """How many optimiser steps a training takes."""
    told: list[str] = []
    detector.train(images, names, seed=seed, progress=lambda what, done, total: told.append(what))
    return max(0, told.count("training") - 1)


def test_only_what_training_depends_on_makes_it_train_again(tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    images = [picture(tmp_path, 1), picture(tmp_path, 2)]
    elsewhere = [picture(tmp_path / "copy", 1), picture(tmp_path / "copy", 2)]
    cache = tmp_path / "cache"
    assert trainings(ProxyDetector(cache, TINY), images, ["cat"], 0) == 2
    assert trainings(ProxyDetector(cache, TINY), images, ["cat"], 0) == 0
    assert trainings(ProxyDetector(cache, TINY), elsewhere, ["cat"], 0) == 0, "the same pictures elsewhere"
    assert trainings(ProxyDetector(cache, TINY, train_anew=True), images, ["cat"], 0) == 2
    assert trainings(ProxyDetector(cache, TINY), images, ["cat"], 1) == 2
    assert trainings(ProxyDetector(cache, TINY), images, ["dog"], 0) == 2
    assert trainings(ProxyDetector(cache, TINY), images[::-1], ["cat"], 0) == 2
    assert trainings(ProxyDetector(cache, TINY), [picture(tmp_path, 1, 6.0), images[1]], ["cat"], 0) == 2


def test_what_is_taken_from_the_stock_predicts_the_same_bits(tmp_path: Path) -> None:
    images = [picture(tmp_path, number) for number in range(4)]
    first, again = (
        ProxyDetector(tmp_path / "cache", TINY).train(images[:2], ["cat"], seed=0).predict(images[2:])
        for _ in range(2)
    )
    for one, other in zip(first, again, strict=True):
        assert one.boxes.tobytes() == other.boxes.tobytes()
        assert one.scores.tobytes() == other.scores.tobytes()
