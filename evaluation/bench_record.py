"""What a benchmark has measured so far, on disk: one JSON line a measurement, so that a kill loses only one.

The key names all that the measurement hangs on; a benchmark that is run again computes what is missing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from metricsmith.sandbox.errors import RunError

from .files import append_line, cut_partial_line

__all__ = ["BenchRecord"]


class BenchRecord:
    """Measurements by key, in the file `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, Any] = {}
        if path.exists():
            cut_partial_line(path)
            for number, line in enumerate(path.read_text(encoding="utf-8").split("\n")[:-1], 1):
                try:
                    entry = json.loads(line)
                    self._known[json.dumps(entry["key"])] = entry["value"]
                except (ValueError, TypeError, KeyError):
                    raise RunError(
                        f"{path}: line {number} is damaged; remove it, and it is measured again"
                    ) from None

    def knows(self, *key: object) -> bool:
        """Whether there is a measurement of this key."""
        return json.dumps(key) in self._known

    def once(self, compute: Callable[[], Any], *key: object) -> Any:
        """Return the measurement of this key; only if there is none, compute and keep it. Both are JSON."""
        name = json.dumps(key)
        if name not in self._known:
            value = compute()
            append_line(self.path, json.dumps({"key": key, "value": value}))
            self._known[name] = json.loads(json.dumps(value))
        return self._known[name]
