"""A run that goes on from an older one: retry, re-run from a step, restart on another version (ENGINE §1).

Each is a new run with an id of the same chain (``<first run>~r2``, ``~r3`` …), started with the older one's journal.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import temporalio.client
from temporalio.api.common.v1 import Payload, WorkflowExecution
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryRequest

from orchestrator import admission
from orchestrator.client.connection import temporal_errors
from orchestrator.client.run import OVER, Run, RunInfo
from orchestrator.engine.again import carry
from orchestrator.engine.again.carry import Carried
from orchestrator.errors import Conflict, NotFound, Refused
from orchestrator.settings import Settings
from orchestrator.spec.call import RESOLVE_FLOW
from orchestrator.spec.definition import Envelope, Json, definition_from_json, envelope_from_json
from orchestrator.spec.project import Project
from orchestrator.store.database import Store

_FIRST_EVENTS = 50
"""A bare start's definition is resolved in the first workflow task."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a retry, re-run or restart does, told before anything is started. Steps are named by path."""

    run_id: str
    """The id the new run has."""
    retry_of: str
    flow: str
    version: str
    kept: tuple[str, ...] = ()
    """Completed steps whose results are taken over."""
    again: tuple[str, ...] = ()
    """Steps that had begun and run again; what was never reached is not listed."""
    undone: tuple[str, ...] = ()
    """Those of ``again`` that had been compensated: they run under a new idempotency key."""
    changed: tuple[str, ...] = ()
    """Steps whose results another version does not take over."""
    left: tuple[str, ...] = ()
    """Steps with an effect that the other version knows no compensation for."""
    pinned: tuple[str, ...] = ()
    """Steps that get a given result instead of running."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A planned run with everything it is started with."""

    plan: Plan
    body: Json
    envelope: Envelope
    journal: dict[str, Json]
    """Empty where the old run had recorded nothing."""
    messages: dict[str, Json] | None = None
    """Signals and events that the old run had not used."""


@dataclass(frozen=True, slots=True)
class Old:
    """A run that is over: what it was started with, and what it recorded."""

    info: RunInfo
    body: Json
    envelope: Envelope
    journal: dict[str, Json]
    began: bool
    """Whether it has come to its first step."""


class Again:
    """Prepares runs that go on from older ones; starting them is the client's."""

    def __init__(
        self,
        temporal: temporalio.client.Client,
        store: Store,
        settings: Settings,
        project: Callable[[], Project],
        *,
        search_attributes: bool,
    ) -> None:
        self._temporal = temporal
        self._store = store
        self._settings = settings
        self._project = project
        self._search_attributes = search_attributes

    async def retry(self, run_id: str, pins: Mapping[str, Json] | None = None) -> Ready:
        """Go on from what failed or was stopped."""
        old = await self._old(run_id, "retried")
        carried = carry.retry(old.journal, old.envelope.definition)
        return await self._ready(old, old.envelope, carried, pins)

    async def rerun(self, run_id: str, from_step: str, pins: Mapping[str, Json] | None = None) -> Ready:
        """Run a step and what comes after it again."""
        old = await self._old(run_id)
        carried = carry.rerun(old.journal, old.envelope.definition, from_step)
        return await self._ready(old, old.envelope, carried, pins)

    async def restart(self, run_id: str, version: str | None = None, pins: Mapping[str, Json] | None = None) -> Ready:
        """Go on from what failed or was stopped, on another version: the current one unless given."""
        old = await self._old(run_id, "restarted")
        before = old.envelope
        admitted = await admission.admit(
            self._store,
            self._project(),
            self._settings,
            before.definition.flow,
            old.body,
            inputs=before.inputs,
            version=version,
            trigger=before.trigger,
            until=before.until,
            test=before.test,
        )
        envelope = replace(before, definition=admitted.definition, inputs=admitted.inputs, env=admitted.env)
        carried = carry.upgrade(old.journal, before.definition, admitted.definition)
        return await self._ready(old, envelope, carried, pins)

    async def _ready(self, old: Old, envelope: Envelope, carried: Carried, pins: Mapping[str, Json] | None) -> Ready:
        if pins:
            carried = carry.pin(carried, envelope.definition, pins, admission.now_text())
        root = envelope.root or str(old.journal.get("root") or old.info.id)
        attempt = await self._next_attempt(old, root)
        envelope = replace(
            envelope,
            root=root,
            attempt=attempt,
            retry_of=old.info.id,
            search_attributes=self._search_attributes,
            searchable=self._settings.searchable(registered=self._search_attributes),
            largest_payload=self._settings.largest_payload,
        )
        plan = Plan(
            run_id=f"{root}~r{attempt}",
            retry_of=old.info.id,
            flow=envelope.definition.flow,
            version=envelope.definition.version,
            kept=carried.kept,
            again=carried.again,
            undone=carried.undone,
            changed=carried.changed,
            left=carried.left,
            pinned=carried.pinned,
        )
        journal = dict(carried.journal)
        messages = journal.pop("messages", None)
        return Ready(plan, old.body, envelope, journal if old.began else {}, messages)

    async def _old(self, run_id: str, done: str | None = None) -> Old:
        """A run that is over. ``done`` says what a completed run cannot be."""
        run = Run(self._temporal, run_id)
        info = await run.info()
        if info.status not in OVER:
            raise Conflict(f"the run '{run_id}' is {info.status}; end it first: `orchestrator runs cancel {run_id}`")
        if info.status == "completed" and done:
            raise Conflict(
                f"the run '{run_id}' completed, so it cannot be {done}; run it again from a step: "
                f"`orchestrator runs rerun {run_id} --from STEP`"
            )
        body, envelope = await started_with(self._temporal, run_id)
        if envelope.slice is not None and envelope.parent is not None:
            raise Refused(f"the run '{run_id}' is a part of a loop of run '{envelope.parent['run']}'; choose that run")
        journal = await run.journal()
        return Old(info, body, envelope, journal or {"records": []}, began=bool(journal))

    async def _next_attempt(self, old: Old, root: str) -> int:
        """The number of the chain's next run. The chain is a line, so that no idempotency key is used for two different
        things: only its last run can be gone on from. Raises Conflict."""
        attempt = max(old.envelope.attempt, old.info.attempt) + 1
        newest: RunInfo | None = None
        while True:
            try:
                found = await Run(self._temporal, f"{root}~r{attempt}").info()
            except NotFound:
                break
            attempt += 1
            # An older one belongs to an earlier run of the same id, which an idempotency key can start again.
            newest = found if found.started_at >= old.info.started_at else newest
        if newest is not None:
            raise Conflict(
                f"the run '{old.info.id}' goes on as '{newest.id}' already, which is {newest.status}; choose that one"
            )
        return attempt


