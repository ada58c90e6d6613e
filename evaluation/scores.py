"""One metric's scores on a data set: what they rank as suspicious, how they are spread, and their file.

Scores come from the sandbox; what is done with them is `curation`'s business.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict
from scipy.stats import rankdata

from metricsmith.sandbox.errors import RunError
from metricsmith.sandbox.interface import Level, Suspicious

from .dataset import Dataset
from .files import write_atomic

__all__ = ["ScoreSummary", "ScoreTable", "combined", "read_scores", "spearman", "write_scores"]

Id = int | str
Floats = npt.NDArray[np.float64]


class ScoreSummary(BaseModel):
    """How the scores are spread. Quantiles are scores that occur, not values between two."""

    model_config = ConfigDict(frozen=True)

    rows: int
    """How many images or boxes have a score."""
    distinct: int
    """How many different scores there are."""
    quantiles: dict[int, float]
    """The scores at 0 (the least), 1, 5, 25, 50, 75, 95, 99 and 100 percent (the greatest); none: empty."""
    histogram: tuple[int, ...]
    """How many scores lie in each of ten equal parts of the range from the least to the greatest."""


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """One metric's scores on a data set, one row an image or a box."""

    metric: str
    """The metric's name."""
    level: Level
    suspicious: Suspicious
    image_ids: tuple[Id, ...]
    """The image of each row."""
    box_ids: tuple[Id, ...] | None
    """The box of each row; None at image level."""
    values: Floats
    """(R,) float64, finite, read-only."""
    scored_images: tuple[Id, ...]
    """Every image that was scored, in the data set's order: those without boxes too."""

    @classmethod
    def of(
        cls, metric: str, level: Level, suspicious: Suspicious, values: Floats, dataset: Dataset
    ) -> ScoreTable:
        """The table of scores that stand in the order of the data set's images (or of all their boxes).

        ValueError if there are more or fewer scores than images (or boxes).
        """
        scored = tuple(image.id for image in dataset.images)
        if level == "image":
            image_ids, box_ids = scored, None
        else:
            image_ids = tuple(image.id for image in dataset.images for _ in image.boxes)
            box_ids = tuple(box.id for image in dataset.images for box in image.boxes)
        values = np.array(values, np.float64)
        if values.shape != (len(image_ids),):
            raise ValueError(f"{metric}: scores of shape {values.shape} for {len(image_ids)} rows")
        values.flags.writeable = False
        return cls(metric, level, suspicious, image_ids, box_ids, values, scored)

    def suspicion(self) -> Floats:
        """How suspicious each row is by rank, (R,) in [0, 1]; equal scores get the mean of their ranks.

        `low`: 1 is the lowest score; `high`: 1 is the highest; `both`: 1 is either end, 0 the middle;
        `none`: 0 everywhere. A single row has 0: there is nothing to compare it with.
        """
        rows = len(self.values)
        if self.suspicious == "none" or rows < 2:
            return np.zeros(rows)
        place: Floats = (rankdata(self.values) - 1) / (rows - 1)
        match self.suspicious:
            case "low":
                return 1 - place
            case "high":
                return place
            case "both":
                return np.abs(2 * place - 1)

    def image_suspicion(self) -> dict[Id, float]:
        """How suspicious each scored image is: as its most suspicious box.

        An image without boxes has 0 at object level: a metric of boxes cannot see it. An image of many
        boxes has more chances at a high value than one of few.
        """
        worst = dict.fromkeys(self.scored_images, 0.0)
        for image_id, value in zip(self.image_ids, self.suspicion().tolist(), strict=True):
            worst[image_id] = max(worst[image_id], value)
        return worst

    def image_values(self) -> dict[Id, float]:
        """The score of each image; at object level the mean of its boxes' scores.

        Images without boxes are missing at object level: there is nothing to take a mean of.
        """
        values: dict[Id, list[float]] = {}
        for image_id, value in zip(self.image_ids, self.values.tolist(), strict=True):
            values.setdefault(image_id, []).append(value)
        return {image_id: sum(v / len(own) for v in own) for image_id, own in values.items()}

    def summary(self) -> ScoreSummary:
        """The spread of the scores."""
        if not len(self.values):
            return ScoreSummary(rows=0, distinct=0, quantiles={}, histogram=(0,) * 10)
        percents = (0, 1, 5, 25, 50, 75, 95, 99, 100)
        quantiles = np.percentile(self.values, percents, method="nearest").tolist()
        # halved, because the range of two finite numbers may not be finite
        low, high = quantiles[0], quantiles[-1]
        edges = np.clip(2 * np.linspace(low / 2, high / 2, 11), low, high)
        edges[0], edges[-1] = low, high
        histogram, _ = np.histogram(self.values, edges)
        return ScoreSummary(
            rows=len(self.values),
            distinct=len(np.unique(self.values)),
            quantiles=dict(zip(percents, quantiles, strict=True)),
            histogram=tuple(histogram.tolist()),
        )

    @cached_property
    def _by_row(self) -> dict[Any, float]:
        keys: Sequence[Any] = self.image_ids
        if self.box_ids is not None:
            keys = list(zip(self.image_ids, self.box_ids, strict=True))
        return dict(zip(keys, self.values.tolist(), strict=True))


def combined(name: str, tables: Sequence[ScoreTable]) -> ScoreTable:
    """The mean rank of several metrics as one: for each image the mean of its suspicion, `high` suspicious.

    A single table is returned as it is: its rows may be boxes. Ranks, not scores, are averaged, since the
    scores of two metrics have no common unit. KeyError: a table lacks an image of the first. ValueError:
    there is no table.
    """
    if not tables:
        raise ValueError(f"{name}: there is nothing to combine")
    if len(tables) == 1:
        return tables[0]
    images = tables[0].scored_images
    ranks = []
    for table in tables:
        suspicion = table.image_suspicion()
        ranks.append(rankdata([suspicion[item] for item in images]))
    values: Floats = (np.mean(ranks, axis=0) - 1) / max(len(images) - 1, 1)
    values.flags.writeable = False
    return ScoreTable(name, "image", "high", images, None, values, images)


