"""What a language model proposes before it writes code, and what it makes of a result.

These models are the contract for the JSON in `prompts/brainstorm.md` and `prompts/reflect.md`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from metricsmith.evaluation.curation import Strategy
from metricsmith.sandbox.interface import Level, Suspicious

__all__ = ["Idea", "Ideas", "Reflection"]

Sentence = Annotated[str, StringConstraints(strip_whitespace=True, min_length=10, max_length=2000)]


class Idea(BaseModel):
    """A proposed metric and what to do with its scores, before there is any code."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(pattern=r"^[A-Z][A-Za-z0-9]{2,59}$")
    """The class's name, CamelCase."""
    description: Sentence
    hypothesis: Sentence
    level: Level
    suspicious: Suspicious
    strategy: Strategy

    @property
    def plan(self) -> str:
        """The strategy in words: `filter 30 %`, `stratify`."""
        share = "" if self.strategy.kind == "stratify" else f" {self.strategy.fraction * 100:g} %"
        return f"{self.strategy.kind}{share}"

    @model_validator(mode="after")
    def _strategy_has_something_to_go_by(self) -> Idea:
        if self.suspicious == "none" and self.strategy.kind != "stratify":
            raise ValueError(f'suspicious "none" gives {self.strategy.kind} nothing to go by: name an end')
        return self


class Ideas(BaseModel):
    """The answer to a brainstorm, best idea first."""

    model_config = ConfigDict(frozen=True)

    ideas: tuple[Idea, ...]

    @field_validator("ideas")
    @classmethod
    def _are_some_and_differ(cls, ideas: tuple[Idea, ...]) -> tuple[Idea, ...]:
        if not ideas:
            raise ValueError("give at least one idea")
        if len({idea.name for idea in ideas}) < len(ideas):
            raise ValueError("two ideas have the same name")
        return ideas


class Reflection(BaseModel):
    """What a round taught."""

    model_config = ConfigDict(frozen=True)

    lesson: Sentence
    next: Sentence
