"""What of the format this release runs. Everything else is known, checked, and refused at publish in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from orchestrator.errors import Problem
from orchestrator.spec.findings import NOT_YET, Findings
from orchestrator.spec.flow import Flow
from orchestrator.spec.reading import Placed
from orchestrator.spec.source import Path

Json = Any

STEP_TYPES = frozenset(
    {
        "http", "api", "claude", "agent", "mcp", "file", "function", "sql", "human-task",
        "parallel", "block", "condition", "switch", "for-each", "while", "try", "saga", "set", "transform", "wait",
        "wait-for-event", "flow", "run-steps", "return", "fail", "respond", "emit", "state", "queue",
        "email", "slack", "notification", "multi-channel",
    }
)  # fmt: skip
"""Step types that run."""

_OF_ALL = frozenset({"type", "id", "enabled", "inputs", "idempotency_key"})
TRIGGER_KEYS: dict[str, frozenset[str]] = {
    "webhook": _OF_ALL | {"path", "endpoint", "method", "respond", "max_body", "verify", "cors", "if", "debounce"},
    "event": _OF_ALL | {"event", "source", "if", "delay", "batch", "debounce"},
    "queue": _OF_ALL | {"queue", "if"},
    "schedule": (_OF_ALL - {"idempotency_key"}) | {"cron", "every", "timezone", "overlap", "catch_up", "jitter", "if"},
    "file": _OF_ALL | {"path", "pattern", "settle", "after", "if"},
    "api": _OF_ALL | {"debounce"},
}
"""Keys of triggers that have an effect, by the types that work."""


def unsupported(flow: Flow, data: dict[str, Json], steps: list[Placed], findings: Findings) -> Iterator[Problem]:
    """Every construct of a valid flow that this release cannot run. ``steps`` are all top-level lists together."""
    yield from findings.later
    yield from unsupported_steps(steps, findings)
    for index, trigger in enumerate(data.get("triggers") or []):
        yield from (_problem(findings, path, what) for path, what in _of_trigger(trigger, ("triggers", index)))


def unsupported_steps(steps: list[Placed], findings: Findings) -> Iterator[Problem]:
    """Every step, nested ones included, that this release cannot run."""
    for step in steps:
        for placed in step.walk():
            yield from (_problem(findings, path, what) for path, what in _of_step(placed))


def _problem(findings: Findings, path: Path, what: str) -> Problem:
    return findings.place(path, f"{what} {NOT_YET}", key=True)


def _of_step(placed: Placed) -> Iterator[tuple[Path, str]]:
    if placed.type not in STEP_TYPES:
        yield (*placed.path, "type"), f"`{placed.type}`"


def _of_trigger(trigger: dict[str, Json], path: Path) -> Iterator[tuple[Path, str]]:
    if trigger["type"] not in TRIGGER_KEYS:
        yield (*path, "type"), f"the `{trigger['type']}` trigger"
        return
    for key in trigger:
        if key not in TRIGGER_KEYS[trigger["type"]]:
            yield (*path, key), f"`{key}` of a trigger"
