"""Prompts from templates, once as the model sees them and once with every measured value as a slot.

A gain or a timing differs from machine to machine, and with it the prompt that carries it; a transcript
must still be recognised elsewhere. So a template writes `{{ trial.map | measured("map") }}`: the text
holds the number, the canonical text holds `⟨map⟩`.

This module decides nothing about what a prompt says; that is in the `.md` files beside it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2

__all__ = ["Prompt", "interval", "measured", "render", "shares"]

# Control characters cannot come from a template, and are stripped from what is filled in.
_OPEN, _MIDDLE, _CLOSE = "\x01", "\x02", "\x03"
_SLOT = re.compile(f"{_OPEN}([^{_MIDDLE}]*){_MIDDLE}([^{_CLOSE}]*){_CLOSE}")
_STRIPPED = str.maketrans("", "", _OPEN + _MIDDLE + _CLOSE)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A rendered template."""

    text: str
    """What the model sees."""
    canonical: str
    """The same with every measured value replaced by its slot, `⟨name⟩`."""
    template: str
    """The first 16 hex digits of the SHA-256 of the template's source."""


def measured(value: object, slot: str, spec: str = "") -> str:
    """Return `value`, formatted by `spec`, marked as measured under the name `slot`.

    None, a value that cannot be had (a gain over nothing), is written as `n/a`.

    >>> measured(0.5949, "map", ".3f")
    '\\x01map\\x020.595\\x03'
    """
    text = "n/a" if value is None else format(value, spec)
    return f"{_OPEN}{slot}{_MIDDLE}{text.translate(_STRIPPED)}{_CLOSE}"


def interval(ends: tuple[float, float] | None, slot: str) -> str:
    """Return an interval in percent, marked as measured: `+1.2 to +30.4 %`, or `n/a` for None."""
    return measured(None if ends is None else f"{ends[0]:+.1f} to {ends[1]:+.1f} %", slot)


def shares(percentages: Mapping[str, float], slot: str) -> str:
    """Return shares in percent, marked as measured: ` (drop 12 %, shift 5 %)`, or nothing."""
    listed = ", ".join(f"{name} {percent:.0f} %" for name, percent in percentages.items())
    return measured(f" ({listed})" if listed else "", slot)


def render(name: str, /, **values: Any) -> Prompt:
    """Return the template `name` (without `.md`) filled with `values`. A missing value is an error."""
    environment, source = _environment(), _source(name)
    marked = environment.from_string(source).render(values).strip() + "\n"
    return Prompt(
        text=_SLOT.sub(r"\2", marked),
        canonical=_SLOT.sub(r"⟨\1⟩", marked),
        template=hashlib.sha256(source.encode()).hexdigest()[:16],
    )


def _source(name: str) -> str:
    return files(__package__).joinpath(f"{name}.md").read_text(encoding="utf-8")


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown for a model, not HTML
        loader=jinja2.FunctionLoader(lambda name: _source(name.removesuffix(".md"))),
    )
    filters: dict[str, Callable[..., str]] = {"measured": measured, "interval": interval, "shares": shares}
    environment.filters.update(filters)
    return environment
