"""The rules of the house that no linter of ours knows: size, determinism, one reader of the environment."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "orchestrator"
SOURCES = sorted(PACKAGE.rglob("*.py"))
DETERMINISTIC = [
    path
    for path in SOURCES
    if path.relative_to(PACKAGE).parts[0] in {"engine", "spec", "expressions", "expressions.py"}
]

MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 60
MAX_COMPLEXITY = 12

BANNED_MODULES = {"time", "random", "uuid", "secrets", "threading"}
BANNED_ASYNCIO = {"wait", "as_completed", "TaskGroup"}
CLOCK_READS = {"now", "utcnow", "today"}
SET_MAKERS = {"set", "frozenset"}
ORDER_KEEPERS = {"list", "tuple", "enumerate", "iter", "zip", "map", "filter", "reversed", "next"}
"""Calls that pass the order of their argument on."""


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


class NonDeterminism(ast.NodeVisitor):
    """Collects what ENGINE code must not do because a replay would do it differently."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.sets: list[set[str]] = [set()]

    def report(self, node: ast.expr | ast.stmt, what: str) -> None:
        self.found.append(f"{node.lineno}: {what}")

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if alias.name.split(".")[0] in BANNED_MODULES:
                self.report(node, f"import of {alias.name}")

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = (node.module or "").split(".")[0]
        names = {alias.name for alias in node.names}
        if node.level == 0 and module in BANNED_MODULES:
            self.report(node, f"import from {module}")
        if module == "asyncio" and names & BANNED_ASYNCIO:
            self.report(node, f"import of asyncio.{min(names & BANNED_ASYNCIO)}")
        if module == "os" and names & {"environ", "getenv"}:
            self.report(node, "reading the environment")

    def visit_Attribute(self, node: ast.Attribute) -> None:
        owner = node.value.id if isinstance(node.value, ast.Name) else getattr(node.value, "attr", "")
        if owner == "asyncio" and node.attr in BANNED_ASYNCIO:
            self.report(node, f"asyncio.{node.attr}")
        if owner in {"datetime", "date"} and node.attr in CLOCK_READS:
            self.report(node, f"{owner}.{node.attr}")
        if owner == "os" and node.attr in {"environ", "getenv"}:
            self.report(node, "reading the environment")
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name in {"hash", "id"}:
            self.report(node, f"{name}()")
        takes_order = name in ORDER_KEEPERS or (isinstance(node.func, ast.Attribute) and node.func.attr == "join")
        if takes_order:
            for argument in node.args:
                self.refuse_set(argument)
        self.generic_visit(node)

    def visit_For(self, node: ast.For) -> None:
        self.refuse_set(node.iter)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self.refuse_set(node.iter)
        self.generic_visit(node)

    def visit_Starred(self, node: ast.Starred) -> None:
        self.refuse_set(node.value)
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.in_scope(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.in_scope(node)

    def in_scope(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        named = {argument.arg for argument in arguments if is_set_type(argument.annotation)}
        self.sets.append(named)
        self.generic_visit(node)
        self.sets.pop()

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        if self.is_set(node.value):
            self.sets[-1].update(target.id for target in node.targets if isinstance(target, ast.Name))

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.generic_visit(node)
        if isinstance(node.target, ast.Name) and is_set_type(node.annotation):
            self.sets[-1].add(node.target.id)

    def is_set(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Set | ast.SetComp):
            return True
        if isinstance(node, ast.Call):
            return isinstance(node.func, ast.Name) and node.func.id in SET_MAKERS
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr | ast.BitAnd | ast.Sub | ast.BitXor):
            return self.is_set(node.left) or self.is_set(node.right)
        return isinstance(node, ast.Name) and any(node.id in names for names in self.sets)

    def refuse_set(self, node: ast.expr) -> None:
        if self.is_set(node):
            self.report(node, "iteration over a set")


def is_set_type(annotation: ast.expr | None) -> bool:
    base = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    return isinstance(base, ast.Name) and base.id in SET_MAKERS


def nondeterminism(source: str) -> list[str]:
    visitor = NonDeterminism()
    visitor.visit(ast.parse(source))
    return visitor.found


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_a_file_stays_within_the_size_budget(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert source.count("\n") <= MAX_FILE_LINES, f"{relative(path)} holds more than one noun: split it"
    for function in functions(ast.parse(source)):
        lines = (function.end_lineno or function.lineno) - function.lineno + 1
        assert lines <= MAX_FUNCTION_LINES, f"{relative(path)}:{function.lineno} {function.name} has {lines} lines"


def test_no_function_is_more_complex_than_the_budget() -> None:
    limit = f"lint.mccabe.max-complexity={MAX_COMPLEXITY}"
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--isolated",
        "--select",
        "C901",
        "--config",
        limit,
        str(PACKAGE),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("path", DETERMINISTIC, ids=relative)
def test_engine_spec_and_expressions_do_nothing_a_replay_would_do_differently(path: Path) -> None:
    assert nondeterminism(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("snippet", "what"),
    [
        ("import time", "import of time"),
        ("from uuid import uuid4", "import from uuid"),
        ("import random as r", "import of random"),
        ("import asyncio\nasync def f(ts):\n    await asyncio.wait(ts)", "asyncio.wait"),
        ("from asyncio import TaskGroup", "asyncio.TaskGroup"),
        (
            "import asyncio\nasync def f(ts):\n    for t in asyncio.as_completed(ts): await t",
            "asyncio.as_completed",
        ),
        ("from datetime import datetime\nx = datetime.now()", "datetime.now"),
        ("import datetime\nx = datetime.datetime.utcnow()", "datetime.utcnow"),
        ("import os\nx = os.environ['A']", "environment"),
        ("x = hash('a')", "hash()"),
        ("x = id(object())", "id()"),
        ("for x in {1, 2}: pass", "iteration over a set"),
        ("for x in set([1]): pass", "iteration over a set"),
        ("x = [y for y in frozenset('ab')]", "iteration over a set"),
        ("x = ', '.join({'a', 'b'})", "iteration over a set"),
        ("x = list(set('ab'))", "iteration over a set"),
        ("def f():\n    seen = {1} | {2}\n    for x in seen: pass", "iteration over a set"),
        ("def f(names: frozenset[str]):\n    return [*names]", "iteration over a set"),
    ],
)
def test_the_determinism_lint_catches(snippet: str, what: str) -> None:
    assert any(what in finding for finding in nondeterminism(snippet))


@pytest.mark.parametrize(
    "snippet",
    [
        "from temporalio import workflow\nx = workflow.now()",
        "import asyncio\nasync def f(t):\n    await asyncio.wait_for(t, 1)",
        "for x in sorted({1, 2}): pass",
        "x = 1 in {1, 2}",
        "def f(id: str) -> str:\n    return id",
        "for x in {'a': 1}: pass",
    ],
)
def test_the_determinism_lint_leaves_ordered_code_alone(snippet: str) -> None:
    assert nondeterminism(snippet) == []


def test_only_settings_reads_the_environment() -> None:
    readers = [
        relative(path)
        for path in SOURCES
        if path.name != "settings.py"
        and any("environment" in finding for finding in nondeterminism(path.read_text(encoding="utf-8")))
    ]
    assert readers == []
