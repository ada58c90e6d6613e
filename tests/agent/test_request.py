from __future__ import annotations

import hashlib

import pytest
from pydantic import ValidationError

from metricsmith.agent.models import Message, Request, Response


def request(content: str = "mAP is 0.31", canonical: str = "mAP is ⟨map⟩", **changes: object) -> Request:
    fields = {
        "purpose": "brainstorm",
        "round": 1,
        "attempt": 1,
        "messages": (Message(role="user", content=content, canonical=canonical),),
        "template": "t1",
    }
    return Request.model_validate(fields | changes)


def test_the_key_is_the_hash_of_the_canonical_request() -> None:
    facts = '["brainstorm",false,[["user","mAP is \\u27e8map\\u27e9"]]]'
    assert request().key == hashlib.sha256(facts.encode()).hexdigest()


def test_another_measured_value_leaves_the_key_alone() -> None:
    assert request("mAP is 0.31").key == request("mAP is 0.94").key


def test_another_place_in_the_run_or_template_leaves_the_key_alone() -> None:
    assert request().key == request(round=7, attempt=3, template="t2").key


@pytest.mark.parametrize(
    "other",
    [
        request(canonical="mAP was ⟨map⟩"),
        request(purpose="reflect"),
        request(json_mode=True),
        request(messages=(Message(role="system", content="mAP is ⟨map⟩"),)),
        request(messages=(*request().messages, Message(role="assistant", content=""))),
    ],
    ids=["text", "purpose", "JSON mode", "role", "one message more"],
)
def test_anything_else_changes_the_key(other: Request) -> None:
    assert other.key != request().key


def test_a_message_without_slots_is_keyed_by_its_content() -> None:
    assert Message(role="user", content="hello").keyed == "hello"
    assert request("hello", "").key == request("other", "hello").key


def test_messages_cannot_be_joined_or_split_without_changing_the_key() -> None:
    one = request(messages=(Message(role="user", content="ab"),))
    two = request(messages=(Message(role="user", content="a"), Message(role="user", content="b")))
    assert one.key != two.key


def test_a_request_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        request().round = 2


@pytest.mark.parametrize("wrong", [{"messages": ()}, {"attempt": 0}, {"round": -1}, {"purpose": "chat"}])
def test_a_request_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        request(**wrong)


def test_a_response_survives_json() -> None:
    scripted = Response(text="ä\u2028\n", model="m", reasoning="hm")
    assert Response.model_validate_json(scripted.model_dump_json()) == scripted
