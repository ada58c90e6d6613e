from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from metricsmith.sandbox import Check, Limits, Sample, check
from metricsmith.sandbox.launch import Child, queued_seconds, zygote

HEADER = """\
import cv2, ctypes, os, sys, threading, time
import numpy as np
from metricsmith.sandbox import Metric
"""


def metric(measure: str, *, level: str = "image", rank: str = "", top: str = HEADER) -> str:
    """A metric whose `measure` begins in line 8 (with the default `top`)."""

    def indent(text: str) -> str:
        return "".join(f"        {line}\n" for line in text.splitlines())

    second = f"    def rank(self, m):\n{indent(rank)}" if rank else ""
    return (
        f'{top}class M(Metric):\n    level = "{level}"\n    suspicious = "low"\n'
        f"    def measure(self, sample):\n{indent(measure)}{second}"
    )


def scene(seed: int) -> Sample:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 40, (2, 4)).astype(np.float32)
    corners[:, 2:] += corners[:, :2]
    return Sample(rng.integers(0, 255, (96, 128, 3), np.uint8), corners, np.zeros(2, np.int64), ("a",))


SCENES = [scene(seed) for seed in range(20)]
FIRST = ' (the fixture "an ordinary scene").'


def failure(source: str, limits: Limits = Limits()) -> str:  # noqa: B008, it is frozen
    found = check(source, SCENES, policy=False, limits=limits)
    assert not found.accepted
    return str(found.failure)


def test_accepted_metric_tells_its_name_level_and_scores() -> None:
    source = metric('"""Says nothing."""\nreturn float(sample.image.mean())').replace(
        "    level", '    """Mean grey; low is dark.\n\n    More.\n    """\n    level', 1
    )
    found = check(source, SCENES, policy=False)
    assert found.failure is None
    assert found.to_dict() == {
        "accepted": True,
        "stage": "sample",
        "error": None,
        "name": "M",
        "level": "image",
        "suspicious": "low",
        "doc": "Mean grey; low is dark.",
    }
    assert found.scores is not None
    assert found.scores.values.tolist() == [float(sample.image.mean()) for sample in SCENES]
    assert found.scores.counts == (1,) * 20


def test_without_samples_the_fixtures_decide() -> None:
    found = check(metric("return 1.0"), policy=False)
    assert found == Check(True, "fixtures", None, "M", "image", "low")


def test_policy_comes_before_anything_runs() -> None:
    found = check(metric("return 1.0"))
    assert (found.accepted, found.stage) == (False, "policy")
    assert json.loads(json.dumps(found.to_dict()))["error"]["kind"] == "forbidden-import"


def test_a_little_output_is_let_pass() -> None:
    assert check(
        metric("print('here', sample.image.shape)\nreturn sample.image.mean()"), SCENES, policy=False
    ).accepted


def test_syntax_error_is_told_without_policy_too() -> None:
    assert check("class", policy=False).stage == "parse"


