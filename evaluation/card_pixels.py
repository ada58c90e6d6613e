"""What the pixels in and around boxes look like: colour, light, texture, and how they change outwards.

Everything is measured on rectangles around a box's centre that are `_SCALES` times its size, by summed-area
tables (Crow, "Summed-area tables for texture mapping", 1984), so that many boxes cost little more than
one. Nothing here knows of data sets or classes, and nothing judges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["BANDS", "COLOURS", "FEATURES", "PixelFacts", "pixel_facts"]

Floats = npt.NDArray[np.float64]
Rgb = npt.NDArray[np.uint8]

_SCALES = (0.4, 0.6, 0.8, 1.0, 1.2, 1.5)
_BOX, _RING = _SCALES.index(1.0), _SCALES.index(1.5)
BANDS = ("0–40 %", "40–60 %", "60–80 %", "80–100 %", "100–120 %", "120–150 %")
"""The concentric bands between neighbouring `_SCALES`; the last is the box's surroundings."""

FEATURES = (
    *("black", "white", "colourless", "saturation", "brightness", "light spread"),
    *("sharpness", "edges"),
)
"""black: share of pixels with HSV value < 0.25; white: with saturation < 0.2 and value > 0.75; colourless:
with saturation < 0.2; saturation and brightness: mean HSV saturation and value in [0, 1]; light spread:
standard deviation of the value; sharpness: variance of the Laplacian of the 0–255 gray image; edges: share of
pixels that Canny (50, 150) marks."""

COLOURS = (
    *("black", "white", "gray", "red", "orange", "brown", "yellow", "green", "cyan", "blue"),
    *("violet", "pink"),
)
"""The names that every pixel has exactly one of: black and white as in `FEATURES`, gray with saturation
< 0.2, else by hue; brown is orange with value < 0.6."""

_HUES = (
    *((16, 46, "orange"), (46, 70, "yellow"), (70, 166, "green"), (166, 196, "cyan")),
    *((196, 256, "blue"), (256, 290, "violet"), (290, 346, "pink")),
)
"""From, below (degrees) and name; all other hues are red."""
_MAX_PIXELS = 1_000_000


