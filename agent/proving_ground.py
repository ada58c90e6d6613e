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
from metricsmith.evaluation.planted import Field, Noticed, blind
from metricsmith.evaluation.progress import Progress, silent
from metricsmith.evaluation.samples import sample_ids, samples
from metricsmith.sandbox import Check, Failure, Limits, Predictions, Sample, check

from .ideas import Idea
from .journal import Journal

__all__ = ["Planted", "ProvingGround"]

Planted = tuple[Check, tuple[Noticed, ...]]
"""The verdict on a metric after mistakes were planted, and which of them it notices."""


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

    @cached_property
    def images(self) -> Dataset:
        """The images that metrics are tried on."""
        return self.pool.subset(sample_ids(self.pool, seed=self.seed))

    @cached_property
    def samples(self) -> list[Sample]:
        """The same as a metric sees them, in the same order."""
        return list(samples(self.pool, self.predictions(), [image.id for image in self.images.images]))

    @cached_property
    def field(self) -> Field:
        """The images in which mistakes are planted."""
        return Field.of(self.pool, self.predictions(), self.seed)

    def check(self, source: str) -> Check:
        """Validate a metric on the fixtures and on the images."""
        return check(source, self.samples, limits=self.limits)

    def plant(self, number: int, attempt: int, idea: Idea, source: str, found: Check) -> Planted:
        """Plant mistakes in the images; return the verdict on the metric then, and what it notices.

        A metric that notices nothing of what the idea should find is refused. `found`: what `check` said.
        """

        def compute() -> dict[str, Any]:
            seen = self.field.noticed_by(source, found.name, self.limits, self.progress)
            failure = seen if isinstance(seen, Failure) else blind(seen, idea.finds)
            return {
                "noticed": [] if isinstance(seen, Failure) else [own.model_dump() for own in seen],
                "failure": asdict(failure) if failure else None,
            }

        digest = hashlib.sha256(source.encode()).hexdigest()
        event = self.journal.once("planted", compute, round=number, attempt=attempt, source=digest)
        failure = Failure(**event["failure"]) if event["failure"] else None
        verdict = replace(found, accepted=failure is None, stage="planted", failure=failure)
        return verdict, tuple(Noticed.model_validate(own) for own in event["noticed"])
