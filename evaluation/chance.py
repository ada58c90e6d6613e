"""How likely a result is by chance alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import stats

__all__ = ["p_value_above_zero"]


def p_value_above_zero(differences: npt.NDArray[np.float64]) -> float:
    """Return the one-sided t-test of a mean above 0 (Student, 1908): how often chance alone does as well.

    `differences`: (N,), paired. 1.0 for fewer than two of them; 0.0 or 1.0 where all are the same.
    """
    if len(differences) < 2:
        return 1.0
    spread = float(np.std(differences, ddof=1))
    if spread == 0:
        return 0.0 if differences[0] > 0 else 1.0
    t = differences.mean() / (spread / np.sqrt(len(differences)))
    return float(stats.t.sf(t, len(differences) - 1))
