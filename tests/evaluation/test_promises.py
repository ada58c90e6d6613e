"""What is said of code that does not notice what its idea promised."""

from __future__ import annotations

from typing import Any

import pytest

from metricsmith.evaluation.planted import Findings, Mistake, Noticed
from metricsmith.evaluation.promises import blind, sharpness, weak

MISSED: dict[Mistake, tuple[str, ...]] = {
    "shift": ("box (1, 2, 3, 4) became (2, 3, 4, 5), score 0.1 → 0.1",),
    "enlarge": ("box (1, 2, 3, 4) became (0, 0, 9, 9), score 0.1 → 0.2",),
    "flip": ("box (1, 2, 3, 4) has another class, score 0.1 → 0.1",),
}


def seen(kind: Mistake, before: float, after: float, p_value: float, count: int = 20) -> Noticed:
    return Noticed(kind=kind, count=count, before=before, after=after, p_value=p_value)


def found(*noticed: Noticed) -> Findings:
    return Findings(noticed, MISSED, "5 % 0.1, 50 % 0.2")


SEES = seen("enlarge", 0.5, 0.8, 0.001)
SEES_LITTLE = seen("enlarge", 0.4, 0.6, 0.001)
UNMOVED = seen("shift", 0.52, 0.53, 0.4)
FALLS = seen("shift", 0.5, 0.3, 0.999)


def test_code_that_notices_nothing_of_what_it_should_is_refused() -> None:
    failure = blind(found(UNMOVED, SEES), {"shift"})
    assert failure is not None
    assert (failure.stage, failure.kind) == ("planted", "blind")
    assert failure.message == (
        "mistakes that were planted in sample images do not become suspicious; how many of the untouched "
        "boxes (or images) are less suspicious than the one with the mistake, before it was planted → after: "
        "shift 52 → 53 % (20 planted). Scores without mistakes: 5 % 0.1, 50 % 0.2. Noticed least: box "
        "(1, 2, 3, 4) became (2, 3, 4, 5), score 0.1 → 0.1."
    )
    assert blind(found(UNMOVED), ()) is None, "nothing was promised"
    assert blind(found(UNMOVED, SEES), {"shift", "enlarge"}) is None, "one is enough"


def test_code_with_the_wrong_sign_is_refused() -> None:
    failure = blind(found(FALLS, SEES), {"shift", "enlarge"})
    assert failure is not None
    assert failure.message.startswith("a mistake of the kind shift makes a sample image less suspicious")


@pytest.mark.parametrize(
    ("noticed", "kind"),
    [((UNMOVED, SEES), "shift"), ((SEES_LITTLE,), "enlarge"), ((UNMOVED, SEES_LITTLE), "shift or enlarge")],
)
def test_code_that_hardly_notices_a_kind_is_weak(noticed: Any, kind: str) -> None:
    failure = weak(found(*noticed), {"shift", "enlarge", "flip"})
    assert failure is not None
    assert (failure.stage, failure.kind) == ("planted", "weak")
    assert failure.message.startswith(
        f"the code is valid, but a mistake of the kind {kind} hardly stands out when it is planted; how many "
    )
    assert ("(1, 2, 3, 4) became (0, 0, 9, 9)" in failure.message) == ("enlarge" in kind)
    assert failure.advice.startswith("Find out why the mistakes above leave the score as it is")


def test_code_that_keeps_its_promise_is_not_weak() -> None:
    assert weak(found(UNMOVED, SEES), {"enlarge"}) is None
    assert weak(found(UNMOVED), ()) is None


def test_few_mistakes_say_nothing() -> None:
    for judge in (blind, weak):
        assert judge(found(seen("shift", 0.5, 0.1, 1.0, count=7)), {"shift"}) is None
        assert judge(found(seen("shift", 0.5, 0.1, 1.0, count=8)), {"shift"}) is not None


def test_sharpness_is_the_mean_over_what_was_promised() -> None:
    assert sharpness((SEES, UNMOVED, seen("flip", 0.5, 0.5, 1.0)), {"enlarge", "shift"}) == pytest.approx(
        0.665
    )
    assert sharpness((SEES,), ()) == 0.0
