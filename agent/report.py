"""The report: one HTML file that opens offline and shows what was tried, what came of it, and why."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files

import jinja2

from metricsmith.evaluation.data_multiplier import Multiplier
from metricsmith.evaluation.files import write_atomic
from metricsmith.evaluation.trials import Difference, Gain

from .figures import Picture, gain_plot, histogram, most_suspicious
from .ideas import Idea
from .lab import Lab
from .loop import Engineer
from .outcome import Outcome
from .run_folder import RunFolder
from .stats import stats_of
from .summary import Summary

__all__ = ["write_report"]

_VERDICTS = {
    "kept": "it beats every rival and is the best so far from then on. To beat a random sample is to "
    "be better in the mean of mAP and AR@100, and in mAP by more than chance does in one of "
    "ten cases. To beat the best so far: in the mean of mAP, and in more than half of the "
    "seeds; luck can do that, so test may say less",
    "beaten": "it beats the random samples, but not the best so far, or not the best so far with as "
    "many images relabelled at random",
    "inconclusive": "it may be better than random",
    "dropped": "it is not better than random",
    "parked": "no valid code came",
    "rejected": "by the person who approves",
    "uninformative": "every score is the same",
    "redundant": "its scores rank the images as an earlier metric's do",
}


@dataclass(frozen=True, slots=True)
class _Chapter:
    """What the report says about one round."""

    outcome: Outcome
    idea: Idea
    source: str
    histogram: str
    pictures: list[Picture]
    sent_back: str
    """What came of valid code that was sent back for hardly noticing a planted mistake, if any was."""
    details: list[tuple[str, Difference]]
    """Statistics by name, and what they gain over the control; empty where nothing was measured."""


def write_report(
    folder: RunFolder,
    lab: Lab,
    engineer: Engineer,
    summary: Summary,
) -> None:
    """Write `report.html` into the run's folder."""
    ideas, outcomes, gains = engineer.ideas, engineer.outcomes, engineer.gains
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(
        files(__package__).joinpath("report.html.jinja").read_text(encoding="utf-8")
    )
    chapters = [
        _chapter(lab, idea, outcome, gains.get(outcome.round))
        for idea, outcome in zip(ideas, outcomes, strict=True)
    ]
    measured = [
        (outcome.round, outcome.map_gain_pct, outcome.ar100_gain_pct)
        for outcome in outcomes
        if outcome.map_gain_pct is not None and outcome.ar100_gain_pct is not None
    ]
    page = template.render(
        summary=summary,
        control=lab.control_numbers,
        chapters=chapters,
        plot=gain_plot(measured) if measured else "",
        card=lab.briefing["card"],
        errors=lab.control_errors,
        hints=_hints(lab),
        insights=engineer.author.insights,
        insights_round=max((event["round"] for event in lab.journal.events("distilled")), default=None),
        verdicts={
            name: meaning for name, meaning in _VERDICTS.items() if name in {o.verdict for o in outcomes}
        },
        stats=stats_of([folder]),
        mended=_mended(lab),
        trials=sum(1 for _ in lab.journal.events("trial")),
        unshown=_unshown(summary),
        by_a_person=sum(event["by"] == "person" for event in lab.journal.events("approval")),
        version=version("metricsmith"),
        val=lab.splits.val,
        test=lab.splits.test,
        multiplier=_multiplier(folder),
        settings=lab.settings,
        model=folder.read_model(),
        pool=lab.splits.pool,
        folder=folder.path,
    )
    write_atomic(folder.report, page)


def _hints(lab: Lab) -> list[tuple[str, str]]:
    """When a person said what."""
    journal = lab.journal
    return [
        *(("at the start", hint) for hint in lab.settings.hints),
        *((f"before round {e['round']}", hint) for e in journal.events("hinted") for hint in e["hints"]),
        *(
            (f"on the code of round {e['round']}", e["reason"])
            for e in journal.events("approval")
            if e["decision"] == "hint"
        ),
    ]


def _unshown(summary: Summary) -> str:
    """Which gains on test may be none: their intervals hold zero."""
    best = summary.test.best
    ends = {"mAP": best.map_interval_pct, "AR@100": best.ar100_interval_pct} if best else {}
    return " and ".join(
        name for name, interval in ends.items() if interval and interval[0] <= 0 <= interval[1]
    )


def _mended(lab: Lab) -> list[tuple[int, str]]:
    """How many images of a training set an annotator mended, by round, as a range over the seeds."""
    found: dict[int, list[int]] = {}
    for event in lab.journal.events("trial"):
        if event["arm"] == "curated" and event["split"] == "val":
            found.setdefault(event["round"], []).append(event["mended"])
    return [
        (number, f"{min(counts)}" if len(set(counts)) == 1 else f"{min(counts)} to {max(counts)}")
        for number, counts in found.items()
        if any(counts)
    ]


def _multiplier(folder: RunFolder) -> Multiplier | None:
    """What `metricsmith multiplier` found, if it was asked."""
    if not folder.multiplier.exists():
        return None
    return Multiplier.model_validate_json(folder.multiplier.read_bytes())


def _chapter(lab: Lab, idea: Idea, outcome: Outcome, gained: Gain | None) -> _Chapter:
    table = lab.tables.get(idea.name)
    sources = sorted(lab.folder.metrics.glob(f"{idea.name}-*.py"))
    sharpened = lab.journal.find("sharpened", round=outcome.round)
    sent_back = {
        None: "",
        True: "Valid code was sent back, for hardly noticing a planted mistake; the second notices more.",
        False: "Valid code was sent back, for hardly noticing a planted mistake; the second noticed no "
        "more, and the first was taken.",
    }[sharpened["better"] if sharpened else None]
    return _Chapter(
        outcome=outcome,
        idea=idea,
        source=sources[0].read_text(encoding="utf-8") if sources else "",
        histogram=histogram(table.values) if table else "",
        pictures=most_suspicious(lab.splits.pool, table) if table else [],
        sent_back=sent_back,
        details=_details(gained),
    )


def _details(gained: Gain | None) -> list[tuple[str, Difference]]:
    if gained is None:
        return []
    found = {
        "mAP": gained.map,
        "AP50": gained.ap50,
        "AP75": gained.ap75,
        "AP of small boxes": gained.ap_small,
        "AP of medium boxes": gained.ap_medium,
        "AP of large boxes": gained.ap_large,
        "AR@100": gained.ar100,
        **(
            {f"AP of {name}": one for name, one in gained.by_class.items()}
            if len(gained.by_class) > 1
            else {}
        ),
    }
    return [(name, difference) for name, difference in found.items() if difference is not None]
