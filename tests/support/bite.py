"""Runs every attack that can get its loot where nothing holds it: in a bare fork of this throw-away process.

    python bite.py FOLDER

Prints the names of those that got nothing, as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from arena import Arena
from attacks import BITES, source

from metricsmith.sandbox import Sample


def bites(name: str, folder: Path) -> bool:
    """Whether the attack gets its loot."""
    arena = Arena(folder)
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        space: dict[str, object] = {}
        image = np.zeros((8, 8, 3), np.uint8)
        try:
            exec(source(BITES[name], arena.facts), space)
            space["M"]().measure(Sample(image, np.zeros((0, 4), "f4"), np.zeros(0, "i8"), ()))  # type: ignore[operator]
        except RuntimeError as error:
            os._exit(9 if str(error) == "BITTEN" else 1)
        except BaseException as error:
            print(name, repr(error), flush=True)
        os._exit(1)
    _, status = os.waitpid(pid, 0)
    arena.close()
    for place in ("/tmp/metricsmith-attack", "/dev/shm/metricsmith-attack"):
        Path(place).unlink(missing_ok=True)
    return os.waitstatus_to_exitcode(status) == 9


if __name__ == "__main__":
    cv2.setNumThreads(1)
    base = Path(tempfile.mkdtemp(dir=sys.argv[1]))
    harmless = [name for number, name in enumerate(BITES) if not bites(name, base / str(number))]
    print(json.dumps(harmless))
