"""`scripted` replies: written by hand, only for tests of parsing, of errors and of the loop's own steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from metricsmith.agent.models import Request, Response

IDEA = {
    "name": "BoxArea",
    "family": "geometry-outliers",
    "adapts": "The area alone, without a norm.",
    "description": "The area of each box in square pixels.",
    "hypothesis": "Tiny boxes are mistakes.",
    "level": "object",
    "suspicious": "low",
    "strategy": {"kind": "filter", "fraction": 0.2},
}
GOOD = """\
import numpy as np
from metricsmith.sandbox import Metric, Sample


class BoxArea(Metric):
    \"\"\"Area of each box; low means tiny.\"\"\"

    level = "object"
    suspicious = "low"

    def measure(self, sample: Sample) -> np.ndarray:
        return (sample.boxes[:, 2] - sample.boxes[:, 0]) * (sample.boxes[:, 3] - sample.boxes[:, 1])
"""
WRONG_AXIS = GOOD.replace("boxes[:, 2]", "boxes[2]")


class Scripted:
    """Answers with the given texts, and keeps the requests."""

    name = "scripted"

    def __init__(self, replies: Sequence[str]) -> None:
        self.replies: Iterator[str] = iter(replies)
        self.requests: list[Request] = []

    def complete(self, request: Request) -> Response:
        self.requests.append(request)
        return Response(text=next(self.replies), model="scripted")


def block(code: str) -> str:
    return f"```python\n{code}```"