@dataclass(frozen=True, slots=True)
class PixelFacts:
    """Measurements of N boxes. NaN where a region has no pixels, such as the ring of a box of full size."""

    inside: Floats
    """(N, F) the `FEATURES` within the box."""
    ring: Floats
    """(N, F) the same in the ring around it: the box enlarged by 1.5, without the box."""
    contrast: Floats
    """(N,) CIE76 distance in Lab between the mean colours of box and ring."""
    distance: Floats
    """(N, B - 1) CIE76 distance of each band's mean colour from that of the last, the surroundings."""
    edges: Floats
    """(N, B) share of edge pixels in each band."""
    edge_span: Floats
    """(N, 2) how much of the box's width and height lies between its first and last edge pixel."""
    inside_colours: Floats
    """(N, C) share of pixels that have each of the `COLOURS`, in the box."""
    ring_colours: Floats
    """(N, C) the same in the ring."""

    def take(self, rows: npt.NDArray[np.bool_]) -> PixelFacts:
        """The facts of some of the boxes."""
        return PixelFacts(*(getattr(self, field.name)[rows] for field in fields(self)))

    @staticmethod
    def joined(parts: Sequence[PixelFacts]) -> PixelFacts:
        """The facts of all boxes of all parts, at least one, in their order."""
        names = [field.name for field in fields(PixelFacts)]
        return PixelFacts(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def pixel_facts(rgb: Rgb, boxes: npt.NDArray[np.floating]) -> tuple[PixelFacts, Floats]:
    """The facts of (N, 4) xyxy boxes in an (H, W, 3) RGB image, and the (F,) `FEATURES` of the whole image.

    The image is first shrunk to a megapixel if it is larger. A box covers at least one pixel and, unless
    it fills the image, has a ring of at least one.
    """
    rgb, factor = _shrunk(rgb)
    maps = _Maps(rgb)
    rectangles = _rectangles(boxes * factor, rgb.shape[1], rgb.shape[0])
    sums, counts = maps.sums(rectangles)
    band_sums = np.diff(sums, axis=1, prepend=0)
    band_counts = np.diff(counts, axis=1, prepend=0)
    bands = _ratio(band_sums, band_counts[..., None])
    inside = _ratio(sums[:, _BOX], counts[:, _BOX, None])
    ring = _ratio(sums[:, _RING] - sums[:, _BOX], (counts[:, _RING] - counts[:, _BOX])[:, None])
    inside_colours, ring_colours, edge_span = maps.counts(rectangles)
    facts = PixelFacts(
        inside=_features(inside),
        ring=_features(ring),
        contrast=_colour_distance(inside, ring),
        distance=_colour_distance(bands[:, :-1], bands[:, -1:]),
        edges=bands[..., _EDGES],
        edge_span=edge_span,
        inside_colours=inside_colours,
        ring_colours=ring_colours,
    )
    return facts, _features(maps.means())


# The order of the channels in `_Maps.channels`.
_BLACK, _WHITE, _COLOURLESS, _SATURATION, _VALUE, _EDGES = range(6)
_VALUE_SQUARED, _LAPLACIAN, _LAPLACIAN_SQUARED, _LAB = range(6, 10)
_UNITS = np.array([1 / 255] * 6 + [1 / 255**2, 1, 1, 100 / 255, 1, 1])
"""What a channel is multiplied by: 8-bit to [0, 1], and Lab's L to [0, 100] (a and b are only shifted)."""
_PALE = 0.2
"""Pixels below this HSV saturation have no colour."""


class _Maps:
    """The image as channels whose means over a region give everything else."""

    def __init__(self, rgb: Rgb) -> None:
        hsv = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV), np.uint8)
        gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        laplacian = cv2.Laplacian(gray, cv2.CV_32F)
        self.edge = cv2.Canny(gray, 50, 150)
        self.colour = _colour_index(hsv)
        # 8-bit channels as OpenCV scales them; `_UNITS` undoes it where the sums are small
        self.channels = (
            self._is("black"),
            self._is("white"),
            _mask(hsv[..., 1] < _PALE * 255),
            hsv[..., 1],
            hsv[..., 2],
            self.edge,
            np.square(hsv[..., 2], dtype=np.uint16),
            laplacian,
            cv2.multiply(laplacian, laplacian),
            *cv2.split(cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)),
        )

    def means(self) -> Floats:
        """The channels' means (C,) over the whole image."""
        return np.asarray(np.array([cv2.mean(channel)[0] for channel in self.channels]) * _UNITS)

    def sums(self, rectangles: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
        """The channels' sums (N, S, C) over the rectangles (N, S, 4), and the pixels (N, S) in each."""
        x1, y1, x2, y2 = np.moveaxis(rectangles, -1, 0)
        sums = []
        for channel in self.channels:
            table = cv2.integral(channel, sdepth=cv2.CV_64F)
            sums.append(table[y2, x2] - table[y1, x2] - table[y2, x1] + table[y1, x1])
        return np.stack(sums, axis=-1) * _UNITS, ((x2 - x1) * (y2 - y1)).astype(np.float64)

    def counts(self, rectangles: npt.NDArray[np.int64]) -> tuple[Floats, Floats, Floats]:
        """`inside_colours`, `ring_colours` and `edge_span` of `PixelFacts`."""
        inside = np.zeros((len(rectangles), len(COLOURS)))
        outside = np.zeros_like(inside)
        span = np.full((len(rectangles), 2), np.nan)
        for row, (box, around) in enumerate(rectangles[:, [_BOX, _RING]].tolist()):
            inside[row] = self._colours(box)
            outside[row] = self._colours(around) - inside[row]
            x1, y1, x2, y2 = box
            edge = self.edge[y1:y2, x1:x2]
            for axis in (0, 1):
                found = np.flatnonzero(edge.any(axis=axis))
                if len(found):
                    span[row, axis] = (found[-1] - found[0] + 1) / edge.shape[1 - axis]
        sums = [part.sum(axis=1, keepdims=True) for part in (inside, outside)]
        return _ratio(inside, sums[0]), _ratio(outside, sums[1]), span

    def _is(self, name: str) -> npt.NDArray[np.uint8]:
        return _mask(self.colour == COLOURS.index(name))

    def _colours(self, rectangle: Sequence[int]) -> npt.NDArray[np.int64]:
        x1, y1, x2, y2 = rectangle
        return np.bincount(self.colour[y1:y2, x1:x2].ravel(), minlength=len(COLOURS))


def _shrunk(rgb: Rgb) -> tuple[Rgb, float]:
    """The image with at most a megapixel, and the factor that its sides were scaled by."""
    factor = min(1.0, (_MAX_PIXELS / (rgb.shape[0] * rgb.shape[1])) ** 0.5)
    if factor == 1:
        return rgb, 1.0
    size = max(1, round(rgb.shape[1] * factor)), max(1, round(rgb.shape[0] * factor))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8), factor


