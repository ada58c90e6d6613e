from __future__ import annotations

import json
from pathlib import Path

import pytest

from metricsmith.agent.journal import Journal, first_difference, read_events
from metricsmith.sandbox.errors import RunError


def test_events_are_numbered_and_on_disk_at_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.record("idea", round=1)
    journal.record("trial", round=1, map=0.5)
    lines = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    assert [(line["seq"], line["event"]) for line in lines] == [(0, "idea"), (1, "trial")]


def test_once_computes_only_what_is_not_recorded(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path).once("trial", lambda: {"map": 0.25, "seconds": 9}, seed=1)

    def fail() -> dict[str, float]:
        raise AssertionError("computed again")

    again = Journal(path)
    assert again.once("trial", fail, seed=1)["map"] == 0.25
    assert len(read_events(path)) == 1


def test_going_on_after_the_recorded_events_appends(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path).record("idea", round=1)
    again = Journal(path)
    again.record("idea", round=1)
    again.record("idea", round=2)
    assert [event["round"] for event in read_events(path)] == [1, 2]


def test_another_event_on_covered_ground_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path).record("idea", round=1, name="A")
    with pytest.raises(RunError, match="start a new run"):
        Journal(path).record("idea", round=1, name="B")


def test_durations_may_differ_on_covered_ground(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path).record("trial", map=0.5, seconds=1.0)
    assert Journal(path).record("trial", map=0.5, seconds=2.0)["seconds"] == 1.0


@pytest.mark.parametrize("kept", [1, 10, 60])
def test_partial_last_line_is_cut_off(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path).record("idea", round=1)
    whole = path.read_text()
    path.write_text(whole + whole.replace('"seq": 0', '"seq": 1')[:kept])
    Journal(path).record("idea", round=1)
    journal = Journal(path)
    journal.record("idea", round=1)
    journal.record("idea", round=2)
    assert [event["round"] for event in read_events(path)] == [1, 2]


@pytest.mark.parametrize(
    "line", ["[]", "{}", "nonsense", '{"seq": 7, "event": "idea"}', '{"seq": 0, "event": 1}']
)
def test_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(RunError, match="line 1 is not an event"):
        Journal(path)


def test_replay_takes_only_the_recorded_kinds(tmp_path: Path) -> None:
    record = Journal(tmp_path / "old.jsonl")
    record.record("trial", seed=0, map=0.5)
    record.record("idea", round=1, name="A")
    journal = Journal(tmp_path / "new.jsonl", record=record.events(), recorded_kinds={"trial"})
    assert journal.once("trial", dict, seed=0)["map"] == 0.5
    assert journal.find("idea", round=1) is None


def test_first_difference_names_event_and_field(tmp_path: Path) -> None:
    old, new = Journal(tmp_path / "old.jsonl"), Journal(tmp_path / "new.jsonl")
    for journal, name in ((old, "A"), (new, "B")):
        journal.record("started", fingerprint=name)
        journal.record("idea", round=1, name=name)
    assert first_difference(old.events(), old.events()) == ""
    assert first_difference(old.events(), new.events()) == "event 1, recorded `idea`, now `idea`, in ['name']"
    assert first_difference(old.events(), new.events()[:1]) == "event 1 `idea` is missing"
    assert first_difference(old.events()[:1], new.events()) == "event 1 `idea` is new"
