"""Synthetic samples that break metrics in milliseconds: the odd sizes, colours and boxes that data sets hold.

The same on every machine. They say nothing about whether a metric is any good: real images do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from .interface import Predictions, Sample

__all__ = ["fixtures"]

_Image = npt.NDArray[np.uint8]
_NAMES = ("cat", "dog", "bird")
_Box = tuple[float, float, float, float]
_WIDTH, _HEIGHT = 160, 120


def fixtures() -> dict[str, Sample]:
    """What a metric must cope with: name → sample, an ordinary one first."""
    return dict(_fixtures())


def _fixtures() -> Iterator[tuple[str, Sample]]:
    scene = _scene(_WIDTH, _HEIGHT)
    one = [(40.0, 30.0, 90.0, 80.0)]
    two = [*one, (10.0, 70.0, 60.0, 110.0)]
    yield "an ordinary scene", _sample(scene, two, predicted=two)
    yield "one box", _sample(scene, one)
    yield "no boxes", _sample(scene, [])
    yield "no boxes but predictions", _sample(scene, [], predicted=two)
    yield "300 boxes", _sample(scene, _many(300))
    yield "a box of one pixel", _sample(scene, [(50.0, 50.0, 51.0, 51.0)])
    yield "a box as large as the image", _sample(scene, [(0.0, 0.0, float(_WIDTH), float(_HEIGHT))])
    yield (
        "boxes at all four edges",
        _sample(
            scene,
            [
                (0.0, 0.0, 30.0, 20.0),
                (_WIDTH - 30.0, 0.0, float(_WIDTH), 20.0),
                (0.0, _HEIGHT - 20.0, 30.0, float(_HEIGHT)),
                (_WIDTH - 0.4, _HEIGHT - 0.4, float(_WIDTH), float(_HEIGHT)),
            ],
        ),
    )
    yield (
        "a box without width and one without height",
        _sample(scene, [(50.0, 30.0, 50.0, 80.0), (20.0, 60.0, 90.0, 60.0), (160.0, 120.0, 160.0, 120.0)]),
    )
    yield "the same box twice", _sample(scene, [*one, *one], predicted=[*one, *one])
    yield "classes that no other image has", _with_classes(_sample(scene, two, predicted=two), 80)
    yield "an all-black image", _sample(np.zeros_like(scene), two)
    yield "an all-white image", _sample(np.full_like(scene, 255), two)
    yield "an image of one colour", _sample(np.full_like(scene, (200, 30, 90)), two)
    yield "a grey image", _sample(np.repeat(scene[..., :1], 3, axis=2), two)
    yield (
        "an image of 8×8 pixels",
        _sample(_scene(8, 8), [(1.0, 1.0, 6.0, 7.0)], predicted=[(0.0, 1.0, 6.0, 7.0)]),
    )
    yield "an image of 4000×3000 pixels", _sample(_large(), [(1000.0, 800.0, 2200.0, 1900.0)])
    yield "the first frame of a video", _sample(scene, two, frame=0, following=one)
    yield "a frame amid a video", _sample(scene, two, frame=7, previous=two, following=[])
    yield "the last frame of a video", _sample(scene, one, frame=9, previous=[], predicted=one)


def _sample(
    image: _Image,
    boxes: list[_Box],
    *,
    predicted: list[_Box] | None = None,
    frame: int | None = None,
    previous: list[_Box] | None = None,
    following: list[_Box] | None = None,
) -> Sample:
    guesses = predicted or []
    return Sample(
        image=image,
        boxes=_boxes(boxes),
        labels=_labels(boxes),
        class_names=_NAMES,
        predictions=Predictions(
            _boxes(guesses), _labels(guesses), np.linspace(0.9, 0.2, len(guesses), dtype=np.float32)
        ),
        group=None if frame is None else "video",
        frame=frame,
        previous_boxes=None if previous is None else _boxes(previous),
        previous_labels=None if previous is None else _labels(previous),
        next_boxes=None if following is None else _boxes(following),
        next_labels=None if following is None else _labels(following),
    )


def _with_classes(sample: Sample, count: int) -> Sample:
    """The sample in a data set of `count` other classes: the last ones here, and predictions of a third."""
    found = sample.predictions
    return replace(
        sample,
        labels=count - 1 - sample.labels,
        class_names=tuple(f"class {number}" for number in range(count)),
        predictions=replace(found, labels=np.full(len(found.labels), count // 2, np.int64)),
    )


def _boxes(boxes: list[_Box]) -> npt.NDArray[np.float32]:
    return np.array(boxes, np.float32).reshape(-1, 4)


def _labels(boxes: list[_Box]) -> npt.NDArray[np.int64]:
    return np.arange(len(boxes), dtype=np.int64) % len(_NAMES)


def _many(count: int) -> list[_Box]:
    rng = np.random.default_rng(7)
    left, top = rng.uniform(0, _WIDTH - 40, count), rng.uniform(0, _HEIGHT - 40, count)
    width, height = rng.uniform(2, 40, count), rng.uniform(2, 40, count)
    return [tuple(box) for box in np.stack([left, top, left + width, top + height], axis=1).tolist()]


def _scene(width: int, height: int) -> _Image:
    """A gradient with a darker disc, some stripes and noise: edges, textures and colours."""
    rng = np.random.default_rng(11)
    y, x = np.mgrid[:height, :width]
    image = np.stack([x * 255 / width, y * 255 / height, np.full(x.shape, 120.0)], axis=2)
    image[(x - width * 0.4) ** 2 + (y - height * 0.45) ** 2 < (height * 0.2) ** 2] *= 0.4
    image[(x // 4 % 2 == 0) & (y > height * 0.6)] += 60
    return np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8)


def _large() -> _Image:
    """4000×3000 pixels, made of one row and one column, as it is made for every check."""
    row = (np.arange(4000) // 16 % 256).astype(np.uint8)
    column = (np.arange(3000) // 12 % 256).astype(np.uint8)
    return np.stack(np.broadcast_arrays(row, column[:, None], row ^ column[:, None]), axis=2)
