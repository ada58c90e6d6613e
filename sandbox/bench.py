"""What the jail costs: the same metrics in this process and in the jail, over the same images, in one run.

Prints nothing and judges nothing; see `metricsmith bench sandbox`.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from .crew import run
from .interface import Metric, Sample
from .launch import Child, Zygote, zygote
from .limits import Limits
from .selftest import walls
from .worker import Worker

__all__ = ["METRICS", "Cost", "costs", "empty_job", "fork_and_jail", "scaling", "zygote_start"]

_HEAD = """\
import cv2
import numpy as np
from metricsmith.sandbox import Metric, Sample


class M(Metric):
    level = "{level}"
    suspicious = "low"

    def measure(self, sample: Sample):
"""

METRICS = {
    "mean brightness": _HEAD.format(level="image") + "        return float(sample.image.mean())\n",
    "Laplacian variance": _HEAD.format(level="image")
    + "        grey = cv2.cvtColor(sample.image, cv2.COLOR_RGB2GRAY)\n"
    + "        return float(cv2.Laplacian(grey, cv2.CV_64F).var())\n",
    "contour of each box": _HEAD.format(level="object")
    + "        scores = np.zeros(len(sample.boxes))\n"
    + "        for n, (x1, y1, x2, y2) in enumerate(sample.boxes.astype(int)):\n"
    + "            crop = cv2.cvtColor(sample.image[y1:y2, x1:x2], cv2.COLOR_RGB2GRAY)\n"
    + "            edges = cv2.Canny(cv2.GaussianBlur(crop, (5, 5), 0), 50, 150)\n"
    + "            found, _ = cv2.findContours(edges, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)\n"
    + "            scores[n] = sum(cv2.contourArea(c) for c in found) / max(crop.size, 1)\n"
    + "        return scores\n",
}
"""Name → source: a cheap one, a middling one and a dear one."""

_DIFFERENT = 16


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds of one metric over all images, the making of the samples included in both."""

    metric: str
    in_process: float
    jailed: float

    @property
    def ratio(self) -> float:
        """Jailed over in-process."""
        return self.jailed / self.in_process


def costs(images: int, repeats: int = 3) -> list[Cost]:
    """The cost of each of `METRICS` over `images` of 640×480, the least of `repeats` taken in turns."""
    walls()
    found = []
    for name, source in METRICS.items():
        pairs = [(_in_process(source, images), _jailed(source, images)) for _ in range(repeats)]
        found.append(Cost(name, min(a for a, _ in pairs), min(b for _, b in pairs)))
    return found


def zygote_start() -> float:
    """Wall-clock seconds until a new zygote is ready."""
    return _timed(lambda: Zygote().close())


def empty_job(repeats: int = 30) -> float:
    """Wall-clock seconds of a job without images: fork, jail, load, rank, end; the median."""
    walls()

    def job() -> None:
        worker = Worker(METRICS["mean brightness"], Limits(), 0)
        worker.begin("score", 0, str)
        run([worker], (), total=0)
        worker.close()

    return statistics.median(_timed(job) for _ in range(repeats))


def fork_and_jail(repeats: int = 30) -> float:
    """Wall-clock seconds from asking for a child until it is dead again; the median."""
    zygote()
    return statistics.median(_timed(lambda: Child(1 << 28, 10).end()) for _ in range(repeats))


def scaling(images: int) -> tuple[int, float]:
    """How many workers there are at most, and how much faster they are than one after the other."""
    source, count = METRICS["contour of each box"], len(os.sched_getaffinity(0))

    def work(workers: int) -> None:
        team = [Worker(source, Limits(), images) for _ in range(workers)]
        for worker in team:
            worker.begin("score", images, str)
        run(team, _samples(images), total=images)
        for worker in team:
            worker.close()

    alone = sum(_timed(lambda: work(1)) for _ in range(count))
    return count, alone / _timed(lambda: work(count))


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _in_process(source: str, images: int) -> float:
    space: dict[str, type[Metric]] = {}
    exec(source, space)
    metric = space["M"]()
    start = time.process_time()
    for sample in _samples(images):
        metric.measure(sample)
    return time.process_time() - start


def _jailed(source: str, images: int) -> float:
    worker = Worker(source, Limits(cpu_seconds_per_image=1), images)
    start = time.process_time()
    worker.begin("score", images, str)
    run([worker], _samples(images), total=images)
    child = worker.cpu_seconds
    worker.close()
    if worker.failure is not None:
        raise AssertionError(worker.failure)
    return time.process_time() - start + child


def _samples(images: int) -> Iterator[Sample]:
    """As many samples, of 16 different images with five boxes each."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:480, :640]
    pictures, boxes = [], []
    for _ in range(_DIFFERENT):
        waves = np.stack([np.sin(x / rng.uniform(5, 60)) * np.cos(y / rng.uniform(5, 60))] * 3, axis=2)
        noise = rng.normal(0, 8, waves.shape)
        pictures.append(np.clip(128 + 90 * waves + noise, 0, 255).astype(np.uint8))
        corner = rng.uniform(0, 300, (5, 2))
        boxes.append(
            np.concatenate([corner, corner + rng.uniform(40, 170, (5, 2))], axis=1).astype(np.float32)
        )
    for number in range(images):
        n = number % _DIFFERENT
        yield Sample(pictures[n], boxes[n], np.zeros(5, np.int64), ("thing",))
