from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from metricsmith.agent.models import Message, ModelSettings, Picture, Request, Response, Usage
from metricsmith.agent.models.openai_model import OpenAIModel
from metricsmith.agent.models.probe import probe
from metricsmith.sandbox.errors import ModelError

REQUEST = Request(
    purpose="brainstorm",
    round=1,
    attempt=1,
    messages=(
        Message(role="system", content="You are an engineer."),
        Message(role="user", content="mAP is 0.31", canonical="mAP is ⟨map⟩"),
    ),
    template="t1",
)
MESSAGES = [
    {"role": "system", "content": "You are an engineer."},
    {"role": "user", "content": "mAP is 0.31"},
]
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


@dataclass
class Service:
    """A service on 127.0.0.1 that gives scripted answers, the last one again and again."""

    url: str = ""
    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    silence: float = 0.0
    """Seconds before each answer."""

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://").removesuffix("/v1")

    def say(self, status: int, body: object, **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.answers.append(
            (status, {name.replace("_", "-"): value for name, value in headers.items()}, content)
        )


@pytest.fixture
def service() -> Iterator[Service]:
    state = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.asked.append((self.path, body))
            state.keys.append(self.headers["Authorization"])
            status, headers, content = state.answers[min(len(state.asked), len(state.answers)) - 1]
            time.sleep(state.silence)
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            pass  # a client that gave up waiting is part of the tests

    with Server(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_port}/v1"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "OPENAI_ORG_ID",
        "OPENAI_PROJECT_ID",
        "OPENAI_ADMIN_KEY",
    ):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def settings(service: Service, **changes: Any) -> ModelSettings:
    start = ModelSettings("openai", "scripted-model", service.url, max_retries=0, timeout_seconds=10)
    return replace(start, **changes)


def failure(service: Service, **changes: Any) -> str:
    with pytest.raises(ModelError) as caught:
        OpenAIModel(settings(service, **changes)).complete(REQUEST)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_chat_completions_are_asked_and_read(service: Service) -> None:
    service.say(200, CHAT)
    assert OpenAIModel(settings(service)).complete(REQUEST) == ANSWER
    assert service.asked == [("/v1/chat/completions", {"model": "scripted-model", "messages": MESSAGES})]


def test_responses_are_asked_and_read(service: Service) -> None:
    service.say(200, RESPONSES)
    answer = OpenAIModel(settings(service, api="responses")).complete(REQUEST)
    assert answer == ANSWER.model_copy(update={"reasoning": "hm"})
    body = {"model": "scripted-model", "input": MESSAGES, "store": False}
    assert service.asked == [("/v1/responses", body)]


def test_a_temperature_is_sent_only_if_set(service: Service) -> None:
    service.say(200, CHAT)
    OpenAIModel(settings(service, temperature=0.0)).complete(REQUEST)
    assert service.asked[0][1]["temperature"] == 0.0


def test_the_key_comes_from_the_environment(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "scripted-key\n")
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "another-key")
    service.say(200, CHAT)
    OpenAIModel(settings(service)).complete(REQUEST)
    assert service.keys == ["Bearer scripted-key"]


def test_a_local_server_needs_no_key(service: Service) -> None:
    service.say(200, CHAT)
    OpenAIModel(settings(service)).complete(REQUEST)
    assert service.keys == ["Bearer none"]


def test_the_address_may_come_from_the_environment(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", service.url)
    service.say(200, CHAT)
    assert OpenAIModel(settings(service, base_url=None)).complete(REQUEST) == ANSWER


def test_openai_itself_needs_a_key() -> None:
    with pytest.raises(ModelError) as caught:
        OpenAIModel(ModelSettings("openai", "gpt-5"))
    assert str(caught.value) == (
        "api.openai.com needs a key: set OPENAI_API_KEY, name another service (openai:MODEL@BASE_URL), "
        "or answer the prompts yourself (manual)"
    )


def test_a_key_with_strange_characters_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "scripted–key")
    with pytest.raises(ModelError, match="OPENAI_API_KEY holds characters that no key has: copy it again"):
        OpenAIModel(ModelSettings("openai", "gpt-5"))


@pytest.mark.parametrize(
    "url",
    [
        "localhost:11434/v1",
        "ftp://x/v1",
        "http://",
        "http://[::1",
        "http://a:99999",
        "http://ä..de",
        "http://x\ny",
    ],
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ModelError) as caught:
        OpenAIModel(ModelSettings("openai", "m", url))
    assert str(caught.value) == f"base URL {url!r} is no web address: write it like http://localhost:11434/v1"


def test_json_mode_in_chat(service: Service) -> None:
    service.say(200, CHAT)
    OpenAIModel(settings(service)).complete(REQUEST.model_copy(update={"json_mode": True}))
    assert service.asked[0][1]["response_format"] == {"type": "json_object"}


