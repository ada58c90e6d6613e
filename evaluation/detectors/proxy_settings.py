"""The settings of the proxy detector. The detector itself is in `proxy`."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ProxySettings"]


@dataclass(frozen=True)
class ProxySettings:
    """What a proxy trial costs and how well it ranks. Fixed within a run."""

    image_size: int = 320
    """The long side of every image as the backbone sees it, in pixels; a multiple of 32."""
    window: int = 160
    """The side of the square windows trained on, in the same pixels; a multiple of 32."""
    steps: int = 100
    """Optimiser steps."""
    batch: int = 8
    """Windows a step."""
    channels: int = 64
    """Channels of pyramid and head; a multiple of 4."""
    lr: float = 5e-3
    """AdamW's highest learning rate; it rises to it and falls to nearly 0 in one cycle."""
