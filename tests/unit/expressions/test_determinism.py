"""A replay in another process must see the same values and the same messages."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import json
from datetime import UTC, datetime
from orchestrator.expressions import ExpressionError, Meter, Names, compile_expression

names = Names(steps=frozenset({"risk-check", "risk", "charge", "심사"}), inputs=frozenset({"a-b", "a"}))
scope = {
    "steps": {"risk-check": {"output": {"b": 1, "a": 2}}}, "inputs": {"a-b": 1, "a": 2},
    "rows": [{"k": k, "n": n} for n, k in enumerate("zaybxc")], "mixed": ["b", 1, "a", 1.0, True, None, "b", [1], [1]],
}
sources = [
    "steps.risk-check.output", "rows | sort('k')", "rows | map('k') | unique", "mixed | unique", "steps.rask.output",
    "inputs.a-b ~ inputs.a", "rows | select('k', 'b')", "steps.risk-check.output | items", "nope", "1 | uper",
    "{'b': 1, 'a': 2} | tojson", "steps.risk-check.output | merge({'c': 1}) | keys", "inputs.x", "rows | max('k')",
    "now() ~ uuid()", "'abc' | sha256", "'a1b2' | regex_replace('[0-9]', '-')",
]
meter = Meter(lambda: datetime(2026, 1, 1, tzinfo=UTC), lambda: "u")
for source in sources:
    try:
        expression = compile_expression(source, names)
        print(json.dumps(expression.evaluate(scope, meter)), [str(r) for r in expression.references], meter.spent)
    except ExpressionError as error:
        print(error, meter.spent)
"""


def test_values_messages_and_costs_are_the_same_under_every_hash_seed() -> None:
    outputs = {
        subprocess.run(
            [sys.executable, "-c", _PROGRAM],
            env={"PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8", "LC_ALL": locale},
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=True,
            timeout=60,
        ).stdout
        for seed, locale in (("0", "C"), ("1", "C.UTF-8"), ("4242", "C"))
    }
    assert len(outputs) == 1
    assert len(outputs.pop().splitlines()) == 17