def test_json_mode_in_responses(service: Service) -> None:
    service.say(200, RESPONSES)
    OpenAIModel(settings(service, api="responses")).complete(REQUEST.model_copy(update={"json_mode": True}))
    assert service.asked[0][1]["text"] == {"format": {"type": "json_object"}}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": "'response_format.type' must be 'json_schema' or 'text'"}),  # LM Studio
        (400, {"error": {"message": "JSON mode is not supported by this model", "code": None}}),
        (422, {"detail": [{"loc": ["body", "response_format"], "msg": "Extra inputs are not permitted"}]}),
    ],
)
def test_a_server_without_json_mode_is_asked_without_from_then_on(
    service: Service, status: int, body: object
) -> None:
    service.say(status, body)
    service.say(200, CHAT)
    model = OpenAIModel(settings(service))
    asked = REQUEST.model_copy(update={"json_mode": True})
    assert model.complete(asked) == ANSWER
    assert model.complete(asked) == ANSWER
    assert ["response_format" in body for _, body in service.asked] == [True, False, False]


SHOWN = REQUEST.model_copy(
    update={
        "messages": (
            REQUEST.messages[0],
            REQUEST.messages[1].model_copy(update={"pictures": (Picture(name="sheet.jpg", jpeg=b"jpeg"),)}),
        )
    }
)
URI = "data:image/jpeg;base64,anBlZw=="


def test_a_picture_goes_along_in_chat(service: Service) -> None:
    service.answers = [(200, {}, json.dumps(CHAT).encode())]
    OpenAIModel(settings(service, api="chat")).complete(SHOWN)
    assert service.asked[0][1]["messages"][1]["content"] == [
        {"type": "text", "text": "mAP is 0.31"},
        {"type": "image_url", "image_url": {"url": URI}},
    ]


def test_a_picture_goes_along_in_responses(service: Service) -> None:
    service.answers = [(200, {}, json.dumps(RESPONSES).encode())]
    OpenAIModel(settings(service, api="responses")).complete(SHOWN)
    assert service.asked[0][1]["input"][1]["content"] == [
        {"type": "input_text", "text": "mAP is 0.31"},
        {"type": "input_image", "image_url": URI},
    ]


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "This model does not support image input."),
        (404, "No endpoints found that support image input"),
        (422, "messages.1.content: Input should be a valid string"),
    ],
)
def test_a_model_that_takes_no_pictures_is_asked_without_from_then_on(
    service: Service, status: int, message: str
) -> None:
    refusal = (status, {}, json.dumps({"error": {"message": message}}).encode())
    service.answers = [refusal, (200, {}, json.dumps(CHAT).encode())]
    model = OpenAIModel(settings(service, api="chat"))
    assert model.complete(SHOWN) == ANSWER
    assert model.complete(SHOWN) == ANSWER
    contents = [asked["messages"][1]["content"] for _, asked in service.asked]
    assert [isinstance(content, str) for content in contents] == [False, True, True]
    assert not model.takes_pictures


def test_pictures_are_no_part_of_the_key_nor_of_the_transcript() -> None:
    assert SHOWN.key == REQUEST.key
    assert "jpeg" not in SHOWN.model_dump()["messages"][1]["pictures"][0]
    assert Request.model_validate_json(SHOWN.model_dump_json()).messages[1].pictures[0].name == "sheet.jpg"


def test_another_bad_request_is_not_tried_without_json_mode(service: Service) -> None:
    service.say(400, {"error": {"message": "Unsupported value: 'temperature'", "code": "unsupported_value"}})
    with pytest.raises(ModelError) as caught:
        OpenAIModel(settings(service)).complete(REQUEST.model_copy(update={"json_mode": True}))
    assert str(caught.value) == f"{service.host} refused the request: Unsupported value: 'temperature'"
    assert len(service.asked) == 1


def test_a_wrong_key_is_named_but_not_shown(service: Service) -> None:
    service.say(401, {"error": {"message": "Incorrect API key provided: sk-secret"}})
    assert failure(service) == f"{service.host} does not accept the key: set OPENAI_API_KEY to a valid one"


def test_a_forbidden_model(service: Service) -> None:
    service.say(403, {"error": {"message": "Project has no access to the model"}})
    assert failure(service) == (
        f"{service.host} does not let this key use scripted-model: Project has no access to the model"
    )


def test_an_unknown_model(service: Service) -> None:
    service.say(404, {"error": {"message": "The model does not exist", "code": "model_not_found"}})
    assert failure(service) == (
        f"{service.host} knows no model 'scripted-model', or the base URL is wrong: The model does not exist"
    )


@pytest.mark.parametrize(
    "error",
    [
        {"message": "This model's maximum context length is 8192 tokens.", "code": "context_length_exceeded"},
        {"message": "the request exceeds the available context size, try increasing it"},  # llama.cpp
    ],
)
def test_a_prompt_that_is_too_long(service: Service, error: dict[str, str]) -> None:
    service.say(400, {"error": error})
    assert failure(service) == (
        f"the prompt is too long for scripted-model: choose one with more context ({error['message']})"
    )


