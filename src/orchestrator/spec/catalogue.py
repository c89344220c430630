"""Names of the catalogue that steps use: what nobody declared is worth a warning before a run meets it."""

from __future__ import annotations

from typing import Any

from orchestrator.spec.findings import Findings, is_template, suggestion
from orchestrator.spec.flow import Flow
from orchestrator.spec.model_uses import check_models
from orchestrator.spec.project import Project
from orchestrator.spec.reading import WAITING, Placed
from orchestrator.spec.triggers import QueueTrigger

Json = Any

_USES = {
    "api": ("services", "service", "service"),
    "mcp": ("mcp", "server", "MCP server"),
    "sql": ("databases", "database", "database"),
    "queue": ("queues", "queue", "queue"),
    "notification": ("contacts", "target", "contact"),
}
"""Step type to section, config key and word."""


def check_catalogue(steps: list[Placed], flow: Flow, project: Project, findings: Findings) -> None:
    """Warn about entries that neither the flow nor ``orchestrator.yaml`` declares. It is no error: entries belong to
    the place where a worker runs, and an assignee may be free text."""
    check_models(steps, flow, project, findings)
    for index, trigger in enumerate(flow.triggers):
        if isinstance(trigger, QueueTrigger) and trigger.queue not in project.queues:
            near = suggestion(trigger.queue, project.queues)
            hint = near if near and near.startswith("did") else "declare it under `queues` in orchestrator.yaml"
            findings.warn(("triggers", index, "queue"), f"no queue `{trigger.queue}` is declared", hint)
    for step in steps:
        for placed in step.walk():
            if placed.type in _USES:
                section, key, word = _USES[placed.type]
                declared = getattr(project, section) | getattr(flow, section, {})
                _check(placed, key, word, section, declared, findings)
            elif placed.type == WAITING:
                _check(placed, "assignee", "contact", "contacts", project.contacts, findings)


def _check(placed: Placed, key: str, word: str, section: str, declared: dict[str, Json], findings: Findings) -> None:
    name = placed.config.get(key)
    if not isinstance(name, str) or is_template(name) or name in declared:
        return
    near = suggestion(name, declared)
    hint = near if near and near.startswith("did") else f"declare it under `{section}` in orchestrator.yaml"
    findings.warn(placed.config_paths[key], f"no {word} `{name}` is declared", hint)
