from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path

import pytest

from metricsmith.agent.models import Message, Request, Response, Usage
from metricsmith.agent.transcript import Recorded, Transcript
from metricsmith.sandbox.errors import ModelError, RunError, StaleTranscriptError


def request(text: str = "question", round: int = 1, attempt: int = 1, canonical: str = "") -> Request:
    system = Message(role="system", content="You are an engineer.")
    user = Message(role="user", content=text, canonical=canonical)
    return Request(purpose="write", round=round, attempt=attempt, messages=(system, user), template="t1")


class Scripted:
    """Answers `scripted 1`, `scripted 2`, …; fails from the `breaks`-th call on."""

    name = "openai:scripted-model"

    def __init__(self, breaks: int = 99) -> None:
        self.asked: list[Request] = []
        self._breaks = breaks

    def complete(self, request: Request) -> Response:
        if len(self.asked) + 1 >= self._breaks:
            raise ModelError("the service is down")
        self.asked.append(request)
        usage = Usage(prompt_tokens=10, completion_tokens=2)
        return Response(text=f"scripted {len(self.asked)}", usage=usage, model="scripted-model-1")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "transcript.jsonl"


def record(path: Path, *texts: str) -> None:
    model = Recorded(Scripted(), Transcript(path))
    for text in texts:
        model.complete(request(text))


def test_the_lines_on_disk(path: Path) -> None:
    before = datetime.now(UTC).date()
    Recorded(Scripted(), Transcript(path)).complete(request("mAP 0.3", canonical="mAP ⟨map⟩"))
    header, line = (json.loads(line) for line in path.read_text("utf-8").splitlines())
    assert before <= date.fromisoformat(header.pop("recorded")) <= datetime.now(UTC).date()
    assert header == {
        "schema": 1,
        "provider": "openai",
        "model": "scripted-model",
        "metricsmith": version("metricsmith"),
    }
    assert line == {
        "schema": 1,
        "seq": 1,
        "round": 1,
        "purpose": "write",
        "attempt": 1,
        "key": request("mAP ⟨map⟩").key,
        "request": {
            "messages": [
                {"role": "system", "content": "You are an engineer.", "canonical": "", "pictures": []},
                {"role": "user", "content": "mAP 0.3", "canonical": "mAP ⟨map⟩", "pictures": []},
            ],
            "json_mode": False,
        },
        "response": {
            "text": "scripted 1",
            "finish_reason": "stop",
            "usage": {"prompt_tokens": 10, "completion_tokens": 2},
            "model": "scripted-model-1",
            "reasoning": "",
        },
        "template": "t1",
    }


def test_the_line_is_on_disk_before_the_answer_is_given(path: Path) -> None:
    answer = Recorded(Scripted(), Transcript(path)).complete(request())
    assert [call.response for call in Transcript(path).calls] == [answer]


def test_a_resumed_run_pays_for_nothing_twice(path: Path) -> None:
    first = Recorded(Scripted(breaks=3), Transcript(path))
    answers = [first.complete(request("a")), first.complete(request("b"))]
    with pytest.raises(ModelError, match="down"):
        first.complete(request("c"))

    again = Scripted()
    second = Recorded(again, Transcript(path))
    assert [second.complete(request("a")), second.complete(request("b"))] == answers
    assert again.asked == []
    assert second.complete(request("c")).text == "scripted 1"
    assert again.asked == [request("c")]
    assert [call.seq for call in Transcript(path).calls] == [1, 2, 3]


def test_the_same_question_twice_is_two_calls(path: Path) -> None:
    record(path, "a", "a")
    assert [call.response.text for call in Transcript(path).calls] == ["scripted 1", "scripted 2"]


def test_another_measured_value_still_finds_the_record(path: Path) -> None:
    Recorded(Scripted(), Transcript(path)).complete(request("mAP 0.3", canonical="mAP ⟨map⟩"))
    model = Scripted()
    assert (
        Recorded(model, Transcript(path)).complete(request("mAP 0.9", canonical="mAP ⟨map⟩")).text
        == "scripted 1"
    )
    assert model.asked == []


