"""Do planted mistakes, which need no label to be right, tell which metric finds the mistakes that are there?

The labels hold known mistakes, and a sample of them gets planted ones on top. Prints nothing; see
`metricsmith bench planted`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from pydantic import BaseModel, ConfigDict
from scipy.stats import spearmanr

from metricsmith.sandbox import Check, Failure, Limits, Scores, check, score
from metricsmith.sandbox.errors import DataError

from .label_error_bench import Case, figures
from .peers import Suspicion
from .planted import Field, Mistake
from .progress import Progress, silent
from .samples import samples
from .scores import ScoreTable

__all__ = ["Pair", "agreement", "pairs"]

Found = TypeVar("Found")


class Pair(BaseModel):
    """How well one metric ranks one kind of mistake above what is right, twice measured."""

    model_config = ConfigDict(frozen=True)

    metric: str
    kind: Mistake
    planted: float
    """AUROC of mistakes planted in 64 images whose labels may be wrong already."""
    known: float
    """AUROC of the mistakes that the ledger knows, over the whole data set."""


def pairs(case: Case, sources: Mapping[str, str], progress: Progress = silent) -> Iterator[Pair]:
    """Yield the pairs of each metric, none of a metric that finds nothing to tell apart in this data.

    DataError: a metric fails on it otherwise.
    """
    dirty, field = case.dirty, Field.of(case.dirty, case.predictions, case.seed)
    for name, source in sources.items():
        checked = check(source, field.samples)
        if checked.failure is not None and checked.failure.kind == "constant":
            continue

        def usable(found: Found | Failure, name: str = name) -> Found:
            if isinstance(found, Failure):
                raise DataError(dirty.root, f"{name} fails on {dirty.name}: {found}")
            return found

        usable(checked.failure)
        found = usable(field.noticed_by(source, checked.name, Limits(), progress))
        everything = samples(dirty, case.predictions)
        scores = usable(score({name: source}, everything, total=len(dirty), progress=progress)[name])
        known = _known(case, checked, name, scores)
        for seen in found.noticed:
            if seen.kind in known:
                yield Pair(metric=name, kind=seen.kind, planted=seen.after, known=known[seen.kind])


def agreement(found: Sequence[Pair]) -> float:
    """Return Spearman's correlation of the two measurements."""
    return float(spearmanr([pair.planted for pair in found], [pair.known for pair in found]).statistic)


def _known(case: Case, checked: Check, name: str, scores: Scores) -> dict[str, float]:
    """AUROC by kind: of boxes, but of images where the metric scores images or the box is gone."""
    table = ScoreTable.of(name, scores.level, scores.suspicious, scores.values, case.dirty)
    level = "box" if checked.level == "object" else "image"
    return {
        own.kind: own.auroc
        for own in figures(case, Suspicion.of_table(name, table))
        if own.level == ("image" if own.kind == "drop" else level)
    }