MISTAKES = {
    "wrong axis": (
        metric("return (sample.boxes[:, 2:] - sample.boxes[:, :2]).max(axis=0)", level="object"),
        """\
Failed in stage fixtures: wrong-shape (the fixture "one box").
measure must return shape (1,) for one box, not (2,)
Returned: float32 array of shape (2,), from 50 to 50
Advice: Give one score for each box, np.zeros(0) for none; reduce along axis=1, not 0. \
For one score an image write level = "image".""",
    ),
    "max of no boxes": (
        metric("return np.full(len(sample.boxes), sample.boxes[:, 0].max())", level="object"),
        """\
Failed in stage fixtures: exception (the fixture "no boxes").
ValueError: zero-size array to reduction operation maximum which has no identity
Line 8: return np.full(len(sample.boxes), sample.boxes[:, 0].max())
Advice: There may be no boxes, no predictions, and a crop without pixels: handle each first, with \
np.zeros(0) for no boxes at object level and a fixed score everywhere else.""",
    ),
    "zero by zero": (
        metric("w, h = (sample.boxes[:, 2:] - sample.boxes[:, :2]).T\nreturn w / h", level="object"),
        """\
Failed in stage fixtures: not-finite (the fixture "a box without width and one without height").
measure returned nan or inf: 2 of 3, the first at index 1
Returned: float32 array of shape (3,), from 0 to 0
Advice: Guard the divisor and the argument of log with np.maximum(x, 1e-6), that of sqrt with \
np.maximum(x, 0), and skip empty crops before taking a mean, std or max.""",
    ),
    "division by no boxes": (
        metric("return 1 / len(sample.boxes)"),
        """\
Failed in stage fixtures: exception (the fixture "no boxes").
ZeroDivisionError: division by zero
Line 8: return 1 / len(sample.boxes)
Advice: Guard the divisor: max(x, 1e-6); boxes may have no width or height.""",
    ),
    "missing import": (
        metric("return np.mean(sample.image)", top="\n\nfrom metricsmith.sandbox import Metric\n"),
        f"""\
Failed in stage fixtures: exception{FIRST}
NameError: name 'np' is not defined
Line 8: return np.mean(sample.image)
Advice: Import or define the name before it is used.""",
    ),
    "module that is not there": (
        metric("return 1.0", top="import skimage\nfrom metricsmith.sandbox import Metric\n"),
        """\
Failed in stage fixtures: exception (loading the file).
ModuleNotFoundError: No module named 'skimage'
Line 1: import skimage
Advice: Use only numpy, cv2, scipy, math, statistics, itertools, functools, collections, dataclasses, typing \
and metricsmith.sandbox.""",
    ),
    "list": (
        metric("return [1.0 for box in sample.boxes]", level="object"),
        f"""\
Failed in stage fixtures: wrong-type{FIRST}
measure must return a numpy array of floats, one for each box
Returned: list of length 2
Advice: Return np.array(values, dtype=np.float64), one for each box, in every branch. For one score an image \
write level = "image".""",
    ),
    "int array": (
        metric("return np.arange(len(sample.boxes))", level="object"),
        f"""\
Failed in stage fixtures: wrong-dtype{FIRST}
measure must return floats, not int64
Returned: int64 array of shape (2,), from 0 to 1
Advice: Return floats: values.astype(np.float64).""",
    ),
    "scalar for boxes": (
        metric("return 0.5", level="object"),
        f"""\
Failed in stage fixtures: wrong-type{FIRST}
measure must return a numpy array of floats, one for each box
Returned: float 0.5
Advice: Return np.array(values, dtype=np.float64), one for each box, in every branch. For one score an image \
write level = "image".""",
    ),
    "array for an image": (
        metric("return sample.image.mean(axis=2)"),
        f"""\
Failed in stage fixtures: wrong-shape{FIRST}
level is image, so measure must return one float (or K for rank), not shape (120, 160)
Returned: float64 array of shape (120, 160), from 27 to 237.333
Advice: Reduce to one number, as float(values.mean()); for one score a box write level = "object".""",
    ),
    "forgotten return": (
        metric("sample.image.mean()"),
        f"""\
Failed in stage fixtures: wrong-type{FIRST}
measure must return one float for an image
Returned: NoneType
Advice: Return float(value), in every branch.""",
    ),
    "three numbers and no rank": (
        metric("return sample.image.mean(axis=(0, 1))"),
        None,
    ),
    "cv2 on int64": (
        metric("return cv2.cvtColor(sample.image.astype(np.int64), cv2.COLOR_RGB2GRAY).mean()"),
        None,
    ),
    "resize of an empty crop": (
        metric("return cv2.resize(sample.image[:0], (8, 8)).mean()"),
        f"""\
Failed in stage fixtures: exception{FIRST}
cv2.error: !ssize.empty() in resize
Line 8: return cv2.resize(sample.image[:0], (8, 8)).mean()
Advice: cv2 takes uint8 or float32 arrays that are not empty: skip crops without pixels, convert with \
.astype(np.float32), and make slices contiguous with np.ascontiguousarray.""",
    ),
    "float image assumed": (
        metric("image = sample.image\nimage /= 255\nreturn image.mean()"),
        f"""\
Failed in stage fixtures: mutated-input{FIRST}
ValueError: output array is read-only
Line 9: image /= 255
Advice: Make a new array: image = sample.image.copy(), or sample.image / 255.0 for floats.""",
    ),
    "writing into the image": (
        metric("sample.image[:] = 0\nreturn 1.0"),
        f"""\
Failed in stage fixtures: mutated-input{FIRST}
ValueError: assignment destination is read-only
Line 8: sample.image[:] = 0
Advice: Make a new array: image = sample.image.copy(), or sample.image / 255.0 for floats.""",
    ),
    "no previous frame": (
        metric("return float(len(sample.previous_boxes))"),
        f"""\
Failed in stage fixtures: exception{FIRST}
TypeError: object of type 'NoneType' has no len()
Line 8: return float(len(sample.previous_boxes))
Advice: group, frame, previous_* and next_* may be None: return a fixed score then.""",
    ),
    "field that is not there": (
        metric("return float(sample.height)"),
        f"""\
Failed in stage fixtures: exception{FIRST}
AttributeError: 'Sample' object has no attribute 'height'
Line 8: return float(sample.height)
Advice: Sample has image, boxes, labels, class_names, predictions (boxes, labels, scores), group, frame, \
previous_boxes, previous_labels, next_boxes, next_labels; the last four, group and frame may be None.""",
    ),
    "z-score of one row": (
        metric("return sample.boxes[:, 0]", level="object", rank="return (m - m.mean()) / m.std()"),
        """\
Failed in stage fixtures: not-finite (rank of 1 row).
rank returned nan or inf: 1 of 1, the first at index 0
Returned: float64 array of shape (1,)
Advice: Guard the divisor and the argument of log with np.maximum(x, 1e-6), that of sqrt with \
np.maximum(x, 0), and skip empty crops before taking a mean, std or max.""",
    ),
    "max of no rows": (
        metric("return sample.boxes[:, 0]", level="object", rank="return m / max(1.0, m.max())"),
        """\
Failed in stage fixtures: exception (rank of 0 rows).
ValueError: zero-size array to reduction operation maximum which has no identity
Line 10: return m / max(1.0, m.max())
Advice: There may be no boxes, no predictions, and a crop without pixels: handle each first, with \
np.zeros(0) for no boxes at object level and a fixed score everywhere else.""",
    ),
    "one score too few": (
        metric("return sample.image.mean()", rank="return np.diff(m)"),
        None,
    ),
    "file": (
        metric("np.save(open(os.memfd_create('x'), 'wb'), sample.boxes)\nreturn 1.0"),
        f"""\
Failed in stage fixtures: exception{FIRST}
PermissionError: [Errno 1] Operation not permitted
Line 8: np.save(open(os.memfd_create('x'), 'wb'), sample.boxes)
Advice: Read and write no files, start no process or thread, and do not sleep; everything a metric may \
know is in `sample`.""",
    ),
    "out of memory": (
        metric("return np.ones(1 << 30).sum()"),
        f"""\
Failed in stage fixtures: out-of-memory{FIRST}
MemoryError: more than 1024 MiB are needed: Unable to allocate 8.00 GiB for an array with shape \
(1073741824,) and data type float64
Line 8: return np.ones(1 << 30).sum()
Advice: Work on crops, shrink the image with cv2.resize first, and avoid arrays of size boxes × pixels or \
rows × rows.""",
    ),
    "endless output": (
        metric("while True: print('x' * 1_000_000)"),
        f"""\
Failed in stage fixtures: too-much-output{FIRST}
the metric printed more than 163,840 bytes
Advice: Remove the print calls.""",
    ),
    "end of the process": (
        metric("os._exit(0)"),
        f"""\
Failed in stage fixtures: crashed{FIRST}
the metric's process exited with status 0
Advice: Check the shapes, dtypes and contiguity of what goes into numpy and cv2; do not end the process.""",
    ),
    "sys.exit": (
        metric("sys.exit(0)"),
        f"""\
Failed in stage fixtures: exception{FIRST}
SystemExit: 0
Line 8: sys.exit(0)
Advice: Do not end the process; return a score for every image.""",
    ),
    "segmentation fault": (
        metric("ctypes.string_at(0)"),
        f"""\
Failed in stage fixtures: crashed{FIRST}
the metric's process was ended by SIGSEGV
Advice: Check the shapes, dtypes and contiguity of what goes into numpy and cv2; do not end the process.""",
    ),
    "forged results": (
        metric(
            "for fd in range(3, 64):\n"
            "    try: os.write(fd, b'x' * 4096)\n"
            "    except OSError: pass\n"
            "return 1.0"
        ),
        f"""\
Failed in stage fixtures: crashed{FIRST}
the process sent something that is no result
Advice: Check the shapes, dtypes and contiguity of what goes into numpy and cv2; do not end the process.""",
    ),
    "unseeded random numbers": (
        metric("return np.random.rand()"),
        """\
Failed in stage sample: not-deterministic.
measure gave the same image other numbers in another process and order
Advice: Use no clock and no unseeded random numbers (np.random.default_rng(0), made inside measure, is \
fine), and keep nothing on self or in globals between calls of measure: of \
other frames there are previous_boxes and next_boxes; of other images, what rank(self, measurements) gets: \
one row for each image (or box), in no order to rely on.""",
    ),
    "score that depends on the order": (
        metric("self.n = getattr(self, 'n', 0) + 1\nreturn self.n"),
        None,
    ),
    "random rank": (
        metric("return sample.image.mean()", rank="return m + np.random.rand(len(m))"),
        """\
Failed in stage sample: not-deterministic.
rank gave the same measurements other scores in another process
Advice: Use no clock and no unseeded random numbers (np.random.default_rng(0), made inside measure, is \
fine), and keep nothing on self or in globals between calls of measure: of \
other frames there are previous_boxes and next_boxes; of other images, what rank(self, measurements) gets: \
one row for each image (or box), in no order to rely on.""",
    ),
    "constant": (
        metric("return np.ones(len(sample.boxes))", level="object"),
        """\
Failed in stage sample: constant.
all 40 boxes have the same score, 1
Advice: Measure something that differs between images or boxes; check thresholds, clipping and rounding.""",
    ),
    "image of the sample": (
        metric(
            "assert sample.image.shape != (96, 128, 3) or sample.image[0, 0, 0] < 200, 'bright'\nreturn 1.0"
        ),
        """\
Failed in stage sample: exception (image 16 of 20).
AssertionError: bright
Line 8: assert sample.image.shape != (96, 128, 3) or sample.image[0, 0, 0] < 200, 'bright'
Advice: Mend the line above; it must work for every image, with and without boxes.""",
    ),
}
SHORT = {
    "three numbers and no rank": "measure gives 3 numbers an image, and there is no rank method to turn",
    "cv2 on int64": "cv2.error: Unsupported depth of input image: 'VDepth::contains(depth)' where 'depth'",
    "one score too few": "rank gets 20 rows, so it must return shape (20,), not (19,)",
    "score that depends on the order": "measure gave the same image other numbers in another process",
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_explained(name: str) -> None:
    source, text = MISTAKES[name]
    if text is None:
        assert SHORT[name] in failure(source)
    else:
        assert failure(source) == text


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("x = 1", "no-metric-class"),
        (metric("return 1.0") + metric("return 1.0").replace("class M", "class N"), "many-metric-classes"),
        (metric("return 1.0").replace("measure", "score"), "no-measure"),
        (metric("return 1.0", level="box"), "bad-level"),
        (metric("return 1.0").replace('"low"', '"bottom"'), "bad-suspicious"),
        (metric("return 1.0") + "    def __init__(self, a): pass\n", "exception"),
    ],
)
def test_class_is_checked_without_policy_too(source: str, kind: str) -> None:
    assert failure(source).startswith(f"Failed in stage fixtures: {kind} (loading the file).\n")