def test_a_changed_question_names_the_message_and_shows_a_diff(path: Path) -> None:
    record(path, "first line\nlook at the boxes")
    with pytest.raises(StaleTranscriptError) as caught:
        Recorded(Scripted(), Transcript(path)).complete(request("first line\nlook at the images"))
    diff = (
        "--- recorded\n+++ asked now\n@@ -1,3 +1,3 @@\n ## user\n first line\n"
        "-look at the boxes\n+look at the images"
    )
    assert caught.value.diff == diff
    assert str(caught.value) == (
        f"{path}: call 1 (round 1, write, attempt 1): message 2 (user) is not what was recorded; "
        f"record the run again, or replay it with the version it was recorded with\n{diff}"
    )


def test_a_question_asked_elsewhere_in_the_run_says_where(path: Path) -> None:
    record(path, "a")
    with pytest.raises(StaleTranscriptError, match=re.escape("attempt 1), now round 2, write, attempt 3: ")):
        Recorded(Scripted(), Transcript(path)).complete(request("b", round=2, attempt=3))


def test_a_question_with_a_message_more_shows_it_whole(path: Path) -> None:
    record(path, "a")
    longer = request("a").model_copy(
        update={"messages": (*request("a").messages, Message(role="assistant", content="well"))}
    )
    with pytest.raises(StaleTranscriptError, match=r"message 3 \(assistant\) is not what was") as caught:
        Recorded(Scripted(), Transcript(path)).complete(longer)
    assert caught.value.diff.endswith("+## assistant\n+well")


def test_another_kind_of_request_is_named(path: Path) -> None:
    record(path, "a")
    with pytest.raises(StaleTranscriptError, match="the kind of request is not") as caught:
        Recorded(Scripted(), Transcript(path)).complete(request("a").model_copy(update={"purpose": "repair"}))
    assert "-purpose: write\n+purpose: repair" in caught.value.diff


def test_a_killed_write_is_dropped_and_cut_off_before_the_next(path: Path) -> None:
    record(path, "a", "b")
    whole = path.read_bytes()
    end_of_first = whole.rindex(b"\n", 0, len(whole) - 1) + 1
    for length in (end_of_first + 1, len(whole) - 1):
        path.write_bytes(whole[:length])
        transcript = Transcript(path)
        assert [call.seq for call in transcript.calls] == [1]
        assert path.read_bytes() == whole[:length], "reading changes nothing"
        transcript.append(request("c"), Response(text="scripted", model="m"), name="manual")
        assert [call.asked for call in Transcript(path).calls] == [request("a"), request("c")]


def test_a_killed_first_line_leaves_an_empty_transcript(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b'{"schema":1,"prov')
    record(path, "a")
    assert len(Transcript(path).calls) == 1


def test_line_separators_of_other_alphabets_stay_within_their_line(path: Path) -> None:
    record(path, "a\u2028b\u0085c\x0bd\r\ne")
    assert Transcript(path).calls[0].asked == request("a\u2028b\u0085c\x0bd\r\ne")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (b'"seq":1', b'"seq":2', "line 2 is damaged (call 2 stands where call 1 belongs)"),
        (b'{"schema":1,"seq"', b'{"schema":1,"sq"', "line 2 is damaged (seq: Field required)"),
        (b'"content":"first"', b'"content":"edited"', "the key is not that of the request"),
        (b'"finish_reason":"stop",', b'"finish_reason":"st', "line 2 is damaged ("),
        (
            b'{"schema":1,"provider"',
            b'{"schema":2,"provider"',
            "line 1 is damaged (schema: Input should be 1)",
        ),
        (b'"text":"scripted 1"', b'"text":"scripted \xff"', "line 2 is damaged ("),
    ],
)
def test_other_damage_names_the_line(path: Path, old: bytes, new: bytes, complaint: str) -> None:
    record(path, "first", "second")
    content = path.read_bytes()
    assert content.count(old) >= 1
    path.write_bytes(content.replace(old, new, 1))
    with pytest.raises(RunError, match=re.escape(complaint)) as caught:
        Transcript(path)
    assert str(caught.value).startswith(f"{path}: line ")
    assert str(caught.value).endswith("restore the file from a copy or start a new run")


def test_a_lost_line_is_damage(path: Path) -> None:
    record(path, "a", "b", "c")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[3:]))
    with pytest.raises(RunError, match=r"line 3 is damaged .call 3 stands where call 2 belongs"):
        Transcript(path)


def test_a_folder_in_place_of_the_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be read"):
        Transcript(tmp_path)


def test_the_name_is_that_of_the_model_behind(path: Path) -> None:
    assert Recorded(Scripted(), Transcript(path)).name == "openai:scripted-model"
