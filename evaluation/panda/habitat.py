"""Where the animals live: backgrounds, what stands in front, and the light.

A habitat is a still panorama, larger than the frame, that the camera looks around in, and a layer of
things nearer than the animals. Animals are not here: see `bear`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import cv2
import numpy as np
import numpy.typing as npt

from .blobs import Colour, Light
from .noise import FloatArray, fractal, ramp

__all__ = ["HABITATS", "LIGHTS", "Habitat", "build"]


Points = npt.NDArray[np.float64]

WIDTH, HEIGHT = 720, 330
"""Size of the panorama, pixels."""


@dataclass(frozen=True, slots=True)
class Habitat:
    """A place to live, before any camera."""

    background: FloatArray
    """(HEIGHT, WIDTH, 3) RGB in 0 to 1, lit."""
    front: FloatArray
    """(HEIGHT, WIDTH, 4) RGB in 0 to 1, lit and multiplied by the last channel, how much it hides."""
    horizon: float
    """Where the ground ends, pixels from the panorama's top."""
    light: Light
    snowing: bool


def _light(
    sun: Colour, sky: Colour, x: float, y: float, z: float, haze: Colour, thickness: float, grain: float
) -> Light:
    length = sqrt(x * x + y * y + z * z)
    return Light(sun, sky, (x / length, y / length, z / length), haze, thickness, grain)


LIGHTS: dict[str, Light] = {
    "noon": _light((0.72, 0.70, 0.64), (0.40, 0.43, 0.48), -0.4, -0.8, 0.5, (0.80, 0.86, 0.88), 0.15, 0.008),
    "overcast": _light(
        (0.24, 0.24, 0.25), (0.70, 0.72, 0.75), 0.2, -0.9, 0.4, (0.75, 0.78, 0.80), 0.30, 0.012
    ),
    "evening": _light(
        (0.80, 0.56, 0.32), (0.28, 0.28, 0.34), 0.8, -0.4, 0.4, (0.85, 0.66, 0.48), 0.25, 0.014
    ),
    "dusk": _light((0.16, 0.17, 0.26), (0.24, 0.27, 0.36), -0.7, -0.4, 0.4, (0.24, 0.28, 0.38), 0.35, 0.028),
    "mist": _light((0.20, 0.20, 0.20), (0.62, 0.66, 0.67), -0.3, -0.8, 0.5, (0.78, 0.81, 0.81), 0.60, 0.012),
    "shade": _light((0.34, 0.36, 0.28), (0.36, 0.42, 0.36), 0.5, -0.7, 0.4, (0.46, 0.54, 0.44), 0.20, 0.018),
}


def build(kind: str, light: Light, rng: np.random.Generator) -> Habitat:
    """Return a new place of this kind (a key of `HABITATS`) in this light."""
    horizon = float(rng.uniform(0.36, 0.52) * HEIGHT)
    background = HABITATS[kind](rng, horizon, light)
    front = _front(kind, rng)
    strength = np.asarray(light.sun, np.float32) * 0.62 + np.asarray(light.sky, np.float32)
    # Clouds and leaves: no ground is lit evenly.
    shade = 1 + 0.10 * fractal(rng, (HEIGHT, WIDTH), 2.2, stretch=(1, 2))[..., None]
    front[..., :3] *= strength * 0.9
    return Habitat(
        np.clip(background * strength * shade, 0, 1),
        np.clip(front, 0, 1),
        horizon,
        light,
        snowing=kind == "snow" and bool(rng.uniform() < 0.6),
    )


