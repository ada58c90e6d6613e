"""The proxy detector on images painted here: it learns, repeats itself, and survives poor training sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from metricsmith.evaluation.coco_eval import evaluate
from metricsmith.evaluation.dataset import Box, Image
from metricsmith.evaluation.detectors import ProxyDetector, ProxySettings, make_detector
from metricsmith.sandbox import Predictions
from metricsmith.sandbox.errors import DetectorError

NAMES = ("red", "blue")
COLOURS = ((220, 40, 40), (40, 40, 220))
SMALL = ProxySettings(image_size=128, window=96, steps=40, batch=8, channels=32, lr=1e-2)
BRIEF = replace(SMALL, steps=3)
FOUND: dict[str, list[bytes]] = {}


def painted(folder: Path, number: int, *, size: tuple[int, int] = (128, 96)) -> Image:
    """Grey noise with one or two rectangles; red is class 0, blue is class 1. `size` = (width, height)."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(90, 160, (size[1], size[0], 3), np.uint8)
    boxes = []
    for slot in range(int(rng.integers(1, 3))):
        label = int(rng.integers(2))
        width, height = (int(side * rng.uniform(0.2, 0.4)) for side in size)
        left = int(rng.integers(0, size[0] // 2 - width)) + slot * size[0] // 2
        top = int(rng.integers(0, size[1] - height))
        pixels[top : top + height, left : left + width] = COLOURS[label]
        boxes.append(Box(10 * number + slot, label, (float(left), float(top), float(width), float(height))))
    path = folder / f"{number}.png"
    cv2.imwrite(str(path), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    return Image(number, path, path.name, *size, tuple(boxes))


def as_bytes(predictions: Sequence[Predictions]) -> list[bytes]:
    return [array.tobytes() for found in predictions for array in (found.boxes, found.labels, found.scores)]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Image]:
    folder = tmp_path_factory.mktemp("painted")
    return [painted(folder, number) for number in range(36)]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_it_finds_coloured_rectangles_after_24_images(images: list[Image], cache: Path) -> None:
    trained = ProxyDetector(cache, SMALL).train(images[:24], NAMES, seed=0)
    predictions = trained.predict(images[24:])
    assert evaluate(images[24:], predictions, NAMES).ap50 > 0.5
    for image, found in zip(images[24:], predictions, strict=True):
        assert found.boxes.dtype == found.scores.dtype == np.float32
        assert found.labels.dtype == np.int64
        assert len(found.scores) <= 100
        assert (np.diff(found.scores) <= 0).all()
        assert (found.boxes >= 0).all()
        assert (found.boxes <= [image.width, image.height, image.width, image.height]).all()


def test_shifted_boxes_cost_precision(images: list[Image], cache: Path) -> None:
    shifted = [
        replace(
            image, boxes=tuple(replace(b, xywh=(b.xywh[0], b.xywh[1] + 12, *b.xywh[2:])) for b in image.boxes)
        )
        for image in images[:24]
    ]
    detector = ProxyDetector(cache, SMALL)
    clean, harmed = (
        evaluate(images[24:], detector.train(train, NAMES, seed=0).predict(images[24:]), NAMES)
        for train in (images[:24], shifted)
    )
    assert clean.map > harmed.map + 0.1


def test_same_seed_same_bits_whatever_ran_before(images: list[Image], cache: Path, tmp_path: Path) -> None:
    first = ProxyDetector(cache, BRIEF).train(images[:12], NAMES, seed=3).predict(images[24:])
    torch.rand(7)
    np.random.default_rng().random()
    other = ProxyDetector(tmp_path, BRIEF)
    other.prepare(images[::-1])
    other.train(images[4:9], NAMES, seed=5)
    assert as_bytes(other.train(images[:12], NAMES, seed=3).predict(images[24:])) == as_bytes(first)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_number_of_threads_changes_no_bit(images: list[Image], tmp_path: Path, threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        trained = ProxyDetector(tmp_path, BRIEF).train(images[:8], NAMES, seed=3)
        found = as_bytes(trained.predict(images[8:12]))
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert FOUND.setdefault("first", found) == found


def test_another_seed_gives_another_detector(images: list[Image], cache: Path) -> None:
    detector = ProxyDetector(cache, replace(BRIEF, steps=12))
    first, second = (detector.train(images[:12], NAMES, seed=seed).predict(images[24:]) for seed in (3, 4))
    assert as_bytes(first) != as_bytes(second)


def test_global_random_numbers_are_left_alone(images: list[Image], cache: Path) -> None:
    torch.manual_seed(1)
    expected = torch.rand(4)
    torch.manual_seed(1)
    ProxyDetector(cache, BRIEF).train(images[:4], NAMES, seed=0)
    assert torch.equal(torch.rand(4), expected)


def test_images_of_all_shapes_train_together_and_keep_their_order(tmp_path: Path, cache: Path) -> None:
    sizes = [(128, 96), (40, 200), (300, 60), (64, 64), (128, 96), (500, 400)]
    mixed = [painted(tmp_path, number, size=size) for number, size in enumerate(sizes)]
    trained = ProxyDetector(cache, replace(SMALL, steps=20)).train(mixed, NAMES, seed=0)
    together = trained.predict(mixed)
    assert sum(len(found.scores) for found in together) > 0
    for image, found in zip(mixed, together, strict=True):
        (alone,) = trained.predict([image])
        np.testing.assert_allclose(alone.scores, found.scores, atol=1e-4)


def test_without_boxes_it_learns_to_find_nothing(images: list[Image], cache: Path) -> None:
    negatives = [replace(image, boxes=()) for image in images[:8]]
    predictions = ProxyDetector(cache, BRIEF).train(negatives, NAMES, seed=0).predict(images[24:])
    assert max((found.scores.max(initial=0) for found in predictions), default=0) < 0.3


def test_crowds_and_boxes_without_area_are_left_out(images: list[Image], cache: Path) -> None:
    odd = (
        Box("crowd", 0, (5.0, 5.0, 40.0, 40.0), crowd=True),
        Box("flat", 0, (5.0, 5.0, 0.0, 40.0)),
        Box("outside", 1, (500.0, 5.0, 40.0, 40.0)),
    )
    plain = [replace(image, boxes=()) for image in images[:4]]
    detector = ProxyDetector(cache, BRIEF)
    with_odd = detector.train([replace(image, boxes=odd) for image in plain], NAMES, seed=0)
    without = detector.train(plain, NAMES, seed=0)
    assert as_bytes(with_odd.predict(images[:4])) == as_bytes(without.predict(images[:4]))


def test_no_images_or_no_classes_is_refused(images: list[Image], cache: Path) -> None:
    detector = ProxyDetector(cache, BRIEF)
    with pytest.raises(DetectorError, match="without images"):
        detector.train([], NAMES, seed=0)
    with pytest.raises(DetectorError, match="without classes"):
        detector.train(images[:4], (), seed=0)
    assert detector.train(images[:4], NAMES, seed=0).predict([]) == []


def test_progress_reaches_its_end(images: list[Image], cache: Path) -> None:
    told: list[tuple[str, int, int]] = []
    detector = ProxyDetector(cache, BRIEF)
    detector.train(images[:4], NAMES, seed=0, progress=lambda *news: told.append(news)).predict(
        images[:4], lambda *news: told.append(news)
    )
    assert told[-2:] == [("predicting", 0, 4), ("predicting", 4, 4)]
    assert ("training", 3, 3) in told


def test_detectors_are_made_by_name(tmp_path: Path) -> None:
    assert make_detector("proxy", tmp_path).name == "proxy"
    offline = "torchvision:fcos_efficientnet_lite0_fpn"
    assert make_detector(offline, tmp_path).name == offline
    with pytest.raises(
        DetectorError, match="no detector 'yolo'; there are: proxy, torchvision:fasterrcnn_mob"
    ):
        make_detector("yolo", tmp_path)
    with pytest.raises(DetectorError, match="no torchvision:ssd; there are: fasterrcnn_mobilenet_v3"):
        make_detector("torchvision:ssd", tmp_path)
    with pytest.raises(DetectorError, match=r"my\.pth: the proxy detector brings its weights along"):
        make_detector("proxy", tmp_path, Path("my.pth"))


def test_a_wrong_label_costs_more_than_a_right_one(images: list[Image], cache: Path) -> None:
    trained = ProxyDetector(cache, SMALL).train(images[:24], NAMES, seed=0)
    sound = images[24:]
    swapped = [replace(i, boxes=tuple(replace(box, label=1 - box.label) for box in i.boxes)) for i in sound]
    right, wrong = (np.concatenate(trained.box_losses(some)) for some in (sound, swapped))
    assert right.shape == (sum(len(image.boxes) for image in sound),)
    assert np.isfinite(right).all()
    assert (wrong > right).all()


def test_a_boxs_loss_is_that_of_the_head_at_its_places(images: list[Image], cache: Path) -> None:
    """One box alone: what `Network.loss` says, less the loss of the background around it."""
    trained = ProxyDetector(cache, BRIEF).train(images[:8], NAMES, seed=0)
    one = replace(images[30], boxes=images[30].boxes[:1])
    none = replace(one, boxes=())
    (loss,) = trained.box_losses([one])
    features, network = trained._features, trained._network
    levels = [
        torch.from_numpy(level.astype(np.float32)).permute(2, 0, 1)[None] for level in features.load(one)
    ]
    target = {"boxes": torch.from_numpy(one.xyxy), "labels": torch.from_numpy(one.labels)}
    seen: dict[str, torch.Tensor] = {}
    head_loss = network.head.compute_loss

    def spy(
        targets: object, outputs: dict[str, torch.Tensor], places: object, matched: list[torch.Tensor]
    ) -> object:
        seen.update(outputs, matched=matched[0])
        return head_loss(targets, outputs, places, matched)

    network.head.compute_loss = spy
    with torch.inference_mode():
        whole = float(network.loss(levels, [target]))
    del network.head.compute_loss
    background = seen["cls_logits"][0, seen["matched"] < 0]
    places = int((seen["matched"] >= 0).sum())
    around = torch.sigmoid(background) ** 2 * torch.nn.functional.softplus(background) * 0.75
    assert float(loss[0]) == pytest.approx(whole - float(around.sum()) / places, rel=1e-4)
    assert trained.box_losses([none])[0].shape == (0,)


def test_boxes_that_are_never_learnt_have_no_loss(images: list[Image], cache: Path) -> None:
    trained = ProxyDetector(cache, BRIEF).train(images[:8], NAMES, seed=0)
    first = images[30].boxes[0]
    odd = replace(
        images[30], boxes=(replace(first, crowd=True), first, replace(first, xywh=(9.0, 9.0, 0.0, 5.0)))
    )
    assert np.isfinite(trained.box_losses([odd])[0]).tolist() == [False, True, False]
