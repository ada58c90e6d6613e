"""The end of a run in numbers, and `summary.json`, which holds the same for programs."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from metricsmith.evaluation.files import write_atomic
from metricsmith.evaluation.trials import gain

from .ideas import Idea
from .lab import Lab, numbers
from .outcome import Numbers, Outcome

__all__ = ["AverageGain", "RoundSummary", "Score", "Summary", "TestScores", "best_round", "conclude"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Score(_Frozen):
    """Mean over the seeds."""

    map: float
    ar100: float


class RoundSummary(_Frozen):
    """One round; the numbers are None where nothing was measured."""

    round: int
    metric: str
    strategy: str
    images: int | None
    map: float | None
    ar100: float | None
    map_gain_pct: float | None
    ar100_gain_pct: float | None
    repairs: int
    verdict: str


class AverageGain(_Frozen):
    """Mean over the rounds that were measured; None where none was."""

    map_pct: float | None
    ar100_pct: float | None


class Best(Score):
    """The best curation on test."""

    round: int
    metric: str
    strategy: str
    map_gain_pct: float | None
    ar100_gain_pct: float | None


class TestScores(_Frozen):
    """What the test split says, looked at once; `best` is None where nothing beat the control on val."""

    __test__ = False  # not a test class, whatever pytest makes of the name

    control: Score
    best: Best | None


class Summary(_Frozen):
    """A finished run."""

    run: str
    dataset: str
    budget: int
    """Images in a training set."""
    seeds: int
    control: Score
    rounds: tuple[RoundSummary, ...]
    average_gain: AverageGain
    test: TestScores


def best_round(outcomes: Sequence[Outcome]) -> Outcome | None:
    """Return the kept outcome with the largest gain in mAP on val; the guard: None if nothing was kept."""
    kept = [outcome for outcome in outcomes if outcome.verdict == "kept"]
    return max(kept, key=lambda outcome: outcome.map_gain_pct or 0.0, default=None)


def conclude(lab: Lab, ideas: Sequence[Idea], outcomes: Sequence[Outcome]) -> Summary:
    """Evaluate the control and the best curation on test, write `summary.json` and return it."""
    control = lab.control("test")
    best = None
    if winner := best_round(outcomes):
        idea = ideas[winner.round - 1]
        trials = lab.curated(winner.round, lab.tables[idea.name], idea.strategy, "test")
        gained = gain(trials, control)
        best = Best(
            round=winner.round,
            metric=winner.metric,
            strategy=winner.strategy,
            map_gain_pct=gained.map.relative,
            ar100_gain_pct=gained.ar100.relative,
            **_score(numbers(trials)).model_dump(),
        )
    summary = Summary(
        run=lab.folder.name,
        dataset=lab.splits.pool.name,
        budget=lab.budget,
        seeds=lab.settings.seeds,
        control=_score(numbers(lab.control())),
        rounds=tuple(_row(outcome) for outcome in outcomes),
        average_gain=AverageGain(
            map_pct=_mean([outcome.map_gain_pct for outcome in outcomes]),
            ar100_pct=_mean([outcome.ar100_gain_pct for outcome in outcomes]),
        ),
        test=TestScores(control=_score(numbers(control)), best=best),
    )
    write_atomic(lab.folder.summary, summary.model_dump_json(indent=2) + "\n")
    lab.journal.record("finished", test=summary.test.model_dump())
    return summary


def _score(means: Numbers) -> Score:
    return Score(map=round(means.map, 4), ar100=round(means.ar100, 4))


def _row(outcome: Outcome) -> RoundSummary:
    curated = outcome.curated
    return RoundSummary(
        images=curated.images if curated else None,
        map=round(curated.map, 4) if curated else None,
        ar100=round(curated.ar100, 4) if curated else None,
        **outcome.model_dump(
            include={"round", "metric", "strategy", "repairs", "verdict", "map_gain_pct", "ar100_gain_pct"}
        ),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    measured = [value for value in values if value is not None]
    return round(sum(measured) / len(measured), 2) if measured else None
