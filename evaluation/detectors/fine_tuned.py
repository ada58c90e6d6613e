"""torchvision's detectors, fine-tuned from their COCO weights on the training set of a trial.

`torchvision:NAME` takes NAME's own weights, downloaded by torchvision or from a file;
`torchvision:fcos_efficientnet_lite0_fpn` is torchvision's FCOS on the proxy's backbone, whose ImageNet
weights are installed with the product. Nothing of the recipe depends on the training set, so that trials of
one run cost the same and only the data differs between them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torchvision
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.fcos import FCOS, FCOSHead
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelP6P7

from metricsmith.sandbox import Predictions
from metricsmith.sandbox.errors import DetectorError

from ..boxes import clipped_xyxy, learnable
from ..dataset import Image
from ..pixels import load_rgb
from ..progress import Progress, silent
from .features import CHANNELS, MEAN, STD, load_backbone

__all__ = ["ARCHITECTURES", "FineTunedDetector", "FineTuning"]

OFFLINE = "fcos_efficientnet_lite0_fpn"
ARCHITECTURES = (
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "ssdlite320_mobilenet_v3_large",
    "fcos_resnet50_fpn",
    "retinanet_resnet50_fpn_v2",
    "fasterrcnn_resnet50_fpn_v2",
    OFFLINE,
)
_GRADIENT_NORM = 10.0


@dataclass(frozen=True)
class FineTuning:
    """The recipe, the same for every architecture. Fixed within a run."""

    steps: int = 200
    """Optimiser steps."""
    batch: int = 8
    """Images a step."""
    lr: float = 1e-3
    """AdamW's highest learning rate, of all but the backbone; it rises and falls in one cycle."""
    backbone_lr: float = 1e-4
    """The same of the backbone."""
    weight_decay: float = 1e-4
    image_size: int = 320
    """The long side that images are shrunk to for `OFFLINE`, in pixels; torchvision's own have their own."""


class FineTunedDetector:
    """Implements `Detector` with a torchvision detector; on a GPU where there is one."""

    def __init__(
        self, architecture: str, *, weights: Path | None = None, recipe: FineTuning = FineTuning()
    ) -> None:
        """`architecture`: one of `ARCHITECTURES`. `weights`: a state dict of it; None: torchvision's own.

        DetectorError: there is no such architecture.
        """
        if architecture not in ARCHITECTURES:
            raise DetectorError(
                f"there is no torchvision:{architecture}; there are: {', '.join(ARCHITECTURES)}"
            )
        self.name = f"torchvision:{architecture}"
        self._architecture = architecture
        self._weights = weights
        self._recipe = recipe
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._start: dict[str, Tensor] | None = None

    def prepare(self, images: Sequence[Image], progress: Progress = silent) -> None:
        """Find the weights to start from. DetectorError: they cannot be had."""
        if self._start is None and self._architecture != OFFLINE:
            progress("loading weights", 0, 1)
            self._start = _read_weights(self._weights) if self._weights else _download(self._architecture)
            progress("loading weights", 1, 1)

    def train(
        self, images: Sequence[Image], class_names: Sequence[str], *, seed: int, progress: Progress = silent
    ) -> _FineTuned:
        """Return the trained detector.

        DetectorError: there are no images or no classes, or the weights are not this architecture's.
        """
        if not images or not class_names:
            raise DetectorError(f"{self.name} cannot train without images or without classes")
        self.prepare(images, progress)
        recipe = self._recipe
        on_gpu = self._device.type == "cuda"
        devices = [self._device] if on_gpu else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            network = self._network(len(class_names)).to(self._device, memory_format=torch.channels_last)
            network.train()
            _freeze_norms(network)
            backbone = list(network.backbone.parameters())
            known = set(map(id, backbone))
            others = [p for p in network.parameters() if id(p) not in known]
            optimiser = torch.optim.AdamW(
                [{"params": others}, {"params": backbone}], weight_decay=recipe.weight_decay
            )
            schedule = torch.optim.lr_scheduler.OneCycleLR(
                optimiser, [recipe.lr, recipe.backbone_lr], total_steps=recipe.steps, pct_start=0.15
            )
            batches = iter(_batches(images, recipe, seed, workers=_workers(on_gpu)))
            for step in range(recipe.steps):
                progress("training", step, recipe.steps)
                pictures, targets = next(batches)
                with torch.autocast(self._device.type, torch.bfloat16, enabled=on_gpu):
                    losses = network(
                        [picture.to(self._device, non_blocking=True) for picture in pictures],
                        [{k: v.to(self._device) for k, v in target.items()} for target in targets],
                    )
                loss = torch.stack(list(losses.values())).sum()
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(network.parameters(), _GRADIENT_NORM)
                optimiser.step()
                schedule.step()
        progress("training", recipe.steps, recipe.steps)
        return _FineTuned(network.eval(), self._device)

    def _network(self, classes: int) -> Any:
        if self._architecture == OFFLINE:
            return _offline_fcos(classes + 1, self._recipe.image_size)
        builder = getattr(torchvision.models.detection, self._architecture)
        network = builder(weights=None, weights_backbone=None, num_classes=classes + 1)
        own = network.state_dict()
        fitting = {
            name: value
            for name, value in (self._start or {}).items()
            if name in own and own[name].shape == value.shape
        }
        backbone = [name for name in own if name.startswith("backbone.") and "num_batches" not in name]
        missing = [name for name in backbone if name not in fitting]
        if missing:
            raise DetectorError(
                f"{self._weights or 'the downloaded weights'}: not those of {self.name}: "
                f"{len(missing)} of {len(backbone)} backbone tensors are missing, such as {missing[0]}; "
                f"give the state dict of {self._architecture}"
            )
        network.load_state_dict(fitting, strict=False)
        return network


