"""The world that attacks are let loose in, and the look around after each."""

from __future__ import annotations

import os
import pickle
import platform
import select
import socket
from pathlib import Path

import cv2
import numpy as np

__all__ = ["Arena"]

_NUMBERS = {
    "x86_64": {"OPENAT": 257, "NAME_TO_HANDLE": 303, "SECCOMP": 317, "USERFAULTFD": 323, "KEYCTL": 250},
    "aarch64": {"OPENAT": 56, "NAME_TO_HANDLE": 264, "SECCOMP": 277, "USERFAULTFD": 282, "KEYCTL": 219},
}


class Arena:
    """A folder with a canary in it, and two listeners. `trouble` says what is no longer as it was."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "sub").mkdir(parents=True)
        self.canary = folder / "canary.txt"
        self.canary.write_text("1234")
        (folder / "data.yml").write_text("%YAML:1.0\n---\nx: 1\n")
        (folder / "data.npy").write_bytes(b"")
        np.save(folder / "data.npy", np.array({"x": 1}), allow_pickle=True)
        (folder / "data.pickle").write_bytes(pickle.dumps(1))
        cv2.imwrite(str(folder / "picture.png"), np.zeros((4, 4, 3), np.uint8))
        self.tcp = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.unix = socket.socket(socket.AF_UNIX)
        self.unix.bind(str(folder / "socket"))
        self.unix.listen(512)
        self.facts: dict[str, object] = {
            "CANARY": str(self.canary),
            "FOLDER": str(folder),
            "PARENT": os.getpid(),
            "PORT": self.tcp.getsockname()[1],
            "UNIX": str(folder / "socket"),
            "PICTURE": str(folder / "picture.png"),
            "YAML": str(folder / "data.yml"),
            "PICKLE": str(folder / "data.npy"),
            **{f"NR_{name}": number for name, number in _NUMBERS[platform.machine()].items()},
        }
        self._before = self._look()

    def close(self) -> None:
        self.tcp.close()
        self.unix.close()

    def trouble(self) -> list[str]:
        """What has changed since the beginning; empty if all is well."""
        now = self._look()
        return [
            f"{name}: {self._before[name]} → {now[name]}" for name in now if now[name] != self._before[name]
        ]

    def _look(self) -> dict[str, object]:
        status = self.canary.stat() if self.canary.exists() else None
        called, _, _ = select.select([self.tcp, self.unix], [], [], 0)
        places = (Path("/tmp/metricsmith-attack"), Path("/dev/shm/metricsmith-attack"))
        return {
            "canary": self.canary.read_text() if status else None,
            "status": status and (status.st_mtime_ns, status.st_mode, status.st_nlink),
            "folder": sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*")),
            "calls": len(called),
            "elsewhere": [str(place) for place in places if place.exists()],
            "working folder": os.getcwd(),
            "descriptors": len(os.listdir("/proc/self/fd")),
        }
