"""How much a metric may use. `jail` makes the kernel enforce some of it, `worker` the rest."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]

_PIXELS = 640 * 480
_SLACK = 2.0
_GRACE = 2.0
_WALL_PER_CPU = 5.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What one metric may use, in one process."""

    cpu_seconds_per_image: float = 0.05
    """CPU seconds for an image of 640×480 or less, on average; a larger one may take more in proportion.
    Judged with twice the budget and two seconds on top, as machines differ and first calls are slow."""
    seconds_per_call: float = 10.0
    """Wall-clock seconds in which loading the file, or one call of `measure`, must end; a call of `rank` has
    `cpu_seconds_per_image` more for each image."""
    memory: int = 1 << 30
    """Bytes of address space over what Python, numpy and OpenCV take; the mapped images count."""
    output: int = 4096
    """Bytes that may be printed, per image on average. None of it is kept."""

    jailed: bool = True
    """False: without the jail, for machines that have none, at the user's own risk."""

    def cpu_allowed(self, pixels: int) -> float:
        """CPU seconds after which images of together `pixels` (as `counted`) are too slow."""
        return _GRACE + _SLACK * self.cpu_seconds_per_image * pixels / _PIXELS

    def wall_allowed(self, pixels: int) -> float:
        """Seconds after which they are too slow even if the CPU idled: a metric that sleeps.

        Time for which a busy machine gave it no core does not count.
        """
        return self.seconds_per_call + _WALL_PER_CPU * self.cpu_allowed(pixels)

    def rank_seconds(self, images: int) -> float:
        """Seconds in which `rank` must end."""
        return self.seconds_per_call + self.cpu_seconds_per_image * images

    @staticmethod
    def counted(height: int, width: int) -> int:
        """The pixels that an image counts for; a small one as much as 640×480."""
        return max(height * width, _PIXELS)

    @property
    def cpu_text(self) -> str:
        """The limit on CPU time, in words."""
        milliseconds = self.cpu_seconds_per_image * _SLACK * 1000
        return f"more than {milliseconds:.0f} ms of CPU time for an image of 640×480, on average"
