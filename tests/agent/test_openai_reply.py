from __future__ import annotations

import json
from typing import Any

import pytest

from metricsmith.agent.models import Response, Usage
from metricsmith.agent.models.openai_reply import ChatReply, ResponsesReply
from metricsmith.sandbox.errors import ModelError

CHAT = {
    "id": "c1",
    "object": "chat.completion",
    "model": "scripted-model-1",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "scripted"}}
    ],
    "usage": {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15},
}
RESPONSES = {
    "id": "r1",
    "object": "response",
    "model": "scripted-model-1",
    "status": "completed",
    "error": None,
    "incomplete_details": None,
    "output": [
        {
            "type": "reasoning",
            "id": "i1",
            "summary": [{"type": "summary_text", "text": "hm"}],
            "content": None,
        },
        {
            "type": "message",
            "id": "i2",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "scripted"}],
        },
    ],
    "usage": {"input_tokens": 12, "output_tokens": 3, "total_tokens": 15},
}
ANSWER = Response(
    text="scripted", usage=Usage(prompt_tokens=12, completion_tokens=3), model="scripted-model-1"
)


def read(kind: type[ChatReply] | type[ResponsesReply], body: dict[str, Any]) -> Response:
    return kind.model_validate_json(json.dumps(body)).response("scripted-model")


def test_a_chat_completion() -> None:
    assert read(ChatReply, CHAT) == ANSWER


def test_a_response() -> None:
    assert read(ResponsesReply, RESPONSES) == ANSWER.model_copy(update={"reasoning": "hm"})


@pytest.mark.parametrize("usage", [None, "missing"])
def test_missing_usage_and_model(usage: str | None) -> None:
    body: dict[str, Any] = CHAT | {"usage": None, "model": None}
    if usage == "missing":
        del body["usage"], body["model"]
    assert read(ChatReply, body) == Response(text="scripted", model="scripted-model")


def chat(finish_reason: str | None, **message: object) -> dict[str, Any]:
    return CHAT | {"choices": [{"index": 0, "finish_reason": finish_reason, "message": message}]}


@pytest.mark.parametrize(
    ("body", "text", "finish_reason", "reasoning"),
    [
        (chat("length", content="half an ans"), "half an ans", "length", ""),
        (chat("content_filter", content=None), "", "content_filter", ""),
        (chat("stop", content=None, refusal="I will not."), "I will not.", "refusal", ""),
        (chat(None, content=""), "", "stop", ""),
        (chat("stop", content="a", reasoning_content="hm"), "a", "stop", "hm"),
        (chat("stop", content="a", reasoning="hm"), "a", "stop", "hm"),
        (chat("stop", content="a", reasoning={"effort": "low"}), "a", "stop", ""),
    ],
    ids=["cut off", "filtered", "refused", "empty", "DeepSeek", "OpenRouter", "odd reasoning"],
)
def test_how_a_chat_answer_ends_is_kept(
    body: dict[str, Any], text: str, finish_reason: str, reasoning: str
) -> None:
    answer = read(ChatReply, body)
    assert (answer.text, answer.finish_reason, answer.reasoning) == (text, finish_reason, reasoning)


def responses(*parts: dict[str, str], **changes: object) -> dict[str, Any]:
    return RESPONSES | {"output": [{"type": "message", "content": list(parts)}]} | changes


@pytest.mark.parametrize(
    ("body", "text", "finish_reason"),
    [
        (
            responses(
                {"type": "output_text", "text": "half"},
                status="incomplete",
                incomplete_details={"reason": "max_output_tokens"},
            ),
            "half",
            "length",
        ),
        (
            responses(status="incomplete", incomplete_details={"reason": "content_filter"}),
            "",
            "content_filter",
        ),
        (responses({"type": "refusal", "refusal": "I will not."}), "I will not.", "refusal"),
        (responses({"type": "output_text", "text": "a"}, {"type": "output_text", "text": "b"}), "ab", "stop"),
        (RESPONSES | {"output": []}, "", "stop"),
    ],
    ids=["cut off", "filtered", "refused", "two parts", "empty"],
)
def test_how_a_response_ends_is_kept(body: dict[str, Any], text: str, finish_reason: str) -> None:
    answer = read(ResponsesReply, body)
    assert (answer.text, answer.finish_reason) == (text, finish_reason)


@pytest.mark.parametrize(
    ("error", "reason"),
    [({"code": "server_error", "message": "out of memory"}, "out of memory"), (None, "failed")],
)
def test_a_response_that_failed_on_the_way(error: dict[str, str] | None, reason: str) -> None:
    with pytest.raises(ModelError) as caught:
        read(ResponsesReply, responses(status="failed", error=error))
    assert str(caught.value) == f"scripted-model failed while answering: {reason}; resume later"
