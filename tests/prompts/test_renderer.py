from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import pytest

from metricsmith.evaluation.planted import MISTAKES, Noticed
from metricsmith.prompts import measured, render
from metricsmith.prompts.renderer import _SLOT
from metricsmith.prompts.shelf import NEW, SHELF

IDEA = {
    "name": "BoxSharpness",
    "description": "Variance of the Laplacian inside each box; low means blurred.",
    "hypothesis": "Blurred pandas are badly annotated.",
    "level": "object",
    "suspicious": "low",
    "strategy": {"kind": "filter"},
    "family": "image-quality",
    "adapts": "The variance of the Laplacian, inside the box only.",
    "reuse": (),
}


def test_measured_value_is_in_the_text_and_a_slot_in_the_canonical() -> None:
    marked = f"mAP {measured(0.5949, 'map', '.3f')}!"
    assert _SLOT.sub(r"\2", marked) == "mAP 0.595!"
    assert _SLOT.sub(r"⟨\1⟩", marked) == "mAP ⟨map⟩!"


def test_measured_value_cannot_forge_a_slot() -> None:
    marked = measured("a\x03b\x01evil\x02c", "card")
    assert _SLOT.sub(r"⟨\1⟩", marked) == "⟨card⟩"
    assert _SLOT.sub(r"\2", marked) == "abevilc"


def test_missing_value_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="idea"):
        render("write")


def test_system_prompt() -> None:
    assert render("system").text == (
        "You are a senior data-centric machine-learning engineer for object detection. The detector, its "
        "training recipe and the size of the training set are fixed; only the choice and the quality of the "
        "training data can change. You invent metrics that find label errors and useless or especially useful "
        "images, and you write their code.\n"
        "\n"
        "You work alone, in text only: you have no tools, you cannot run code or open files, and nobody answers "
        "questions. Answer in one message, in exactly the form that is asked for, with nothing else around it.\n"
    )


def versus(ap: float, gain: float | None, better: int) -> dict[str, Any]:
    interval = None if gain is None else (gain - 5.25, gain + 5.25)
    return {
        "other": {
            **{"map": ap, "ap50": ap + 0.2, "ar100": ap + 0.1, "boxes": 90.4},
            **{"changed_pct": 41.7, "corrected_pct": {"enlarge": 41.7}},
        },
        "map_pct": gain,
        "map_interval_pct": interval,
        "ap50_pct": gain,
        "ar100_pct": gain,
        "ar100_interval_pct": interval,
        "seeds": 3,
        "seeds_better": better,
    }


CHANGED = {"changed_pct": 62.5, "corrected_pct": {"drop": 12.5, "enlarge": 50.0}}
NOTICED = Noticed(kind="shift", count=32, before=0.487, after=0.818, p_value=0.001)
FINDS = ["`shift` (a box is moved)", "`flip` (a box has another class)"]


def measured_outcome(**changes: Any) -> dict[str, Any]:
    control = changes.pop("control", versus(0.5, 10.0, 3))
    relabel = changes.pop("random_relabel", None)
    best = changes.pop("best_random_relabel", None)
    outcome = {
        "measured": True,
        "rows": 360,
        "scores": "lowest 1, median 2, highest 3",
        "strategy": "filter 30 %",
        "parts": ("filter 30 % by BoxSharpness",),
        "curated": {"map": 0.55, "ap50": 0.75, "ar100": 0.63, "boxes": 88.0, **CHANGED},
        "control": control,
        "random_relabel": relabel,
        "best_random_relabel": best,
        "verdict": "kept",
        "noticed": (),
        **changes,
    }
    rivals = [
        ("the control", control),
        ("as many images relabelled at random", relabel),
        ("the best curation before with as many images relabelled at random", best),
    ]
    return {**outcome, "rivals": [(name, one) for name, one in rivals if one]}


def test_reflect_prompt_of_a_measured_round() -> None:
    prompt = render("reflect", round=2, idea=IDEA, outcome=measured_outcome(noticed=(NOTICED,)))
    assert prompt.text == expected("reflect")
    assert "| with the metric | ⟨map⟩ | ⟨ap50⟩ | ⟨ar100⟩ | ⟨boxes⟩ |" in prompt.canonical
    assert "0.55" not in prompt.canonical
    assert "4.8" not in prompt.canonical


