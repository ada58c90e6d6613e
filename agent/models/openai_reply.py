"""What services that speak OpenAI's API send back, read into a `Response`.

Services leave fields out, send null, or add their own; only what is used is read, and only what a
`Response` cannot do without has to be there (the SDK itself checks nothing).

Reference: https://platform.openai.com/docs/api-reference (chat completions, responses).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AliasChoices, BaseModel, BeforeValidator, Field

from metricsmith.sandbox.errors import ModelError

from .request import Response, Usage

__all__ = ["ChatReply", "ResponsesReply"]

_Text = Annotated[str, BeforeValidator(lambda value: value if isinstance(value, str) else "")]
"""Text that a service may leave out, null, or fill with an object of its own; all these are empty."""


class _Usage(BaseModel):
    prompt_tokens: int = Field(validation_alias=AliasChoices("prompt_tokens", "input_tokens"))
    completion_tokens: int = Field(validation_alias=AliasChoices("completion_tokens", "output_tokens"))

    def usage(self) -> Usage:
        return Usage(prompt_tokens=self.prompt_tokens, completion_tokens=self.completion_tokens)


class _ChatMessage(BaseModel):
    content: str | None = None
    refusal: _Text = ""
    reasoning_content: _Text = ""  # DeepSeek, vLLM, llama.cpp
    reasoning: _Text = ""  # OpenRouter, Ollama


class _Choice(BaseModel):
    message: _ChatMessage
    finish_reason: _Text = ""


class ChatReply(BaseModel):
    """The answer of `/chat/completions`."""

    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None
    model: _Text = ""

    def response(self, model: str) -> Response:
        """The first choice; `model` is the name to give where the service gives none."""
        choice = self.choices[0]
        message = choice.message
        return Response(
            text=message.content or message.refusal,
            finish_reason="refusal" if message.refusal else choice.finish_reason or "stop",
            usage=self.usage.usage() if self.usage else None,
            model=self.model or model,
            reasoning=message.reasoning_content or message.reasoning,
        )


class _Part(BaseModel):
    type: str
    text: _Text = ""
    refusal: _Text = ""


class _Item(BaseModel):
    type: str
    content: list[_Part] | None = None
    summary: list[_Part] | None = None


class _Incomplete(BaseModel):
    reason: _Text = ""


class _Error(BaseModel):
    message: _Text = ""


class ResponsesReply(BaseModel):
    """The answer of `/responses`."""

    output: list[_Item]
    status: _Text = ""
    incomplete_details: _Incomplete | None = None
    error: _Error | None = None
    usage: _Usage | None = None
    model: _Text = ""

    def response(self, model: str) -> Response:
        """All text of the answer; `model` is the name to give where the service gives none.

        ModelError if the service says that it failed.
        """
        if self.error or self.status in ("failed", "cancelled"):
            said = self.error.message if self.error else ""
            raise ModelError(f"{model} failed while answering: {said or self.status}; resume later")
        parts = [part for item in self.output if item.type == "message" for part in item.content or ()]
        thoughts = [
            part.text
            for item in self.output
            if item.type == "reasoning"
            for part in (item.content or item.summary or ())
        ]
        refusal = "".join(part.refusal for part in parts)
        return Response(
            text="".join(part.text for part in parts) or refusal,
            finish_reason="refusal" if refusal else self._finish_reason(),
            usage=self.usage.usage() if self.usage else None,
            model=self.model or model,
            reasoning="\n\n".join(thoughts),
        )

    def _finish_reason(self) -> str:
        if self.status != "incomplete":
            return "stop"
        reason = self.incomplete_details.reason if self.incomplete_details else ""
        return "content_filter" if reason == "content_filter" else "length"
