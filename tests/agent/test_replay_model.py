from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from metricsmith.agent.models import Message, Purpose, Request, Response
from metricsmith.agent.models.replay_model import Replay
from metricsmith.agent.transcript import Transcript
from metricsmith.sandbox.errors import RunError, StaleTranscriptError


def request(text: str, purpose: Purpose = "write", round: int = 1, attempt: int = 1) -> Request:
    message = Message(role="user", content=text)
    return Request(purpose=purpose, round=round, attempt=attempt, messages=(message,), template="t1")


BRAINSTORM = request("ideas?", "brainstorm")
WRITE = request("write the first")
WRITE_ANOTHER = request("write the second")
REPAIR = request("mend it", "repair", attempt=2)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    transcript = Transcript(tmp_path / "transcript.jsonl")
    for number, asked in enumerate((BRAINSTORM, WRITE, WRITE_ANOTHER, REPAIR), start=1):
        transcript.append(asked, Response(text=f"scripted {number}", model="m"), name="openai:gpt-5")
    return transcript.path


def test_a_strict_replay_gives_the_recorded_answers(path: Path) -> None:
    model = Replay(path)
    texts = [model.complete(asked).text for asked in (BRAINSTORM, WRITE, WRITE_ANOTHER, REPAIR)]
    assert texts == ["scripted 1", "scripted 2", "scripted 3", "scripted 4"]
    model.finish()
    assert model.name == "openai:gpt-5"


def test_a_strict_replay_opens_no_socket_and_loads_no_client(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    assert Replay(path).complete(BRAINSTORM).text == "scripted 1"
    script = "import sys, metricsmith.agent.models.replay_model; print('openai' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_changed_request_is_shown(path: Path) -> None:
    model = Replay(path)
    model.complete(BRAINSTORM)
    with pytest.raises(StaleTranscriptError) as caught:
        model.complete(request("write the last"))
    assert str(caught.value) == (
        f"{path}: call 2 (round 1, write, attempt 1): message 1 (user) is not what was recorded; "
        "record the run again, or replay it with the version it was recorded with\n"
        "--- recorded\n+++ asked now\n@@ -1,2 +1,2 @@\n ## user\n-write the first\n+write the last"
    )


def test_requests_in_another_order_do_not_match(path: Path) -> None:
    with pytest.raises(
        StaleTranscriptError, match=r"call 1 .round 1, brainstorm, attempt 1., now round 1, write"
    ):
        Replay(path).complete(WRITE)


def test_a_run_that_asks_on_is_an_error(path: Path) -> None:
    model = Replay(path)
    for asked in (BRAINSTORM, WRITE, WRITE_ANOTHER, REPAIR):
        model.complete(asked)
    with pytest.raises(StaleTranscriptError) as caught:
        model.complete(request("what did we learn?", "reflect"))
    assert str(caught.value) == (
        f"{path}: the transcript has ended, but the run asks on (round 1, reflect, attempt 1); "
        "record the run again"
    )


def test_left_over_calls_are_an_error(path: Path) -> None:
    model = Replay(path)
    model.complete(BRAINSTORM)
    with pytest.raises(StaleTranscriptError) as caught:
        model.finish()
    assert str(caught.value) == (
        f"{path}: 3 recorded calls are left over, from call 2 (round 1, write, attempt 1) on; "
        "record the run again"
    )
    model.complete(WRITE)
    model.complete(WRITE_ANOTHER)
    with pytest.raises(StaleTranscriptError, match="1 recorded call is left over, from call 4"):
        model.finish()


def test_not_strict_goes_by_place_in_recorded_order(path: Path) -> None:
    model = Replay(path, strict=False)
    other = request("the measurements went another way")
    assert model.complete(other).text == "scripted 2"
    assert model.complete(other).text == "scripted 3"
    assert model.complete(BRAINSTORM).text == "scripted 1"
    model.finish()


def test_not_strict_still_needs_an_answer(path: Path) -> None:
    model = Replay(path, strict=False)
    model.complete(REPAIR)
    with pytest.raises(StaleTranscriptError) as caught:
        model.complete(REPAIR)
    assert str(caught.value) == (
        f"{path}: no answer is recorded for round 1, repair, attempt 2; "
        "the run went another way than the recorded one: go on with a language model"
    )


def test_no_transcript_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no transcript to replay; record one with a language model first"):
        Replay(tmp_path / "transcript.jsonl")


def test_the_name_of_a_person_is_manual(tmp_path: Path) -> None:
    transcript = Transcript(tmp_path / "transcript.jsonl")
    transcript.append(WRITE, Response(text="scripted", model="manual"), name="manual")
    assert Replay(transcript.path).name == "manual"
