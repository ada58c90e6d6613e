"""A curation against all that it must beat, on val: few seeds first, more for what is still in the race."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from metricsmith.evaluation.curation import DRAWS, Step
from metricsmith.evaluation.scores import ScoreTable
from metricsmith.evaluation.trials import Gain, Trial, gain, is_hopeless, judge

from .ideas import Idea
from .lab import Lab

__all__ = ["BEAT_RANDOM", "Champion", "Contest", "Rival", "contest", "may_enter", "mended", "steps_of"]

Rival = Literal["control", "random_relabel", "best", "best_random_relabel"]
Verdict = Literal["kept", "beaten", "dropped", "inconclusive"]
BEAT_RANDOM: frozenset[Verdict] = frozenset({"kept", "beaten"})
"""The verdicts of curations that beat the random samples."""


@dataclass(frozen=True)
class Champion:
    """The best curation so far, or one that beat the random samples as it did."""

    round: int
    steps: tuple[Step, ...]


def steps_of(idea: Idea, table: ScoreTable, best: Champion | None) -> tuple[Step, ...]:
    """Return the curation that an idea makes of its scores: alone, or on top of the best so far.

    A training set is drawn once: a new draw takes the place of the best's.
    """
    below = best.steps if best and idea.on_best else ()
    if idea.strategy.kind in DRAWS:
        below = tuple(step for step in below if step.strategy.kind not in DRAWS)
    return (*below, Step(table, idea.strategy))


@dataclass(frozen=True)
class Contest:
    """How it ended."""

    curated: list[Trial]
    rivals: dict[Rival, list[Trial]]
    gains: dict[Rival, Gain]
    verdict: Verdict


def contest(lab: Lab, number: int, steps: Sequence[Step], best: Champion | None) -> Contest:
    """Run it: a curation that `is_hopeless` after the first seeds gets no more of them.

    The control, and the control with as many images relabelled at random, are what `judge` asks for. The best
    curation so far must be beaten in the mean and in more than half of the seeds: the two share most of their
    images, so that few trials could tell them apart by more. Where it has fewer images relabelled, it must be
    beaten, too, with as many, the rest of them chosen at random: else any labels bought on top of it would
    pass for a good metric. That one is trained only where the verdict hangs on it.
    """
    fraction = mended(steps)
    for seeds in lab.heats:
        curated = lab.curated(number, steps, "val", seeds)
        rivals: dict[Rival, list[Trial]] = {"control": lab.control("val", seeds)}
        if fraction:
            rivals["random_relabel"] = lab.random_relabel(fraction, "val", seeds)
        gains = {name: gain(curated, trials) for name, trials in rivals.items()}
        if is_hopeless(*gains.values()):
            break
    verdict: Verdict = judge(*gains.values())
    if best is not None:
        rivals["best"] = lab.curated(best.round, best.steps, "val", seeds)
        gains["best"] = gain(curated, rivals["best"])
        if verdict == "kept" and not _is_better(gains["best"]):
            verdict = "beaten"
        if verdict == "kept" and mended(best.steps) < fraction:
            rival = lab.random_relabel(fraction, "val", seeds, best.round, best.steps)
            rivals["best_random_relabel"], gains["best_random_relabel"] = rival, gain(curated, rival)
            if not _is_better(gains["best_random_relabel"]):
                verdict = "beaten"
    return Contest(curated, rivals, gains, verdict)


def may_enter(verdict: str, steps: Sequence[Step], best: Champion | None) -> bool:
    """Whether fresh seeds may say that a curation is better than the best of its time, `best`.

    It beat the random samples; and where it did not beat the best, it has no more images mended: else labels
    that were bought on top of the best would pass for a good metric.
    """
    if verdict == "beaten" and best is not None:
        return mended(steps) <= mended(best.steps)
    return verdict == "kept"


def _is_better(gained: Gain) -> bool:
    """Whether mAP is better in the mean and in more than half of the seeds."""
    better = sum(difference > 0 for difference in gained.map.per_seed)
    return gained.map.mean > 0 and 2 * better > len(gained.seeds)


def mended(steps: Sequence[Step]) -> float:
    """Return the share of a training set that the annotator mends; 0 where nothing is relabelled."""
    return max((step.strategy.fraction for step in steps if step.strategy.kind == "relabel"), default=0.0)