def _rectangles(boxes: npt.NDArray[np.floating], width: int, height: int) -> npt.NDArray[np.int64]:
    """Each box at each of `_SCALES`, (N, S, 4) xyxy whole pixels within the image, each within the next."""
    low, high = np.asarray(boxes, np.float64)[:, None, :2], np.asarray(boxes, np.float64)[:, None, 2:]
    limits = np.array([width, height])
    half = (high - low) / 2 * np.array(_SCALES)[:, None]
    starts = np.rint((low + high) / 2 - half).astype(np.int64)
    ends = np.rint((low + high) / 2 + half).astype(np.int64)
    starts[:, _BOX] = np.clip(starts[:, _BOX], 0, limits - 1)
    ends[:, _BOX] = np.maximum(ends[:, _BOX], starts[:, _BOX] + 1)
    starts[:, _RING] = np.minimum(starts[:, _RING], starts[:, _BOX] - 1)
    ends[:, _RING] = np.maximum(ends[:, _RING], ends[:, _BOX] + 1)
    starts = np.minimum.accumulate(np.clip(starts, 0, limits), axis=1)
    ends = np.maximum.accumulate(np.clip(ends, 0, limits), axis=1)
    return np.concatenate([starts, ends], axis=-1)


def _features(means: Floats) -> Floats:
    """The `FEATURES` (…, F) of channels' means (…, C)."""
    light = np.sqrt(np.maximum(means[..., _VALUE_SQUARED] - means[..., _VALUE] ** 2, 0))
    sharpness = np.maximum(means[..., _LAPLACIAN_SQUARED] - means[..., _LAPLACIAN] ** 2, 0)
    plain = (means[..., n] for n in (_BLACK, _WHITE, _COLOURLESS, _SATURATION, _VALUE))
    return np.stack([*plain, light, sharpness, means[..., _EDGES]], axis=-1)


def _mask(chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    return np.where(chosen, np.uint8(255), np.uint8(0))


def _colour_distance(a: Floats, b: Floats) -> Floats:
    return np.asarray(np.linalg.norm(a[..., _LAB:] - b[..., _LAB:], axis=-1))


def _ratio(sums: Floats, counts: Floats) -> Floats:
    shape = np.broadcast_shapes(sums.shape, counts.shape)
    return np.asarray(np.divide(sums, counts, out=np.full(shape, np.nan), where=counts > 0))


def _colour_index(hsv: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Each pixel's index into `COLOURS`, from OpenCV's 8-bit HSV (hue in steps of two degrees)."""
    hue, saturation, value = np.moveaxis(hsv, -1, 0)
    index = np.asarray(cv2.LUT(hue, _HUE_TABLE), np.uint8)
    index[(index == COLOURS.index("orange")) & (value < 0.6 * 255)] = COLOURS.index("brown")
    pale = saturation < _PALE * 255
    index[pale] = COLOURS.index("gray")
    index[pale & (value > 0.75 * 255)] = COLOURS.index("white")
    index[value < 0.25 * 255] = COLOURS.index("black")
    return index


def _hue_table() -> npt.NDArray[np.uint8]:
    table = np.full(256, COLOURS.index("red"), np.uint8)
    for start, end, name in _HUES:
        table[start // 2 : end // 2] = COLOURS.index(name)
    return table


_HUE_TABLE = _hue_table()
