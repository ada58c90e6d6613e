"""What a language model proposes before it writes code, and what it makes of a result.

These models are the contract for the JSON in `prompts/brainstorm.md` and `prompts/reflect.md`.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from metricsmith.evaluation.curation import DRAWS, Strategy
from metricsmith.evaluation.planted import Mistake
from metricsmith.prompts.shelf import NEW, SHELF
from metricsmith.sandbox.interface import Level, Suspicious

from .replies import problems

__all__ = ["Idea", "Ideas", "Insights", "Reflection"]

FAMILIES = (*(family.name for family in SHELF), NEW)
Sentence = Annotated[str, StringConstraints(strip_whitespace=True, min_length=10, max_length=2000)]


Name = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Za-z0-9]{2,59}$")]
"""The name of a metric, CamelCase: its class is called so."""


class Idea(BaseModel):
    """A proposed metric and what to do with its scores, before there is any code.

    A composite idea reuses the scores of earlier metrics and needs no code: see `reuse`.
    """

    model_config = ConfigDict(frozen=True)

    name: Name
    family: Literal[FAMILIES]  # type: ignore[valid-type]  # made of the method shelf
    """The family of the method shelf that it adapts, or `new`."""
    adapts: Sentence
    """What is taken from the known method and what is changed for this data, or why it is new."""
    description: Sentence
    hypothesis: Sentence
    reuse: tuple[Name, ...] = ()
    """Earlier metrics whose ranks are averaged (or, if it is one, taken as they are); empty: new code."""
    level: Level
    suspicious: Suspicious
    finds: tuple[Mistake, ...] = ()
    """The label mistakes that it should notice: its code is refused if it does not."""
    strategy: Strategy
    on_best: bool = False
    """Whether it is applied on top of the best curation so far, or alone."""

    @property
    def digest(self) -> str:
        """SHA-256 of everything above, in hex: what a person who approves a composite agrees to."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    @model_validator(mode="before")
    @classmethod
    def _composites_have_a_level(cls, data: Any) -> Any:
        """Several metrics can only be averaged by image; then there is nothing to choose."""
        if isinstance(data, dict) and isinstance(data.get("reuse"), list | tuple) and len(data["reuse"]) > 1:
            return {**data, "level": "image", "suspicious": "high"}
        return data

    def within(self, mended: float) -> Idea:
        """The idea with no more images to mend than an annotator has time for, as a share."""
        if self.strategy.kind != "relabel" or self.strategy.fraction <= mended:
            return self
        return self.model_copy(update={"strategy": Strategy(kind="relabel", fraction=mended)})

    @model_validator(mode="after")
    def _strategy_has_something_to_go_by(self) -> Idea:
        if self.suspicious == "none" and self.strategy.kind not in DRAWS:
            raise ValueError(f'suspicious "none" gives {self.strategy.kind} nothing to go by: name an end')
        if self.strategy.kind == "filter_boxes" and self.level != "object":
            raise ValueError('filter_boxes needs a score for each box: set the level to "object"')
        return self

    @model_validator(mode="after")
    def _can_keep_its_promise(self) -> Idea:
        if self.reuse:
            return self
        if "drop" in self.finds and self.level == "object":
            raise ValueError(
                'a box that is left out has no score: set the level to "image", or do not find "drop"'
            )
        if not self.finds and self.strategy.kind in ("filter_boxes", "relabel"):
            raise ValueError(
                f"{self.strategy.kind} is about label mistakes: name those that the metric finds"
            )
        return self


class Ideas(BaseModel):
    """The answer to a brainstorm, best idea first."""

    model_config = ConfigDict(frozen=True)

    ideas: tuple[Idea, ...]
    unfit: tuple[tuple[str, str], ...] = ()
    """The names of ideas that do not fit what was asked for, and why; the others can be tried."""

    @model_validator(mode="before")
    @classmethod
    def _sorts_out_the_unfit(cls, data: Any) -> Any:
        """Where at least one idea fits; where none does, the answer is refused with every reason."""
        if not isinstance(data, dict) or not isinstance(data.get("ideas"), list):
            return data
        fit: list[Idea] = []
        unfit: list[tuple[str, str]] = []
        for number, one in enumerate(data["ideas"], 1):
            try:
                fit.append(Idea.model_validate(one))
            except ValidationError as error:
                name = one.get("name") if isinstance(one, dict) else None
                named = name[:60] if isinstance(name, str) else f"idea {number}"
                unfit.append((named, problems(error)[0]))
        return {"ideas": fit, "unfit": unfit} if fit else data

    @field_validator("ideas")
    @classmethod
    def _are_some_and_differ(cls, ideas: tuple[Idea, ...]) -> tuple[Idea, ...]:
        if not ideas:
            raise ValueError("give at least one idea")
        if len({idea.name for idea in ideas}) < len(ideas):
            raise ValueError("two ideas have the same name")
        return ideas


class Insights(BaseModel):
    """What several rounds taught together, in the model's own words."""

    model_config = ConfigDict(frozen=True)

    works: tuple[Sentence, ...] = Field(max_length=6)
    fails: tuple[Sentence, ...] = Field(max_length=6)
    next: tuple[Sentence, ...] = Field(max_length=6)


class Reflection(BaseModel):
    """What a round taught."""

    model_config = ConfigDict(frozen=True)

    lesson: Sentence
    next: Sentence
