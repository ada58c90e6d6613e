from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from metricsmith.agent.models import Message, Picture, Request, Response
from metricsmith.agent.models.manual_model import Manual, Paste, as_text
from metricsmith.sandbox.errors import ModelError

SYSTEM = Message(role="system", content="You are an engineer.\n")
USER = Message(role="user", content="Which boxes are wrong?", canonical="⟨slot⟩")
REQUEST = Request(purpose="brainstorm", round=1, attempt=1, messages=(SYSTEM, USER), template="t1")
OTHER = REQUEST.model_copy(
    update={"messages": (SYSTEM, Message(role="user", content="And which are right?"))}
)
TEXT = "You are an engineer.\n\nWhich boxes are wrong?\n"


class Person:
    """Saves a scripted reply, through `save`, as soon as a request is announced."""

    def __init__(self, folder: Path, save: Callable[[Path], object]) -> None:
        self.heard: list[str] = []
        self._folder = folder
        self._save = save

    def __call__(self, said: str) -> None:
        self.heard.append(said)
        asked = max(self._folder.glob("*.request.md"))
        self._save(asked.with_name(asked.name.replace("request", "reply")))


def manual(folder: Path, save: Callable[[Path], object]) -> Manual:
    return Manual(folder, poll_seconds=0.01, announce=Person(folder, save))


def never(reply: Path) -> None:
    raise AssertionError(f"a person was asked for {reply.name}")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_system_and_a_user_message_can_be_pasted_as_they_are() -> None:
    assert as_text(REQUEST) == TEXT


def test_a_longer_conversation_has_headings() -> None:
    messages = (
        *REQUEST.messages,
        Message(role="assistant", content="scripted"),
        Message(role="user", content="No."),
    )
    assert as_text(REQUEST.model_copy(update={"messages": messages})) == (
        "## system\n\nYou are an engineer.\n\n## user\n\nWhich boxes are wrong?\n\n"
        "## assistant\n\nscripted\n\n## user\n\nNo.\n"
    )


def test_a_request_is_written_and_its_reply_read(tmp_path: Path) -> None:
    folder = tmp_path / "requests"
    person = Person(folder, lambda reply: reply.write_text("scripted ä\r\n", "utf-8", newline=""))
    model = Manual(folder, poll_seconds=0.01, announce=person)
    assert model.complete(REQUEST) == Response(text="scripted ä\r\n", model="manual")
    assert (folder / "0001-brainstorm-r1-a1.request.md").read_text("utf-8") == TEXT
    assert person.heard == [
        f"waiting for a person: paste {folder}/0001-brainstorm-r1-a1.request.md into a chat "
        f"and save the answer as {folder}/0001-brainstorm-r1-a1.reply.md"
    ]


def test_requests_are_counted(tmp_path: Path) -> None:
    model = manual(tmp_path, lambda reply: reply.write_text(f"scripted {reply.name[:4]}"))
    assert [model.complete(asked).text for asked in (REQUEST, OTHER)] == ["scripted 0001", "scripted 0002"]
    later = REQUEST.model_copy(update={"purpose": "repair", "round": 3, "attempt": 2})
    assert model.complete(later).text == "scripted 0003"
    assert (tmp_path / "0003-repair-r3-a2.request.md").exists()


def test_the_same_question_twice_is_asked_twice(tmp_path: Path) -> None:
    model = manual(tmp_path, lambda reply: reply.write_text(f"scripted {reply.name[:4]}"))
    assert [model.complete(REQUEST).text for _ in range(2)] == ["scripted 0001", "scripted 0002"]


def test_a_resumed_run_takes_the_reply_that_is_there(tmp_path: Path) -> None:
    manual(tmp_path, lambda reply: reply.write_text("scripted")).complete(REQUEST)
    before = names(tmp_path)
    assert manual(tmp_path, never).complete(REQUEST).text == "scripted"
    assert names(tmp_path) == before


