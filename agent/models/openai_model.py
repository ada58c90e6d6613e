"""A language model behind any service that speaks OpenAI's API, spoken to through the openai SDK.

The SDK does the waiting: it tries again after rate limits, server errors and lost connections, with
growing pauses or the one that the service asks for. What comes back is read by `openai_reply`. Nothing is
streamed, no tools are offered, and no answer is judged: see `replies`.
"""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import urlsplit

import openai
from pydantic import ValidationError

from metricsmith.sandbox.errors import ModelError

from .openai_reply import ChatReply, ResponsesReply
from .request import Message, Request, Response
from .settings import Api, ModelSettings

__all__ = ["OpenAIModel"]

_OPENAI_HOST = "api.openai.com"
_NO_KEY = "none"  # the SDK insists on a key; local servers ignore it

_NO_JSON_MODE = re.compile("format|json", re.IGNORECASE)
_NO_PICTURES = re.compile("image|vision|multimodal|modalit|content.{0,40}string", re.IGNORECASE)
_NO_MONEY = re.compile(r"insufficient|current quota|hard limit|credits?\b", re.IGNORECASE)
_TOO_LONG = re.compile(
    r"context.{0,3}(length|window|size)|maximum context|too many tokens|prompt is too long", re.IGNORECASE
)


class OpenAIModel:
    """The model that `settings` name. ModelError where the address or the key cannot be used."""

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        base_url = settings.base_url or os.environ.get("OPENAI_BASE_URL") or f"https://{_OPENAI_HOST}/v1"
        self._host = _host(base_url)
        at_openai = self._host.partition(":")[0].endswith(_OPENAI_HOST)
        self._responses = settings.api == "responses" or (settings.api == "auto" and at_openai)
        self.takes_json_mode = True
        """Whether the service takes requests for JSON, as far as is known."""
        self.takes_pictures = True
        """Whether the model takes pictures, as far as is known."""
        self._client = openai.OpenAI(
            api_key=_key(required=at_openai) or _NO_KEY,
            base_url=base_url,
            timeout=settings.timeout_seconds,
            max_retries=settings.max_retries,
        )

    @property
    def api(self) -> Api:
        """Which of OpenAI's two APIs the service is spoken to by."""
        return "responses" if self._responses else "chat"

    @property
    def name(self) -> str:
        """`openai:MODEL`."""
        return f"openai:{self._settings.model}"

    def complete(self, request: Request) -> Response:
        """The model's answer, empty and refused ones included. ModelError if the service gives none."""
        try:
            while True:
                try:
                    return self._ask(request)
                except (
                    openai.BadRequestError,
                    openai.UnprocessableEntityError,
                    openai.NotFoundError,
                ) as error:
                    if not self._can_do_with_less(request, _said(error)):
                        raise
        except openai.OpenAIError as error:
            raise ModelError(self._explain(error)) from error

    def _can_do_with_less(self, request: Request, refusal: str) -> bool:
        """Whether the service refused something that a request can go without; it is left out from now on.

        Some models take no pictures, and some servers have no JSON mode, or one for schemas only: prompts ask
        for JSON in words too, and say what a picture would show.
        """
        if self.takes_pictures and any(m.pictures for m in request.messages) and _NO_PICTURES.search(refusal):
            self.takes_pictures = False
            return True
        if self.takes_json_mode and request.json_mode and _NO_JSON_MODE.search(refusal):
            self.takes_json_mode = False
            return True
        return False

    def _content(self, message: Message) -> str | list[dict[str, Any]]:
        """A message's text, with its pictures in the form of the service's API."""
        if not (message.pictures and self.takes_pictures):
            return message.content
        if self._responses:
            return [
                {"type": "input_text", "text": message.content},
                *({"type": "input_image", "image_url": p.uri} for p in message.pictures),
            ]
        return [
            {"type": "text", "text": message.content},
            *({"type": "image_url", "image_url": {"url": p.uri}} for p in message.pictures),
        ]

    def _ask(self, request: Request) -> Response:
        json_mode = request.json_mode and self.takes_json_mode
        messages = [{"role": m.role, "content": self._content(m)} for m in request.messages]
        body: dict[str, Any] = {"model": self._settings.model}
        if self._settings.temperature is not None:
            body["temperature"] = self._settings.temperature
        json_object = {"type": "json_object"}
        if self._responses:
            body |= {"input": messages, "store": False} | (
                {"text": {"format": json_object}} if json_mode else {}
            )
            raw = self._client.responses.with_raw_response.create(**body)
        else:
            body |= {"messages": messages} | ({"response_format": json_object} if json_mode else {})
            raw = self._client.chat.completions.with_raw_response.create(**body)
        reply = ResponsesReply if self._responses else ChatReply
        try:
            return reply.model_validate_json(raw.http_response.content).response(self._settings.model)
        except ValidationError as error:
            said = _short(raw.http_response.text)
            other = "chat" if self._responses else "responses"
            raise ModelError(
                f"{self._host} answered, but not as this API does: {said!r}; "
                f"check the base URL, or try the api {other}"
            ) from error

    def _explain(self, error: openai.OpenAIError) -> str:
        """One line: what happened, and what to do."""
        host, settings = self._host, self._settings
        said, code = _said(error), getattr(error, "code", None) or ""
        match error:
            case openai.AuthenticationError():  # the service's words may quote the key
                return f"{host} does not accept the key: set OPENAI_API_KEY to a valid one"
            case openai.PermissionDeniedError():
                return f"{host} does not let this key use {settings.model}: {said}"
            case openai.RateLimitError() if _NO_MONEY.search(f"{code} {said}"):
                return f"the quota at {host} is used up: add credit, then resume ({said})"
            case openai.APIStatusError(status_code=402):
                return f"the quota at {host} is used up: add credit, then resume ({said})"
            case openai.RateLimitError():
                return f"{host} takes no more requests for now: resume later ({said})"
            case openai.NotFoundError():
                return f"{host} knows no model {settings.model!r}, or the base URL is wrong: {said}"
            case openai.BadRequestError() if _TOO_LONG.search(f"{code} {said}"):
                return f"the prompt is too long for {settings.model}: choose one with more context ({said})"
            case openai.APITimeoutError():
                return (
                    f"{host} was silent for {settings.timeout_seconds:g} s in {_tries(settings)}: "
                    "raise the timeout or resume later"
                )
            case openai.APIConnectionError():
                return (
                    f"cannot reach {host} in {_tries(settings)} ({_root(error)}): check network and base URL"
                )
            case openai.InternalServerError():
                return f"{host} failed in {_tries(settings)}: resume later ({said})"
            case _:
                return f"{host} refused the request: {said}"


