"""What the prompts tell of the rounds so far."""

from __future__ import annotations

from scripted import IDEA

from metricsmith.agent.ideas import Idea
from metricsmith.agent.outcome import Numbers, Outcome
from metricsmith.agent.pages import IN_DETAIL, journal_page


def outcome(number: int, **facts: object) -> Outcome:
    return Outcome.model_validate(
        {
            "round": number,
            "metric": "BoxArea",
            "mode": "explore",
            "family": "geometry-outliers",
            "strategy": "filter 20 %",
            "repairs": 0,
            "verdict": "dropped",
            **facts,
        }
    )


def test_the_strongest_correlations_are_told_in_words() -> None:
    alike = {"A": -0.9, "B": 0.52, "C": 0.4, "D": 0.35, "E": 0.1}
    (entry,) = journal_page([Idea.model_validate(IDEA)], [outcome(1, alike=alike)], None)["history"]
    assert entry["alike"] == "A -0.90, B +0.52, C +0.40"
    (entry,) = journal_page([Idea.model_validate(IDEA)], [outcome(1, alike={"E": 0.1})], None)["history"]
    assert entry["alike"] == "none of note"


def test_only_the_latest_rounds_are_told_in_full() -> None:
    count = IN_DETAIL + 3
    ideas = [Idea.model_validate({**IDEA, "name": f"BoxArea{n}"}) for n in range(count)]
    page = journal_page(ideas, [outcome(n + 1) for n in range(count)], None)
    assert page["detailed"] == set(range(4, count + 1))
    assert len(page["history"]) == count


def test_what_was_not_measured_is_told_so() -> None:
    curated = Numbers(images=4, boxes=4, map=0.5, ap50=0.5, ar100=0.5)
    ideas = [Idea.model_validate({**IDEA, "family": family}) for family in ("new", "hardness")]
    page = journal_page(ideas, [outcome(1), outcome(2, curated=curated)], None)
    assert [entry["measured"] for entry in page["history"]] == [False, True]
    assert page["families"] == ["hardness"], "new is no family"
