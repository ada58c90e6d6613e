"""A contact sheet: numbered tiles of the pool with boxes drawn, for language models that take pictures.

It shows random images, those that the detector contradicts most, and those that the latest metric finds most
suspicious. One size for all: small enough that no service shrinks it, large enough to see a loose box.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from metricsmith.evaluation.boxes import clipped_xyxy, iou
from metricsmith.evaluation.dataset import Dataset, Image
from metricsmith.evaluation.draws import permutation
from metricsmith.evaluation.pixels import load_rgb
from metricsmith.evaluation.scores import ScoreTable
from metricsmith.sandbox import Predictions
from metricsmith.sandbox.errors import DataError

__all__ = ["ContactSheet", "Tile", "contact_sheet", "contradiction", "tiles"]

Id = int | str
COLUMNS, ROW = 4, 4
"""Tiles in a row of the sheet, and of each kind."""
TILE = (320, 240)
"""Width and height of a tile in pixels; four make 1280."""
SURE = 0.3
"""Predictions of a lower confidence are neither drawn nor counted."""
SPARE = 2
"""How many predictions are drawn beyond the number of annotated boxes: more would hide the image."""
_YELLOW, _CYAN, _WHITE = (255, 220, 0), (0, 220, 255), (255, 255, 255)


@dataclass(frozen=True, slots=True)
class Tile:
    """One image of the sheet."""

    image: Image
    why: str
    predictions: Predictions | None = None
    """Drawn too, where they are why the image is shown."""


@dataclass(frozen=True, slots=True)
class ContactSheet:
    """The picture and what its numbers stand for."""

    jpeg: bytes
    legend: str


def contact_sheet(chosen: list[Tile]) -> ContactSheet:
    """Draw the tiles in rows of four, numbered from 1; those whose file cannot be read are left out."""
    drawn = [(tile, pixels) for tile in chosen if (pixels := _drawn(tile)) is not None]
    width, height = TILE
    rows = max(-(-len(drawn) // COLUMNS), 1)
    sheet = np.full((rows * height, COLUMNS * width, 3), 32, np.uint8)
    lines = []
    for number, (tile, pixels) in enumerate(drawn, start=1):
        top, left = (number - 1) // COLUMNS * height, (number - 1) % COLUMNS * width
        cell = sheet[top : top + height, left : left + width]
        cell[: len(pixels), : pixels.shape[1]] = pixels
        cv2.rectangle(cell, (0, 0), (14 + 12 * len(str(number)), 24), (0, 0, 0), -1)
        cv2.putText(cell, str(number), (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.6, _WHITE, 1, cv2.LINE_AA)
        lines.append(f"- {number}: {tile.image.file_name}, {len(tile.image.boxes)} annotated; {tile.why}")
    done, data = cv2.imencode(".jpg", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])
    assert done, "a JPEG of eight bits and three channels can always be written"
    return ContactSheet(data.tobytes(), "\n".join(lines))


def tiles(
    pool: Dataset, predictions: Mapping[Id, Predictions], latest: ScoreTable | None, seed: int
) -> list[Tile]:
    """Choose up to four images of each kind, no image twice."""
    images = {image.id: image for image in pool.images}
    chosen: dict[Id, Tile] = {}

    def take(ids: Iterator[Id], why: str, *, predicted: bool = False) -> None:
        room = ROW
        for item in ids:
            if room and item not in chosen:
                chosen[item] = Tile(images[item], why, predictions.get(item) if predicted else None)
                room -= 1

    order = permutation(list(images), seed)
    take(iter(order), "random")
    doubt = {item: contradiction(images[item], predictions.get(item, Predictions())) for item in order}
    worst = sorted((item for item in order if doubt[item] > 0), key=lambda item: -doubt[item])
    take(iter(worst), "contradicted by the detector", predicted=True)
    if latest is not None and latest.suspicious != "none":
        suspicion = latest.image_suspicion()
        ranked = sorted(order, key=lambda item: -suspicion.get(item, 0.0))
        take(iter(ranked), f"most suspicious by {latest.metric}")
    return list(chosen.values())


def contradiction(image: Image, predictions: Predictions) -> float:
    """How strongly sure predictions disagree with the annotation, 0 to 1.

    The larger of two: 1 − the IoU of the worst-confirmed box with its best prediction (nothing predicted: 1),
    and the confidence of the surest prediction that overlaps no box by an IoU of 0.3.
    """
    sure = predictions.scores >= SURE
    overlap = iou(clipped_xyxy(image), predictions.boxes[sure])
    badly = 1 - overlap.max(axis=1).min() if overlap.size else float(bool(image.boxes))
    free = (overlap < 0.3).all(axis=0)
    return float(max(badly, predictions.scores[sure][free].max(initial=0.0)))


def _drawn(tile: Tile) -> npt.NDArray[np.uint8] | None:
    """The image with its boxes, no larger than a tile; None where it cannot be read."""
    try:
        pixels = load_rgb(tile.image.path)
    except DataError:
        return None
    width, height = TILE
    scale = min(width / pixels.shape[1], height / pixels.shape[0])
    size = (
        min(max(1, round(pixels.shape[1] * scale)), width),
        min(max(1, round(pixels.shape[0] * scale)), height),
    )
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(pixels, size, interpolation=how).astype(np.uint8, copy=False)
    if tile.predictions is not None:
        sure = tile.predictions.boxes[tile.predictions.scores >= SURE]
        _boxes(small, sure[: len(tile.image.boxes) + SPARE] * np.float32(scale), _CYAN)
    _boxes(small, clipped_xyxy(tile.image) * np.float32(scale), _YELLOW)
    return small


def _boxes(
    pixels: npt.NDArray[np.uint8], boxes: npt.NDArray[np.float32], colour: tuple[int, int, int]
) -> None:
    for x1, y1, x2, y2 in np.rint(boxes).astype(int).tolist():
        cv2.rectangle(pixels, (x1, y1), (x2, y2), colour, 2)
