"""What is no panda but looks a little like one: black and white, or shaped like a bear.

They are there to tempt a detector, and a careless labeller. Bears in other coats come from `bear`.
"""

from __future__ import annotations

import numpy as np

from .bear import coat_of
from .blobs import Blob, Coat, Pelt

__all__ = ["BOULDER", "MAGPIE", "ZEBRA", "boulder", "magpie"]

_STRIPED = Pelt((0.90, 0.88, 0.84), stripes=0.95)
_BLACK = Pelt((0.07, 0.07, 0.08))
_WHITE = Pelt((0.92, 0.92, 0.92))

ZEBRA: Coat = coat_of(_STRIPED, _STRIPED, _STRIPED, _STRIPED, Pelt((0.14, 0.13, 0.13)))
MAGPIE: Coat = {"black": _BLACK, "white": _WHITE, "beak": Pelt((0.06, 0.06, 0.06), smooth=True)}
BOULDER: Coat = {"dark": Pelt((0.16, 0.16, 0.17)), "pale": Pelt((0.82, 0.83, 0.85))}


def magpie(hop: float) -> list[Blob]:
    """Return a magpie; `hop` in 0 to 1 is how far it is off the ground and its tail up."""
    y = -0.08 * hop
    return [
        Blob(-0.78, -0.42 + y - 0.12 * hop, 0.52, 0.055, "black", 14 + 10 * hop, -0.1, 0.05),
        Blob(-0.02, -0.10 + y, 0.02, 0.12, "beak", 4, -0.1, 0.03),
        Blob(0.08, -0.10 + y, 0.02, 0.12, "beak", -4, 0.1, 0.03),
        Blob(0.0, -0.45 + y, 0.40, 0.25, "black", -22, 0.0, 0.22),
        Blob(0.06, -0.33 + y, 0.25, 0.17, "white", -26, 0.06, 0.2),
        Blob(-0.12, -0.48 + y, 0.33, 0.13, "black", 12, 0.2, 0.1),
        Blob(0.05, -0.55 + y, 0.17, 0.075, "white", 20, 0.25, 0.08),
        Blob(0.34, -0.68 + y, 0.18, 0.17, "black", 0, 0.02, 0.17),
        Blob(0.55, -0.66 + y, 0.12, 0.04, "beak", 8, 0.02, 0.04),
    ]


def boulder(rng: np.random.Generator) -> list[Blob]:
    """Return a dark boulder with patches of snow or lichen."""
    blobs = [Blob(0, -0.26, rng.uniform(0.5, 0.8), 0.36, "dark", rng.uniform(-8, 8), 0, 0.3)]
    for _ in range(int(rng.integers(2, 5))):
        x, y = rng.uniform(-0.6, 0.6), rng.uniform(-0.5, -0.1)
        part = "pale" if rng.uniform() < 0.65 else "dark"
        size = rng.uniform(0.14, 0.34)
        blobs.append(Blob(x, y, size * 1.3, size, part, rng.uniform(-30, 30), 0.12, 0.25))
    return blobs
