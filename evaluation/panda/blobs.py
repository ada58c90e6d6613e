"""Lit, furry ellipsoids: how a list of round parts becomes pixels.

Each part is an ellipsoid seen from the side. The parts are stacked into a height map by depth, their
outlines bent by fractal noise, and the height map is lit. What the parts are is not known here: see `bear`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import cos, hypot, radians, sin

import cv2
import numpy as np

from .noise import FloatArray, fur

__all__ = ["Blob", "Coat", "Colour", "Light", "Pelt", "Sprite", "render"]

Colour = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Blob:
    """An ellipsoid, in body heights: x to the front, y down, the ground at y = 0."""

    x: float
    y: float
    rx: float
    ry: float
    part: str
    """Which entry of a coat colours it."""
    angle: float = 0.0
    """Degrees, clockwise."""
    z: float = 0.0
    """Depth of its middle, towards the viewer."""
    rz: float = 0.2
    """Half of its thickness."""


@dataclass(frozen=True, slots=True)
class Pelt:
    """How a part looks."""

    colour: Colour
    """RGB in 0 to 1, under white light."""
    stripes: float = 0.0
    """How black its stripes are, 0 to 1."""
    smooth: bool = False
    """Skin, horn or eye: without hair."""


Coat = Mapping[str, Pelt]


@dataclass(frozen=True, slots=True)
class Light:
    """Where light comes from and what it does."""

    sun: Colour
    """RGB strength of the directed light."""
    sky: Colour
    """RGB strength of the light from all around."""
    direction: tuple[float, float, float]
    """Unit vector to the sun: x to the right, y down, z to the viewer."""
    haze: Colour = (0.8, 0.8, 0.8)
    """What far things fade to."""
    thickness: float = 0.0
    """Share of haze in the farthest things, 0 to 1."""
    grain: float = 0.008
    """Deviation of the camera's noise."""


@dataclass(frozen=True, slots=True)
class Sprite:
    """A drawn thing and the part of the frame that it takes; (h, w) may be (0, 0)."""

    window: tuple[slice, slice]
    """Rows and columns of the frame."""
    colour: FloatArray
    """(h, w, 3) RGB in 0 to 1, not multiplied by `alpha`."""
    alpha: FloatArray
    """(h, w) in 0 to 1."""


def render(
    blobs: list[Blob],
    coat: Coat,
    light: Light,
    *,
    scale: float,
    feet: tuple[float, float],
    shape: tuple[int, int],
    mirrored: bool = False,
    roughness: float = 1.0,
    place: float = 0.0,
) -> Sprite:
    """Return the parts as seen in a frame of this shape (H, W).

    `scale` is pixels a body height, `feet` where the animal's origin lies in the frame (pixels), `place`
    shifts its fur texture (body heights), so that no two animals have the same one.
    """
    side = -1.0 if mirrored else 1.0
    # Fur stands out a little beyond the ellipsoids.
    margin = 0.05 * roughness * scale + 2
    spans = [_span(blob, scale, feet, side, margin) for blob in blobs]
    rows = slice(min(r.start for r, _ in spans), min(shape[0], max(r.stop for r, _ in spans)))
    columns = slice(min(c.start for _, c in spans), min(shape[1], max(c.stop for _, c in spans)))
    size = (max(0, rows.stop - rows.start), max(0, columns.stop - columns.start))
    if min(size) < 2:
        return Sprite(
            (slice(0, 0), slice(0, 0)), np.zeros((0, 0, 3), np.float32), np.zeros((0, 0), np.float32)
        )
    origin = (feet[0] - columns.start, feet[1] - rows.start)
    bend, strands = fur(scale, (origin[0] + place * scale, origin[1] - 0.5 * scale), size)
    amount = 0.0075 * roughness
    x = side * (np.arange(size[1], dtype=np.float32) - origin[0])[None, :] / scale + amount * bend[..., 0]
    y = (np.arange(size[0], dtype=np.float32) - origin[1])[:, None] / scale + amount * bend[..., 1]

    height = np.full(size, -1.0, np.float32)
    alpha = np.zeros(size, np.float32)
    # Planes of red, green, blue and hairiness: numpy is slow where the innermost axis is short.
    paint = np.zeros((4, *size), np.float32)
    for blob in blobs:
        span = _span(blob, scale, origin, side, margin)
        if height[span].size:
            _lay(
                blob, coat[blob.part], scale, x[span], y[span], bend[..., 2][span], height, alpha, paint, span
            )

    strand = 0.45 * strands[..., 0] + 0.45 * strands[..., 1] + 0.4 * strands[..., 2]
    hair = paint[3]
    sun, sky = _light(np.where(alpha > 0, height, np.float32(-0.25)), strand * hair, light, scale)
    # White fur is stained from below, black fur shines a little.
    dirt = np.clip(0.05 + 0.06 * bend[..., 2] + 0.14 * np.clip(1 + 1.6 * y, 0, 1), 0, 0.3)
    dirt *= hair * (paint[0] + paint[1] + paint[2]) / 3
    texture, shine = 1 + 0.13 * hair * strand, 0.018 * hair * np.clip(strand + 0.4, 0, 2)
    for plane, stain, of_sun, of_sky in zip(paint, (0.25, 0.55, 1.0), light.sun, light.sky, strict=False):
        plane *= (1 - stain * dirt) * texture
        plane += shine
        plane *= of_sun * sun + of_sky * sky
    return Sprite((rows, columns), np.clip(cv2.merge(list(paint[:3])), 0, 1), alpha)


