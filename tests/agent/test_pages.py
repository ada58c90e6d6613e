"""What the prompts tell of the rounds so far."""

from __future__ import annotations

from scripted import IDEA

from metricsmith.agent.ideas import Idea
from metricsmith.agent.outcome import Numbers, Outcome
from metricsmith.agent.pages import ROOM, journal_page


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


def told_in_full(*lengths: int) -> set[int]:
    """The rounds that are, where the model wrote so much about each."""
    idea = Idea.model_validate(IDEA)
    own = len(idea.description)
    outcomes = [outcome(n, lesson="l" * (length - own)) for n, length in enumerate(lengths, start=1)]
    page = journal_page([idea] * len(lengths), outcomes, None)
    assert len(page["history"]) == len(lengths), "all are told, if only in a line"
    detailed: set[int] = page["detailed"]
    return detailed


def test_only_the_latest_rounds_are_told_in_full() -> None:
    half = ROOM // 2
    assert told_in_full(half, half) == {1, 2}
    assert told_in_full(100, half, half, 100) == {3, 4}, "an older one is not told before a newer one"
    assert told_in_full(100, ROOM + 1) == {2}, "the latest is told in any case"
    assert told_in_full() == set()


def test_what_was_not_measured_is_told_so() -> None:
    curated = Numbers(images=4, boxes=4, map=0.5, ap50=0.5, ar100=0.5)
    ideas = [Idea.model_validate({**IDEA, "family": family}) for family in ("new", "hardness")]
    page = journal_page(ideas, [outcome(1), outcome(2, curated=curated)], None)
    assert [entry["measured"] for entry in page["history"]] == [False, True]
    assert page["families"] == ["hardness"], "new is no family"
