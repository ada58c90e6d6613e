"""The proxy detector: fast enough to compare training sets of one size on a CPU, over several seeds.

The backbone is frozen and its features are cached (see `features`), so that a trial trains only the layers
on top (see `network`). It trains on windows of the feature maps: a quarter of the arithmetic of whole images,
spent where boxes are, and images of any shape fit into one batch. Prediction sees whole images. The number
of steps does not depend on the training set's size, so that trials of one run cost the same.

It computes with one thread, so that the same seed gives the same bits on machines of any number of cores.
The proxy is no detector to deploy, and its mAP says little beside other detectors'.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from metricsmith.sandbox import Predictions
from metricsmith.sandbox.errors import DetectorError

from ..boxes import clipped_xyxy, learnable
from ..dataset import Image
from ..progress import Progress, silent
from .detector import Job
from .features import CHANNELS, STRIDES, FeatureStore, Levels
from .network import Network
from .proxy_settings import ProxySettings
from .stock import Stock
from .team import cores, prepare_together, train_together
from .threads import one_thread

__all__ = ["ProxyDetector"]

_CELL = STRIDES[-1]
"""Windows start at multiples of the widest stride, so that all levels can be cut alike."""
_AROUND_A_BOX = 0.8
"""The share of windows that are placed around a box, where the image has one."""
_MANY = 64
"""Images whose features are worth starting processes for, which takes seconds."""
_WEIGHT_DECAY = 1e-4
_GRADIENT_NORM = 10.0


class ProxyDetector:
    """Implements `Detector` with frozen ImageNet features."""

    name = "proxy"

    def __init__(
        self,
        cache: Path,
        settings: ProxySettings = ProxySettings(),  # noqa: B008, it is frozen
        *,
        train_anew: bool = False,
    ) -> None:
        """Keep features, trained networks and predictions under `cache`, which runs and processes may share.

        `train_anew`: train and predict again what was computed before, for those who measure the time.
        """
        self._cache = cache
        self._settings = settings
        self._features = FeatureStore(cache, settings.image_size)
        self._stock = None if train_anew else Stock(cache / "proxy-trained")
        self._predicted = None if train_anew else Stock(cache / "proxy-predicted")

    def prepare(self, images: Sequence[Image], progress: Progress = silent) -> None:
        """Compute the features that are not cached, on all cores if they are many.

        DataError: an image cannot be read.
        """
        if cores() > 1 and len(missing := self._features.missing(images)) >= _MANY:
            prepare_together(self._cache, self._settings, missing, progress)
        self._features.compute(images, progress)

    def train_ahead(self, jobs: Sequence[Job], progress: Progress = silent) -> None:
        """Do what of these jobs is not in the cache, one a core; `train` and `predict` find it there."""
        if cores() < 2:
            return
        new = [job for job in jobs if job.images and job.class_names and not self._is_done(job)]
        if len(new) > 1:
            self.prepare([image for job in new for image in (*job.images, *job.to_predict)], progress)
            trained = self._stock is not None and all(self._stock.has(*self._key(job)) for job in new)
            train_together(self._cache, self._settings, new, progress, only_predict=trained)

    @one_thread()
    def train(
        self, images: Sequence[Image], class_names: Sequence[str], *, seed: int, progress: Progress = silent
    ) -> _TrainedProxy:
        """Return the trained detector; without any box it learns to predict nothing.

        What was trained before on the same files, boxes, classes and seed is taken from the cache.
        DetectorError: there are no images, or no classes.
        """
        if not images or not class_names:
            raise DetectorError("the proxy detector cannot train without images or without classes")
        self.prepare(images, progress)
        settings = self._settings
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = Network(settings.channels, len(class_names)).to(memory_format=torch.channels_last)
        key = self._key(Job(images, class_names, seed))
        trained = _TrainedProxy(network, self._features, settings.batch, self._predicted, key)
        if self._stock is not None and (state := self._stock.get(*key)) is not None:
            network.load_state_dict(state)
            network.eval()
            progress("training", settings.steps, settings.steps)
            return trained
        optimiser = torch.optim.AdamW(
            network.parameters(), lr=settings.lr, weight_decay=_WEIGHT_DECAY, fused=True
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, settings.lr, total_steps=settings.steps, pct_start=0.15
        )
        windows = _windows(images, self._features, settings.window, np.random.default_rng(seed))
        for step in range(settings.steps):
            progress("training", step, settings.steps)
            drawn = [next(windows) for _ in range(settings.batch)]
            loss = network.loss(_batch([levels for levels, _ in drawn]), [target for _, target in drawn])
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), _GRADIENT_NORM)
            optimiser.step()
            schedule.step()
        progress("training", settings.steps, settings.steps)
        network.eval()
        if self._stock is not None:
            self._stock.put(network.state_dict(), *key)
        return trained

    def _is_done(self, job: Job) -> bool:
        """Whether the cache has all of it; without a cache, nothing is worth doing ahead."""
        if self._stock is None or self._predicted is None:
            return True
        key = self._key(job)
        pictures = [_picture(image, self._features) for image in job.to_predict]
        return self._stock.has(*key) and (not pictures or self._predicted.has(key, pictures))

    def _key(self, job: Job) -> tuple[object, ...]:
        """All that the trained network depends on."""
        images = [self._identity(image) for image in job.images]
        return self._settings, job.seed, tuple(job.class_names), images

    def _identity(self, image: Image) -> tuple[object, ...]:
        """All that training takes from an image."""
        boxes = [(box.label, box.xywh, box.crowd) for box in image.boxes]
        return *_picture(image, self._features), boxes


class _TrainedProxy:
    def __init__(
        self,
        network: Network,
        features: FeatureStore,
        batch: int,
        predicted: Stock | None,
        key: tuple[object, ...],
    ) -> None:
        """`key`: all that the network depends on, under which `predicted` has what it predicts."""
        self._network = network
        self._features = features
        self._batch = batch
        self._predicted = predicted
        self._key = key

    @one_thread()
    def predict(self, images: Sequence[Image], progress: Progress = silent) -> list[Predictions]:
        """Return at most 100 predictions for each image, in pixels of the image file.

        What it predicted before, for the same images together, is taken from the cache.
        """
        self._features.compute(images, progress)
        if self._predicted is None or not images:
            return self._predict(images, progress)
        key = self._key, [_picture(image, self._features) for image in images]
        if (known := self._predicted.get(*key)) is None:
            found = self._predict(images, progress)
            self._predicted.put(_as_tensors(found), *key)
            return found
        progress("predicting", len(images), len(images))
        return _as_predictions(known)

    def _predict(self, images: Sequence[Image], progress: Progress) -> list[Predictions]:
        sizes = [self._features.input_size(image) for image in images]
        # Images of one shape go together: padding would change what the pyramid sees at the edges.
        order = sorted(range(len(images)), key=lambda position: sizes[position])
        found: dict[int, Predictions] = {}
        while len(found) < len(images):
            first = order[len(found)]
            alike = [n for n in order[len(found) :][: self._batch] if sizes[n] == sizes[first]]
            progress("predicting", len(found), len(images))
            levels = _batch([self._features.load(images[n]) for n in alike])
            with torch.inference_mode():
                detections = self._network.detect(levels, [sizes[n] for n in alike])
            for n, detection in zip(alike, detections, strict=True):
                height, width = sizes[n]
                scale = np.array([images[n].width / width, images[n].height / height] * 2, np.float32)
                found[n] = Predictions(
                    detection["boxes"].numpy() * scale,
                    detection["labels"].numpy(),
                    detection["scores"].numpy(),
                )
        progress("predicting", len(images), len(images))
        return [found[n] for n in range(len(images))]

    @one_thread()
    def box_losses(self, images: Sequence[Image]) -> list[npt.NDArray[np.float64]]:
        """Return for each image the training loss of each of its boxes, (N,); see `Network.box_losses`.

        NaN too for crowd boxes and for boxes without area: they are never learnt.
        """
        self._features.compute(images)
        found = []
        for image in images:
            boxes, labels, usable = _objects(image, self._features.input_size(image))
            losses = np.full(len(image.boxes), np.nan)
            if len(boxes):
                target = {"boxes": torch.from_numpy(boxes), "labels": torch.from_numpy(labels)}
                with torch.inference_mode():
                    own = self._network.box_losses(_batch([self._features.load(image)]), target)
                losses[usable] = own.numpy()
            found.append(losses)
        return found


def _picture(image: Image, features: FeatureStore) -> tuple[str, int, int]:
    """All that a prediction takes from an image."""
    return features.digest(image), image.width, image.height


def _as_tensors(predictions: Sequence[Predictions]) -> dict[str, Tensor]:
    """The predictions of all images one after the other, and how many each has."""
    return {
        "counts": torch.tensor([len(found.scores) for found in predictions], dtype=torch.int64),
        "boxes": torch.cat([torch.from_numpy(found.boxes) for found in predictions]),
        "labels": torch.cat([torch.from_numpy(found.labels) for found in predictions]),
        "scores": torch.cat([torch.from_numpy(found.scores) for found in predictions]),
    }


def _as_predictions(tensors: dict[str, Tensor]) -> list[Predictions]:
    """What `_as_tensors` was given."""
    sizes = tensors["counts"].tolist()
    parts = (torch.split(tensors[name], sizes) for name in ("boxes", "labels", "scores"))
    return [Predictions(*(part.numpy() for part in one)) for one in zip(*parts, strict=True)]


def _windows(
    images: Sequence[Image], features: FeatureStore, side: int, rng: np.random.Generator
) -> Iterator[tuple[Levels, dict[str, Tensor]]]:
    """Yield windows and their targets for ever, one of every image before any image's next."""
    objects = [_objects(image, features.input_size(image))[:2] for image in images]
    while True:
        for n in rng.permutation(len(images)).tolist():
            boxes, labels = objects[n]
            mirrored = bool(rng.integers(2))
            if mirrored:
                width = features.input_size(images[n])[1]
                boxes = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)
            levels = features.load(images[n], mirrored=mirrored)
            top, left = _corner(levels[-1].shape[:2], side // _CELL, boxes, rng)
            target = {
                "boxes": torch.from_numpy(boxes - np.float32(_CELL) * np.array([left, top] * 2, np.float32)),
                "labels": torch.from_numpy(labels),
            }
            yield (
                tuple(
                    _cut(level, top, left, side, stride)
                    for level, stride in zip(levels, STRIDES, strict=True)
                ),
                target,
            )


def _objects(
    image: Image, size: tuple[int, int]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """The boxes to learn in pixels of the backbone's input, their labels, and which of all they are."""
    height, width = size
    boxes = clipped_xyxy(image) * np.array([width / image.width, height / image.height] * 2, np.float32)
    usable = learnable(image, boxes)
    return boxes[usable], image.labels[usable], usable


def _corner(
    shape: tuple[int, ...], side: int, boxes: npt.NDArray[np.float32], rng: np.random.Generator
) -> tuple[int, int]:
    """The window's (top, left) in cells: anywhere, or so that it holds the middle of a box off its edges."""
    room = [max(0, extent - side) for extent in shape]
    if not len(boxes) or rng.random() >= _AROUND_A_BOX:
        return int(rng.integers(room[0] + 1)), int(rng.integers(room[1] + 1))
    left, top, right, bottom = (boxes[rng.integers(len(boxes))] / _CELL).tolist()
    middle = np.array([top + bottom, left + right]) / 2
    corner = np.round(middle - rng.uniform(0.15, 0.85, 2) * side).clip(0, room)
    return int(corner[0]), int(corner[1])


def _cut(
    level: npt.NDArray[np.float16], top: int, left: int, side: int, stride: int
) -> npt.NDArray[np.float16]:
    """The window of one level, filled up with zeros where the image is smaller."""
    scale, extent = _CELL // stride, side // stride
    part = level[top * scale :, left * scale :][:extent, :extent]
    window = np.zeros((extent, extent, level.shape[2]), np.float16)
    window[: part.shape[0], : part.shape[1]] = part
    return window


def _batch(samples: Sequence[Levels]) -> list[Tensor]:
    """One (N, C, H, W) float32 tensor a level, in channels-last memory as the features are stored."""
    return [
        torch.from_numpy(np.stack([sample[n] for sample in samples]).astype(np.float32)).permute(0, 3, 1, 2)
        for n in range(len(CHANNELS))
    ]
