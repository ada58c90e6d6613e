"""The model's part of a round, on `scripted` replies: hand-written, only here, to reach every branch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripted import GOOD, IDEA, WRONG_AXIS, Scripted, block

from metricsmith.agent.author import Author
from metricsmith.agent.ideas import Idea
from metricsmith.agent.journal import Journal
from metricsmith.agent.proving_ground import Proof
from metricsmith.evaluation.curation import Strategy
from metricsmith.evaluation.planted import MISTAKES, Noticed
from metricsmith.evaluation.scores import ScoreTable
from metricsmith.prompts.shelf import SHELF
from metricsmith.sandbox import check
from metricsmith.sandbox.errors import ModelError

BRIEFING = {
    "card": "1 image, 1 box",
    "budget": 1,
    "budget_share": "25%",
    "pool_images": 4,
    "seeds": 3,
    "idea_count": 1,
    "mend": 0.4,
    "shelf": SHELF,
    "has_reference": False,
    "class_names": ("panda",),
    "mistakes": MISTAKES,
    "width": 640,
    "height": 480,
}


PAGE = {
    "control": {"map": 0.5, "ar100": 0.5},
    "errors": "- None.",
    "history": [],
    "detailed": set(),
    "best": None,
    "families": [],
    "given": [],
}


def nothing_planted(number: int, attempt: int, idea: Idea, source: str) -> Proof:
    return Proof(check(source))


def author(tmp_path: Path, *replies: str, **facts: Any) -> tuple[Author, Scripted]:
    model = Scripted(replies)
    settings = {"prove": nothing_planted, "briefing": BRIEFING, "tries": 3, "mend": 0.4}
    return Author(model=model, journal=Journal(tmp_path / "journal.jsonl"), **settings | facts), model


def test_proposed_idea_is_checked_and_journalled(tmp_path: Path) -> None:
    writer, model = author(tmp_path, json.dumps({"ideas": [IDEA]}))
    idea = writer.propose(1, "explore", [], {}, **PAGE)
    assert idea == Idea.model_validate(IDEA)
    assert str(idea.strategy) == "filter 20 %"
    assert [event["event"] for event in writer.journal.events()] == ["proposed", "idea"]
    assert model.requests[0].json_mode


def test_unusable_idea_is_sent_back_with_the_reason(tmp_path: Path) -> None:
    bad = {**IDEA, "suspicious": "none"}
    writer, model = author(tmp_path, json.dumps({"ideas": [bad]}), json.dumps({"ideas": [IDEA]}))
    assert writer.propose(1, "explore", [], {}, **PAGE).name == "BoxArea"
    again = model.requests[1]
    assert (again.attempt, [m.role for m in again.messages]) == (2, ["system", "user", "assistant", "user"])
    assert again.messages[3].content == (
        "The JSON object does not fit what was asked for: correct it and send all of it again.\n"
        '- ideas[0]: Value error, suspicious "none" gives filter nothing to go by: name an end'
    )


def test_an_unfit_idea_does_not_spoil_the_others(tmp_path: Path) -> None:
    bad = {**IDEA, "name": "Blind", "suspicious": "none"}
    writer, model = author(tmp_path, json.dumps({"ideas": [bad, "an idea", IDEA]}))
    assert writer.propose(1, "explore", [], {}, **PAGE).name == "BoxArea"
    assert len(model.requests) == 1
    proposed, chosen = writer.journal.events()
    assert [idea["name"] for idea in proposed["ideas"]] == ["BoxArea"]
    (first, why), (second, _) = chosen["passed_over"]
    assert (first, second) == ("Blind", "idea 2")
    assert 'suspicious "none" gives filter nothing to go by' in why


def test_name_of_an_earlier_metric_is_not_taken_again(tmp_path: Path) -> None:
    other = {**IDEA, "name": "BoxPerimeter", "description": "The sum of all sides of each box."}
    writer, _ = author(tmp_path, json.dumps({"ideas": [IDEA, other]}))
    assert writer.propose(2, "explore", [Idea.model_validate(IDEA)], {}, **PAGE).name == "BoxPerimeter"
    (event,) = writer.journal.events("idea")
    assert event["passed_over"] == [
        ["BoxArea", "the name was used before"],
    ]


def test_ideas_none_of_which_can_be_tried_are_sent_back(tmp_path: Path) -> None:
    other = {**IDEA, "name": "Both", "reuse": ["BoxArea", "Nothing"], "description": "Two metrics in one."}
    new = {**IDEA, "name": "BoxPerimeter", "description": "The sum of all sides of each box."}
    writer, model = author(tmp_path, json.dumps({"ideas": [IDEA, other]}), json.dumps({"ideas": [new]}))
    tried = [Idea.model_validate(IDEA)]
    table = ScoreTable("BoxArea", "image", "low", (), None, np.zeros(0), ())
    assert writer.propose(2, "improve", tried, {"BoxArea": table}, **PAGE).name == "BoxPerimeter"
    assert model.requests[1].messages[3].content == (
        "None of these ideas can be tried. Give new ones.\n"
        "- BoxArea: the name was used before\n"
        "- Both: there are no scores of Nothing"
    )


def test_an_annotator_mends_no_more_than_there_is_time_for(tmp_path: Path) -> None:
    greedy = {**IDEA, "strategy": {"kind": "relabel", "fraction": 0.9}, "finds": ["spawn"]}
    writer, _ = author(tmp_path, json.dumps({"ideas": [greedy]}))
    assert writer.propose(1, "explore", [], {}, **PAGE).strategy == Strategy(kind="relabel", fraction=0.4)


def test_insights_are_in_the_next_brainstorm(tmp_path: Path) -> None:
    page = json.dumps({"works": ["Small boxes."], "fails": ["Large boxes."], "next": ["Middling boxes."]})
    writer, model = author(tmp_path, page, json.dumps({"ideas": [IDEA]}))
    writer.distil(3, **PAGE)
    writer.propose(4, "explore", [], {}, **PAGE)
    assert (model.requests[0].purpose, model.requests[0].json_mode) == ("distil", True)
    text = model.requests[1].messages[1].content
    assert "What works here:\n- Small boxes.\n\nWhat does not:\n- Large boxes." in text
    assert writer.journal.events("distilled")[0]["next"] == ["Middling boxes."]


def test_gives_up_after_the_tries_with_the_last_reason(tmp_path: Path) -> None:
    writer, model = author(tmp_path, *["no"] * 9)
    with pytest.raises(ModelError, match="no usable answer to brainstorm in 4 attempts"):
        writer.propose(1, "explore", [], {}, **PAGE)
    assert len(model.requests) == 4


def test_valid_code_needs_no_repair(tmp_path: Path) -> None:
    writer, _ = author(tmp_path, block(GOOD))
    candidate = writer.write(1, Idea.model_validate(IDEA))
    assert (candidate.accepted, candidate.attempt, candidate.mistakes) == (True, 1, ())


def test_repair_gets_the_code_and_the_precise_failure(tmp_path: Path) -> None:
    writer, model = author(tmp_path, block(WRONG_AXIS), block(GOOD))
    candidate = writer.write(1, Idea.model_validate(IDEA))
    assert (candidate.accepted, candidate.attempt) == (True, 2)
    request = model.requests[1]
    assert (request.purpose, request.attempt) == ("repair", 2)
    text = request.messages[1].content
    assert WRONG_AXIS in text
    assert candidate.mistakes[0] in text
    assert "boxes[2] - sample.boxes[:, 0]" in candidate.mistakes[0]
    assert "do not repeat them" not in text


def test_second_repair_hears_of_both_mistakes(tmp_path: Path) -> None:
    writer, model = author(tmp_path, block(WRONG_AXIS), "Sorry, I cannot see the code.", block(GOOD))
    candidate = writer.write(1, Idea.model_validate(IDEA))
    assert candidate.attempt == 3
    text = model.requests[2].messages[1].content
    assert WRONG_AXIS in text
    assert "The reply holds no Python code" in text
    assert "do not repeat them:\n\nFailed in stage fixtures" in text


def test_parked_after_three_repairs(tmp_path: Path) -> None:
    writer, model = author(tmp_path, *[block(WRONG_AXIS)] * 9)
    candidate = writer.write(1, Idea.model_validate(IDEA))
    assert (candidate.accepted, candidate.attempt, len(model.requests)) == (False, 4, 4)
    assert [e["accepted"] for e in writer.journal.events("candidate")] == [False] * 4


def test_wish_of_a_person_goes_into_the_repair(tmp_path: Path) -> None:
    writer, model = author(tmp_path, block(GOOD), block(GOOD.replace("BoxArea", "BoxArea2")))
    idea = Idea.model_validate(IDEA)
    revised = writer.revise(1, idea, writer.write(1, idea), "Use the square root.")
    assert (revised.attempt, "BoxArea2" in revised.source) == (2, True)
    assert "Use the square root." in model.requests[1].messages[1].content


def test_measured_numbers_do_not_change_the_key(tmp_path: Path) -> None:
    keys = []
    for number in (0.5, 0.6):
        folder = tmp_path / str(number)
        writer, model = author(folder, json.dumps({"ideas": [IDEA]}))
        writer.propose(1, "explore", [], {}, **PAGE | {"control": {"map": number, "ar100": number}})
        assert f"mAP {number:.3f}" in model.requests[0].messages[1].content
        keys.append(model.requests[0].key)
    assert keys[0] == keys[1]


def proofs(*shares: float | None) -> Callable[[int, int, Idea, str], Proof]:
    """Of valid code: how clearly it notices a moved box, each time it is asked; None: it is not valid."""
    left = list(shares)

    def prove(number: int, attempt: int, idea: Idea, source: str) -> Proof:
        share = left.pop(0)
        if share is None:
            return Proof(check("import os"))
        own = Noticed(kind="shift", count=20, before=0.5, after=share, p_value=0.01)
        return Proof(check(source), (own,), "hardly noticed: shift" if share < 0.6 else "")

    return prove


SHIFTS = Idea.model_validate({**IDEA, "finds": ["shift"]})
SHARPER = GOOD.replace("class BoxArea", "# sharper\nclass BoxArea")


@pytest.mark.parametrize(
    ("shares", "source", "better"),
    [
        ((0.55, 0.9), SHARPER, True),
        ((0.55, 0.58), SHARPER, True),
        ((0.55, 0.5), GOOD, False),
        ((0.55, None), GOOD, False),
    ],
)
def test_weak_code_is_sent_back_once_and_the_sharper_one_is_taken(
    tmp_path: Path, shares: tuple[float | None, ...], source: str, better: bool
) -> None:
    writer, model = author(tmp_path, block(GOOD), block(SHARPER), prove=proofs(*shares))
    candidate = writer.write(1, SHIFTS)
    assert candidate.accepted
    assert candidate.source.strip() == source.strip()
    assert candidate.attempt == 2
    assert [own.after for own in candidate.noticed] == [shares[1] if better else shares[0]]
    assert [(request.purpose, request.attempt) for request in model.requests] == [("write", 1), ("repair", 2)]
    assert "hardly noticed: shift" in model.requests[1].messages[-1].content
    said = [event for event in writer.journal.events() if event["event"] == "sharpened"]
    assert [(event["attempt"], event["better"]) for event in said] == [(2, better)]


def test_code_that_keeps_its_promise_is_not_sent_back(tmp_path: Path) -> None:
    writer, model = author(tmp_path, block(GOOD), prove=proofs(0.9))
    assert writer.write(1, SHIFTS).attempt == 1
    assert len(model.requests) == 1


def test_after_the_last_try_weak_code_is_taken_as_it_is(tmp_path: Path) -> None:
    writer, model = author(tmp_path, block(GOOD), block(GOOD), prove=proofs(None, 0.5), tries=1)
    candidate = writer.write(1, SHIFTS)
    assert (candidate.accepted, candidate.attempt, len(model.requests)) == (True, 2, 2)