def test_reflect_prompt_after_a_relabelling_on_the_best() -> None:
    outcome = measured_outcome(
        random_relabel=versus(0.53, -1.5, 1),
        best_random_relabel=versus(0.56, -2.5, 1),
        verdict="dropped",
        strategy="relabel 40 % on the best",
        parts=("filter 30 % by BoxArea", "relabel 40 % by BoxSharpness"),
    )
    idea = {**IDEA, "reuse": ("BoxArea", "BoxSharpness"), "strategy": {"kind": "relabel"}}
    prompt = render("reflect", round=2, idea=idea, outcome=outcome)
    assert prompt.text == expected("reflect_relabel")
    assert "⟨changed⟩ % came back with other boxes" in prompt.canonical


def test_reflect_prompt_over_a_control_that_finds_nothing() -> None:
    text = render("reflect", round=2, idea=IDEA, outcome=measured_outcome(control=versus(0.0, None, 3))).text
    assert "| gain over the control in % | n/a | n/a | n/a | |" in text
    assert "95 % interval of the gain n/a in mAP and n/a in AR@100" in text


def test_reflect_prompt_of_an_unmeasured_round() -> None:
    outcome = {
        "measured": False,
        "verdict": "redundant",
        "reason": "It ranks the images as Other does.",
        "noticed": (),
        "strategy": "filter 30 %",
        "parts": (),
    }
    text = render("reflect", round=3, idea=IDEA, outcome=outcome).text
    middle = text.split("## What came out\n")[1].split("## Your answer")[0]
    assert middle == "\nIt was not measured. It ranks the images as Other does.\n\nVerdict: redundant.\n\n"


def expected(name: str) -> str:
    """A whole prompt as it must be, kept as a file so that it can be read."""
    return (Path(__file__).parent / "expected" / f"{name}.md").read_text(encoding="utf-8")


BRIEFING = {
    "card": "# Dataset card: pandas\n\n- 40 images, 41 boxes.\n",
    "budget": 10,
    "pool_images": 40,
    "budget_share": "25%",
    "seeds": 3,
    "idea_count": 3,
    "mend": 0.4,
    "has_reference": True,
    "shelf": SHELF[:2],
    "mistakes": MISTAKES,
    "sheet": "",
}
NO_PAGE = {
    "control": {"map": 0.2551, "ar100": 0.51},
    "errors": "- Missed a lot.",
    "history": [],
    "detailed": set(),
    "best": None,
    "families": [],
    "given": [],
}


def a_page() -> dict[str, Any]:
    """Four rounds, the first of them too old to be told in full."""
    past = {
        "metric": "BoxArea",
        "family": "geometry-outliers",
        "mode": "explore",
        "strategy": "relabel 20 %",
        "idea": {
            "description": "The area of each box; low means tiny.",
            "reuse": (),
            "strategy": {"kind": "relabel"},
        },
        "alike": "BoxWidth +0.81",
        "lesson": "Small boxes are rather good.",
        "next": "Look at the large ones.",
    }
    relabelled = measured_outcome(
        control=versus(0.2, 5.91, 3),
        random_relabel=versus(0.3, -2.5, 1),
        noticed=(NOTICED, NOTICED.model_copy(update={"kind": "enlarge"})),
    )
    failed = {"measured": False, "verdict": "parked", "reason": "No valid code.", "noticed": ()}
    both = {
        "description": "The two together.",
        "reuse": ("BoxArea", "BoxWidth"),
        "strategy": {"kind": "filter"},
    }
    mended = {"random_relabel": versus(0.3, -2.5, 1)}
    history = [
        {**past, **measured_outcome(), "strategy": "filter 30 %", "round": 1, "metric": "BoxWidth"},
        {**past, **relabelled, "round": 2, "verdict": "dropped", "strategy": "relabel 20 %"},
        {**past, **failed, "round": 3, "family": "new"},
        {
            **past,
            **measured_outcome(**mended),
            "round": 4,
            "idea": both,
            "mode": "improve",
            "verdict": "beaten",
        },
    ]
    best = {"round": 1, "parts": ("filter 30 % by BoxWidth", "relabel 20 % by BoxArea")}
    return {
        **NO_PAGE,
        "history": history,
        "detailed": {2, 3, 4},
        "best": best,
        "families": ["geometry-outliers"],
    }


