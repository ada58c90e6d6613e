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
from concurrent.futures import ThreadPoolExecutor
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
THREADS = 2
"""Videos drawn at once: more of them only wait for each other."""
PALETTE = bytes((0, 0, 0, 236, 95, 103, 249, 145, 87, 250, 200, 99))
"""RGB of background and objects 1 to 3, those of YouTube-VOS."""

Mask = npt.NDArray[np.bool_]
Masks = Mapping[int, Mask]


@dataclass(frozen=True, slots=True)
class _Video:
    """A video to be drawn."""

    name: str
    images: Path
    """The folder of its frames."""
    indices: range
    """Which of its frames are drawn."""
    frames: int
    """How many there are."""
    habitat: str
    light: str
    seed: tuple[int, ...]

    def draw(self) -> list[tuple[Masks, list[Mask]]]:
        """Write its frames; return the pandas and the bystanders in each."""
        rng = np.random.default_rng(self.seed)
        clip = plan(build(self.habitat, LIGHTS[self.light], rng), rng)
        shown: list[tuple[Masks, list[Mask]]] = []
        for index in self.indices:
            frame = clip.frame(index, self.frames)
            _write_jpeg(self.images / self.name / f"{_key(index)}.jpg", frame.image)
            shown.append((frame.pandas, frame.others))
        return shown


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
    parts = [
        _videos(work / name, seed, part, range(sum(clips[:part]), sum(clips[: part + 1])), frames, step)
        for part, (name, step) in enumerate(zip(("train", "valid", "test"), every, strict=True))
    ]
    total, done = sum(len(video.indices) for videos in parts for video in videos), 0
    with ThreadPoolExecutor(THREADS) as painters:
        for part, videos in enumerate(parts):
            labels = _Labels(videos[0].images.parent, {})
            careless = np.random.default_rng((seed, part, 1))
            # mistakes are made in the videos' order, whatever was drawn first
            for video, shown in zip(videos, painters.map(_Video.draw, videos), strict=True):
                for index, (masks, others) in zip(video.indices, shown, strict=True):
                    progress("drawing pandas", done, total)
                    done += 1
                    if part == 0:
                        reference.add(video.name, _key(index), masks)
                        masks, mistakes = harm(f"{video.name}/{_key(index)}", masks, others, careless)
                        harms += mistakes
                    labels.add(video.name, _key(index), masks)
            labels.close()
    reference.close()
    write_ledger(work / "ledger.jsonl", harms)
    _share_images(work / "train" / "JPEGImages", work / "reference" / "JPEGImages")
    progress("drawing pandas", done, done)


def _videos(folder: Path, seed: int, part: int, numbers: range, frames: int, step: int) -> list[_Video]:
    """The videos of one part of the data set."""
    habitats, lights = _deal(seed, part, len(numbers))
    return [
        _Video(
            name=f"panda_{number:03d}",
            images=folder / "JPEGImages",
            indices=range(0, frames, step),
            frames=frames,
            habitat=habitats[place],
            light=lights[place],
            seed=(seed, part, 2, place),
        )
        for place, number in enumerate(numbers)
    ]


def _key(index: int) -> str:
    """The name of a frame in files and labels."""
    return f"{index:05d}"


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
