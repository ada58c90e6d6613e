from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from metricsmith.sandbox import Failure, Limits, Metric, Sample, Scores, score
from metricsmith.sandbox.errors import SandboxError
from metricsmith.sandbox.fixtures import fixtures
from metricsmith.sandbox.launch import Zygote, zygote

HEADER = "import os, time\nimport cv2\nimport numpy as np\nfrom metricsmith.sandbox import Metric, Sample\n"
SOURCES = {
    "aspect": '''
class Aspect(Metric):
    """Width over height."""
    level = "object"
    suspicious = "both"
    def measure(self, sample):
        w, h = (sample.boxes[:, 2:] - sample.boxes[:, :2]).T
        return w / np.maximum(h, 1e-6)
''',
    "sharpness": '''
class Sharpness(Metric):
    """Variance of the Laplacian."""
    level = "image"
    suspicious = "low"
    def measure(self, sample):
        return cv2.Laplacian(cv2.cvtColor(sample.image, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var()
''',
    "count": '''
class Count(Metric):
    """Boxes in the image."""
    level = "image"
    suspicious = "high"
    def measure(self, sample):
        return len(sample.boxes)
''',
    "outlier": '''
class Outlier(Metric):
    """Distance from the median colour of all boxes."""
    level = "object"
    suspicious = "high"
    def measure(self, sample):
        rows = np.zeros((len(sample.boxes), 3))
        for row, (x1, y1, x2, y2) in zip(rows, sample.boxes.astype(int)):
            crop = sample.image[y1:y2, x1:x2]
            if crop.size:
                row[:] = crop.mean(axis=(0, 1))
        return rows
    def rank(self, m):
        return np.linalg.norm(m - np.median(m, axis=0), axis=1) if len(m) else np.zeros(0)
''',
}
FULL = {name: HEADER + source for name, source in SOURCES.items()}
BROKEN = HEADER + SOURCES["count"]


def scenes(count: int) -> list[Sample]:
    made = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        boxes = rng.uniform(0, 40, (seed % 4, 4)).astype(np.float32)
        boxes[:, 2:] += boxes[:, :2]
        image = rng.integers(0, 255, (80 + seed % 3, 100, 3), np.uint8)
        made.append(Sample(image, boxes, np.zeros(len(boxes), np.int64), ("a",)))
    return made


def here(source: str, samples: list[Sample]) -> np.ndarray:
    """The scores of a metric, computed in this process without any of the sandbox."""
    space: dict[str, object] = {}
    exec(source, space)
    (kind,) = (
        value
        for value in space.values()
        if isinstance(value, type) and issubclass(value, Metric) and value is not Metric
    )
    metric = kind()
    rows = [np.asarray(metric.measure(sample), np.float64) for sample in samples]
    stack = np.stack(rows) if metric.level == "image" else np.concatenate([row for row in rows if len(row)])
    return np.asarray(metric.rank(stack))


def test_scores_equal_those_of_this_process_bit_for_bit() -> None:
    cv2.setNumThreads(1)
    samples = [*fixtures().values(), *scenes(50)]
    results = score(FULL, iter(samples), total=len(samples))
    assert list(results) == list(FULL)
    for name, result in results.items():
        assert isinstance(result, Scores), str(result)
        expected = here(FULL[name], samples)
        assert result.values.tobytes() == expected.tobytes()
        assert result.counts == tuple(len(s.boxes) if result.level == "object" else 1 for s in samples)
        assert not result.values.flags.writeable
    assert [(r.level, r.suspicious) for r in results.values() if isinstance(r, Scores)] == [
        ("object", "both"),
        ("image", "low"),
        ("image", "high"),
        ("object", "high"),
    ]


def test_failing_metrics_do_not_touch_the_others() -> None:
    def broken(line: str) -> str:
        return BROKEN.replace("        return", f"        {line}\n        return")

    bad = "sample.image.shape[0] == 82 and"
    sources = {
        "syntax": "def",
        "raises": broken(f"{bad} 1 / 0"),
        "exits": broken(f"{bad} os._exit(0)"),
        "hangs": broken(f"{bad} list(iter(int, 1))"),
        "good": FULL["sharpness"],
    }
    samples = scenes(40)
    results = score(sources, samples, total=40, limits=Limits(seconds_per_call=1))
    good = results.pop("good")
    assert isinstance(good, Scores)
    assert len(good.values) == 40
    failures = {name: result for name, result in results.items() if isinstance(result, Failure)}
    assert {name: (f.stage, f.kind, f.where) for name, f in failures.items()} == {
        "syntax": ("parse", "syntax-error", None),
        "raises": ("score", "exception", "image 3 of 40"),
        "exits": ("score", "crashed", "image 3 of 40"),
        "hangs": ("score", "too-slow", "image 3 of 40"),
    }


def test_samples_are_taken_one_by_one_and_never_twice() -> None:
    taken = []

    def lazily() -> Iterator[Sample]:
        for number, sample in enumerate(scenes(100)):
            taken.append(number)
            yield sample

    told = []
    results = score(FULL, lazily(), total=100, progress=lambda *news: told.append(news))
    assert all(isinstance(result, Scores) for result in results.values())
    assert taken == list(range(100))
    assert told[0] == ("scoring", 0, 100)
    assert told[-1] == ("scoring", 100, 100)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


