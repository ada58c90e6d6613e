"""What a fixed detector makes of training sets that each method has cleaned of what it doubts.

`filter`: every method leaves out the same share of the same pool, as many images as are harmed, and its
training set has the same budget; random leaves out nothing, the oracle exactly the harmed. `relabel`: all
have the same images, and each has the same share of them mended, what it doubts most; random chooses at
random, the oracle the harmed. See `metricsmith bench curation`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Literal, TypedDict

from pydantic import BaseModel, ConfigDict

from .corruption import harmed_images
from .curation import Step, Strategy, compose
from .dataset import Dataset, Image
from .detectors import Detector
from .label_error_bench import Case
from .peers import Suspicion
from .progress import Progress, silent
from .trials import Trial, run_trial

__all__ = ["Kind", "Row", "Standing", "standings", "train_on", "training_set"]

Kind = Literal["filter", "relabel"]

BUDGET = 0.25
"""The size of every training set, as a share of the pool."""


class Row(BaseModel):
    """One method's training set and the detector that came of it, on test."""

    model_config = ConfigDict(frozen=True)

    dataset: str
    noise: float
    method: str
    trial: Trial


class Standing(BaseModel):
    """One method over all cases, paired with random case by case. Gains are of means, in percent."""

    model_config = ConfigDict(frozen=True)

    method: str
    cases: int
    map: float
    map_gain_pct: float | None
    map_share: float | None
    """The gain in mAP over random as a share of the oracle's."""
    ar100: float
    ar100_gain_pct: float | None
    ar100_share: float | None
    better: int
    """In how many cases mAP was above random's."""


def train_on(
    detector: Detector,
    case: Case,
    suspicion: Suspicion,
    test: Dataset,
    kind: Kind = "filter",
    progress: Progress = silent,
) -> Trial:
    """Return the trial on what the method makes of the pool, evaluated on `test`."""
    images = training_set(case, suspicion, kind)
    trial, _ = run_trial(detector, images, test.images, case.dirty.class_names, case.seed, progress)
    return trial


def training_set(case: Case, suspicion: Suspicion, kind: Kind = "filter") -> tuple[Image, ...]:
    """Return what the method makes of the pool, of the size of the budget."""
    pool, share = case.dirty, len(harmed_images(case.harms)) / len(case.dirty)
    common: _Common = {
        "budget": max(1, round(BUDGET * len(pool))),
        "seed": case.seed,
        "reference": case.clean,
    }
    if suspicion.method == "random":
        return compose(pool, (), mend=share if kind == "relabel" else 0.0, **common).images
    step = Step(suspicion.table(pool), Strategy(kind=kind, fraction=share))
    return compose(pool, [step], **common).images


class _Common(TypedDict):
    budget: int
    seed: int
    reference: Dataset


def standings(rows: Sequence[Row]) -> list[Standing]:
    """Return every method's standing over the cases that it, random and the oracle all have."""
    by_method: dict[str, dict[tuple[str, float, int], Trial]] = defaultdict(dict)
    for row in rows:
        by_method[row.method][row.dataset, row.noise, row.trial.seed] = row.trial
    random, oracle = by_method["random"], by_method["oracle"]
    found = []
    for method, trials in by_method.items():
        keys = [key for key in trials if key in random and key in oracle]
        if keys:
            triples = [(trials[key], random[key], oracle[key]) for key in keys]
            found.append(_standing(method, triples))
    return found


def _standing(method: str, triples: Sequence[tuple[Trial, Trial, Trial]]) -> Standing:
    """From a method's own trials, each with random's and the oracle's on the same case."""

    def compare(figure: Callable[[Trial], float]) -> tuple[float, float | None, float | None]:
        own, base, most = (fmean(map(figure, trials)) for trials in zip(*triples, strict=True))
        gained = 100 * (own / base - 1) if base > 0 else None
        return own, gained, (own - base) / (most - base) if most > base else None

    ap, ap_gain, ap_share = compare(lambda trial: trial.map)
    ar, ar_gain, ar_share = compare(lambda trial: trial.ar100)
    return Standing(
        method=method,
        cases=len(triples),
        map=ap,
        map_gain_pct=ap_gain,
        map_share=ap_share,
        ar100=ar,
        ar100_gain_pct=ar_gain,
        ar100_share=ar_share,
        better=sum(own.map > base.map for own, base, _ in triples),
    )
