"""A language model that answers from a transcript alone. It never opens a socket and pays for nothing."""

from __future__ import annotations

from pathlib import Path

from metricsmith.sandbox.errors import RunError, StaleTranscriptError

from ..transcript import Call, Transcript, place, stale
from .request import Request, Response

__all__ = ["Replay"]


class Replay:
    """The answers recorded in `path`, in their order.

    `strict`: each request must have the key of the recorded call at its place, and no call may be left
    over at the end (`finish`). Not strict: for a run whose own measurements may lead it elsewhere than the
    recorded one; a request gets the first unused answer to the same (round, purpose, attempt).
    RunError if there is no transcript, StaleTranscriptError if it does not hold the answer.
    """

    def __init__(self, path: Path, *, strict: bool = True) -> None:
        transcript = Transcript(path)
        if transcript.header is None:
            raise RunError(f"{path}: no transcript to replay; record one with a language model first")
        self._path = path
        self._strict = strict
        self._left = list(transcript.calls)
        self._header = transcript.header

    @property
    def name(self) -> str:
        """The name of the model that was recorded."""
        provider, model = self._header.provider, self._header.model
        return provider if provider == model else f"{provider}:{model}"

    def complete(self, request: Request) -> Response:
        """The recorded answer."""
        call = self._next(request) if self._strict else self._like(request)
        self._left.remove(call)
        return call.response

    def finish(self) -> None:
        """Return if a strict replay used every recorded call. StaleTranscriptError if some are left over."""
        if self._strict and self._left:
            count = len(self._left)
            raise StaleTranscriptError(
                f"{self._path}: {count} recorded {'call is' if count == 1 else 'calls are'} left over, "
                f"from {self._left[0]} on; record the run again"
            )

    def _next(self, request: Request) -> Call:
        if not self._left:
            raise StaleTranscriptError(
                f"{self._path}: the transcript has ended, but the run asks on ({place(request)}); "
                "record the run again"
            )
        call = self._left[0]
        if call.key != request.key:
            raise stale(self._path, call, request)
        return call

    def _like(self, request: Request) -> Call:
        for call in self._left:
            if place(call.asked) == place(request):
                return call
        raise StaleTranscriptError(
            f"{self._path}: no answer is recorded for {place(request)}; "
            "the run went another way than the recorded one: go on with a language model"
        )
