"""What the prompts tell of the rounds so far: the journal page and the best curation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metricsmith.prompts.shelf import NEW

from .contest import Champion
from .ideas import Idea
from .outcome import Outcome

__all__ = ["journal_page"]

IN_DETAIL = 6
"""The latest rounds, told in full; of earlier ones a line each is told. The insights page holds what they
taught."""
NOTABLE = 0.3
"""Rank correlations below it are not told."""


def journal_page(ideas: Sequence[Idea], outcomes: Sequence[Outcome], best: Champion | None) -> dict[str, Any]:
    """Return the facts that `brainstorm.md` and `distil.md` are filled with."""
    rounds = [_entry(idea, outcome) for idea, outcome in zip(ideas, outcomes, strict=True)]
    return {
        "history": rounds,
        "detailed": {outcome.round for outcome in outcomes[-IN_DETAIL:]},
        "best": outcomes[best.round - 1] if best else None,
        "families": sorted({idea.family for idea in ideas} - {NEW}),
    }


def _entry(idea: Idea, outcome: Outcome) -> dict[str, Any]:
    alike = [f"{name} {value:+.2f}" for name, value in outcome.alike.items() if abs(value) >= NOTABLE]
    return {
        **{name: getattr(outcome, name) for name in Outcome.model_fields},
        "idea": idea,
        "measured": outcome.curated is not None,
        "rivals": outcome.rivals,
        "alike": ", ".join(alike[:3]) or "none of note",
    }
