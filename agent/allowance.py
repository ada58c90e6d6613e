"""What a run may spend: looked at before each round, so that a run that has spent it ends with a summary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .transcript import Transcript

__all__ = ["Allowance", "Spent"]


class Allowance(BaseModel):
    """The most that a run may spend; None: as much as it takes. A round that has begun is finished, and the
    confirmation and the look at test come on top."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    calls: int | None = Field(default=None, ge=1)
    """Calls to the language model."""
    tokens: int | None = Field(default=None, ge=1)
    """Tokens in prompts and answers together, as the provider counts them."""
    dollars: float | None = Field(default=None, gt=0)
    """Needs both prices."""
    minutes: float | None = Field(default=None, gt=0)
    """Wall-clock minutes of one process; a run that is resumed has them again."""
    trials: int | None = Field(default=None, ge=1)
    """Detector trainings, those of the control included."""
    price_in: float | None = Field(default=None, ge=0)
    """US dollars for a million tokens in prompts; None: unknown."""
    price_out: float | None = Field(default=None, ge=0)
    """US dollars for a million tokens in answers; None: unknown."""

    @model_validator(mode="after")
    def _money_has_prices(self) -> Self:
        if self.dollars is not None and (self.price_in is None or self.price_out is None):
            raise ValueError("a limit in dollars needs the prices of tokens in prompts and in answers")
        return self

    def used_up(self, spent: Spent) -> str:
        """Return what has been used up, in words, or an empty string."""
        if self.calls is not None and spent.calls >= self.calls:
            return f"{spent.calls} of {self.calls} calls are made"
        if self.minutes is not None and spent.minutes >= self.minutes:
            return f"{self.minutes:g} minutes are over"
        if self.trials is not None and spent.trials >= self.trials:
            return f"{spent.trials} of {self.trials} trials are run"
        if self.tokens is None and self.dollars is None:
            return ""
        if spent.prompt_tokens is None or spent.completion_tokens is None:
            return "the provider does not count tokens, so that no limit on tokens or dollars can be kept"
        tokens = spent.prompt_tokens + spent.completion_tokens
        if self.tokens is not None and tokens >= self.tokens:
            return f"{tokens:,} of {self.tokens:,} tokens are used"
        cost = self.cost(spent)
        if self.dollars is not None and cost is not None and cost >= self.dollars:
            return f"${cost:.2f} of ${self.dollars:.2f} are spent"
        return ""

    def cost(self, spent: Spent) -> float | None:
        """Return the dollars that the tokens cost; None where tokens or prices are unknown."""
        if self.price_in is None or self.price_out is None:
            return None
        if spent.prompt_tokens is None or spent.completion_tokens is None:
            return None
        return (spent.prompt_tokens * self.price_in + spent.completion_tokens * self.price_out) / 1e6


@dataclass(frozen=True, slots=True)
class Spent:
    """What a run has spent so far."""

    calls: int = 0
    prompt_tokens: int | None = 0
    """None where the provider did not say for every call."""
    completion_tokens: int | None = 0
    minutes: float = 0.0
    trials: int = 0

    @classmethod
    def of(cls, transcript: Transcript, *, minutes: float, trials: int) -> Spent:
        """What the transcript's calls cost, and the rest as given."""
        usage = transcript.usage
        return cls(
            calls=len(transcript.calls),
            prompt_tokens=usage.prompt_tokens if usage else None,
            completion_tokens=usage.completion_tokens if usage else None,
            minutes=minutes,
            trials=trials,
        )
