"""Metric files as methods: the classics of data quality, written by hand, and whatever file a user gives.

They run in the sandbox, as generated ones do, and are never imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from metricsmith.sandbox import Failure, Predictions, score
from metricsmith.sandbox.errors import DataError

from ..dataset import Dataset
from ..progress import Progress, silent
from ..samples import samples
from ..scores import ScoreTable
from .suspicion import Suspicion

__all__ = ["classic_metrics", "score_files"]


def classic_metrics() -> dict[str, str]:
    """Return the source of each hand-written metric by its name."""
    folder = files(__package__).joinpath("classic")
    found = (entry for entry in folder.iterdir() if entry.name.endswith(".py"))
    return {entry.name.removesuffix(".py").replace("_", " "): entry.read_text("utf-8") for entry in found}


def score_files(
    sources: Mapping[str, str],
    dataset: Dataset,
    predictions: Mapping[int | str, Predictions],
    progress: Progress = silent,
) -> list[Suspicion]:
    """Return what the metrics of these sources find suspicious, by the names they are given.

    DataError: a metric fails on the data set.
    """
    scored = score(sources, samples(dataset, predictions), total=len(dataset), progress=progress)
    found = []
    for name, scores in scored.items():
        if isinstance(scores, Failure):
            raise DataError(Path(name), f"this metric fails on {dataset.name}: {scores}")
        table = ScoreTable.of(name, scores.level, scores.suspicious, scores.values, dataset)
        found.append(Suspicion.of_table(name, table))
    return found
