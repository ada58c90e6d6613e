"""The giant panda data set on disk: three YouTube-VOS folders, one of them with mistakes.

    ROOT/train, valid, test/    JPEGImages/<video>/<frame>.jpg, Annotations/<video>/<frame>.png, meta.json
         reference/             the true labels of train
         ledger.jsonl           every mistake in train's labels
         panda.json             what it was made with; there once all the rest is

It draws the data set; reading it is the YouTube-VOS reader's business.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as PilImage

from metricsmith.sandbox.errors import DataError

from ..corruption import Harm, write_ledger
from ..progress import Progress, silent
from .clip import FRAME_SHAPE, plan
from .habitat import HABITATS, LIGHTS, build
from .mistakes import harm, to_indices

__all__ = ["make_panda"]

VERSION = 2
"""Raised with every change to a pixel or a label."""
CATEGORY = "giant_panda"
QUALITY = 92
PALETTE = bytes((0, 0, 0, 236, 95, 103, 249, 145, 87, 250, 200, 99))
"""RGB of background and objects 1 to 3, those of YouTube-VOS."""

Masks = Mapping[int, npt.NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class _Labels:
    """An `Annotations` folder in the making."""

    folder: Path
    frames: dict[str, dict[str, list[str]]]
    """Frames by video and object."""

    def add(self, video: str, frame: str, masks: Masks) -> None:
        path = self.folder / "Annotations" / video / f"{frame}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = PilImage.fromarray(to_indices(masks, FRAME_SHAPE), "P")
        picture.putpalette(PALETTE)
        buffer = BytesIO()
        picture.save(buffer, "PNG")
        path.write_bytes(buffer.getvalue())
        objects = self.frames.setdefault(video, {})
        for number in masks:
            objects.setdefault(str(number), []).append(frame)

    def close(self) -> None:
        videos = {
            video: {"objects": {n: {"category": CATEGORY, "frames": frames} for n, frames in objects.items()}}
            for video, objects in self.frames.items()
        }
        _write_json(self.folder / "meta.json", {"videos": videos})


def make_panda(
    root: Path,
    *,
    seed: int = 0,
    clips: tuple[int, int, int] = (24, 16, 16),
    frames: int = 16,
    every: tuple[int, int, int] = (1, 2, 2),
    progress: Progress = silent,
) -> None:
    """Draw the data set into `root`, or return at once where it is already complete.

    `clips` are the numbers of videos in train, valid and test, of `frames` frames each, of which one in
    `every` is drawn. Frames of one video tell nearly the same of a detector: valid and test have more videos
    and fewer frames of each, so that what is measured hangs less on single videos. The same seed gives the
    same bytes on one machine. A kill leaves no `root`, only a hidden folder beside it.

    Raises `DataError` where `root` holds anything else, or the data set made with other settings.
    """
    settings = {
        "version": VERSION, "seed": seed, "clips": list(clips), "frames": frames, "every": list(every)
    }  # fmt: skip
    if _is_complete(root, settings):
        return
    work = root.parent / f".{root.name}.{os.getpid()}"
    shutil.rmtree(work, ignore_errors=True)
    try:
        _draw_all(work, seed, clips, frames, every, progress)
        _write_json(work / "panda.json", settings)
        try:
            work.rename(root)
        except OSError:
            # Somebody else may have finished the same data set in the meantime.
            if not _is_complete(root, settings):
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _is_complete(root: Path, settings: dict[str, Any]) -> bool:
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    marker = root / "panda.json"
    if not marker.is_file():
        raise DataError(root, "there is something else here", remedy="give a folder that does not exist yet")
    try:
        found = json.loads(marker.read_text())
    except ValueError:
        found = None
    if found != settings:
        raise DataError(
            root,
            f"holds panda data made with other settings ({found}, wanted {settings})",
            remedy="remove the folder to have it made anew",
        )
    return True


def _draw_all(
    work: Path,
    seed: int,
    clips: tuple[int, int, int],
    frames: int,
    every: tuple[int, int, int],
    progress: Progress,
) -> None:
    reference = _Labels(work / "reference", {})
    harms: list[Harm] = []
    drawn = [range(0, frames, step) for step in every]
    total = sum(count * len(indices) for count, indices in zip(clips, drawn, strict=True))
    video_number = done = 0
    for part, (name, count) in enumerate(zip(("train", "valid", "test"), clips, strict=True)):
        labels = _Labels(work / name, {})
        kinds, lights = _deal(seed, part, count)
        careless = np.random.default_rng((seed, part, 1))
        for number in range(count):
            video = f"panda_{video_number:03d}"
            video_number += 1
            rng = np.random.default_rng((seed, part, 2, number))
            clip = plan(build(kinds[number], LIGHTS[lights[number]], rng), rng)
            for index in drawn[part]:
                progress("drawing pandas", done, total)
                done += 1
                frame = clip.frame(index, frames)
                key = f"{index:05d}"
                _write_jpeg(work / name / "JPEGImages" / video / f"{key}.jpg", frame.image)
                masks = frame.pandas
                if name == "train":
                    reference.add(video, key, masks)
                    masks, mistakes = harm(f"{video}/{key}", masks, frame.others, careless)
                    harms += mistakes
                labels.add(video, key, masks)
        labels.close()
    reference.close()
    write_ledger(work / "ledger.jsonl", harms)
    _share_images(work / "train" / "JPEGImages", work / "reference" / "JPEGImages")
    progress("drawing pandas", done, done)


def _deal(seed: int, part: int, count: int) -> tuple[list[str], list[str]]:
    """The habitat and the light of each clip: every kind as often as every other, in random order."""
    rng = np.random.default_rng((seed, part, 0))

    def cycle(names: list[str]) -> list[str]:
        rounds = -(-count // len(names))
        return [names[i] for _ in range(rounds) for i in rng.permutation(len(names))][:count]

    return cycle(list(HABITATS)), cycle(list(LIGHTS))


def _write_jpeg(path: Path, image: npt.NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    path.write_bytes(encoded.tobytes())


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")


def _share_images(images: Path, link: Path) -> None:
    """Make the folder of images appear in a second place, by a relative link or, failing that, hard links."""
    try:
        link.symlink_to(Path("..") / images.parent.name / images.name, target_is_directory=True)
    except OSError:
        shutil.copytree(images, link, copy_function=os.link)
