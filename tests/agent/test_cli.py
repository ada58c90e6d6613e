"""The command line: its help, its one-line errors, and the commands that need no run."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from metricsmith.agent.cli import main
from metricsmith.evaluation.scores import read_scores
from metricsmith.sandbox import selftest, worker
from metricsmith.sandbox.errors import UnsafeError

BRIGHTNESS = '''\
import numpy as np
from metricsmith.sandbox import Metric, Sample


class Brightness(Metric):
    """Mean brightness of the image; low is dark."""

    level = "image"
    suspicious = "low"

    def measure(self, sample: Sample) -> float:
        return float(sample.image.mean())
'''
COMMANDS = (
    "run",
    "resume",
    "hint",
    "replay",
    "export",
    "multiplier",
    "stats",
    "metrics",
    "promote",
    "demo",
    "describe",
    "corrupt",
    "check",
    "score",
    "doctor",
    "bench",
)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Call the command line; its exit status, stdout and stderr."""

    monkeypatch.setenv("COLUMNS", "100")

    def run(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["metricsmith", *map(str, words)])
        try:
            main()
            status = 0
        except SystemExit as ending:
            status = int(ending.code or 0)
        out, err = capsys.readouterr()
        return status, out, err

    return run


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A COCO data set of ten images, one box each, in five videos."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    for number in range(10):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((40, 60, 3), 20 * number, np.uint8))
    document = {
        "images": [
            {
                "id": n,
                "file_name": f"{n}.png",
                "width": 60,
                "height": 40,
                "video": f"v{n // 2}",
                "frame": n % 2,
            }
            for n in range(10)
        ],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1, "bbox": [10, 10, 20, 20]} for n in range(10)
        ],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (folder / "annotations.json").write_text(json.dumps(document))
    return folder


def test_help_lists_every_command(call) -> None:
    status, out, err = call("--help")
    assert (status, err) == (0, "")
    for command in COMMANDS:
        assert f" {command} " in out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(call, command: str) -> None:
    status, out, _ = call(command, "-h")
    assert status == 0
    assert f"Usage: metricsmith {command}" in out


def test_help_loads_no_pytorch() -> None:
    import subprocess

    code = "import sys, metricsmith.agent.cli; print('torch' in sys.modules, 'openai' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False False\n"


def test_version(call) -> None:
    status, out, _ = call("--version")
    assert status == 0
    assert out.startswith("metricsmith 0.")


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("run",), 2, "Missing argument 'DATA'"),
        (("run", "zoo"), 2, "Missing option '--llm'"),
        (("run", "zoo", "--llm", "manual", "--budget", "2"), 2, "Invalid value for '--budget'"),
        (("describ", "zoo"), 2, "Did you mean 'describe'?"),
        (("run", "zoo", "--llm", "gpt"), 1, "metricsmith: unknown model 'gpt': use openai:MODEL"),
        (("run", "nowhere", "--llm", "manual"), 1, "metricsmith: nowhere: there is no such file or folder"),
        (("describe", "nowhere"), 1, "metricsmith: nowhere: there is no such file or folder"),
        (("resume", "nowhere"), 1, "metricsmith: nowhere: no run here (no config.json)"),
        (("replay", "nowhere"), 1, "metricsmith: nowhere: no run here (no config.json)"),
        (("check", "nowhere.py"), 1, "metricsmith: nowhere.py: No such file or directory"),
    ],
)
def test_a_mistake_gets_one_helpful_line(
    call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], status: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    found, out, err = call(*words)
    assert (found, out) == (status, "")
    assert message in err
    assert "Traceback" not in err
    if status == 1:
        assert err.count("\n") == 1
    assert not list(tmp_path.rglob("config.json")), "a run that never began leaves no folder in the way"


def test_describe_prints_the_card(call, pictures: Path) -> None:
    status, out, _ = call("describe", pictures, "--about", "Grey cats.")
    assert status == 0
    assert out.startswith("# Dataset card: zoo\n")
    assert "Grey cats." in out
    assert "10 images, 10 boxes" in out


def test_describe_as_json(call, pictures: Path) -> None:
    status, out, _ = call("describe", pictures, "--json")
    assert status == 0
    assert json.loads(out)


def test_bad_item_stops_unless_it_is_skipped_and_counted(call, pictures: Path) -> None:
    (pictures / "3.png").write_bytes(b"")
    status, _, err = call("describe", pictures)
    assert status == 1
    assert "3.png" in err.splitlines()[-1]
    status, out, err = call("describe", pictures, "--skip-bad")
    assert status == 0
    assert "9 images" in out
    assert "Left out as bad: 1 items" in err
    assert "3.png" in err


