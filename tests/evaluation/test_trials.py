"""Trials, and the gain of a curation over the control."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from metricsmith.evaluation.dataset import Box, Image
from metricsmith.evaluation.progress import Progress, silent
from metricsmith.evaluation.trials import Gain, Trial, gain, is_hopeless, judge, run_trial
from metricsmith.sandbox import Predictions


def trial(seed: int, ap: float, ar: float) -> Trial:
    rest = dict.fromkeys(
        ["ap75", "ap_small", "ap_medium", "ap_large", "ar1", "ar10", "ar_small", "ar_medium", "ar_large"], 0.0
    )
    return Trial(seed=seed, images=9, boxes=9, map=ap, ap50=2 * ap, ar100=ar, seconds=1.0, **rest)


CONTROL = [trial(0, 0.10, 0.30), trial(1, 0.20, 0.40), trial(2, 0.30, 0.50)]


def test_gain_pairs_the_trials_by_seed() -> None:
    curated = [trial(2, 0.36, 0.50), trial(0, 0.12, 0.30), trial(1, 0.21, 0.40)]
    gained = gain(curated, CONTROL)
    assert gained.seeds == (0, 1, 2)
    assert gained.map.per_seed == pytest.approx((0.02, 0.01, 0.06))
    assert gained.map.mean == pytest.approx(0.03)
    assert gained.map.relative == pytest.approx(15)
    assert gained.ap50.mean == pytest.approx(0.06)
    assert gained.ar100.mean == 0


def test_sizes_that_do_not_occur_have_no_gain() -> None:
    def sized(ap: float) -> Trial:
        return trial(0, ap, 0.2).model_copy(update={"ap75": ap / 2, "ap_small": -1.0, "ap_large": 2 * ap})

    gained = gain([sized(0.3)], [sized(0.2)])
    assert gained.ap75 is not None
    assert gained.ap75.mean == pytest.approx(0.05)
    assert gained.ap_small is None
    assert gained.ap_large is not None
    assert gained.ap_large.mean == pytest.approx(0.2)


def test_the_interval_is_that_of_the_paired_t_test() -> None:
    curated = [trial(0, 0.12, 0.3), trial(1, 0.21, 0.4), trial(2, 0.36, 0.5)]
    gained = gain(curated, CONTROL).map
    oracle = stats.ttest_rel([0.12, 0.21, 0.36], [0.10, 0.20, 0.30]).confidence_interval(0.95)
    assert gained.interval == pytest.approx((oracle.low, oracle.high))
    assert gained.relative_interval == pytest.approx((500 * oracle.low, 500 * oracle.high))


def test_a_single_seed_has_no_interval() -> None:
    gained = gain([trial(4, 0.2, 0.2)], [trial(4, 0.1, 0.1)])
    assert gained.map.interval is None
    assert gained.map.relative_interval is None
    assert gained.map.relative == pytest.approx(100)


def test_nothing_is_relative_to_a_control_of_zero() -> None:
    assert gain([trial(0, 0.2, 0.2)], [trial(0, 0.0, 0.0)]).map.relative is None


@pytest.mark.parametrize("seeds", [[0, 1], [0, 1, 3], [0, 1, 2, 2], []])
def test_other_seeds_than_the_control_has_are_refused(seeds: list[int]) -> None:
    with pytest.raises(ValueError, match="seeds"):
        gain([trial(seed, 0.1, 0.1) for seed in seeds], CONTROL)


def test_no_trials_at_all_are_refused() -> None:
    with pytest.raises(ValueError, match="seeds"):
        gain([], [])


@pytest.mark.parametrize(
    ("ap", "ar", "verdict"),
    [
        ((0.01, 0.02, 0.01), (0.01, 0.00, 0.01), "kept"),
        ((0.05, 0.06, -0.01), (0.01, 0.01, 0.01), "inconclusive"),
        ((0.05, 0.06, 0.04, 0.05, -0.01, 0.02), (0.01,) * 6, "kept"),
        ((0.03,), (0.01,), "kept"),
        ((0.01, 0.02, 0.01), (0.00, 0.00, 0.00), "inconclusive"),
        ((0.01, 0.01, -0.02), (0.01, 0.01, 0.01), "dropped"),
        ((-0.01, -0.01, -0.01), (0.09, 0.09, 0.09), "dropped"),
    ],
)
def test_verdict(ap: tuple[float, ...], ar: tuple[float, ...], verdict: str) -> None:
    assert judge(gain_of(ap, ar)) == verdict


@pytest.mark.parametrize(
    ("second", "verdict"),
    [((0.01, 0.01, 0.01), "kept"), ((0.03, 0.03, -0.02), "inconclusive"), ((0.01, -0.03, 0.01), "dropped")],
)
def test_every_rival_must_be_beaten(second: tuple[float, ...], verdict: str) -> None:
    first = gain_of((0.1, 0.1, 0.1), (0.1, 0.1, 0.1))
    other = gain_of(second, (0.01, 0.01, 0.01))
    assert judge(first, other) == judge(other, first) == verdict


def gain_of(ap: tuple[float, ...], ar: tuple[float, ...]) -> Gain:
    control = [trial(seed, 0.5, 0.5) for seed in range(len(ap))]
    return gain(
        [trial(seed, 0.5 + a, 0.5 + b) for seed, (a, b) in enumerate(zip(ap, ar, strict=True))], control
    )


@pytest.mark.parametrize(
    ("ap", "hopeless"),
    [
        ((0.01, 0.02, 0.01), False),
        ((0.05, -0.06, -0.04), False),
        ((-0.05, -0.04, 0.02), True),
        ((-0.01, -0.01, -0.01), True),
        ((0.0,), True),
        ((0.01,), False),
    ],
)
def test_only_a_clear_loss_is_given_up_early(ap: tuple[float, ...], hopeless: bool) -> None:
    other = gain_of((0.1,) * len(ap), (0.1,) * len(ap))
    assert is_hopeless(gain_of(ap, ap), other) == is_hopeless(other, gain_of(ap, ap)) == hopeless


def test_the_p_value_is_that_of_the_one_sided_paired_t_test() -> None:
    curated = [trial(0, 0.12, 0.3), trial(1, 0.21, 0.4), trial(2, 0.36, 0.5)]
    gained = gain(curated, CONTROL)
    oracle = stats.ttest_rel([0.12, 0.21, 0.36], [0.10, 0.20, 0.30], alternative="greater").pvalue
    assert gained.map.p_value == pytest.approx(oracle)
    assert gained.ar100.p_value == 1, "no difference at all"
    assert gain(curated[:1], CONTROL[:1]).map.p_value is None


def test_classes_have_a_gain_of_their_own() -> None:
    def of(seed: int, **by_class: float) -> Trial:
        return trial(seed, 0.2, 0.2).model_copy(update={"by_class": by_class})

    gained = gain(
        [of(0, cat=0.5, dog=0.2), of(1, cat=0.3)], [of(0, cat=0.4, dog=0.2), of(1, cat=0.3, dog=0.1)]
    )
    assert list(gained.by_class) == ["cat"], "a class must have a box to find in every trial"
    assert gained.by_class["cat"].per_seed == pytest.approx((0.1, 0.0))


class Memory:
    """A detector that finds exactly the boxes it was trained on, in every image."""

    name = "memory"

    def __init__(self) -> None:
        self.prepared: list[int | str] = []
        self.boxes: Sequence[Box] = ()

    def prepare(self, images: Sequence[Image], progress: Progress = silent) -> None:
        self.prepared = [image.id for image in images]

    def train(
        self, images: Sequence[Image], class_names: Sequence[str], *, seed: int, progress: Progress = silent
    ) -> Memory:
        self.boxes = [box for image in images for box in image.boxes]
        return self

    def predict(self, images: Sequence[Image], progress: Progress = silent) -> list[Predictions]:
        found = np.array([box.xywh for box in self.boxes], np.float32)
        found[:, 2:] += found[:, :2]
        labels = np.array([box.label for box in self.boxes], np.int64)
        return [Predictions(found, labels, np.full(len(found), 0.9, np.float32)) for _ in images]


def picture(number: int, *boxes: tuple[float, float, float, float]) -> Image:
    return Image(
        number,
        Path(f"{number}.png"),
        f"{number}.png",
        100,
        100,
        tuple(Box(10 * number + k, 0, box) for k, box in enumerate(boxes)),
    )


def test_a_trial_measures_what_was_learnt_of_one_set_on_another() -> None:
    detector = Memory()
    train, held_out = [picture(1, (10, 10, 50, 50)), picture(2)], [picture(3, (10, 10, 50, 50))]
    result, predictions = run_trial(detector, train, held_out, ["cat"], seed=5)
    assert detector.prepared == [1, 2, 3]
    assert (result.seed, result.images, result.boxes) == (5, 2, 1)
    assert (result.map, result.ar100, result.ap_small) == (pytest.approx(1), pytest.approx(1), -1)
    assert predictions[0].boxes.tolist() == [[10, 10, 60, 60]]
    assert result.seconds > 0
