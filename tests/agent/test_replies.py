from __future__ import annotations

import ast
import json
import math
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError, model_validator

from metricsmith.agent.replies import ReplyError, extract_code, extract_json
from metricsmith.sandbox.errors import ModelError

T = TypeVar("T")
CODE = "import numpy as np\n\nclass Scripted:\n    x = 1\n"


class Idea(BaseModel):
    name: str
    level: Literal["object", "image"]


class Ideas(BaseModel):
    ideas: list[Idea] = Field(min_length=1)


def failure(text: str, **keywords: str) -> ReplyError:
    with pytest.raises(ReplyError) as caught:
        extract_code(text, **keywords)
    return caught.value


def json_failure(text: str, **keywords: str) -> ReplyError:
    with pytest.raises(ReplyError) as caught:
        extract_json(text, Ideas, **keywords)
    return caught.value


@pytest.mark.parametrize(
    "reply",
    [
        f"```python\n{CODE}```",
        f"Here it is:\n\n```python\n{CODE}\n\n```\nHave fun!",
        f"```py\n{CODE}```",
        f"```Python3 title=metric.py\n{CODE}```",
        f"``` \n{CODE}```  ",
        f"~~~python\n{CODE}~~~",
        f"````python\n{CODE}````",
        f"```python\n{CODE}`````",
        f"```python\n{CODE}```".replace("\n", "\r\n"),
        f"1. The file:\n   ```python\n   {CODE}   ```".replace("\n    x", "\n       x").replace(
            "\nclass", "\n   class"
        ),
        f"<think>\n```python\nclass Wrong: ...\n```\n</think>\n```python\n{CODE}```",
        f"class Wrong: ...\n</think>\n\n```python\n{CODE}```",
        f"<think>a</think>\n<think>b</think>\n```python\n{CODE}```",
        f"```bash\npip install x\n```\n```python\n{CODE}```\n```json\n{{}}\n```",
        f"It prints\n```\n0.5\n```\nfor\n```python\n{CODE}```",
        CODE,
        f"\n\n{CODE}\n\n",
    ],
    ids=[
        "one block",
        "prose around it",
        "py",
        "capitals and a title",
        "no tag",
        "tildes",
        "four backticks",
        "a longer closing fence",
        "CRLF",
        "in a list",
        "after thinking",
        "after thinking without an opening tag",
        "after thinking twice",
        "other languages beside it",
        "an untagged block beside it",
        "no fence",
        "no fence, blank lines",
    ],
)
def test_extract_code(reply: str) -> None:
    assert extract_code(reply) == CODE


def test_a_shorter_fence_within_a_block_does_not_end_it() -> None:
    assert extract_code('````python\n"""\n```\n~~~~\n"""\n````') == '"""\n```\n~~~~\n"""\n'


def test_inline_code_is_no_fence() -> None:
    assert extract_code(f"```x``` is inline\n```python\n{CODE}```") == CODE


def test_a_block_that_does_not_parse_is_left_to_the_sandbox() -> None:
    assert extract_code("```python\nclass A\n```") == "class A\n"


@pytest.mark.parametrize(
    ("reply", "kind", "advice"),
    [
        ("", "empty", "The reply is empty: answer as asked."),
        (" \n\t", "empty", "The reply is empty: answer as asked."),
        ("<think>x</think>\n", "empty", "The reply is empty: answer as asked."),
        (
            "<think>Let me see. ```python\nclass A: ...\n```",
            "cut-off",
            "The reply was cut off before its end: answer again, and more briefly.",
        ),
        (
            f"```python\n{CODE}",
            "unclosed-fence",
            "The code block is not closed: send the whole file again and end it with ``` "
            "on a line of its own.",
        ),
        (
            f"~~~~\n{CODE}```\n~~~",
            "unclosed-fence",
            "The code block is not closed: send the whole file again and end it with ~~~~ "
            "on a line of its own.",
        ),
        (
            f"```python\n{CODE}```\n```python\nScripted()\n```",
            "several-blocks",
            "The reply holds 2 Python code blocks: send the whole file again in exactly one.",
        ),
        (
            f"```\n{CODE}```\n```\n{CODE}```\n```\n{CODE}```",
            "several-blocks",
            "The reply holds 3 Python code blocks: send the whole file again in exactly one.",
        ),
        *(
            (
                reply,
                "no-code",
                "The reply holds no Python code: send the whole file in one block that starts with ```python "
                "and ends with ```.",
            )
            for reply in (
                "I cannot help with that.",
                "hello",
                "x = 1",
                "```bash\nls\n```",
                "```python\n\n```",
                f"{CODE}\nThat is all!",
                "class A:\n    x = '\\d'\n    \0",
                "(" * 100_000,
                "class A: x = " + "-" * 100_000 + "1",
            )
        ),
    ],
)
def test_a_reply_without_one_python_file(reply: str, kind: str, advice: str) -> None:
    error = failure(reply)
    assert (error.kind, error.advice, str(error)) == (kind, advice, advice)


