"""Hostile metrics, run for real in the jail, with and without the policy stage before it.

After each attack the world is looked at: the canary and its folder, the listeners, processes, descriptors,
and the scores of an honest metric that went through the same pass. That the attacks work where nothing holds
them is shown in a throw-away process, so that these tests are known to be able to fail.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from arena import Arena
from attacks import ATTACKS, BITES, LEAKS, source

from metricsmith.sandbox import Failure, Limits, Sample, Scores, check, score
from metricsmith.sandbox.launch import zygote

SUPPORT = Path(__file__).resolve().parents[1] / "support"
HONEST = source("", {})
LIMITS = Limits(seconds_per_call=0.7, memory=256 << 20)
MAY_BE_ACCEPTED = {f"leak/{name}" for name in LEAKS} | set(BITES)


def scene(seed: int) -> Sample:
    rng = np.random.default_rng(seed)
    return Sample(
        rng.integers(0, 255, (48, 64, 3), np.uint8),
        np.array([[1, 2, 30, 40]], np.float32),
        np.zeros(1, np.int64),
        ("a",),
    )


SCENES = [scene(seed) for seed in range(3)]
EXPECTED = [float(sample.image.mean()) for sample in SCENES]


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    zygote()  # its socket is no leak
    arena = Arena(tmp_path_factory.mktemp("arena") / "a")
    yield arena
    arena.close()


def strays() -> list[str]:
    """Processes forked from the zygote that are still there."""
    pid = zygote().pid
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def assert_all_is_well(arena: Arena) -> None:
    assert arena.trouble() == []
    deadline = time.monotonic() + 5
    while strays():
        assert time.monotonic() < deadline, "a process is left"
        time.sleep(0.005)


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_in_the_jail(name: str, arena: Arena) -> None:
    attack = source(ATTACKS[name], arena.facts)
    start = time.monotonic()
    results = score({"attack": attack, "honest": HONEST}, SCENES, total=3, limits=LIMITS)
    assert time.monotonic() - start < 6
    assert_all_is_well(arena)
    honest, found = results["honest"], results["attack"]
    assert isinstance(honest, Scores)
    assert honest.values.tolist() == EXPECTED
    assert isinstance(found, Failure) or name in MAY_BE_ACCEPTED
    if isinstance(found, Failure):
        assert "BITTEN" not in found.message
        assert str(found).replace("\n", "").isprintable()
        assert len(str(found)) < 2000
    else:
        assert found.values.tolist() == EXPECTED or name.startswith("leak/")


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_on_validation_with_its_policy(name: str, arena: Arena) -> None:
    found = check(source(ATTACKS[name], arena.facts), SCENES, limits=LIMITS)
    assert_all_is_well(arena)
    if found.failure is not None:
        assert "BITTEN" not in found.failure.message
    assert not found.accepted or name in MAY_BE_ACCEPTED


def test_attacks_work_where_nothing_holds_them(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, SUPPORT / "bite.py", tmp_path],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [], done.stdout


def test_there_are_enough_attacks() -> None:
    assert len(ATTACKS) >= 200
    assert len(BITES) >= 120


@pytest.mark.skipif(os.getuid() != 0, reason="the tests run as an ordinary user already")
def test_the_jail_holds_for_an_ordinary_user_too() -> None:
    """The same attacks by a process without any privileges: a user of a namespace of its own."""
    user = ["unshare", "--map-user=1000", "--map-group=1000"]
    if shutil.which("unshare") is None or subprocess.run([*user, "true"], check=False).returncode != 0:
        pytest.skip("no namespaces of users here")
    done = subprocess.run(
        [
            *user,
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            "-k",
            "in_the_jail",
            __file__,
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=SUPPORT.parents[1],
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert f"{len(ATTACKS)} passed" in done.stdout