def _bamboo(rng: np.random.Generator, horizon: float, light: Light) -> FloatArray:
    picture = _foliage(rng, [(0.05, 0.10, 0.04), (0.16, 0.30, 0.10), (0.38, 0.52, 0.22), (0.68, 0.78, 0.48)])
    soil: list[Colour] = [(0.12, 0.10, 0.05), (0.30, 0.25, 0.13), (0.34, 0.42, 0.16), (0.55, 0.52, 0.30)]
    picture = _ground(picture, rng, horizon, soil)
    for depth in (0.9, 0.6, 0.3):
        _fade(picture, light, depth * 0.5)
        for foot in sorted(rng.uniform(0, 30, rng.integers(6, 12)).tolist()):
            thick = (1.2 - depth) * rng.uniform(6, 13)
            _culm(picture, rng, rng.uniform(0, WIDTH), horizon + foot * (1 - depth), thick)
        _leaves(picture, rng, 260, 4 + 9 * (1 - depth), (0, horizon - 10 * depth), (0.26, 0.44, 0.14))
    return picture


def _wood(rng: np.random.Generator, horizon: float, light: Light) -> FloatArray:
    picture = _foliage(rng, [(0.04, 0.07, 0.04), (0.12, 0.20, 0.09), (0.28, 0.36, 0.16), (0.80, 0.86, 0.80)])
    grass: list[Colour] = [(0.09, 0.12, 0.04), (0.20, 0.28, 0.09), (0.36, 0.46, 0.16), (0.58, 0.64, 0.30)]
    return _trees(_ground(picture, rng, horizon, grass), rng, horizon, light, 40)


def _snow(rng: np.random.Generator, horizon: float, light: Light) -> FloatArray:
    picture = _foliage(rng, [(0.18, 0.20, 0.22), (0.36, 0.40, 0.42), (0.64, 0.68, 0.72), (0.86, 0.88, 0.92)])
    snow: list[Colour] = [(0.62, 0.66, 0.74), (0.80, 0.83, 0.88), (0.90, 0.91, 0.94), (0.97, 0.97, 0.98)]
    return _trees(_ground(picture, rng, horizon, snow, blades=60), rng, horizon, light, 28)


def _rocks(rng: np.random.Generator, horizon: float, light: Light) -> FloatArray:
    picture = _foliage(rng, [(0.16, 0.20, 0.14), (0.34, 0.38, 0.28), (0.52, 0.55, 0.46), (0.74, 0.78, 0.78)])
    gravel: list[Colour] = [(0.20, 0.19, 0.17), (0.38, 0.36, 0.32), (0.52, 0.50, 0.45), (0.46, 0.50, 0.30)]
    picture = _ground(picture, rng, horizon, gravel, blades=500)
    _fade(picture, light, 0.4)
    for near in sorted(rng.uniform(0, 1, rng.integers(14, 26)).tolist()):
        _rock(picture, rng, rng.uniform(0, WIDTH), horizon + 80 * near**2, rng.uniform(14, 44) * (0.6 + near))
    return picture


