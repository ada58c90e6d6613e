"""Finding a run's splits in folders and files, and making their classes agree."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from metricsmith.evaluation.corruption import Harm, write_ledger
from metricsmith.evaluation.split_folders import Source, find_splits, open_pool, open_splits
from metricsmith.sandbox.errors import DataError


def coco(path: Path, numbers: Sequence[int], classes: Sequence[str] = ("cat", "dog"), used: int = 0) -> Path:
    """A COCO file beside its images; each image has one box of class number `used`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        cv2.imwrite(str(path.parent / f"{number}.png"), np.full((8, 12, 3), number, np.uint8))
    document = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 12, "height": 8} for n in numbers],
        "annotations": [
            {"id": n, "image_id": n, "category_id": used + 1, "bbox": [1, 1, 4, 4]} for n in numbers
        ],
        "categories": [{"id": k, "name": name} for k, name in enumerate(classes, 1)],
    }
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("train", "valid", "test"), {"pool": "train", "val": "valid", "test": "test"}),
        (
            ("pool.json", "val.json", "test.json"),
            {"pool": "pool.json", "val": "val.json", "test": "test.json"},
        ),
        (
            ("pool", "training", "val", "test", "reference"),
            {"pool": "pool", "val": "val", "test": "test", "reference": "reference"},
        ),
        (("train", "val"), {}),
        (("images", "annotations"), {}),
    ],
)
def test_splits_are_found_by_their_names(tmp_path: Path, names: Sequence[str], found: dict[str, str]) -> None:
    for name in names:
        (tmp_path / name).touch() if name.endswith("json") else (tmp_path / name).mkdir()
    assert find_splits(tmp_path) == {role: tmp_path / name for role, name in found.items()}


def test_a_folder_of_splits_names_the_data(tmp_path: Path) -> None:
    folder = tmp_path / "zoo"
    for name, numbers in (("pool", [1, 2]), ("val", [3]), ("test", [4]), ("reference", [1, 2])):
        coco(folder / f"{name}.json", numbers)
    assert open_pool(Source(folder)).name == "zoo"
    assert [image.id for image in open_pool(Source(folder)).images] == [1, 2]
    assert len(open_pool(Source(folder / "val.json"))) == 1, "a data set without splits is its own pool"
    opened = open_splits(Source(folder))
    splits, reference = opened.splits, opened.reference
    assert splits.pool.name == "zoo"
    assert [[i.id for i in part.images] for part in (splits.pool, splits.val, splits.test)] == [
        [1, 2],
        [3],
        [4],
    ]
    assert reference is not None
    assert len(reference) == 2
    assert opened.harmed is None


def zoo_with_ledger(folder: Path, harmed: int) -> Path:
    for name, numbers in (("pool", [1, 2]), ("val", [3]), ("test", [4])):
        coco(folder / f"{name}.json", numbers)
    harm = Harm(harmed, 1, "drop", (0.0, 0.0, 2.0, 2.0), None, 0, None)
    write_ledger(folder / "ledger.jsonl", [harm])
    return folder


def test_a_ledger_tells_the_harmed_images(tmp_path: Path) -> None:
    assert open_splits(Source(zoo_with_ledger(tmp_path / "zoo", 2))).harmed == {2}


def test_the_ledger_of_other_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"ledger\.jsonl: 9: the ledger names an image that is not in the pool"
    ):
        open_splits(Source(zoo_with_ledger(tmp_path / "zoo", 9)))


def test_a_single_data_set_is_split(tmp_path: Path) -> None:
    opened = open_splits(Source(coco(tmp_path / "zoo.json", range(10))))
    splits, reference = opened.splits, opened.reference
    assert [len(part) for part in (splits.pool, splits.val, splits.test)] == [6, 2, 2]
    assert (splits.pool.name, reference) == ("zoo-pool", None)


def test_given_splits_come_before_found_ones(tmp_path: Path) -> None:
    for name, numbers in (("pool", [1, 2]), ("val", [3]), ("test", [4])):
        coco(tmp_path / "zoo" / f"{name}.json", numbers)
    other = coco(tmp_path / "other" / "set.json", [7])
    opened = open_splits(
        Source(
            tmp_path / "zoo" / "pool.json",
            val=other,
            test=tmp_path / "zoo" / "test.json",
            reference=tmp_path / "zoo" / "pool.json",
        )
    )
    assert [image.id for image in opened.splits.val.images] == [7]
    assert opened.reference is not None


def test_classes_are_matched_by_name(tmp_path: Path) -> None:
    pool = coco(tmp_path / "a" / "pool.json", [1, 2], ("cat", "dog"))
    val = coco(tmp_path / "b" / "val.json", [3], ("dog", "cat"))
    test = coco(tmp_path / "c" / "test.json", [4], ("dog",))
    splits = open_splits(Source(pool, val=val, test=test)).splits
    assert splits.val.class_names == splits.test.class_names == ("cat", "dog")
    assert [splits.val.images[0].boxes[0].label, splits.test.images[0].boxes[0].label] == [1, 1]


def test_a_class_that_the_pool_lacks_is_named(tmp_path: Path) -> None:
    pool = coco(tmp_path / "a" / "pool.json", [1, 2])
    val = coco(tmp_path / "b" / "val.json", [3], ("cat", "cow"), used=1)
    with pytest.raises(DataError, match="class 'cow' is not among the pool's: cat, dog"):
        open_splits(Source(pool, val=val, test=val))


def test_an_image_in_two_splits_is_refused(tmp_path: Path) -> None:
    pool = coco(tmp_path / "pool.json", [1, 2])
    val, test = coco(tmp_path / "val.json", [3]), coco(tmp_path / "test.json", [2])
    with pytest.raises(DataError, match=r"2\.png: the image is in pool and in test"):
        open_splits(Source(pool, val=val, test=test))


@pytest.mark.parametrize("given", ["val", "test"])
def test_one_split_without_the_other_is_refused(tmp_path: Path, given: str) -> None:
    data = coco(tmp_path / "pool.json", [1, 2])
    with pytest.raises(DataError, match=f"--{given} is given alone"):
        open_splits(Source(data, **{given: data}))
