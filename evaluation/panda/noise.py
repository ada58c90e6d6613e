"""Fractal noise and fur: the random textures that everything in a picture is made of.

It knows nothing of what is drawn with them.
"""

from __future__ import annotations

from functools import cache
from math import cos, sin

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["FloatArray", "fractal", "fur", "ramp"]

FloatArray = npt.NDArray[np.float32]

FUR_SIZE = 512
FUR_SPAN = 2.4
"""How many body heights the fur texture spans."""


def fractal(
    rng: np.random.Generator,
    shape: tuple[int, int],
    beta: float = 1.8,
    stretch: tuple[float, float] = (1.0, 1.0),
    finest: float = 0.0,
) -> FloatArray:
    """Return (H, W) float32 noise, mean 0, deviation 1, whose amplitude falls as frequency^(−(β + 1) / 2).

    `stretch` draws it out along (y, x); `finest` (pixels) is the size below which it is smooth. It tiles.
    """
    frequency_y = np.fft.fftfreq(shape[0])[:, None] * stretch[0]
    frequency_x = np.fft.rfftfreq(shape[1])[None, :] * stretch[1]
    square = frequency_y**2 + frequency_x**2
    square[0, 0] = 1.0
    spectrum = square ** (-(beta + 1) / 4) * np.exp(-square * (finest * np.pi) ** 2 / 2)
    spectrum[0, 0] = 0.0
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) * spectrum, shape)
    return np.asarray(noise / noise.std(), np.float32)


def ramp(
    values: FloatArray, colours: list[tuple[float, float, float]], low: float, high: float
) -> FloatArray:
    """Return (H, W, 3) float32: the colours, spread evenly from `low` to `high`, at each value."""
    # Nobody sees more than 256 steps, and looking them up is much faster than interpolating each pixel.
    stops, steps = np.linspace(0, 255, len(colours)), np.arange(256)
    table = np.array([np.interp(steps, stops, channel) for channel in zip(*colours, strict=True)], np.float32)
    index = np.clip((values - low) * (255 / (high - low)), 0, 255).astype(np.uint8)
    return np.asarray(table.T[index], np.float32)


@cache
def _fur(level: int) -> tuple[FloatArray, FloatArray]:
    """Two (512, 512, 3) textures, each mean 0 and deviation 1, that tile; halved `level` times.

    Always the same ones; their place on an animal is what differs. See `fur` for their channels.
    """
    if level:
        # Hair finer than a pixel would flicker from frame to frame.
        half = (FUR_SIZE >> level, FUR_SIZE >> level)
        bends, strands = (
            np.asarray(cv2.resize(texture, half, interpolation=cv2.INTER_AREA), np.float32)
            for texture in _fur(level - 1)
        )
        return bends, strands
    rng = np.random.default_rng(7)
    size = (FUR_SIZE, FUR_SIZE)
    warps = [0.6 * fractal(rng, size, 1.8) + 0.8 * fractal(rng, size, 0.0, finest=2.0) for _ in range(2)]
    stains = fractal(rng, size, 2.2)
    hanging = _combed(rng, 0.35)
    lying = _combed(rng, 1.1)
    tufts = fractal(rng, size, 1.0, stretch=(2.0, 1.0), finest=2.5)
    return np.dstack([*warps, stains]), np.dstack([hanging, lying, tufts])


def _combed(rng: np.random.Generator, angle: float) -> FloatArray:
    """Hair that lies `angle` radians from hanging, in wavy strands."""
    straight = fractal(rng, (FUR_SIZE, FUR_SIZE), 0.3, stretch=(3.5, 1.0), finest=1.0)
    wave = 5 * np.dstack([fractal(rng, (FUR_SIZE, FUR_SIZE), 2.0, finest=4.0) for _ in range(2)])
    y, x = np.mgrid[:FUR_SIZE, :FUR_SIZE].astype(np.float32)
    turned_x = cos(angle) * x + sin(angle) * y + wave[..., 0]
    turned_y = cos(angle) * y - sin(angle) * x + wave[..., 1]
    combed = cv2.remap(straight, turned_x, turned_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return np.asarray(combed, np.float32)


def fur(scale: float, origin: tuple[float, float], shape: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
    """Return the two fur textures over a picture of this shape, (H, W, 3) each.

    The first bends outlines: displacement in x, in y, and stains; the second is hair: hanging, lying back,
    and in tufts. `scale` is pixels a body height, `origin` the place of the texture's middle, in pixels.
    """
    level = max(0, min(5, int(np.log2(FUR_SIZE / (scale * FUR_SPAN)))))
    size = FUR_SIZE >> level
    zoom = scale * FUR_SPAN / size
    matrix = np.array(
        [[zoom, 0, origin[0] - zoom * size / 2], [0, zoom, origin[1] - zoom * size / 2]], np.float32
    )

    def spread(texture: FloatArray) -> FloatArray:
        flags, border = cv2.INTER_LINEAR, cv2.BORDER_WRAP
        return np.asarray(
            cv2.warpAffine(texture, matrix, shape[::-1], flags=flags, borderMode=border), np.float32
        )

    bends, strands = _fur(level)
    return spread(bends), spread(strands)
