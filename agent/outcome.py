"""How a round ended: a row of the round log, of `summary.json` and of the report."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from metricsmith.evaluation.corrections import Correction
from metricsmith.evaluation.planted import Noticed
from metricsmith.evaluation.trials import Gain

from .policy import Mode

__all__ = ["Numbers", "Outcome", "Verdict", "Versus"]

Verdict = Literal[
    "kept",
    "beaten",
    "dropped",
    "inconclusive",
    "parked",
    "rejected",
    "uninformative",
    "redundant",
]
"""The first four were measured. `kept`: it beats every rival, and becomes the best curation so far; `beaten`:
it beats the random samples, but not the best curation before it, or not that one with as many images
relabelled; `dropped` and `inconclusive`: see `trials.judge`. `parked`: no valid code came; `rejected`: by the
person who approves; `uninformative`, `redundant`: the scores say nothing, or what an earlier metric said."""


class Numbers(BaseModel):
    """Means over the seeds of one arm."""

    model_config = ConfigDict(frozen=True)

    images: int
    boxes: float
    map: float
    ap50: float
    ar100: float
    changed_pct: float | None = None
    """Of the images mended, how many came back with other boxes (`evaluation.corrections`), in percent; None:
    none were mended."""
    corrected_pct: dict[Correction, float] = {}
    """In how many of them a mistake of each kind was corrected, those that occurred."""


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
    seeds: int
    """How many trials of each are compared."""
    seeds_better: int
    """With how many of them mAP was better."""

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
            seeds=len(gain.seeds),
            seeds_better=sum(difference > 0 for difference in gain.map.per_seed),
        )


class Outcome(BaseModel):
    """One round. The numbers are None where nothing was measured."""

    model_config = ConfigDict(frozen=True)

    round: int
    metric: str
    mode: Mode
    family: str
    strategy: str
    parts: tuple[str, ...] = ()
    """Every step of the curation in words, this round's last; empty where nothing was measured."""
    repairs: int
    verdict: Verdict
    reason: str = ""
    """Why nothing was measured; empty where it was."""
    curated: Numbers | None = None
    control: Versus | None = None
    """Over the control, the equal-size random sample."""
    random_relabel: Versus | None = None
    """Over the control with as many images relabelled at random; None where nothing was relabelled."""
    best: Versus | None = None
    """Over the best curation before this round; None where there was none."""
    best_random_relabel: Versus | None = None
    """Over that one with as many images relabelled as here, the rest of them at random; None where it had as
    many, where there was none, and where the verdict did not hang on it."""
    alike: dict[str, float] = {}
    """Spearman's rank correlation with every metric scored before, the strongest first."""
    noticed: tuple[Noticed, ...] = ()
    """Which planted mistakes its code noticed; empty for a composite."""
    lesson: str = ""
    next: str = ""
    """What the model made of it."""

    @property
    def rivals(self) -> list[tuple[str, Versus]]:
        """All that it was compared with, by name."""
        named = (
            ("the control", self.control),
            ("as many images relabelled at random", self.random_relabel),
            ("the best curation before", self.best),
            ("the best curation before with as many images relabelled at random", self.best_random_relabel),
        )
        return [(name, versus) for name, versus in named if versus is not None]

    @property
    def map_gain_pct(self) -> float | None:
        """The gain in mAP over the control."""
        return self.control.map_pct if self.control else None

    @property
    def ar100_gain_pct(self) -> float | None:
        """The gain in AR@100 over the control."""
        return self.control.ar100_pct if self.control else None
