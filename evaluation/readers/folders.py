"""Finding images in folders.

Looks at names only; `intake` looks into the files.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from metricsmith.sandbox.errors import DataError

__all__ = ["files_in", "find_images", "first_folder", "image_files", "image_named"]

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif")


def files_in(folder: Path, pattern: str) -> list[Path]:
    """What matches the pattern in the folder, sorted, without hidden ones (macOS leaves `._a.jpg` files)."""
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


def image_files(folder: Path) -> list[Path]:
    """Every image in the folder and the folders in it, sorted; told by its suffix, in any case of letters."""
    return [path for path in files_in(folder, "**/*") if path.suffix.lower() in _SUFFIXES]


def image_named(folder: Path, stem: str) -> Path | None:
    """The image in the folder whose name without suffix is `stem`, or None."""
    names = (stem + suffix for suffix in _SUFFIXES + tuple(suffix.upper() for suffix in _SUFFIXES))
    return next((folder / name for name in names if os.path.isfile(folder / name)), None)


def first_folder(root: Path, *names: str) -> Path | None:
    """The first of these folders that there is in `root`, or None."""
    return next((root / name for name in names if (root / name).is_dir()), None)


def find_images(file: Path, names: Sequence[str]) -> Path:
    """The folder that these image names are relative to, as far as the annotation file's place tells.

    Tried are the file's own folder, `images/` and `JPEGImages/` in it, the same one level up, and for COCO's
    `annotations/instances_SPLIT.json` also `SPLIT/` and `images/SPLIT/`. DataError where none holds an image.
    """
    here, above, split = file.parent, file.absolute().parent.parent, file.stem.rpartition("_")[2]
    tried = [here, here / "images", here / "JPEGImages"]
    tried += [above / split, above / "images" / split, above, above / "images", above / "JPEGImages"]
    for folder in tried:
        if not names or any(os.path.isfile(folder / name) for name in names):
            return folder
    looked = ", ".join(str(folder) for folder in tried if folder.is_dir())
    raise DataError(
        file,
        f"none of its {len(names)} images ({names[0]}, …) was found",
        remedy=f"say where they lie with --images FOLDER (looked in {looked})",
    )
