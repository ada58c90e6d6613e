"""The language model's part of a round: an idea, its code, the repair of that code, and the lesson.

Every answer is checked before anything is done with it; what cannot be used is answered with the precise
reason. Nothing here trains or scores.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from pydantic import BaseModel

from metricsmith.evaluation.planted import MISTAKES, Noticed
from metricsmith.evaluation.promises import sharpness
from metricsmith.evaluation.scores import ScoreTable
from metricsmith.prompts import Prompt, render
from metricsmith.sandbox.errors import ModelError

from .contact_sheet import ContactSheet
from .ideas import Idea, Ideas, Insights, Reflection
from .journal import Journal
from .models import LanguageModel, Message, Picture, Request
from .models.request import Purpose
from .policy import Mode, choose
from .proving_ground import Proof
from .replies import ReplyError, extract_code, extract_json

__all__ = ["Author", "Candidate"]

Answer = TypeVar("Answer", bound=BaseModel)
Choice = TypeVar("Choice")


@dataclass(frozen=True, slots=True)
class Candidate:
    """What came of an idea: code that was accepted, or the mistakes that kept it from being so."""

    source: str
    """The last code, empty where no answer held any."""
    proof: Proof | None
    """What came of trying it; None where there was nothing to try."""
    attempt: int
    """How many answers it took; the first is the code as first written, the others are repairs."""
    mistakes: tuple[str, ...] = ()
    """What was wrong with the earlier answers, oldest first."""

    @property
    def accepted(self) -> bool:
        """Whether validation accepted the code."""
        return self.proof is not None and self.proof.check.accepted

    @property
    def noticed(self) -> tuple[Noticed, ...]:
        """Which planted mistakes the code notices."""
        return self.proof.noticed if self.proof else ()

    @property
    def source_hash(self) -> str:
        """SHA-256 of the code, in hex."""
        return hashlib.sha256(self.source.encode()).hexdigest()


@dataclass
class Author:
    """Turns what a run knows into requests, and replies into ideas, code and lessons."""

    model: LanguageModel
    journal: Journal
    prove: Callable[[int, int, Idea, str], Proof]
    """Tries code, given the round, the attempt, the idea and the source: see `ProvingGround.prove`."""
    briefing: Mapping[str, Any]
    """What every prompt may use: the data set's facts; see `Lab.briefing`."""
    tries: int
    """How often code may be mended."""
    mend: float
    """How many images of a training set an annotator mends at most, as a share."""
    hints: list[str] = field(default_factory=list)
    """A person's hints so far."""
    insights: Insights | None = None
    """What the rounds taught, as it was last written down."""

    def propose(
        self,
        number: int,
        mode: Mode,
        tried: Sequence[Idea],
        scored: Mapping[str, ScoreTable],
        sheet: ContactSheet | None = None,
        **page: Any,
    ) -> Idea:
        """Return the idea to try in this round. ModelError: no usable answer in `tries` + 1 attempts.

        `sheet`: what is shown of the data to a model that takes pictures.

        A replay with live trials tries what was tried when it was recorded: its code is in the transcript.
        """
        prompt = render(
            "brainstorm",
            **self.briefing,
            **page,
            mode=mode,
            hints=self.hints,
            insights=self.insights,
            sheet=sheet.legend if sheet else "",
        )
        pictures = (Picture(name="contact-sheet.jpg", jpeg=sheet.jpeg),) if sheet else ()

        def pick(ideas: Ideas) -> Mapping[str, Any]:
            if (known := self.journal.find("idea", round=number)) is not None:
                return {name: known[name] for name in ("mode", "idea", "passed_over")}
            found = choose([idea.within(self.mend) for idea in ideas.ideas], mode, tried, scored)
            if found.idea is None:
                reasons = tuple(f"{name}: {reason}" for name, reason in (*ideas.unfit, *found.passed_over))
                raise ReplyError("no-new-idea", "None of these ideas can be tried. Give new ones.", reasons)
            passed_over = (*ideas.unfit, *found.passed_over)
            return {"mode": mode, "idea": found.idea.model_dump(), "passed_over": passed_over}

        proposed, chosen = self._ask("brainstorm", number, prompt, Ideas, pick, pictures)
        self.journal.record("proposed", round=number, ideas=[idea.model_dump() for idea in proposed.ideas])
        self.journal.record("idea", round=number, **chosen)
        return Idea.model_validate(chosen["idea"])

    def write(self, number: int, idea: Idea) -> Candidate:
        """Return the idea's code, validated, mended where it had to be, and sharpened where it is weak."""
        prompt = render("write", **self.briefing, idea=idea, hints=self.hints, finds=_in_words(idea))
        first = self._code("write", number, 1, prompt, idea, Candidate("", None, 0))
        return self._sharpened(number, idea, self._until_accepted(number, idea, first))

    def revise(self, number: int, idea: Idea, candidate: Candidate, wish: str) -> Candidate:
        """Return the candidate's code changed as a person wishes, validated and mended."""
        return self._until_accepted(number, idea, self._mend(number, idea, candidate, wish))

    def reflect(self, number: int, idea: Idea, outcome: Mapping[str, Any]) -> Reflection:
        """Return the lesson of a round. ModelError: no usable answer."""
        prompt = render("reflect", round=number, idea=idea, outcome=outcome)
        reflection, _ = self._ask("reflect", number, prompt, Reflection, lambda answer: answer)
        self.journal.record("reflected", round=number, **reflection.model_dump())
        return reflection

    def distil(self, number: int, **page: Any) -> None:
        """Have the insights page written anew from all rounds so far; later prompts carry it."""
        prompt = render("distil", **self.briefing, **page, insights=self.insights)
        self.insights, _ = self._ask("distil", number, prompt, Insights, lambda answer: answer)
        self.journal.record("distilled", round=number, **self.insights.model_dump())

    def _until_accepted(self, number: int, idea: Idea, candidate: Candidate) -> Candidate:
        first = candidate.attempt
        while not candidate.accepted and candidate.attempt < first + self.tries:
            candidate = self._mend(number, idea, candidate, candidate.mistakes[-1])
        return candidate

    def _sharpened(self, number: int, idea: Idea, first: Candidate) -> Candidate:
        """Send valid code back once if it hardly notices what it should; return the sharper of the two."""
        weakness = first.proof.weakness if first.proof else ""
        if not weakness or first.attempt > self.tries:
            return first
        second = self._mend(number, idea, first, weakness)
        gained = sharpness(second.noticed, idea.finds) - sharpness(first.noticed, idea.finds)
        is_sharper = second.accepted and gained > 0
        self.journal.record("sharpened", round=number, attempt=second.attempt, better=is_sharper)
        return second if is_sharper else replace(first, attempt=second.attempt)

    def _mend(self, number: int, idea: Idea, candidate: Candidate, problem: str) -> Candidate:
        prompt = render(
            "repair",
            idea=idea,
            finds=_in_words(idea),
            code=candidate.source,
            problem=problem,
            earlier=[mistake for mistake in candidate.mistakes if mistake != problem],
        )
        return self._code("repair", number, candidate.attempt + 1, prompt, idea, candidate)

    def _code(
        self, purpose: Purpose, number: int, attempt: int, prompt: Prompt, idea: Idea, before: Candidate
    ) -> Candidate:
        """Ask once for code and validate what comes; every mistake goes to the journal and the candidate."""
        try:
            reply = self.model.complete(_request(purpose, number, attempt, prompt))
            source = extract_code(reply.text, finish_reason=reply.finish_reason)
        except ReplyError as error:
            self.journal.record(
                "candidate", round=number, attempt=attempt, accepted=False, stage="reply", error=error.kind
            )
            return Candidate(before.source, None, attempt, (*before.mistakes, _complaint(error)))
        proof = self.prove(number, attempt, idea, source)
        check = proof.check
        candidate = Candidate(source, proof, attempt, before.mistakes)
        facts = check.to_dict()
        self.journal.record(
            "candidate",
            round=number,
            attempt=attempt,
            accepted=check.accepted,
            stage=check.stage,
            error=facts["error"],
            source=candidate.source_hash,
        )
        if check.failure is not None:
            candidate = replace(candidate, mistakes=(*before.mistakes, str(check.failure)))
        return candidate

    def _ask(
        self,
        purpose: Purpose,
        number: int,
        prompt: Prompt,
        shape: type[Answer],
        choose: Callable[[Answer], Choice],
        pictures: tuple[Picture, ...] = (),
    ) -> tuple[Answer, Choice]:
        """Ask until the answer has the shape and `choose` accepts it; each time with what was wrong."""
        request = _request(purpose, number, 1, prompt, pictures)
        while True:
            reply = self.model.complete(request)
            try:
                answer = extract_json(reply.text, shape, finish_reason=reply.finish_reason)
                return answer, choose(answer)
            except ReplyError as error:
                self.journal.record(
                    "unusable", round=number, purpose=purpose, attempt=request.attempt, error=error.kind
                )
                if request.attempt > self.tries:
                    raise ModelError(
                        f"round {number}: no usable answer to {purpose} in {request.attempt} attempts "
                        f"(the last: {error}); try a stronger model, then `metricsmith resume`"
                    ) from None
                request = request.model_copy(
                    update={
                        "attempt": request.attempt + 1,
                        "messages": (
                            *request.messages[:2],
                            Message(role="assistant", content=reply.text),
                            Message(role="user", content=_complaint(error)),
                        ),
                    }
                )


def _in_words(idea: Idea) -> list[str]:
    """The label mistakes that an idea should notice."""
    return [f"`{kind}` ({MISTAKES[kind]})" for kind in idea.finds]


def _complaint(error: ReplyError) -> str:
    return "\n".join((error.advice, *(f"- {problem}" for problem in error.problems)))


def _request(
    purpose: Purpose, number: int, attempt: int, prompt: Prompt, pictures: tuple[Picture, ...] = ()
) -> Request:
    system = render("system")
    return Request(
        purpose=purpose,
        round=number,
        attempt=attempt,
        template=prompt.template,
        json_mode=purpose in ("brainstorm", "reflect", "distil"),
        messages=(
            Message(role="system", content=system.text),
            Message(role="user", content=prompt.text, canonical=prompt.canonical, pictures=pictures),
        ),
    )
