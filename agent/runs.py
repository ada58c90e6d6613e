"""Begins a run, goes on with one, or replays one: puts data, detector, model and journal together.

Everything that a run needs to go on is in its folder, so that `resume` takes nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from metricsmith.evaluation.data_multiplier import Multiplier
from metricsmith.evaluation.dataset import Dataset
from metricsmith.evaluation.detectors import make_detector
from metricsmith.evaluation.split_folders import DataSets, Source, open_splits
from metricsmith.sandbox.errors import RunError
from metricsmith.sandbox.selftest import walls

from .approval import Approver, Ask, Auto, ByRule
from .author import Author
from .between_rounds import BetweenRounds
from .display import Display
from .export import Export, export
from .journal import Event, Journal, first_difference, read_events
from .lab import Lab
from .loop import Engineer
from .models import LanguageModel, ModelSettings, open_model
from .models.replay_model import Replay
from .multiplier import data_multiplier
from .outcome import Outcome
from .report import write_report
from .round_log import confirmation_table, final_table, round_table
from .run_folder import RunFolder
from .settings import Settings
from .summary import Summary, read_summary
from .transcript import Recorded, Transcript

__all__ = ["begin", "multiplier", "replay", "resume", "write_export"]

RECORDED_KINDS = frozenset({"trial", "approval", "hinted", "stopped", "planted"})
"""What a strict replay takes from the record: training takes minutes, a person and a clock are not there.
What a metric noticed hangs on the detector's predictions, and decides whether a repair was asked for."""
LIVE_KINDS = frozenset({"idea", "stopped", "planted"})
"""The same of a replay with live trials, which tries the ideas that were tried when it was recorded."""


def begin(folder: RunFolder, settings: Settings, model: ModelSettings, console: Console) -> Summary:
    """Start a new run and carry it through. RunError: the folder holds a run already.

    Nothing is written before the data was read and the model can be spoken to.
    """
    folder.refuse_another()
    speaker = open_model(model, folder=folder.manual)
    data = _read_data(settings, console)
    if settings.vision == "auto":
        settings = settings.model_copy(update={"vision": "on" if model.provider == "openai" else "off"})
    folder.create(settings, {"kind": "live", **asdict(model)})
    with folder.locked():
        return _carry_through(folder, settings, data, speaker, Journal(folder.journal), console)


def resume(folder: RunFolder, console: Console, *, finish: bool = False) -> Summary:
    """Carry a run through from wherever it stands; a finished one only prints its tables again.

    `finish`: no further round is begun, so that the run ends with those it has.
    """
    settings, model = folder.read_settings(), folder.read_model()
    with folder.locked():
        data = _read_data(settings, console)
        if model.get("kind") == "replay":
            record = RunFolder(Path(model["record"]))
            live = bool(model["live_trials"])
            return _replay(folder, record, settings, data, live_trials=live, console=console)
        facts = {name: value for name, value in model.items() if name != "kind"}
        speaker = open_model(ModelSettings(**facts), folder=folder.manual)
        journal = Journal(folder.journal)
        return _carry_through(folder, settings, data, speaker, journal, console, finish=finish)


def multiplier(folder: RunFolder, console: Console) -> Multiplier:
    """Find out what a finished run's best curation is worth in random images; add it to the report."""
    with folder.locked():
        found = data_multiplier(folder, _read_data(folder.read_settings(), console), console)
    resume(folder, console)
    console.print(f"{found}.", highlight=False)
    return found


def write_export(folder: RunFolder, out: Path, console: Console) -> Export:
    """Write what a finished run recommends into the folder `out`. RunError: it is not finished."""
    summary = read_summary(folder)
    found = export(folder, summary, _read_data(folder.read_settings(), console), out)
    what = "; then ".join(found.parts) or "a random sample, since nothing beat it"
    mended = f", {found.mended} of them relabelled" if found.mended else ""
    lines = [f"{found.training_set}: {found.images} images{mended}: {what}."]
    if found.suspects:
        lines.append(f"{found.suspects}: all images of the pool, the most suspicious first.")
    console.print("\n".join(lines), highlight=False, soft_wrap=True)
    return found


def replay(
    record: RunFolder,
    folder: RunFolder,
    *,
    live_trials: bool,
    data: Mapping[str, Path | None],
    console: Console,
) -> Summary:
    """Carry a recorded run through again from its transcript; `data` overrides where the data lies.

    Strict: trials come from the record, generated code really runs, and the new journal must equal the
    recorded one. With `live_trials` detectors are really trained, and differing verdicts are told.
    StaleTranscriptError: a request is not the recorded one. RunError: the journals differ.
    """
    folder.refuse_another()
    settings = record.read_settings().model_copy(update={k: v for k, v in data.items() if v is not None})
    found = _read_data(settings, console)
    folder.create(settings, {"kind": "replay", "record": str(record.path), "live_trials": live_trials})
    with folder.locked():
        return _replay(folder, record, settings, found, live_trials=live_trials, console=console)


