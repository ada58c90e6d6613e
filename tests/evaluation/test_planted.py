"""Planted mistakes: what is planted, and what is said of metrics whose sight is known."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from metricsmith.evaluation.boxes import clipped_xyxy
from metricsmith.evaluation.dataset import Box, Dataset, Image
from metricsmith.evaluation.planted import (
    Findings,
    Noticed,
    Planting,
    noticed,
    plant,
    plantable,
    planted_samples,
)
from metricsmith.evaluation.scores import ScoreTable
from metricsmith.sandbox import Failure, Sample

WIDTH, HEIGHT = 300, 200


def farm(images: int = 60, classes: tuple[str, ...] = ("cow", "hen")) -> Dataset:
    """Every fifth image is empty; the others have one or two boxes, far from filling the image."""
    rng = np.random.default_rng(1)
    made = []
    for number in range(images):
        boxes = []
        for k in range(0 if number % 5 == 0 else 1 + number % 2):
            xywh = (rng.uniform(0, 200), rng.uniform(0, 100), rng.uniform(20, 90), rng.uniform(20, 90))
            boxes.append(Box(2 * number + k, int(rng.integers(len(classes))), xywh))
        made.append(Image(number, Path(f"{number}.jpg"), f"{number}.jpg", WIDTH, HEIGHT, tuple(boxes)))
    return Dataset("farm", Path("farm"), tuple(made), classes)


def by_area(images: Dataset, suspicious: str = "high") -> ScoreTable:
    areas = np.array([box.xywh[2] * box.xywh[3] for image in images.images for box in image.boxes])
    return ScoreTable.of("Area", "object", suspicious, areas, images)  # type: ignore[arg-type]


def by_count(images: Dataset) -> ScoreTable:
    counts = np.array([float(len(image.boxes)) for image in images.images])
    return ScoreTable.of("Count", "image", "low", counts, images)


def by_number(images: Dataset) -> ScoreTable:
    """Looks at no box."""
    return ScoreTable.of("Number", "image", "high", np.arange(float(len(images))), images)


def seen(scored, images: Dataset) -> dict[str, Noticed]:  # type: ignore[no-untyped-def]
    return {own.kind: own for own in findings(scored, images).noticed}


def findings(scored, images: Dataset) -> Findings:  # type: ignore[no-untyped-def]
    found = noticed(scored(images), plant(images, 0), lambda planting: scored(planting.images))
    assert not isinstance(found, Failure)
    return found


def test_each_image_with_boxes_gets_two_kinds_of_mistakes_in_two_plantings() -> None:
    images = farm()
    plantings = plant(images, 0)
    kinds: dict[object, list[str]] = {}
    for planting in plantings:
        changed = [
            old.id for old, new in zip(images.images, planting.images.images, strict=True) if old != new
        ]
        assert changed == [harm.image_id for harm in planting.harms] or set(changed) == {
            harm.image_id for harm in planting.harms
        }
        assert len(planting.harms) == 16, "a third of the 48 that have boxes"
        for harm in planting.harms:
            kinds.setdefault(harm.image_id, []).append(harm.kind)
    assert set(kinds) == {image.id for image in images.images if image.boxes}
    assert all(len(set(own)) == 2 for own in kinds.values())
    counts = Counter(kind for own in kinds.values() for kind in own)
    assert set(counts) == set(plantable(images.class_names)) == {"drop", "shift", "enlarge", "flip", "spawn"}
    assert max(counts.values()) - min(counts.values()) <= 6
    assert [planting.harms for planting in plant(images, 0)] == [planting.harms for planting in plantings]
    assert plant(images, 1)[0].harms != plantings[0].harms


def test_one_class_cannot_be_flipped() -> None:
    kinds = {harm.kind for planting in plant(farm(classes=("cow",)), 0) for harm in planting.harms}
    assert kinds == {"drop", "shift", "enlarge", "spawn"}


def test_where_there_is_no_room_nothing_is_planted() -> None:
    full = [
        Image(n, Path(f"{n}"), f"{n}", WIDTH, HEIGHT, (Box(n, 0, (0.0, 0.0, 300.0, 200.0)),))
        for n in range(12)
    ]
    crowd = Image(20, Path("20"), "20", WIDTH, HEIGHT, (Box(20, 0, (0.0, 0.0, 30.0, 30.0), crowd=True),))
    images = Dataset("full", Path("full"), (*full, crowd), ("cow",))
    harms = [harm for planting in plant(images, 0) for harm in planting.harms]
    assert {harm.kind for harm in harms} == {"drop", "shift"}
    assert 20 not in {harm.image_id for harm in harms}


def test_samples_differ_only_where_something_was_planted() -> None:
    images = farm()
    rng = np.random.default_rng(0)
    samples = [
        Sample(
            image=rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8),
            boxes=clipped_xyxy(image),
            labels=image.labels,
            class_names=images.class_names,
        )
        for image in images.images
    ]
    planting = plant(images, 0)[0]
    harmed = {harm.image_id for harm in planting.harms}
    for image, old, new in zip(
        planting.images.images, samples, planted_samples(samples, planting), strict=True
    ):
        if image.id in harmed:
            np.testing.assert_array_equal(new.boxes, clipped_xyxy(image))
            np.testing.assert_array_equal(new.labels, image.labels)
            assert not new.boxes.flags.writeable
            assert not new.labels.flags.writeable
            assert new.image is old.image
        else:
            assert new is old


def test_after_is_the_area_under_the_roc_curve() -> None:
    """Mann and Whitney's U of the harmed against the untouched boxes, from scipy, planting by planting."""
    images = farm()
    expected = []
    for planting in plant(images, 0):
        harmed = {harm.image_id for harm in planting.harms}
        areas = {box.id: box.xywh[2] * box.xywh[3] for image in planting.images.images for box in image.boxes}
        usual = [areas[box.id] for image in images.images if image.id not in harmed for box in image.boxes]
        for harm in planting.harms:
            if harm.kind == "enlarge":
                expected.append(mannwhitneyu([areas[harm.box_id]], usual).statistic / len(usual))
    found = seen(by_area, images)["enlarge"]
    assert found.count == len(expected)
    assert found.after == pytest.approx(np.mean(expected), abs=0.0006)