@pytest.mark.parametrize("body", ["os.read(3, 1)", "while True: pass"])
def test_hanging_measure_is_stopped_in_time(body: str) -> None:
    start = time.monotonic()
    text = failure(metric(f"{body}\nreturn 1.0"), Limits(seconds_per_call=1))
    assert time.monotonic() - start < 5
    assert text == (
        f"Failed in stage fixtures: too-slow{FIRST}\n"
        "measure did not end within 1 s and was stopped\n"
        "Advice: Shrink the image with cv2.resize first, replace loops over pixels by numpy or cv2 calls, "
        "and bound every while loop."
    )


def test_memory_taken_bit_by_bit_runs_out() -> None:
    source = metric("kept = []\nwhile True: kept.append(bytearray(10 << 20))")
    assert failure(source, Limits(memory=200 << 20)) == (
        f"Failed in stage fixtures: out-of-memory{FIRST}\n"
        "MemoryError: more than 200 MiB are needed\n"
        "Line 9: while True: kept.append(bytearray(10 << 20))\n"
        "Advice: Work on crops, shrink the image with cv2.resize first, and avoid arrays of size boxes × "
        "pixels or rows × rows."
    )


def test_hanging_file_is_stopped() -> None:
    text = failure(metric("return 1.0") + "while True: pass\n", Limits(seconds_per_call=1))
    assert "(loading the file).\nthe file's own code did not end within 1 s and was stopped\n" in text


