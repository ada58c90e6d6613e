"""What a person sees while a run goes on: a progress bar with a rate, and the round log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

__all__ = ["Display"]


class Display:
    """Progress bars on a terminal; elsewhere one line for each piece of work that begins."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._what = ""

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def progress(self, what: str, done: int, total: int) -> None:
        """Show how far `what` is; a `metricsmith.evaluation.progress.Progress`."""
        if what != self._what:
            self._what = what
            if not self.console.is_terminal:
                self.console.print(f"{what} ({total})", highlight=False)
            if self._task is not None:
                self._bars.remove_task(self._task)
            self._task = self._bars.add_task(what, total=total, rate="")
        if self._task is not None:
            task = self._bars.tasks[self._bars.task_ids.index(self._task)]
            rate = f"{task.speed:.1f}/s" if task.speed else ""
            self._bars.update(self._task, completed=done, total=total, rate=rate)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take the bars away while a question or a table is shown."""
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._task, self._what = None, ""
        self._bars.stop()
        yield
        self._bars.start()
