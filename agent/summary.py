"""The end of a run in numbers, and `summary.json`, which holds the same for programs."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, ValidationError

from metricsmith.evaluation.files import write_atomic
from metricsmith.evaluation.trials import gain
from metricsmith.sandbox.errors import RunError

from .confirmation import Finalist
from .contest import Champion, mended
from .lab import Lab, numbers
from .outcome import Numbers, Outcome
from .run_folder import RunFolder

__all__ = ["AverageGain", "RoundSummary", "Score", "Summary", "TestScores", "conclude", "read_summary"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Score(_Frozen):
    """Mean over the seeds."""

    map: float
    ar100: float


class RoundSummary(_Frozen):
    """One round; the numbers are None where nothing was measured. Gains are over the control."""

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
    random_relabel: Score | None
    """The control with as many images relabelled at random, where the strategy is relabel."""


class AverageGain(_Frozen):
    """Mean over the rounds that were measured; None where none was."""

    map_pct: float | None
    ar100_pct: float | None


class Best(Score):
    """The best curation on test."""

    round: int
    metric: str
    strategy: str
    parts: tuple[str, ...] = ()
    """Every step of the curation in words."""
    map_gain_pct: float | None
    map_interval_pct: tuple[float, float] | None
    """95 %, of the mean; None for a single seed."""
    ar100_gain_pct: float | None
    ar100_interval_pct: tuple[float, float] | None


class Share(_Frozen):
    """The best curation's gain over the control as a share of the oracle's; None where that gains nothing."""

    map: float | None
    ar100: float | None


class TestScores(_Frozen):
    """What the test split says, looked at once; `best` is None where nothing beat the control on val."""

    __test__ = False  # not a test class, whatever pytest makes of the name

    seeds: int
    """Those of the rounds, and the fresh ones of the confirmation where there was one."""
    control: Score
    best: Best | None
    random_relabel: Score | None = None
    """The control with as many images relabelled at random, where the best curation relabels."""
    oracle: Score | None = None
    """A random sample of the pool's unharmed images, where a ledger tells them."""
    share_of_oracle: Share | None = None


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
    confirmation: tuple[Finalist, ...] = ()
    """The best curations on val, tried again with fresh seeds, the best first."""
    test: TestScores
    stopped: str = ""
    """Why fewer rounds were played than asked for; empty where all were."""

    @property
    def fresh_seeds(self) -> int:
        """How many seeds test was looked at with that no round had seen."""
        return self.test.seeds - self.seeds


def conclude(
    lab: Lab,
    outcomes: Sequence[Outcome],
    champion: Champion | None,
    finalists: Sequence[Finalist],
    stopped: str,
) -> Summary:
    """Evaluate the control and the best curation on test, write `summary.json` and return it.

    The guard: without a champion nothing beat the random samples on val, in the rounds or in the
    confirmation, and nothing is recommended.
    """
    seeds = lab.settings.all_seeds if finalists else lab.seeds
    control = lab.control("test", seeds)
    oracle = lab.oracle("test", seeds)
    best = random_relabel = None
    if champion is not None:
        winner = outcomes[champion.round - 1]
        trials = lab.curated(champion.round, champion.steps, "test", seeds)
        if fraction := mended(champion.steps):
            random_relabel = lab.random_relabel(fraction, "test", seeds)
        gained = gain(trials, control)
        best = Best(
            round=winner.round,
            metric=winner.metric,
            strategy=winner.strategy,
            parts=winner.parts,
            map_gain_pct=gained.map.relative,
            map_interval_pct=gained.map.relative_interval,
            ar100_gain_pct=gained.ar100.relative,
            ar100_interval_pct=gained.ar100.relative_interval,
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
        confirmation=tuple(finalists),
        test=TestScores(
            seeds=len(seeds),
            control=_score(numbers(control)),
            best=best,
            random_relabel=_score(numbers(random_relabel)) if random_relabel else None,
            oracle=_score(numbers(oracle)) if oracle else None,
            share_of_oracle=_share(best, numbers(control), numbers(oracle)) if best and oracle else None,
        ),
        stopped=stopped,
    )
    write_atomic(lab.folder.summary, summary.model_dump_json(indent=2) + "\n")
    lab.journal.record("finished", test=summary.test.model_dump())
    return summary


def _score(means: Numbers) -> Score:
    return Score(map=round(means.map, 4), ar100=round(means.ar100, 4))


def _share(best: Best, control: Numbers, oracle: Numbers) -> Share:
    def share(own: float, base: float, most: float) -> float | None:
        return round((own - base) / (most - base), 3) if most > base else None

    return Share(
        map=share(best.map, control.map, oracle.map), ar100=share(best.ar100, control.ar100, oracle.ar100)
    )


def _row(outcome: Outcome) -> RoundSummary:
    curated = outcome.curated
    return RoundSummary(
        images=curated.images if curated else None,
        map=round(curated.map, 4) if curated else None,
        ar100=round(curated.ar100, 4) if curated else None,
        map_gain_pct=outcome.map_gain_pct,
        ar100_gain_pct=outcome.ar100_gain_pct,
        random_relabel=_score(outcome.random_relabel.other) if outcome.random_relabel else None,
        **outcome.model_dump(include={"round", "metric", "strategy", "repairs", "verdict"}),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    measured = [value for value in values if value is not None]
    return round(sum(measured) / len(measured), 2) if measured else None


def read_summary(folder: RunFolder) -> Summary:
    """Return what `conclude` wrote. RunError: there is no such run, or it is not finished."""
    settings = folder.read_settings()  # says what is wrong where there is no run
    if not folder.summary.exists():
        raise RunError(
            f"{folder.path}: this run of {settings.rounds} rounds is not finished; "
            f"`metricsmith resume {folder.path}` goes on with it"
        )
    try:
        return Summary.model_validate_json(folder.summary.read_bytes())
    except ValidationError:
        raise RunError(
            f"{folder.summary}: not a summary of this version of MetricSmith; start a new run"
        ) from None
