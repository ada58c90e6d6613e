"""One Markdown template a purpose, and the renderer that keeps measured numbers apart from the words."""

from .renderer import Prompt, measured, render

__all__ = ["Prompt", "measured", "render"]
