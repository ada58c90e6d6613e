"""Whether two detectors rank training sets alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from metricsmith.evaluation.dataset import Box, Dataset, Image
from metricsmith.evaluation.proxy_bench import Recipe, agreement, training_set, training_sets
from metricsmith.evaluation.trials import Trial

POOL = Dataset(
    "zoo",
    Path("zoo"),
    tuple(
        Image(n, Path(f"{n}.png"), f"{n}.png", 9, 9, (Box(n, 0, (1.0, 1.0, 4.0, 4.0)),)) for n in range(160)
    ),
    ("cat",),
)
TRUTH = POOL.with_images(
    replace(image, boxes=(replace(image.boxes[0], xywh=(2.0, 2.0, 5.0, 5.0)),)) for image in POOL.images
)


def test_there_are_ten_different_training_sets() -> None:
    recipes = list(training_sets())
    assert len(set(recipes)) == len(recipes) == 10
    for recipe in recipes:
        images = training_set(POOL, TRUTH, recipe, seed=2)
        assert len(images) == round(160 * recipe.size)
        mended = sum(image.boxes[0].xywh == (2.0, 2.0, 5.0, 5.0) for image in images)
        assert mended == round(recipe.mended * len(images))


def test_a_smaller_set_is_part_of_a_larger_one() -> None:
    small, large = (
        {image.id for image in training_set(POOL, TRUTH, Recipe(size, 0.0), seed=2)} for size in (0.25, 0.5)
    )
    assert small < large


def trial(ap: float, ar: float, seconds: float) -> Trial:
    others = "ap50 ap75 ap_small ap_medium ap_large ar1 ar10 ar_small ar_medium ar_large"
    return Trial(
        seed=0, images=9, boxes=9, map=ap, ar100=ar, seconds=seconds, **dict.fromkeys(others.split(), 0.0)
    )


def test_agreement_is_of_ranks_and_of_time() -> None:
    proxy = [[trial(0.1, 0.3, 2)], [trial(0.2, 0.2, 2)], [trial(0.3, 0.1, 2)]]
    full = [trial(0.5, 0.5, 40), trial(0.55, 0.6, 40), trial(0.9, 0.7, 40)]
    found = agreement(proxy, full, features=6)
    assert (found.sets, found.spearman, found.spearman_ar100) == (3, pytest.approx(1), pytest.approx(-1))
    assert (found.speed, found.speed_with_features) == (20, 10)


def test_several_trainings_of_the_proxy_count_by_their_mean() -> None:
    proxy = [[trial(0.1, 0.1, 2), trial(0.3, 0.1, 2)], [trial(0.15, 0.2, 2), trial(0.2, 0.2, 2)]]
    found = agreement(proxy, [trial(0.6, 0.5, 40), trial(0.5, 0.6, 40)], features=0)
    assert (found.spearman, found.spearman_ar100) == (pytest.approx(1), pytest.approx(1))
    assert found.speed == 10
