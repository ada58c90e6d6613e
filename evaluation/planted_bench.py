"""Do planted mistakes, which need no label to be right, tell which metric finds the mistakes that are there?

The labels hold known mistakes, and a sample of them gets planted ones on top. Prints nothing; see
`metricsmith bench planted`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pydantic import BaseModel, ConfigDict
from scipy.stats import spearmanr

from metricsmith.sandbox import Check, Failure, Limits, Scores, check, score
from metricsmith.sandbox.errors import DataError

from .label_error_bench import Case, figures
from .peers import Suspicion
from .planted import Mistake, noticed_by
from .progress import Progress, silent
from .samples import sample_ids, samples
from .scores import ScoreTable

__all__ = ["Pair", "agreement", "pairs"]


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
    """Yield the pairs of each metric. DataError: one of them cannot be used on this data."""
    dirty, ids = case.dirty, sample_ids(case.dirty, seed=case.seed)
    images, chosen = dirty.subset(ids), list(samples(dirty, case.predictions, ids))
    for name, source in sources.items():
        checked = check(source, chosen)
        found = (
            noticed_by(source, checked, images, chosen, seed=case.seed, limits=Limits(), progress=progress)
            if checked.accepted
            else checked.failure
        )
        scores = score({name: source}, samples(dirty, case.predictions), total=len(dirty), progress=progress)
        own = scores[name]
        if isinstance(own, Failure) or isinstance(found, Failure) or found is None:
            raise DataError(
                dirty.root, f"{name} fails on {dirty.name}: {own if isinstance(own, Failure) else found}"
            )
        known = _known(case, checked, name, own)
        for seen in found:
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