def _replay(
    folder: RunFolder,
    record: RunFolder,
    settings: Settings,
    data: DataSets,
    *,
    live_trials: bool,
    console: Console,
) -> Summary:
    recorded = read_events(record.journal)
    if not recorded:
        raise RunError(f"{record.path}: no journal to replay")
    speaker = Replay(record.transcript, strict=not live_trials)
    if live_trials:
        # The transcript holds the code of the ideas that were tried then, whatever this run would choose, and
        # no answers beyond the round in which that run was stopped.
        journal = Journal(folder.journal, record=recorded, recorded_kinds=LIVE_KINDS)
        summary = _carry_through(folder, settings, data, speaker, journal, console)
        _tell_differences(recorded, read_events(folder.journal), console)
        return summary
    # Strict replays are quick: one that was cut short starts from the top.
    folder.journal.unlink(missing_ok=True)
    folder.transcript.unlink(missing_ok=True)
    if record.predictions.exists() and not folder.predictions.exists():
        folder.predictions.write_bytes(record.predictions.read_bytes())
    journal = Journal(folder.journal, record=recorded, recorded_kinds=RECORDED_KINDS)
    summary = _carry_through(folder, settings, data, speaker, journal, console)
    speaker.finish()
    if difference := first_difference(recorded, journal.events()):
        raise RunError(f"{folder.journal}: the replay differs from the recorded run: {difference}")
    console.print(f"The replay equals the recorded run: {len(recorded)} events.", highlight=False)
    return summary


def _carry_through(
    folder: RunFolder,
    settings: Settings,
    data: DataSets,
    speaker: LanguageModel,
    journal: Journal,
    console: Console,
    *,
    finish: bool = False,
) -> Summary:
    with Display(console) as display:
        lab = _lab(folder, settings, data, journal, display)
        model = Recorded(speaker, Transcript(folder.transcript))
        author = Author(
            model=model,
            journal=journal,
            prove=lab.proving_ground.prove,
            briefing=lab.briefing,
            tries=settings.tries,
            mend=settings.mend,
            hints=list(settings.hints),
        )

        def show(outcomes: Sequence[Outcome]) -> None:
            with display.paused():
                console.print(round_table(outcomes, lab.control_numbers, settings.seeds))

        between = BetweenRounds(folder, journal, model, settings.allowance, finish)
        engineer = Engineer(author, lab, _approver(settings, display), show, between.hear, between.used_up)
        summary = engineer.run()
        write_report(folder, lab, engineer, summary)
    if summary.stopped:
        console.print(f"Stopped after {len(summary.rounds)} rounds: {summary.stopped}.", highlight=False)
    if summary.confirmation:
        console.print(confirmation_table(summary))
    console.print(final_table(summary))
    if summary.test.best is None:
        where = "In the confirmation nothing" if summary.confirmation else "Nothing"
        console.print(f"{where} beat the random sample on val: train on the random sample.")
    _tell_skipped(lab, console)
    console.print(f"Report: {folder.report}", soft_wrap=True, highlight=False)
    return summary


def _read_data(settings: Settings, console: Console) -> DataSets:
    source = Source(
        data=settings.data,
        val=settings.val,
        test=settings.test,
        reference=settings.reference,
        images=settings.images,
        format=settings.format,
        skip_bad=settings.skip_bad,
    )
    with Display(console) as display:
        return open_splits(source, seed=settings.seed, progress=display.progress)


def _lab(folder: RunFolder, settings: Settings, data: DataSets, journal: Journal, display: Display) -> Lab:
    splits = data.splits
    journal.record(
        "started",
        dataset=splits.pool.name,
        classes=splits.pool.class_names,
        images={"pool": len(splits.pool), "val": len(splits.val), "test": len(splits.test)},
        fingerprint={
            "pool": splits.pool.fingerprint(),
            "val": splits.val.fingerprint(),
            "test": splits.test.fingerprint(),
        },
        **settings.model_dump(
            mode="json",
            include={
                *("rounds", "budget", "seeds", "first_seeds", "confirm", "finalists", "seed", "mend"),
                *("detector", "ideas", "tries", "distil", "hints", "about"),
            },
        ),
    )
    if settings.unsafe_no_sandbox:
        journal.record("unsafe", sandbox="none")
    detector = make_detector(settings.detector, settings.cache, settings.weights)
    return Lab(
        splits,
        data.reference,
        detector,
        settings,
        folder,
        journal,
        progress=display.progress,
        harmed=data.harmed,
    )


def _approver(settings: Settings, display: Display) -> Approver:
    ask = Ask(display.console, display.paused)
    match settings.approve:
        case "auto":
            return Auto()
        case "ask":
            return ask
        case "rule":
            return ByRule(ask, settings.budget, jailed=not settings.unsafe_no_sandbox and walls() == "A")


def _tell_differences(recorded: list[Event], now: list[Event], console: Console) -> None:
    """Say where a replay with live trials came to another verdict than the record."""
    verdicts = {event["round"]: event["verdict"] for event in recorded if event["event"] == "judged"}
    for event in now:
        if event["event"] == "judged" and (before := verdicts.get(event["round"])) != event["verdict"]:
            console.print(
                f"Round {event['round']}: {event['verdict']} here, {before} when recorded.", highlight=False
            )
    chosen = [
        next((event["round"] for event in events if event["event"] == "confirmed"), None)
        for events in (now, recorded)
    ]
    if chosen[0] != chosen[1]:
        names = [f"round {number}" if number else "the random sample" for number in chosen]
        console.print(f"Recommended: {names[0]} here, {names[1]} when recorded.", highlight=False)


def _tell_skipped(lab: Lab, console: Console) -> None:
    datasets: list[Dataset] = [lab.splits.pool, lab.splits.val, lab.splits.test]
    skipped = [item for dataset in datasets for item in dataset.skipped]
    if skipped:
        console.print(
            f"Left out as bad: {len(skipped)} items, for example {skipped[0].file}: {skipped[0].reason}"
        )
