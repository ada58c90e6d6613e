"""Explore or improve: which kind of idea a round asks for, and which of the proposed ideas it tries.

The rule is fixed and seeded, so that a run does not hang on luck, and a resumed or replayed run chooses as
the first one did. Nothing here talks to a language model.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from metricsmith.evaluation.curation import Step, refuse_useless
from metricsmith.evaluation.scores import ScoreTable
from metricsmith.prompts.shelf import NEW
from metricsmith.sandbox.errors import DataError

from .ideas import Idea

__all__ = ["Choice", "Mode", "choose", "mode_of", "similarity"]

Mode = Literal["explore", "improve"]
SAME_TEXT = 0.9
"""Two descriptions of at least this `similarity` propose the same. Text tells little: a weakness mended is a
few words, so only what is nearly a copy is refused before there are scores to compare."""


def mode_of(number: int, earlier: Sequence[Mode], scored: bool, seed: int) -> Mode:
    """Return what round `number` is for; `earlier`: the modes of the rounds before it.

    As long as no metric has scores there is nothing to improve. Afterwards a coin that hangs on the run's
    seed and the round decides, but never for the third time in a row the same. What was dropped can be
    improved too: a metric may find the mistakes and have been put to the wrong use.
    """
    if not scored:
        return "explore"
    last = set(earlier[-2:])
    if len(earlier) > 1 and len(last) == 1:
        return "improve" if last == {"explore"} else "explore"
    coin = np.random.PCG64([seed, number]).random_raw() & 1
    return "improve" if coin else "explore"


@dataclass(frozen=True, slots=True)
class Choice:
    """The idea that is tried, and why others that stood before it are not."""

    idea: Idea | None
    """None where no idea can be tried."""
    passed_over: tuple[tuple[str, str], ...]
    """The name and the reason, in the order of the answer."""


def choose(
    ideas: Iterable[Idea], mode: Mode, tried: Sequence[Idea], scored: Mapping[str, ScoreTable]
) -> Choice:
    """Return the first idea that is new and of the kind that the round is for; else the first that is new.

    `tried`: the ideas of earlier rounds; `scored`: the scores that can be used again, by metric. A round that
    explores wants a family that was not tried; one that improves wants an idea on top of the best curation,
    one of earlier metrics, or one of a family that was tried.
    """
    families = {idea.family for idea in tried} - {NEW}
    passed_over: list[tuple[str, str]] = []
    spare: Idea | None = None
    for idea in ideas:
        if reason := _unusable(idea, tried, scored):
            passed_over.append((idea.name, reason))
            continue
        improves = idea.on_best or bool(idea.reuse) or idea.family in families
        if mode == "improve" and not improves:
            reason = "it improves nothing that was tried"
        elif mode == "explore" and idea.family in families:
            reason = f"the family {idea.family} was tried"
        elif mode == "explore" and idea.reuse:
            reason = "it uses only what was tried"
        else:
            return Choice(idea, tuple(passed_over))
        passed_over.append((idea.name, reason))
        spare = spare or idea
    return Choice(
        spare, tuple((name, why) for name, why in passed_over if spare is None or name != spare.name)
    )


def similarity(first: Idea, second: Idea) -> float:
    """How alike two ideas' names and descriptions are: the cosine of their counts of words, 0 to 1."""
    a, b = _words(first), _words(second)
    shared = sum(count * b[word] for word, count in a.items())
    size = math.sqrt(sum(n * n for n in a.values()) * sum(n * n for n in b.values()))
    return shared / size if size else 0.0


def _unusable(idea: Idea, tried: Sequence[Idea], scored: Mapping[str, ScoreTable]) -> str:
    """Why an idea cannot be tried, or an empty string."""
    if idea.name in scored or any(idea.name == past.name for past in tried):
        return "the name was used before"
    if missing := [name for name in idea.reuse if name not in scored]:
        return f"there are no scores of {missing[0]}"
    if len(idea.reuse) == 1:
        try:
            refuse_useless(Step(scored[idea.reuse[0]], idea.strategy))
        except DataError as error:
            return str(error)
    if not idea.reuse:
        for past in tried:
            if not past.reuse and similarity(idea, past) >= SAME_TEXT:
                return f"it says what {past.name} said"
    return ""


def _words(idea: Idea) -> Counter[str]:
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", f"{idea.name} {idea.description}")
    return Counter(re.findall(r"[a-z]{3,}", spaced.lower()))
