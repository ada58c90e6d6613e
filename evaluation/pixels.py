"""Decoding image files to RGB arrays, and reading their sizes without decoding.

Every function takes EXIF orientation into account in the same way (for PNG: where it is stated before the
pixels), so that `load_rgb`, `image_size` and `checked_size` always agree. Nothing is cached, resized or
normalised here.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO

import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL.Image import Transpose

from metricsmith.sandbox.errors import DataError

__all__ = ["checked_size", "image_size", "load_rgb"]

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
"""What makes a picture with this EXIF orientation upright (EXIF 2.32, section 4.6.4 A)."""
_LYING = {5, 6, 7, 8}
"""Orientations that swap width and height."""
_SIXTEEN_BIT = {"I", "I;16", "I;16B", "I;16L", "I;16N"}
_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
"""What a complete file of the format ends in."""


def load_rgb(path: Path) -> npt.NDArray[np.uint8]:
    """The pixels, (H, W, 3) uint8 RGB, upright.

    Grayscale is repeated, palettes are looked up, transparency is dropped, 16 bits lose their lower 8. Of an
    animation it is the first frame. Raises DataError where the file is missing, empty, truncated or no image.
    """
    data = _bytes(path)
    with _opened(path, io.BytesIO(data)) as image:
        orientation = _orientation(image)
        # cv2 decodes ordinary JPEGs 1.6 times as fast as PIL, but it fills up truncated files, takes every
        # CMYK file to be inverted, and knows no orientation from XMP: those are PIL's.
        if (
            image.format == "JPEG"
            and image.mode in {"L", "RGB"}
            and orientation not in _UPRIGHT
            and data.endswith(_ENDS["JPEG"])
        ):
            flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
            if pixels is not None:
                return np.asarray(pixels, np.uint8)
        return _decoded(path, image, orientation)


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) in pixels of the upright picture, from the file's header alone.

    Raises DataError as `load_rgb` does, but does not notice a truncated file: see `checked_size`.
    """
    with _file(path) as file, _opened(path, file) as image:
        return _upright_size(image)


def checked_size(path: Path) -> tuple[int, int]:
    """(width, height) like `image_size`, of a file that is complete. Raises DataError as `load_rgb` does.

    Looks at both ends of the file, and decodes it only where its last bytes do not prove it complete.
    """
    with _file(path) as file, _opened(path, file) as image:
        size = _upright_size(image)
        end = _ENDS.get(image.format or "")
        if end is not None:
            file.seek(-len(end), io.SEEK_END)
            if file.read() == end:
                return size
    load_rgb(path)
    return size


def _file(path: Path) -> IO[bytes]:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise DataError(path, "the image is missing") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL or a lone surrogate
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(path, f"the image cannot be opened: {reason}") from None
    if file.read(1) == b"":
        file.close()
        raise DataError(path, "the image file is empty")
    file.seek(0)
    return file


def _bytes(path: Path) -> bytes:
    with _file(path) as file:
        return file.read()


def _opened(path: Path, file: IO[bytes]) -> PIL.Image.Image:
    try:
        return PIL.Image.open(file)
    except PIL.UnidentifiedImageError:
        raise DataError(path, "this is not an image, or its header is damaged") from None
    except Exception as error:  # a damaged header raises whatever its format's parser stumbles over
        raise DataError(path, f"the image's header is damaged: {error}") from None


def _orientation(image: PIL.Image.Image) -> int:
    """The EXIF orientation still to be applied to `image`; 1 where there is none."""
    if image.format == "TIFF":
        return 1  # PIL turns TIFFs upright itself
    try:
        # The base class's method, because PNG's own decodes the whole picture to look for EXIF behind it.
        return int(PIL.Image.Image.getexif(image).get(_ORIENTATION, 1))
    except Exception:  # a broken EXIF block raises anything; like every viewer, go without
        return 1


def _upright_size(image: PIL.Image.Image) -> tuple[int, int]:
    width, height = image.size
    return (height, width) if _orientation(image) in _LYING else (width, height)


def _decoded(path: Path, image: PIL.Image.Image, orientation: int) -> npt.NDArray[np.uint8]:
    try:
        image.load()
    except Exception as error:  # a damaged file raises whatever its decoder stumbles over
        raise DataError(path, f"the image is truncated or damaged: {error}") from None
    if orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[orientation])
    if image.mode in _SIXTEEN_BIT:
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise DataError(path, "the image has more than 16 bits a pixel, and no range to scale them by")
        return np.repeat((values >> 8).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode == "F":
        raise DataError(path, "the image has floating-point pixels, and no range to scale them by")
    image.info.pop("transparency", None)  # it is dropped; PIL would warn
    try:
        return np.array(image.convert("RGB"))
    except ValueError as error:
        raise DataError(path, f"the image's {image.mode} pixels cannot be read as RGB: {error}") from None
