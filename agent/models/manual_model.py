"""A person as the language model: `Manual` through files, `Paste` through the terminal.

Both are for chats without an API: the request is text to paste into any chat, the reply is whatever comes
back, fences and all. Neither looks at the reply; see `replies`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from metricsmith.evaluation.files import write_atomic
from metricsmith.sandbox.errors import ModelError

from .request import Picture, Request, Response

__all__ = ["TERMINATOR", "Manual", "Paste", "as_text"]

TERMINATOR = "<<<"
"""The line that ends a pasted reply."""


class Manual:
    """A person who finds requests as files in `folder` and puts replies beside them.

    `0001-brainstorm-r1-a1.request.md` is answered by `0001-brainstorm-r1-a1.reply.md`; pictures that go with
    it lie beside it (`0001-contact-sheet.jpg`). A request that is
    already there, word for word, is not written again, and its reply is taken at once. One that was never
    answered and asks something else now is renamed to `….request.old.md`. Leaving with Ctrl-C loses
    nothing. ModelError if a reply is not UTF-8.
    """

    name = "manual"

    def __init__(
        self, folder: Path, *, poll_seconds: float = 0.5, announce: Callable[[str], object] = print
    ) -> None:
        self._folder = folder
        self._poll_seconds = poll_seconds
        self._announce = announce
        self._answered: set[Path] = set()

    def complete(self, request: Request) -> Response:
        """The reply, once its file is there and two looks in a row find the same text in it."""
        asked = self._ask(request)
        reply = _reply_to(asked)
        content = _read(reply)
        if not content.strip():
            number = asked.name.partition("-")[0]
            shown = "".join(f", attach {asked.with_name(f'{number}-{p.name}')}" for p in _pictures(request))
            self._announce(
                f"waiting for a person: paste {asked} into a chat{shown} and save the answer as {reply}"
            )
            content = self._wait(reply)
        self._answered.add(asked)
        try:
            return Response(text=content.decode("utf-8-sig"), model=self.name)
        except UnicodeDecodeError as error:
            raise ModelError(
                f"{reply}: not UTF-8 (byte {error.start}): save it as UTF-8, then resume"
            ) from error

    def _ask(self, request: Request) -> Path:
        """The file that holds the request, written if it is not there yet."""
        text = as_text(request)
        label = f"{request.purpose}-r{request.round}-a{request.attempt}"
        for path in sorted(self._folder.glob(f"[0-9]*-{label}.request.md")):
            if path not in self._answered and _read(path) == text.encode():
                return path
            if not _reply_to(path).exists():
                path.rename(path.with_name(path.name.replace(".request.md", ".request.old.md")))
        numbers = (path.name.partition("-")[0] for path in self._folder.glob("*-*.request*.md"))
        last = max((int(number) for number in numbers if number.isdecimal()), default=0)
        path = self._folder / f"{last + 1:04}-{label}.request.md"
        for picture in _pictures(request):
            write_atomic(path.with_name(f"{last + 1:04}-{picture.name}"), picture.jpeg)
        write_atomic(path, text)
        return path

    def _wait(self, reply: Path) -> bytes:
        seen = b""
        while True:
            time.sleep(self._poll_seconds)
            content = _read(reply)
            if content.strip() and content == seen:  # an editor may write a file in several steps
                return content
            seen = content


class Paste:
    """A person at the terminal, who copies the request from the screen and pastes the reply.

    The reply ends with a line that holds only `<<<`, or with the end of the input. ModelError if the
    input ends without a reply.
    """

    name = "manual"

    def __init__(self, *, stdin: TextIO | None = None, stdout: TextIO | None = None) -> None:
        self._stdin = stdin or sys.stdin
        self._stdout = stdout or sys.stdout

    def complete(self, request: Request) -> Response:
        """The pasted text, without its last line."""
        print(as_text(request), file=self._stdout)
        print(f"--- paste the answer, then a line with only {TERMINATOR}", file=self._stdout, flush=True)
        try:
            text, ended = self._read()
            text.encode()  # a terminal without UTF-8 lets broken characters through
        except UnicodeError as error:
            raise ModelError(
                "the pasted text is not UTF-8: set the terminal to UTF-8 or use manual"
            ) from error
        if not ended and not text.strip():
            raise ModelError("the input ended without a reply: run in a terminal, or use the model manual")
        return Response(text=text, model=self.name)

    def _read(self) -> tuple[str, bool]:
        """The pasted text, and whether the terminator came."""
        lines: list[str] = []
        for line in self._stdin:
            if line.strip() == TERMINATOR:
                return "".join(lines), True
            lines.append(line)
        return "".join(lines), False


def as_text(request: Request) -> str:
    """The whole request as one text to paste into a chat; it ends with a line break.

    A system and a user message follow each other as they are; any other conversation gets a heading
    (`## user`) before each message.
    """
    messages = request.messages
    if tuple(message.role for message in messages) in (("system", "user"), ("user",)):
        parts = [message.content.strip("\n") for message in messages]
    else:
        parts = [f"## {message.role}\n\n" + message.content.strip("\n") for message in messages]
    return "\n\n".join(parts) + "\n"


def _pictures(request: Request) -> list[Picture]:
    return [picture for message in request.messages for picture in message.pictures]


def _reply_to(request: Path) -> Path:
    return request.with_name(request.name.replace(".request.md", ".reply.md"))


def _read(path: Path) -> bytes:
    """The content of a file, empty if there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
