"""A person's approval at the terminal."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console
from scripted import GOOD, IDEA

from metricsmith.agent.approval import Ask, Auto, ByRule, Decision, touched
from metricsmith.agent.author import Candidate
from metricsmith.agent.ideas import Idea
from metricsmith.agent.proving_ground import Proof
from metricsmith.sandbox import Check, Scores
from metricsmith.sandbox.errors import RunError

SCORES = Scores("object", "low", np.array([5.0, 1.0, 2.0, 8.0]), (1, 2, 1))
CANDIDATE = Candidate(
    source=GOOD,
    attempt=1,
    proof=Proof(Check(True, "sample", name="BoxArea", level="object", scores=SCORES)),
)
NAMES = ["a.jpg", "b.jpg", "c.jpg"]


def ask(
    monkeypatch: pytest.MonkeyPatch, *answers: str, candidate: Candidate = CANDIDATE, **facts: object
) -> tuple[Decision, str]:
    said = io.StringIO()
    console = Console(
        file=said, force_terminal=True, force_interactive=True, width=100, color_system="truecolor"
    )
    left = list(answers)
    monkeypatch.setattr(console, "input", lambda *_, **__: left.pop(0))
    decision = Ask(console)(Idea.model_validate({**IDEA, **facts}), candidate, NAMES)
    assert not left, "every answer was asked for"
    return decision, said.getvalue()


def test_auto_approves() -> None:
    decision = Auto()(Idea.model_validate(IDEA), CANDIDATE, NAMES)
    assert decision == Decision(decision="approve", by="auto")


@pytest.mark.parametrize(
    ("kind", "fraction", "share"),
    [("filter", 0.3, 0.3), ("filter_boxes", 0.05, 0.05), ("relabel", 0.4, 0.1), ("stratify", 0, 0.25)],
)
def test_what_a_curation_touches(kind: str, fraction: float, share: float) -> None:
    idea = Idea.model_validate({**IDEA, "finds": ["spawn"], "strategy": {"kind": kind, "fraction": fraction}})
    assert touched(idea, budget=0.25) == pytest.approx(share)


@pytest.mark.parametrize(
    ("fraction", "jailed", "by"), [(0.1, True, "rule"), (0.11, True, "person"), (0.1, False, "person")]
)
def test_by_rule_a_person_is_asked_about_what_is_far_reaching(fraction: float, jailed: bool, by: str) -> None:
    def person(*_: object) -> Decision:
        return Decision(decision="reject", reason="no", by="person")

    idea = Idea.model_validate({**IDEA, "strategy": {"kind": "filter", "fraction": fraction}})
    assert ByRule(person, 0.25, jailed=jailed)(idea, CANDIDATE, NAMES).by == by


def test_by_rule_no_terminal_is_no_silent_yes() -> None:
    rule = ByRule(Ask(Console(file=io.StringIO())), 0.25, jailed=True)
    with pytest.raises(RunError, match="needs a terminal"):
        rule(Idea.model_validate(IDEA), CANDIDATE, NAMES)


def test_a_person_sees_code_histogram_and_extremes(monkeypatch: pytest.MonkeyPatch) -> None:
    decision, said = ask(monkeypatch, "a")
    assert decision == Decision(decision="approve", by="person")
    assert "\x1b[38;2;" in said, "the code is highlighted"
    for text in ("BoxArea", "Tiny boxes are mistakes.", "measure", "Scores of the sample (4)", "█"):
        assert text in said
    extremes = said[said.index("Extremes") :]
    assert extremes.index("b.jpg") < extremes.index("c.jpg"), (
        "the lowest, 1, is in b.jpg, the highest in c.jpg"
    )


def test_a_rejection_has_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    decision, _ = ask(monkeypatch, "r", "", "  it measures the camera ")
    assert decision == Decision(decision="reject", reason="it measures the camera", by="person")


def test_a_hint_goes_back_to_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    decision, _ = ask(monkeypatch, "x", "h", "use the log of the area")
    assert decision == Decision(decision="hint", reason="use the log of the area", by="person")


def test_no_terminal_is_no_silent_yes() -> None:
    console = Console(file=io.StringIO(), force_interactive=False)
    with pytest.raises(RunError, match="needs a terminal to ask at"):
        Ask(console)(Idea.model_validate(IDEA), CANDIDATE, NAMES)


def test_a_composite_is_shown_without_code_and_cannot_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    composite = Candidate(source="", proof=None, attempt=1)
    facts = {
        "reuse": ["BoxArea", "Sharpness"],
        "on_best": True,
        "description": "The [b]mean[/b] of two ranks.",
    }
    decision, said = ask(monkeypatch, "r", "Not these two.", candidate=composite, **facts)
    assert decision == Decision(decision="reject", reason="Not these two.", by="person")
    said = " ".join(said.replace("│", " ").split())
    assert "by the scores of BoxArea, Sharpness; no new code" in said
    assert "filter 20 % on top of the best curation so far" in said
    assert "The [b]mean[/b] of two ranks." in said
    assert "hint" not in said
