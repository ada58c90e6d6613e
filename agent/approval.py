"""Who lets a valid metric into the run: nobody (`auto`), a person at the terminal (`ask`), or either by rule.

A decision belongs to the hash of the code that was shown; the journal remembers it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.prompt import Prompt
from rich.syntax import Syntax
from rich.table import Table

from metricsmith.sandbox.errors import RunError

from .author import Candidate
from .ideas import Idea
from .noticed_table import noticed_table

__all__ = ["Approver", "Ask", "Auto", "ByRule", "Decision", "touched"]

FAR = 0.1
"""Curations that touch a larger share of the pool are for a person to approve, if the rule says so."""


class Decision(BaseModel):
    """What was decided about a candidate."""

    model_config = ConfigDict(frozen=True)

    decision: Literal["approve", "reject", "hint"]
    reason: str = ""
    """Why it was rejected, or the hint."""
    by: Literal["auto", "rule", "person"]


class Approver(Protocol):
    """Decides about a candidate that validation accepted."""

    def __call__(self, idea: Idea, candidate: Candidate, names: Sequence[str]) -> Decision:
        """Return the decision; `names` are the files of the images that validation scored, in order."""
        ...


class Auto:
    """Approves what validation accepted."""

    def __call__(self, idea: Idea, candidate: Candidate, names: Sequence[str]) -> Decision:
        """Approve."""
        return Decision(decision="approve", by="auto")


class ByRule:
    """Asks a person only about what is far-reaching; the rest is approved.

    Far-reaching: the curation touches more than a tenth of the pool (`touched`), or generated code does not
    run behind all walls of the jail.
    """

    def __init__(self, ask: Approver, budget: float, *, jailed: bool) -> None:
        """`budget`: the size of a training set as a share of the pool."""
        self._ask = ask
        self._budget = budget
        self._jailed = jailed

    def __call__(self, idea: Idea, candidate: Candidate, names: Sequence[str]) -> Decision:
        """Approve, or return what the person decides."""
        if self._jailed and touched(idea, self._budget) <= FAR:
            return Decision(decision="approve", by="rule")
        return self._ask(idea, candidate, names)


def touched(idea: Idea, budget: float) -> float:
    """The share of the pool's images (or boxes) that a curation leaves out or changes.

    `stratify` and `spread` decide about every image that is drawn.
    """
    match idea.strategy.kind:
        case "filter" | "filter_boxes":
            return idea.strategy.fraction
        case "relabel":
            return idea.strategy.fraction * budget
        case "stratify" | "spread":
            return budget


class Ask:
    """Shows the code, the scores' histogram and the extremes, and asks a person."""

    def __init__(
        self, console: Console, alone: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> None:
        """`alone`: a context in which nothing else writes to the console."""
        self.console = console
        self._alone = alone

    def __call__(self, idea: Idea, candidate: Candidate, names: Sequence[str]) -> Decision:
        """Return what the person decides. RunError: there is no terminal to ask at."""
        if not self.console.is_interactive:
            raise RunError(
                "--approve ask needs a terminal to ask at: run it in one, or use --approve auto; "
                "the run goes on from here with `metricsmith resume`"
            )
        with self._alone():
            return self._decide(idea, candidate, names)

    def _decide(self, idea: Idea, candidate: Candidate, names: Sequence[str]) -> Decision:
        self._show(idea, candidate, names)
        if candidate.source:
            question, choices = "[b]a[/b]pprove, [b]r[/b]eject, or give a [b]h[/b]int", ["a", "r", "h"]
        else:
            question, choices = "[b]a[/b]pprove or [b]r[/b]eject", ["a", "r"]
        choice = Prompt.ask(question, choices=choices, default="a", console=self.console)
        if choice == "a":
            return Decision(decision="approve", by="person")
        question = "Why?" if choice == "r" else "Your hint to the model"
        text = ""
        while not text:
            text = Prompt.ask(question, console=self.console).strip()
        return Decision(decision="reject" if choice == "r" else "hint", reason=text, by="person")

    def _show(self, idea: Idea, candidate: Candidate, names: Sequence[str]) -> None:
        use = f"{idea.strategy}{' on top of the best curation so far' if idea.on_best else ''}"
        if idea.reuse:
            use += f", by the scores of {', '.join(idea.reuse)}; no new code"
        about = "\n\n".join(map(escape, (idea.description, idea.hypothesis, f"Use: {use}")))
        self.console.print(Panel(about, title=idea.name))
        if candidate.source:
            self.console.print(Syntax(candidate.source, "python", line_numbers=True, word_wrap=True))
        scores = candidate.proof.check.scores if candidate.proof else None
        if scores is None:
            return
        if candidate.noticed:
            self.console.print(noticed_table(candidate.noticed))
        self.console.print(_histogram(scores.values))
        owners = np.repeat(np.arange(len(scores.counts)), scores.counts)
        order = np.argsort(scores.values, kind="stable")
        table = Table("lowest", "", "highest", "", title="Extremes of the sample")
        for low, high in zip(order[:5], order[::-1][:5], strict=True):
            table.add_row(
                *(f"{scores.values[low]:.4g}", names[owners[low]]),
                *(f"{scores.values[high]:.4g}", names[owners[high]]),
            )
        self.console.print(table)


def _histogram(values: npt.NDArray[np.float64], bins: int = 12, width: int = 40) -> Table:
    counts, edges = np.histogram(values, bins=bins)
    table = Table("from", "to", "scores", title=f"Scores of the sample ({len(values)})", box=None)
    for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True):
        bar = "█" * round(width * count / max(counts.max(), 1))
        table.add_row(f"{low:.4g}", f"{high:.4g}", f"{bar} {count}")
    return table
