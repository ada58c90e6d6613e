"""Where a candidate has to prove itself before it is scored: fixtures, real images, planted mistakes.

The cheap tests, of seconds; what a metric does for the detector is measured in `lab`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from metricsmith.evaluation.dataset import Dataset
from metricsmith.evaluation.planted import Field, Noticed
from metricsmith.evaluation.progress import Progress, silent
from metricsmith.evaluation.promises import blind, weak
from metricsmith.sandbox import Check, Failure, Limits, Predictions, check

from .ideas import Idea
from .journal import Journal

__all__ = ["Proof", "ProvingGround"]


@dataclass(frozen=True, slots=True)
class Proof:
    """What came of trying a candidate."""

    check: Check
    """The verdict."""
    noticed: tuple[Noticed, ...] = ()
    """Which planted mistakes it notices; empty where none were planted."""
    weakness: str = ""
    """Which of those that it should notice a valid one hardly does; empty if it keeps the promise."""


@dataclass
class ProvingGround:
    """Some images of the pool, with a detector's out-of-fold predictions."""

    pool: Dataset
    predictions: Callable[[], Mapping[int | str, Predictions]]
    """Asked once, when the first metric comes."""
    limits: Limits
    """What generated code may use."""
    journal: Journal
    seed: int
    progress: Progress = silent

    @property
    def images(self) -> Dataset:
        """The images that metrics are tried on."""
        return self.field.images

    @cached_property
    def field(self) -> Field:
        """The images, and the same with mistakes planted in them."""
        return Field.of(self.pool, self.predictions(), self.seed)

    def check(self, source: str) -> Check:
        """Validate a metric on the fixtures and on the images."""
        return check(source, self.field.samples, limits=self.limits)

    def prove(self, number: int, attempt: int, idea: Idea, source: str) -> Proof:
        """Validate a metric, then plant mistakes in the images to see what it notices of them.

        A metric that notices nothing of what the idea should find is refused. One that calls nothing
        suspicious has nothing to notice.
        """
        found = self.check(source)
        if not found.accepted or idea.suspicious == "none":
            return Proof(found)

        def compute() -> dict[str, Any]:
            seen = self.field.noticed_by(source, found.name, self.limits, self.progress)
            if isinstance(seen, Failure):
                return {"noticed": [], "failure": asdict(seen), "weakness": ""}
            failure, weakness = blind(seen, idea.finds), weak(seen, idea.finds)
            return {
                "noticed": [own.model_dump() for own in seen.noticed],
                "failure": asdict(failure) if failure else None,
                "weakness": str(weakness) if weakness and not failure else "",
            }

        digest = hashlib.sha256(source.encode()).hexdigest()
        event = self.journal.once("planted", compute, round=number, attempt=attempt, source=digest)
        failure = Failure(**event["failure"]) if event["failure"] else None
        return Proof(
            replace(found, accepted=failure is None, stage="planted", failure=failure),
            tuple(Noticed.model_validate(own) for own in event["noticed"]),
            event["weakness"],
        )
