"""The recorded runs: what a language model really answered still replays, event for event, offline."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import pytest
from rich.console import Console

from metricsmith.agent import runs
from metricsmith.agent.accepted import MetricCard, card_of, read_metric
from metricsmith.agent.journal import read_events
from metricsmith.agent.run_folder import RunFolder
from metricsmith.agent.transcript import Transcript
from metricsmith.evaluation.corruption import Rates, corrupt, write_ledger
from metricsmith.evaluation.panda import make_panda
from metricsmith.evaluation.readers import read_dataset
from metricsmith.evaluation.splits import split_by_group
from metricsmith.evaluation.writers import link_images, write_coco
from metricsmith.sandbox import check

ROOT = Path(__file__).parents[2]
RECORDINGS = sorted((ROOT / "agent" / "recordings").iterdir())
METRICS = sorted((ROOT / "metrics_generated").glob("*.py"))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a replay opened a connection")

    for name in ("connect", "connect_ex", "bind", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)


def replay(record: str, data: Path, tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / record)
    with (tmp_path / "said.txt").open("w") as file:
        console = Console(file=file, width=80)
        recorded = RunFolder(ROOT / "agent" / "recordings" / record)
        runs.replay(recorded, folder, live_trials=False, data={"data": data}, console=console)
    assert "The replay equals the recorded run" in (tmp_path / "said.txt").read_text()
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("no_network")
def test_the_panda_run_replays(tmp_path: Path) -> None:
    make_panda(tmp_path / "data" / "panda")
    folder = replay("panda", tmp_path / "data" / "panda", tmp_path)
    summary = json.loads(folder.summary.read_text())
    assert len(summary["rounds"]) >= 3
    shipped = {card for file in METRICS if (card := card_of(file)) and card.run == "panda"}
    assert {card_of(file) for file in folder.metrics.glob("*.py")} - {None} == shipped
    page = folder.report.read_text()
    sharpened = [event["better"] for event in read_events(folder.journal) if event["event"] == "sharpened"]
    assert page.count("the second notices more") == sharpened.count(True)
    assert page.count("the first was taken") == sharpened.count(False)
    ends = [summary["test"]["best"][f"{name}_interval_pct"] for name in ("map", "ar100")]
    assert ("the interval holds zero" in page) == any(low <= 0 <= high for low, high in ends)


@pytest.mark.slow
@pytest.mark.usefixtures("no_network")
def test_the_airplane_run_replays(tmp_path: Path, real_data: Path) -> None:
    dataset = read_dataset(real_data / "airplane")
    splits = split_by_group(dataset, seed=0)
    pool, harms = corrupt(splits.pool, Rates(drop=0.1, shift=0.1, enlarge=0.2), seed=0)
    data = tmp_path / "data" / "airplane"
    link_images(dataset, data)
    for name, part in (
        ("pool", pool),
        ("reference", splits.pool),
        ("val", splits.val),
        ("test", splits.test),
    ):
        write_coco(part, data / f"{name}.json")
    write_ledger(data / "ledger.jsonl", harms)
    replay("airplane", data, tmp_path)


@pytest.mark.parametrize("folder", RECORDINGS, ids=lambda path: path.name)
def test_a_recording_says_where_it_comes_from_and_nothing_of_the_machine(folder: Path) -> None:
    transcript = Transcript(folder / "transcript.jsonl")
    assert transcript.header is not None
    assert transcript.header.model == "manual"
    assert {call.response.model for call in transcript.calls} == {"manual"}
    for name in ("config.json", "journal.jsonl", "transcript.jsonl"):
        text = (folder / name).read_text(encoding="utf-8")
        assert not re.search(r"/(home|root|tmp|work|Users|var)/", text), name
    kinds = [event["event"] for event in read_events(folder / "journal.jsonl")]
    assert (kinds[0], kinds[-1]) == ("started", "finished")


@pytest.mark.parametrize("file", METRICS, ids=lambda path: path.stem)
def test_an_accepted_metric_is_the_code_that_was_accepted_and_still_valid(file: Path) -> None:
    source = read_metric(file)
    card = MetricCard.model_validate_json(file.with_suffix(".json").read_bytes())
    assert card.name == file.stem
    found = check(source, [])
    assert found.accepted, found.failure


@pytest.mark.parametrize("file", METRICS, ids=lambda path: path.stem)
def test_an_accepted_metric_was_kept_by_a_recorded_run(file: Path) -> None:
    card = MetricCard.model_validate_json(file.with_suffix(".json").read_bytes())
    events = read_events(ROOT / "agent" / "recordings" / card.run / "journal.jsonl")
    ideas = {event["idea"]["name"]: event["idea"] for event in events if event["event"] == "idea"}

    def earned_by(metric: str) -> set[str]:
        """The metric and those whose scores it reuses."""
        return {metric}.union(*(earned_by(name) for name in ideas[metric]["reuse"]))

    judged = [event for event in events if event["event"] == "judged" and event["round"] == card.round]
    assert [event["verdict"] for event in judged] == ["kept"]
    assert card.name in earned_by(judged[0]["metric"])
    written = next(e["round"] for e in events if e["event"] == "idea" and e["idea"]["name"] == card.name)
    approved = [e["source"] for e in events if e["event"] == "approval" and e["round"] == written]
    assert approved == [card.sha256]
