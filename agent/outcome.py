"""How a round ended: a row of the round log, of `summary.json` and of the report."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from metricsmith.evaluation.trials import Gain

__all__ = ["Numbers", "Outcome", "Verdict", "Versus"]

Verdict = Literal["kept", "dropped", "inconclusive", "parked", "rejected", "uninformative", "redundant"]
"""The first three were measured. `parked`: no valid code came; `rejected`: by the person who approves;
`uninformative` and `redundant`: the scores say nothing, or what an earlier metric said."""


class Numbers(BaseModel):
    """Means over the seeds of one arm."""

    model_config = ConfigDict(frozen=True)

    images: int
    boxes: float
    map: float
    ap50: float
    ar100: float


class Versus(BaseModel):
    """What a curation gains over another training set of the same size, paired by seed."""

    model_config = ConfigDict(frozen=True)

    other: Numbers
    map_pct: float | None
    map_interval_pct: tuple[float, float] | None
    """95 %, of the mean; None for a single seed."""
    ap50_pct: float | None
    ar100_pct: float | None
    ar100_interval_pct: tuple[float, float] | None
    seeds_better: int
    """With how many seeds mAP was better."""

    @classmethod
    def of(cls, gain: Gain, other: Numbers) -> Versus:
        """The gain over `other`, in percent."""
        return cls(
            other=other,
            map_pct=gain.map.relative,
            map_interval_pct=gain.map.relative_interval,
            ap50_pct=gain.ap50.relative,
            ar100_pct=gain.ar100.relative,
            ar100_interval_pct=gain.ar100.relative_interval,
            seeds_better=sum(difference > 0 for difference in gain.map.per_seed),
        )


class Outcome(BaseModel):
    """One round. The numbers are None where nothing was measured."""

    model_config = ConfigDict(frozen=True)

    round: int
    metric: str
    strategy: str
    repairs: int
    verdict: Verdict
    reason: str = ""
    """Why nothing was measured; empty where it was."""
    curated: Numbers | None = None
    control: Versus | None = None
    """Over the control, the equal-size random sample."""
    random_relabel: Versus | None = None
    """Over the control with as many images relabelled at random; None where nothing was relabelled."""
    lesson: str = ""
    next: str = ""
    """What the model made of it."""

    @property
    def map_gain_pct(self) -> float | None:
        """The gain in mAP over the control."""
        return self.control.map_pct if self.control else None

    @property
    def ar100_gain_pct(self) -> float | None:
        """The gain in AR@100 over the control."""
        return self.control.ar100_pct if self.control else None
