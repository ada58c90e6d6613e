"""One run on disk: where each file lies, its frozen settings, and a lock against a second process."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from metricsmith.evaluation.files import write_atomic
from metricsmith.sandbox.errors import RunError

from .settings import Settings

__all__ = ["RunFolder"]

_VERSIONED = ("metricsmith", "numpy", "opencv-python", "torch", "torchvision")


class RunFolder:
    """The folder of one run; makes nothing until something is written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.json"
        self.journal = path / "journal.jsonl"
        self.transcript = path / "transcript.jsonl"
        self.splits = path / "splits.json"
        self.card = path / "card.md"
        self.predictions = path / "predictions.npz"
        self.scores = path / "scores.parquet"
        self.metrics = path / "metrics"
        self.trials = path / "trials"
        self.curations = path / "curations"
        self.manual = path / "manual"
        self.sheets = path / "sheets"
        self.hints = path / "hints.jsonl"
        self.summary = path / "summary.json"
        self.multiplier = path / "multiplier.json"
        self.report = path / "report.html"

    @property
    def name(self) -> str:
        """The run's name."""
        return self.path.name

    def refuse_another(self) -> None:
        """Return if a new run may begin here. RunError: there is a run already."""
        if self.config.exists():
            raise RunError(
                f"{self.path}: there is a run of this name already; give --name another one, or go on with "
                f"`metricsmith resume {self.path}`"
            )

    def create(self, settings: Settings, model: dict[str, Any]) -> None:
        """Freeze the settings of a new run. RunError: there is a run already."""
        self.refuse_another()
        content = {
            "settings": settings.model_dump(mode="json"),
            "model": model,
            "versions": {name: version(name) for name in _VERSIONED},
        }
        write_atomic(self.config, json.dumps(content, indent=2) + "\n")

    def read_settings(self) -> Settings:
        """Return the frozen settings. RunError: there are none, or they are damaged."""
        try:
            return Settings.model_validate(self._read_config()["settings"])
        except (KeyError, ValidationError) as error:
            raise RunError(f"{self.config}: not the settings of a run: {error}") from None

    def read_model(self) -> dict[str, Any]:
        """Return the frozen settings of the language model. RunError as in `read_settings`."""
        model = self._read_config().get("model")
        if not isinstance(model, dict):
            raise RunError(f"{self.config}: does not say which language model the run talks to")
        return model

    def _read_config(self) -> dict[str, Any]:
        try:
            content = json.loads(self.config.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunError(
                f"{self.path}: no run here (no config.json); see `metricsmith run --help`"
            ) from None
        except ValueError as error:
            raise RunError(f"{self.config}: not JSON ({error}); start a new run") from None
        if not isinstance(content, dict):
            raise RunError(f"{self.config}: not the settings of a run")
        return content

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process. RunError: another process works on it."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise RunError(
                    f"{self.path}: another process is working on this run; let it finish"
                ) from None
            file.write(str(os.getpid()))
            file.flush()
            yield
