"""What a finished run's best curation is worth in random images: trains the curve that this is read off."""

from __future__ import annotations

from functools import partial
from statistics import fmean
from typing import Any

from rich.console import Console

from metricsmith.evaluation.bench_record import BenchRecord
from metricsmith.evaluation.data_multiplier import SIZES, Multiplier, Point, read_off
from metricsmith.evaluation.detectors import make_detector
from metricsmith.evaluation.draws import control_draw
from metricsmith.evaluation.files import write_atomic
from metricsmith.evaluation.split_folders import DataSets
from metricsmith.evaluation.trials import run_trial
from metricsmith.sandbox.errors import RunError

from .display import Display
from .run_folder import RunFolder
from .summary import read_summary

__all__ = ["data_multiplier"]


def data_multiplier(folder: RunFolder, data: DataSets, console: Console) -> Multiplier:
    """Return it, and write it to `multiplier.json`; trials are kept in `curve.jsonl` as they come.

    The run's own control is one point of the curve. RunError: the run is not finished, or it kept nothing.
    """
    summary = read_summary(folder)
    best = summary.test.best
    if best is None:
        raise RunError(
            f"{folder.path}: this run kept nothing, so there is nothing to compare random images with"
        )
    settings, pool = folder.read_settings(), data.splits.pool
    record = BenchRecord(folder.path / "curve.jsonl")
    detector = make_detector(settings.detector, settings.cache, settings.weights)
    ids = [image.id for image in pool.images]

    def train(images: int, seed: int, display: Display) -> Any:
        def progress(step: str, done: int, total: int) -> None:
            display.progress(f"{images} random images, seed {seed}: {step}", done, total)

        drawn = pool.subset(control_draw(ids, images, seed)).images
        trial, _ = run_trial(detector, drawn, data.splits.val.images, pool.class_names, seed, progress)
        return trial.model_dump()

    curve = [Point(images=summary.budget, map=summary.control.map)]
    with Display(console) as display:
        for images in sorted({max(1, round(size * len(pool))) for size in SIZES} - {summary.budget}):
            trials = [
                record.once(partial(train, images, seed, display), images, seed)
                for seed in settings.trial_seeds
            ]
            curve.append(Point(images=images, map=fmean(trial["map"] for trial in trials)))
    reached = summary.rounds[best.round - 1].map
    assert reached is not None, "a round that was kept was measured"
    found = read_off(summary.budget, reached, curve)
    write_atomic(folder.multiplier, found.model_dump_json(indent=2) + "\n")
    return found
