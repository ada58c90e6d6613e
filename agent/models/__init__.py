"""Language models: a service, a person, or a transcript, all behind `LanguageModel`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .request import LanguageModel, Message, Picture, Purpose, Request, Response, Role, Usage
from .settings import ModelSettings

__all__ = [
    "LanguageModel",
    "Message",
    "ModelSettings",
    "Picture",
    "Purpose",
    "Request",
    "Response",
    "Role",
    "Usage",
    "open_model",
]


def open_model(
    model: str | ModelSettings, *, folder: Path, announce: Callable[[str], object] = print
) -> LanguageModel:
    """The language model that a spec (`openai:MODEL`, `openai:MODEL@BASE_URL`, `manual`, `paste`) names.

    `folder`: where the model `manual` writes its requests. `announce`: told when a person is waited for.
    ModelError for an unknown spec, an unusable address or a missing key. Nothing is sent yet.
    """
    settings = ModelSettings.from_spec(model) if isinstance(model, str) else model
    match settings.provider:
        case "openai":
            from .openai_model import OpenAIModel  # the SDK takes a second to load, and replays never need it

            return OpenAIModel(settings)
        case "manual":
            from .manual_model import Manual

            return Manual(folder, announce=announce)
        case "paste":
            from .manual_model import Paste

            return Paste()
