"""What is taken out of a model's reply: one Python file, or one JSON object of a known form.

A reply is text by a model that was asked nicely; anything may be in it. `ReplyError` says what is missing
in words that can be sent back to the model. Nothing is repaired and no code is run or judged here: that a
block holds a metric is for the sandbox to find out.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from dataclasses import dataclass
from typing import Literal, TypeVar

from pydantic import BaseModel, ValidationError

from metricsmith.sandbox.errors import ModelError

__all__ = ["ReplyError", "ReplyKind", "extract_code", "extract_json", "problems"]

ReplyKind = Literal[
    "bad-json",
    "cut-off",
    "empty",
    "no-code",
    "no-json",
    "no-new-idea",
    "refusal",
    "several-blocks",
    "unclosed-fence",
    "wrong-fields",
]

_ModelT = TypeVar("_ModelT", bound=BaseModel)

_FENCE = re.compile(r"(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})[ \t]*(?P<info>.*)")
_PYTHON = {"python", "python3", "py", "py3"}
_OBJECT = re.compile(r"\{\s*[\"'}]")  # `{word}` in prose is not the start of one
_MOST_PROBLEMS = 8


class ReplyError(ModelError):
    """A reply that cannot be used.

    Attributes: `kind`; `advice`, one line that asks the model for a better reply; `problems`, one line for
    each field of a JSON object that does not fit, with its path (`ideas[0].level: …`).
    """

    def __init__(self, kind: ReplyKind, advice: str, problems: tuple[str, ...] = ()) -> None:
        self.kind = kind
        self.advice = advice
        self.problems = problems
        super().__init__("; ".join((advice, *problems)))


def extract_code(text: str, *, finish_reason: str = "stop") -> str:
    """The content of the reply's one Python block, ending with one line break.

    A block is fenced by ``` or ~~~ and tagged python, py or not at all; a tagged one wins over untagged
    ones, and blocks in other languages do not count. A reply without a block is taken whole if it parses
    as Python and holds a class. ReplyError in any other case.

    >>> extract_code("Here it is:\\n```python\\nclass A: ...\\n```\\nHave fun!")
    'class A: ...\\n'
    """
    text = _answer(text, finish_reason)
    blocks = _blocks(text)
    for block in blocks:
        if not block.closed:
            raise ReplyError(
                "unclosed-fence",
                f"The code block is not closed: send the whole file again and end it with {block.fence} "
                "on a line of its own.",
            )
    found = [b for b in blocks if b.language in _PYTHON] or [b for b in blocks if not b.language]
    if len(found) > 1:
        raise ReplyError(
            "several-blocks",
            f"The reply holds {len(found)} Python code blocks: send the whole file again in exactly one.",
        )
    code = found[0].content if found else text
    if not code.strip() or (not found and (blocks or not _is_module(code))):
        raise ReplyError(
            "no-code",
            "The reply holds no Python code: send the whole file in one block that starts with ```python "
            "and ends with ```.",
        )
    return code.strip("\n") + "\n"


def extract_json(text: str, model: type[_ModelT], *, finish_reason: str = "stop") -> _ModelT:
    """The reply's first JSON object as a `model`, whether fenced, bare or with prose around it.

    ReplyError if there is none, if it is not JSON, or if its fields do not fit (see `problems`).
    """
    text = _answer(text, finish_reason)
    fenced = [block.content for block in _blocks(text) if block.language == "json"]
    text = fenced[0] if fenced else text
    start = _OBJECT.search(text)
    if start is None:
        raise ReplyError(
            "no-json", "The reply holds no JSON object: answer with one JSON object and nothing else."
        )
    try:
        found, _ = json.JSONDecoder().raw_decode(text, start.start())
        return model.model_validate(found)
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at line {error.lineno}, column {error.colno}"
    except ValidationError as error:
        raise ReplyError(
            "wrong-fields",
            "The JSON object does not fit what was asked for: correct it and send all of it again.",
            problems(error),
        ) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of brackets
        reason = str(error).partition(";")[0]
    raise ReplyError(
        "bad-json", f"The JSON object cannot be read ({reason}): correct it and send all of it again."
    )


@dataclass(frozen=True, slots=True)
class _Block:
    language: str
    fence: str
    content: str
    closed: bool


def _answer(text: str, finish_reason: str) -> str:
    """The text without its thinking, fit for UTF-8, its line breaks \\n; ReplyError if it is no answer."""
    if finish_reason in ("refusal", "content_filter"):
        raise ReplyError(
            "refusal",
            "The reply was refused: this is about the quality of image annotations; answer as asked.",
        )
    text = text.encode(errors="replace").decode()
    text, thinking = _without_thinking(text.replace("\r\n", "\n").replace("\r", "\n"))
    if finish_reason == "length" or thinking:
        raise ReplyError("cut-off", "The reply was cut off before its end: answer again, and more briefly.")
    if not text.strip():
        raise ReplyError("empty", "The reply is empty: answer as asked.")
    return text


def _without_thinking(text: str) -> tuple[str, bool]:
    """The text without `<think>…</think>`, and whether it ends while still thinking."""
    kept = []
    while True:
        before, _, rest = text.partition("<think>")
        _, closing, after = rest.partition("</think>")
        if not closing:
            break
        kept.append(before)
        text = after
    # Some chat templates put the opening tag into the prompt, so that only the closing one comes back.
    answer = "".join((*kept, text)).rpartition("</think>")[2]
    return answer, answer.lstrip().startswith("<think>")


def _blocks(text: str) -> list[_Block]:
    """The fenced blocks, as CommonMark reads them, but at any indentation (models indent within lists)."""
    blocks = []
    lines = iter(text.split("\n"))
    for line in lines:
        opening = _FENCE.fullmatch(line)
        if opening is None or "`" in opening["info"]:
            continue
        fence, indent, info = opening["fence"], len(opening["indent"]), opening["info"].split()
        content, closed = [], False
        for inner in lines:
            if closed := _closes(inner, fence):
                break
            content.append(inner[min(indent, len(inner) - len(inner.lstrip())) :])
        blocks.append(_Block(info[0].lower() if info else "", fence, "\n".join(content), closed))
    return blocks


def _closes(line: str, fence: str) -> bool:
    line = line.strip()
    return len(line) >= len(fence) and set(line) == {fence[0]}


def _is_module(text: str) -> bool:
    """Whether the text parses as Python and holds a class."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the sandbox reports them where they matter
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):  # the last: brackets nested too deep
            return False
    return any(isinstance(node, ast.ClassDef) for node in tree.body)


def problems(error: ValidationError) -> tuple[str, ...]:
    """Return one line for each field that does not fit: its JSON path and what is expected there."""
    lines = []
    for problem in error.errors(include_url=False, include_input=False):
        steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in problem["loc"])
        path = "".join(steps).removeprefix(".") or "the object"
        lines.append(" ".join(f"{path}: {problem['msg']}".split()))
    more = len(lines) - _MOST_PROBLEMS
    return (*lines[:_MOST_PROBLEMS], f"and {more} more") if more > 0 else tuple(lines)
