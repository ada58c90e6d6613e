"""Whole runs on a tiny data set: real images, trainings and sandbox; only the replies are `scripted`."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from rich.console import Console
from scripted import GOOD, WRONG_AXIS, Scripted, block

from metricsmith.agent import between_rounds, confirmation, contest, runs
from metricsmith.agent.accepted import MetricCard, read_metric
from metricsmith.agent.allowance import Allowance
from metricsmith.agent.approval import Decision
from metricsmith.agent.contest import Champion, may_enter
from metricsmith.agent.hints import say
from metricsmith.agent.journal import Journal, first_difference, read_events
from metricsmith.agent.models import ModelSettings, Request, Response
from metricsmith.agent.run_folder import RunFolder
from metricsmith.agent.settings import Settings
from metricsmith.agent.transcript import Transcript
from metricsmith.evaluation.corruption import Harm, write_ledger
from metricsmith.evaluation.curation import Step, Strategy
from metricsmith.evaluation.detectors import Detector, KeepingDetector, ProxyDetector, ProxySettings
from metricsmith.evaluation.draws import control_draw
from metricsmith.evaluation.readers import read_dataset
from metricsmith.evaluation.scores import ScoreTable
from metricsmith.evaluation.trials import Trial, gain
from metricsmith.sandbox.errors import DataError, RunError, StaleTranscriptError

TINY = ProxySettings(image_size=64, window=64, steps=4, batch=4, channels=16)


DESCRIPTIONS = {
    "BoxArea": "The area of each box in square pixels.",
    "MinusArea": "How small a box is: its area, negated.",
    "Area": "Width times height, so that tiny annotations come first.",
    "OnTop": "How small a box is, on top of what was found.",
    "Both": "The two metrics so far, together.",
}


def idea(name: str, kind: str, fraction: float, **facts: Any) -> str:
    return json.dumps(
        {
            "ideas": [
                {
                    "name": name,
                    "family": "geometry-outliers",
                    "adapts": "The area alone, without a norm.",
                    "description": DESCRIPTIONS[name],
                    "hypothesis": "Tiny boxes are mistakes.",
                    "level": "object",
                    "suspicious": "low",
                    "finds": ["flip"],  # there is one class, so that this promise is not put to the test
                    "strategy": {"kind": kind, "fraction": fraction},
                    **facts,
                }
            ]
        }
    )


INSIGHTS = json.dumps({"works": ["Mending small boxes."], "fails": [], "next": ["Look at colours."]})
LESSON = json.dumps({"lesson": "Small boxes are rather good.", "next": "Try something else."})
NEGATIVE = GOOD.replace("BoxArea", "MinusArea").replace("return (", "return -(")
REPLIES = [
    *(idea("BoxArea", "relabel", 0.5), block(WRONG_AXIS), block(GOOD), LESSON),
    *(idea("MinusArea", "filter", 0.2), block(NEGATIVE), LESSON, INSIGHTS),
    # says the same as BoxArea, so it is not measured
    *(idea("Area", "relabel", 0.3), block(GOOD.replace("BoxArea", "Area")), LESSON),
]


def draw(folder: Path, groups: range, *, harmed: bool) -> None:
    """A COCO data set of three frames a group: a red square on grey; `harmed` moves every third box."""
    folder.mkdir(parents=True)
    images, annotations = [], []
    for number in (3 * group + frame for group in groups for frame in range(3)):
        rng = np.random.default_rng(number)
        pixels = rng.integers(90, 160, (48, 64, 3), np.uint8)
        side = int(rng.integers(12, 28))
        left, top = int(rng.integers(0, 64 - side)), int(rng.integers(0, 48 - side))
        pixels[top : top + side, left : left + side] = (40, 40, 220)
        cv2.imwrite(str(folder / f"{number}.png"), pixels)
        images.append(
            {"id": number, "file_name": f"{number}.png", "width": 64, "height": 48,
             "video": f"v{number // 3}", "frame": number % 3}
        )  # fmt: skip
        box = [0, 0, 5, 5] if harmed and number % 3 == 0 else [left, top, side, side]
        annotations.append({"id": number, "image_id": number, "category_id": 1, "bbox": box})
    document = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "square"}]}
    (folder / "annotations.json").write_text(json.dumps(document))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("squares")
    draw(folder / "train", range(8), harmed=True)
    draw(folder / "reference", range(8), harmed=False)
    draw(folder / "val", range(8, 11), harmed=False)
    draw(folder / "test", range(11, 14), harmed=False)
    return folder


@pytest.fixture(scope="module")
def settings(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    cache = tmp_path_factory.mktemp("cache")
    return Settings(data=data, rounds=3, seeds=2, confirm=0, budget=0.5, mend=0.5, distil=2, cache=cache)


@pytest.fixture(autouse=True)
def tiny_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(name: str, cache: Path, weights: Path | None) -> Detector:
        return KeepingDetector(ProxyDetector(cache, TINY))

    monkeypatch.setattr(runs, "make_detector", make)


class Model(Scripted):
    """Scripted replies that survive a kill: `asked` counts over several processes."""

    def __init__(self) -> None:
        super().__init__(REPLIES)


def begin(
    path: Path, settings: Settings, model: Scripted, monkeypatch: pytest.MonkeyPatch, console: Console
) -> RunFolder:
    monkeypatch.setattr(runs, "open_model", lambda *_, **__: model)
    folder = RunFolder(path)
    runs.begin(folder, settings, ModelSettings("manual"), console)
    return folder


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    with (tmp_path / "said.txt").open("w") as file:
        yield Console(file=file, width=80)


@pytest.fixture(scope="module")
def finished(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """An undisturbed run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "make_detector", lambda _, cache, __: KeepingDetector(ProxyDetector(cache, TINY)))
        path = tmp_path_factory.mktemp("runs") / "squares"
        with (path.parent / "said.txt").open("w") as file:
            return begin(path, settings, Model(), patch, Console(file=file, width=80))


def said(folder: RunFolder) -> str:
    return (folder.path.parent / "said.txt").read_text()


def test_the_journal_tells_every_step_in_order(finished: RunFolder) -> None:
    events = read_events(finished.journal)
    steps = [
        (
            event["event"],
            *(event[key] for key in ("round", "attempt", "arm", "split", "seed") if key in event),
        )
        for event in events
    ]

    def trials(number: int, arm: str, split: str) -> list[tuple[Any, ...]]:
        return [("trial", number, arm, split, seed) for seed in (0, 1)]

    best = [event["round"] for event in events if event["event"] == "judged" and event["verdict"] == "kept"]
    assert steps[1:] == [
        *trials(0, "control", "val"),
        *[
            ("proposed", 1),
            ("idea", 1),
            ("candidate", 1, 1),
            ("planted", 1, 2),
            ("candidate", 1, 2),
            ("approval", 1),
        ],
        *trials(1, "curated", "val"),
        *trials(0, "random relabel 0.5", "val"),
        *[("judged", 1), ("reflected", 1)],
        *[("proposed", 2), ("idea", 2), ("planted", 2, 1), ("candidate", 2, 1), ("approval", 2)],
        *trials(2, "curated", "val"),
        *[("judged", 2), ("reflected", 2), ("distilled", 2)],
        *[
            ("proposed", 3),
            ("idea", 3),
            ("planted", 3, 1),
            ("candidate", 3, 1),
            ("approval", 3),
            ("judged", 3),
            ("reflected", 3),
        ],
        *trials(0, "control", "test"),
        *(trials(best[0], "curated", "test") if best else []),
        ("finished",),
    ]
    assert events[0]["event"] == "started"
    assert events[0]["images"] == {"pool": 24, "val": 9, "test": 9}


