"""The main loop: propose → write → validate → approve → score → curate → train → judge → reflect.

It reads like the definition of a round; what each step does is in `author` (the language model's part),
`approval` (a person's), `policy` (which kind of idea a round wants), `lab` and `contest` (what is measured).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from metricsmith.evaluation.error_analysis import errors_in_words
from metricsmith.evaluation.files import write_atomic
from metricsmith.evaluation.scores import ScoreTable
from metricsmith.evaluation.trials import Gain
from metricsmith.sandbox import Failure

from .accepted import MetricCard, accept, card_of
from .approval import Approver, Decision
from .author import Author, Candidate
from .confirmation import Finalist, confirm
from .contest import Champion, contest, may_enter, steps_of
from .ideas import Idea
from .lab import REDUNDANT, Lab, numbers
from .outcome import Outcome, Verdict, Versus
from .pages import journal_page
from .policy import Mode, mode_of
from .summary import Summary, conclude

__all__ = ["Engineer"]


@dataclass
class Engineer:
    """Runs the rounds. Everything it finds out goes through the journal of its lab."""

    author: Author
    lab: Lab
    approve: Approver
    show: Callable[[Sequence[Outcome]], None]
    """Called with the outcomes so far whenever there is a new one."""
    hear: Callable[[int], Sequence[str]] = lambda number: ()
    """Returns what a person has said since the last round."""
    used_up: Callable[[int], str] = lambda number: ""
    """Returns why this round is not begun any more, or an empty string."""
    ideas: list[Idea] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    gains: dict[int, Gain] = field(default_factory=dict)
    """Over the control, by round, where it was measured."""
    given: list[tuple[str, str]] = field(default_factory=list)
    """Metrics that the run was given: their names, and what they measure."""
    written: dict[str, Candidate] = field(default_factory=dict)
    """The code that scored the pool, by the metric's name."""
    best: Champion | None = None
    """The best curation so far: the next one must beat it, or build on it."""
    entrants: list[Champion] = field(default_factory=list)
    """The curations that fresh seeds may yet find the best."""

    def run(self) -> Summary:
        """Play all rounds, as far as the allowance reaches, confirm the best, then look at test once."""
        self.lab.control()
        self.given = self.lab.given()
        stopped = ""
        for number in range(1, self.lab.settings.rounds + 1):
            if stopped := self.used_up(number):
                break
            self.play(number)
            self.show(self.outcomes)
        champion, finalists = self.confirm()
        return conclude(self.lab, self.outcomes, champion, finalists, stopped)

    def confirm(self) -> tuple[Champion | None, list[Finalist]]:
        """Choose what the run recommends: the best curation so far, or what fresh seeds say is better."""
        if self.best is None or not self.lab.settings.confirm:
            return self.best, []
        champion, finalists = confirm(self.lab, self.best, self.entrants)
        if champion is not None:
            self._accept(self.ideas[champion.round - 1], self.outcomes[champion.round - 1])
        return champion, finalists

    def play(self, number: int) -> None:
        """Play one round."""
        settings = self.lab.settings
        mode = mode_of(number, [past.mode for past in self.outcomes], bool(self.lab.tables), settings.seed)
        self.author.hints.extend(self.hear(number))
        sheet = self.lab.contact_sheet(number)
        idea = self.author.propose(number, mode, self.ideas, self.lab.tables, sheet, **self.page())
        candidate, decision = self.code(number, idea)
        outcome, facts = self.measure(number, mode, idea, candidate, decision)
        taught = self.author.reflect(number, idea, facts)
        self.ideas.append(idea)
        self.outcomes.append(outcome.model_copy(update=taught.model_dump()))
        if number % settings.distil == 0 and number < settings.rounds:
            self.author.distil(number, **self.page())

    def page(self) -> dict[str, Any]:
        """What the prompts tell of the rounds so far."""
        page = journal_page(self.ideas, self.outcomes, self.best)
        return {
            **page,
            "given": self.given,
            "control": self.lab.control_numbers,
            "errors": errors_in_words(self.lab.control_errors),
        }

    def code(self, number: int, idea: Idea) -> tuple[Candidate, Decision | None]:
        """Have an idea's code written and approved; a composite is approved as it is, without code."""
        if idea.reuse:
            composite = Candidate("", None, 1)
            return composite, self._approval(number, idea, composite, idea.digest)
        return self.decide(number, idea, self.author.write(number, idea))

    def decide(self, number: int, idea: Idea, candidate: Candidate) -> tuple[Candidate, Decision | None]:
        """Have an accepted candidate approved; a person's hint sends it back to the author."""
        while candidate.accepted:
            decision = self._approval(number, idea, candidate, candidate.source_hash)
            if decision.decision != "hint":
                return candidate, decision
            self.author.hints.append(decision.reason)
            wish = f"The code is valid. The person who looked at it and its scores wishes: {decision.reason}"
            candidate = self.author.revise(number, idea, candidate, wish)
        return candidate, None

    def measure(
        self, number: int, mode: Mode, idea: Idea, candidate: Candidate, decision: Decision | None
    ) -> tuple[Outcome, Mapping[str, Any]]:
        """Score, curate, train and judge; return the outcome, and what the author learns of it."""

        def judged(verdict: Verdict, **facts: Any) -> Outcome:
            outcome = Outcome(
                round=number,
                metric=idea.name,
                mode=mode,
                family=idea.family,
                strategy=str(idea.strategy) + (" on the best" if idea.on_best and self.best else ""),
                repairs=candidate.attempt - 1,
                noticed=candidate.noticed,
                verdict=verdict,
                **facts,
            )
            self.lab.journal.record("judged", **outcome.model_dump())
            return outcome

        table = self._score(idea, candidate, decision)
        if isinstance(table, tuple):
            verdict, reason = table
            outcome = judged(verdict, reason=reason)
            return outcome, told(outcome)
        alike = self.lab.alike(table)
        if twin := self._twin(idea, alike):
            outcome = judged("redundant", reason=f"It ranks the images as {twin} does.", alike=alike)
            return outcome, told(outcome)
        steps = steps_of(idea, table, self.best)
        found = contest(self.lab, number, steps, self.best)
        self.gains[number] = found.gains["control"]
        outcome = judged(
            found.verdict,
            parts=tuple(map(str, steps)),
            alike=alike,
            curated=numbers(found.curated),
            **{name: Versus.of(gained, numbers(found.rivals[name])) for name, gained in found.gains.items()},
        )
        if may_enter(outcome.verdict, steps, self.best):
            self.entrants.append(Champion(number, steps))
        if outcome.verdict == "kept":
            self.best = self.entrants[-1]
            self._accept(idea, outcome)
        return outcome, {**told(outcome), "rows": len(table.values), "scores": spread(table)}

    def _score(
        self, idea: Idea, candidate: Candidate, decision: Decision | None
    ) -> ScoreTable | tuple[Verdict, str]:
        """Return the scores of the pool, or the verdict and the reason why there are none to use."""
        if decision is None:
            return "parked", f"No valid code in {candidate.attempt} attempts. {candidate.mistakes[-1]}"
        if decision.decision == "reject":
            return "rejected", f"A person rejected it: {decision.reason}"
        if idea.reuse:
            missing = [name for name in idea.reuse if name not in self.lab.tables]
            return ("parked", f"There are no scores of {missing[0]}.") if missing else self.lab.reuse(idea)
        write_atomic(self.lab.place_of(idea.name, candidate.source), candidate.source)
        self.written[idea.name] = candidate
        table = self.lab.score(idea.name, candidate.source)
        if isinstance(table, Failure):
            return "parked", f"It failed on the whole pool. {table}"
        if table.summary().distinct < 2:
            return "uninformative", "Every score is the same."
        return table

    def _twin(self, idea: Idea, alike: Mapping[str, float]) -> str | None:
        """Return an earlier idea that did the same with scores that rank alike, if there is one."""
        if idea.on_best and self.best:
            return None
        for past in self.ideas:
            same = past.strategy == idea.strategy if idea.reuse else past.strategy.kind == idea.strategy.kind
            if same and not past.on_best and abs(alike.get(past.name, 0.0)) > REDUNDANT:
                return past.name
        return None

    def _accept(self, idea: Idea, outcome: Outcome) -> None:
        """Give the code behind what was kept its card: of a composite, that of the metrics it reuses."""
        for name in idea.reuse:
            if past := next((past for past in self.ideas if past.name == name), None):
                self._accept(past, outcome)
        if idea.name not in self.written:
            return
        candidate = self.written[idea.name]
        place = self.lab.place_of(idea.name, candidate.source)
        if card_of(place) is not None:
            return  # an earlier round kept it by itself
        card = MetricCard(
            sha256=candidate.source_hash,
            strategy=outcome.strategy,
            run=self.lab.folder.name,
            round=outcome.round,
            dataset=self.lab.splits.pool.name,
            model=self.author.model.name,
            seeds=self.lab.settings.seeds,
            map_gain_pct=outcome.map_gain_pct,
            ar100_gain_pct=outcome.ar100_gain_pct,
            noticed=candidate.noticed,
            **idea.model_dump(include={"name", "level", "suspicious", "description"}),
        )
        accept(place, card)

    def _approval(self, number: int, idea: Idea, candidate: Candidate, digest: str) -> Decision:
        """Return what was decided about the code (or the composite) of this hash; it is asked once."""

        def ask() -> Mapping[str, Any]:
            names = [image.file_name for image in self.lab.proving_ground.images.images]
            return self.approve(idea, candidate, names).model_dump()

        event = self.lab.journal.once("approval", ask, round=number, source=digest)
        return Decision.model_validate({key: event[key] for key in Decision.model_fields})


def told(outcome: Outcome) -> dict[str, Any]:
    """Return what the author learns of an outcome."""
    return {
        **outcome.model_dump(),
        "measured": outcome.curated is not None,
        "rivals": outcome.rivals,
        "noticed": outcome.noticed,
    }


def spread(table: ScoreTable) -> str:
    """Return the quantiles of the scores in words, for a prompt."""
    names = {0: "lowest", 5: "5 %", 25: "25 %", 50: "median", 75: "75 %", 95: "95 %", 100: "highest"}
    quantiles = table.summary().quantiles
    return ", ".join(f"{name} {quantiles[percent]:.3g}" for percent, name in names.items())