def test_a_module_with_a_doubtful_escape_is_taken_without_a_warning() -> None:
    assert extract_code("class A:\n    x = '\\d'\n") == "class A:\n    x = '\\d'\n"


@pytest.mark.parametrize("finish_reason", ["refusal", "content_filter"])
def test_a_refusal(finish_reason: str) -> None:
    error = failure(f"```python\n{CODE}```", finish_reason=finish_reason)
    assert error.kind == "refusal"
    assert error.advice == (
        "The reply was refused: this is about the quality of image annotations; answer as asked."
    )


def test_a_reply_that_was_cut_off() -> None:
    assert failure(f"```python\n{CODE}```", finish_reason="length").kind == "cut-off"
    assert json_failure('{"ideas": [', finish_reason="length").kind == "cut-off"


def test_an_unknown_finish_reason_does_not_matter() -> None:
    assert extract_code(CODE, finish_reason="eos") == CODE


def test_a_reply_error_is_a_model_error() -> None:
    assert isinstance(failure(""), ModelError)


OBJECT = '{"ideas": [{"name": "Crowding", "level": "object"}]}'
IDEAS = Ideas(ideas=[Idea(name="Crowding", level="object")])


@pytest.mark.parametrize(
    "reply",
    [
        OBJECT,
        f"  {OBJECT}\n\n",
        f"```json\n{OBJECT}\n```",
        f"~~~JSON\r\n{OBJECT}\r\n~~~",
        f"```\n{OBJECT}\n```",
        f"Sure! {OBJECT} I hope it helps :-}}",
        f'<think>{{"ideas": []}}</think>{OBJECT}',
        f"For {{metric}} and {{}}s:\n```json\n{OBJECT}\n```",
        f"Each {{metric}} of mine: {OBJECT}",
        f"{OBJECT} {OBJECT}",
        f"```json\n{OBJECT}",
        json.dumps(json.loads(OBJECT), indent=2),
    ],
)
def test_extract_json(reply: str) -> None:
    assert extract_json(reply, Ideas) == IDEAS


def test_braces_and_fences_within_strings() -> None:
    name = 'a } { \\" ``` ü'
    assert extract_json('{"name": "a } { \\\\\\" ``` ü", "level": "image"}', Idea).name == name


@pytest.mark.parametrize(
    ("reply", "kind", "advice"),
    [
        ("", "empty", "The reply is empty: answer as asked."),
        *(
            (
                reply,
                "no-json",
                "The reply holds no JSON object: answer with one JSON object and nothing else.",
            )
            for reply in ("I have no idea.", "[1, 2]", "a {metric}", "}{")
        ),
        (
            '{"ideas": [{"name": "A" "level": "image"}]}',
            "bad-json",
            "The JSON object cannot be read (Expecting ',' delimiter at line 1, column 25): "
            "correct it and send all of it again.",
        ),
        (
            "Well:\n{'ideas': []}",
            "bad-json",
            "The JSON object cannot be read (Expecting property name enclosed in double quotes at line 2, "
            "column 2): correct it and send all of it again.",
        ),
        (
            '{"ideas": [',
            "bad-json",
            "The JSON object cannot be read (Expecting value at line 1, column 12): "
            "correct it and send all of it again.",
        ),
        (
            '{"a": ' + "1" * 5000 + "}",
            "bad-json",
            "The JSON object cannot be read (Exceeds the limit (4300 digits) for integer string conversion: "
            "value has 5000 digits): correct it and send all of it again.",
        ),
    ],
)
def test_a_reply_without_a_json_object(reply: str, kind: str, advice: str) -> None:
    error = json_failure(reply)
    assert (error.kind, error.advice) == (kind, advice)


def test_nesting_without_end_is_bad_json() -> None:
    assert json_failure('{"a": ' * 100_000).kind == "bad-json"


def test_fields_that_do_not_fit_are_listed_with_their_paths() -> None:
    error = json_failure('{"ideas": [{"name": 3, "level": "pixel"}, {"name": "B"}]}')
    assert error.kind == "wrong-fields"
    assert error.advice == (
        "The JSON object does not fit what was asked for: correct it and send all of it again."
    )
    assert error.problems == (
        "ideas[0].name: Input should be a valid string",
        "ideas[0].level: Input should be 'object' or 'image'",
        "ideas[1].level: Field required",
    )
    assert str(error) == "; ".join((error.advice, *error.problems))


