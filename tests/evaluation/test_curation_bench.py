"""What a detector makes of each method's training set, and how the methods stand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from metricsmith.evaluation.bench_record import BenchRecord
from metricsmith.evaluation.corruption import Harm
from metricsmith.evaluation.curation_bench import Row, standings, train_on, training_set
from metricsmith.evaluation.dataset import Box, Dataset, Image
from metricsmith.evaluation.draws import control_draw, oracle_draw
from metricsmith.evaluation.label_error_bench import Case, oracle
from metricsmith.evaluation.peers import Suspicion
from metricsmith.evaluation.progress import Progress, silent
from metricsmith.evaluation.trials import Trial
from metricsmith.sandbox import Predictions
from metricsmith.sandbox.errors import RunError


class Witness:
    """A detector that remembers what it trained on, and finds nothing."""

    name = "witness"

    def __init__(self) -> None:
        self.saw: list[int | str] = []

    def prepare(self, images: object, progress: Progress = silent) -> None:
        pass

    def train(
        self, images: list[Image], class_names: object, *, seed: int, progress: Progress = silent
    ) -> Witness:
        self.saw = [image.id for image in images]
        return self

    def predict(self, images: list[Image], progress: Progress = silent) -> list[Predictions]:
        return [Predictions() for _ in images]


def pool(count: int) -> Dataset:
    images = [
        Image(n, Path(f"{n}.png"), f"{n}.png", 10, 10, (Box(n, 0, (1.0, 1.0, 4.0, 4.0)),))
        for n in range(count)
    ]
    return Dataset("zoo", Path("zoo"), tuple(images), ("cat",))


def case(count: int, harmed: set[int]) -> Case:
    data = pool(count)
    harms = tuple(Harm(n, n, "shift", None, None, 0, 0) for n in sorted(harmed))
    return Case(data, data, harms, {}, {}, seed=3)


def test_every_method_leaves_out_as_many_as_are_harmed() -> None:
    some, detector = case(40, set(range(0, 40, 4))), Witness()
    ids = list(range(40))
    for suspicion, expected in (
        (Suspicion.random(some.dirty, 3), control_draw(ids, 10, 3)),
        (oracle(some), oracle_draw(ids, 10, 3, set(range(0, 40, 4)))),
        (Suspicion("high ids", np.arange(40.0)), oracle_draw(ids, 10, 3, set(range(30, 40)))),
    ):
        assert train_on(detector, some, suspicion, pool(2)).images == 10
        assert detector.saw == expected, suspicion.method


def test_every_method_has_as_many_of_the_same_images_mended() -> None:
    harmed = set(range(0, 100, 4))
    clean = pool(100)
    dirty = clean.with_images(
        replace(image, boxes=(Box(image.id, 0, (6.0, 6.0, 3.0, 3.0)),)) if image.id in harmed else image
        for image in clean.images
    )
    harms = tuple(Harm(n, n, "shift", None, None, 0, 0) for n in sorted(harmed))
    some = Case(clean, dirty, harms, {}, {}, seed=3)
    drawn = control_draw(list(range(100)), 25, 3)
    found = harmed & set(drawn)
    assert len(found) > 6, "more than a quarter of 25 can be mended"
    for suspicion in (oracle(some), Suspicion.random(dirty, 3)):
        images = training_set(some, suspicion, "relabel")
        assert [image.id for image in images] == drawn
        wrong = {image.id for image in images if image.boxes != clean.images[int(image.id)].boxes}
        assert wrong < found
        if suspicion.method == "oracle":
            assert len(wrong) == len(found) - 6, "every mending hits a harmed one"


def row(method: str, ap: float, ar: float, seed: int, dataset: str = "zoo") -> Row:
    others = "ap50 ap75 ap_small ap_medium ap_large ar1 ar10 ar_small ar_medium ar_large"
    rest = dict.fromkeys(others.split(), 0.0)
    trial = Trial(seed=seed, images=10, boxes=10, map=ap, ar100=ar, seconds=1.0, **rest)
    return Row(dataset=dataset, noise=0.2, method=method, trial=trial)


def test_standings_are_over_the_same_cases() -> None:
    rows = [
        *(row("random", 0.2, 0.4, 0), row("random", 0.3, 0.5, 1), row("random", 0.9, 0.9, 2)),
        *(row("oracle", 0.4, 0.6, 0), row("oracle", 0.5, 0.7, 1), row("oracle", 0.9, 0.9, 2)),
        *(row("ours", 0.35, 0.4, 0), row("ours", 0.25, 0.6, 1)),
    ]
    found = {standing.method: standing for standing in standings(rows)}
    ours = found["ours"]
    assert (ours.cases, ours.better) == (2, 1)
    assert (ours.map, ours.map_gain_pct, ours.map_share) == pytest.approx((0.3, 20, 0.25))
    assert (ours.ar100, ours.ar100_gain_pct, ours.ar100_share) == pytest.approx((0.5, 100 / 9, 0.25))
    assert found["oracle"].map_share == pytest.approx(1)
    assert found["random"].map_gain_pct == 0


def test_there_is_no_share_of_nothing() -> None:
    (first, *_) = standings([row("random", 0.0, 0.4, 0), row("oracle", 0.0, 0.3, 0)])
    assert (first.map_gain_pct, first.map_share, first.ar100_share) == (None, None, None)


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "bench" / "some.jsonl"
    record = BenchRecord(path)
    assert record.once(lambda: {"map": 0.5}, "zoo", 0.2) == {"map": 0.5}
    assert BenchRecord(path).once(lambda: 1 / 0, "zoo", 0.2) == {"map": 0.5}
    assert not BenchRecord(path).knows("zoo", 0.3)


def test_a_line_that_a_kill_cut_short_is_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl"
    record = BenchRecord(path)
    for number in range(2):
        record.once(lambda number=number: number, number)
    path.write_text(path.read_text()[:-3])
    again = BenchRecord(path)
    assert (again.knows(0), again.knows(1)) == (True, False)
    again.once(lambda: 7, 1)
    assert BenchRecord(path).once(lambda: 1 / 0, 1) == 7


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl"
    path.write_text('{"key": [0], "value": 1}\nnonsense\n')
    with pytest.raises(RunError, match="line 2 is damaged"):
        BenchRecord(path)