async def latest_of(temporal: temporalio.client.Client, info: RunInfo) -> RunInfo:
    """The last run of the chain that goes on from ``info``; itself where there is none."""
    root, attempt, latest = info.root or info.id, info.attempt, info
    while True:
        attempt += 1
        try:
            found = await Run(temporal, f"{root}~r{attempt}").info()
        except NotFound:
            return latest
        if found.started_at >= info.started_at:
            latest = found


async def started_with(temporal: temporalio.client.Client, run_id: str) -> tuple[Json, Envelope]:
    """Body and envelope of a run, from the beginning of its history."""
    request = GetWorkflowExecutionHistoryRequest(
        namespace=temporal.namespace,
        execution=WorkflowExecution(workflow_id=run_id),
        maximum_page_size=_FIRST_EVENTS,
    )
    try:
        with temporal_errors(temporal, run_id=run_id):
            answer = await temporal.workflow_service.get_workflow_execution_history(request)
    except NotFound as error:
        raise NotFound(
            f"Temporal does not have the history of run '{run_id}' (any more), so there is nothing to go on from: "
            "start the flow anew"
        ) from error
    events = answer.history.events
    given = events[0].workflow_execution_started_event_attributes.input.payloads
    arguments: list[Json] = await temporal.data_converter.decode(given)
    body = arguments[0] if arguments else None
    if len(arguments) < 3:
        envelope, definition = await _resolved(temporal, run_id, events)
    else:
        envelope, definition = arguments[1], arguments[2]
    return body, envelope_from_json(envelope, definition_from_json(definition), body)


async def _resolved(temporal: temporalio.client.Client, run_id: str, events: Any) -> list[Json]:
    """What a run that another client started bare resolved for itself."""
    for event in events:
        if _is_resolution(event):
            payloads: list[Payload] = list(event.marker_recorded_event_attributes.details["result"].payloads)
            found: list[list[Json]] = await temporal.data_converter.decode(payloads)
            return found[0]
    raise Refused(f"the run '{run_id}' ended before its flow was known; start it anew")


def _is_resolution(event: HistoryEvent) -> bool:
    if not event.HasField("marker_recorded_event_attributes"):
        return False
    details = event.marker_recorded_event_attributes.details
    told = [json.loads(payload.data) for payload in details["data"].payloads] if "data" in details else []
    return any(one.get("activity_type") == RESOLVE_FLOW for one in told) and "result" in details
