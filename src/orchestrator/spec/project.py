"""``orchestrator.yaml``: the names that the flows of a project share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from orchestrator.errors import FlowInvalid, Problem
from orchestrator.spec.agents import check_project_agents
from orchestrator.spec.base import Spec
from orchestrator.spec.contacts import check_contacts
from orchestrator.spec.events import check_events
from orchestrator.spec.findings import Findings, check_model, kind_of
from orchestrator.spec.mail import check_mail
from orchestrator.spec.models import check_aliases
from orchestrator.spec.prices import Price, check_prices
from orchestrator.spec.queues import check_queues
from orchestrator.spec.servers import check_servers, check_services
from orchestrator.spec.slack import check_slack
from orchestrator.spec.source import read_source

PROJECT_FILE = "orchestrator.yaml"


class Project(Spec):
    """The project's catalogue. Entries stay raw JSON here: the step type that uses one reads it with its own model,
    secrets filled in, inside the activity. Prices and aliases of models hold no secrets and are read here."""

    services: dict[str, Any] = Field(default={})
    mcp: dict[str, Any] = Field(default={})
    agents: dict[str, Any] = Field(default={})
    databases: dict[str, Any] = Field(default={})
    queues: dict[str, Any] = Field(default={})
    contacts: dict[str, Any] = Field(default={})
    mail: dict[str, Any] = Field(default={})
    slack: dict[str, Any] = Field(default={})
    events: dict[str, Any] = Field(default={})
    env: dict[str, str | int | float | bool | None] = Field(default={})
    prices: dict[str, Price | list[Price]] = Field(default={})
    models: dict[str, str] = Field(default={})
    """Aliases: a name that flows may use, and the id of a model."""
    root: Path = Field(default=Path(), exclude=True)
    """The folder the file is in; not a key of the file."""


_KEYS = frozenset(Project.model_fields) - {"root"}


def load_project(root: Path) -> Project:
    """The project at ``root``; without a file an empty one. Raises FlowInvalid with every problem and its place."""
    path = root / PROJECT_FILE
    if not path.exists():
        return Project(root=root)
    text = read_text(path)
    if all(not line.strip() or line.lstrip().startswith("#") for line in text.splitlines()):
        return Project(root=root)
    source = read_source(text, PROJECT_FILE)
    findings = Findings(source)
    data = source.data
    if data is None:
        return Project(root=root)
    if not isinstance(data, dict):
        findings.error((), f"{PROJECT_FILE} must be a mapping, got {kind_of(data)}")
        findings.raise_if_any()
    if "root" in data:
        findings.unknown_key(("root",), _KEYS, f" in {PROJECT_FILE}")
    # A section left empty (`services:`) is an empty one.
    given = {key: {} if value is None and key in _KEYS else value for key, value in data.items() if key != "root"}
    project = check_model(Project, given, findings, (), f" in {PROJECT_FILE}")
    findings.raise_if_any()
    check_aliases(project.models, findings)
    check_prices(project.prices, findings)
    check_events(given.get("events"), findings)
    check_project_agents(project.agents, findings)
    check_servers(project.mcp, findings)
    check_services(project.services, findings)
    check_queues(project.queues, findings)
    check_contacts(project.contacts, findings)
    check_mail(project.mail, findings)
    check_slack(project.slack, findings)
    findings.raise_if_any()
    loaded: Project = project.model_copy(update={"root": root})
    return loaded


def read_text(path: Path) -> str:
    """The file as text. Raises FlowInvalid where it cannot be read as UTF-8."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FlowInvalid([Problem("the file is not UTF-8 text", str(path), hint="save it as UTF-8")]) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise FlowInvalid([Problem(f"the file cannot be read: {reason}", str(path))]) from error
