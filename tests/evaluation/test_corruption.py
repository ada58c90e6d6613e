from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.evaluation.corruption import (
    XYWH,
    Harm,
    Rates,
    corrupt,
    enlarged,
    harmed_images,
    read_ledger,
    shifted,
    write_ledger,
)
from metricsmith.evaluation.dataset import Box, Dataset, Image
from metricsmith.sandbox.errors import DataError

WIDTH, HEIGHT = 200, 120


def dataset_of(boxes: int = 200, *, classes: tuple[str, ...] = ("cow", "hen")) -> Dataset:
    rng = np.random.default_rng(0)
    images = []
    for number in range(boxes // 2):
        pair = []
        for k in range(2):
            x, y = rng.uniform(0, 100), rng.uniform(0, 60)
            xywh = (x, y, rng.uniform(5, 100), rng.uniform(5, 60))
            label = int(rng.integers(len(classes)))
            pair.append(Box(2 * number + k, label, xywh, area=9.0, extra={"segmentation": [1]}))
        images.append(Image(number, Path(f"{number}.jpg"), f"{number}.jpg", WIDTH, HEIGHT, tuple(pair)))
    return Dataset("farm", Path("/data/farm"), tuple(images), classes)


def iou(a: XYWH, b: XYWH) -> float:
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    common = max(w, 0) * max(h, 0)
    return common / (a[2] * a[3] + b[2] * b[3] - common)


def is_inside(box: XYWH) -> bool:
    x, y, w, h = box
    return x >= 0 and y >= 0 and x + w <= WIDTH + 1e-6 and y + h <= HEIGHT + 1e-6


ALL = Rates(drop=0.1, shift=0.1, enlarge=0.1, flip=0.1, spawn=0.2)


def test_numbers_of_mistakes_are_exact() -> None:
    _, harms = corrupt(dataset_of(), ALL, seed=0)
    assert Counter(harm.kind for harm in harms) == {
        "drop": 20,
        "shift": 20,
        "enlarge": 20,
        "flip": 20,
        "spawn": 40,
    }


def test_ledger_explains_every_difference() -> None:
    clean = dataset_of()
    noisy, harms = corrupt(clean, ALL, seed=0)
    by_box = {(harm.image_id, harm.box_id): harm for harm in harms}
    assert len(by_box) == len(harms)
    for before, after in zip(clean.images, noisy.images, strict=True):
        old, new = ({box.id: box for box in image.boxes} for image in (before, after))
        for identity in old.keys() | new.keys():
            harm = by_box.get((before.id, identity))
            if harm is None:
                assert old[identity] == new[identity]
                continue
            was, now = old.get(identity), new.get(identity)
            assert (harm.before, harm.label_before) == ((was.xywh, was.label) if was else (None, None))
            assert (harm.after, harm.label_after) == ((now.xywh, now.label) if now else (None, None))


def test_every_mistake_really_harms() -> None:
    clean = dataset_of()
    truths = {image.id: image.boxes for image in clean.images}
    _, harms = corrupt(clean, ALL, seed=1)
    for harm in harms:
        if harm.kind in ("shift", "enlarge"):
            assert harm.before
            assert harm.after
            assert is_inside(harm.after)
            assert 0.2 < iou(harm.before, harm.after) < 0.7
        if harm.kind == "flip":
            assert harm.label_before != harm.label_after
        if harm.kind == "spawn":
            assert harm.after
            assert is_inside(harm.after)
            assert all(iou(harm.after, box.xywh) == 0 for box in truths[harm.image_id])


@given(
    x=st.floats(0, 199),
    y=st.floats(0, 119),
    w=st.floats(0.5, 200),
    h=st.floats(0.5, 120),
    seed=st.integers(0, 99),
)
def test_any_box_inside_is_harmed_and_stays_inside(x: float, y: float, w: float, h: float, seed: int) -> None:
    box = (x, y, min(w, WIDTH - x), min(h, HEIGHT - y))
    moved = shifted(box, WIDTH, HEIGHT, np.random.default_rng(seed))
    grown = enlarged(box, WIDTH, HEIGHT, np.random.default_rng(seed))
    assert is_inside(moved)
    assert 0.19 < iou(box, moved) < 0.7
    if grown is None:
        assert box[2] * box[3] > 0.6 * WIDTH * HEIGHT
    else:
        assert is_inside(grown)
        assert 0.24 < iou(box, grown) < 0.7


def test_moved_box_loses_the_mask_that_would_give_the_truth_away() -> None:
    noisy, _ = corrupt(dataset_of(), Rates(shift=1), seed=0)
    assert all(box.area is None and "segmentation" not in box.extra for i in noisy.images for box in i.boxes)


def test_crowds_and_boxes_without_area_are_left_alone() -> None:
    image = Image(
        1, Path("a.jpg"), "a.jpg", 99, 99, (Box(1, 0, (5, 5, 9, 9), crowd=True), Box(2, 0, (5, 5, 0, 9)))
    )
    dataset = Dataset("d", Path("/d"), (image,), ("cow",))
    assert corrupt(dataset, Rates(drop=1, spawn=1), seed=0) == (dataset, ())


def test_spawned_ids_are_new_for_numbers_and_for_names() -> None:
    clean = dataset_of()
    renamed = clean.with_images(
        replace(i, boxes=tuple(replace(b, id=f"b{b.id}") for b in i.boxes)) for i in clean.images
    )
    for dataset in (clean, renamed):
        noisy, _ = corrupt(dataset, Rates(spawn=0.3), seed=0)
        ids = [box.id for image in noisy.images for box in image.boxes]
        assert len(set(ids)) == len(ids) == 260
        assert len({type(identity) for identity in ids}) == 1


def test_same_seed_gives_the_same_mistakes() -> None:
    assert corrupt(dataset_of(), ALL, seed=5) == corrupt(dataset_of(), ALL, seed=5)
    assert corrupt(dataset_of(), ALL, seed=5)[1] != corrupt(dataset_of(), ALL, seed=6)[1]


@pytest.mark.parametrize("rates", [Rates(drop=0.6, shift=0.6), Rates(drop=-0.1)])
def test_impossible_rates_are_named(rates: Rates) -> None:
    with pytest.raises(DataError, match="cannot be met"):
        corrupt(dataset_of(), rates, seed=0)


def test_one_class_cannot_be_flipped() -> None:
    with pytest.raises(DataError, match="set flip to 0"):
        corrupt(dataset_of(classes=("cow",)), Rates(flip=0.1), seed=0)


def test_full_images_have_no_room_for_spawned_boxes() -> None:
    image = Image(1, Path("a.jpg"), "a.jpg", 99, 99, (Box(1, 0, (0, 0, 99, 99)),))
    with pytest.raises(DataError, match="lower the spawn rate"):
        corrupt(Dataset("d", Path("/d"), (image,), ("cow",)), Rates(spawn=1), seed=0)


def test_ledger_survives_the_disk(tmp_path: Path) -> None:
    _, harms = corrupt(dataset_of(), ALL, seed=0)
    write_ledger(tmp_path / "ledger.jsonl", harms)
    assert read_ledger(tmp_path / "ledger.jsonl") == harms
    assert harmed_images(harms) == {harm.image_id for harm in harms}


@pytest.mark.parametrize("line", ["{", "[1]", "7", '{"image_id": 1}'])
def test_bad_ledger_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "ledger.jsonl"
    write_ledger(path, [Harm(1, 2, "drop", (1, 2, 3, 4), None, 0, None)])
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(DataError, match="line 2: not a line of a ledger"):
        read_ledger(path)


def test_missing_ledger_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_ledger(tmp_path / "none.jsonl")
