"""torchvision's detectors: they train from weights in a file, repeat themselves, and fail helpfully."""

from __future__ import annotations

import urllib.error
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torchvision

from metricsmith.evaluation.coco_eval import evaluate
from metricsmith.evaluation.dataset import Box, Image
from metricsmith.evaluation.detectors import ARCHITECTURES, FineTunedDetector, FineTuning
from metricsmith.sandbox.errors import DetectorError

OFFLINE = "fcos_efficientnet_lite0_fpn"
SSD = "ssdlite320_mobilenet_v3_large"
BRIEF = FineTuning(steps=2, batch=2, image_size=96)


def painted(folder: Path, number: int) -> Image:
    """A grey picture with one coloured rectangle; red is class 0, blue is class 1."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(90, 160, (96, 128, 3), np.uint8)
    label = number % 2
    left, top = int(rng.integers(5, 70)), int(rng.integers(5, 45))
    pixels[top : top + 40, left : left + 44] = ((40, 40, 220), (220, 40, 40))[label]  # BGR
    path = folder / f"{number}.png"
    cv2.imwrite(str(path), pixels)
    return Image(
        number, path, path.name, 128, 96, (Box(number, label, (float(left), float(top), 44.0, 40.0)),)
    )


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Image]:
    folder = tmp_path_factory.mktemp("painted")
    return [painted(folder, number) for number in range(16)]


@pytest.fixture(scope="module")
def ssd_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A COCO-shaped state dict; its numbers are random."""
    torch.manual_seed(0)
    model = torchvision.models.detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None)
    path = tmp_path_factory.mktemp("weights") / "ssd.pth"
    torch.save(model.state_dict(), path)
    return path


def test_it_learns_two_colours_end_to_end(images: list[Image]) -> None:
    recipe = FineTuning(steps=40, batch=4, image_size=128, lr=3e-3)
    trained = FineTunedDetector(OFFLINE, recipe=recipe).train(images[:12], ("red", "blue"), seed=0)
    statistics = evaluate(images[12:], trained.predict(images[12:]), ("red", "blue"))
    assert statistics.ap50 > 0.5


def test_same_seed_same_bits_and_global_random_numbers_are_left_alone(images: list[Image]) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    detector = FineTunedDetector(OFFLINE, recipe=BRIEF)
    first, again, other = (
        detector.train(images[:4], ("red", "blue"), seed=seed).predict(images[4:6]) for seed in (1, 1, 2)
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    assert [p.scores.tobytes() for p in first] == [p.scores.tobytes() for p in again]
    assert [p.scores.tobytes() for p in first] != [p.scores.tobytes() for p in other]


def test_predictions_are_in_the_image_and_fall(images: list[Image], ssd_weights: Path) -> None:
    detector = FineTunedDetector(SSD, weights=ssd_weights, recipe=BRIEF)
    for found in detector.train(images[:2], ("red", "blue"), seed=0).predict(images[2:4]):
        assert len(found.scores) <= 100
        assert set(found.labels.tolist()) <= {0, 1}
        assert (np.diff(found.scores) <= 0).all()
        assert (found.boxes >= 0).all()
        assert (found.boxes <= [128, 96, 128, 96]).all()


def test_images_without_boxes_and_crowds_train(images: list[Image]) -> None:
    crowd = replace(images[0], boxes=(replace(images[0].boxes[0], crowd=True),))
    empty = replace(images[1], boxes=())
    trained = FineTunedDetector(OFFLINE, recipe=BRIEF).train([crowd, empty], ("red", "blue"), seed=0)
    assert len(trained.predict(images[:1])) == 1


@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name not in (OFFLINE, SSD)])
def test_every_architecture_takes_its_own_weights(
    architecture: str, tmp_path: Path, images: list[Image]
) -> None:
    """The heads have other classes and are left out; the backbone must come whole."""
    model = getattr(torchvision.models.detection, architecture)(weights=None, weights_backbone=None)
    path = tmp_path / "weights.pth"
    torch.save(model.state_dict(), path)
    detector = FineTunedDetector(architecture, weights=path, recipe=BRIEF)
    detector.prepare(images)
    network = detector._network(2)
    own, given = network.state_dict(), model.state_dict()
    same = [name for name in own if own[name].shape == given[name].shape and "num_batches" not in name]
    assert all(torch.equal(own[name], given[name]) for name in same)
    assert len(own) - len(same) < 70, "all but heads"


def test_weights_of_another_architecture_are_refused(images: list[Image], ssd_weights: Path) -> None:
    detector = FineTunedDetector("fcos_resnet50_fpn", weights=ssd_weights)
    with pytest.raises(
        DetectorError, match=r"ssd\.pth: not those of torchvision:fcos_resnet50_fpn: \d+ of \d+"
    ):
        detector.train(images[:2], ("red", "blue"), seed=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not a pickle", r"w\.pth: no weights can be read from it"),
        (None, r"w\.pth: no weights can be read from it .*No such file"),
    ],
)
def test_a_file_without_weights_is_named(
    tmp_path: Path, images: list[Image], content: bytes | None, message: str
) -> None:
    path = tmp_path / "w.pth"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DetectorError, match=message):
        FineTunedDetector(SSD, weights=path).prepare(images)


def test_something_else_than_a_state_dict_is_named(tmp_path: Path, images: list[Image]) -> None:
    path = tmp_path / "w.pth"
    torch.save({"model": {"a": torch.zeros(1)}}, path)
    with pytest.raises(DetectorError, match="not a state dict"):
        FineTunedDetector(SSD, weights=path).prepare(images)


def test_weights_in_a_file_run_no_code(tmp_path: Path, images: list[Image]) -> None:
    class Bite:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "bitten",)  # type: ignore[return-value]

    path = tmp_path / "w.pth"
    torch.save({"a": Bite()}, path)
    with pytest.raises(DetectorError, match="no weights can be read"):
        FineTunedDetector(SSD, weights=path).prepare(images)
    assert not (tmp_path / "bitten").exists()


def test_weights_that_cannot_be_downloaded_tell_the_way_out(
    monkeypatch: pytest.MonkeyPatch, images: list[Image]
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(
        DetectorError, match=r"no network.*get https://\S+\.pth elsewhere.*--weights FILE, or use"
    ):
        FineTunedDetector(SSD).prepare(images)


def test_no_images_are_refused() -> None:
    with pytest.raises(DetectorError, match="without images"):
        FineTunedDetector(OFFLINE).train([], ("red",), seed=0)
