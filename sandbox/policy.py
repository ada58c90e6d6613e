"""What a metric's source may contain, judged without running it.

Policy is courtesy, not a wall: it tells a model early and clearly what will not work. What keeps a metric in
is the process that it runs in.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable, Iterator
from typing import NamedTuple, get_args

from .failure import Failure, source_line
from .interface import Level, Suspicious

__all__ = ["inspect", "parse"]

_MODULES = frozenset(
    {
        "__future__",
        "collections",
        "cv2",
        "dataclasses",
        "functools",
        "itertools",
        "math",
        "numpy",
        "scipy",
        "statistics",
        "typing",
    }
)
_OURS = frozenset({"Metric", "Predictions", "Sample"})
_BUILTINS = frozenset(
    {"__import__", "breakpoint", "compile", "eval", "exec", "exit", "globals", "input", "open", "quit"}
)
_IO_BY_MODULE = {
    "numpy": (
        "DataSource ctypeslib distutils f2py fromfile fromregex genfromtxt load loadtxt memmap "
        "save savetxt savez savez_compressed testing"
    ),
    "scipy": "datasets io",
    "cv2": (
        "CascadeClassifier FileStorage VideoCapture VideoWriter dnn imcount imread imreadWithMetadata "
        "imreadanimation imreadmulti imshow imwrite imwriteWithMetadata imwriteanimation imwritemulti "
        "namedWindow readOpticalFlow samples utils waitKey waitKeyEx writeOpticalFlow"
    ),
}
_IO = frozenset(f"{module}.{name}" for module, names in _IO_BY_MODULE.items() for name in names.split())
_METHODS = frozenset({"dump", "tofile"})
_DUNDERS = frozenset({"__doc__", "__init__", "__len__", "__name__", "__version__"})
_SHOWN = 5


class _Problem(NamedTuple):
    line: int
    kind: str
    message: str


def parse(source: str) -> ast.Module | Failure:
    """The syntax tree of `source`, or why it has none."""
    try:
        with warnings.catch_warnings():
            # a stray backslash in a string is no concern of ours
            warnings.simplefilter("ignore", SyntaxWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            return ast.parse(source)
    except SyntaxError as error:
        # an error at the end of the file may name the line after the last
        line = min(error.lineno or 1, len(source.splitlines()))
        return Failure(
            "parse",
            "syntax-error",
            error.msg,
            exception=type(error).__name__,
            line=line or None,
            code=source_line(source, line),
        )
    except (ValueError, RecursionError, MemoryError) as error:
        return Failure(
            "parse", "syntax-error", str(error) or "nested too deep", exception=type(error).__name__
        )


def inspect(tree: ast.Module, source: str) -> Failure | None:
    """Why the metric in `tree` is refused, or None; of several reasons the first, others in its message."""
    refusals = _Refusals(tree)
    problems = sorted({*refusals.found, *_class_problems(tree, refusals.names)})
    if not problems:
        return None
    line, kind, message = problems[0]
    others = "".join(f"; also line {p.line}: {p.message}" for p in problems[1:_SHOWN] if p.line)
    return Failure("policy", kind, message + others, line=line or None, code=source_line(source, line))


class _Refusals(ast.NodeVisitor):
    """The imports, calls and attributes that a metric does not need."""

    def __init__(self, tree: ast.Module) -> None:
        self.names: dict[str, str] = {}
        self.found: list[_Problem] = []
        self.visit(tree)

    def _refuse(self, node: ast.expr | ast.stmt, kind: str, message: str) -> None:
        self.found.append(_Problem(node.lineno, kind, message))

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            top = alias.name.split(".")[0]
            self.names[alias.asname or top] = alias.name if alias.asname else top
            self._check_import(node, alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = "." * node.level + (node.module or "")
        for alias in node.names:
            self.names[alias.asname or alias.name] = f"{module}.{alias.name}"
            if module == "metricsmith.sandbox" and alias.name not in _OURS:
                self._refuse(
                    node,
                    "forbidden-import",
                    f"metricsmith.sandbox offers metrics {', '.join(sorted(_OURS))} only",
                )
        self._check_import(node, module, [alias.name for alias in node.names])

    def _check_import(self, node: ast.stmt, module: str, names: Iterable[str] = ()) -> None:
        if module.split(".")[0] not in _MODULES and module != "metricsmith.sandbox":
            self._refuse(node, "forbidden-import", f"{module} may not be imported")
        for name in [module, *(f"{module}.{name}" for name in names)]:
            if refused := _io(name):
                self._refuse(node, "forbidden-call", f"{refused} reads or writes files")

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id in _BUILTINS and node.func.id not in self.names:
            self._refuse(node, "forbidden-call", f"{node.func.id}() may not be called")
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        dotted = self._dotted(node)
        if dotted and (refused := _io(dotted)):
            self._refuse(node, "forbidden-call", f"{refused} reads or writes files")
        elif node.attr in _METHODS:
            self._refuse(node, "forbidden-call", f".{node.attr} writes files")
        elif _is_dunder(node.attr):
            self._refuse(node, "forbidden-attribute", f"the attribute {node.attr} may not be used")
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if _is_dunder(node.id) and node.id not in _BUILTINS:
            self._refuse(node, "forbidden-attribute", f"the name {node.id} may not be used")

    def _dotted(self, node: ast.expr) -> str | None:
        if isinstance(node, ast.Name):
            return self.names.get(node.id)
        if isinstance(node, ast.Attribute) and (start := self._dotted(node.value)):
            return f"{start}.{node.attr}"
        return None


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__") and name not in _DUNDERS


def _io(dotted: str) -> str | None:
    return next((name for name in _IO if f"{dotted}.".startswith(f"{name}.")), None)


def _class_problems(tree: ast.Module, names: dict[str, str]) -> Iterator[_Problem]:
    found = [
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef) and any(_is_metric(base, names) for base in node.bases)
    ]
    if not found:
        yield _Problem(0, "no-metric-class", "the file defines no subclass of Metric")
        return
    if len(found) > 1:
        listed = ", ".join(node.name for node in found)
        yield _Problem(
            found[1].lineno,
            "many-metric-classes",
            f"the file defines {len(found)} subclasses of Metric: {listed}",
        )
    node = found[0]
    if not any(isinstance(item, ast.FunctionDef) and item.name == "measure" for item in node.body):
        yield _Problem(node.lineno, "no-measure", f"{node.name} does not define measure")
    for name, allowed in (("level", get_args(Level)), ("suspicious", get_args(Suspicious))):
        line, value = _setting(node, name)
        if not (isinstance(value, ast.Constant) and value.value in allowed):
            yield _Problem(
                line, f"bad-{name}", f"{name} must be one of {', '.join(allowed)}, written as a string"
            )


def _is_metric(base: ast.expr, names: dict[str, str]) -> bool:
    if isinstance(base, ast.Name):
        return names.get(base.id, base.id).split(".")[-1] == "Metric"
    return isinstance(base, ast.Attribute) and base.attr == "Metric"


def _setting(node: ast.ClassDef, name: str) -> tuple[int, ast.expr | None]:
    """The line and the value that the class body gives to `name`; the class's own line and None if none."""
    for item in node.body:
        targets = item.targets if isinstance(item, ast.Assign) else [getattr(item, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            assert isinstance(item, (ast.Assign, ast.AnnAssign))
            return item.lineno, item.value
    return node.lineno, None
