"""The walls: what a process may still ask of the kernel once generated code is about to run in it.

`limit` bounds what it uses, `lock` shuts it in for good, by the kernel's own means and without privileges:

- seccomp: an allow-list of system calls for computing. Nothing can be opened, looked up, started, connected
  to, signalled or mapped executable. Everything else fails with EPERM.
- Landlock, where the kernel has it, with no rules at all: the same for files and TCP, once more.
- no new privileges, and no capabilities, also for root.

Says nothing about Python: whoever holds the interpreter is inside the walls. Linux on x86-64 and aarch64.
"""

from __future__ import annotations

import ctypes
import os
import resource
import struct
import sys
from typing import Literal

from .syscalls import Architecture, this_architecture

__all__ = ["Walls", "limit", "lock", "program"]

Walls = Literal["A", "B"]
"""A: seccomp and Landlock; B: seccomp alone (gVisor, kernels before 5.13)."""

_SPARE = 32 << 20
_OPEN_FILES = 64

_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38
_CAPABILITY_VERSION_3, _CAPABILITIES = 0x20080522, 64

_LANDLOCK_CREATE, _LANDLOCK_RESTRICT_SELF = 444, 446
_LANDLOCK_VERSION = 1
_LANDLOCK_FILES = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""By version of Landlock, how many kinds of access to files there are."""

_LOAD, _EQUAL, _AT_LEAST, _HAS_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _AUDIT, _ARGUMENTS = 0, 4, 16
_KILL, _ALLOW, _EPERM = 0x80000000, 0x7FFF0000, 0x00050001
_X32 = 0x40000000
_PROT_EXEC = 4
_FCNTL_COMMANDS = (1, 3, 1030)
"""F_GETFD, F_GETFL, F_DUPFD_CLOEXEC (mmap.mmap keeps a copy of its descriptor)."""

_libc = ctypes.CDLL(None, use_errno=True)


def limit(memory: int, cpu: int) -> None:
    """Bound this process: `memory` bytes of address space more than it has, `cpu` seconds in all.

    It can write no file, and have 64 descriptors and no core dump.
    """
    with open("/proc/self/statm", encoding="ascii") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory + _SPARE))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def lock() -> Walls:
    """Shut this process in for good, and return how well. OSError: it cannot be done here."""
    architecture = this_architecture()
    if sys.platform != "linux" or architecture is None:
        raise OSError("there is no jail for this system or processor")
    _drop_capabilities(architecture)
    _checked("no_new_privs", _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    walls: Walls = "A" if _landlock() else "B"
    code = program(architecture)
    instructions = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(instructions))
    _checked("seccomp", _libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0))
    return walls


def program(architecture: Architecture) -> bytes:
    """The seccomp filter: classic BPF, 8 bytes an instruction."""
    steps = [
        _step(_LOAD, _AUDIT),
        _step(_EQUAL, architecture.audit, 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER),
        _step(_AT_LEAST, _X32, 0, 1),
        _step(_RETURN, _KILL),
    ]
    for number in architecture.allowed.values():
        steps += [_step(_EQUAL, number, 0, 1), _step(_RETURN, _ALLOW)]
    for number in (architecture.mmap, architecture.mprotect):
        steps += [
            _step(_EQUAL, number, 0, 4),
            _step(_LOAD, _ARGUMENTS + 2 * 8),
            _step(_HAS_BIT, _PROT_EXEC, 0, 1),
            _step(_RETURN, _EPERM),
            _step(_RETURN, _ALLOW),
        ]
    # of its own limits only: another process's would need its number
    steps += [
        _step(_EQUAL, architecture.prlimit64, 0, 4),
        _step(_LOAD, _ARGUMENTS),
        _step(_EQUAL, 0, 0, 1),
        _step(_RETURN, _ALLOW),
        _step(_RETURN, _EPERM),
    ]
    commands = [
        step for command in _FCNTL_COMMANDS for step in (_step(_EQUAL, command, 0, 1), _step(_RETURN, _ALLOW))
    ]
    steps += [
        _step(_EQUAL, architecture.fcntl, 0, len(commands) + 1),
        _step(_LOAD, _ARGUMENTS + 8),
        *commands,
        _step(_RETURN, _EPERM),
    ]
    return b"".join(steps)


def _step(code: int, k: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, k)


def _landlock() -> bool:
    """Whether the kernel has Landlock; from here on no file can be opened and no TCP port reached."""
    version = _libc.syscall(_LANDLOCK_CREATE, None, 0, _LANDLOCK_VERSION)
    if version < 1:
        return False
    files = (1 << _LANDLOCK_FILES.get(version, 16)) - 1
    fields = [files] + [3] * (version >= 4) + [3] * (version >= 6)  # files, TCP, signals and sockets
    rules = struct.pack(f"={len(fields)}Q", *fields)
    ruleset = _libc.syscall(_LANDLOCK_CREATE, rules, len(rules), 0)
    _checked("Landlock", ruleset)
    _checked("Landlock", _libc.syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)
    return True


def _drop_capabilities(architecture: Architecture) -> None:
    for capability in range(_CAPABILITIES):
        # fails where there is no such capability or no right to drop it: then there is nothing to lose
        _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    _checked("capset", _libc.syscall(architecture.capset, header, struct.pack("=6I", *[0] * 6)))


def _checked(what: str, result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
