"""What others do: each method against the formula of its source, on cases worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from metricsmith.evaluation.corruption import Harm, harm
from metricsmith.evaluation.dataset import Box, Dataset, Image
from metricsmith.evaluation.label_error_bench import Case, figures, means, oracle
from metricsmith.evaluation.peers import (
    Suspicion,
    calibrated,
    classic_metrics,
    diagnostics,
    loss_inspection,
    mistakenness,
    objectlab,
)
from metricsmith.evaluation.peers.matching import match
from metricsmith.evaluation.scores import ScoreTable
from metricsmith.sandbox import Predictions, check

NAMES = ("cat", "dog")
A, B, C = (10.0, 10.0, 20.0, 20.0), (60.0, 10.0, 20.0, 20.0), (60.0, 60.0, 30.0, 30.0)


def image(number: int, *boxes: tuple[int, tuple[float, float, float, float]]) -> Image:
    own = tuple(Box(100 * number + row, label, xywh) for row, (label, xywh) in enumerate(boxes))
    return Image(number, Path(f"{number}.png"), f"{number}.png", 100, 100, own)


def dataset(*images: Image) -> Dataset:
    return Dataset("zoo", Path("zoo"), images, NAMES)


def found(*rows: tuple[int, tuple[float, float, float, float], float]) -> Predictions:
    boxes = np.array([(x, y, x + w, y + h) for _, (x, y, w, h), _ in rows], np.float32).reshape(-1, 4)
    return Predictions(
        boxes, np.array([row[0] for row in rows], np.int64), np.array([row[2] for row in rows], np.float32)
    )


def test_each_prediction_takes_the_free_label_it_overlaps_most() -> None:
    near, far = (12.0, 10.0, 20.0, 20.0), (14.0, 10.0, 20.0, 20.0)
    partner, overlap = match(image(1, (0, A), (0, near)), found((0, A, 0.9), (0, A, 0.8), (0, far, 0.7)))
    assert partner.tolist() == [0, 1]
    assert overlap == pytest.approx([1, 18 / 22])


def test_a_label_out_of_reach_has_no_partner() -> None:
    partner, overlap = match(image(1, (0, A), (1, C)), found((0, B, 0.9)))
    assert partner.tolist() == [-1, -1]
    assert overlap.tolist() == [0, 0]
    assert match(image(1), found((0, A, 0.5)))[0].shape == (0,)
    assert match(image(1, (0, A)), found())[0].tolist() == [-1]


def test_mistakenness_is_the_published_formula() -> None:
    moved = (14.0, 10.0, 20.0, 20.0)  # IoU with A: 16 / 24
    data = dataset(image(1, (0, A), (1, B), (0, C)), image(2, (0, A)), image(3), image(4, (0, A)))
    predictions = {
        1: found((0, A, 0.9), (0, B, 0.8)),
        2: found((0, moved, 0.6)),
        3: found((0, A, 0.97)),
        4: found((0, A, 0.9), (0, B, 0.9)),
    }
    suspicion = mistakenness(data, predictions)
    low_place, low_class = (0.9 * (0 - 1) + 1) / 2, (1 - 0.9) / 2
    place = (0.6 * (2 * (2 * (1 - 16 / 24)) - 1) + 1) / 2
    assert suspicion.boxes == pytest.approx([max(low_place, low_class), (1 + 0.8) / 2, 1, place, 0.05])
    assert suspicion.images == pytest.approx([1, place, 1, 0.05]), "only above 0.95 a box is missing"


def test_objectlab_tells_the_three_kinds_of_mistakes() -> None:
    sound = [image(number, (0, A), (1, C)) for number in range(4)]
    data = dataset(
        *sound, image(4, (0, A)), image(5, (1, A), (1, C)), image(6, (0, (30.0, 30, 20, 20)), (1, C))
    )
    sure = found((0, A, 0.99), (1, C, 0.98))
    suspicion = objectlab(data, {item.id: sure for item in data.images})
    assert suspicion.images[4:].min() > suspicion.images[:4].max(), "forgotten, swapped, badly placed"
    assert suspicion.boxes is not None
    swapped, moved = suspicion.boxes[9], suspicion.boxes[11]
    assert min(swapped, moved) > np.delete(suspicion.boxes, [9, 11]).max()


def test_objectlab_takes_images_without_labels_or_predictions() -> None:
    data = dataset(image(1), image(2, (0, A)), image(3))
    suspicion = objectlab(data, {1: found(), 2: found(), 3: found((0, A, 0.99))})
    assert np.isfinite(suspicion.images).all()
    assert suspicion.images[2] > suspicion.images[0]


def test_hotcoco_names_wrong_classes_and_forgotten_boxes() -> None:
    data = dataset(image(1, (0, A), (1, C)), image(2), image(3, (0, A)))
    predictions = {1: found((1, A, 0.9)), 2: found((0, B, 0.7)), 3: found((0, A, 0.8))}
    suspicion = diagnostics(data, predictions)
    assert suspicion.images == pytest.approx([0.9, 0.7, 0])
    assert suspicion.boxes == pytest.approx([0.9, 0, 0])


def test_a_loss_is_a_doubt_and_so_is_an_unexplained_prediction() -> None:
    data = dataset(image(1, (0, A), (0, C)), image(2, (0, A)), image(3))
    losses = {1: np.array([0.5, np.nan]), 2: np.array([1.5]), 3: np.zeros(0)}
    predictions = {1: found((0, A, 0.9)), 2: found((0, A, 0.9), (0, B, 0.95)), 3: found()}
    suspicion = loss_inspection(data, losses, predictions)
    assert suspicion.boxes == pytest.approx([0.5, 1.0, 1.5]), "an unlearnt box has the mean loss"
    assert suspicion.images == pytest.approx([1.0, -np.log(0.05), 0.0], rel=1e-5)


def test_calibrated_scores_are_the_share_that_finds_a_label() -> None:
    data = dataset(*(image(number, (0, A)) for number in range(8)))
    predictions = {n: found((0, A, 0.4), (0, B, 0.2)) if n < 6 else found((1, A, 0.4)) for n in range(8)}
    sure = calibrated(data, predictions)
    assert [float(s) for s in sure[0].scores] == pytest.approx([6 / 8, 0])
    assert sure[7].scores == pytest.approx([6 / 8])


def test_calibration_without_predictions_changes_nothing() -> None:
    data = dataset(image(1, (0, A)))
    assert calibrated(data, {1: found()})[1].scores.shape == (0,)


@pytest.mark.parametrize("name", sorted(classic_metrics()))
def test_classic_metrics_are_accepted_by_the_sandbox(name: str) -> None:
    """Without real images: the fixtures are enough to break a metric."""
    result = check(classic_metrics()[name], [])
    assert result.accepted, result.failure


def test_images_without_boxes_are_the_least_suspicious() -> None:
    suspicion = Suspicion.of_boxes("m", dataset(image(1), image(2, (0, A))), [np.zeros(0), np.array([-3.0])])
    assert suspicion.images.tolist() == [-3, -3]


def test_a_table_keeps_its_order() -> None:
    data = dataset(image(1, (0, A), (0, C)), image(2, (0, A)), image(3))
    table = ScoreTable.of("m", "object", "low", np.array([3.0, 1.0, 2.0]), data)
    suspicion = Suspicion.of_table("m", table)
    assert suspicion.boxes is not None
    assert suspicion.boxes.tolist() == [0, 1, 0.5]
    assert suspicion.images.tolist() == [1, 0.5, 0]
    assert suspicion.table(data).image_suspicion() == {1: 1.0, 2: 0.5, 3: 0.0}


def test_a_method_for_images_gives_each_box_its_image() -> None:
    data = dataset(image(1, (0, A), (0, C)), image(2, (0, A)))
    assert Suspicion("m", np.array([0.3, 0.7])).on_boxes(data).tolist() == [0.3, 0.3, 0.7]


HARMS = (
    Harm(1, 100, "shift", A, B, 0, 0),
    Harm(2, 900, "drop", A, None, 0, None),
    Harm(3, 300, "spawn", None, C, None, 0),
)


def case(data: Dataset) -> Case:
    return Case(data, data, HARMS, {}, {}, seed=0)


def test_figures_are_those_of_scikit_learn() -> None:
    data = dataset(*(image(number, (0, A), (0, C)) for number in range(1, 40)))
    rng = np.random.default_rng(0)
    suspicion = Suspicion("m", rng.random(39), rng.random(78))
    rows = {(row.level, row.kind): row for row in figures(case(data), suspicion)}
    assert set(rows) == {
        *(("image", kind) for kind in ("all", "drop", "shift", "spawn")),
        *(("box", kind) for kind in ("all", "shift", "spawn")),
    }
    truth = np.isin(np.arange(1, 40), [1, 2, 3])
    row = rows["image", "all"]
    assert row.auroc == pytest.approx(roc_auc_score(truth, suspicion.images))
    assert row.ap == pytest.approx(average_precision_score(truth, suspicion.images))
    assert (row.positives, row.total) == (3, 39)
    kept = np.array([number not in (1, 3) for number in range(1, 40)])
    assert rows["image", "drop"].auroc == pytest.approx(roc_auc_score(truth[kept], suspicion.images[kept]))
    boxes = np.zeros(78, bool)
    boxes[[0, 4]] = True
    assert rows["box", "all"].ap == pytest.approx(average_precision_score(boxes, suspicion.boxes))


def test_ties_count_half_and_are_broken_at_random() -> None:
    data = dataset(*(image(number, (0, A)) for number in range(1, 301)))
    row = next(row for row in figures(case(data), Suspicion("m", np.zeros(300))) if row.kind == "all")
    assert row.auroc == 0.5
    assert row.precision <= 3 / 200


def test_the_oracle_is_perfect() -> None:
    data = dataset(*(image(number, (0, A), (0, C)) for number in range(1, 40)))
    rows = figures(case(data), oracle(case(data)))
    assert {(row.auroc, row.ap) for row in rows} == {(1.0, 1.0)}


def test_noise_is_shared_by_all_kinds_that_there_can_be() -> None:
    data = dataset(*(image(number, (0, A), (1, C)) for number in range(50)))
    _, harms = harm(data, 0.2, seed=1)
    kinds = [item.kind for item in harms]
    assert {kind: kinds.count(kind) for kind in sorted(set(kinds))} == dict.fromkeys(
        ["drop", "enlarge", "flip", "shift", "spawn"], 4
    )
    single = Dataset("zoo", Path("zoo"), tuple(image(number, (0, A)) for number in range(40)), ("cat",))
    assert {item.kind for item in harm(single, 0.2, seed=1)[1]} == {"drop", "enlarge", "shift", "spawn"}


def test_means_are_over_the_cases() -> None:
    data = dataset(*(image(number, (0, A)) for number in range(1, 10)))
    rows = [
        row
        for values in (np.arange(9.0), -np.arange(9.0))
        for row in figures(case(data), Suspicion("m", values))
    ]
    assert means(rows, lambda row: row.auroc)["m", "image", "all"] == pytest.approx(0.5)