def _span(
    blob: Blob, scale: float, origin: tuple[float, float], side: float, margin: float
) -> tuple[slice, slice]:
    """Rows and columns that the part can touch, none of them negative."""
    c, s = cos(radians(blob.angle)), sin(radians(blob.angle))
    wide = scale * hypot(blob.rx * c, blob.ry * s) + margin
    high = scale * hypot(blob.rx * s, blob.ry * c) + margin
    x, y = origin[0] + side * blob.x * scale, origin[1] + blob.y * scale
    return (
        slice(max(0, int(y - high)), max(0, int(y + high) + 1)),
        slice(max(0, int(x - wide)), max(0, int(x + wide) + 1)),
    )


def _lay(
    blob: Blob,
    pelt: Pelt,
    scale: float,
    x: FloatArray,
    y: FloatArray,
    stain: FloatArray,
    height: FloatArray,
    alpha: FloatArray,
    paint: FloatArray,
    span: tuple[slice, slice],
) -> None:
    """Lay one part over those that are there, wherever it is nearer; x, y and stain are its span's."""
    dx, dy = x - blob.x, y - blob.y
    c, s = cos(radians(blob.angle)), sin(radians(blob.angle))
    square = ((c * dx + s * dy) / blob.rx) ** 2 + ((c * dy - s * dx) / blob.ry) ** 2
    edge = min(blob.rx, blob.ry) * scale / 1.6
    cover = np.clip((1 - np.sqrt(square)) * edge + 0.5, 0, 1)
    rise = blob.z + blob.rz * np.sqrt(np.maximum(1 - square, 0)) - height[span]
    # Where two parts are about level the fur of one runs into the other's.
    front = np.clip(22 * rise + 0.5, 0, 1) * cover
    height[span] += front * rise
    # Beside the outline there is nothing yet to mix the colour with.
    tint = np.maximum(front, (1 - alpha[span]) * (cover > 0))
    alpha[span] = np.maximum(alpha[span], cover)
    colours: list[float | FloatArray] = [*pelt.colour, 0.0 if pelt.smooth else 1.0]
    if pelt.stripes:
        wave = np.sin(34 * dx + 6 * np.sin(3 * dy) + 1.2 * stain)
        dark = pelt.stripes * np.clip(0.5 + 2.5 * wave, 0, 1)
        colours[:3] = [colour + dark * (0.05 - colour) for colour in pelt.colour]
    for plane, colour in zip(paint, colours, strict=True):
        plane[span] += tint * (colour - plane[span])


def _light(
    relief: FloatArray, strand: FloatArray, light: Light, scale: float
) -> tuple[FloatArray, FloatArray]:
    """How much light of the sun (by Lambert) and of the sky (less in hollows) falls on each pixel."""
    surface = cv2.GaussianBlur(relief, (0, 0), max(0.8, 0.014 * scale)) + 0.006 * strand
    slope_x = cv2.Sobel(surface, cv2.CV_32F, 1, 0, scale=scale / 8)
    slope_y = cv2.Sobel(surface, cv2.CV_32F, 0, 1, scale=scale / 8)
    length = np.sqrt(slope_x**2 + slope_y**2 + 1)
    towards = (-light.direction[0] * slope_x - light.direction[1] * slope_y + light.direction[2]) / length
    above = 0.72 + 0.28 * slope_y / length
    hollow = np.clip(cv2.GaussianBlur(surface, (0, 0), max(1.5, 0.05 * scale)) - surface, 0, 0.25)
    sun = np.clip(0.25 + 0.75 * towards, 0, 1)
    return np.asarray(sun, np.float32), np.asarray(above * (1 - 2.2 * hollow), np.float32)