def _host(base_url: str) -> str:
    """The host (and port) of an address."""
    try:
        parts = urlsplit(base_url)
        usable = parts.scheme in ("http", "https") and base_url.isprintable() and parts.port != 0
        usable = usable and bool((parts.hostname or "").encode("idna"))
    except ValueError:
        usable = False
    if not usable:
        raise ModelError(f"base URL {base_url!r} is no web address: write it like http://localhost:11434/v1")
    return parts.netloc.rpartition("@")[2]


def _key(*, required: bool) -> str:
    """The key in the environment, or nothing where none is needed."""
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if required and not key:
        raise ModelError(
            f"{_OPENAI_HOST} needs a key: set OPENAI_API_KEY, name another service (openai:MODEL@BASE_URL), "
            "or answer the prompts yourself (manual)"
        )
    if not (key.isascii() and key.isprintable()):
        raise ModelError("OPENAI_API_KEY holds characters that no key has: copy it again")
    return key


def _tries(settings: ModelSettings) -> str:
    count = settings.max_retries + 1
    return f"{count} {'try' if count == 1 else 'tries'}"


def _root(error: BaseException) -> str:
    """What the operating system said at the bottom of a chain of exceptions."""
    while error.__cause__:
        error = error.__cause__
    return _short(str(error)) or type(error).__name__


def _said(error: openai.OpenAIError) -> str:
    """The service's own words, on one line."""
    body = getattr(error, "body", None)
    words = body.get("message", body) if isinstance(body, dict) else body
    return _short(str(words or error))


def _short(text: str, limit: int = 200) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
