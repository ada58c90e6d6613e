"""What the prompts tell of the rounds so far: the journal page and the best curation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metricsmith.prompts.shelf import NEW

from .contest import Champion
from .ideas import Idea
from .outcome import Outcome

__all__ = ["journal_page"]

ROOM = 24_000
"""Characters, about 6,000 tokens, for what the model itself wrote about the latest rounds, which are told in
full; of earlier ones a line each is told. The insights page holds what they taught."""
NOTABLE = 0.3
"""Rank correlations below it are not told."""


def journal_page(ideas: Sequence[Idea], outcomes: Sequence[Outcome], best: Champion | None) -> dict[str, Any]:
    """Return the facts that `brainstorm.md` and `distil.md` are filled with."""
    rounds = [_entry(idea, outcome) for idea, outcome in zip(ideas, outcomes, strict=True)]
    return {
        "history": rounds,
        "detailed": _detailed(ideas, outcomes),
        "best": outcomes[best.round - 1] if best else None,
        "families": sorted({idea.family for idea in ideas} - {NEW}),
    }


def _detailed(ideas: Sequence[Idea], outcomes: Sequence[Outcome]) -> set[int]:
    """The rounds that there is room to tell in full, the latest in any case.

    Numbers are not counted: they differ in length from machine to machine, and a replay must ask the same.
    """
    room, rounds = ROOM, set[int]()
    for idea, outcome in zip(reversed(ideas), reversed(outcomes), strict=True):
        room -= len(idea.description) + len(outcome.reason) + len(outcome.lesson) + len(outcome.next)
        if room < 0 and rounds:
            break
        rounds.add(outcome.round)
    return rounds


def _entry(idea: Idea, outcome: Outcome) -> dict[str, Any]:
    alike = [f"{name} {value:+.2f}" for name, value in outcome.alike.items() if abs(value) >= NOTABLE]
    return {
        **{name: getattr(outcome, name) for name in Outcome.model_fields},
        "idea": idea,
        "measured": outcome.curated is not None,
        "rivals": outcome.rivals,
        "alike": ", ".join(alike[:3]) or "none of note",
    }