def test_a_metric_notices_what_it_can_see() -> None:
    found = seen(by_area, farm())
    assert found["enlarge"].rises
    assert found["enlarge"].after > found["enlarge"].before + 0.2
    assert not found["flip"].rises
    assert found["flip"].after == pytest.approx(found["flip"].before, abs=0.02)
    assert seen(by_count, farm())["drop"].rises
    assert seen(by_count, farm())["spawn"].falls


def test_a_metric_that_looks_at_no_box_notices_nothing() -> None:
    for own in seen(by_number, farm()).values():
        assert (own.before, own.p_value) == (own.after, 1.0)
        assert not own.rises
        assert not own.falls


def test_a_failure_on_a_planting_is_handed_on() -> None:
    images = farm()
    failure = Failure("score", "exception", "no boxes", exception="IndexError")

    def scored(planting: Planting) -> ScoreTable | Failure:
        return failure

    assert noticed(by_area(images), plant(images, 0), scored) is failure


def test_what_is_noticed_least_is_told_with_its_scores() -> None:
    images = farm()
    found = findings(by_area, images)
    before = {box.id: box for image in images.images for box in image.boxes}
    harms = [harm for planting in plant(images, 0) for harm in planting.harms]

    def area(xywh: tuple[float, ...]) -> float:
        return xywh[2] * xywh[3]

    smallest = min((h for h in harms if h.kind == "enlarge"), key=lambda h: area(h.after or ()))
    x, y, w, h = before[smallest.box_id].xywh
    left, top, width, height = smallest.after or ()
    assert found.missed["enlarge"][0] == (
        f"box ({x:.0f}, {y:.0f}, {x + w:.0f}, {y + h:.0f}) became ({left:.0f}, {top:.0f}, "
        f"{left + width:.0f}, {top + height:.0f}), score {w * h:.3g} → {width * height:.3g}"
    )
    assert all(len(own) == 3 for own in found.missed.values())
    assert found.missed["flip"][0].partition(")")[2].startswith(" has another class, score ")
    assert found.missed["spawn"][0].partition(")")[2].startswith(" is on nothing, score none → ")
    assert found.missed["drop"][0].endswith("→ none")
    areas = [area(box.xywh) for box in before.values()]
    middle = np.percentile(areas, (5, 25, 50, 75, 95), method="nearest")
    assert found.usual == "5 % {:.3g}, 25 % {:.3g}, 50 % {:.3g}, 75 % {:.3g}, 95 % {:.3g}".format(*middle)
    by_image = findings(by_count, images)
    assert by_image.missed["drop"][0].endswith("score 2 → 1"), "the score of the image"
