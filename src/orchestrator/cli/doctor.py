"""``orchestrator doctor``: what is there, what is missing, and what to do about it."""

from __future__ import annotations

import asyncio
import importlib.metadata
import platform
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from temporalio.api.workflowservice.v1 import GetSystemInfoRequest, ListWorkflowExecutionsRequest

from orchestrator.devserver.connect import connected
from orchestrator.devserver.temporal import find_temporal, port_is_free
from orchestrator.errors import OrchestratorError, Unavailable
from orchestrator.payloads.converter import THRESHOLD, data_converter, release
from orchestrator.payloads.folder import FolderDriver
from orchestrator.payloads.place import place_of
from orchestrator.settings import Settings
from orchestrator.spec.project import load_project
from orchestrator.store.database import Store
from orchestrator.telemetry import SEARCH_ATTRIBUTES, ensure_search_attributes

Verdict = Literal["ok", "note", "fail"]
MARKS: dict[Verdict, str] = {"ok": "✓", "note": "·", "fail": "✗"}
_SHOWN_PACKAGES = ("temporalio", "anthropic", "mcp", "fastapi")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    verdict: Verdict
    found: str

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


async def examine(settings: Settings) -> list[Finding]:
    """Everything ``doctor`` looks at, in the order one would look. Never raises for what it finds."""
    findings = [*_versions(), _binary(settings), *_ports(settings), _key(settings), _project(settings)]
    findings.append(await _looked("payloads", lambda: _payloads(settings)))
    findings.append(await _looked("store", lambda: _store(settings)))
    temporal = await _looked("Temporal", lambda: _temporal(settings))
    findings.append(temporal)
    if temporal.verdict == "ok":
        findings.append(await _looked("search attributes", lambda: _search_attributes(settings)))
        findings.append(await _looked("stuck runs", lambda: _stuck(settings)))
    return findings


async def _looked(what: str, look: Callable[[], Awaitable[Finding]]) -> Finding:
    try:
        return await look()
    except OrchestratorError as error:
        return Finding(what, "fail", str(error))


def _versions() -> list[Finding]:
    packages = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _SHOWN_PACKAGES)
    own = importlib.metadata.version("orchestrator")
    return [
        Finding("orchestrator", "ok", f"{own} on Python {platform.python_version()} ({platform.platform()})"),
        Finding("packages", "ok", packages),
    ]


def _binary(settings: Settings) -> Finding:
    try:
        path = find_temporal()
    except Unavailable as error:
        return Finding("temporal binary", "note" if settings.temporal_address else "fail", str(error))
    asked = subprocess.run([str(path), "--version"], capture_output=True, text=True, check=False, timeout=20)
    return Finding("temporal binary", "ok", f"{path}: {asked.stdout.strip() or asked.stderr.strip()}")


def _ports(settings: Settings) -> list[Finding]:
    wanted = {"ORCHESTRATOR_PORT": settings.port}
    if not settings.temporal_address:
        wanted["ORCHESTRATOR_TEMPORAL_PORT"] = settings.temporal_port
        wanted["ORCHESTRATOR_TEMPORAL_UI_PORT"] = settings.temporal_ui_port
    return [
        Finding("port", "ok", f"{port} is free ({variable})")
        if port_is_free(port, settings.host if variable == "ORCHESTRATOR_PORT" else "127.0.0.1")
        else Finding("port", "note", f"{port} is in use: by a running `orchestrator up`, or set {variable} to another")
        for variable, port in wanted.items()
    ]


def _key(settings: Settings) -> Finding:
    if not settings.anthropic_api_key:
        return Finding(
            "Claude",
            "note",
            "ANTHROPIC_API_KEY is not set: a worker of its own fails claude steps; `up` and `demo` use a stand-in",
        )
    return Finding("Claude", "ok", f"a key is set, for {settings.anthropic_base_url or 'https://api.anthropic.com'}")


def _project(settings: Settings) -> Finding:
    try:
        load_project(settings.project_dir)
    except OrchestratorError as error:
        return Finding("project", "fail", str(error))
    flows = settings.project_dir / "workflows"
    there = "workflows/ is there" if flows.is_dir() else "it has no workflows/ folder yet"
    return Finding("project", "ok", f"{settings.project_dir.resolve()}; {there}")


async def _payloads(settings: Settings) -> Finding:
    """Where large values go, and that one can be stored and read there."""
    place = place_of(settings)
    converter = data_converter(settings)
    driver = converter.external_storage.drivers[0] if converter.external_storage else None
    limit = f"one value may have {settings.largest_payload:,} bytes"
    if place.kind == "none":
        return Finding("payloads", "ok", f"{place}; {limit}")
    probe = "orchestrator doctor " * (THRESHOLD // 10)
    try:
        await converter.decode(await converter.encode([probe]))
    finally:
        await release(converter)
    held = ""
    if isinstance(driver, FolderDriver):
        number, size = await asyncio.to_thread(driver.size)
        held = f", {number:,} values with {size:,} bytes"
    return Finding("payloads", "ok", f"{place}{held}; {limit}")


async def _store(settings: Settings) -> Finding:
    store = await Store.open(settings.store)
    try:
        published = len(await store.flows.list())
    finally:
        await store.aclose()
    return Finding("store", "ok", f"reachable, {published} flows published")


async def _temporal(settings: Settings) -> Finding:
    async with connected(settings) as parts:
        temporal = parts.client.temporal
        info = await temporal.workflow_service.get_system_info(GetSystemInfoRequest())
        where = f"{settings.address}, namespace {temporal.namespace}, server {info.server_version}"
    return Finding("Temporal", "ok", where)


async def _search_attributes(settings: Settings) -> Finding:
    async with connected(settings) as parts:
        registered = await ensure_search_attributes(parts.client.temporal)
    if registered:
        return Finding("search attributes", "ok", ", ".join(SEARCH_ATTRIBUTES))
    names = " ".join(f"--name {name} --type {kind}" for name, kind in SEARCH_ATTRIBUTES.items())
    return Finding(
        "search attributes",
        "note",
        "not registered, so runs cannot be searched by whom they wait for; "
        f"temporal operator search-attribute create {names}",
    )


async def _stuck(settings: Settings) -> Finding:
    """Runs whose workflow task fails over and over: the server marks them with a search attribute of its own."""
    async with connected(settings) as parts:
        query = "ExecutionStatus = 'Running' AND TemporalReportedProblems IN ('category=WorkflowTaskFailed')"
        answer = await parts.client.temporal.workflow_service.list_workflow_executions(
            ListWorkflowExecutionsRequest(namespace=parts.client.temporal.namespace, query=query, page_size=20)
        )
    stuck = [info.execution.workflow_id for info in answer.executions]
    if not stuck:
        return Finding("stuck runs", "ok", "none")
    return Finding("stuck runs", "fail", f"{', '.join(stuck)}: see the failure in the Temporal Web UI")
