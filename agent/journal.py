"""What happened in a run: append-only, one event a line, flushed to disk; everything resumes from it.

A run that goes on after a kill starts from the top and comes past every step again. A step that is
already in the journal costs nothing: `once` hands back what was recorded instead of computing it, and
`record` checks that what happens now is what happened then. From the first step that is not in the
journal on, events are appended. A replay does the same against the journal of the recorded run, from
which it takes the kinds of events that it must not compute itself.

The journal does not know what its events mean.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any

from metricsmith.evaluation.files import append_line, cut_partial_line
from metricsmith.sandbox.errors import RunError

__all__ = ["VOLATILE", "Event", "Journal", "first_difference", "read_events"]

Event = Mapping[str, Any]
"""`seq`, `time`, `event` (its kind) and the event's own facts."""

VOLATILE = frozenset({"time", "seconds", "fingerprint", "alike"})
"""The fields in which two journals of the same run may differ: when, how long, and what hangs on the last
bit of a drawn or decoded picture, which differs between processors: the data set's fingerprint, and
correlations of scores."""


def read_events(path: Path) -> list[Event]:
    """Return the events of a journal file, or an empty list where there is none.

    A last line that a kill cut short is left out. RunError: any other line that is no event.
    """
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    events: list[Event] = []
    for number, line in enumerate(lines[:-1]):
        try:
            event = json.loads(line)
            if event["seq"] != number or not isinstance(event["event"], str):
                raise ValueError
        except (ValueError, TypeError, KeyError):
            raise RunError(
                f"{path}: line {number + 1} is not an event of a journal; the file was changed by hand or "
                "the disk failed: restore it, or start a new run"
            ) from None
        events.append(event)
    return events


class Journal:
    """The events of one run, on disk and in memory.

    `record` and `recorded_kinds` make it a replay: events of those kinds are taken from `record`, the
    journal of the run that is replayed, instead of being computed.
    """

    def __init__(
        self,
        path: Path,
        *,
        record: Collection[Event] = (),
        recorded_kinds: Collection[str] = (),
    ) -> None:
        self.path = path
        self._events = read_events(path)
        self._position = 0
        self._borrowed = [event for event in record if event["event"] in recorded_kinds]
        cut_partial_line(path)

    @property
    def is_at_end(self) -> bool:
        """Whether the next event is a new one, not one to come past again."""
        return self._position == len(self._events)

    def __len__(self) -> int:
        """The number of events, those not yet come past again included."""
        return len(self._events)

    def events(self, kind: str | None = None) -> list[Event]:
        """The events of one kind, or all of them, oldest first."""
        return [event for event in self._events if kind in (None, event["event"])]

    def find(self, kind: str, **identity: object) -> Event | None:
        """The event of this kind whose facts include `identity`, from this run or the replayed one."""
        for event in (*self._events, *self._borrowed):
            if event["event"] == kind and all(event.get(key) == value for key, value in identity.items()):
                return event
        return None

    def once(self, kind: str, compute: Callable[[], Mapping[str, Any]], **identity: object) -> Event:
        """Return the event with this identity; only if there is none, compute its facts. Records it."""
        found = self.find(kind, **identity)
        facts = compute() if found is None else _facts(found)
        return self.record(kind, **{**facts, **identity})

    def record(self, kind: str, **facts: Any) -> Event:
        """Append an event and return it; on ground covered before, check that it is the same one.

        RunError: this run did something else at this point before.
        """
        facts = json.loads(json.dumps(facts))  # as it will be read again: tuples become lists
        if self._position < len(self._events):
            before = self._events[self._position]
            if before["event"] != kind or _stable(before) != _stable(facts):
                raise RunError(
                    f"{self.path}: event {self._position} was `{before['event']}` with {_stable(before)}, "
                    f"now it is `{kind}` with {_stable(facts)}: the data, the settings or the program "
                    "changed since; start a new run"
                )
            self._position += 1
            return before
        now = datetime.now(UTC).isoformat(timespec="seconds")
        event = {"seq": self._position, "time": now, "event": kind, **facts}
        append_line(self.path, json.dumps(event, ensure_ascii=False))
        self._events.append(event)
        self._position += 1
        return event


def first_difference(recorded: Sequence[Event], now: Sequence[Event]) -> str:
    """Return what the first event is in which two journals differ, or "" where they are equal.

    Fields in `VOLATILE` may differ.
    """
    for before, after in zip_longest(recorded, now):
        if before is None:
            return f"event {after['seq']} `{after['event']}` is new"
        if after is None:
            return f"event {before['seq']} `{before['event']}` is missing"
        old, new = _stable(before), _stable(after)
        if before["event"] != after["event"] or old != new:
            fields = [key for key in {**old, **new} if old.get(key) != new.get(key)]
            return f"event {before['seq']}, recorded `{before['event']}`, now `{after['event']}`, in {fields}"
    return ""


def _facts(event: Event) -> dict[str, Any]:
    return {key: value for key, value in event.items() if key not in ("seq", "time", "event")}


def _stable(event: Event) -> dict[str, Any]:
    return {key: value for key, value in _facts(event).items() if key not in VOLATILE}