def test_a_metric_that_says_the_same_is_not_measured_again(finished: RunFolder) -> None:
    last = [event for event in read_events(finished.journal) if event["event"] == "judged"][-1]
    assert (last["verdict"], last["reason"]) == ("redundant", "It ranks the images as BoxArea does.")


def test_the_summary_has_the_shape_that_programs_read(finished: RunFolder) -> None:
    summary = json.loads(finished.summary.read_text())
    assert list(summary) == [
        *("run", "dataset", "budget", "seeds", "control", "rounds", "average_gain", "confirmation"),
        *("test", "stopped"),
    ]
    assert (summary["run"], summary["budget"], summary["seeds"]) == ("squares", 12, 2)
    assert set(summary["control"]) == {"map", "ar100"}
    assert set(summary["average_gain"]) == {"map_pct", "ar100_pct"}
    assert set(summary["test"]) == {
        *("seeds", "control", "best", "random_relabel", "oracle", "share_of_oracle")
    }
    assert list(summary["rounds"][0]) == [
        *("round", "metric", "strategy", "images", "map", "ar100"),
        *("map_gain_pct", "ar100_gain_pct", "repairs", "verdict", "random_relabel"),
    ]
    assert [(row["metric"], row["strategy"], row["repairs"]) for row in summary["rounds"]] == [
        ("BoxArea", "relabel 50 %", 1),
        ("MinusArea", "filter 20 %", 0),
        ("Area", "relabel 30 %", 0),
    ]
    assert summary["rounds"][2]["map"] is None


def test_numbers_are_means_over_the_trials(finished: RunFolder) -> None:
    summary = json.loads(finished.summary.read_text())
    files = [finished.trials / f"val-control-0-{seed}.json" for seed in (0, 1)]
    found = [json.loads(file.read_text())["map"] for file in files]
    assert summary["control"]["map"] == round(sum(found) / 2, 4)


def test_the_report_is_one_file_that_opens_offline(finished: RunFolder) -> None:
    page = finished.report.read_text()
    assert "http:" not in page
    assert "https:" not in page
    assert 'src="data:image/jpeg;base64,' in page
    for text in ("BoxArea", "MinusArea", "relabel 50 %", "Small boxes are rather good.", "def measure"):
        assert text in page
    assert "What the control's detector gets wrong on val" in page
    assert "Missed at IoU 0.5: small boxes" in page
    assert page.count("Gain over the control, in detail") == 2, "of the two rounds that were measured"


def test_the_report_says_what_the_run_cost_and_how_to_have_it_again(finished: RunFolder) -> None:
    page = finished.report.read_text()
    calls = len(Transcript(finished.transcript).calls)
    assert f"Language model: {calls} calls" in page
    assert "Code was asked for" in page
    assert "round 1 had 6 of 12 training images mended" in page
    assert f"<code>metricsmith replay {finished.path}</code>" in page
    assert "No metric was put before a person" in page
    for verdict in {row["verdict"] for row in json.loads(finished.summary.read_text())["rounds"]}:
        assert f'<br><span class="{verdict}">{verdict}</span>: ' in page


def test_tables_fit_into_80_columns_and_tell_the_report(finished: RunFolder) -> None:
    lines = said(finished).splitlines()
    assert max(map(len, lines)) <= 80 or "Report:" in max(lines, key=len)
    assert any("BoxArea" in line and "…" not in line for line in lines)
    assert "report.html" in lines[-1]


def test_relabelled_and_left_out_images_are_on_record(finished: RunFolder) -> None:
    relabelled = json.loads((finished.curations / "round-1-seed-0.json").read_text())
    assert len(relabelled["images"]) == 12
    assert len(relabelled["relabelled"]) == 6
    harmed = [item for item in relabelled["images"] if item % 3 == 0]
    assert set(harmed) <= set(relabelled["relabelled"]), "boxes of 5×5 pixels are the smallest"
    filtered = json.loads((finished.curations / "round-2-seed-0.json").read_text())
    assert len(filtered["images"]) == 12
    assert len(filtered["left_out"]) == 5
    assert not set(filtered["left_out"]) & set(filtered["images"])


