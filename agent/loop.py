"""The main loop: propose → write → validate → approve → score → curate → train → judge → reflect.

It reads like the definition of a round; what each step does is in `author` (the language model's part),
`approval` (a person's), and `lab` (everything that is measured).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from metricsmith.evaluation.files import write_atomic
from metricsmith.evaluation.scores import ScoreTable
from metricsmith.evaluation.trials import Gain, gain, judge
from metricsmith.sandbox import Failure

from .accepted import MetricCard, accept
from .approval import Approver, Decision
from .author import Author, Candidate
from .ideas import Idea
from .lab import Lab, numbers
from .outcome import Outcome, Verdict, Versus
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

    def run(self) -> Summary:
        """Play all rounds, as far as the allowance reaches, then look at test once."""
        self.lab.control()
        stopped = ""
        for number in range(1, self.lab.settings.rounds + 1):
            if stopped := self.used_up(number):
                break
            self.play(number)
            self.show(self.outcomes)
        return conclude(self.lab, self.ideas, self.outcomes, stopped)

    def play(self, number: int) -> None:
        """Play one round."""
        control = self.lab.control_numbers
        self.author.hints.extend(self.hear(number))
        idea = self.author.propose(number, self.history(), control=control)
        candidate = self.author.write(number, idea)
        candidate, decision = self.decide(number, idea, candidate)
        outcome, facts = self.measure(number, idea, candidate, decision)
        taught = self.author.reflect(number, idea, facts, self.lab.settings.seeds)
        self.ideas.append(idea)
        self.outcomes.append(outcome.model_copy(update=taught.model_dump()))

    def history(self) -> list[Mapping[str, Any]]:
        """What earlier rounds tried and found, as the prompts tell it."""
        return [
            {
                "round": outcome.round,
                "name": idea.name,
                "strategy": outcome.strategy,
                "description": idea.description,
                "measured": outcome.curated is not None,
                **outcome.model_dump(
                    include={"verdict", "reason", "lesson", "next", "control", "random_relabel"}
                ),
            }
            for idea, outcome in zip(self.ideas, self.outcomes, strict=True)
        ]

    def decide(self, number: int, idea: Idea, candidate: Candidate) -> tuple[Candidate, Decision | None]:
        """Have an accepted candidate approved; a person's hint sends it back to the author."""
        names = self.lab.probe_names
        while candidate.accepted:
            event = self.lab.journal.once(
                "approval",
                partial(self._ask, idea, candidate, names),
                round=number,
                source=candidate.source_hash,
            )
            decision = Decision.model_validate({key: event[key] for key in Decision.model_fields})
            if decision.decision != "hint":
                return candidate, decision
            self.author.hints.append(decision.reason)
            wish = f"The code is valid. The person who looked at it and its scores wishes: {decision.reason}"
            candidate = self.author.revise(number, idea, candidate, wish)
        return candidate, None

    def measure(
        self, number: int, idea: Idea, candidate: Candidate, decision: Decision | None
    ) -> tuple[Outcome, Mapping[str, Any]]:
        """Score, curate, train and judge; return the outcome, and what the author learns of it."""

        def unmeasured(verdict: Verdict, reason: str) -> tuple[Outcome, Mapping[str, Any]]:
            return self._judged(number, idea, candidate, verdict, reason=reason)

        if decision is None:
            return unmeasured(
                "parked", f"No valid code in {candidate.attempt} attempts. {candidate.mistakes[-1]}"
            )
        if decision.decision == "reject":
            return unmeasured("rejected", f"A person rejected it: {decision.reason}")
        write_atomic(self.lab.place_of(idea.name, candidate.source), candidate.source)
        table = self.lab.score(idea.name, candidate.source)
        if isinstance(table, Failure):
            return unmeasured("parked", f"It failed on the whole pool. {table}")
        if table.summary().distinct < 2:
            return unmeasured("uninformative", "Every score is the same.")
        earlier = [past.name for past in self.ideas if past.strategy.kind == idea.strategy.kind]
        if twin := self.lab.twin(table, earlier):
            return unmeasured("redundant", f"It ranks the images as {twin} does.")
        curated = self.lab.curated(number, table, idea.strategy)
        rivals = self.lab.rivals(idea.strategy)
        gains = {name: gain(curated, trials) for name, trials in rivals.items()}
        self.gains[number] = gains["control"]
        outcome, facts = self._judged(
            number,
            idea,
            candidate,
            judge(*gains.values()),
            curated=numbers(curated),
            **{name: Versus.of(gained, numbers(rivals[name])) for name, gained in gains.items()},
        )
        if outcome.verdict == "kept":
            self._accept(idea, candidate, outcome)
        return outcome, {
            **facts,
            "rows": len(table.values),
            "scores": spread(table),
        }

    def _judged(
        self, number: int, idea: Idea, candidate: Candidate, verdict: Verdict, **facts: Any
    ) -> tuple[Outcome, dict[str, Any]]:
        outcome = Outcome(
            round=number,
            metric=idea.name,
            strategy=idea.plan,
            repairs=candidate.attempt - 1,
            verdict=verdict,
            **facts,
        )
        self.lab.journal.record("judged", **outcome.model_dump())
        return outcome, {**outcome.model_dump(), "measured": outcome.curated is not None}

    def _accept(self, idea: Idea, candidate: Candidate, outcome: Outcome) -> None:
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
            **idea.model_dump(include={"name", "level", "suspicious", "description"}),
        )
        accept(self.lab.place_of(idea.name, candidate.source), card)

    def _ask(self, idea: Idea, candidate: Candidate, names: Sequence[str]) -> Mapping[str, Any]:
        return self.approve(idea, candidate, names).model_dump()


def spread(table: ScoreTable) -> str:
    """Return the quantiles of the scores in words, for a prompt."""
    names = {0: "lowest", 5: "5 %", 25: "25 %", 50: "median", 75: "75 %", 95: "95 %", 100: "highest"}
    quantiles = table.summary().quantiles
    return ", ".join(f"{name} {quantiles[percent]:.3g}" for percent, name in names.items())
