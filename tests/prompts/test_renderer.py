from __future__ import annotations

from pathlib import Path

import jinja2
import pytest

from metricsmith.prompts import measured, render
from metricsmith.prompts.renderer import _SLOT

IDEA = {
    "name": "BoxSharpness",
    "description": "Variance of the Laplacian inside each box; low means blurred.",
    "hypothesis": "Blurred pandas are badly annotated.",
    "level": "object",
    "suspicious": "low",
    "strategy": {"kind": "filter"},
    "plan": "filter 30 %",
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


def versus(ap: float, gain: float | None, better: int) -> dict[str, object]:
    interval = None if gain is None else (gain - 5.25, gain + 5.25)
    return {
        "other": {"map": ap, "ap50": ap + 0.2, "ar100": ap + 0.1, "boxes": 90.4},
        "map_pct": gain,
        "map_interval_pct": interval,
        "ap50_pct": gain,
        "ar100_pct": gain,
        "ar100_interval_pct": interval,
        "seeds_better": better,
    }


MEASURED = {
    "measured": True,
    "rows": 360,
    "scores": "lowest 1, median 2, highest 3",
    "curated": {"map": 0.55, "ap50": 0.75, "ar100": 0.63, "boxes": 88.0},
    "control": versus(0.5, 10.0, 3),
    "random_relabel": None,
    "verdict": "kept",
}


def test_reflect_prompt_of_a_measured_round() -> None:
    prompt = render("reflect", round=2, idea=IDEA, outcome=MEASURED, seeds=3)
    assert prompt.text == expected("reflect")
    assert "| with the metric | ⟨map⟩ | ⟨ap50⟩ | ⟨ar100⟩ |" in prompt.canonical
    assert "0.55" not in prompt.canonical
    assert "4.8" not in prompt.canonical


def test_reflect_prompt_after_a_relabelling() -> None:
    outcome = {**MEASURED, "random_relabel": versus(0.53, -1.5, 1), "verdict": "dropped"}
    assert render("reflect", round=2, idea=IDEA, outcome=outcome, seeds=3).text == expected("reflect_relabel")


def test_reflect_prompt_over_a_control_that_finds_nothing() -> None:
    outcome = {**MEASURED, "control": versus(0.0, None, 3)}
    text = render("reflect", round=2, idea=IDEA, outcome=outcome, seeds=1).text
    assert "| gain over control (random sample) in % | n/a | n/a | n/a |" in text
    assert "95 % interval of the gain n/a in mAP and n/a in AR@100" in text


def test_reflect_prompt_of_an_unmeasured_round() -> None:
    outcome = {"measured": False, "verdict": "redundant", "reason": "It ranks the images as Other does."}
    text = render("reflect", round=3, idea=IDEA, outcome=outcome, seeds=3).text
    middle = text.split("## What came out\n")[1].split("## Your answer")[0]
    assert middle == "\nIt was not measured. It ranks the images as Other does.\n\nVerdict: redundant.\n\n"


def expected(name: str) -> str:
    """A whole prompt as it must be, kept as a file so that it can be read."""
    return (Path(__file__).parent / "expected" / f"{name}.md").read_text(encoding="utf-8")


def test_brainstorm_prompt_of_a_later_round() -> None:
    past = {
        "name": "BoxArea",
        "strategy": "relabel 20 %",
        "description": "The area of each box; low means tiny.",
        "lesson": "Small boxes are rather good.",
        "next": "Look at the large ones.",
    }
    prompt = render(
        "brainstorm",
        card="# Dataset card: pandas\n\n- 40 images, 41 boxes.\n",
        budget=10,
        pool_images=40,
        budget_share="25%",
        seeds=3,
        idea_count=3,
        has_reference=True,
        control={"map": 0.2551, "ar100": 0.51},
        hints=["Look at the colours."],
        history=[
            {
                **past,
                "round": 1,
                "measured": True,
                "verdict": "dropped",
                "control": versus(0.2, 5.91, 3),
                "random_relabel": versus(0.3, -2.5, 1),
            },
            {
                **past,
                "round": 2,
                "measured": False,
                "verdict": "parked",
                "reason": "No valid code.",
                "lesson": "",
            },
        ],
    )
    assert prompt.text == expected("brainstorm")
    assert "0.255" not in prompt.canonical
    assert "5.9" not in prompt.canonical
    assert "40 images, 41 boxes" not in prompt.canonical


def test_brainstorm_prompt_of_the_first_round_without_a_reference() -> None:
    prompt = render(
        "brainstorm",
        card="# Dataset card: pandas\n",
        budget=10,
        pool_images=40,
        budget_share="25%",
        seeds=3,
        idea_count=1,
        has_reference=False,
        control=None,
        hints=[],
        history=[],
    )
    assert prompt.text == expected("brainstorm_first")
    assert "relabel" not in prompt.text


def test_write_prompt() -> None:
    prompt = render(
        "write", idea=IDEA, class_names=("panda", "bear"), width=480, height=270, hints=["Be quick."]
    )
    assert prompt.text == expected("write")


def test_repair_prompt() -> None:
    prompt = render(
        "repair",
        idea=IDEA,
        code="import numpy as np\n\n1 / 0",
        problem="Failed in stage fixtures: exception.\nZeroDivisionError: division by zero\nLine 3: 1 / 0",
        earlier=["Failed in stage parse: syntax-error."],
    )
    assert prompt.text == expected("repair")
