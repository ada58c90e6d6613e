"""Trials, and what a curation gains over an equal-size random sample.

Which trials to run, and how many, is not decided here; nor is what a training set consists of: see
`curation` and `draws`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy import stats

from metricsmith.sandbox import Predictions

from .chance import p_value_above_zero
from .coco_eval import evaluate
from .corrections import Correction
from .dataset import Image
from .detectors import Detector
from .progress import Progress, silent

__all__ = ["CHANCE", "Difference", "Gain", "Trial", "Verdict", "gain", "is_hopeless", "judge", "run_trial"]

Verdict = Literal["kept", "dropped", "inconclusive"]
CHANCE = 0.1
"""The largest `Difference.p_value` of a gain that counts. Many ideas are tried, so some that are kept will be
lucky: what they are worth, test says."""
HOPE = 0.2
"""A curation is given up early if a loss as clear as its own is as rare as this by chance."""


class Trial(BaseModel):
    """One detector training and its evaluation. The statistics are those of `CocoStats`: −1 for none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int
    images: int
    """How many the detector trained on."""
    boxes: int
    """How many they have."""
    mended: int = 0
    """How many of the images an annotator labelled anew."""
    changed: int = 0
    """How many of these came back with other boxes."""
    corrected: dict[Correction, int] = {}
    """In how many of them a mistake of each kind was corrected, those that occurred."""
    map: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    ar1: float
    ar10: float
    ar100: float
    ar_small: float
    ar_medium: float
    ar_large: float
    by_class: dict[str, float] = {}
    """`map` of each class that has a box to find."""
    seconds: float
    """Wall-clock time of training, prediction and evaluation, without the features; what was trained or
    predicted before is not computed again."""


class Difference(BaseModel):
    """Curated minus control in one statistic, paired by seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    per_seed: tuple[float, ...]
    """One difference a seed, in the seeds' order."""
    mean: float
    """The mean of `per_seed`."""
    relative: float | None
    """`mean` in percent of the control's mean; None where that is not above zero."""
    interval: tuple[float, float] | None
    """The 95 % paired t interval of the mean; None for a single seed."""
    relative_interval: tuple[float, float] | None
    """`interval` in percent of the control's mean; None where there is none or that is not above zero."""
    p_value: float | None
    """How likely a mean as large as this one is by chance alone: the one-sided paired t-test; None for a
    single seed."""


class Gain(BaseModel):
    """What a curation changes against the control, seed by seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seeds: tuple[int, ...]
    map: Difference
    ap50: Difference
    ar100: Difference
    ap75: Difference | None = None
    ap_small: Difference | None = None
    """Of this and the next two: None where the data holds no box of the size."""
    ap_medium: Difference | None = None
    ap_large: Difference | None = None
    by_class: dict[str, Difference] = {}
    """`map` of each class that both have in every trial."""


def run_trial(
    detector: Detector,
    train_images: Sequence[Image],
    eval_images: Sequence[Image],
    class_names: Sequence[str],
    seed: int,
    progress: Progress = silent,
) -> tuple[Trial, list[Predictions]]:
    """Return the trial and its predictions, one entry for each of `eval_images`."""
    detector.prepare([*train_images, *eval_images], progress)
    start = time.perf_counter()
    trained = detector.train(train_images, class_names, seed=seed, progress=progress)
    predictions = trained.predict(eval_images, progress)
    statistics = evaluate(eval_images, predictions, class_names)
    trial = Trial(
        seed=seed,
        images=len(train_images),
        boxes=sum(len(image.boxes) for image in train_images),
        seconds=time.perf_counter() - start,
        **asdict(statistics),
    )
    return trial, predictions


def gain(curated: Sequence[Trial], control: Sequence[Trial]) -> Gain:
    """Return curated minus control, in the order of the control's seeds.

    ValueError: the two do not have the same seeds, each once.
    """
    seeds = tuple(trial.seed for trial in control)
    partner = {trial.seed: trial for trial in curated}
    if not seeds or len(curated) != len(seeds) or set(partner) != set(seeds):
        raise ValueError(f"curated has seeds {sorted(t.seed for t in curated)}, control {sorted(seeds)}")
    pairs = [(partner[trial.seed], trial) for trial in control]

    def difference(figure: Callable[[Trial], float]) -> Difference:
        return _difference([(figure(a), figure(b)) for a, b in pairs])

    def of_size(figure: Callable[[Trial], float]) -> Difference | None:
        return difference(figure) if all(figure(trial) >= 0 for pair in pairs for trial in pair) else None

    return Gain(
        seeds=seeds,
        map=difference(lambda trial: trial.map),
        ap50=difference(lambda trial: trial.ap50),
        ar100=difference(lambda trial: trial.ar100),
        ap75=difference(lambda trial: trial.ap75),
        ap_small=of_size(lambda trial: trial.ap_small),
        ap_medium=of_size(lambda trial: trial.ap_medium),
        ap_large=of_size(lambda trial: trial.ap_large),
        by_class={
            name: difference(lambda trial, name=name: trial.by_class[name])  # type: ignore[misc]
            for name in control[0].by_class
            if all(name in trial.by_class for trial in (*curated, *control))
        },
    )


def is_hopeless(*gains: Gain) -> bool:
    """Whether more trials would be wasted: one of these gains is rather a loss.

    A loss this clear comes of chance alone in one of five cases; of a single seed, any loss counts.
    """
    return any(
        gain.map.mean <= 0 if gain.map.p_value is None else gain.map.p_value >= 1 - HOPE for gain in gains
    )


def judge(*gains: Gain) -> Verdict:
    """Return what becomes of a curation that has these gains over all that it must beat.

    `kept`: in every gain mAP and AR@100 are better in the mean, and mAP is so by more than chance does in one
    of ten cases (see `CHANCE`; of a single seed nothing more can be asked than that it is better). `dropped`:
    mAP is not better in the mean of one gain. `inconclusive`: anything between the two.
    """
    if any(gain.map.mean <= 0 for gain in gains):
        return "dropped"
    if all(gain.ar100.mean > 0 and (gain.map.p_value or 0.0) <= CHANCE for gain in gains):
        return "kept"
    return "inconclusive"


def _difference(pairs: Sequence[tuple[float, float]]) -> Difference:
    differences = [curated - control for curated, control in pairs]
    mean, base = fmean(differences), fmean(control for _, control in pairs)
    interval = p_value = None
    if len(pairs) > 1:
        p_value = p_value_above_zero(np.array(differences))
        reach = float(stats.t.ppf(0.975, len(pairs) - 1) * np.std(differences, ddof=1) / np.sqrt(len(pairs)))
        interval = mean - reach, mean + reach
    return Difference(
        per_seed=tuple(differences),
        mean=mean,
        relative=100 * mean / base if base > 0 else None,
        interval=interval,
        relative_interval=(100 * interval[0] / base, 100 * interval[1] / base)
        if interval and base > 0
        else None,
        p_value=p_value,
    )
