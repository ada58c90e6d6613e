from __future__ import annotations

import ast

import pytest

from metricsmith.sandbox.failure import Failure
from metricsmith.sandbox.policy import inspect, parse

METRIC = '''\
import cv2
import numpy as np
from metricsmith.sandbox import Metric, Sample

class Brightness(Metric):
    """Mean grey value."""
    level = "image"
    suspicious = "both"

    def measure(self, sample: Sample) -> float:
        return float(sample.image.mean())
'''


def verdict(source: str) -> Failure | None:
    tree = parse(source)
    assert isinstance(tree, ast.Module)
    return inspect(tree, source)


def body(statement: str) -> str:
    return METRIC.replace("return float", f"{statement}\n        return float")


def test_plain_metric_passes() -> None:
    assert verdict(METRIC) is None


@pytest.mark.parametrize(
    "line",
    [
        "from __future__ import annotations",
        "import math, statistics, itertools, functools, collections, dataclasses, typing",
        "from scipy import ndimage, stats",
        "import scipy.spatial.distance as distance",
        "from collections.abc import Iterable",
        "from metricsmith.sandbox import Predictions",
    ],
)
def test_useful_import_passes(line: str) -> None:
    assert verdict(f"{line}\n{METRIC}") is None


@pytest.mark.parametrize(
    "statement",
    [
        "super().__init__()",
        "open = 3; input = np.exp",
        "self.load(); sample.image.dumps",
        "cv2.imdecode",
        "np.loads",
        "type(self).__name__",
    ],
)
def test_harmless_statement_passes(statement: str) -> None:
    assert verdict(body(statement)) is None


@pytest.mark.parametrize(
    ("line", "kind", "message"),
    [
        ("import os", "forbidden-import", "os may not be imported"),
        ("from os.path import join", "forbidden-import", "os.path may not be imported"),
        ("import torch.nn as nn", "forbidden-import", "torch.nn may not be imported"),
        ("from . import x", "forbidden-import", ". may not be imported"),
        ("from metricsmith.agent import loop", "forbidden-import", "metricsmith.agent may not be imported"),
        (
            "from metricsmith.sandbox import check",
            "forbidden-import",
            "metricsmith.sandbox offers metrics Metric, Predictions, Sample only",
        ),
        ("from numpy import load", "forbidden-call", "numpy.load reads or writes files"),
        ("from scipy.io import loadmat", "forbidden-call", "scipy.io reads or writes files"),
    ],
)
def test_refused_import_names_its_line(line: str, kind: str, message: str) -> None:
    assert verdict(f"\n{line}\n{METRIC}") == Failure("policy", kind, message, line=2, code=line)


@pytest.mark.parametrize(
    ("statement", "kind", "message"),
    [
        ("open('x')", "forbidden-call", "open() may not be called"),
        ("eval('1')", "forbidden-call", "eval() may not be called"),
        ("__import__('os')", "forbidden-call", "__import__() may not be called"),
        ("np.load('x')", "forbidden-call", "numpy.load reads or writes files"),
        ("loader = np.load", "forbidden-call", "numpy.load reads or writes files"),
        ("np.ctypeslib.load_library('c', '')", "forbidden-call", "numpy.ctypeslib reads or writes files"),
        ("cv2.imwrite('x.png', sample.image)", "forbidden-call", "cv2.imwrite reads or writes files"),
        ("cv2.VideoCapture(0)", "forbidden-call", "cv2.VideoCapture reads or writes files"),
        ("sample.image.tofile('x')", "forbidden-call", ".tofile writes files"),
        (
            "object.__subclasses__()",
            "forbidden-attribute",
            "the attribute __subclasses__ may not be used",
        ),
        ("self.measure.__globals__", "forbidden-attribute", "the attribute __globals__ may not be used"),
        ("__builtins__['x']", "forbidden-attribute", "the name __builtins__ may not be used"),
    ],
)
def test_refused_statement_names_its_line(statement: str, kind: str, message: str) -> None:
    assert verdict(body(statement)) == Failure("policy", kind, message, line=11, code=statement)


def test_all_problems_are_told_at_once() -> None:
    failure = verdict("import os\nimport sys\n" + METRIC.replace('"image"', '"picture"'))
    assert str(failure) == (
        "Failed in stage policy: forbidden-import.\n"
        "os may not be imported; also line 2: sys may not be imported; "
        "also line 9: level must be one of object, image, written as a string\n"
        "Line 1: import os\n"
        "Advice: Use only numpy, cv2, scipy, math, statistics, itertools, functools, collections, "
        "dataclasses, typing and metricsmith.sandbox."
    )


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("(Metric)", "", "no-metric-class"),
        ("def measure", "def score", "no-measure"),
        ('    level = "image"\n', "", "bad-level"),
        ('level = "image"', "level = 1", "bad-level"),
        ('level = "image"', 'level = "im" + "age"', "bad-level"),
        ('"both"', '"top"', "bad-suspicious"),
    ],
)
def test_class_without_what_a_metric_needs(old: str, new: str, kind: str) -> None:
    failure = verdict(METRIC.replace(old, new))
    assert failure is not None
    assert failure.kind == kind


def test_annotated_level_passes() -> None:
    assert verdict(METRIC.replace("level =", "level: str =")) is None


def test_metric_by_another_name_passes() -> None:
    source = METRIC.replace("import Metric,", "import Metric as Base,").replace("(Metric)", "(Base)")
    assert verdict(source) is None


def test_two_metrics_in_one_file() -> None:
    failure = verdict(METRIC + METRIC.replace("Brightness", "Darkness"))
    assert failure is not None
    assert failure.kind == "many-metric-classes"
    assert failure.message == "the file defines 2 subclasses of Metric: Brightness, Darkness"


@pytest.mark.parametrize(
    ("source", "message", "line", "code"),
    [
        ("```python\nx = 1\n```", "invalid syntax", 1, "```python"),
        ("def f():\n", "expected an indented block after function definition on line 1", 1, "def f():"),
        ("x = (1,\ny = 2", "'(' was never closed", 1, "x = (1,"),
    ],
)
def test_syntax_error_names_its_line(source: str, message: str, line: int, code: str) -> None:
    failure = parse(source)
    assert isinstance(failure, Failure)
    assert (failure.stage, failure.kind, failure.message) == ("parse", "syntax-error", message)
    assert (failure.line, failure.code) == (line, code)


@pytest.mark.parametrize("source", ["a\0b", "(" * 5000, "-" * 100_000 + "1", "\udcff"])
def test_source_that_breaks_the_parser_is_a_syntax_error(source: str) -> None:
    failure = parse(source)
    assert isinstance(failure, Failure)
    assert failure.kind == "syntax-error"


def test_stray_backslash_is_no_failure() -> None:
    assert isinstance(parse('pattern = "\\d"'), ast.Module)
