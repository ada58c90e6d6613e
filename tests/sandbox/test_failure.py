from __future__ import annotations

import json

import pytest

from metricsmith.sandbox import Failure
from metricsmith.sandbox.advice import KINDS, advise
from metricsmith.sandbox.failure import scrub, source_line


def test_text_is_what_a_repair_prompt_shows() -> None:
    failure = Failure(
        stage="fixtures",
        kind="exception",
        message="division by zero",
        where='the fixture "no boxes"',
        exception="ZeroDivisionError",
        line=9,
        code="return a / b",
    )
    assert (
        str(failure)
        == """\
Failed in stage fixtures: exception (the fixture "no boxes").
ZeroDivisionError: division by zero
Line 9: return a / b
Advice: Guard the divisor: max(x, 1e-6); boxes may have no width or height."""
    )


def test_dict_is_json_and_holds_the_advice() -> None:
    failure = Failure("sample", "constant", "all 64 images have the same score, 1")
    assert json.loads(json.dumps(failure.to_dict())) == {
        "stage": "sample",
        "kind": "constant",
        "message": "all 64 images have the same score, 1",
        "where": None,
        "exception": None,
        "line": None,
        "code": None,
        "value": None,
        "advice": (
            "Measure something that differs between images or boxes; check thresholds, clipping and rounding."
        ),
    }


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("<function f at 0x7f3a11c0de>", "<function f at 0x…>"),
        ("OpenCV /io/opencv/modules/imgproc/src/resize.cpp:4217: no", "OpenCV resize.cpp:4217: no"),
        ("No such file: '/home/someone/data set/x.png'", "No such file: 'data set/x.png'"),
        ("two\n  lines\tand a tab", "two lines and a tab"),
        ("a ratio w/h, 3/4, and/or", "a ratio w/h, 3/4, and/or"),
        ("red \x1b[31m text", "red �[31m text"),
        ("the mask 0xFF", "the mask 0xFF"),
    ],
)
def test_scrub(text: str, clean: str) -> None:
    assert scrub(text) == clean


def test_source_line_out_of_range_is_none() -> None:
    assert [source_line("a\n  b\0c", line) for line in (None, 0, 1, 2, 3)] == [None, None, "a", "b�c", None]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_has_advice_in_one_line(kind: str) -> None:
    advice = advise(kind, None, "")
    assert advice.endswith(".")
    assert "\n" not in advice
