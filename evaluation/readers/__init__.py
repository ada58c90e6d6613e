"""Reading data sets: `read_dataset` finds out the format and gives a `Dataset`, or a DataError with reasons.

Each format has a module of its own, written here instead of taken from a converter because a message must
name file and item, and because what is read must be written back without loss. No pixels are kept, and
nothing is corrected on the quiet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from metricsmith.sandbox.errors import DataError

from ..dataset import Dataset
from ..progress import Progress, silent
from .coco import read_coco
from .document import load_json
from .folders import files_in
from .intake import Intake
from .voc import annotation_files, read_voc
from .yolo import description_file, read_yolo
from .youtube_vis import is_youtube_vis, read_youtube_vis
from .youtube_vos import is_youtube_vos, read_youtube_vos

__all__ = ["FORMATS", "read_dataset"]

_Reader = Callable[[Path, Path | None, str, Intake, Progress], Dataset]
_FOLDERS: dict[str, _Reader] = {"voc": read_voc, "yolo": read_yolo, "youtube-vos": read_youtube_vos}
_DOCUMENTS: dict[str, Callable[..., Dataset]] = {"coco": read_coco, "youtube-vis": read_youtube_vis}
FORMATS = (*sorted(_DOCUMENTS), *sorted(_FOLDERS))
"""The formats that `read_dataset` reads."""
_LOOKED_FOR = (
    "looked for COCO or YouTube-VIS (a .json file, here or in annotations/), Pascal VOC (Annotations/*.xml), "
    "YOLO (data.yaml, or labels/ and classes.txt), YouTube-VOS (meta.json and Annotations/)"
)


def read_dataset(
    path: Path,
    *,
    images: Path | None = None,
    format: str | None = None,
    skip_bad: bool = False,
    name: str | None = None,
    progress: Progress = silent,
) -> Dataset:
    """The data set at `path`, a file or a folder; see the formats' modules for what may lie there.

    `images` is the folder that image names are relative to, where it is not the usual one. `format` is one of
    `FORMATS`; None finds out. `name` is by default the file's or folder's. Each image's header and size are
    checked, and that its file is complete; each box is checked to lie within it.

    Raises DataError, naming file, item, reason and next step, at the first item that is bad. With `skip_bad`
    such items are left out and listed in `Dataset.skipped`; an image takes its boxes with it.
    """
    if not path.exists():
        raise DataError(path, "there is no such file or folder", remedy="check the path")
    if images is not None and not images.is_dir():
        raise DataError(images, "there is no such folder of images", remedy="check what --images says")
    if format is not None and format not in FORMATS:
        raise DataError(path, f"unknown format {format!r}", remedy=f"known are {', '.join(FORMATS)}")
    intake = Intake(skip_bad)
    name = name or (path.resolve().name if path.is_dir() else path.stem)
    format = format or _format_at(path)
    if format in _FOLDERS:
        if path.is_file() and format != "yolo":
            raise DataError(path, f"a {format} data set is a folder", remedy="give the folder")
        dataset = _FOLDERS[format](path, images, name, intake, progress)
    else:
        file = _json_file(path)
        document = load_json(file)
        format = format or ("youtube-vis" if is_youtube_vis(document) else "coco")
        dataset = _DOCUMENTS[format](document, file, images, name, intake, progress)
    if not dataset.images:
        bad = f"; all were bad, the first: {intake.skipped[0].reason}" if intake.skipped else ""
        raise DataError(path, f"this {format} data set has no images{bad}")
    return replace(dataset, skipped=tuple(intake.skipped))


def _format_at(path: Path) -> str | None:
    """The format that the names at `path` tell; None where it takes a look into a JSON file."""
    if path.is_file():
        suffix = path.suffix.lower()
        if suffix in {".yaml", ".yml"}:
            return "yolo"
        if suffix != ".json":
            raise DataError(path, "the format cannot be told from this file", remedy=_LOOKED_FOR)
        return None
    if is_youtube_vos(path):
        return "youtube-vos"
    if annotation_files(path):
        return "voc"
    if description_file(path) or (path / "labels").is_dir():
        return "yolo"
    return None


def _json_file(path: Path) -> Path:
    """The one JSON file that `path` is or holds."""
    if path.is_file():
        return path
    found = files_in(path, "*.json") or files_in(path, "[aA]nnotations/*.json")
    if not found:
        raise DataError(path, "no data set was found in this folder", remedy=_LOOKED_FOR)
    if len(found) > 1:
        names = ", ".join(str(file.relative_to(path)) for file in found)
        raise DataError(path, f"there are {len(found)} JSON files ({names})", remedy="name the one to read")
    return found[0]