def test_what_is_kept_gets_a_card_and_a_look_at_test(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    """Four steps of training judge nothing, so the verdict is given."""
    monkeypatch.setattr(contest, "judge", lambda *_: "kept")
    model = Scripted([idea("BoxArea", "relabel", 0.5), block(GOOD), LESSON])
    one = settings.model_copy(update={"rounds": 1})
    folder = begin(tmp_path / "kept", one, model, monkeypatch, console)
    (file,) = folder.metrics.glob("*.py")
    card = MetricCard.model_validate_json(file.with_suffix(".json").read_bytes())
    assert hashlib.sha256(read_metric(file).encode()).hexdigest() == card.sha256
    assert (card.name, card.run, card.round, card.model) == ("BoxArea", "kept", 1, "scripted")
    best = json.loads(folder.summary.read_text())["test"]["best"]
    assert (best["metric"], best["strategy"], best["round"]) == ("BoxArea", "relabel 50 %", 1)
    test_trials = [json.loads(f.read_text())["map"] for f in folder.trials.glob("test-curated-1-*.json")]
    assert len(test_trials) == 2
    assert best["map"] == round(sum(test_trials) / 2, 4)
    assert "round 1: BoxArea" in (tmp_path / "said.txt").read_text()
    assert "On the test split, looked at once" in folder.report.read_text()


def test_rounds_build_on_the_best_and_use_scores_again(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    """A filter, a relabel on top of it, then the mean rank of both, without code."""
    monkeypatch.setattr(contest, "judge", lambda *_: "kept")
    monkeypatch.setattr(contest, "_is_better", lambda _: True)
    model = Scripted(
        [
            *(idea("MinusArea", "filter", 0.25), block(NEGATIVE), LESSON),
            *(idea("BoxArea", "relabel", 0.5, on_best=True), block(GOOD), LESSON, INSIGHTS),
            *(idea("Both", "filter", 0.25, reuse=["MinusArea", "BoxArea"]), LESSON),
        ]
    )
    folder = begin(tmp_path / "run", settings, model, monkeypatch, console)
    events = read_events(folder.journal)
    judged = [event for event in events if event["event"] == "judged"]
    assert judged[0]["parts"] == ["filter 25 % by MinusArea"]
    assert (judged[0]["best"], judged[0]["random_relabel"]) == (None, None)
    assert judged[1]["parts"] == ["filter 25 % by MinusArea", "relabel 50 % by BoxArea"]
    assert judged[1]["strategy"] == "relabel 50 % on the best"
    rivals = ("control", "random_relabel", "best", "best_random_relabel")
    assert [judged[1][rival]["other"]["images"] for rival in rivals] == [judged[0]["curated"]["images"]] * 4
    mended = [e for e in events if e.get("arm") == "random relabel 0.5" and e["split"] == "val"]
    assert sorted({e["round"] for e in mended}) == [0, 1], "the control's images, and those of the best"
    assert judged[1]["best_random_relabel"]["other"] != judged[1]["random_relabel"]["other"]
    assert judged[2]["parts"] == ["filter 25 % by Both"]
    assert judged[2]["alike"].keys() == {"MinusArea", "BoxArea"}
    both = json.loads((folder.curations / "round-2-seed-1.json").read_text())
    assert len(both["left_out"]) == len(both["relabelled"]) == 6
    assert not set(both["left_out"]) & set(both["images"])
    third = [event["event"] for event in events if event.get("round") == 3]
    assert "candidate" not in third
    assert third.count("approval") == 1, "a composite is approved, too"
    best = json.loads(folder.summary.read_text())["test"]["best"]
    assert best["round"] == max(event["round"] for event in judged if event["verdict"] == "kept")
    assert best["parts"] == judged[best["round"] - 1]["parts"]
    again = RunFolder(tmp_path / "again")
    runs.replay(folder, again, live_trials=False, data={}, console=console)
    assert "The replay equals the recorded run" in (tmp_path / "said.txt").read_text()


@pytest.mark.parametrize("better", [[False], [True, False], [True, True]])
def test_the_best_must_be_beaten_and_then_with_as_many_mended(
    better: list[bool],
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    console: Console,
) -> None:
    """The second rival is trained only where the first leaves the verdict open."""
    monkeypatch.setattr(contest, "judge", lambda *_: "kept")
    answers = iter(better)
    monkeypatch.setattr(contest, "_is_better", lambda _: next(answers))
    model = Scripted(
        [
            *(idea("MinusArea", "filter", 0.25), block(NEGATIVE), LESSON),
            *(idea("BoxArea", "relabel", 0.5, on_best=True), block(GOOD), LESSON, INSIGHTS),
        ]
    )
    folder = begin(tmp_path / "run", settings.model_copy(update={"rounds": 2}), model, monkeypatch, console)
    last = [event for event in read_events(folder.journal) if event["event"] == "judged"][-1]
    assert last["verdict"] == ("kept" if all(better) else "beaten")
    assert (last["best_random_relabel"] is None) == (len(better) == 1)
    assert next(answers, None) is None


def test_a_person_may_end_a_run_after_the_present_round_and_it_replays(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    class Interrupted(Scripted):
        def complete(self, request: Request) -> Response:
            if request.round == 2 and request.purpose == "write":
                raise KeyboardInterrupt
            return super().complete(request)

    with pytest.raises(KeyboardInterrupt):
        begin(tmp_path / "run", settings, Interrupted(REPLIES), monkeypatch, console)
    folder = RunFolder(tmp_path / "run")
    rest = Scripted(REPLIES[5:])
    monkeypatch.setattr(runs, "open_model", lambda *_, **__: rest)
    summary = runs.resume(folder, console, finish=True)
    assert (len(summary.rounds), summary.stopped) == (2, "a person ended it")
    assert runs.resume(folder, console).stopped == "a person ended it", "it stays ended"
    for live in (False, True):
        again = RunFolder(tmp_path / f"again-{live}")
        replayed = runs.replay(folder, again, live_trials=live, data={}, console=console)
        assert (len(replayed.rounds), replayed.stopped) == (2, summary.stopped)


def test_a_run_may_start_from_metrics(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    file = tmp_path / "box_area.py"
    file.write_text(GOOD)
    started = settings.model_copy(update={"rounds": 1, "metrics": (file,)})
    model = Scripted([idea("Both", "relabel", 0.5, reuse=["BoxArea"]), LESSON])
    folder = begin(tmp_path / "run", started, model, monkeypatch, console)
    assert "- `BoxArea`: Area of each box; low means tiny." in model.requests[0].messages[1].content
    (judged,) = (event for event in read_events(folder.journal) if event["event"] == "judged")
    assert (judged["parts"], judged["alike"]) == (["relabel 50 % by Both"], {"BoxArea": 1.0})


def test_a_file_that_is_no_metric_stops_the_run_before_anything_is_asked(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    file = tmp_path / "wrong.py"
    file.write_text(WRONG_AXIS)
    started = settings.model_copy(update={"rounds": 1, "metrics": (file,)})
    with pytest.raises(DataError, match=r"wrong\.py: not a metric that can be used: Failed in stage"):
        begin(tmp_path / "run", started, Scripted([]), monkeypatch, console)


def test_a_model_that_sees_gets_a_contact_sheet_and_the_run_replays(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    model = Scripted([idea("BoxArea", "filter", 0.25), block(GOOD), LESSON])
    seeing = settings.model_copy(update={"rounds": 1, "vision": "on"})
    folder = begin(tmp_path / "run", seeing, model, monkeypatch, console)
    (picture,) = model.requests[0].messages[1].pictures
    assert (folder.sheets / "round-1.jpg").read_bytes() == picture.jpeg
    assert not any(message.pictures for request in model.requests[1:] for message in request.messages)
    text = model.requests[0].messages[1]
    assert "- 1: " in text.content
    assert "⟨sheet⟩" in text.canonical
    runs.replay(folder, RunFolder(tmp_path / "again"), live_trials=False, data={}, console=console)
    assert "The replay equals the recorded run" in (tmp_path / "said.txt").read_text()


@pytest.mark.parametrize(("provider", "vision"), [("manual", "off"), ("openai", "on")])
def test_pictures_go_to_services_unless_something_else_is_said(
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    console: Console,
    provider: str,
    vision: str,
) -> None:
    model = Scripted([])
    monkeypatch.setattr(runs, "open_model", lambda *_, **__: model)
    monkeypatch.setattr(runs, "_carry_through", lambda *_: None)
    folder = RunFolder(tmp_path / "run")
    runs.begin(folder, settings, ModelSettings(provider, "some" if provider == "openai" else ""), console)  # type: ignore[arg-type]
    assert folder.read_settings().vision == vision


def test_a_curation_that_gains_nothing_gets_no_more_seeds(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    hopes = iter([True, False, False])
    monkeypatch.setattr(contest, "is_hopeless", lambda *_: next(hopes))
    model = Scripted(
        [
            *(idea("MinusArea", "filter", 0.25), block(NEGATIVE), LESSON),
            *(idea("BoxArea", "relabel", 0.25), block(GOOD), LESSON, INSIGHTS),
        ]
    )
    raced = settings.model_copy(update={"rounds": 2, "seeds": 4, "first_seeds": 2})
    folder = begin(tmp_path / "run", raced, model, monkeypatch, console)
    events = read_events(folder.journal)
    trials = [e for e in events if e["event"] == "trial" and e["split"] == "val"]
    seeds = {
        arm: [e["seed"] for e in trials if (e["round"], e["arm"]) == arm]
        for arm in ((0, "control"), (1, "curated"), (2, "curated"))
    }
    assert list(seeds.values()) == [[0, 1, 2, 3], [0, 1], [0, 1, 2, 3]]
    judged = [event for event in events if event["event"] == "judged"]
    assert [event["control"]["seeds"] for event in judged] == [2, 4]


def test_a_live_replay_tries_the_ideas_that_were_tried(
    finished: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    """Whatever the policy would choose today: the transcript holds the code of no other idea."""
    monkeypatch.setattr("metricsmith.agent.author.choose", None)
    folder = RunFolder(tmp_path / "again")
    runs.replay(finished, folder, live_trials=True, data={}, console=console)
    ideas = [
        [event["idea"] for event in read_events(run.journal) if event["event"] == "idea"]
        for run in (finished, folder)
    ]
    assert ideas[0] == ideas[1]


def test_the_best_curation_is_worth_so_many_random_images(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    monkeypatch.setattr(contest, "judge", lambda *_: "kept")
    monkeypatch.setattr(
        "metricsmith.agent.multiplier.make_detector",
        lambda _, cache, __: KeepingDetector(ProxyDetector(cache, TINY)),
    )
    model = Scripted([idea("BoxArea", "relabel", 0.5), block(GOOD), LESSON])
    folder = begin(tmp_path / "run", settings.model_copy(update={"rounds": 1}), model, monkeypatch, console)
    found = runs.multiplier(folder, console)
    summary = json.loads(folder.summary.read_text())
    assert [point.images for point in found.curve] == [3, 6, 12, 24]
    assert found.curve[2].map == summary["control"]["map"]
    assert (found.images, found.map) == (12, summary["rounds"][0]["map"])
    assert "12 curated images" in folder.report.read_text()
    assert len((folder.path / "curve.jsonl").read_text().splitlines()) == 6

    def no_training(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("metricsmith.agent.multiplier.run_trial", no_training)
    assert runs.multiplier(folder, console) == found


def test_only_a_finished_run_with_a_curation_has_a_multiplier(
    finished: RunFolder, settings: Settings, tmp_path: Path, console: Console
) -> None:
    begun = RunFolder(tmp_path / "begun")
    begun.create(settings, {"kind": "live"})
    with pytest.raises(RunError, match="of 3 rounds is not finished; `metricsmith resume"):
        runs.multiplier(begun, console)
    begun.summary.write_text(
        json.dumps(
            json.loads(finished.summary.read_text())
            | {"test": {"seeds": 2, "control": {"map": 0.1, "ar100": 0.2}, "best": None}}
        )
    )
    with pytest.raises(RunError, match="kept nothing"):
        runs.multiplier(begun, console)
    begun.summary.write_text("{}")
    with pytest.raises(RunError, match="not a summary of this version"):
        runs.multiplier(begun, console)


def test_a_ledger_gives_an_oracle_to_compare_with(
    data: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    monkeypatch.setattr(contest, "judge", lambda *_: "kept")
    told = tmp_path / "told"
    shutil.copytree(data, told)
    harms = [Harm(number, number, "shift", None, None, 0, 0) for number in range(0, 24, 3)]
    write_ledger(told / "ledger.jsonl", harms)
    model = Scripted([idea("BoxArea", "relabel", 0.5), block(GOOD), LESSON])
    folder = begin(
        tmp_path / "run", settings.model_copy(update={"rounds": 1, "data": told}), model, monkeypatch, console
    )
    test = json.loads(folder.summary.read_text())["test"]
    for arm, number in (("control", 0), ("oracle", 0), ("random-relabel-0.5", 0), ("curated", 1)):
        trials = [json.loads(f.read_text()) for f in folder.trials.glob(f"test-{arm}-{number}-*.json")]
        name = {"curated": "best"}.get(arm, arm.removesuffix("-0.5").replace("-", "_"))
        assert [trial["images"] for trial in trials] == [12, 12]
        assert test[name]["map"] == round(sum(trial["map"] for trial in trials) / 2, 4)
    assert set(test["share_of_oracle"]) == {"map", "ar100"}
    assert "oracle: a random sample" in folder.report.read_text()
    assert "oracle: random unharmed images" in (tmp_path / "said.txt").read_text()


def test_resuming_a_finished_run_does_nothing_again(
    finished: RunFolder, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    before = finished.journal.read_bytes(), finished.transcript.read_bytes(), finished.summary.read_bytes()
    monkeypatch.setattr(runs, "open_model", lambda *_, **__: Scripted([]))
    runs.resume(finished, console)
    assert before == (
        finished.journal.read_bytes(), finished.transcript.read_bytes(), finished.summary.read_bytes()
    )  # fmt: skip


class KilledError(BaseException):
    """Stands for kill -9 between two writes."""


class Lives:
    """How many more events a run may write into its journal before it is killed."""

    left = math.inf


@pytest.fixture
def lives(monkeypatch: pytest.MonkeyPatch) -> Lives:
    lives = Lives()
    record = Journal.record

    def mortal(self: Journal, kind: str, **facts: Any) -> Any:
        known = self._position < len(self._events)
        if not known and lives.left == 0:
            raise KilledError
        lives.left -= not known
        return record(self, kind, **facts)

    monkeypatch.setattr(Journal, "record", mortal)
    return lives


def test_a_run_killed_at_any_event_ends_as_the_undisturbed_one(
    finished: RunFolder,
    settings: Settings,
    lives: Lives,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    console: Console,
) -> None:
    events = read_events(finished.journal)
    model = Model()
    monkeypatch.setattr(runs, "open_model", lambda *_, **__: model)
    folder = RunFolder(tmp_path / "squares")
    lives.left = 1
    with pytest.raises(KilledError):
        runs.begin(folder, settings, ModelSettings("manual"), console)
    for count in range(1, len(events)):
        assert len(read_events(folder.journal)) == count
        lives.left = 1
        if count < len(events) - 1:
            with pytest.raises(KilledError):
                runs.resume(folder, console)
        else:
            runs.resume(folder, console)
    assert first_difference(events, read_events(folder.journal)) == ""
    assert len(model.requests) == len(REPLIES), "nothing was asked, or paid for, twice"
    assert folder.summary.read_bytes() == finished.summary.read_bytes()


def test_a_half_written_line_is_cut_off(
    finished: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    folder = RunFolder(Path(shutil.copytree(finished.path, tmp_path / "squares")))
    for file in (folder.journal, folder.transcript):
        file.write_bytes(file.read_bytes()[:-7])
    last = Scripted(REPLIES[-1:])
    monkeypatch.setattr(runs, "open_model", lambda *_, **__: last)
    runs.resume(folder, console)
    assert len(last.requests) == 1
    assert first_difference(read_events(finished.journal), read_events(folder.journal)) == ""


def test_a_strict_replay_trains_nothing_and_ends_the_same(
    finished: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    def no_detector(name: str, cache: Path, weights: Path | None) -> Detector:
        class Untrainable:
            def __init__(self) -> None:
                self.name = name

            def __getattr__(self, what: str) -> Any:
                raise AssertionError(f"a strict replay called {what}")

        return Untrainable()  # type: ignore[return-value]

    monkeypatch.setattr(runs, "make_detector", no_detector)
    folder = RunFolder(tmp_path / "again")
    runs.replay(finished, folder, live_trials=False, data={}, console=console)
    assert first_difference(read_events(finished.journal), read_events(folder.journal)) == ""
    told = json.loads(finished.summary.read_text()), json.loads(folder.summary.read_text())
    assert {**told[0], "run": ""} == {**told[1], "run": ""}


def test_a_replay_with_live_trials_trains_again(
    finished: RunFolder, tmp_path: Path, console: Console
) -> None:
    folder = RunFolder(tmp_path / "again")
    runs.replay(finished, folder, live_trials=True, data={}, console=console)
    assert first_difference(read_events(finished.journal), read_events(folder.journal)) == ""
    assert len(list(folder.trials.glob("*.json"))) == len(list(finished.trials.glob("*.json")))


def test_a_changed_request_is_shown(finished: RunFolder, tmp_path: Path, console: Console) -> None:
    folder = RunFolder(Path(shutil.copytree(finished.path, tmp_path / "record")))
    config = json.loads(folder.config.read_text())
    config["settings"]["hints"] = ["Look at the colours."]
    folder.config.write_text(json.dumps(config))
    with pytest.raises(StaleTranscriptError) as error:
        runs.replay(folder, RunFolder(tmp_path / "again"), live_trials=False, data={}, console=console)
    assert "+- Look at the colours." in str(error.value)


def test_a_changed_record_is_noticed(finished: RunFolder, tmp_path: Path, console: Console) -> None:
    folder = RunFolder(Path(shutil.copytree(finished.path, tmp_path / "record")))
    lines = folder.journal.read_text().splitlines()
    place = next(n for n, line in enumerate(lines) if '"judged"' in line)
    lines[place] = lines[place].replace("BoxArea", "BoxAria")
    folder.journal.write_text("\n".join(lines) + "\n")
    with pytest.raises(RunError, match="the replay differs from the recorded run"):
        runs.replay(folder, RunFolder(tmp_path / "again"), live_trials=False, data={}, console=console)


def test_one_name_is_one_run(
    finished: RunFolder, settings: Settings, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    with pytest.raises(RunError, match="there is a run of this name already"):
        begin(finished.path, settings, Scripted([]), monkeypatch, console)


def test_changed_data_stop_a_run(
    finished: RunFolder, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    folder = RunFolder(Path(shutil.copytree(finished.path, tmp_path / "squares")))
    other = Path(shutil.copytree(data, tmp_path / "data"))
    annotations = json.loads((other / "train" / "annotations.json").read_text())
    annotations["images"].pop()
    annotations["annotations"].pop()
    (other / "train" / "annotations.json").write_text(json.dumps(annotations))
    config = json.loads(folder.config.read_text())
    config["settings"]["data"] = str(other)
    folder.config.write_text(json.dumps(config))
    monkeypatch.setattr(runs, "open_model", lambda *_, **__: Scripted([]))
    with pytest.raises(RunError, match="the data, the settings or the program changed since"):
        runs.resume(folder, console)


class Overheard(Scripted):
    """While it reflects on round 1, a person leaves two hints; it dies where `dies` says."""

    def __init__(self, folder: RunFolder, dies: str = "") -> None:
        super().__init__(REPLIES)
        self.folder, self.dies = folder, dies

    def complete(self, request: Request) -> Response:
        if self.dies == f"{request.purpose} {request.round}":
            raise KeyboardInterrupt
        if (request.purpose, request.round) == ("reflect", 1):
            say(self.folder.hints, "Pandas are  black and white.")
            say(self.folder.hints, "Look at the borders.")
        return super().complete(request)


def test_a_hint_on_the_way_is_heard_by_the_next_round_and_replays(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    folder = RunFolder(tmp_path / "run")
    model = Overheard(folder)
    begin(folder.path, settings, model, monkeypatch, console)
    asked = {(r.purpose, r.round): r.messages[1].content for r in model.requests}
    assert "black and white" not in asked["brainstorm", 1]
    for place in (("brainstorm", 2), ("write", 2), ("brainstorm", 3)):
        assert "- Pandas are black and white.\n- Look at the borders.\n" in asked[place]
    hinted = [event for event in read_events(folder.journal) if event["event"] == "hinted"]
    assert [(e["round"], e["hints"]) for e in hinted] == [
        (2, ["Pandas are black and white.", "Look at the borders."])
    ]
    assert "<li>before round 2: Look at the borders.</li>" in folder.report.read_text()
    again = RunFolder(tmp_path / "again")
    runs.replay(folder, again, live_trials=False, data={}, console=console)
    assert "before round 2: Look at the borders." in again.report.read_text()


@pytest.mark.parametrize("place", ["write 2", "brainstorm 3"])
def test_a_hint_after_a_kill_waits_for_a_round_that_has_not_begun(
    place: str, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        begin(folder.path, settings, Overheard(folder, place), monkeypatch, console)
    say(folder.hints, "One more thing.")
    rest = Scripted(REPLIES[5:] if place == "write 2" else REPLIES[7:])
    monkeypatch.setattr(runs, "open_model", lambda *_, **__: rest)
    runs.resume(folder, console)
    hinted = [event for event in read_events(folder.journal) if event["event"] == "hinted"]
    assert [(e["round"], e["hints"][-1]) for e in hinted] == [
        (2, "Look at the borders."),
        (3, "One more thing."),
    ]


def test_an_answer_that_a_kill_left_unused_keeps_its_question(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    """The answer to round 2's brainstorm is on disk, the event that follows from it is not."""
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        begin(folder.path, settings, Overheard(folder, "write 2"), monkeypatch, console)
    lines = folder.journal.read_text().splitlines(keepends=True)
    first = next(n for n, line in enumerate(lines) if '"event": "hinted"' in line)
    folder.journal.write_text("".join(lines[: first + 1]))
    say(folder.hints, "One more thing.")
    monkeypatch.setattr(runs, "open_model", lambda *_, **__: Scripted(REPLIES[5:]))
    runs.resume(folder, console)
    hinted = [event for event in read_events(folder.journal) if event["event"] == "hinted"]
    assert [event["round"] for event in hinted] == [2, 3]


def test_a_run_that_has_spent_its_calls_ends_with_a_summary(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    poor = settings.model_copy(update={"allowance": Allowance(calls=3)})
    folder = begin(tmp_path / "run", poor, Model(), monkeypatch, console)
    summary = json.loads(folder.summary.read_text())
    assert len(summary["rounds"]) == 1, "a round that has begun is finished: it takes four calls"
    assert summary["stopped"] == "4 of 3 calls are made"
    assert summary["test"]["control"]["map"] >= 0
    assert "Stopped after 1 rounds: 4 of 3 calls are made." in (tmp_path / "said.txt").read_text()
    assert "Stopped after 1 of 3 rounds" in folder.report.read_text()
    before = folder.journal.read_bytes()
    runs.resume(folder, console)
    assert folder.journal.read_bytes() == before
    runs.replay(folder, RunFolder(tmp_path / "again"), live_trials=False, data={}, console=console)


def test_a_clock_stops_a_run_and_its_replay_at_the_same_round(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    model = Model()
    hurried = settings.model_copy(update={"allowance": Allowance(minutes=5)})
    with monkeypatch.context() as clock:
        clock.setattr(between_rounds, "monotonic", lambda: 400.0 * (len(model.requests) > 4))
        folder = begin(tmp_path / "run", hurried, model, monkeypatch, console)
    summary = json.loads(folder.summary.read_text())
    assert ([row["round"] for row in summary["rounds"]], summary["stopped"]) == ([1, 2], "5 minutes are over")
    again = RunFolder(tmp_path / "again")
    runs.replay(folder, again, live_trials=False, data={}, console=console)
    assert json.loads(again.summary.read_text())["stopped"] == "5 minutes are over"


def test_a_second_process_is_refused(finished: RunFolder, console: Console) -> None:
    with finished.locked(), pytest.raises(RunError, match="another process is working on this run"):
        runs.resume(RunFolder(finished.path), console)


def test_a_person_hints_and_rejects_and_the_replay_knows_it(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    decisions = [
        Decision(decision="hint", reason="measure the height alone", by="person"),
        Decision(decision="approve", by="person"),
        Decision(decision="reject", reason="it says nothing new", by="person"),
    ]
    monkeypatch.setattr(runs, "_approver", lambda *_: lambda *_: decisions.pop(0))
    height = GOOD.replace("(sample.boxes[:, 2] - sample.boxes[:, 0]) * ", "")
    model = Scripted(
        [
            idea("BoxArea", "relabel", 0.5),
            block(GOOD),
            block(height),
            LESSON,
            idea("MinusArea", "filter", 0.2),
            block(NEGATIVE),
            LESSON,
        ]
    )
    folder = begin(tmp_path / "asked", settings.model_copy(update={"rounds": 2}), model, monkeypatch, console)
    assert decisions == []
    revision, second_round = model.requests[2], model.requests[4]
    assert "wishes: measure the height alone" in revision.messages[-1].content
    assert "- measure the height alone" in second_round.messages[-1].content, "a hint stays"
    judged = [event for event in read_events(folder.journal) if event["event"] == "judged"]
    assert [event["verdict"] for event in judged][1:] == ["rejected"]
    assert judged[1]["reason"] == "A person rejected it: it says nothing new"
    monkeypatch.setattr(runs, "_approver", lambda *_: None)
    runs.replay(folder, RunFolder(tmp_path / "again"), live_trials=False, data={}, console=console)


def test_a_run_without_the_jail_says_so(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    unsafe = settings.model_copy(update={"rounds": 1, "seeds": 1, "unsafe_no_sandbox": True})
    model = Scripted([idea("BoxArea", "relabel", 0.5), block(GOOD), LESSON])
    folder = begin(tmp_path / "unsafe", unsafe, model, monkeypatch, console)
    assert [event["sandbox"] for event in read_events(folder.journal) if event["event"] == "unsafe"] == [
        "none"
    ]
    assert "Generated code ran without a jail" in folder.report.read_text()


def test_code_that_is_never_valid_is_parked_and_the_run_goes_on(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    model = Scripted([idea("BoxArea", "filter", 0.2), *[block(WRONG_AXIS)] * 4, LESSON])
    folder = begin(
        tmp_path / "parked",
        settings.model_copy(update={"rounds": 1, "seeds": 1}),
        model,
        monkeypatch,
        console,
    )
    summary = json.loads(folder.summary.read_text())
    assert [(row["verdict"], row["repairs"], row["map"]) for row in summary["rounds"]] == [
        ("parked", 3, None)
    ]
    assert summary["test"]["best"] is None
    assert "train on the random sample" in (tmp_path / "said.txt").read_text().replace("\n", " ")


def test_code_that_notices_no_planted_mistake_is_mended(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    """Boxes that are too large have a large area: the first code calls the small ones suspicious."""
    promise = {"finds": ["enlarge"], "suspicious": "high"}
    wrong, right = (code.replace('"low"', '"high"') for code in (NEGATIVE, GOOD))
    replies = [
        *(idea("BoxArea", "relabel", 0.5, **promise), block(wrong.replace("MinusArea", "BoxArea"))),
        *(block(right), block(right), LESSON),
    ]
    one = settings.model_copy(update={"rounds": 1})
    model = Scripted(replies)
    folder = begin(tmp_path / "blind", one, model, monkeypatch, console)
    problem = model.requests[2].messages[-1].content.split("## What is wrong with it")[1]
    assert "Failed in stage planted: blind." in problem
    assert "a mistake of the kind enlarge makes a sample image less suspicious, not more" in problem
    events = read_events(folder.journal)
    candidates = [event for event in events if event["event"] == "candidate"]
    assert [(event["accepted"], event["stage"]) for event in candidates] == [
        (False, "planted"),
        (True, "planted"),
        (True, "planted"),
    ]
    weakness = model.requests[3].messages[-1].content.split("## What is wrong with it")[1]
    assert "the code is valid, but a mistake of the kind enlarge hardly stands out" in weakness
    assert "Noticed least: box (" in weakness
    sharpened = next(event for event in events if event["event"] == "sharpened")
    assert not sharpened["better"], "the same code again"
    judged = next(event for event in events if event["event"] == "judged")
    assert (judged["repairs"], judged["metric"]) == (2, "BoxArea")
    noticed = {own["kind"]: own for own in judged["noticed"]}
    assert noticed["enlarge"]["after"] > noticed["enlarge"]["before"]
    assert "enlarge" in model.requests[4].messages[-1].content, "the lesson is drawn with that in view"
    runs.replay(folder, RunFolder(tmp_path / "again"), live_trials=False, data={}, console=console)
    assert "The replay equals the recorded run" in (tmp_path / "said.txt").read_text()


def test_export_writes_the_training_set_that_was_measured_and_the_suspects(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    monkeypatch.setattr(contest, "judge", lambda *_: "kept")
    model = Scripted(
        [
            *(idea("MinusArea", "filter", 0.25), block(NEGATIVE), LESSON),
            *(idea("BoxArea", "relabel", 0.25, on_best=True), block(GOOD), LESSON, INSIGHTS),
        ]
    )
    two = settings.model_copy(update={"rounds": 2})
    folder = begin(tmp_path / "run", two, model, monkeypatch, console)
    best = json.loads(folder.summary.read_text())["test"]["best"]
    drawn = json.loads((folder.curations / f"round-{best['round']}-seed-0.json").read_text())
    found = runs.write_export(folder, tmp_path / "out", console)
    assert found.parts == tuple(best["parts"])
    written = read_dataset(found.training_set)
    assert [image.id for image in written.images] == drawn["images"]
    curated = json.loads((folder.trials / f"val-curated-{best['round']}-0.json").read_text())
    assert (len(written), written.box_count) == (curated["images"], curated["boxes"])
    assert (found.mended, found.left_out) == (len(drawn["relabelled"]), len(drawn["left_out"]))
    assert found.suspects is not None
    with found.suspects.open(newline="") as sheet:
        rows = list(csv.DictReader(sheet))
    assert len(rows) == 24
    suspicion = [float(row["suspicion"]) for row in rows]
    assert suspicion == sorted(suspicion, reverse=True)
    assert {int(row["image_id"]) for row in rows if row["left_out"] == "1"} == set(drawn["left_out"])
    assert {int(row["image_id"]) for row in rows if row["relabelled"] == "1"} == set(drawn["relabelled"])
    assert {int(row["image_id"]) for row in rows if row["drawn"] == "1"} == set(drawn["images"])
    assert set(rows[0]) > {part.rpartition(" by ")[2] for part in found.parts}
    with pytest.raises(RunError, match=r"train\.json: there is such a file already"):
        runs.write_export(folder, tmp_path / "out", console)


def test_export_of_a_run_that_kept_nothing_is_the_random_sample(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    monkeypatch.setattr(contest, "judge", lambda *_: "dropped")
    model = Scripted([idea("MinusArea", "filter", 0.25), block(NEGATIVE), LESSON])
    one = settings.model_copy(update={"rounds": 1})
    folder = begin(tmp_path / "run", one, model, monkeypatch, console)
    found = runs.write_export(folder, tmp_path / "out", console)
    assert (found.parts, found.suspects, found.mended) == ((), None, 0)
    written = read_dataset(found.training_set)
    pool = read_dataset(settings.data / "train")
    assert [i.id for i in written.images] == control_draw([i.id for i in pool.images], 12, 0)
    assert not (tmp_path / "out" / "suspects.csv").exists()


@pytest.fixture
def moved(
    settings: Settings, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
) -> RunFolder:
    """A run that kept a relabelling, on data of its own below `tmp_path`."""
    monkeypatch.setattr(contest, "judge", lambda *_: "kept")
    shutil.copytree(data, tmp_path / "data")
    own = settings.model_copy(update={"rounds": 1, "data": tmp_path / "data"})
    return begin(
        tmp_path / "run",
        own,
        Scripted([idea("BoxArea", "relabel", 0.5), block(GOOD), LESSON]),
        monkeypatch,
        console,
    )


def change(labels: Path, shift: int = 0, wider: int = 0) -> None:
    """Renumber the annotations, or make each box wider by so many pixels."""
    document = json.loads(labels.read_text())
    for annotation in document["annotations"]:
        annotation["id"] += shift
        annotation["bbox"][2] += wider
    labels.write_text(json.dumps(document))


def test_export_numbers_boxes_anew_where_the_reference_counts_for_itself(
    moved: RunFolder, tmp_path: Path, console: Console
) -> None:
    change(tmp_path / "data" / "reference" / "annotations.json", shift=1)
    found = runs.write_export(moved, tmp_path / "out", console)
    assert found.mended == 6
    written = json.loads(found.training_set.read_text())
    ids = [annotation["id"] for annotation in written["annotations"]]
    assert sorted(ids) == list(range(1, len(ids) + 1))
    assert read_dataset(found.training_set).box_count == len(ids)


def test_export_refuses_other_labels_than_the_runs(
    moved: RunFolder, tmp_path: Path, console: Console
) -> None:
    reference = tmp_path / "data" / "reference" / "annotations.json"
    kept = reference.read_text()
    document = json.loads(kept)
    document["annotations"] = []
    reference.write_text(json.dumps(document))
    with pytest.raises(RunError, match="the reference has changed since"):
        runs.write_export(moved, tmp_path / "out", console)
    reference.write_text(kept)
    change(tmp_path / "data" / "train" / "annotations.json", wider=1)
    with pytest.raises(RunError, match="the pool is not the one of this run"):
        runs.write_export(moved, tmp_path / "out", console)
    assert not (tmp_path / "out").exists()


def test_export_says_what_is_missing(moved: RunFolder, tmp_path: Path, console: Console) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="file: cannot be made a folder to write into"):
        runs.write_export(moved, tmp_path / "file", console)
    moved.scores.unlink()
    with pytest.raises(RunError, match="remove the file and resume the run"):
        runs.write_export(moved, tmp_path / "out", console)
    moved.journal.unlink()
    with pytest.raises(RunError, match="the journal is missing"):
        runs.write_export(moved, tmp_path / "out", console)


def test_fresh_seeds_confirm_what_test_looks_at(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    """Of two that beat the random samples the one with the higher mean over all seeds goes to test."""
    monkeypatch.setattr(contest, "judge", lambda *_: "kept")
    monkeypatch.setattr("metricsmith.agent.confirmation.judge", lambda *_: "kept")
    confirmed = settings.model_copy(update={"rounds": 2, "confirm": 2, "finalists": 2})
    folder = begin(tmp_path / "run", confirmed, Scripted(REPLIES[:8]), monkeypatch, console)
    events = read_events(folder.journal)
    summary = json.loads(folder.summary.read_text())
    beat = [e["round"] for e in events if e["event"] == "judged" and e["verdict"] in ("kept", "beaten")]
    assert beat == [1, 2]

    def means(number: int, seeds: set[int]) -> float:
        own = [
            event["map"]
            for event in events
            if event["event"] == "trial"
            and (event["round"], event["arm"], event["split"]) == (number, "curated", "val")
            and event["seed"] in seeds
        ]
        assert len(own) == len(seeds)
        return float(np.mean(own))

    assert [row["round"] for row in summary["confirmation"]] == sorted(
        beat, key=lambda number: -means(number, {0, 1, 2, 3})
    )
    for row in summary["confirmation"]:
        seen = row["map_before"], row["map_fresh"], row["map"]
        wanted = [means(row["round"], seeds) for seeds in ({0, 1}, {2, 3}, {0, 1, 2, 3})]
        assert seen == pytest.approx(wanted)
        assert (row["random_relabel"] is None) == (row["round"] == 2)
    best = summary["confirmation"][0]["round"]
    assert (summary["test"]["best"]["round"], summary["test"]["seeds"]) == (best, 4)
    looks = [e for e in events if e["event"] == "trial" and e["split"] == "test" and e["arm"] == "curated"]
    assert [(event["round"], event["seed"]) for event in looks] == [(best, seed) for seed in range(4)]
    order = [event["event"] for event in events]
    assert order.index("confirmed") < [event.get("split") for event in events].index("test")
    told = (tmp_path / "said.txt").read_text()
    assert "Confirmation (val, mAP; 2 seeds that no round has seen)" in told
    assert max(map(len, told.splitlines()[:-1])) <= 80
    assert "partly the luckiest" in folder.report.read_text()
    out = tmp_path / "out"
    assert runs.write_export(folder, out, console).parts == tuple(summary["test"]["best"]["parts"])
    again = RunFolder(tmp_path / "again")
    runs.replay(folder, again, live_trials=False, data={}, console=console)
    assert not first_difference(events, read_events(again.journal))


def test_a_run_killed_in_its_confirmation_ends_as_the_undisturbed_one(
    settings: Settings, lives: Lives, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    monkeypatch.setattr(contest, "judge", lambda *_: "kept")
    monkeypatch.setattr("metricsmith.agent.confirmation.judge", lambda *_: "kept")
    confirmed = settings.model_copy(update={"rounds": 2, "confirm": 2, "finalists": 2})
    for folder in ("undisturbed", "killed"):
        (tmp_path / folder).mkdir()
    undisturbed = begin(
        tmp_path / "undisturbed" / "run", confirmed, Scripted(REPLIES[:8]), monkeypatch, console
    )
    events = read_events(undisturbed.journal)
    kinds = [event["event"] for event in events]
    first = next(n for n, event in enumerate(events) if event.get("seed") == 2)  # the first fresh seed
    last = kinds.index("confirmed")
    assert [event["event"] for event in events[first:last]] == ["trial"] * 8
    lives.left = first
    with pytest.raises(KilledError):
        begin(tmp_path / "killed" / "run", confirmed, Scripted(REPLIES[:8]), monkeypatch, console)
    killed = RunFolder(tmp_path / "killed" / "run")
    monkeypatch.setattr(runs, "open_model", lambda *_, **__: Scripted([]))
    for count in range(first, last + 1):
        assert len(read_events(killed.journal)) == count
        lives.left = 1
        with pytest.raises(KilledError):
            runs.resume(killed, console)
    lives.left = math.inf
    runs.resume(killed, console)
    assert first_difference(events, read_events(killed.journal)) == ""
    assert killed.summary.read_bytes() == undisturbed.summary.read_bytes()


def test_who_may_enter_the_confirmation() -> None:
    """What was beaten may only if it has no more images mended than the best."""
    table = ScoreTable("A", "image", "high", (1, 2), None, np.array([0.1, 0.2]), (1, 2))
    filtered = (Step(table, Strategy(kind="filter", fraction=0.2)),)
    mended = (*filtered, Step(table, Strategy(kind="relabel", fraction=0.4)))
    best = Champion(1, filtered)
    assert may_enter("kept", mended, best)
    assert may_enter("kept", mended, None)
    assert may_enter("beaten", filtered, best)
    assert may_enter("beaten", mended, Champion(1, mended))
    assert not may_enter("beaten", mended, best)
    assert not may_enter("inconclusive", filtered, best)


@pytest.mark.parametrize(("finalists", "chosen"), [(1, [2]), (2, [4, 2]), (3, [4, 3, 2]), (9, [4, 3, 1, 2])])
def test_the_best_is_confirmed_however_many_others_have_higher_means(
    finalists: int, chosen: list[int]
) -> None:
    means = {1: 0.3, 2: 0.2, 3: 0.4, 4: 0.5}

    def curated(number: int, *_: object) -> list[SimpleNamespace]:
        return [SimpleNamespace(map=means[number])]

    lab: Any = SimpleNamespace(curated=curated, seeds=range(1), settings=SimpleNamespace(finalists=finalists))
    entrants = [Champion(number, ()) for number in means]
    found = confirmation._chosen(lab, entrants[1], entrants)
    assert [entrant.round for entrant in found] == chosen


@pytest.mark.parametrize(
    ("differences", "better"),
    [
        ([0.1, 0.1, -0.1], True),
        ([0.3, -0.1, -0.1], False),  # better in the mean alone
        ([0.1, 0.1, -0.3], False),  # better in most seeds alone
        ([0.3, -0.1], False),  # in half of the seeds
    ],
)
def test_the_best_is_beaten_in_the_mean_and_in_most_seeds(differences: list[float], better: bool) -> None:
    zeros = dict.fromkeys(Trial.model_fields, 0) | {"corrected": {}, "by_class": {}}
    pairs = [
        (Trial(**zeros | {"seed": seed, "map": 0.5 + change}), Trial(**zeros | {"seed": seed, "map": 0.5}))
        for seed, change in enumerate(differences)
    ]
    assert contest._is_better(gain(*zip(*pairs, strict=True))) == better


def test_what_fresh_seeds_do_not_confirm_is_not_recommended(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    monkeypatch.setattr(contest, "judge", lambda *_: "kept")
    monkeypatch.setattr("metricsmith.agent.confirmation.judge", lambda *_: "inconclusive")
    confirmed = settings.model_copy(update={"rounds": 1, "confirm": 1})
    folder = begin(tmp_path / "run", confirmed, Scripted(REPLIES[:4]), monkeypatch, console)
    summary = json.loads(folder.summary.read_text())
    assert (summary["rounds"][0]["verdict"], summary["test"]["best"]) == ("kept", None)
    assert [row["verdict"] for row in summary["confirmation"]] == ["inconclusive"]
    assert "In the confirmation nothing beat" in folder.report.read_text()
    assert "In the confirmation nothing beat" in (tmp_path / "said.txt").read_text()


def test_idle_cores_train_for_seeds_that_may_be_asked_for(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    """Three first seeds on two cores leave one idle: it trains for the fourth seed, which is no trial yet."""
    asked: list[list[int]] = []
    monkeypatch.setattr("metricsmith.agent.lab.cores", lambda: 2)
    monkeypatch.setattr(
        "metricsmith.agent.lab.train_ahead", lambda _, jobs, __: asked.append([job.seed for job in jobs])
    )
    monkeypatch.setattr(contest, "is_hopeless", lambda *_: True)
    model = Scripted([idea("MinusArea", "filter", 0.25), block(NEGATIVE), LESSON])
    raced = settings.model_copy(update={"rounds": 1, "seeds": 6, "first_seeds": 3})
    folder = begin(tmp_path / "run", raced, model, monkeypatch, console)
    assert asked[:2] == [[0, 1, 2, 3, 4, 5], [0, 1, 2, 3]]
    trials = [e for e in read_events(folder.journal) if e["event"] == "trial" and e["round"] == 1]
    assert [event["seed"] for event in trials if event["split"] == "val"] == [0, 1, 2]
