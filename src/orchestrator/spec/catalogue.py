"""Names of the catalogue that steps use: what nobody declared is worth a warning before a run meets it."""

from __future__ import annotations

from typing import Any

from orchestrator.spec.findings import Findings, is_template, suggestion
from orchestrator.spec.flow import Flow
from orchestrator.spec.model_uses import check_models
from orchestrator.spec.people import people_behind
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
    "email": ("contacts", "contact", "contact"),
}
"""Step type to section, config key and word."""


def check_catalogue(steps: list[Placed], flow: Flow, project: Project, findings: Findings) -> None:
    """Warn about entries that neither the flow nor ``orchestrator.yaml`` declares. It is no error: entries belong to
    the place where a worker runs, and an assignee may be free text."""
    check_models(steps, flow, project, findings)
    for index, trigger in enumerate(flow.triggers):
        if isinstance(trigger, QueueTrigger) and trigger.queue not in project.queues:
            hint = _hint(trigger.queue, "queues", project.queues)
            findings.warn(("triggers", index, "queue"), f"no queue `{trigger.queue}` is declared", hint)
    for step in steps:
        for placed in step.walk():
            if placed.type in _USES:
                section, key, word = _USES[placed.type]
                declared = getattr(project, section) | getattr(flow, section, {})
                _check(placed, key, word, section, declared, findings)
            elif placed.type == WAITING:
                _check_people(placed, project.contacts, findings)


def _check_people(placed: Placed, contacts: dict[str, Json], findings: Findings) -> None:
    """Who is asked by a task, and who gets it later; whether so many can agree as have to."""
    for key in ("assignee", "group"):
        _check(placed, key, "contact", "contacts", contacts, findings)
    at_deadline = placed.config.get("on_deadline")
    chain = at_deadline.get("escalate") if isinstance(at_deadline, dict) else None
    for index, step in enumerate(chain if isinstance(chain, list) else []):
        for key in ("assignee", "group"):
            name = step.get(key) if isinstance(step, dict) else None
            if isinstance(name, str) and not is_template(name) and name not in contacts:
                path = (*placed.config_paths["on_deadline"], "escalate", index, key)
                findings.warn(path, f"no contact `{name}` is declared", _hint(name, "contacts", contacts))
    people = people_behind(contacts, str(placed.config.get("assignee") or placed.config.get("group")))
    quorum = placed.config.get("quorum")
    shares = list(quorum.values()) if isinstance(quorum, dict) else [quorum]
    most = max((share for share in shares if isinstance(share, int)), default=0)
    if people is not None and most > len(people):
        message = f"{most} people have to agree, and {len(people)} are asked: the step will fail"
        findings.warn(placed.config_paths["quorum"], message, "ask for less, or add `members` to the contact")


def _check(placed: Placed, key: str, word: str, section: str, declared: dict[str, Json], findings: Findings) -> None:
    name = placed.config.get(key)
    if not isinstance(name, str) or is_template(name) or name in declared:
        return
    findings.warn(placed.config_paths[key], f"no {word} `{name}` is declared", _hint(name, section, declared))


def _hint(name: str, section: str, declared: dict[str, Json]) -> str:
    near = suggestion(name, declared)
    return near if near and near.startswith("did") else f"declare it under `{section}` in orchestrator.yaml"
