"""Pool, val, test and reference from what a user points at: one data set, or a folder that holds its splits.

A folder holds splits when each of `pool` (or `train`), `val` (or `valid`, `validation`) and `test` is a
folder or a `.json` file in it; `reference`, the pool with trusted labels, may lie beside them, and so may
`ledger.jsonl`, the mistakes that were put into the pool, which only measurements of the product itself use.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from metricsmith.sandbox.errors import DataError

from .corruption import harmed_images, read_ledger
from .dataset import Dataset
from .progress import Progress, silent
from .readers import read_dataset
from .splits import Splits, split_by_group

__all__ = ["DataSets", "Source", "align_classes", "find_splits", "open_pool", "open_splits"]

_NAMES = {
    "pool": ("pool", "train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test",),
    "reference": ("reference",),
}


@dataclass(frozen=True, slots=True)
class Source:
    """Where a run's data lies and how to read it; `val`, `test` and `reference` may be absent."""

    data: Path
    val: Path | None = None
    test: Path | None = None
    reference: Path | None = None
    images: Path | None = None
    format: str | None = None
    skip_bad: bool = False


@dataclass(frozen=True, slots=True)
class DataSets:
    """All that a run works on."""

    splits: Splits
    reference: Dataset | None = None
    """The pool with trusted labels."""
    harmed: frozenset[int | str] | None = None
    """The pool's images with mistakes, where a ledger tells them."""


def find_splits(folder: Path) -> dict[str, Path]:
    """Return the splits that lie in `folder` by their role, or nothing where pool, val or test is missing.

    >>> find_splits(Path("panda"))  # doctest: +SKIP
    {'pool': Path('panda/train'), 'val': Path('panda/valid'), 'test': Path('panda/test')}
    """
    found: dict[str, Path] = {}
    for role, names in _NAMES.items():
        for name in names:
            for path in (folder / name, folder / f"{name}.json"):
                if role not in found and (path.is_dir() or path.is_file()):
                    found[role] = path
    return found if {"pool", "val", "test"} <= found.keys() else {}


def open_pool(source: Source, *, progress: Progress = silent) -> Dataset:
    """Return the pool where `source.data` holds splits, else all of it; raises what a reader does."""
    return read_dataset(
        find_splits(source.data).get("pool", source.data),
        images=source.images,
        format=source.format,
        name=source.data.resolve().name if source.data.is_dir() else None,
        skip_bad=source.skip_bad,
        progress=progress,
    )


def open_splits(source: Source, *, seed: int = 0, progress: Progress = silent) -> DataSets:
    """Return the splits, and the reference and the ledger if there are any; all share the pool's classes.

    DataError: only one of val and test is given, an image is in two splits, or anything a reader raises.
    """
    if (source.val is None) != (source.test is None):
        given = "--val" if source.val else "--test"
        raise DataError(
            source.data, f"{given} is given alone", remedy="give both --val and --test, or neither"
        )

    def read(path: Path, name: str | None = None) -> Dataset:
        return read_dataset(
            path,
            images=source.images,
            format=source.format,
            name=name,
            skip_bad=source.skip_bad,
            progress=progress,
        )

    paths = {"pool": source.data, "val": source.val, "test": source.test, "reference": source.reference}
    if source.val is None:
        paths.update(find_splits(source.data))
        if source.reference is not None:
            paths["reference"] = source.reference
    # a folder of splits names the data, not the folder of one split
    name = source.data.resolve().name if source.data.is_dir() else None
    pool = read(paths["pool"] or source.data, name)
    reference = align_classes(read(paths["reference"]), pool) if paths["reference"] else None
    if paths["val"] is None or paths["test"] is None:
        return DataSets(split_by_group(pool, seed=seed), reference)
    splits = Splits(
        pool=pool, val=align_classes(read(paths["val"]), pool), test=align_classes(read(paths["test"]), pool)
    )
    _refuse_overlap(splits)
    return DataSets(splits, reference, _harmed(source.data, pool))


def _harmed(folder: Path, pool: Dataset) -> frozenset[int | str] | None:
    """The images that a ledger in the folder names. DataError: it names one that the pool has not."""
    path = folder / "ledger.jsonl"
    if not path.is_file():
        return None
    harmed = frozenset(harmed_images(read_ledger(path)))
    strange = sorted(str(item) for item in harmed.difference(image.id for image in pool.images))
    if strange and not pool.skipped:
        raise DataError(
            path,
            "the ledger names an image that is not in the pool",
            item=strange[0],
            remedy="the ledger is that of other data: move it away, or make the data anew",
        )
    return harmed


def align_classes(dataset: Dataset, pool: Dataset) -> Dataset:
    """Return `dataset` with the pool's class indices, matched by name. DataError: a class the pool lacks."""
    if dataset.class_names == pool.class_names:
        return dataset
    index = {name: number for number, name in enumerate(pool.class_names)}
    used = {box.label for image in dataset.images for box in image.boxes}
    unknown = sorted(dataset.class_names[label] for label in used if dataset.class_names[label] not in index)
    if unknown:
        raise DataError(
            dataset.root,
            f"class {unknown[0]!r} is not among the pool's: {', '.join(pool.class_names)}",
            remedy="give the splits the same classes",
        )
    images = tuple(
        replace(
            image,
            boxes=tuple(replace(box, label=index[dataset.class_names[box.label]]) for box in image.boxes),
        )
        for image in dataset.images
    )
    return replace(dataset, images=images, class_names=pool.class_names, class_ids=pool.class_ids)


def _refuse_overlap(splits: Splits) -> None:
    seen: dict[Path, str] = {}
    for role, dataset in (("pool", splits.pool), ("val", splits.val), ("test", splits.test)):
        for image in dataset.images:
            other = seen.setdefault(image.path.resolve(), role)
            if other != role:
                raise DataError(
                    image.path,
                    f"the image is in {other} and in {role}",
                    remedy="an image that is trained on cannot be measured on: leave it out of one of them",
                )
