"""What runs cost and brought, and the library of metrics."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from scripted import IDEA

from metricsmith.agent.accepted import MetricCard, accept, card_of, read_metric
from metricsmith.agent.cli import main
from metricsmith.agent.models import Request, Response
from metricsmith.agent.models.request import Message, Usage
from metricsmith.agent.run_folder import RunFolder
from metricsmith.agent.settings import Settings
from metricsmith.agent.stats import stats_of
from metricsmith.agent.transcript import Transcript
from metricsmith.sandbox.errors import RunError

ROOT = Path(__file__).parents[2]
KEPT = min((ROOT / "metrics_generated").glob("*.py"))
"""One of the shipped metrics."""


def journal(folder: Path, *events: dict[str, Any]) -> RunFolder:
    folder.mkdir(parents=True)
    lines = (
        json.dumps({"seq": n, "time": f"2026-01-01T00:{n:02}:00+00:00", **event})
        for n, event in enumerate(events)
    )
    (folder / "journal.jsonl").write_text("".join(line + "\n" for line in lines))
    return RunFolder(folder)


def candidate(number: int, attempt: int, error: dict[str, str] | str | None) -> dict[str, Any]:
    return {
        "event": "candidate",
        "round": number,
        "attempt": attempt,
        "accepted": error is None,
        "stage": "reply" if isinstance(error, str) else "fixtures",
        "error": error,
    }


def judged(number: int, verdict: str, gain: float | None, **alike: float) -> dict[str, Any]:
    control = None if gain is None else {"map_pct": gain}
    return {
        "event": "judged",
        "round": number,
        "metric": f"Metric{number}",
        "verdict": verdict,
        "control": control,
        "alike": alike,
    }


def tried(number: int, mode: str, family: str, words: str, **facts: Any) -> dict[str, Any]:
    idea = {**IDEA, "name": f"Metric{number}", "family": family, "description": words, **facts}
    return {"event": "idea", "round": number, "mode": mode, "idea": idea, "passed_over": []}


EVENTS = [
    {"event": "started", "hints": ["look at the colours"]},
    *[{"event": "trial"}] * 2,
    {"event": "proposed", "round": 1, "ideas": [1, 2, 3]},
    tried(1, "explore", "overlooked", "confident predictions without a box"),
    candidate(1, 1, {"kind": "wrong-shape"}),
    candidate(1, 2, "no-code"),
    candidate(1, 3, None),
    {"event": "approval", "round": 1, "decision": "hint"},
    candidate(1, 4, None),
    judged(1, "kept", 12.5),
    {"event": "reflected", "round": 1},
    {"event": "proposed", "round": 2, "ideas": [1, 2]},
    tried(2, "explore", "hardness", "confident predictions without a margin"),
    candidate(2, 1, None),
    judged(2, "dropped", -3.0, Metric1=-0.9),
    {"event": "proposed", "round": 3, "ideas": [1]},
    tried(3, "improve", "overlooked", "edges of the silhouette"),
    candidate(3, 1, {"kind": "wrong-shape"}),
    judged(3, "dropped", -1.0, Metric1=0.1, Metric2=0.2),
    {"event": "proposed", "round": 4, "ideas": [1]},
    tried(4, "improve", "overlooked", "the two together", reuse=["Metric1", "Metric2"]),
    judged(4, "redundant", None, Metric1=1.0),
]


def test_the_sums_are_those_of_the_journal(tmp_path: Path) -> None:
    found = stats_of([journal(tmp_path / "pandas", *EVENTS)])
    assert (found.runs, found.rounds, found.ideas, found.candidates) == (1, 4, 7, 3)
    assert (found.valid_at_first, found.valid_after_repair) == (1, 2)
    assert found.share_at_first == pytest.approx(1 / 3)
    assert found.mistakes == {"fixtures: wrong-shape": 2, "reply: no-code": 1}
    assert found.verdicts == {"kept": 1, "dropped": 2, "redundant": 1}
    assert (found.kept, found.hints) == (1, 2)
    assert found.best == {"pandas": [12.5, 12.5, 12.5, 12.5]}
    assert found.modes == {"explore": 2, "improve": 2}
    assert (found.new_families, found.composites) == (2, 1)
    assert [scores for _, scores in found.pairs] == [0.9, 0.1, 0.2]
    assert found.text_tells == pytest.approx(0.87, abs=0.01), "the two that speak of predictions score alike"
    assert found.seconds["training and evaluating"] == 120
    assert sum(found.seconds.values()) == 60 * (len(EVENTS) - 1)


def test_runs_are_added_up(tmp_path: Path) -> None:
    found = stats_of([journal(tmp_path / name, *EVENTS) for name in ("a", "b")])
    assert (found.runs, found.rounds, found.kept) == (2, 8, 2)
    assert list(found.best) == ["a", "b"]


@pytest.mark.parametrize(
    ("usages", "tokens"),
    [
        ([Usage(prompt_tokens=10, completion_tokens=3)] * 2, (20, 6)),
        ([Usage(prompt_tokens=10, completion_tokens=3), None], (None, None)),
    ],
)
def test_tokens_are_unknown_where_one_call_does_not_say(
    tmp_path: Path, usages: list[Usage | None], tokens: tuple[int | None, int | None]
) -> None:
    folder = journal(tmp_path / "run", *EVENTS)
    transcript = Transcript(folder.transcript)
    for number, usage in enumerate(usages):
        request = Request(
            purpose="write",
            round=1,
            attempt=number + 1,
            messages=(Message(role="user", content=str(number)),),
            template="0",
        )
        transcript.append(request, Response(text="x", model="m", usage=usage), name="scripted")
    found = stats_of([folder])
    assert found.calls == 2
    assert (found.prompt_tokens, found.completion_tokens) == tokens


def test_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="nothing: no run here"):
        stats_of([RunFolder(tmp_path / "nothing")])


def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object
) -> tuple[int, str]:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "argv", ["metricsmith", *map(str, words)])
    try:
        main()
        status = 0
    except SystemExit as ending:
        status = int(ending.code or 0)
    out, err = capsys.readouterr()
    return status, out + err


def test_the_recorded_runs_have_stats(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recordings = sorted((ROOT / "agent" / "recordings").iterdir())
    status, said = call(monkeypatch, capsys, "stats", *recordings)
    assert status == 0
    found = stats_of([RunFolder(folder) for folder in recordings])
    kept, shipped = found.kept, len(list((ROOT / "metrics_generated").glob("*.json")))
    assert shipped <= kept <= shipped + found.composites, "a composite that was kept has no code to ship"
    for text in ("valid at the first try", f"{kept} kept", "unknown: the provider did not say"):
        assert text in said


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run that kept one metric."""
    folder = RunFolder(tmp_path / "pandas")
    folder.create(Settings(data=tmp_path), {"kind": "live"})
    card = card_of(KEPT)
    assert card is not None
    folder.metrics.mkdir()
    file = folder.metrics / f"{card.name}-{card.sha256[:12]}.py"
    file.write_bytes(KEPT.read_bytes())
    accept(file, card)
    return folder


