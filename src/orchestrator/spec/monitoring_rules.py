"""Alerts that nobody would ever see, or everybody always: warned of when a flow is loaded."""

from __future__ import annotations

from typing import Any

from orchestrator.spec.findings import Findings, suggestion
from orchestrator.spec.flow import Flow
from orchestrator.spec.monitoring import Condition, always_holds, metrics_in, moments, read_condition
from orchestrator.spec.project import Project
from orchestrator.spec.source import Path

Json = Any


def check_monitoring(flow: Flow, project: Project, findings: Findings) -> None:
    """Warn about each alert whose channel nobody declared, and whose condition says nothing about this flow."""
    for index, alert in enumerate(flow.monitoring.alerts if flow.monitoring else ()):
        path: Path = ("monitoring", "alerts", index)
        _check_channel(alert.channel, project, findings, (*path, "channel"))
        _check_condition(read_condition(alert.condition), flow, findings, (*path, "condition"))


def _check_condition(condition: Condition, flow: Flow, findings: Findings, path: Path) -> None:
    if always_holds(condition):
        findings.warn(path, "this holds for every run", "raise or lower its limit")
    limit = flow.timeout
    late = [moment for moment in moments(condition) if limit is not None and moment >= limit]
    if late:
        message = f"no run gets as far as {late[0]:g}s: the flow's `timeout` ends it after {limit:g}s"
        findings.warn(path, message, "lower one or raise the other")
    if "queue_time" in metrics_in(condition) and flow.concurrency is None:
        hint = "`concurrency` limits how many runs go on at once"
        findings.warn(path, "`queue_time` is always 0: no run of this flow waits for its turn", hint)


def _check_channel(channel: str, project: Project, findings: Findings, path: Path) -> None:
    found = _misfit(channel, project)
    if found is not None:
        findings.warn(path, *found)


def _misfit(channel: str, project: Project) -> tuple[str, str] | None:
    """What stands in the way of an alert, and what would help."""
    if channel in project.contacts:
        entry = project.contacts[channel] or {}
        if isinstance(entry, dict) and any(entry.get(way) for way in ("email", "slack", "webhook", "members")):
            return None
        hint = "give it `email`, `slack`, `webhook` or `members` in orchestrator.yaml"
        return f"the contact `{channel}` cannot be told anything", hint
    if channel == "slack" or channel.startswith("#"):
        return _slack_misfit(channel, project.slack)
    if channel == "email" or "@" in channel:
        return _mail_misfit(channel, project.mail)
    near = suggestion(channel, [*project.contacts, "slack", "email"])
    hint = near if near and near.startswith("did") else "declare it under `contacts` in orchestrator.yaml"
    return f"no contact `{channel}` is declared", hint


def _slack_misfit(channel: str, slack: dict[str, Json]) -> tuple[str, str] | None:
    if not slack:
        return "no `slack` is declared", "write `slack: {token, channel}` in orchestrator.yaml"
    if channel == "slack" and not slack.get("channel") and len(slack.get("webhooks") or {}) != 1:
        hint = 'give `slack` in orchestrator.yaml a `channel`, or write one here, such as "#ops"'
        return "nobody says which channel of Slack is meant", hint
    return None


def _mail_misfit(channel: str, mail: dict[str, Json]) -> tuple[str, str] | None:
    if not mail:
        return "no `mail` is declared", "write `mail: {server, from, to}` in orchestrator.yaml"
    if channel == "email" and not mail.get("to"):
        return "nobody says who gets the e-mail", "give `mail` in orchestrator.yaml a `to`, or write an address here"
    return None
