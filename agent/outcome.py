"""How a round ended: a row of the round log, of `summary.json` and of the report."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

__all__ = ["Numbers", "Outcome", "Verdict"]

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
    map_gain_pct: float | None = None
    ap50_gain_pct: float | None = None
    ar100_gain_pct: float | None = None
    seeds_better: int | None = None
    lesson: str = ""
    next: str = ""
    """What the model made of it."""