def test_samples_are_not_taken_far_ahead_or_after_all_failed() -> None:
    taken = 0

    def lazily() -> Iterator[Sample]:
        nonlocal taken
        for sample in scenes(200):
            taken += 1
            yield sample

    results = score({"x": BROKEN.replace("return", "return 1 /")}, lazily(), total=200)
    assert isinstance(results["x"], Failure)
    assert taken <= 3 * 16 + 1


def test_no_samples_give_no_scores() -> None:
    results = score(FULL, [], total=0)
    assert {name: r.values.shape for name, r in results.items() if isinstance(r, Scores)} == dict.fromkeys(
        FULL, (0,)
    )


def test_no_metrics_take_no_samples() -> None:
    assert score({}, iter(()), total=3) == {}


def test_many_rows_come_back_whole() -> None:
    rng = np.random.default_rng(0)
    boxes = np.sort(rng.uniform(0, 50, (3000, 2, 2)), axis=1).reshape(-1, 4).astype(np.float32)
    sample = replace(scenes(1)[0], boxes=boxes, labels=np.zeros(3000, np.int64))
    results = score({"aspect": FULL["aspect"]}, [sample] * 3, total=3)
    result = results["aspect"]
    assert isinstance(result, Scores)
    assert result.values.tobytes() == here(FULL["aspect"], [sample] * 3).tobytes()
    assert result.counts == (3000, 3000, 3000)


@pytest.mark.parametrize("count", [2, 4])
def test_other_number_of_samples_than_announced_is_an_error(count: int) -> None:
    with pytest.raises(ValueError, match=f"{count} samples came where 3 were announced"):
        score({"count": FULL["count"]}, scenes(count), total=3)


def test_what_the_samples_raise_is_raised_and_nothing_stays() -> None:
    before = len(os.listdir("/proc/self/fd"))

    def lazily() -> Iterator[Sample]:
        yield from scenes(20)
        raise KeyError("image 21 cannot be read")

    with pytest.raises(KeyError, match="image 21"):
        score(FULL, lazily(), total=30)
    assert len(os.listdir("/proc/self/fd")) == before


def test_process_that_cannot_start_is_an_error_of_the_sandbox() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(SandboxError, match=r"cannot start a process for metrics: .*No such file"):
        Zygote("/nonexistent/python")
    assert len(os.listdir("/proc/self/fd")) == before


def test_process_that_dies_at_the_start_is_an_error_of_the_sandbox() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(SandboxError, match=r"does not start \(status 2\): .*(invalid|unrecognized) option"):
        Zygote("/bin/ls")
    assert len(os.listdir("/proc/self/fd")) == before


def test_killed_zygote_fails_its_metrics_and_is_replaced() -> None:
    first = zygote()

    def samples() -> Iterator[Sample]:
        for number, sample in enumerate(scenes(40)):
            if number == 20:
                os.kill(first.pid, signal.SIGKILL)
            yield sample

    result = score({"count": FULL["count"]}, samples(), total=40)["count"]
    assert isinstance(result, Failure)
    assert result.message == "the metric's process was ended by SIGKILL"
    assert isinstance(score({"count": FULL["count"]}, scenes(3), total=3)["count"], Scores)
    assert zygote() is not first


def test_zygote_that_is_dying_when_asked_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dead, but not yet to be waited for: its socket is closed while it still seems alive."""
    first = zygote()
    monkeypatch.setattr(type(first), "alive", property(lambda self: self._process.returncode is None))
    os.kill(first.pid, signal.SIGKILL)
    os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)
    assert first.alive
    assert isinstance(score({"count": FULL["count"]}, scenes(3), total=3)["count"], Scores)
    assert zygote() is not first


def children_of(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []


def test_killed_parent_takes_its_children_along(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    source = BROKEN.replace("        return", "        list(iter(int, 1))\n        return")
    program.write_text(
        "import numpy as np\nfrom metricsmith.sandbox import Sample, score\n"
        "image, boxes, labels = np.zeros((9, 9, 3), 'u1'), np.zeros((0, 4), 'f4'), np.zeros(0, 'i8')\n"
        "one = Sample(image, boxes, labels, ())\n"
        f"score({{'x': {source!r}}}, [one], total=1)\n"
    )
    with subprocess.Popen([sys.executable, program]) as parent:
        deadline = time.monotonic() + 20
        pids: list[str] = []
        while len(pids) < 2:  # the zygote, and the metric's process
            assert time.monotonic() < deadline
            time.sleep(0.02)
            pids = children_of(parent.pid)
            pids += [pid for zygote in pids for pid in children_of(int(zygote))]
        time.sleep(0.6)
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{pid}/cmdline").exists() for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_import_of_the_sandbox_is_light() -> None:
    code = "import metricsmith.sandbox, sys; print({'torch', 'pydantic', 'cv2', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