def test_a_used_up_quota(service: Service) -> None:
    message = "You exceeded your current quota, please check your plan and billing details."
    service.say(429, {"error": {"message": message, "code": "insufficient_quota"}})
    assert failure(service) == f"the quota at {service.host} is used up: add credit, then resume ({message})"


def test_payment_required(service: Service) -> None:
    service.say(402, {"error": {"message": "Insufficient Balance"}})  # DeepSeek
    assert failure(service) == (
        f"the quota at {service.host} is used up: add credit, then resume (Insufficient Balance)"
    )


def test_a_rate_limit_is_waited_out_as_long_as_the_service_asks(service: Service) -> None:
    service.say(429, {"error": {"message": "slow down"}}, Retry_After="1")
    service.say(200, CHAT)
    start = time.monotonic()
    assert OpenAIModel(settings(service, max_retries=1)).complete(REQUEST) == ANSWER
    assert time.monotonic() - start >= 1.0  # the SDK's own first pause is half a second at most
    assert len(service.asked) == 2


def test_a_rate_limit_that_lasts(service: Service) -> None:
    message = "Rate limit reached: see https://platform.openai.com/account/billing"
    service.say(429, {"error": {"message": message}}, Retry_After="0.01")
    assert failure(service, max_retries=2) == (
        f"{service.host} takes no more requests for now: resume later ({message})"
    )
    assert len(service.asked) == 3


def test_a_server_error_is_tried_again(service: Service) -> None:
    service.say(500, b"<html>oops</html>", Content_Type="text/html", Retry_After="0.01")
    service.say(200, CHAT)
    assert OpenAIModel(settings(service, max_retries=1)).complete(REQUEST) == ANSWER
    assert len(service.asked) == 2


def test_a_server_error_that_lasts(service: Service) -> None:
    service.say(503, {"error": {"message": "over\nloaded"}}, Retry_After="0.01")
    assert failure(service, max_retries=1) == f"{service.host} failed in 2 tries: resume later (over loaded)"


def test_nobody_listens(service: Service) -> None:
    assert failure(service, base_url="http://127.0.0.1:1/v1") == (
        "cannot reach 127.0.0.1:1 in 1 try ([Errno 111] Connection refused): check network and base URL"
    )


def test_a_silent_service(service: Service) -> None:
    service.say(200, CHAT)
    service.silence = 0.5
    assert failure(service, timeout_seconds=0.1) == (
        f"{service.host} was silent for 0.1 s in 1 try: raise the timeout or resume later"
    )


@pytest.mark.parametrize(
    "body",
    [b"<html>hello</html>", b"", b"[]", b"{}", b'{"choices": []}', b'{"choices": [{"index": 0}]}', b'"hi"'],
)
def test_a_malformed_answer(service: Service, body: bytes) -> None:
    service.say(200, body)
    assert failure(service) == (
        f"{service.host} answered, but not as this API does: {body.decode()!r}; "
        "check the base URL, or try the api responses"
    )


def test_an_error_with_status_200_is_shown(service: Service) -> None:
    service.say(200, {"error": {"message": "no provider available"}})  # OpenRouter
    assert "no provider available" in failure(service)


def test_a_chat_answer_read_as_a_response(service: Service) -> None:
    service.say(200, CHAT)
    assert failure(service, api="responses").endswith("; check the base URL, or try the api chat")


def chat(text: str, **changes: Any) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    return {**CHAT, "choices": [choice], **changes}


def test_a_probe_of_a_good_endpoint(service: Service) -> None:
    service.say(200, chat('{"ready": true}'))
    found = probe(settings(service))
    assert (found.model, found.api, found.json_mode, found.problem) == ("scripted-model-1", "chat", True, "")
    assert (found.says_usage, found.shows_reasoning) == (True, False)
    assert len(service.asked) == 1
    assert service.asked[0][1]["response_format"] == {"type": "json_object"}


def test_a_probe_of_a_server_without_json_mode_and_usage(service: Service) -> None:
    service.say(400, {"error": {"message": "response_format is not supported"}})
    service.say(200, chat('Sure!\n```json\n{"ready": true}\n```', usage=None))
    found = probe(settings(service))
    assert (found.json_mode, found.problem, found.says_usage) == (False, "", False)
    assert len(service.asked) == 2


def test_a_probe_of_a_reasoning_model_over_responses(service: Service) -> None:
    service.say(200, RESPONSES)
    found = probe(settings(service, api="responses"))
    assert (found.api, found.shows_reasoning, found.problem) == ("responses", True, "no-json")


def test_a_probe_of_a_person_is_refused(service: Service) -> None:
    with pytest.raises(ModelError, match="manual is a person, not an endpoint"):
        probe(ModelSettings("manual"))
    assert service.asked == []
