"""Which kind of idea a round wants, and which of the proposed ones it tries."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripted import IDEA

from metricsmith.agent.ideas import Idea
from metricsmith.agent.policy import Mode, choose, mode_of, similarity
from metricsmith.evaluation.dataset import Dataset, Image
from metricsmith.evaluation.scores import ScoreTable

WORDS = ("area", "edges", "colour", "neighbours", "confidence", "blur")


def idea(name: str, family: str = "new", **facts: Any) -> Idea:
    number = sum(map(ord, name))
    words = " ".join(WORDS[(number + k * k) % len(WORDS)] + str(number) * 0 + name for k in range(4))
    return Idea.model_validate(
        {**IDEA, "name": name, "family": family, "description": f"Measures {words}.", **facts}
    )


POOL = Dataset("toy", Path("toy"), tuple(Image(n, Path("x"), "x", 8, 8) for n in range(3)), ("cat",))
SCORED = {"First": ScoreTable.of("First", "image", "low", np.arange(3.0), POOL)}


def modes(seed: int, rounds: int = 40) -> list[Mode]:
    found: list[Mode] = []
    for number in range(1, rounds + 1):
        found.append(mode_of(number, found, scored=True, seed=seed))
    return found


def test_as_long_as_nothing_has_scores_there_is_nothing_to_improve() -> None:
    assert mode_of(7, ["explore"] * 6, scored=False, seed=0) == "explore"


@pytest.mark.parametrize("seed", range(5))
def test_the_coin_is_seeded_fair_and_never_three_times_the_same(seed: int) -> None:
    found = modes(seed)
    assert found == modes(seed)
    assert max(len(list(run)) for _, run in groupby(found)) <= 2
    assert 12 <= found.count("improve") <= 28


def test_seeds_differ() -> None:
    assert len({tuple(modes(seed)) for seed in range(5)}) == 5


def test_a_round_that_explores_takes_the_first_family_that_was_not_tried() -> None:
    tried = [idea("First", "overlooked")]
    ideas = [idea("Second", "overlooked"), idea("Both", reuse=["First"]), idea("Third", "hardness")]
    found = choose(ideas, "explore", tried, SCORED)
    assert found.idea == ideas[2]
    assert found.passed_over == (
        ("Second", "the family overlooked was tried"),
        ("Both", "it uses only what was tried"),
    )


@pytest.mark.parametrize(
    "better",
    [
        idea("Sharper", "overlooked"),
        idea("OnTop", "hardness", on_best=True),
        idea("Again", "hardness", reuse=["First"]),
    ],
)
def test_a_round_that_improves_takes_the_first_that_builds_on_something(better: Idea) -> None:
    found = choose([idea("Else", "hardness"), better], "improve", [idea("First", "overlooked")], SCORED)
    assert found.idea == better
    assert found.passed_over == (("Else", "it improves nothing that was tried"),)


def test_where_no_idea_fits_the_first_new_one_is_tried() -> None:
    ideas = [idea("First", "overlooked"), idea("Second", "overlooked"), idea("Third", "overlooked")]
    found = choose(ideas, "explore", [idea("First", "overlooked")], {})
    assert found.idea == ideas[1]
    assert [name for name, _ in found.passed_over] == ["First", "Third"]


def test_what_cannot_be_tried_is_not_tried_for_want_of_better() -> None:
    first = idea("First")
    copy = first.model_copy(update={"name": "Copy"})
    unknown = idea("Unknown", reuse=["First", "Ghost"])
    found = choose([first, copy, unknown], "improve", [first], SCORED)
    assert found.idea is None
    assert found.passed_over == (
        ("First", "the name was used before"),
        ("Copy", "it says what First said"),
        ("Unknown", "there are no scores of Ghost"),
    )


@pytest.mark.parametrize(
    ("level", "suspicious", "kind", "reason"),
    [
        ("image", "none", "filter", "First: this metric calls no score suspicious, so filter has nothing"),
        ("image", "low", "filter_boxes", "First: this metric scores images, so filter_boxes cannot tell"),
        ("image", "low", "filter", ""),
        ("image", "none", "stratify", ""),
    ],
)
def test_scores_are_not_used_again_for_what_they_cannot_do(
    level: Any, suspicious: Any, kind: str, reason: str
) -> None:
    """Whatever the idea says of their level and end: a run must not stop at it."""
    table = ScoreTable.of("First", level, suspicious, np.arange(3.0), POOL)
    again = idea("Again", reuse=["First"], level="object", strategy={"kind": kind, "fraction": 0.1})
    found = choose([again], "improve", [idea("First")], {"First": table})
    assert (found.idea is None) == bool(reason)
    assert reason == "" or found.passed_over[0][1].startswith(reason)


def test_a_metric_that_was_given_keeps_its_name() -> None:
    assert choose([idea("First")], "explore", [], SCORED).passed_over == (
        ("First", "the name was used before"),
    )


def test_similarity_is_the_cosine_of_word_counts() -> None:
    first = Idea.model_validate({**IDEA, "name": "BoxArea", "description": "area area height"})
    second = Idea.model_validate({**IDEA, "name": "BoxHeight", "description": "height height area"})
    # box 1, area 3, height 1 against box 1, area 1, height 3
    assert similarity(first, second) == pytest.approx((1 + 3 + 3) / 11)
    assert similarity(first, first) == pytest.approx(1)


def test_a_composite_of_several_metrics_is_a_score_of_images() -> None:
    several = idea("Both", reuse=["First", "Second"], level="object", suspicious="low")
    assert (several.level, several.suspicious) == ("image", "high")
    single = idea("Again", reuse=["First"], level="object", suspicious="low")
    assert (single.level, single.suspicious) == ("object", "low")


def test_boxes_are_taken_out_by_scores_of_boxes_only() -> None:
    with pytest.raises(ValueError, match="filter_boxes needs a score for each box"):
        idea("Boxes", level="image", strategy={"kind": "filter_boxes", "fraction": 0.1})


def test_an_unknown_family_is_told_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'overlooked'"):
        idea("Made", "made-up")