def _zoo(rng: np.random.Generator, horizon: float, light: Light) -> FloatArray:
    wall = [(0.62, 0.58, 0.50), (0.50, 0.55, 0.56), (0.58, 0.44, 0.35), (0.42, 0.50, 0.40)][rng.integers(4)]
    rough = fractal(rng, (HEIGHT, WIDTH), 1.4)
    picture = (
        np.asarray(wall, np.float32)
        * (1 + 0.05 * rough + 0.06 * fractal(rng, (HEIGHT, WIDTH), 2.4, (4, 1)))[..., None]
    )
    picture = picture.astype(np.float32)
    tall, wide = int(rng.integers(28, 60)), int(rng.integers(50, 140))
    for row, y in enumerate(range(int(horizon) % tall, HEIGHT, tall)):
        cv2.line(picture, (0, y), (WIDTH, y), tuple(c * 0.72 for c in wall), 1, cv2.LINE_AA)
        for x in range((row % 2) * wide // 2, WIDTH, wide):
            cv2.line(picture, (x, y), (x, y + tall), tuple(c * 0.76 for c in wall), 1, cv2.LINE_AA)
    if rng.uniform() < 0.5:
        for x in range(int(rng.integers(20)), WIDTH, int(rng.integers(18, 34))):
            cv2.line(picture, (x, 0), (x, int(horizon)), (0.20, 0.22, 0.22), 4, cv2.LINE_AA)
            cv2.line(picture, (x - 1, 0), (x - 1, int(horizon)), (0.48, 0.50, 0.50), 1, cv2.LINE_AA)
    sand: list[Colour] = [(0.40, 0.34, 0.24), (0.52, 0.45, 0.33), (0.60, 0.54, 0.40)]
    lawn: list[Colour] = [(0.16, 0.24, 0.08), (0.28, 0.40, 0.14), (0.44, 0.52, 0.22)]
    picture = _ground(picture, rng, horizon, sand if rng.uniform() < 0.5 else lawn, blades=500)
    for _ in range(int(rng.integers(1, 4))):
        _rock(picture, rng, rng.uniform(0, WIDTH), horizon + rng.uniform(6, 26), rng.uniform(20, 60))
    if rng.uniform() < 0.6:
        _trunk(picture, rng, rng.uniform(0, WIDTH), horizon + 20, rng.uniform(16, 34))
    return picture


HABITATS: dict[str, Callable[[np.random.Generator, float, Light], FloatArray]] = {
    "bamboo": _bamboo,
    "rocks": _rocks,
    "snow": _snow,
    "wood": _wood,
    "zoo": _zoo,
}


def _foliage(rng: np.random.Generator, colours: list[Colour]) -> FloatArray:
    """Something leafy far away, out of focus, brighter above."""
    noise = fractal(rng, (HEIGHT, WIDTH), 1.5) + 0.7 * fractal(rng, (HEIGHT, WIDTH), 2.4)
    noise += np.linspace(0.9, -0.7, HEIGHT, dtype=np.float32)[:, None]
    blurred = cv2.GaussianBlur(ramp(noise, colours, -2.2, 2.6), (0, 0), 1.6)
    return np.asarray(blurred, np.float32)


def _trees(
    picture: FloatArray, rng: np.random.Generator, horizon: float, light: Light, thick: float
) -> FloatArray:
    for depth in (0.9, 0.5, 0.2):
        _fade(picture, light, depth * 0.5)
        for foot in sorted(rng.uniform(0, 45, rng.integers(3, 8)).tolist()):
            size = (1.15 - depth) * thick * rng.uniform(0.35, 1)
            _trunk(picture, rng, rng.uniform(0, WIDTH), horizon + foot * (1 - depth), size)
    return picture


def _fade(picture: FloatArray, light: Light, share: float) -> None:
    picture += share * light.thickness * 1.6 * (np.asarray(light.haze, np.float32) - picture)


def _ground(
    picture: FloatArray, rng: np.random.Generator, horizon: float, colours: list[Colour], blades: int = 1500
) -> FloatArray:
    """The picture with ground from the horizon down: finer and flatter far away."""
    below = np.arange(HEIGHT, dtype=np.float32) - horizon - 3 * fractal(rng, (1, WIDTH), 2.0)[0][:, None]
    below = below.T
    noise = fractal(rng, (512, 512), 1.3)
    near = np.maximum(below, 1) / (HEIGHT - horizon)
    y = 240 * np.log(near + 0.12)
    x = (np.arange(WIDTH, dtype=np.float32)[None, :] - WIDTH / 2) / (0.5 + 0.9 * near)
    squashed = cv2.remap(
        noise,
        (x % 512).astype(np.float32),
        (y % 512).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_WRAP,
    )
    ground = ramp(squashed + 0.8 * fractal(rng, (HEIGHT, WIDTH), 2.2, (1, 2.5)), colours, -2.6, 2.6)
    cover = np.clip(below / 5 + 0.5, 0, 1)[..., None]
    picture = picture + cover * (ground - picture)
    # Far blades first would need sorting; strewn ones look as well.
    depth = rng.uniform(size=blades) ** 1.4
    foot = np.stack([rng.uniform(0, WIDTH, blades), horizon + depth * (HEIGHT - horizon)], axis=1)
    rise = np.stack([rng.normal(0, 3, blades), -rng.uniform(2, 10, blades)], axis=1) * (0.35 + depth[:, None])
    _blades(picture, foot, rise, _varied(rng, np.array(colours)[rng.integers(len(colours), size=blades)]))
    return picture.astype(np.float32)


def _culm(picture: FloatArray, rng: np.random.Generator, x: float, foot: float, thick: float) -> None:
    """A stem of bamboo with its rings, rounded by shading from edge to edge."""
    base = np.array([rng.uniform(0.30, 0.55), rng.uniform(0.48, 0.66), rng.uniform(0.16, 0.28)])
    lean = rng.normal(0, 14)
    bottom, top = np.array([x, foot]), np.array([x + lean, -10.0])
    for share in (1.0, 0.8, 0.6, 0.4, 0.2):
        side = np.array([-(1 - share) * thick * 0.28, 0])
        colour = [*(base * (1.12 - 0.72 * share)), 1.0][: picture.shape[2]]
        cv2.line(
            picture,
            _point(bottom + side),
            _point(top + side),
            colour,
            max(1, round(thick * share)),
            cv2.LINE_AA,
        )
    height = foot - rng.uniform(0, 20)
    while height > 0:
        middle = bottom + (top - bottom) * (foot - height) / (foot + 10)
        half = np.array([thick * 0.56, 0.0])
        for dy, factor in ((0, 0.35), (1, 1.25)):
            colour = [*np.clip(base * factor, 0, 1), 1.0][: picture.shape[2]]
            cv2.line(
                picture,
                _point(middle - half + (0, dy)),
                _point(middle + half + (0, dy)),
                colour,
                1,
                cv2.LINE_AA,
            )
        height -= (2.4 + rng.uniform(0, 1.2)) * thick + 9


def _trunk(picture: FloatArray, rng: np.random.Generator, x: float, foot: float, thick: float) -> None:
    """A tree trunk with bark, wider at its foot."""
    tall = max(1, min(HEIGHT, int(foot)))
    rows = np.arange(tall, dtype=np.float32)
    middle = x + rng.normal(0, 0.06) * (foot - rows) + 0.08 * thick * fractal(rng, (1, tall), 2.4)[0]
    half = thick * (0.5 + 0.35 * np.exp(-(foot - rows) / (0.6 * thick + 3)))
    left, right = max(0, int((middle - half).min()) - 2), min(WIDTH, int((middle + half).max()) + 3)
    if right <= left:
        return
    across = (np.arange(left, right, dtype=np.float32)[None, :] - middle[:, None]) / half[:, None]
    bark = fractal(rng, across.shape, 1.0, stretch=(5, 1))
    base = rng.uniform(0.2, 0.42) * np.array([1.0, rng.uniform(0.80, 0.95), rng.uniform(0.62, 0.80)])
    shade = (0.35 + 0.75 * np.sqrt(np.clip(1 - (across + 0.25) ** 2 / 1.6, 0, 1))) * (1 + 0.26 * bark)
    cover = np.clip((1 - np.abs(across)) * half[:, None] / 1.4 + 0.5, 0, 1)
    _paint(picture, (slice(0, tall), slice(left, right)), base * shade[..., None], cover)


def _rock(picture: FloatArray, rng: np.random.Generator, x: float, foot: float, size: float) -> None:
    """A boulder, lit from above."""
    wide = size * rng.uniform(0.9, 1.5)
    left, right = max(0, int(x - 1.4 * wide)), min(WIDTH, int(x + 1.4 * wide) + 1)
    top, bottom = max(0, int(foot - 1.4 * size)), min(HEIGHT, int(foot + 0.6 * size) + 1)
    if right - left < 4 or bottom - top < 4:
        return
    y, columns = np.mgrid[top:bottom, left:right].astype(np.float32)
    rough = fractal(rng, y.shape, 1.9)
    dx, dy = (columns - x) / wide, (y - foot) / size
    dome = 1 - dx**2 - np.where(dy > 0, np.float32(6), np.float32(1)) * dy**2 + 0.22 * rough
    slope = cv2.Sobel(np.sqrt(np.clip(dome, 0, 1)) + 0.02 * rough, cv2.CV_32F, 0, 1, scale=size / 8)
    base = np.array([1.0, 0.97, 0.92]) * rng.uniform(0.35, 0.62)
    shade = np.clip(0.75 + 0.35 * slope + 0.08 * rough, 0.15, 1.5)
    window = (slice(top, bottom), slice(left, right))
    _paint(picture, window, base * shade[..., None], np.clip(dome * size / 3, 0, 1))


def _paint(
    picture: FloatArray, window: tuple[slice, slice], paint: npt.NDArray[np.floating], cover: FloatArray
) -> None:
    """Lay paint over a window of the picture; where the picture has a fourth channel, it hides."""
    paint = np.clip(paint, 0, 1)
    if picture.shape[2] == 4:
        paint = np.dstack([paint, np.ones_like(cover)])
    picture[window] += (cover[..., None] * (paint - picture[window])).astype(np.float32)


def _leaves(
    picture: FloatArray,
    rng: np.random.Generator,
    count: int,
    size: float,
    rows: tuple[float, float],
    base: Colour,
) -> None:
    for _ in range(count):
        centre = (int(rng.uniform(0, WIDTH)), int(rng.uniform(*rows)))
        colour = [*(np.asarray(base) * rng.uniform(0.45, 1.7)).tolist(), 1.0][: picture.shape[2]]
        axes = (max(1, int(size * rng.uniform(0.6, 1.2))), max(1, int(size * 0.22)))
        cv2.ellipse(picture, centre, axes, rng.uniform(20, 160), 0, 360, colour, -1, cv2.LINE_AA)


def _front(kind: str, rng: np.random.Generator) -> FloatArray:
    """What stands nearer than the animals: stems, trunks, hanging leaves and grass at the lower edge."""
    front = np.zeros((HEIGHT, WIDTH, 4), np.float32)
    if kind in ("bamboo", "zoo") or rng.uniform() < 0.25:
        for _ in range(int(rng.integers(1, 5)) if kind == "bamboo" else int(rng.integers(0, 3))):
            _culm(front, rng, rng.uniform(0, WIDTH), HEIGHT + 30, rng.uniform(7, 17))
    if kind in ("wood", "snow", "rocks") and rng.uniform() < 0.6:
        for _ in range(int(rng.integers(1, 3))):
            _trunk(front, rng, rng.uniform(0, WIDTH), HEIGHT + 30, rng.uniform(18, 42))
    if kind in ("bamboo", "wood"):
        _leaves(front, rng, int(rng.integers(0, 90)), 13, (0, 50), (0.20, 0.36, 0.11))
    blades = {"bamboo": 260, "wood": 420, "rocks": 120, "zoo": 80, "snow": 30}[kind]
    foot = np.stack([rng.uniform(0, WIDTH, blades), HEIGHT + rng.uniform(-8, 8, blades)], axis=1)
    rise = np.stack([rng.normal(0, 9, blades), -rng.uniform(10, 46, blades)], axis=1)
    base = (0.5, 0.42, 0.3) if kind == "snow" else (0.28, 0.36, 0.12)
    _blades(front, foot, rise, _varied(rng, np.tile(base, (blades, 1))), thick=2)
    return np.asarray(cv2.GaussianBlur(front, (0, 0), 1.0), np.float32)


def _blades(picture: FloatArray, foot: Points, rise: Points, colours: Points, thick: int = 1) -> None:
    """Blades of grass from (N, 2) feet, up by (N, 2), in (N, 3) colours."""
    ends = np.rint(np.stack([foot, foot + rise], axis=1)).astype(int).tolist()
    for (start, tip), colour in zip(ends, colours.tolist(), strict=True):
        cv2.line(picture, start, tip, [*colour, 1.0][: picture.shape[2]], thick, cv2.LINE_AA)


def _varied(rng: np.random.Generator, colours: Points) -> Points:
    """The (N, 3) colours, each a little darker or lighter."""
    return colours * rng.uniform(0.6, 1.35, (len(colours), 1))


def _point(at: Points) -> tuple[int, int]:
    return round(float(at[0])), round(float(at[1]))
