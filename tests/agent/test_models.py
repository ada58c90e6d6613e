from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from metricsmith.agent import models
from metricsmith.agent.models import ModelSettings, open_model
from metricsmith.agent.models.manual_model import Manual, Paste
from metricsmith.agent.models.openai_model import OpenAIModel
from metricsmith.sandbox.errors import ModelError


@pytest.mark.parametrize(
    ("spec", "settings"),
    [
        ("manual", ModelSettings("manual")),
        ("paste", ModelSettings("paste")),
        ("openai:gpt-5", ModelSettings("openai", "gpt-5")),
        (
            "openai:qwen3:8b@http://localhost:11434/v1",
            ModelSettings("openai", "qwen3:8b", "http://localhost:11434/v1"),
        ),
        (
            "openai:@cf/meta/llama@https://x.dev/v1",
            ModelSettings("openai", "@cf/meta/llama", "https://x.dev/v1"),
        ),
        ("openai:gemini@001", ModelSettings("openai", "gemini@001")),
    ],
)
def test_a_spec_is_read(spec: str, settings: ModelSettings) -> None:
    assert ModelSettings.from_spec(spec) == settings


@pytest.mark.parametrize("spec", ["", "gpt-5", "openai:", "openai", "OpenAI:gpt-5", "manual:x", "openai:a b"])
def test_another_spec_lists_those_that_work(spec: str) -> None:
    with pytest.raises(ModelError) as caught:
        ModelSettings.from_spec(spec)
    assert str(caught.value) == (
        f"unknown model {spec!r}: use openai:MODEL, openai:MODEL@BASE_URL, manual or paste"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"provider": "claude"}, "unknown provider 'claude': use one of openai, manual, paste"),
        ({"model": ""}, "no model named: use openai:MODEL, for example openai:gpt-5"),
        ({"api": "legacy"}, "unknown api 'legacy': use one of auto, chat, responses"),
        ({"temperature": 2.5}, "temperature 2.5 is not between 0 and 2"),
        ({"temperature": float("nan")}, "temperature nan is not between 0 and 2"),
        ({"timeout_seconds": 0.0}, "timeout of 0.0 seconds: give a number above 0"),
        ({"timeout_seconds": float("inf")}, "timeout of inf seconds: give a number above 0"),
        ({"max_retries": -1}, "-1 retries: give 0 or more"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError) as caught:
        replace(ModelSettings("openai", "gpt-5"), **change)  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_each_spec_opens_its_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "scripted-key")
    opened = open_model("openai:gpt-5", folder=tmp_path)
    assert isinstance(opened, OpenAIModel)
    assert opened.name == "openai:gpt-5"
    assert isinstance(open_model("manual", folder=tmp_path), Manual)
    assert isinstance(open_model(ModelSettings("paste"), folder=tmp_path), Paste)
    assert open_model("paste", folder=tmp_path).name == "manual"


def test_the_list_of_names_is_sorted_and_true() -> None:
    assert sorted(models.__all__) == models.__all__
    assert all(hasattr(models, name) for name in models.__all__)