def test_slow_measure_is_judged_by_cpu_time_on_average() -> None:
    body = (
        "end = time.process_time() + 0.4\nwhile time.process_time() < end: pass\nreturn sample.image.mean()"
    )
    text = failure(metric(body), Limits(cpu_seconds_per_image=0.001))
    assert text.startswith(
        "Failed in stage fixtures: too-slow.\n"
        "measure took more than 2 ms of CPU time for an image of 640×480, on average\n"
    )


def test_metric_that_waits_is_too_slow_but_not_one_that_a_busy_machine_keeps_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("metricsmith.sandbox.limits._WALL_PER_CPU", 0.0)
    source = metric("time.sleep(0.2)\nreturn sample.image.mean()")
    limits = Limits(seconds_per_call=1, jailed=False)
    assert "too-slow.\nmeasure waits instead of computing\n" in failure(source, limits)
    monkeypatch.setattr(Child, "queued_seconds", lambda _: time.monotonic())
    assert check(source, SCENES, policy=False, limits=limits).failure is None


def test_time_without_a_core_is_told_and_sleep_is_not() -> None:
    core = min(os.sched_getaffinity(0))
    start = f"import os, time; os.sched_setaffinity(0, [{core}]); print(flush=True)\n"
    spin, rest = "while True: pass", "time.sleep(1000)"
    with ExitStack() as stack:
        found = []
        for body in (spin, spin, spin, rest):
            child = subprocess.Popen([sys.executable, "-c", start + body], stdout=subprocess.PIPE)
            stack.enter_context(child)
            stack.callback(child.kill)
            assert child.stdout is not None
            child.stdout.readline()
            found.append(child.pid)
        time.sleep(0.2)  # the last one falls asleep
        before = [queued_seconds(pid) for pid in found]
        time.sleep(1.5)
        *spinning, asleep = (queued_seconds(pid) - old for pid, old in zip(found, before, strict=True))
    assert sum(spinning) > 1.0
    assert asleep < 0.1


