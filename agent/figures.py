"""Plots and pictures that stand inside the report: SVG text and data URIs, no files beside it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from metricsmith.evaluation.boxes import clipped_xyxy
from metricsmith.evaluation.dataset import Dataset, Image
from metricsmith.evaluation.pixels import load_rgb
from metricsmith.evaluation.scores import ScoreTable
from metricsmith.sandbox.errors import DataError

__all__ = ["Picture", "gain_plot", "histogram", "most_suspicious"]

_SIDE = 240
"""The long side of a picture, in pixels."""
_ACCENT, _SECOND, _AXIS = "#0b6e4f", "#c46a1b", "#8a8f98"


@dataclass(frozen=True, slots=True)
class Picture:
    """One suspicious sample, ready for an `img` element."""

    uri: str
    file_name: str
    score: float


def gain_plot(rounds: Sequence[tuple[int, float, float]]) -> str:
    """Return an SVG of gains in per cent by round, from (round, mAP gain, AR@100 gain)."""
    width, height, left, top = 90 + 90 * max(len(rounds), 1), 260, 56, 16
    values = [value for _, *gains in rounds for value in gains]
    low, high = min([0.0, *values]), max([1.0, *values])
    scale = (height - 2 * top - 20) / (high - low)

    def y(value: float) -> float:
        return top + (high - value) * scale

    parts = [f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" aria-label="Gain per round">']
    for tick in _ticks(low, high):
        parts.append(
            f'<line x1="{left}" x2="{width}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="{_AXIS}" '
            f'stroke-width="{1.2 if tick == 0 else 0.3}"/>'
            f'<text x="{left - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{_percent(tick)}</text>'
        )
    for place, (number, *gains) in enumerate(rounds):
        x = left + 18 + 90 * place
        for shift, colour, value in zip((0, 28), (_ACCENT, _SECOND), gains, strict=True):
            parts.append(
                f'<rect x="{x + shift}" y="{y(max(value, 0)):.1f}" width="24" '
                f'height="{abs(value) * scale:.1f}" fill="{colour}"><title>{value:+.1f} %</title></rect>'
            )
        parts.append(f'<text x="{x + 26}" y="{height - 6}" text-anchor="middle">round {number}</text>')
    return "".join([*parts, "</svg>"])


def _percent(tick: float) -> str:
    return f"{tick:+.0f} %" if tick else "0"


def _ticks(low: float, high: float) -> list[float]:
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1e9) if (high - low) / step <= 8)
    return [tick * step for tick in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)]


def histogram(values: npt.NDArray[np.float64], bins: int = 40) -> str:
    """Return an SVG histogram of scores, the range written under it."""
    width, height = 400, 110
    if not len(values):
        return ""
    counts, edges = np.histogram(values, bins=bins)
    tallest = max(int(counts.max()), 1)
    bars = "".join(
        f'<rect x="{place * width / bins:.1f}" y="{height - 20 - 85 * count / tallest:.1f}" '
        f'width="{width / bins - 1:.1f}" height="{85 * count / tallest:.1f}" fill="{_ACCENT}">'
        f"<title>{edges[place]:.4g} to {edges[place + 1]:.4g}: {count}</title></rect>"
        for place, count in enumerate(counts.tolist())
    )
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" aria-label="Scores">{bars}'
        f'<text x="0" y="{height - 4}">{edges[0]:.4g}</text>'
        f'<text x="{width}" y="{height - 4}" text-anchor="end">{edges[-1]:.4g}</text></svg>'
    )


def most_suspicious(pool: Dataset, table: ScoreTable, count: int = 8) -> list[Picture]:
    """Return the most suspicious samples as pictures with their boxes, the doubted box in colour.

    Where no end of the scores is suspicious, these are the highest scores.
    An image that cannot be read any more is left out: the report must not fail because of it.
    """
    images = {image.id: image for image in pool.images}
    pictures: list[Picture] = []
    seen: set[int | str] = set()
    worst = table.values if table.suspicious == "none" else table.suspicion()
    for row in np.argsort(-worst, kind="stable"):
        image = images[table.image_ids[row]]
        if image.id in seen:
            continue
        seen.add(image.id)
        box = table.box_ids[row] if table.box_ids is not None else None
        try:
            uri = _thumbnail(image, box)
        except DataError:
            continue
        pictures.append(Picture(uri, image.file_name, float(table.values[row])))
        if len(pictures) == count:
            break
    return pictures


def _thumbnail(image: Image, doubted: int | str | None) -> str:
    pixels = load_rgb(image.path)
    scale = _SIDE / max(pixels.shape[:2])
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    for box, corners in zip(image.boxes, clipped_xyxy(image) * scale, strict=True):
        x1, y1, x2, y2 = (round(float(corner)) for corner in corners)
        colour = (255, 70, 40) if doubted in (None, box.id) else (255, 255, 255)
        cv2.rectangle(small, (x1, y1), (x2, y2), colour, 2)
    done, data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 80])
    if not done:
        raise DataError(image.path, "cannot be drawn")
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
