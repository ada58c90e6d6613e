"""What happens between two rounds: a person is heard, and what was spent is looked at.

Both go through the journal, so that a run that is resumed or replayed does at this point what it did then.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic

from .allowance import Allowance, Spent
from .hints import read_hints
from .journal import Journal
from .run_folder import RunFolder
from .transcript import Recorded

__all__ = ["BetweenRounds"]


@dataclass
class BetweenRounds:
    """Asked before each round of one run."""

    folder: RunFolder
    journal: Journal
    model: Recorded
    allowance: Allowance
    finish: bool = False
    """Whether a person wants no further round."""
    began: float = field(default_factory=lambda: monotonic())

    def used_up(self, number: int) -> str:
        """Return why round `number` is not begun, or an empty string."""
        event = self.journal.find("stopped", round=number)
        if event is not None:
            reason = str(event["reason"])
        elif self._is_new and self.finish:
            reason = "a person ended it"
        elif self._is_new:
            minutes, trials = (monotonic() - self.began) / 60, len(self.journal.events("trial"))
            spent = Spent.of(self.model.transcript, minutes=minutes, trials=trials)
            reason = self.allowance.used_up(spent)
        else:
            reason = ""
        if reason:
            self.journal.once("stopped", lambda: {"reason": reason}, round=number)
        return reason

    def hear(self, number: int) -> list[str]:
        """Return the hints that round `number` begins with: those not heard in earlier rounds."""
        fresh: list[str] = []
        if self.journal.find("hinted", round=number) is None:
            if self._is_new:
                heard = sum(len(event["hints"]) for event in self.journal.events("hinted"))
                fresh = read_hints(self.folder.hints)[heard:]
            if not fresh:
                return []
        return list(self.journal.once("hinted", lambda: {"hints": fresh}, round=number)["hints"])

    @property
    def _is_new(self) -> bool:
        """Whether nothing of the coming round has happened yet, not even a call whose answer was not used."""
        return self.journal.is_at_end and self.model.is_at_end