def test_process_that_ends_uncleanly_spoils_its_scores() -> None:
    body = """\
if threading.active_count() < 3:
    threading.Thread(target=lambda: (time.sleep(1), os._exit(3))).start()
return sample.image.mean()"""
    rank = "time.sleep(2)\nreturn m"
    # in the jail there are no threads
    found = failure(metric(body, rank=rank), Limits(jailed=False))
    assert "the metric's process exited with status 3" in found


def test_secrets_of_the_parent_are_not_in_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_API_KEY", "secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy")
    # the three on the last line are cv2's own doing
    body = """\
known = {"HOME", "LC_ALL", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PATH"}
known |= {"OPENCV_OPENCL_RUNTIME", "PYTHONHASHSEED", "TMPDIR"}
known |= {"LD_LIBRARY_PATH", "QT_QPA_FONTDIR", "QT_QPA_PLATFORM_PLUGIN_PATH"}
assert set(os.environ) <= known, set(os.environ) - known
return sample.image.mean()"""
    found = check(metric(body), SCENES, policy=False)
    assert found.failure is None


def test_file_in_the_checkout_gets_no_content(tmp_path: Path) -> None:
    target = tmp_path / "written.txt"
    text = failure(metric(f"file = open({str(target)!r}, 'w')\nfile.write('x')\nfile.flush()\nreturn 1.0"))
    assert "PermissionError: [Errno 1] Operation not permitted: 'written.txt'" in text
    assert not target.exists()