def spearman(a: ScoreTable, b: ScoreTable) -> float:
    """Spearman's rank correlation of two metrics in [-1, 1], over what both have scored.

    Two metrics of one level are compared row by row; of two levels, by `image_values`. 0 where one of
    them is constant or fewer than three rows are common: nothing can be said.
    """
    same = a.level == b.level
    left, right = (table._by_row if same else table.image_values() for table in (a, b))
    common = [key for key in left if key in right]
    ranks = np.array([rankdata([side[key] for key in common]) for side in (left, right)])
    if len(common) < 3 or np.any(np.ptp(ranks, axis=1) == 0):
        return 0.0
    return float(np.corrcoef(ranks)[0, 1])


def write_scores(path: Path, dataset: Dataset, tables: Sequence[ScoreTable]) -> None:
    """Write the scores of a whole data set as one Parquet file, in one step.

    One row an image (`box_id` and `label` null), followed by one a box; the columns are `image_id`,
    `file_name`, `box_id`, `label` (the class's name) and one a metric, null where its level has no score.
    ValueError if a table is not of this data set or two have one name.
    """
    rows: list[tuple[Id, str, Id | None, str | None]] = []
    for image in dataset.images:
        rows.append((image.id, image.file_name, None, None))
        rows.extend(
            (image.id, image.file_name, box.id, dataset.class_names[box.label]) for box in image.boxes
        )
    is_box = np.array([row[2] is not None for row in rows], bool)
    image_column, image_kind = _encode_ids([row[0] for row in rows])
    box_column, box_kind = _encode_ids([row[2] for row in rows])
    columns = {
        "image_id": image_column,
        "file_name": pa.array([row[1] for row in rows], pa.string()),
        "box_id": box_column,
        "label": pa.array([row[3] for row in rows], pa.string()),
    }
    for table in tables:
        own = is_box if table.level == "object" else ~is_box
        keys = [(row[0], row[2]) for row, mine in zip(rows, own, strict=True) if mine]
        box_ids = table.box_ids or (None,) * len(table.image_ids)
        if keys != list(zip(table.image_ids, box_ids, strict=True)):
            raise ValueError(f"the scores of {table.metric} are not those of {dataset.name}")
        if table.metric in columns:
            raise ValueError(f"two columns would be named {table.metric}")
        column = np.full(len(rows), np.nan)
        column[own] = table.values
        columns[table.metric] = pa.array(column, pa.float64(), mask=~own)
    facts = {
        "ids": {"image_id": image_kind, "box_id": box_kind},
        "metrics": [{"name": t.metric, "level": t.level, "suspicious": t.suspicious} for t in tables],
    }
    sheet = pa.table(columns).replace_schema_metadata({_METADATA: json.dumps(facts)})
    buffer = pa.BufferOutputStream()
    pq.write_table(sheet, buffer)
    write_atomic(path, buffer.getvalue().to_pybytes())


def read_scores(path: Path) -> dict[str, ScoreTable]:
    """The tables that `write_scores` wrote, by metric, in their order.

    RunError if the file is missing or damaged.
    """
    try:
        sheet = pq.read_table(pa.BufferReader(path.read_bytes()))
        facts = json.loads(sheet.schema.metadata[_METADATA])
        image_ids = _decode_ids(sheet["image_id"], facts["ids"]["image_id"])
        box_ids = _decode_ids(sheet["box_id"], facts["ids"]["box_id"])
        return {f["name"]: _table(sheet[f["name"]], f, image_ids, box_ids) for f in facts["metrics"]}
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{path}: these scores cannot be read ({error}); remove the file and resume the run, "
            "and they are computed again"
        ) from error


_METADATA = b"metricsmith"


def _table(
    column: pa.ChunkedArray, fact: Mapping[str, Any], image_ids: Sequence[Any], box_ids: Sequence[Any]
) -> ScoreTable:
    is_object = fact["level"] == "object"
    own = [row for row, box_id in enumerate(box_ids) if (box_id is not None) == is_object]
    values = np.array(column.take(pa.array(own, pa.int64())).to_pylist(), np.float64)
    values.flags.writeable = False
    return ScoreTable(
        metric=fact["name"],
        level=fact["level"],
        suspicious=fact["suspicious"],
        image_ids=tuple(image_ids[row] for row in own),
        box_ids=tuple(box_ids[row] for row in own) if is_object else None,
        values=values,
        scored_images=tuple(i for i, box_id in zip(image_ids, box_ids, strict=True) if box_id is None),
    )


def _encode_ids(ids: Sequence[Id | None]) -> tuple[pa.Array, str]:
    """The ids as a column of the one type they all have, else of their JSON; and which of these it is."""
    present = [item for item in ids if item is not None]
    if all(isinstance(item, int) and -(2**63) <= item < 2**63 for item in present):
        return pa.array(ids, pa.int64()), "int"
    if all(isinstance(item, str) for item in present):
        return pa.array(ids, pa.string()), "str"
    return pa.array([None if item is None else json.dumps(item) for item in ids], pa.string()), "json"


def _decode_ids(column: pa.ChunkedArray, kind: str) -> list[Any]:
    ids: list[Any] = column.to_pylist()
    return [None if i is None else json.loads(i) for i in ids] if kind == "json" else ids
