"""Accepted metrics: a file of source and, beside it, a card that says where it comes from.

The card pins the source by its hash: whoever changes the file has another metric, which nobody accepted.
Being accepted opens no door: it runs in the jail like any other.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from metricsmith.evaluation.files import write_atomic
from metricsmith.evaluation.planted import Noticed
from metricsmith.sandbox import Level, Suspicious
from metricsmith.sandbox.errors import DataError

__all__ = ["MetricCard", "accept", "card_of", "read_metric"]


class MetricCard(BaseModel):
    """Where a metric comes from, and what it did there."""

    model_config = ConfigDict(frozen=True)

    name: str
    sha256: str
    """Of the source, in hex."""
    level: Level
    suspicious: Suspicious
    description: str
    strategy: str
    run: str
    round: int
    dataset: str
    model: str
    """The language model that wrote it."""
    seeds: int
    map_gain_pct: float | None
    """On val, against an equal-size random sample, mean over the seeds."""
    ar100_gain_pct: float | None
    noticed: tuple[Noticed, ...] = ()
    """Which label mistakes it noticed when they were planted."""


def accept(file: Path, card: MetricCard) -> None:
    """Write the card of the metric in `file` beside it."""
    write_atomic(file.with_suffix(".json"), card.model_dump_json(indent=2) + "\n")


def read_metric(file: Path) -> str:
    """Return the source in `file`. DataError: it cannot be read, or is not what its card was written for."""
    try:
        source = file.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(file, error.strerror or "cannot be read", remedy="name a metric file") from None
    except UnicodeDecodeError:
        raise DataError(file, "not a text file in UTF-8", remedy="name a metric file") from None
    card = card_of(file)
    if card is not None and hashlib.sha256(source.encode()).hexdigest() != card.sha256:
        raise DataError(
            file,
            f"not the code that was accepted in round {card.round} of the run {card.run}",
            remedy=f"restore it, or delete {file.stem}.json and have it checked as a new metric",
        )
    return source


def card_of(file: Path) -> MetricCard | None:
    """Return the card of the metric in `file`, None where it has none. DataError: it is damaged."""
    place = file.with_suffix(".json")
    if not place.exists():
        return None
    try:
        return MetricCard.model_validate_json(place.read_bytes())
    except ValidationError as error:
        raise DataError(place, f"not the card of a metric ({error.errors()[0]['msg']})") from None
