"""Does the proxy rank training sets as a detector does that is trained end to end?

Training sets of different size and quality are drawn from a pool with mistakes; both detectors train on each
and are evaluated on val. Prints nothing; see `metricsmith bench proxy`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from pydantic import BaseModel, ConfigDict
from scipy.stats import spearmanr

from .curation import compose
from .dataset import Dataset, Image
from .trials import Trial

__all__ = ["Agreement", "Recipe", "agreement", "training_set", "training_sets"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a training set is made."""

    size: float
    """Images, as a share of the pool."""
    mended: float
    """The share of them that have their true labels."""

    def __str__(self) -> str:
        return f"{self.size:.1%} of the pool, {self.mended:.0%} mended"


class Agreement(BaseModel):
    """How far the proxy and the full detector agree, and what either costs."""

    model_config = ConfigDict(frozen=True)

    sets: int
    spearman: float
    """Of mAP on val over the training sets."""
    spearman_ar100: float
    speed: float
    """Seconds of the full detector's trials over those of all the proxy's, whose features are cached."""
    speed_with_features: float
    """The same, the computing of the features counted once to the proxy."""


def training_sets() -> Iterator[Recipe]:
    """Yield ten recipes: five qualities at one size, and five more sizes and qualities."""
    for mended in (0.0, 0.25, 0.5, 0.75, 1.0):
        yield Recipe(0.25, mended)
    for size, mended in ((0.0625, 0.0), (0.0625, 1.0), (0.125, 0.5), (0.5, 0.0), (0.5, 0.5)):
        yield Recipe(size, mended)


def training_set(pool: Dataset, reference: Dataset, recipe: Recipe, seed: int) -> tuple[Image, ...]:
    """Return the images; a smaller set is part of every larger one of the same seed."""
    budget = max(1, round(recipe.size * len(pool)))
    return compose(pool, (), budget=budget, seed=seed, reference=reference, mend=recipe.mended).images


def agreement(proxy: Sequence[Sequence[Trial]], full: Sequence[Trial], features: float) -> Agreement:
    """Compare trials on the same training sets in the same order; `features`: seconds to compute them.

    The proxy's figures are means over its trials on each set.
    """
    own = sum(trial.seconds for trials in proxy for trial in trials)
    other = sum(trial.seconds for trial in full)
    maps = [fmean(trial.map for trial in trials) for trials in proxy]
    recalls = [fmean(trial.ar100 for trial in trials) for trials in proxy]
    return Agreement(
        sets=len(proxy),
        spearman=float(spearmanr(maps, [t.map for t in full]).statistic),
        spearman_ar100=float(spearmanr(recalls, [t.ar100 for t in full]).statistic),
        speed=other / own,
        speed_with_features=other / (own + features),
    )
