"""A curation against all that it must beat, on val: few seeds first, more for what is still in the race."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from metricsmith.evaluation.curation import Step
from metricsmith.evaluation.trials import Gain, Trial, gain, is_hopeless, judge

from .lab import Lab

__all__ = ["Champion", "Contest", "Rival", "contest", "mended"]

Rival = Literal["control", "random_relabel", "best"]


@dataclass(frozen=True)
class Champion:
    """The best curation so far."""

    round: int
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Contest:
    """How it ended."""

    curated: list[Trial]
    rivals: dict[Rival, list[Trial]]
    gains: dict[Rival, Gain]
    verdict: Literal["kept", "beaten", "dropped", "inconclusive"]


def contest(lab: Lab, number: int, steps: Sequence[Step], best: Champion | None) -> Contest:
    """Run it: a curation that `is_hopeless` after the first seeds gets no more of them.

    The control, and the control with as many images relabelled at random, are what `judge` asks for. The best
    curation so far must be beaten in the mean only: the two share most of their images, so that few trials
    could tell them apart by more.
    """
    for seeds in lab.heats:
        curated = lab.curated(number, steps, "val", seeds)
        rivals: dict[Rival, list[Trial]] = {"control": lab.control("val", seeds)}
        if fraction := mended(steps):
            rivals["random_relabel"] = lab.random_relabel(fraction, "val", seeds)
        gains = {name: gain(curated, trials) for name, trials in rivals.items()}
        if is_hopeless(*gains.values()):
            break
    verdict = judge(*gains.values())
    if best is not None:
        rivals["best"] = lab.curated(best.round, best.steps, "val", seeds)
        gains["best"] = gain(curated, rivals["best"])
        if verdict == "kept" and gains["best"].map.mean <= 0:
            return Contest(curated, rivals, gains, "beaten")
    return Contest(curated, rivals, gains, verdict)


def mended(steps: Sequence[Step]) -> float:
    """Return the share of a training set that the annotator mends; 0 where nothing is relabelled."""
    return max((step.strategy.fraction for step in steps if step.strategy.kind == "relabel"), default=0.0)
