"""Trained networks and predictions on disk, so that what one run computed no other computes again.

Both are deterministic: what lies here is bit for bit what computing would give. The key must therefore name
everything that it depends on. This module computes nothing.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path

import torch
import torchvision
from torch import Tensor

from ..files import write_atomic

__all__ = ["Stock"]

_PROGRAM = ("1", torch.__version__, torchvision.__version__, torch.backends.cpu.get_cpu_capability())
"""What they depend on besides their arguments; count the first up when the recipe changes."""


class Stock:
    """Tensors by name for each key, in one folder; several processes may share it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, *key: object) -> dict[str, Tensor] | None:
        """Return what was put under this key; None where there is none, or where the file is damaged."""
        try:
            state = torch.load(self._file(key), weights_only=True)
        except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError):
            return None
        return state if isinstance(state, dict) else None

    def has(self, *key: object) -> bool:
        """Whether there is a file of this key."""
        return self._file(key).exists()

    def put(self, state: dict[str, Tensor], *key: object) -> None:
        """Keep this under this key."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_atomic(self._file(key), buffer.getvalue())

    def _file(self, key: tuple[object, ...]) -> Path:
        digest = hashlib.sha256(repr((_PROGRAM, key)).encode()).hexdigest()
        return self._folder / digest[:2] / f"{digest}.pt"
