"""The filter itself, run by a small interpreter of classic BPF for both processors, and the self-test."""

from __future__ import annotations

import platform
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from metricsmith.sandbox import Limits, check, jail, launch, selftest
from metricsmith.sandbox.errors import UnsafeError
from metricsmith.sandbox.syscalls import ARCHITECTURES, Architecture
from metricsmith.sandbox.trespass import ATTEMPTS

ALLOW, EPERM, KILL = 0x7FFF0000, 0x00050001, 0x80000000


def run(program: bytes, number: int, *arguments: int, audit: int) -> int:
    """What the filter returns for a system call."""
    data = struct.pack("<IIQ6Q", number, audit, 0, *(list(arguments) + [0] * 6)[:6])
    steps = list(struct.iter_unpack("<HBBI", program))
    place, value = 0, 0
    while True:
        code, if_true, if_false, k = steps[place]
        place += 1
        if code == 0x20:
            (value,) = struct.unpack_from("<I", data, k)
        elif code == 0x06:
            return int(k)
        else:
            holds = {0x15: value == k, 0x35: value >= k, 0x45: bool(value & k)}[code]
            place += if_true if holds else if_false


@pytest.fixture(autouse=True)
def leave_nothing() -> Iterator[None]:
    yield
    Path("/tmp/metricsmith-breach").unlink(missing_ok=True)


@pytest.fixture(params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> Architecture:
    return ARCHITECTURES[request.param]


def test_only_what_is_named_is_allowed(architecture: Architecture) -> None:
    program = jail.program(architecture)
    named = set(architecture.allowed.values())
    special = {architecture.mmap, architecture.mprotect, architecture.fcntl, architecture.prlimit64}
    for number in set(range(600)) - special:
        result = run(program, number, audit=architecture.audit)
        assert result == (ALLOW if number in named else EPERM), number


def test_memory_is_never_executable(architecture: Architecture) -> None:
    program = jail.program(architecture)
    for number in (architecture.mmap, architecture.mprotect):
        for protection in range(8):
            result = run(program, number, 0, 4096, protection, audit=architecture.audit)
            assert result == (EPERM if protection & 4 else ALLOW)


def test_limits_of_this_process_only(architecture: Architecture) -> None:
    program = jail.program(architecture)
    assert run(program, architecture.prlimit64, 0, audit=architecture.audit) == ALLOW
    assert run(program, architecture.prlimit64, 1, audit=architecture.audit) == EPERM


def test_few_commands_of_fcntl(architecture: Architecture) -> None:
    program = jail.program(architecture)
    allowed = [
        n for n in range(1100) if run(program, architecture.fcntl, 3, n, audit=architecture.audit) == ALLOW
    ]
    assert allowed == [1, 3, 1030]


def test_other_processors_calls_are_death(architecture: Architecture) -> None:
    program = jail.program(architecture)
    assert run(program, 0, audit=0x40000003) == KILL, "32-bit calls have other numbers"
    assert run(program, 0x40000000 | 1, audit=architecture.audit) == KILL, "so have those of x32"


def test_numbers_are_those_of_the_c_librarys_headers() -> None:
    """Where there is a C compiler: the numbers of this machine's processor."""
    mine = ARCHITECTURES[platform.machine()]
    expected = {"mmap": mine.mmap, "mprotect": mine.mprotect, "fcntl": mine.fcntl, **mine.allowed}
    expected |= {"prlimit64": mine.prlimit64, "capset": mine.capset}
    text = "#include <sys/syscall.h>\n" + "\n".join(f'"{name}" SYS_{name}' for name in expected)
    try:
        done = subprocess.run(["cc", "-E", "-P", "-"], input=text, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no C preprocessor here")
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith('"')]
    assert {name.strip('"'): int(number) for name, number in lines} == expected


def test_the_self_test_finds_the_jail_closed() -> None:
    selftest.forget()
    assert selftest.walls() in ("A", "B")


def test_every_attempt_of_the_self_test_succeeds_without_a_jail() -> None:
    """In a throw-away process; those that need privileges, or a kernel that allows them, may fail."""
    code = "from metricsmith.sandbox.trespass import breaches; print(*breaches())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    missing = set(ATTEMPTS) - set(done.stdout.split())
    assert missing <= {
        *("become-another-user", "trace-its-parent", "set-up-io-uring", "remove-a-file", "run-a-program")
    }


METRIC = """\
from metricsmith.sandbox import Metric

class M(Metric):
    level = "image"
    suspicious = "low"
    def measure(self, sample):
        return float(sample.image.mean())
"""


def test_a_jail_with_a_hole_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unjailed child stands for a kernel that only says that it jails."""
    child = launch.Child
    monkeypatch.setattr(selftest, "Child", lambda memory, cpu: child(memory, cpu, jailed=False))
    selftest.forget()
    with pytest.raises(UnsafeError, match=r"it lets a metric read-a-file, .*no metric was run"):
        check(METRIC)
    selftest.forget()


def test_without_a_jail_only_on_demand() -> None:
    assert check(METRIC, limits=Limits(jailed=False)).accepted