def test_a_kept_metric_is_promoted_with_its_card(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    library = tmp_path / "library"
    for _ in range(2):  # promoting it again changes nothing
        status, said = call(monkeypatch, capsys, "promote", run.path, KEPT.stem, "--library", library)
        assert (status, said.strip()) == (0, str(library / KEPT.name))
    card = card_of(library / KEPT.name)
    assert isinstance(card, MetricCard)
    assert f"class {KEPT.stem}(" in read_metric(library / KEPT.name)
    status, said = call(monkeypatch, capsys, "metrics", "--library", library)
    assert KEPT.stem in said
    assert card.strategy in said
    status, said = call(monkeypatch, capsys, "metrics", KEPT.stem, "--library", library)
    assert "sha256: " + card.sha256 in said
    assert "def measure" in said


@pytest.mark.parametrize("command", ["promote", "metrics"])
def test_a_metric_that_is_not_there_is_one_line(
    command: str,
    run: RunFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [run.path, "Other"] if command == "promote" else ["Other"]
    status, said = call(monkeypatch, capsys, command, *words, "--library", tmp_path / "library")
    assert status == 1
    expected = f"it kept: {KEPT.stem}" if command == "promote" else "Other.py: No such file"
    assert expected in said
    assert len(said.splitlines()) == 1


def test_another_metric_of_the_name_is_not_overwritten(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / KEPT.name).write_text("mine")
    status, said = call(monkeypatch, capsys, "promote", run.path, KEPT.stem, "--library", library)
    assert (status, (library / KEPT.name).read_text()) == (1, "mine")
    assert "there is another metric of this name" in said


def test_a_finished_run_takes_no_hint(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, capsys, "hint", run.path, "Look at the borders.")[0] == 0
    assert run.hints.read_text() == '"Look at the borders."\n'
    assert "the hint is empty" in call(monkeypatch, capsys, "hint", run.path, "  ")[1]
    run.summary.write_text("{}")
    status, said = call(monkeypatch, capsys, "hint", run.path, "And now?")
    assert status == 1
    assert "this run is finished" in said


def test_an_empty_library_says_how_to_fill_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, said = call(monkeypatch, capsys, "metrics", "--library", tmp_path)
    assert status == 0
    assert "no metrics yet" in said