def test_a_resumed_run_waits_for_the_request_that_is_there(tmp_path: Path) -> None:
    def leave(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Manual(tmp_path, announce=leave).complete(REQUEST)
    assert names(tmp_path) == ["0001-brainstorm-r1-a1.request.md"]
    assert (tmp_path / "0001-brainstorm-r1-a1.request.md").read_text() == TEXT
    manual(tmp_path, lambda reply: reply.write_text("scripted")).complete(REQUEST)
    assert names(tmp_path) == ["0001-brainstorm-r1-a1.reply.md", "0001-brainstorm-r1-a1.request.md"]


def test_an_unanswered_request_with_other_text_is_renamed(tmp_path: Path) -> None:
    (tmp_path / "0001-brainstorm-r1-a1.request.md").write_text("an older question\n")
    manual(tmp_path, lambda reply: reply.write_text("scripted")).complete(REQUEST)
    assert names(tmp_path) == [
        "0001-brainstorm-r1-a1.request.old.md",
        "0002-brainstorm-r1-a1.reply.md",
        "0002-brainstorm-r1-a1.request.md",
    ]
    assert (tmp_path / "0001-brainstorm-r1-a1.request.old.md").read_text() == "an older question\n"


def test_an_answered_request_with_other_text_stays(tmp_path: Path) -> None:
    manual(tmp_path, lambda reply: reply.write_text("scripted")).complete(OTHER)
    assert (
        manual(tmp_path, lambda reply: reply.write_text("scripted anew")).complete(REQUEST).text
        == "scripted anew"
    )
    assert len(names(tmp_path)) == 4


def test_a_reply_that_is_still_being_written_is_waited_for(tmp_path: Path) -> None:
    pieces = ["", "  \n", "scripted\xe4 ".encode()[:9], "scripted ä and", "scripted ä and whole"]

    def write(reply: Path) -> None:
        def slowly() -> None:
            for piece in pieces:
                reply.write_bytes(piece if isinstance(piece, bytes) else piece.encode())
                time.sleep(0.05)

        threading.Thread(target=slowly).start()

    model = Manual(tmp_path, poll_seconds=0.15, announce=Person(tmp_path, write))
    assert model.complete(REQUEST).text == "scripted ä and whole"


def test_a_byte_order_mark_is_left_out(tmp_path: Path) -> None:
    assert (
        manual(tmp_path, lambda reply: reply.write_text("scripted", "utf-8-sig")).complete(REQUEST).text
        == "scripted"
    )


def test_a_reply_in_another_encoding_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        manual(tmp_path, lambda reply: reply.write_text("scripted ä", "latin-1")).complete(REQUEST)
    reply = tmp_path / "0001-brainstorm-r1-a1.reply.md"
    assert str(caught.value) == f"{reply}: not UTF-8 (byte 9): save it as UTF-8, then resume"


def paste(typed: str) -> tuple[Response, str]:
    screen = io.StringIO()
    return Paste(stdin=io.StringIO(typed), stdout=screen).complete(REQUEST), screen.getvalue()


def test_a_pasted_reply_ends_with_the_terminator() -> None:
    reply, screen = paste("scripted\n<<<<<<< HEAD\n x <<<\n <<<\t\nnot part of it\n")
    assert reply == Response(text="scripted\n<<<<<<< HEAD\n x <<<\n", model="manual")
    assert screen == TEXT + "\n--- paste the answer, then a line with only <<<\n"


def test_what_follows_the_terminator_is_left_for_the_next_request() -> None:
    model = Paste(stdin=io.StringIO("scripted 1\n<<<\nscripted 2\n<<<\n"), stdout=io.StringIO())
    assert [model.complete(REQUEST).text for _ in range(2)] == ["scripted 1\n", "scripted 2\n"]


def test_a_pasted_reply_may_end_with_the_input() -> None:
    assert paste("scripted")[0].text == "scripted"


def test_an_empty_reply_with_a_terminator_is_a_reply() -> None:
    assert paste("<<<\n")[0].text == ""


@pytest.mark.parametrize("typed", ["", "\n \n"])
def test_no_reply_at_all_is_an_error(typed: str) -> None:
    with pytest.raises(
        ModelError, match="the input ended without a reply: run in a terminal, or use the model manual"
    ):
        paste(typed)


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_pasted_text_in_another_encoding_is_an_error(errors: str) -> None:
    stdin = io.TextIOWrapper(io.BytesIO("scripted ä\n<<<\n".encode("latin-1")), "utf-8", errors)
    with pytest.raises(
        ModelError, match="the pasted text is not UTF-8: set the terminal to UTF-8 or use manual"
    ):
        Paste(stdin=stdin, stdout=io.StringIO()).complete(REQUEST)


def test_a_picture_lies_beside_the_request_and_is_named(tmp_path: Path) -> None:
    shown = USER.model_copy(update={"pictures": (Picture(name="contact-sheet.jpg", jpeg=b"jpeg"),)})
    model = manual(tmp_path, lambda reply: reply.write_text("all"))
    model.complete(REQUEST.model_copy(update={"messages": (SYSTEM, shown)}))
    picture = tmp_path / "0001-contact-sheet.jpg"
    assert picture.read_bytes() == b"jpeg"
    assert f"attach {picture}" in model._announce.heard[0]  # type: ignore[attr-defined]
