"""The embedded default: the story's giant pandas, drawn here, and a recorded engineer at work on them."""

from __future__ import annotations

from importlib.resources import as_file, files
from itertools import count
from pathlib import Path

from rich.console import Console

from metricsmith.evaluation.panda import make_panda
from metricsmith.evaluation.progress import Progress
from metricsmith.sandbox.errors import RunError

from .display import Display
from .run_folder import RunFolder
from .runs import replay, resume
from .summary import Summary

__all__ = ["demo", "pandas_in"]


def demo(folder: Path, console: Console) -> Summary:
    """Draw the pandas unless they are there, and replay the recorded run with live trials.

    Goes on with the last demo in `folder` if it was interrupted; otherwise starts another one.
    RunError: there is no recorded run.
    """
    record = files(__package__).joinpath("recordings", "panda")
    if not record.joinpath("config.json").is_file():
        raise RunError(f"{record}: the run that the demo replays has not been recorded yet; see the README")
    with Display(console) as display:
        data = pandas_in(folder, display.progress)
    for number in count(1):
        run = RunFolder(folder / f"panda-{number}")
        if not run.config.exists():
            break
        if not run.report.exists():  # the last file that a run writes
            return resume(run, console)
    with as_file(record) as path:
        overrides = {"data": data, "cache": folder / "cache"}
        return replay(RunFolder(path), run, live_trials=True, data=overrides, console=console)


def pandas_in(folder: Path, progress: Progress) -> Path:
    """Return where the pandas are below a folder for runs, drawn unless they are there."""
    data = folder / "data" / "panda"
    make_panda(data, progress=progress)
    return data