def test_the_list_of_problems_is_short() -> None:
    problems = json_failure(json.dumps({"ideas": [{}] * 10})).problems
    assert len(problems) == 9
    assert problems[7:] == ("ideas[3].level: Field required", "and 12 more")


def test_a_problem_of_the_whole_object_and_one_of_an_odd_field() -> None:
    class Even(BaseModel, extra="forbid"):
        @model_validator(mode="before")
        @classmethod
        def _never_five(cls, found: dict[str, object]) -> dict[str, object]:
            if len(found) == 5:
                raise ValueError("five fields")
            return found

    with pytest.raises(ReplyError) as caught:
        extract_json('{"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}', Even)
    assert caught.value.problems == ("the object: Value error, five fields",)
    with pytest.raises(ReplyError) as caught:
        extract_json('{"a\\n b": 1}', Even)
    assert caught.value.problems == ("a b: Extra inputs are not permitted",)


FENCES = ("```", "````", "~~~", "<think>", "</think>", "\n", "\r\n", " ", "\t")
PIECES = (
    "python",
    "json",
    "class A: ...",
    "(",
    "\0",
    "\ud800",
    "{",
    "}",
    '"',
    "'",
    "\\",
    '{"ideas": [',
    OBJECT,
)
ANY_TEXT = st.text(st.characters()) | st.lists(st.sampled_from(FENCES + PIECES), max_size=30).map("".join)
FINISH = st.sampled_from(["stop", "length", "refusal", "content_filter", "", "eos"])


def outcome(extract: Callable[[], T]) -> T | ReplyError:
    """What comes out; any error but a ReplyError is let through."""
    try:
        return extract()
    except ReplyError as error:
        return error


def assert_one_printable_line(text: str) -> None:
    assert text.encode().decode().strip() == text
    assert "\n" not in text


@given(ANY_TEXT, FINISH)
@example("```python\n\ud800\n```", "stop")
def test_any_text_gives_code_or_a_reply_error(text: str, finish_reason: str) -> None:
    found = outcome(lambda: extract_code(text, finish_reason=finish_reason))
    if isinstance(found, ReplyError):
        assert_one_printable_line(str(found))
    else:
        assert found.strip()
        assert found.endswith("\n")
        assert not found.endswith("\n\n")
        assert found.encode()


@given(ANY_TEXT, FINISH)
def test_any_text_gives_a_model_or_a_reply_error(text: str, finish_reason: str) -> None:
    found = outcome(lambda: extract_json(text, Ideas, finish_reason=finish_reason))
    if isinstance(found, ReplyError):
        assert_one_printable_line(str(found))
    else:
        assert found == IDEAS


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, st.booleans())
@example([{"name": "Crowding", "level": "object", "more": math.nan}], True)
def test_any_json_gives_a_model_or_a_reply_error(value: Any, fenced: bool) -> None:
    text = json.dumps({"ideas": value})
    found = outcome(lambda: extract_json(f"```json\n{text}\n```" if fenced else text, Ideas))
    if isinstance(found, ReplyError):
        assert found.kind == "wrong-fields"
        assert_one_printable_line(str(found))
        with pytest.raises(ValidationError):
            Ideas.model_validate({"ideas": value})
    else:
        assert found == Ideas.model_validate({"ideas": value})


@given(st.lists(st.text(st.characters(codec="ascii", exclude_characters="`~\r\n<"), min_size=1), min_size=1))
def test_what_is_fenced_comes_out_as_it_was(lines: list[str]) -> None:
    code = "class A:\n    '''\n" + "\n".join(lines) + "\n    '''\n"
    assert extract_code(f"Here:\n~~~~python\n{code}~~~~\nDone.") == code


@given(
    st.lists(st.sampled_from([*CODE.splitlines(keepends=True), "class B: pass\n", "so: ", "(", "x"])).map(
        "".join
    )
)
def test_text_without_a_fence_is_code_only_if_python_says_so(text: str) -> None:
    found = outcome(lambda: extract_code(text))
    if isinstance(found, ReplyError):
        with pytest.raises((SyntaxError, StopIteration)):
            next(node for node in ast.parse(text).body if isinstance(node, ast.ClassDef))
    else:
        assert any(isinstance(node, ast.ClassDef) for node in ast.parse(found).body)
