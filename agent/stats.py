"""What runs cost and brought, from their journals and transcripts alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from scipy.stats import spearmanr

from metricsmith.prompts.shelf import NEW
from metricsmith.sandbox.errors import RunError

from .ideas import Idea
from .journal import Event, read_events
from .policy import similarity
from .run_folder import RunFolder
from .transcript import Transcript

__all__ = ["Stats", "stats_of"]

_STEPS = {
    "started": "reading data",
    "proposed": "proposing",
    "planted": "writing and validating",
    "candidate": "writing and validating",
    "approval": "approval",
    "trial": "training and evaluating",
    "reflected": "reflecting",
    "distilled": "distilling",
}
"""The step that ends with an event of this kind; events of other kinds follow at once."""


@dataclass
class Stats:
    """Sums over runs."""

    runs: int = 0
    rounds: int = 0
    ideas: int = 0
    """Proposed; one of each round was tried."""
    modes: Counter[str] = field(default_factory=Counter)
    """How many rounds explored, how many improved."""
    new_families: int = 0
    """Rounds that tried a family of the method shelf for the first time in their run."""
    composites: int = 0
    """Rounds that used earlier scores again, without new code."""
    pairs: list[tuple[float, float]] = field(default_factory=list)
    """For each two metrics of a run that have scores: how alike their descriptions are
    (`policy.similarity`), and |Spearman| of their scores."""
    candidates: int = 0
    """Ideas for which code was asked."""
    valid_at_first: int = 0
    valid_after_repair: int = 0
    """Valid at some try, the first included."""
    weak: int = 0
    """Valid, but sent back once: it hardly noticed a planted mistake that it should notice."""
    sharper: int = 0
    """Of these, how often the second code noticed more."""
    mistakes: Counter[str] = field(default_factory=Counter)
    """Why code was refused: how often by stage and kind."""
    verdicts: Counter[str] = field(default_factory=Counter)
    hints: int = 0
    """Hints of a person, at the start and at an approval."""
    calls: int = 0
    prompt_tokens: int | None = 0
    """None where a provider did not say."""
    completion_tokens: int | None = 0
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall-clock seconds by step."""
    best: dict[str, list[float]] = field(default_factory=dict)
    """By run, for each round: the largest gain in mAP over the control, in percent, of what was kept."""

    @property
    def kept(self) -> int:
        """How many metrics were kept."""
        return self.verdicts["kept"]

    @property
    def text_tells(self) -> float | None:
        """Spearman's correlation of the two numbers of `pairs`; None for fewer than three of them."""
        if len(self.pairs) < 3:
            return None
        texts, scores = zip(*self.pairs, strict=True)
        return float(spearmanr(texts, scores).statistic)

    @property
    def share_at_first(self) -> float | None:
        """The share of candidates that were valid at the first try."""
        return self.valid_at_first / self.candidates if self.candidates else None

    @property
    def share_after_repair(self) -> float | None:
        """The share of candidates that were valid in the end."""
        return self.valid_after_repair / self.candidates if self.candidates else None


def stats_of(folders: Sequence[RunFolder]) -> Stats:
    """Return the sums. RunError: a folder holds no run, or a damaged one."""
    total = Stats()
    for folder in folders:
        events = read_events(folder.journal)
        if not events:
            raise RunError(f"{folder.path}: no run here (no journal.jsonl)")
        total.best[folder.name] = _add_events(total, events)
        _add_calls(total, Transcript(folder.transcript))
    return total


def _add_events(total: Stats, events: Sequence[Event]) -> list[float]:
    """Add what one run did, and return its best gain by round."""
    total.runs += 1
    best = [0.0]
    tried: dict[int, list[bool]] = {}
    ideas: dict[str, Idea] = {}
    for before, event in zip((events[0], *events), events, strict=False):
        kind = event["event"]
        step = _STEPS.get(kind, "the rest")
        total.seconds[step] = total.seconds.get(step, 0.0) + _apart(before, event)
        match kind:
            case "started":
                total.hints += len(event["hints"])
            case "proposed":
                total.rounds += 1
                total.ideas += len(event["ideas"])
            case "idea":
                idea = Idea.model_validate(event["idea"])
                total.modes[event["mode"]] += 1
                total.new_families += idea.family not in {NEW, *(past.family for past in ideas.values())}
                total.composites += bool(idea.reuse)
                ideas[idea.name] = idea
            case "candidate":
                tried.setdefault(event["round"], []).append(event["accepted"])
                if not event["accepted"]:
                    total.mistakes[_why(event)] += 1
            case "sharpened":
                total.weak += 1
                total.sharper += event["better"]
            case "hinted":
                total.hints += len(event["hints"])
            case "approval":
                total.hints += event["decision"] == "hint"
            case "judged":
                total.verdicts[event["verdict"]] += 1
                gained = event["control"]["map_pct"] if event["verdict"] == "kept" else None
                total.pairs.extend(
                    (similarity(ideas[event["metric"]], ideas[name]), abs(value))
                    for name, value in event["alike"].items()
                    if not ideas[event["metric"]].reuse and not ideas[name].reuse
                )
                best.append(max(best[-1], gained or 0.0))
    total.candidates += len(tried)
    total.valid_at_first += sum(attempts[0] for attempts in tried.values())
    total.valid_after_repair += sum(any(attempts) for attempts in tried.values())
    return best[1:]


def _add_calls(total: Stats, transcript: Transcript) -> None:
    total.calls += len(transcript.calls)
    usage = transcript.usage
    if usage is None:
        total.prompt_tokens = total.completion_tokens = None
    elif total.prompt_tokens is not None and total.completion_tokens is not None:
        total.prompt_tokens += usage.prompt_tokens
        total.completion_tokens += usage.completion_tokens


def _why(event: Event) -> str:
    error = event["error"]
    return f"{event['stage']}: {error['kind'] if isinstance(error, dict) else error}"


def _apart(before: Event, event: Event) -> float:
    moments = [datetime.fromisoformat(one["time"]) for one in (before, event)]
    return (moments[1] - moments[0]).total_seconds()
