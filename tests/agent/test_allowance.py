"""What a run may spend."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from metricsmith.agent.allowance import Allowance, Spent
from metricsmith.agent.models import Message, Request, Response, Usage
from metricsmith.agent.transcript import Transcript

SPENT = Spent(calls=10, prompt_tokens=9000, completion_tokens=1000, minutes=12.0, trials=6)


@pytest.mark.parametrize(
    ("allowance", "reason"),
    [
        (Allowance(), ""),
        (Allowance(calls=11, tokens=10_001, minutes=12.5, trials=7), ""),
        (Allowance(calls=10), "10 of 10 calls are made"),
        (Allowance(calls=4), "10 of 4 calls are made"),
        (Allowance(tokens=10_000), "10,000 of 10,000 tokens are used"),
        (Allowance(minutes=12), "12 minutes are over"),
        (Allowance(trials=6), "6 of 6 trials are run"),
        (Allowance(dollars=0.02, price_in=1, price_out=10), ""),
        (Allowance(dollars=0.01, price_in=1, price_out=10), "$0.02 of $0.01 are spent"),
    ],
)
def test_what_is_used_up_is_named(allowance: Allowance, reason: str) -> None:
    assert allowance.used_up(SPENT) == reason


def test_uncounted_tokens_keep_no_limit() -> None:
    unknown = replace(SPENT, prompt_tokens=None, completion_tokens=None)
    assert Allowance(calls=20).used_up(unknown) == ""
    for allowance in (Allowance(tokens=10**9), Allowance(dollars=9, price_in=1, price_out=1)):
        assert "does not count tokens" in allowance.used_up(unknown)


def test_unknown_prices_give_no_cost() -> None:
    assert Allowance(price_in=1, price_out=10).cost(SPENT) == pytest.approx(0.019)
    assert Allowance().cost(SPENT) is None
    assert Allowance(price_in=1, price_out=1).cost(replace(SPENT, prompt_tokens=None)) is None


def test_a_limit_in_dollars_needs_prices() -> None:
    with pytest.raises(ValidationError, match="needs the prices"):
        Allowance(dollars=1, price_in=1)


def test_what_calls_cost_is_in_the_transcript(tmp_path: Path) -> None:
    transcript = Transcript(tmp_path / "transcript.jsonl")
    for number, usage in enumerate([Usage(prompt_tokens=5, completion_tokens=2)] * 2 + [None]):
        spent = Spent.of(transcript, minutes=1, trials=2)
        assert (spent.calls, spent.prompt_tokens, spent.completion_tokens) == (number, 5 * number, 2 * number)
        request = Request(
            purpose="write", round=1, attempt=1, template="0",
            messages=(Message(role="user", content=str(number)),),
        )  # fmt: skip
        transcript.append(request, Response(text="x", model="m", usage=usage), name="scripted")
    spent = Spent.of(transcript, minutes=1, trials=2)
    assert (spent.calls, spent.prompt_tokens, spent.trials) == (3, None, 2)