INSIGHTS = {"works": ["Wide boxes."], "fails": ["Tiny boxes."], "next": ["Tall boxes."]}


def test_brainstorm_prompt_of_a_later_round() -> None:
    prompt = render(
        "brainstorm",
        **BRIEFING,
        **a_page(),
        mode="improve",
        hints=["Look at the colours."],
        insights=INSIGHTS,
    )
    assert prompt.text == expected("brainstorm")
    for number in ("0.255", "5.9", "62", "+0.81", "40 images, 41 boxes", "Missed a lot"):
        assert number in prompt.text
        assert number not in prompt.canonical


def test_brainstorm_prompt_that_explores() -> None:
    prompt = render("brainstorm", **BRIEFING, **a_page(), mode="explore", hints=[], insights=None)
    this_round = prompt.text.split("## This round: explore\n\n")[1].split("\n\n## Your answer")[0]
    assert this_round == (
        "New ground: each idea adapts a family that no earlier round has tried (tried: geometry-outliers), "
        "with new code."
    )


def test_brainstorm_prompt_of_the_first_round_without_a_reference() -> None:
    briefing = {**BRIEFING, "card": "# Dataset card: pandas\n", "has_reference": False, "idea_count": 1}
    prompt = render("brainstorm", **briefing, **NO_PAGE, mode="explore", hints=[], insights=None)
    assert prompt.text == expected("brainstorm_first")
    assert "relabel" not in prompt.text


def test_brainstorm_prompt_that_improves_without_a_reference() -> None:
    briefing = {**BRIEFING, "has_reference": False}
    prompt = render("brainstorm", **briefing, **NO_PAGE, mode="improve", hints=[], insights=None)
    assert "relabel" not in prompt.text


def test_brainstorm_prompt_with_metrics_at_hand() -> None:
    page = {**NO_PAGE, "given": [("BoxArea", "The area of each box."), ("BoxWidth", "The width.")]}
    prompt = render("brainstorm", **BRIEFING, **page, mode="improve", hints=[], insights=None)
    before = prompt.text.split("## What was tried before\n\n")[1].split("\n\n## What a metric can see")[0]
    assert before == (
        "Nothing yet: this is the first round.\n\n"
        "Metrics that were given, with scores to use again:\n"
        "- `BoxArea`: The area of each box.\n"
        "- `BoxWidth`: The width."
    )


def test_brainstorm_prompt_with_a_contact_sheet() -> None:
    briefing = {**BRIEFING, "sheet": "- 1: a.jpg, 1 annotated; random"}
    prompt = render("brainstorm", **briefing, **NO_PAGE, mode="explore", hints=[], insights=None)
    look = prompt.text.split("## A look at the images\n\n")[1].split("\n\n## The control")[0]
    assert look == (
        "The picture that goes with this message, if you can see it, shows numbered tiles of the pool. Annotated "
        "boxes are yellow; where a detector's predictions are shown, they are cyan.\n\n"
        "- 1: a.jpg, 1 annotated; random"
    )
    assert "a.jpg" not in prompt.canonical


def test_distil_prompt() -> None:
    prompt = render("distil", **BRIEFING, **a_page(), insights=INSIGHTS)
    assert prompt.text == expected("distil")


def test_every_family_has_a_name_of_its_own_and_a_source() -> None:
    assert len({family.name for family in SHELF}) == len(SHELF)
    assert NEW not in {family.name for family in SHELF}
    assert all(family.what and family.needs and family.source for family in SHELF)


def test_write_prompt() -> None:
    prompt = render(
        "write",
        idea=IDEA,
        class_names=("panda", "bear"),
        width=480,
        height=270,
        hints=["Be quick."],
        finds=FINDS,
    )
    assert prompt.text == expected("write")


def test_repair_prompt() -> None:
    prompt = render(
        "repair",
        idea=IDEA,
        code="import numpy as np\n\n1 / 0",
        problem="Failed in stage fixtures: exception.\nZeroDivisionError: division by zero\nLine 3: 1 / 0",
        earlier=["Failed in stage parse: syntax-error."],
        finds=FINDS,
    )
    assert prompt.text == expected("repair")
