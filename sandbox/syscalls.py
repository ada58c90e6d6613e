"""Which system calls a metric needs to compute, by processor. Numbers only; `jail` makes them a filter.

Whatever is not named here is refused: opening or looking up any path, sockets, processes and threads,
signals to others, shared memory, timers and sleeping, io_uring. `jail` allows some with few arguments only.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass

__all__ = ["ARCHITECTURES", "Architecture", "this_architecture"]


@dataclass(frozen=True, slots=True)
class Architecture:
    """One processor's numbers."""

    audit: int
    """What the kernel calls the processor in a filter's data (AUDIT_ARCH_*)."""
    allowed: dict[str, int]
    """System calls that are allowed with any arguments."""
    mmap: int
    mprotect: int
    fcntl: int
    prlimit64: int
    capset: int


_X86_64 = Architecture(
    audit=0xC000003E,
    allowed={
        "read": 0,
        "write": 1,
        "close": 3,
        "lseek": 8,
        "munmap": 11,
        "brk": 12,
        "rt_sigaction": 13,
        "rt_sigprocmask": 14,
        "rt_sigreturn": 15,
        "pread64": 17,
        "sched_yield": 24,
        "mremap": 25,
        "madvise": 28,
        "getpid": 39,
        "recvmsg": 47,
        "exit": 60,
        "gettimeofday": 96,
        "getrusage": 98,
        "sigaltstack": 131,
        "gettid": 186,
        "futex": 202,
        "sched_getaffinity": 204,
        "restart_syscall": 219,
        "clock_gettime": 228,
        "clock_getres": 229,
        "exit_group": 231,
        "getcpu": 309,
        "getrandom": 318,
        "rseq": 334,
    },
    mmap=9,
    mprotect=10,
    fcntl=72,
    prlimit64=302,
    capset=126,
)

_AARCH64 = Architecture(
    audit=0xC00000B7,
    allowed={
        "close": 57,
        "lseek": 62,
        "read": 63,
        "write": 64,
        "pread64": 67,
        "exit": 93,
        "exit_group": 94,
        "futex": 98,
        "clock_gettime": 113,
        "clock_getres": 114,
        "sched_getaffinity": 123,
        "sched_yield": 124,
        "restart_syscall": 128,
        "sigaltstack": 132,
        "rt_sigaction": 134,
        "rt_sigprocmask": 135,
        "rt_sigreturn": 139,
        "getrusage": 165,
        "getcpu": 168,
        "gettimeofday": 169,
        "getpid": 172,
        "gettid": 178,
        "recvmsg": 212,
        "brk": 214,
        "munmap": 215,
        "mremap": 216,
        "madvise": 233,
        "getrandom": 278,
        "rseq": 293,
    },
    mmap=222,
    mprotect=226,
    fcntl=25,
    prlimit64=261,
    capset=91,
)

ARCHITECTURES = {"x86_64": _X86_64, "aarch64": _AARCH64}


def this_architecture() -> Architecture | None:
    """The processor that this process runs on; None if its numbers are not known here."""
    return ARCHITECTURES.get(platform.machine())
