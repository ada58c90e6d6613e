"""Trainings side by side: the same bits, and no process that is left over."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from metricsmith.evaluation.dataset import Box, Image
from metricsmith.evaluation.detectors import (
    Job,
    KeepingDetector,
    ProxyDetector,
    ProxySettings,
    proxy,
    team,
    train_ahead,
)
from metricsmith.evaluation.detectors.features import FeatureStore
from metricsmith.evaluation.detectors.team import cores

TINY = ProxySettings(image_size=64, window=64, steps=6, batch=4, channels=16)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Image]:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    images = []
    for number in range(6):
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), rng.integers(0, 255, (48, 64, 3), np.uint8))
        images.append(Image(number, path, path.name, 64, 48, (Box(number, 0, (8.0, 8.0, 20.0, 20.0)),)))
    return images


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")


@pytest.mark.usefixtures("two_cores")
def test_trainings_side_by_side_give_the_bits_of_one_after_the_other(
    pictures: list[Image], tmp_path: Path
) -> None:
    jobs = [Job(pictures[:4], ("cat",), 0), Job(pictures[2:], ("cat",), 1), Job(pictures, ("cat",), 2)]
    told: list[tuple[str, int, int]] = []
    detector = KeepingDetector(ProxyDetector(tmp_path / "together", TINY))
    train_ahead(detector, jobs, lambda *step: told.append(step))
    files = sorted((tmp_path / "together" / "proxy-trained").rglob("*.pt"))
    assert len(files) == 3
    assert told[-1] == ("training 3 networks at once", 18, 18)
    assert [done for what, done, _ in told if "at once" in what] == sorted(
        d for w, d, _ in told if "at once" in w
    )

    alone = ProxyDetector(tmp_path / "alone", TINY)
    for job in jobs:
        alone.train(job.images, job.class_names, seed=job.seed)
    for file in files:
        other = tmp_path / "alone" / file.relative_to(tmp_path / "together")
        states = [torch.load(place, weights_only=True) for place in (file, other)]
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.usefixtures("two_cores")
def test_what_is_in_the_cache_is_not_trained_again(
    pictures: list[Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = ProxyDetector(tmp_path, TINY)
    jobs = [Job(pictures[:4], ("cat",), seed) for seed in range(3)]
    for job in jobs[:2]:
        detector.train(job.images, job.class_names, seed=job.seed)
    monkeypatch.setattr("metricsmith.evaluation.detectors.proxy.train_together", None)
    detector.train_ahead(jobs)  # one is left, and alone it gains nothing


@pytest.mark.usefixtures("two_cores")
def test_predictions_side_by_side_are_those_of_one_process(
    pictures: list[Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [Job(pictures[:4], ("cat",), seed, pictures[2:]) for seed in (0, 1)]
    alone = ProxyDetector(tmp_path / "alone", TINY)
    wanted = [alone.train(job.images, job.class_names, seed=job.seed).predict(job.to_predict) for job in jobs]
    together = ProxyDetector(tmp_path / "together", TINY)
    told: list[str] = []
    together.train_ahead([job._replace(to_predict=()) for job in jobs])
    together.train_ahead(jobs, lambda what, done, total: told.append(what))
    assert told[-1] == "predicting with 2 networks at once"
    monkeypatch.setattr(proxy._TrainedProxy, "_predict", None)  # nothing is left to be predicted here
    for job, predictions in zip(jobs, wanted, strict=True):
        own = together.train(job.images, job.class_names, seed=job.seed).predict(job.to_predict)
        for one, other in zip(own, predictions, strict=True):
            for name in ("boxes", "labels", "scores"):
                found, same = getattr(one, name), getattr(other, name)
                assert found.dtype == same.dtype
                np.testing.assert_array_equal(found, same)
    monkeypatch.setattr(proxy, "train_together", None)
    together.train_ahead(jobs)  # all of it is in the cache: no worker is asked


@pytest.mark.usefixtures("two_cores")
def test_features_of_many_images_are_computed_side_by_side(
    pictures: list[Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = ProxyDetector(tmp_path / "alone", TINY)
    alone.prepare(pictures)
    monkeypatch.setattr(proxy, "_MANY", 4)
    monkeypatch.setattr(team, "_CHUNK", 2)
    monkeypatch.setattr(FeatureStore, "_compute_one", None)  # nothing is left to be computed here
    told: list[tuple[str, int, int]] = []
    ProxyDetector(tmp_path / "together", TINY).prepare(pictures, lambda *step: told.append(step))
    assert told[-1] == ("computing features", 6, 6)
    files = [sorted((tmp_path / folder).rglob("*.npy")) for folder in ("alone", "together")]
    assert [file.read_bytes() for file in files[0]] == [file.read_bytes() for file in files[1]]
    assert len(files[0]) == 6


def test_one_core_trains_one_after_the_other(
    pictures: list[Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr("metricsmith.evaluation.detectors.proxy.train_together", None)
    ProxyDetector(tmp_path, TINY).train_ahead([Job(pictures, ("cat",), seed) for seed in range(3)])


@pytest.mark.usefixtures("two_cores")
def test_a_job_that_fails_is_left_to_whoever_trains_it(pictures: list[Image], tmp_path: Path) -> None:
    lost = Image(9, tmp_path / "lost.png", "lost.png", 64, 48)
    jobs = [Job([lost], ("cat",), 0), Job(pictures, ("cat",), 1)]
    detector = ProxyDetector(tmp_path / "cache", TINY)
    detector.prepare(pictures)
    team.train_together(tmp_path / "cache", TINY, jobs)
    assert len(list((tmp_path / "cache" / "proxy-trained").rglob("*.pt"))) == 1


def test_cores_are_those_that_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert cores() == 7
    for nonsense in ("", "0", "many"):
        monkeypatch.setenv("OMP_NUM_THREADS", nonsense)
        assert cores() >= 1


def test_no_worker_outlives_the_process_that_asked(pictures: list[Image], tmp_path: Path) -> None:
    """Kill -9 of the parent in the middle of a training that would take minutes."""
    program = f"""
import os, pickle, signal, sys
os.environ["OMP_NUM_THREADS"] = "2"
from pathlib import Path
from metricsmith.evaluation.detectors import Job, ProxySettings, team
from metricsmith.evaluation.detectors import ProxyDetector
pictures = pickle.load(open({str(tmp_path / "pictures.pickle")!r}, "rb"))
settings = ProxySettings(image_size=64, window=64, steps=100000, batch=4, channels=16)
cache = Path({str(tmp_path / "cache")!r})
ProxyDetector(cache, settings).prepare(pictures)
start = team._start
def counted():
    worker = start()
    print(worker.pid, flush=True)
    return worker
team._start = counted
team.train_together(cache, settings, [Job(pictures, ("cat",), seed) for seed in (0, 1)],
                    lambda what, done, total: done > 5 and os.kill(os.getpid(), signal.SIGKILL))
"""
    import pickle

    (tmp_path / "pictures.pickle").write_bytes(pickle.dumps(pictures))
    run = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=False)
    assert run.returncode == -9
    workers = [Path("/proc") / pid for pid in run.stdout.split()]
    assert len(workers) == 2
    deadline = time.monotonic() + 20
    while any(_runs(worker) for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(_runs(worker) for worker in workers)


def _runs(process: Path) -> bool:
    """Whether it is there and more than a zombie."""
    try:
        return process.joinpath("stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