def test_corrupt_writes_a_folder_that_run_takes(call, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "noisy"
    status, said, _ = call("corrupt", pictures, "--drop", "0.5", "--out", out)
    assert status == 0
    assert "pool 6 images" in said
    assert {path.name for path in out.iterdir()} == {
        "images", "ledger.jsonl", "pool.json", "reference.json", "test.json", "val.json"
    }  # fmt: skip
    harmed, intact = (json.loads((out / name).read_text()) for name in ("pool.json", "reference.json"))
    lost = len(intact["annotations"]) - len(harmed["annotations"])
    assert lost == len((out / "ledger.jsonl").read_text().splitlines()) > 0
    status, _, err = call("corrupt", pictures, "--drop", "0.5", "--out", out)
    assert status == 1
    assert "the folder is not empty" in err


def test_check_accepts_and_refuses(call, pictures: Path, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text(BRIGHTNESS)
    bad.write_text(BRIGHTNESS.replace("import numpy", "import os, numpy"))
    status, out, _ = call("check", good, "--data", pictures)
    assert status == 0
    assert out.startswith("accepted: Brightness, a score for each image, suspicious end: low\n")
    table = out.partition("Planted mistakes: % of the untouched that are less suspicious")[2]
    assert re.search(r"enlarge a box is too large.* \d+ +(\d+) +\1\b", table), "it looks at no box"
    status, out, _ = call("check", bad)
    assert status == 1
    assert out.startswith(
        "not accepted\nFailed in stage policy: forbidden-import.\nos may not be imported\nLine 1"
    )
    status, out, _ = call("check", bad, "--json")
    verdict = json.loads(out)
    assert (status, verdict["accepted"], verdict["stage"]) == (1, False, "policy")
    assert verdict["error"]["kind"] == "forbidden-import"
    assert call("check", bad, "--no-policy")[0] == 0, "policy is courtesy; importing os alone does no harm"


def test_score_writes_one_column_a_metric(call, pictures: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "brightness.py", tmp_path / "scores.parquet"
    file.write_text(BRIGHTNESS)
    status, said, _ = call("score", "--metric", file, "--data", pictures, "--out", out)
    assert status == 0
    assert said.endswith("scores.parquet: 10 images × 1 metrics\n")
    assert read_scores(out)["Brightness"].values.tolist() == [20.0 * number for number in range(10)]


def test_doctor_tries_the_jail(call) -> None:
    status, out, err = call("doctor")
    assert (status, err) == (0, "")
    assert re.search(r"jail    level [AB] \(seccomp.*\): \d+ forbidden operations tried, all refused", out)


def test_doctor_says_why_there_is_no_jail(call, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise UnsafeError("the kernel refuses the jail: seccomp: Invalid argument")

    monkeypatch.setattr(selftest, "walls", refuse)
    status, out, err = call("doctor")
    assert (status, err) == (1, "")
    assert "jail    none: the kernel refuses the jail: seccomp: Invalid argument\n" in out
    assert "--unsafe-no-sandbox" in out


def test_without_a_jail_nothing_runs_unless_asked_for(
    call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise UnsafeError("the kernel refuses the jail: seccomp: Invalid argument")

    monkeypatch.setattr(worker, "walls", refuse)
    file = tmp_path / "brightness.py"
    file.write_text(BRIGHTNESS)
    status, out, err = call("check", file)
    assert (status, out) == (1, "")
    assert err.startswith(
        "metricsmith: the kernel refuses the jail: seccomp: Invalid argument; no metric was run"
    )
    assert call("check", file, "--unsafe-no-sandbox")[0] == 0


def test_bench_sandbox_prints_ratios(call) -> None:
    status, out, _ = call("bench", "sandbox", "--images", "16", "--repeats", "1")
    assert status == 0
    for text in ("mean brightness", "Laplacian variance", "contour of each box", "A job without images"):
        assert text in out


def test_bench_coco_finds_both_evaluators_equal(call) -> None:
    status, out, _ = call("bench", "coco", "--images", "60")
    assert status == 0
    found = re.search(r"times as fast; the 12 statistics differ by (\S+) at most", out)
    assert found is not None
    assert float(found[1]) < 1e-6


def test_score_refuses_two_metrics_of_one_name(call, pictures: Path, tmp_path: Path) -> None:
    file = tmp_path / "brightness.py"
    file.write_text(BRIGHTNESS)
    status, _, err = call("score", "--metric", file, "--metric", file, "--data", pictures)
    assert status == 1
    assert "a second metric of the name Brightness" in err


def test_doctor_asks_an_endpoint_when_told_to(call) -> None:
    status, out, err = call("doctor", "--llm", "manual")
    assert status == 1
    assert "jail    level" in out
    assert err == "metricsmith: manual is a person, not an endpoint: name one, openai:MODEL\n"


def test_dollars_need_prices(call, pictures: Path) -> None:
    status, _, err = call("run", pictures, "--llm", "manual", "--max-dollars", "2", "--price-in", "1")
    assert (status, err.count("\n")) == (1, 1)
    assert "--max-dollars needs --price-in and --price-out" in err
