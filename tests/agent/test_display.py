"""What a person sees while work goes on."""

from __future__ import annotations

import io

from rich.console import Console

from metricsmith.agent.display import Display


def test_without_a_terminal_each_piece_of_work_is_one_line() -> None:
    said = io.StringIO()
    with Display(Console(file=said, width=80)) as display:
        for done in range(3):
            display.progress("reading images", done, 3)
        display.progress("computing features", 0, 9)
        with display.paused():
            display.console.print("a table")
        display.progress("computing features", 5, 9)
    assert said.getvalue().splitlines() == [
        "reading images (3)",
        "computing features (9)",
        "a table",
        "computing features (9)",
    ]


def test_a_terminal_shows_a_bar_that_goes_away() -> None:
    said = io.StringIO()
    with Display(Console(file=said, force_terminal=True, width=80)) as display:
        display.progress("training", 30, 150)
        display._bars.refresh()
    assert "training" in said.getvalue()
    assert "30/150" in said.getvalue()
