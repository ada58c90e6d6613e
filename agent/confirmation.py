"""The confirmation: before test, the best curations are tried once more on val, with seeds new to them.

Rounds compare many curations with few seeds, so that the best of them is partly the luckiest. Fresh seeds
know nothing of that luck: over all seeds together the best is chosen again, and must still beat the random
samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from pydantic import BaseModel, ConfigDict

from metricsmith.evaluation.trials import Trial, Verdict, gain, judge

from .contest import Champion, mended
from .lab import Lab, numbers
from .outcome import Versus

__all__ = ["Finalist", "confirm"]


class Finalist(BaseModel):
    """One of the best curations on val, over the seeds of the rounds and those of the confirmation."""

    model_config = ConfigDict(frozen=True)

    round: int
    map_before: float
    """mAP, the mean over the seeds of the rounds, for which it was chosen."""
    map_fresh: float
    """The mean over the fresh seeds."""
    map: float
    """The mean over all seeds."""
    control: Versus
    """Over the control, with all seeds."""
    random_relabel: Versus | None
    """Over the control with as many images relabelled at random; None where it relabels none."""
    verdict: Verdict
    """With all seeds, against the random samples, by the rule of the rounds (`trials.judge`)."""


def confirm(lab: Lab, best: Champion, entrants: Sequence[Champion]) -> tuple[Champion | None, list[Finalist]]:
    """Return what the run recommends, and how each finalist did, the best first.

    `best`: the best curation of the rounds; `entrants`: it and others (see `contest.may_enter`). It and the
    best of the others by mAP, `finalists` in all, are tried with fresh seeds; of those that are `kept` over
    all seeds the one with the highest mean of mAP is recommended, or nothing where none is.
    """
    found = [(_finalist(lab, entrant), entrant) for entrant in _chosen(lab, best, entrants)]
    found.sort(key=lambda item: -item[0].map)
    finalists = [finalist for finalist, _ in found]
    champion = next((entrant for finalist, entrant in found if finalist.verdict == "kept"), None)
    lab.journal.record(
        "confirmed",
        round=champion.round if champion else None,
        finalists=[finalist.model_dump() for finalist in finalists],
    )
    return champion, finalists


def _chosen(lab: Lab, best: Champion, entrants: Sequence[Champion]) -> list[Champion]:
    """The best and the others with the highest means of mAP over the seeds of the rounds, by these means."""
    means = {
        entrant.round: _map(lab.curated(entrant.round, entrant.steps, "val", lab.seeds))
        for entrant in entrants
    }

    def by_mean(some: Sequence[Champion]) -> list[Champion]:
        return sorted(some, key=lambda entrant: -means[entrant.round])

    others = by_mean([entrant for entrant in entrants if entrant.round != best.round])
    return by_mean([best, *others[: lab.settings.finalists - 1]])


def _finalist(lab: Lab, entrant: Champion) -> Finalist:
    seeds, before = lab.settings.all_seeds, lab.settings.seeds
    own = lab.curated(entrant.round, entrant.steps, "val", seeds)
    control = lab.control("val", seeds)
    gained = [gain(own, control)]
    relabelled = None
    if fraction := mended(entrant.steps):
        rival = lab.random_relabel(fraction, "val", seeds)
        gained.append(gain(own, rival))
        relabelled = Versus.of(gained[-1], numbers(rival))
    return Finalist(
        round=entrant.round,
        map_before=_map(own[:before]),
        map_fresh=_map(own[before:]),
        map=_map(own),
        control=Versus.of(gained[0], numbers(control)),
        random_relabel=relabelled,
        verdict=judge(*gained),
    )


def _map(trials: Sequence[Trial]) -> float:
    return fmean(trial.map for trial in trials)
