"""Whether code keeps what its idea promised: the planted mistakes that it should notice."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from metricsmith.sandbox import Failure

from .planted import Findings, Mistake, Noticed

__all__ = ["blind", "sharpness", "weak"]

FEW = 8
"""Fewer mistakes of a kind than this say nothing."""
CLEAR = 2 / 3
"""A kind of mistake stands out if it is more suspicious than this share of what is untouched."""


def blind(found: Findings, finds: Collection[Mistake]) -> Failure | None:
    """Return why a metric that should notice these kinds of mistakes is refused, None if it is not.

    It notices none of them, or finds one of them less suspicious than what is right.
    """
    promised = _promised(found, finds)
    wrong = [own.kind for own in promised if own.falls]
    if wrong:
        what = f"a mistake of the kind {' or '.join(wrong)} makes a sample image less suspicious, not more"
    elif promised and not any(own.rises for own in promised):
        what = "mistakes that were planted in sample images do not become suspicious"
    else:
        return None
    return Failure("planted", "blind", _told(what, found, promised))


def weak(found: Findings, finds: Collection[Mistake]) -> Failure | None:
    """Return what code that is not blind should do better, None if it keeps all that was promised.

    It does not if a kind of mistake that it should notice is not, or is hardly more suspicious than usual.
    """
    dull = [own for own in _promised(found, finds) if not own.rises or own.after < CLEAR]
    if not dull:
        return None
    kinds = " or ".join(own.kind for own in dull)
    what = f"the code is valid, but a mistake of the kind {kinds} hardly stands out when it is planted"
    return Failure("planted", "weak", _told(what, found, dull))


def sharpness(noticed: Sequence[Noticed], finds: Collection[Mistake]) -> float:
    """Return the mean over the promised kinds of `Noticed.after`; 0 where nothing was promised."""
    own = [one.after for one in noticed if one.kind in finds]
    return sum(own) / len(own) if own else 0.0


def _promised(found: Findings, finds: Collection[Mistake]) -> list[Noticed]:
    return [own for own in found.noticed if own.kind in finds and own.count >= FEW]


def _told(what: str, found: Findings, kinds: Sequence[Noticed]) -> str:
    shares = ", ".join(f"{own} % ({own.count} planted)" for own in kinds)
    missed = "; ".join(said for own in kinds for said in found.missed[own.kind])
    return (
        f"{what}; how many of the untouched boxes (or images) are less suspicious than the one with the "
        f"mistake, before it was planted → after: {shares}. Scores without mistakes: {found.usual}. "
        f"Noticed least: {missed}."
    )