BEFORE = frozenset(path.name for path in Path("/proc").glob("[0-9]*"))
"""Processes that are no doing of these tests."""


def processes_of_ours() -> list[str]:
    """The sessions of all metrics' processes and of what they started, but not the zygote's own."""
    pid = zygote().pid
    command = Path(f"/proc/{pid}/cmdline").read_bytes()
    return [
        folder.name
        for folder in Path("/proc").glob("[0-9]*")
        if folder.name not in (str(pid), *BEFORE) and command_of(folder) == command
    ]


def command_of(folder: Path) -> bytes:
    try:
        return (folder / "cmdline").read_bytes()
    except OSError:
        return b""


def assert_all_gone() -> None:
    """Killed processes need a moment to go."""
    deadline = time.monotonic() + 5
    while found := processes_of_ours():
        assert time.monotonic() < deadline, found
        time.sleep(0.02)


@pytest.mark.parametrize("fork", ["os.fork()", "ctypes.CDLL(None).fork()"])
def test_metric_that_forks_leaves_nothing_behind(fork: str) -> None:
    body = f"if {fork} == 0:\n    time.sleep(1000)\nreturn sample.image.mean()"
    found = check(metric(body), SCENES[:3], policy=False)
    assert found.failure is not None or "ctypes" in fork  # the C function only returns -1
    assert_all_gone()
    assert check(metric(body), SCENES[:3], policy=False, limits=Limits(jailed=False)).accepted
    assert_all_gone()


def test_killed_metric_leaves_no_process_and_no_open_file() -> None:
    before = len(os.listdir("/proc/self/fd"))
    failure(metric("os.fork()\nwhile True: pass"), Limits(seconds_per_call=1, jailed=False))
    assert_all_gone()
    assert len(os.listdir("/proc/self/fd")) == before


def test_failure_is_the_same_each_time() -> None:
    source = metric("raise ValueError(object(), os.path.abspath(os.__file__))")
    first = failure(source)
    assert "ValueError: (<object object at 0x…>, 'os.py')\n" in first
    assert {failure(source), failure(source)} == {first}


def test_opencv_says_the_same_wherever_an_array_lies() -> None:
    """With IPP the last bits of these would depend on the addresses that the arrays happen to get."""
    measure = """\
total = 0.0
for side in range(8, 64):
    grey = np.array(sample.image[:side, :side].mean(axis=2), np.float32)
    grey = cv2.GaussianBlur(grey, (0, 0), 1.0)
    across = cv2.Sobel(grey, cv2.CV_32F, 1, 0, ksize=3, scale=0.125)
    down = cv2.Sobel(grey, cv2.CV_32F, 0, 1, ksize=3, scale=0.125)
    total += float(cv2.magnitude(across, down).sum(dtype=np.float64))
return total"""
    found = check(metric(measure), SCENES, policy=False)
    assert found.failure is None
