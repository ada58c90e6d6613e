"""What an endpoint can do, found out by one small call."""

from __future__ import annotations

import time
from dataclasses import dataclass

from pydantic import BaseModel

from metricsmith.sandbox.errors import ModelError

from ..replies import ReplyError, extract_json
from .openai_model import OpenAIModel
from .request import Message, Request
from .settings import Api, ModelSettings

__all__ = ["Endpoint", "probe"]

_QUESTION = 'Answer with this JSON object and nothing else: {"ready": true}'


class _Ready(BaseModel):
    ready: bool


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How an endpoint answered one request for a JSON object."""

    model: str
    """As the endpoint names it."""
    api: Api
    """`chat` or `responses`."""
    json_mode: bool
    """It takes requests for JSON; where it does not, prompts ask for JSON in words alone."""
    problem: str
    """Why the answer is not the JSON object that was asked for; empty where it is."""
    says_usage: bool
    """It counts tokens, so that budgets of tokens can be kept."""
    shows_reasoning: bool
    seconds: float


def probe(settings: ModelSettings) -> Endpoint:
    """Make the call. ModelError: there is nothing to call, or no answer came."""
    if settings.provider != "openai":
        raise ModelError(f"{settings.provider} is a person, not an endpoint: name one, openai:MODEL")
    model = OpenAIModel(settings)
    request = Request(
        purpose="brainstorm",
        round=0,
        attempt=1,
        messages=(Message(role="user", content=_QUESTION),),
        template="",
        json_mode=True,
    )
    start = time.perf_counter()
    response = model.complete(request)
    seconds = time.perf_counter() - start
    try:
        extract_json(response.text, _Ready, finish_reason=response.finish_reason)
        problem = ""
    except ReplyError as error:
        problem = error.kind
    return Endpoint(
        model=response.model,
        api=model.api,
        json_mode=model.takes_json_mode,
        problem=problem,
        says_usage=response.usage is not None,
        shows_reasoning=bool(response.reasoning),
        seconds=seconds,
    )
