"""Every call to the language model, word for word: `Transcript` on disk, `Recorded` in front of a model.

A transcript is JSON lines: a header, then one line a call. It is append-only and flushed before an answer
is used, so that a run killed at any instant never pays for the same answer twice.

This module decides nothing about what is asked and never judges an answer; `models.replay_model` answers
from a transcript alone.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import zip_longest
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from metricsmith.evaluation.files import append_line
from metricsmith.sandbox.errors import RunError, StaleTranscriptError

from .models.request import LanguageModel, Message, Purpose, Request, Response, Usage

__all__ = ["Call", "Header", "Question", "Recorded", "Transcript", "place", "stale"]

_T = TypeVar("_T", bound=BaseModel)


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_version: Literal[1] = Field(default=1, alias="schema")


class Header(_Line):
    """The first line of a transcript."""

    provider: str
    model: str
    recorded: str
    """The day of the first call, ISO 8601, UTC."""
    metricsmith: str
    """The version that wrote it."""


class Question(BaseModel):
    """The part of a request that its key is made of, besides its purpose."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    messages: tuple[Message, ...]
    json_mode: bool


class Call(_Line):
    """One line of a transcript: a question, where in the run it was asked, and the answer."""

    seq: int
    """1 for the first call of the run."""
    round: int
    purpose: Purpose
    attempt: int
    key: str
    request: Question
    response: Response
    template: str

    @classmethod
    def of(cls, seq: int, request: Request, response: Response) -> Call:
        """The line for the `seq`-th call."""
        return cls(
            seq=seq,
            round=request.round,
            purpose=request.purpose,
            attempt=request.attempt,
            key=request.key,
            request=Question(messages=request.messages, json_mode=request.json_mode),
            response=response,
            template=request.template,
        )

    @property
    def asked(self) -> Request:
        """The request as it was made."""
        return Request(
            purpose=self.purpose,
            round=self.round,
            attempt=self.attempt,
            messages=self.request.messages,
            template=self.template,
            json_mode=self.request.json_mode,
        )

    def __str__(self) -> str:
        return f"call {self.seq} ({place(self.asked)})"

    @model_validator(mode="after")
    def _key_belongs(self) -> Call:
        if self.key != self.asked.key:
            raise ValueError("the key is not that of the request")
        return self


class Transcript:
    """The calls recorded in `path`, and the way to add one. A missing file is an empty transcript.

    RunError, naming the line, if the file is damaged; a partial last line, the trace of a kill, is not
    damage: it is left out, and cut off before the next line is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        lines, self._sound = _read(path)
        self.header = _parse(Header, lines[0], path, 1) if lines else None
        self.calls: list[Call] = []
        for number, line in enumerate(lines[1:], start=2):
            call = _parse(Call, line, path, number)
            if call.seq != number - 1:
                raise RunError(
                    _damage(path, number, f"call {call.seq} stands where call {number - 1} belongs")
                )
            self.calls.append(call)

    @property
    def usage(self) -> Usage | None:
        """The tokens of all calls; None where the provider did not say for every one."""
        usages = [call.response.usage for call in self.calls]
        known = [usage for usage in usages if usage is not None]
        if len(known) < len(usages):
            return None
        return Usage(
            prompt_tokens=sum(usage.prompt_tokens for usage in known),
            completion_tokens=sum(usage.completion_tokens for usage in known),
        )

    def append(self, request: Request, response: Response, *, name: str) -> Call:
        """Write one call, made by the model called `name`, and wait until it is on disk."""
        if self._sound is not None:
            os.truncate(self.path, self._sound)
            self._sound = None
        if self.header is None:
            provider, _, model = name.partition(":")
            self.header = Header(
                provider=provider,
                model=model or provider,
                recorded=datetime.now(UTC).date().isoformat(),
                metricsmith=version("metricsmith"),
            )
            append_line(self.path, self.header.model_dump_json(by_alias=True))
        call = Call.of(len(self.calls) + 1, request, response)
        append_line(self.path, call.model_dump_json(by_alias=True))
        self.calls.append(call)
        return call


class Recorded:
    """A language model whose every answer is written to a transcript before it is given.

    Calls are numbered from the transcript's start: the first one asked is compared with the first one
    recorded, and answered from the record if their keys agree; StaleTranscriptError if they do not.
    Once the record is used up, the model is asked.
    """

    def __init__(self, model: LanguageModel, transcript: Transcript) -> None:
        self._model = model
        self.transcript = transcript
        self._asked = 0

    @property
    def name(self) -> str:
        """The name of the model behind."""
        return self._model.name

    @property
    def is_at_end(self) -> bool:
        """Whether the next answer is the model's own."""
        return self._asked == len(self.transcript.calls)

    def complete(self, request: Request) -> Response:
        """The recorded answer, or the model's own."""
        calls = self.transcript.calls
        if self._asked < len(calls):
            call = calls[self._asked]
            if call.key != request.key:
                raise stale(self.transcript.path, call, request)
        else:
            call = self.transcript.append(request, self._model.complete(request), name=self.name)
        self._asked += 1
        return call.response


def place(request: Request) -> str:
    """Where in a run a request is made: `round 2, write, attempt 1`."""
    return f"round {request.round}, {request.purpose}, attempt {request.attempt}"


def stale(path: Path, call: Call, request: Request) -> StaleTranscriptError:
    """The error for a request that is not the recorded one: names the message and shows a unified diff."""
    for (old_name, old), (new_name, new) in zip_longest(
        _parts(call.asked), _parts(request), fillvalue=("", "")
    ):
        if (old_name, old) != (new_name, new):
            what = new_name or old_name
            break
    else:
        raise ValueError("the two requests are the same")
    diff = difflib.unified_diff(old.split("\n"), new.split("\n"), "recorded", "asked now", lineterm="")
    asked = "" if place(request) == place(call.asked) else f", now {place(request)}"
    return StaleTranscriptError(
        f"{path}: {call}{asked}: {what} is not what was recorded; "
        "record the run again, or replay it with the version it was recorded with",
        "\n".join(diff),
    )


def _parts(request: Request) -> Iterator[tuple[str, str]]:
    """All that the key is made of, named, in the order to look for a difference."""
    yield "the kind of request", f"purpose: {request.purpose}\njson_mode: {str(request.json_mode).lower()}"
    for number, message in enumerate(request.messages, start=1):
        yield f"message {number} ({message.role})", f"## {message.role}\n{message.keyed}"


def _read(path: Path) -> tuple[list[bytes], int | None]:
    """The whole lines of a file, and its length without a partial last line (None: there is none)."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return [], None
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    *lines, rest = content.split(b"\n")
    return lines, len(content) - len(rest) if rest else None


def _parse(kind: type[_T], line: bytes, path: Path, number: int) -> _T:
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RunError(
            _damage(path, number, f"{where}: {first['msg']}" if where else first["msg"])
        ) from error


def _damage(path: Path, number: int, reason: str) -> str:
    return f"{path}: line {number} is damaged ({reason}); restore the file from a copy or start a new run"
