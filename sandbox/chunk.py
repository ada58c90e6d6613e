"""Samples as bytes in a sealed memfd: how images reach a child without a file and without pickle.

Layout: 8 bytes length of a JSON header, the header, then the arrays, each at a multiple of 64 bytes. The fd
is sealed, so that no process can change what another one reads; the child maps it read-only. Only parents
write chunks, so `unpack` trusts its input.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import struct
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from .interface import Predictions, Sample
from .limits import Limits

__all__ = ["Chunk", "chunks", "pack_bytes", "read_bytes", "unpack"]

_IMAGES = 16
_BYTES = 64 << 20
_ALIGN = 64
_LENGTH = struct.Struct("<Q")
_GRAIN = 1 << 20
_SPARE = 4
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | 0x10
"""The last is F_SEAL_FUTURE_WRITE: only the mapping that exists already can write."""
_DTYPES = {"image": np.uint8, "boxes": np.float32, "labels": np.int64, "scores": np.float32}


class _Memory:
    """A memfd that only this process can write, by the mapping that it keeps."""

    def __init__(self, size: int) -> None:
        self.size = -(-size // _GRAIN) * _GRAIN
        self.fd = os.memfd_create("metricsmith-samples", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.fd, self.size)
            self.map = mmap.mmap(self.fd, self.size)
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, _SEALS)
        except BaseException:
            os.close(self.fd)
            raise

    def close(self) -> None:
        self.map.close()
        os.close(self.fd)


class _Pool:
    """Memory that is used again: fresh pages cost more than the copying."""

    def __init__(self) -> None:
        self._free: list[_Memory] = []
        self._open = True

    def take(self, size: int) -> _Memory:
        for place, memory in enumerate(self._free):
            if memory.size >= size:
                return self._free.pop(place)
        return _Memory(size)

    def give_back(self, memory: _Memory) -> None:
        self._free.append(memory)
        while self._free and (len(self._free) > _SPARE or not self._open):
            self._free.pop(0).close()

    def close(self) -> None:
        self._open = False
        while self._free:
            self._free.pop().close()


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive samples in shared memory."""

    fd: int
    """The sealed memfd."""
    first: int
    """The number of the first sample, from 0."""
    boxes: tuple[int, ...]
    """Boxes in each sample."""
    pixels: tuple[int, ...]
    """Pixels that each image counts for; see `Limits.counted`."""
    close: Callable[[], None]
    """Give the memory back, once no child works on it any more; later chunks will lie in it."""

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.boxes)


def chunks(samples: Iterable[Sample]) -> Generator[Chunk]:
    """`samples` in chunks of at most 16 images and 64 MiB (a larger image has one of its own)."""
    pool = _Pool()
    batch: list[Sample] = []
    first = size = 0
    try:
        for sample in samples:
            if batch and (len(batch) == _IMAGES or size + sample.image.nbytes > _BYTES):
                yield _pack(batch, first, pool)
                first += len(batch)
                batch, size = [], 0
            batch.append(sample)
            size += sample.image.nbytes
        if batch:
            yield _pack(batch, first, pool)
    finally:
        pool.close()


def _arrays(sample: Sample) -> dict[str, npt.NDArray[Any] | None]:
    return {
        "image": sample.image,
        "boxes": sample.boxes,
        "labels": sample.labels,
        "predictions.boxes": sample.predictions.boxes,
        "predictions.labels": sample.predictions.labels,
        "predictions.scores": sample.predictions.scores,
        "previous_boxes": sample.previous_boxes,
        "previous_labels": sample.previous_labels,
        "next_boxes": sample.next_boxes,
        "next_labels": sample.next_labels,
    }


def _dtype(name: str) -> npt.DTypeLike:
    return _DTYPES[name.replace("_", ".").rsplit(".", 1)[-1]]


def _pack(samples: Sequence[Sample], first: int, pool: _Pool) -> Chunk:
    offset = 0
    entries, blocks = [], []
    for sample in samples:
        places: dict[str, tuple[int, tuple[int, ...]] | None] = {}
        for name, array in _arrays(sample).items():
            if array is None:
                places[name] = None
                continue
            block = np.ascontiguousarray(array, _dtype(name))
            places[name] = offset, block.shape
            blocks.append((offset, block))
            offset += -(-block.nbytes // _ALIGN) * _ALIGN
        entries.append(
            {
                "class_names": sample.class_names,
                "group": sample.group,
                "frame": sample.frame,
                "arrays": places,
            }
        )
    header = json.dumps(entries).encode()
    start = _start(len(header))
    memory = pool.take(start + offset)
    memory.map[: _LENGTH.size + len(header)] = _LENGTH.pack(len(header)) + header
    for place, block in blocks:
        np.ndarray(block.shape, block.dtype, memory.map, start + place)[...] = block
    return Chunk(
        memory.fd,
        first,
        tuple(len(sample.boxes) for sample in samples),
        tuple(Limits.counted(*sample.image.shape[:2]) for sample in samples),
        partial(pool.give_back, memory),
    )


def _start(header: int) -> int:
    return -(-(_LENGTH.size + header) // _ALIGN) * _ALIGN


def unpack(fd: int) -> list[Sample]:
    """The samples in `fd`. Their arrays are read-only views of its pages, which live as long as they do."""
    memory = mmap.mmap(fd, _size(fd), access=mmap.ACCESS_READ)
    (length,) = _LENGTH.unpack(memory[: _LENGTH.size])
    entries = json.loads(memory[_LENGTH.size : _LENGTH.size + length])
    start = _start(length)

    def view(entry: dict[str, Any], name: str) -> Any:
        place = entry["arrays"][name]
        return place and np.ndarray(tuple(place[1]), _dtype(name), memory, start + place[0])

    return [
        Sample(
            image=view(entry, "image"),
            boxes=view(entry, "boxes"),
            labels=view(entry, "labels"),
            class_names=tuple(entry["class_names"]),
            predictions=Predictions(
                *(view(entry, f"predictions.{name}") for name in ("boxes", "labels", "scores"))
            ),
            group=entry["group"],
            frame=entry["frame"],
            previous_boxes=view(entry, "previous_boxes"),
            previous_labels=view(entry, "previous_labels"),
            next_boxes=view(entry, "next_boxes"),
            next_labels=view(entry, "next_labels"),
        )
        for entry in entries
    ]


def pack_bytes(data: bytes) -> int:
    """A memfd that holds `data`; the caller closes it."""
    fd = os.memfd_create("metricsmith-job", os.MFD_CLOEXEC)
    with open(fd, "wb", closefd=False) as file:
        file.write(data)
    return fd


def read_bytes(fd: int) -> bytes:
    """Everything in the memfd `fd`."""
    return os.pread(fd, _size(fd), 0)


def _size(fd: int) -> int:
    """Bytes in a memfd. Not by fstat, which a jail refuses: newer C libraries make it a look at a path."""
    return os.lseek(fd, 0, os.SEEK_END)
