"""Which language model to ask, and how: one frozen value, written to a run's `config.json`.

Credentials are not among the settings: they come from the environment and are written nowhere.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal, get_args

from metricsmith.sandbox.errors import ModelError

__all__ = ["Api", "ModelSettings", "Provider"]

Api = Literal["auto", "chat", "responses"]
Provider = Literal["openai", "manual", "paste"]

_SPEC = re.compile(r"openai:(?P<model>\S+?)(?:@(?P<base_url>https?://\S+))?")


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """What `open_model` needs. ModelError if a value cannot be meant.

    >>> ModelSettings.from_spec("openai:qwen3-coder@http://localhost:11434/v1").base_url
    'http://localhost:11434/v1'
    """

    provider: Provider
    """`openai`: any service that speaks OpenAI's API; `manual`: files that a person answers; `paste`: the
    same in the terminal."""
    model: str = ""
    """The model's name at the service; empty for a person."""
    base_url: str | None = None
    """The service's address up to and with `/v1`; None: `OPENAI_BASE_URL`, or OpenAI itself."""
    api: Api = "auto"
    """`responses` or `chat` completions; `auto`: responses at OpenAI itself, chat elsewhere."""
    temperature: float | None = None
    """Sampling temperature, 0 to 2; None: the model's own (some models take no other)."""
    timeout_seconds: float = 600.0
    """How long a service may stay silent before a try counts as failed."""
    max_retries: int = 4
    """Further tries after a rate limit, a server error or a lost connection, with growing pauses."""

    def __post_init__(self) -> None:
        if self.provider not in get_args(Provider):
            raise ModelError(
                f"unknown provider {self.provider!r}: use one of {', '.join(get_args(Provider))}"
            )
        if self.provider == "openai" and not self.model:
            raise ModelError("no model named: use openai:MODEL, for example openai:gpt-5")
        if self.api not in get_args(Api):
            raise ModelError(f"unknown api {self.api!r}: use one of {', '.join(get_args(Api))}")
        if self.temperature is not None and not 0 <= self.temperature <= 2:
            raise ModelError(f"temperature {self.temperature} is not between 0 and 2")
        if not (self.timeout_seconds > 0 and math.isfinite(self.timeout_seconds)):
            raise ModelError(f"timeout of {self.timeout_seconds} seconds: give a number above 0")
        if self.max_retries < 0:
            raise ModelError(f"{self.max_retries} retries: give 0 or more")

    @classmethod
    def from_spec(cls, spec: str) -> ModelSettings:
        """What `openai:MODEL`, `openai:MODEL@BASE_URL`, `manual` or `paste` stands for."""
        if spec == "manual":
            return cls("manual")
        if spec == "paste":
            return cls("paste")
        if found := _SPEC.fullmatch(spec):
            return cls("openai", found["model"], found["base_url"])
        raise ModelError(f"unknown model {spec!r}: use openai:MODEL, openai:MODEL@BASE_URL, manual or paste")
