"""Whether a metric may be used: parse → policy → fixtures → sample, the cheap stages first.

Says that a metric runs, is deterministic and tells images apart; not that it is useful.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from .crew import run
from .failure import Failure, Stage
from .fixtures import fixtures
from .interface import Level, Sample, Suspicious
from .limits import Limits
from .policy import inspect, parse
from .runner import result
from .scores import Scores
from .worker import Worker

__all__ = ["Check", "check"]


@dataclass(frozen=True, slots=True)
class Check:
    """What `check` found."""

    accepted: bool
    """Whether the metric passed all stages."""
    stage: Stage
    """The last stage that was begun."""
    failure: Failure | None = None
    """Why it was refused."""
    name: str = ""
    """The class's name; empty if the file could not be loaded."""
    level: Level | None = None
    """As the metric says; None if the file could not be loaded."""
    suspicious: Suspicious | None = None
    """As the metric says; None if the file could not be loaded."""
    doc: str = ""
    """The first line of the class's docstring."""
    scores: Scores | None = None
    """Of the samples; None if there were none, or if it was refused."""

    def to_dict(self) -> dict[str, Any]:
        """The verdict as JSON values, without the scores."""
        return {
            "accepted": self.accepted,
            "stage": self.stage,
            "error": self.failure.to_dict() if self.failure else None,
            "name": self.name,
            "level": self.level,
            "suspicious": self.suspicious,
            "doc": self.doc,
        }


def check(
    source: str,
    samples: Sequence[Sample] = (),
    *,
    policy: bool = True,
    limits: Limits = Limits(),  # noqa: B008, it is frozen
) -> Check:
    """Whether the metric in `source` is accepted, with the first failure if not.

    `samples`: real images (64 are plenty) that the metric must tell apart, and score alike in two processes
    and in two orders; without any, the fixtures decide. `policy=False` leaves that stage out.
    """
    tree = parse(source)
    if isinstance(tree, Failure):
        return Check(False, "parse", tree)
    if policy and (refused := inspect(tree, source)):
        return Check(False, "policy", refused)
    odd = fixtures()
    with ExitStack() as stack:
        first = Worker(source, limits, len(odd) + len(samples))
        stack.callback(first.kill)
        names = list(odd)
        first.begin("fixtures", len(odd), lambda index: f'the fixture "{names[index]}"')
        # a data set may have one row, and where there are no boxes, none
        run([first], odd.values(), total=len(odd), ranks=lambda rows: [rows, 1, 0])
        if not samples:
            first.close()
        if first.failure or not samples:
            return _verdict(first, "fixtures", first.failure)
        second = Worker(source, limits, len(samples), backwards=True)
        stack.callback(second.kill)
        for worker in (first, second):
            worker.begin("sample", len(samples), lambda index: f"image {index + 1} of {len(samples)}")
        run([first, second], samples, total=len(samples))
        for worker in (first, second):
            worker.close()
        failure = first.failure or second.failure or _difference(first, second) or _constancy(first)
        return _verdict(first, "sample", failure)


def _verdict(worker: Worker, stage: Stage, failure: Failure | None) -> Check:
    loaded = bool(worker.name)
    scores = result(worker) if stage == "sample" and failure is None else None
    return Check(
        accepted=failure is None,
        stage=stage,
        failure=failure,
        name=worker.name,
        level=worker.level if loaded else None,
        suspicious=worker.suspicious if loaded else None,
        doc=worker.doc,
        scores=scores if isinstance(scores, Scores) else None,
    )


def _difference(first: Worker, second: Worker) -> Failure | None:
    """A failure without an image's number: which images differ may be a matter of chance."""
    if first.digest != second.digest:
        return Failure(
            "sample",
            "not-deterministic",
            "measure gave the same image other numbers in another process and order",
        )
    if first.ranked[-1].tobytes() != second.ranked[-1].tobytes():
        return Failure(
            "sample", "not-deterministic", "rank gave the same measurements other scores in another process"
        )
    return None


def _constancy(worker: Worker) -> Failure | None:
    values = worker.ranked[-1]
    if len(values) < 2 or values.min() != values.max():
        return None
    unit = "images" if worker.level == "image" else "boxes"
    return Failure("sample", "constant", f"all {len(values)} {unit} have the same score, {values[0]:.6g}")
