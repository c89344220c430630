"""The client itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import temporalio.client
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from orchestrator import admission
from orchestrator.client import starting
from orchestrator.client.again import Again, Plan, Ready, latest_of
from orchestrator.client.connection import connect_temporal, temporal_errors
from orchestrator.client.listing import Narrower, RunPage, page_of
from orchestrator.client.permits import holder_to_join
from orchestrator.client.run import EVENT_MEMBERS, OVER, Run, RunInfo
from orchestrator.client.tasks import LinkedTask, TaskDesk
from orchestrator.errors import (
    Conflict,
    NotFound,
    OrchestratorError,
    Refused,
)
from orchestrator.payloads.converter import carrying, release
from orchestrator.settings import Settings
from orchestrator.spec.concurrency import trigger_event
from orchestrator.spec.definition import Envelope, Json
from orchestrator.spec.loading import load_flow_file
from orchestrator.spec.people import names_of, people_behind
from orchestrator.spec.project import Project, load_project
from orchestrator.steps.tasks.links import MadeLink
from orchestrator.store.audit import Audited
from orchestrator.store.database import Store
from orchestrator.store.deliveries import Claim
from orchestrator.store.flows import PublishedVersion
from orchestrator.store.tasks import Status as TaskStatus
from orchestrator.store.tasks import Task, Wanted
from orchestrator.telemetry import ensure_search_attributes

_LONGEST_ID = 500
_PAGE = 200


class Client:
    """Starts runs and answers questions about them. Use ``Client.connect``; one per process is enough."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        temporal: temporalio.client.Client,
        project: Callable[[], Project],
        *,
        search_attributes: bool = False,
        eager: bool = False,
        owns_store: bool = False,
        owns_temporal: bool = False,
    ) -> None:
        self.settings = settings
        self.store = store
        self.temporal = temporal
        self.search_attributes = search_attributes
        self._project = project
        self._encoder = starting.Encoder(temporal, settings)
        self._again = Again(temporal, store, settings, project, search_attributes=search_attributes)
        self._desk = TaskDesk(temporal, store, settings)
        self._eager = eager
        self._owns_store = owns_store
        self._owns_temporal = owns_temporal

    @classmethod
    async def connect(
        cls,
        settings: Settings | None = None,
        *,
        store: Store | None = None,
        temporal: temporalio.client.Client | None = None,
        project: Callable[[], Project] | None = None,
        eager: bool = False,
    ) -> Self:
        """Connect to Temporal and the store; what is given is used and left open at the end.

        A connection that is given is used with the storage for large values that the settings name, unless it has its
        own. ``project`` is asked at every start; without it ``orchestrator.yaml`` is read again whenever it changes.
        ``eager`` starts runs on a worker of this process that shares ``temporal``. Raises SettingsInvalid and
        Unavailable.
        """
        settings = settings or Settings.from_environment()
        given = temporal
        temporal = await connect_temporal(settings) if given is None else carrying(given, settings)
        with temporal_errors(temporal):
            registered = await ensure_search_attributes(temporal)
        owns_store = store is None
        return cls(
            settings,
            store or await Store.open(settings.store),
            temporal,
            project or _project_reader(settings),
            search_attributes=registered,
            eager=eager,
            owns_store=owns_store,
            owns_temporal=temporal is not given,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close what this client opened."""
        if self._owns_store:
            await self.store.aclose()
        if self._owns_temporal:
            await release(self.temporal.data_converter)

    async def check(self) -> None:
        """Ask Temporal for an answer. Raises Unavailable."""
        with temporal_errors(self.temporal):
            await self.temporal.workflow_service.describe_namespace(
                DescribeNamespaceRequest(namespace=self.temporal.namespace)
            )

    # -- publishing -------------------------------------------------------------------------------------------

    async def publish(self, flow: Path | str) -> PublishedVersion:
        """Make a flow known, from its file or from its YAML, so that it can be started; the same content twice is
        published once. Raises FlowInvalid with every problem, Conflict for other content under a published version.
        """
        project = self._project()
        if isinstance(flow, Path):
            return await admission.publish(self.store, project, load_flow_file(flow, project))
        published, _ = await admission.publish_text(self.store, project, flow)
        return published

    # -- starting ---------------------------------------------------------------------------------------------

    async def start(
        self,
        flow: str,
        inputs: Mapping[str, Json] | None = None,
        *,
        version: str | None = None,
        run_id: str | None = None,
        idempotency_key: str | None = None,
        trigger: dict[str, Json] | None = None,
        until: str | None = None,
        by: str | None = None,
        convert_text: bool = False,
        digest: str | None = None,
        delay: float = 0.0,
    ) -> Run:
        """Start a run and answer as soon as Temporal has recorded it.

        With an ``idempotency_key`` the same start is made once: repeated, it answers the run in progress or
        completed, and starts a failed one again. ``trigger`` is the scope's ``trigger`` of a door; the run's body
        is then ``trigger.body``, else the inputs. ``digest`` identifies the body where the door knows better than
        its JSON. ``delay`` is how many seconds the run waits before it begins. Raises NotFound, Refused,
        InputsInvalid, Conflict, IdempotencyMismatch, TooLarge, Unavailable.
        """
        if run_id is not None and not 0 < len(run_id) <= _LONGEST_ID:
            raise Refused(f"a run id has 1 to {_LONGEST_ID} characters")
        body: Json = dict(inputs or {}) if trigger is None else trigger.get("body")

        async def admit() -> Envelope:
            return await admission.admit(
                self.store,
                self._project(),
                self.settings,
                flow,
                body,
                inputs=inputs or {},
                version=version,
                trigger=trigger,
                by=by,
                until=until,
                search_attributes=self.search_attributes,
                convert_text=convert_text,
            )

        if idempotency_key is None:
            new_id, envelope = run_id or starting.new_run_id(flow), await admit()
            joined = None if delay else await self._joined(new_id, envelope)
            return joined or await self._start(new_id, body, envelope, keyed=False, delay=delay)
        claim = await self.store.deliveries.claim(
            idempotency_key,
            flow,
            digest or starting.body_hash(body),
            workflow_id=run_id or starting.keyed_run_id(flow, idempotency_key),
            window=self.settings.idempotency_window,
        )
        return await self._start_once(claim, body, admit, delay)

    async def _start_once(
        self, claim: Claim, body: Json, admit: Callable[[], Awaitable[Envelope]], delay: float
    ) -> Run:
        known = await self._known(claim)
        if known is not None:
            return known
        try:
            envelope = await admit()
            joined = None if delay else await self._joined(claim.workflow_id, envelope)
        except OrchestratorError:
            if claim.new:
                await self.store.deliveries.forget(claim)
            raise
        run = joined or await self._start(claim.workflow_id, body, envelope, keyed=True, delay=delay)
        if joined is None and not claim.new:
            # The delivery before this one may have started it, on another version.
            run = await self._described(run)
        await self.store.deliveries.record_answer(claim, _answer(run))
        return run

    async def _joined(self, run_id: str, envelope: Envelope) -> Run | None:
        """The run that goes on and takes over what this one would be started for, where the flow joins."""
        holder = await holder_to_join(self.temporal, self.settings.task_queue, envelope, run_id)
        if holder is None:
            return None
        run = self.run(holder)
        event = trigger_event(envelope.trigger) | {"id": f"join {run_id}"}
        await run.deliver({name: value for name, value in event.items() if name in EVENT_MEMBERS})
        return await self._described(run)

    async def _start(self, run_id: str, body: Json, envelope: Envelope, *, keyed: bool, delay: float) -> Run:
        definition = envelope.definition
        reuse = WorkflowIDReusePolicy.REJECT_DUPLICATE
        conflict = WorkflowIDConflictPolicy.FAIL
        if keyed:
            reuse = WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY
            conflict = WorkflowIDConflictPolicy.USE_EXISTING
        args = self._encoder.arguments(body, envelope)
        try:
            with temporal_errors(self.temporal, run_id=run_id):
                handle = await self.temporal.start_workflow(
                    definition.flow,
                    args=args,
                    id=run_id,
                    task_queue=self.settings.task_queue,
                    id_reuse_policy=reuse,
                    id_conflict_policy=conflict,
                    start_delay=timedelta(seconds=delay) if delay else None,
                    **starting.options(envelope, eager=self._eager and not delay),
                )
        except WorkflowAlreadyStartedError as error:
            if not keyed:
                raise Conflict(f"there is a run '{run_id}' already; choose another id") from error
            return await self._described(
                Run(self.temporal, run_id, definition.flow, definition.version, store=self.store)
            )
        return Run(self.temporal, run_id, definition.flow, definition.version, handle, self.store)

    async def _known(self, claim: Claim) -> Run | None:
        """The run that an earlier delivery of this key started; None when a (new) start is due."""
        if claim.answer is None:
            return None
        given = (claim.answer.get("flow"), claim.answer.get("version"))
        run = Run(self.temporal, claim.workflow_id, *given, store=self.store)
        try:
            info = await run.info()
        except NotFound:
            return run  # Temporal's retention is over, the key's window is not.
        if info.status not in OVER - {"completed"}:
            return run
        latest = await latest_of(self.temporal, info)
        if latest.id == info.id or latest.status in OVER - {"completed"}:
            return None
        return Run(self.temporal, latest.id, latest.flow, latest.version, store=self.store)

    async def _described(self, run: Run) -> Run:
        info = await run.info()
        run.version = info.version or run.version
        return run

    # -- going on from an older run ---------------------------------------------------------------------------

    async def retry(self, run_id: str, *, pins: Mapping[str, Json] | None = None, by: str | None = None) -> Run:
        """Go on with a run that failed, timed out, was cancelled or terminated: a new run of the same definition, which
        keeps what completed and was not compensated since.

        ``pins`` are results by step (path, or id outside loops) that count instead of running it; ``by`` is who asked.
        Raises NotFound, Refused, Conflict for a run that is not over, completed or goes on already, TooLarge,
        Unavailable.
        """
        return await self._start_again(await self._again.retry(run_id, pins), by)

    async def rerun(
        self, run_id: str, from_step: str, *, pins: Mapping[str, Json] | None = None, by: str | None = None
    ) -> Run:
        """Run a step of a run that is over, and everything after it, again; also of a completed run. ``from_step`` is a
        path, or an id outside loops. Raises as ``retry`` does."""
        return await self._start_again(await self._again.rerun(run_id, from_step, pins), by)

    async def restart(
        self,
        run_id: str,
        version: str | None = None,
        *,
        pins: Mapping[str, Json] | None = None,
        by: str | None = None,
    ) -> Run:
        """``retry`` on another version of the flow: the current one unless given. Results are kept where the step is
        the same in both. Raises as ``retry`` does, and InputsInvalid."""
        return await self._start_again(await self._again.restart(run_id, version, pins), by)

    async def plan_retry(self, run_id: str, *, pins: Mapping[str, Json] | None = None) -> Plan:
        """What ``retry`` would do; nothing is started."""
        return (await self._again.retry(run_id, pins)).plan

    async def plan_rerun(self, run_id: str, from_step: str, *, pins: Mapping[str, Json] | None = None) -> Plan:
        """What ``rerun`` would do; nothing is started."""
        return (await self._again.rerun(run_id, from_step, pins)).plan

    async def plan_restart(
        self, run_id: str, version: str | None = None, *, pins: Mapping[str, Json] | None = None
    ) -> Plan:
        """What ``restart`` would do; nothing is started."""
        return (await self._again.restart(run_id, version, pins)).plan

    async def _start_again(self, ready: Ready, by: str | None) -> Run:
        definition = ready.envelope.definition
        run_id = ready.plan.run_id
        # The last argument only behind the one before it.
        carried = [part for part in (ready.journal, ready.messages) if part] if ready.journal else []
        args = self._encoder.arguments(ready.body, ready.envelope, *carried)
        try:
            with temporal_errors(self.temporal, run_id=run_id):
                handle = await self.temporal.start_workflow(
                    definition.flow,
                    args=args,
                    id=run_id,
                    task_queue=self.settings.task_queue,
                    id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                    id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                    **starting.options(ready.envelope, eager=self._eager, by=by),
                )
        except WorkflowAlreadyStartedError as error:
            raise Conflict(f"the run '{ready.plan.retry_of}' goes on as '{run_id}' already; choose that one") from error
        return Run(self.temporal, run_id, definition.flow, definition.version, handle, self.store)

    # -- looking ----------------------------------------------------------------------------------------------

    def run(self, run_id: str) -> Run:
        """The run of that id, which need not exist."""
        return Run(self.temporal, run_id, store=self.store)

    async def next_of(self, info: RunInfo) -> RunInfo | None:
        """The newest run that goes on from this one; None where there is none."""
        latest = await latest_of(self.temporal, info)
        return None if latest.id == info.id else latest

    async def runs(self, flow: str | None = None, status: str | None = None, limit: int = 50) -> list[RunInfo]:
        """Recent runs, newest first; a run can take a second to appear. Raises Refused for an unknown status."""
        found: list[RunInfo] = []
        after: str | None = None
        while len(found) < limit:
            page = await page_of(self.temporal, flow, status, min(_PAGE, limit - len(found)), after)
            found += page.runs
            after = page.next
            if after is None:
                break
        return found

    async def runs_page(
        self,
        flow: str | None = None,
        status: str | None = None,
        size: int = 50,
        after: str | None = None,
        narrower: Narrower | None = None,
    ) -> RunPage:
        """A page of the list of recent runs; ``after`` is the ``next`` of the page before. Raises Refused for another
        ``after`` and for an unknown status."""
        return await page_of(self.temporal, flow, status, size, after, narrower or Narrower())

    # -- tasks ------------------------------------------------------------------------------------------------

    async def tasks(
        self,
        status: TaskStatus | None = None,
        assignee: str | None = None,
        run_id: str | None = None,
        limit: int = 100,
    ) -> list[Task]:
        """Human tasks, newest first. Those of an ``assignee`` are also those of their groups, as far as the project's
        contacts name the members, and not those that only others may decide."""
        wanted = Wanted(None if status is None else (status,), run_id)
        if assignee is not None:
            wanted = self.wanted_of(assignee, wanted)
        return list(await self.store.tasks.find(wanted, limit=limit))

    def wanted_of(self, person: str, wanted: Wanted) -> Wanted:
        """``wanted``, narrowed to what waits for a person or for a group they are a member of."""
        contacts = self._project().contacts
        names = names_of(contacts, person)
        return replace(wanted, holders=names, person=None if people_behind(contacts, names[0]) else names[0])

    async def task(self, task_id: str) -> Task:
        """One task. Raises NotFound."""
        return await self.store.tasks.get(task_id)

    async def decide(
        self,
        task_id: str,
        decision: str,
        data: Json = None,
        comment: str | None = None,
        by: str | None = None,
    ) -> dict[str, Json]:
        """Decide an open task, or vote on one that needs several, and learn at once whether that was taken.

        Raises NotFound, InputsInvalid for a decision or data the task does not know, Refused where this person may not
        decide, Conflict when it is closed or this person has decided, Unavailable when no worker answers.
        """
        return await self._desk.decide(task_id, decision, data, comment, by)

    async def comment(self, task_id: str, comment: str, by: str | None = None) -> dict[str, Json]:
        """Say something about an open task without deciding it. Raises as ``decide`` does."""
        return await self._desk.comment(task_id, comment, by)

    async def delegate(self, task_id: str, to: str, by: str, comment: str | None = None) -> dict[str, Json]:
        """Hand an open task on to somebody else; ``by`` is who has it. Raises as ``decide`` does."""
        return await self._desk.delegate(task_id, to, by, comment)

    async def task_history(self, task_id: str) -> list[Audited]:
        """What has happened to a task, oldest first. Raises NotFound."""
        return await self._desk.history(task_id)

    async def task_links(
        self, task_id: str, person: str, lasts: timedelta | None = None, by: str | None = None
    ) -> list[MadeLink]:
        """Links with which ``person`` can decide an open task, once: one per decision, and one behind which they
        choose. They last until the deadline, or a week. Raises NotFound, Conflict."""
        return await self._desk.links(task_id, person, lasts, by)

    async def linked_task(self, token: str) -> LinkedTask:
        """What a link leads to. Raises NotFound, Conflict where it has expired, was used, or the task is closed."""
        return await self._desk.linked(token)

    async def decide_linked(
        self, token: str, decision: str | None = None, data: Json = None, comment: str | None = None
    ) -> dict[str, Json]:
        """Decide with a link, as the person it was made for. Raises as ``linked_task`` and ``decide`` do."""
        return await self._desk.decide_linked(token, decision, data, comment)


def _answer(run: Run) -> dict[str, Json]:
    return {"run_id": run.id, "flow": run.flow, "version": run.version}


def _project_reader(settings: Settings) -> Callable[[], Project]:
    """Reads ``orchestrator.yaml`` again when it has changed."""
    path = settings.project_dir / "orchestrator.yaml"
    kept: tuple[tuple[int, int] | None, Project] | None = None

    def read() -> Project:
        nonlocal kept
        try:
            found = path.stat()
            stamp = (found.st_mtime_ns, found.st_size)
        except OSError:
            stamp = None
        if kept is None or kept[0] != stamp:
            kept = (stamp, load_project(settings.project_dir))
        return kept[1]

    return read