class _FineTuned:
    def __init__(self, network: Any, device: torch.device) -> None:
        self._network = network
        self._device = device

    def predict(self, images: Sequence[Image], progress: Progress = silent) -> list[Predictions]:
        """Return at most 100 predictions for each image, in pixels of the image file."""
        found = []
        for number, image in enumerate(images):
            progress("predicting", number, len(images))
            pixels = torch.from_numpy(load_rgb(image.path)).permute(2, 0, 1).float() / 255
            with torch.inference_mode():
                (detection,) = self._network([pixels.to(self._device)])
            detection = {name: value.cpu().numpy() for name, value in detection.items()}
            usable = np.flatnonzero(detection["labels"] > 0)  # 0 is the background
            usable = usable[np.argsort(-detection["scores"][usable], kind="stable")][:100]
            found.append(
                Predictions(
                    detection["boxes"][usable].astype(np.float32),
                    detection["labels"][usable].astype(np.int64) - 1,
                    detection["scores"][usable].astype(np.float32),
                )
            )
        progress("predicting", len(images), len(images))
        return found


_Item = tuple[Tensor, dict[str, Tensor]]


class _Pictures(Dataset[_Item]):
    """The images of every step in their order: each once before any comes again, half of them mirrored."""

    def __init__(self, images: Sequence[Image], recipe: FineTuning, seed: int) -> None:
        rng = np.random.default_rng(seed)
        wanted = recipe.steps * recipe.batch
        rounds = [rng.permutation(len(images)) for _ in range(-(-wanted // len(images)))]
        self._order: npt.NDArray[np.int64] = np.concatenate(rounds)[:wanted]
        self._mirrored = rng.integers(2, size=wanted).astype(bool)
        self._images = images

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, place: int) -> _Item:
        image = self._images[self._order[place]]
        pixels = load_rgb(image.path)
        boxes, labels = _objects(image)
        if self._mirrored[place]:
            pixels = pixels[:, ::-1]
            boxes = np.stack(
                [image.width - boxes[:, 2], boxes[:, 1], image.width - boxes[:, 0], boxes[:, 3]], axis=1
            )
        picture = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1).float() / 255
        return picture, {"boxes": torch.from_numpy(boxes), "labels": torch.from_numpy(labels)}


def _objects(image: Image) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """The boxes to learn, and their classes counted from 1: 0 is torchvision's background."""
    boxes = clipped_xyxy(image)
    usable = learnable(image, boxes)
    return np.ascontiguousarray(boxes[usable]), image.labels[usable] + 1


def _batches(
    images: Sequence[Image], recipe: FineTuning, seed: int, workers: int
) -> Iterator[tuple[list[Tensor], list[dict[str, Tensor]]]]:
    loader = DataLoader(
        _Pictures(images, recipe, seed),
        recipe.batch,
        num_workers=workers,
        collate_fn=_apart,
        pin_memory=workers > 0,
    )
    yield from loader


def _apart(items: list[_Item]) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    pictures, targets = zip(*items, strict=True)
    return list(pictures), list(targets)


def _workers(on_gpu: bool) -> int:
    """How many processes decode images: on a CPU that trains, none, for it is the training that waits."""
    return min(8, os.cpu_count() or 1) if on_gpu else 0


def _freeze_norms(network: nn.Module) -> None:
    """Keep the statistics of batch norms: a batch here is too small to have any of its own."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def _offline_fcos(classes: int, image_size: int) -> Any:
    """torchvision's FCOS on EfficientNet-Lite0, with five levels as it wants them."""
    return FCOS(
        _LitePyramid(64),
        classes,
        min_size=image_size,
        max_size=image_size,
        image_mean=[MEAN / 255] * 3,
        image_std=[STD / 255] * 3,
        anchor_generator=AnchorGenerator(((8,), (16,), (32,), (64,), (128,)), ((1.0,),) * 5),
        head=FCOSHead(64, 1, classes, num_convs=2),
        score_thresh=0.02,
    )


class _LitePyramid(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = load_backbone(fold=False)
        self.fpn = FeaturePyramidNetwork(
            list(CHANNELS), channels, extra_blocks=LastLevelP6P7(channels, channels)
        )
        self.out_channels = channels  # FCOS asks for it

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        levels: dict[str, Tensor] = self.fpn(
            {str(number): level for number, level in enumerate(self.body(pixels))}
        )
        return levels


def _read_weights(file: Path) -> dict[str, Tensor]:
    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever torch makes of a file that is none of its own
        reason = str(error).partition("\n")[0]
        raise DetectorError(f"{file}: no weights can be read from it ({reason}); give a state dict") from None
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise DetectorError(f"{file}: not a state dict (tensors by name); save `model.state_dict()`")
    return found


def _download(architecture: str) -> dict[str, Tensor]:
    weights = torchvision.models.get_model_weights(architecture).DEFAULT
    try:
        found: dict[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise DetectorError(
            f"the weights of torchvision:{architecture} cannot be downloaded ({error}); get {weights.url} "
            f"elsewhere and give it by --weights FILE, or use torchvision:{OFFLINE}, which needs none"
        ) from None
    return found
