"""What is asked of a language model and what it answers: `Request` in, `Response` out.

Prompts carry measured values (an mAP, a count that a run found out) that differ between machines. A
message therefore exists twice: `content` is what the model reads, `canonical` is the same text with each
measured value replaced by its slot, such as `⟨map⟩`. A request's `key` sees only the second, so a
transcript made on one machine answers the same question on another.

This module sends nothing and stores nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["LanguageModel", "Message", "Picture", "Purpose", "Request", "Response", "Role", "Usage"]

Purpose = Literal["brainstorm", "write", "repair", "reflect", "distil"]
Role = Literal["system", "user", "assistant"]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Picture(_Value):
    """A picture that goes with a message. A transcript keeps its name only; the run's folder has the file.

    Like a measured value it is no part of a request's key: decoded pixels differ between machines.
    """

    name: str
    jpeg: bytes = Field(default=b"", exclude=True, repr=False)

    @property
    def uri(self) -> str:
        """The picture as a data URI."""
        return "data:image/jpeg;base64," + base64.b64encode(self.jpeg).decode()


class Message(_Value):
    """One message of a conversation."""

    role: Role
    content: str
    """What the model reads."""
    canonical: str = ""
    """The same with slots for measured values; empty: there are none, and it is `content` itself."""
    pictures: tuple[Picture, ...] = ()
    """What is shown with the text, to models that take pictures."""

    @property
    def keyed(self) -> str:
        """The text that the key is made of."""
        return self.canonical or self.content


class Request(_Value):
    """One question to a language model, and where in the run it is asked."""

    purpose: Purpose
    round: int = Field(ge=0)
    attempt: int = Field(ge=1)
    """1 for the first try, 2 for the next after an unusable answer, …"""
    messages: tuple[Message, ...] = Field(min_length=1)
    template: str
    """SHA-256 (hex) of the prompt template."""
    json_mode: bool = False
    """The answer is to be one JSON object."""

    @property
    def key(self) -> str:
        """SHA-256 (hex) of purpose, JSON mode, roles and canonical messages.

        Neither credentials, endpoint, timeouts and model nor round, attempt and template are in it: the
        same question is the same question, whoever is asked.
        """
        facts = [self.purpose, self.json_mode, [(m.role, m.keyed) for m in self.messages]]
        return hashlib.sha256(json.dumps(facts, separators=(",", ":")).encode()).hexdigest()


class Usage(_Value):
    """What a call cost, in tokens as the provider counts them."""

    prompt_tokens: int
    completion_tokens: int


class Response(_Value):
    """One answer, kept as it came: it may be empty, refused or cut off (see `replies`)."""

    text: str
    finish_reason: str = "stop"
    """`stop`, `length` (cut off), `refusal` or `content_filter`; any other word of the provider's."""
    usage: Usage | None = None
    """None where the provider does not say."""
    model: str
    """The model that answered, as the provider names it."""
    reasoning: str = ""
    """What the model thought aloud, where the provider shows it."""


class LanguageModel(Protocol):
    """Whatever answers a request: a service, a person, a transcript."""

    @property
    def name(self) -> str:
        """`PROVIDER:MODEL`, or `PROVIDER` where that is the whole name."""
        ...

    def complete(self, request: Request) -> Response:
        """The answer. ModelError if there is none."""
        ...
