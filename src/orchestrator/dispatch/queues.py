"""From messages of queues to runs of the flows that consume them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from orchestrator.client import Client
from orchestrator.client.starting import keyed_run_id
from orchestrator.client.triggers import Declared, Triggers
from orchestrator.dispatch.rules import Rules
from orchestrator.errors import NotFound, OrchestratorError, Unavailable
from orchestrator.spec.definition import Json
from orchestrator.spec.project import Project
from orchestrator.spec.queues import QueueEntry, queue_entry
from orchestrator.store.queues import Message

_LOGGER = logging.getLogger("orchestrator.dispatch")
AT_ONCE = 50
"""Messages of a queue taken together."""
POLL = 1.0
"""Seconds between two looks for what other processes sent, and for what was delayed."""
RETRY = 5.0
"""Seconds before a message is seen to again when Temporal could not be asked."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds before a message that was refused a run is tried again; doubled from refusal to refusal."""


class QueueConsumer:
    """Takes messages and starts a run for each. A message is done when its run has started; until then it is handed out
    again, to the same run. What no run can be started for is put among the dead letters."""

    name = "queues"

    def __init__(self, client: Client, project: Callable[[], Project]) -> None:
        self._client = client
        self._store = client.store
        self._project = project
        self._triggers = Triggers(client.store, "queue")
        self._seen: tuple[Declared, ...] = ()
        self._consumers: dict[str, list[Rules]] = {}

    async def turn(self) -> None:
        """See to what is there, or wait until something may be. Raises Unavailable."""
        self._store.queues.arrived.clear()
        consumers = await self._by_queue()
        due = await self._store.queues.with_due(list(consumers)) if consumers else []
        if not due:
            await _until(self._store.queues.arrived, POLL)
            return
        results = await asyncio.gather(*(self._drain(queue, consumers[queue]) for queue in due), return_exceptions=True)
        for problem in results:
            if isinstance(problem, BaseException):
                raise problem

    async def _by_queue(self) -> dict[str, list[Rules]]:
        declared = await self._triggers.all()
        if declared is not self._seen:
            self._consumers = {}
            for one in declared:
                self._consumers.setdefault(str(one.trigger["queue"]), []).append(Rules(one))
            self._seen = declared
        return self._consumers

    async def _drain(self, queue: str, consumers: Sequence[Rules]) -> None:
        entry = queue_entry(self._project().queues, queue, lambda name: self._client.settings.secrets.get(name, ""))
        room = asyncio.Semaphore(entry.concurrency)

        async def see_to(message: Message) -> None:
            async with room:
                await self._see_to(message, consumers, entry)

        taken = await self._store.queues.take(queue, max(AT_ONCE, entry.concurrency), entry.lease)
        results = await asyncio.gather(*(see_to(message) for message in taken), return_exceptions=True)
        for problem in results:
            if isinstance(problem, BaseException):
                raise problem

    async def _see_to(self, message: Message, consumers: Sequence[Rules], entry: QueueEntry) -> None:
        """Start the run of a message. Raises Unavailable."""
        try:
            outcome = await self._start(message, consumers)
        except Unavailable:
            await self._store.queues.release(message, RETRY)
            raise
        except OrchestratorError as error:
            await self._refuse(message, error, entry)
            return
        await self._store.queues.done(message, outcome)

    async def _start(self, message: Message, consumers: Sequence[Rules]) -> dict[str, Json]:
        """What became of the message: the first consumer whose ``if`` wants it starts a run."""
        for rules in consumers:
            declared = rules.declared
            trigger = _trigger(message, declared)
            if not rules.applies({"trigger": trigger}):
                continue
            own = rules.key(trigger)
            key = own or f"queue {message.queue} {message.id}"
            if own is None and message.deliveries > 1 and await self._has_run(declared.flow, key):
                return {"flow": declared.flow, "run_id": keyed_run_id(declared.flow, key)}
            run = await self._client.start(
                declared.flow,
                rules.inputs(trigger),
                version=declared.version,
                trigger=trigger,
                idempotency_key=key,
            )
            return {"flow": declared.flow, "run_id": run.id}
        return {"skipped": True}

    async def _has_run(self, flow: str, key: str) -> bool:
        """Whether an earlier delivery of a message started its run: also one that failed since is not started again."""
        try:
            await self._client.run(keyed_run_id(flow, key)).info()
        except NotFound:
            return False
        return True

    async def _refuse(self, message: Message, error: OrchestratorError, entry: QueueEntry) -> None:
        problem = f"{error.code}: {error}"
        if message.refusals + 1 < entry.max_refusals:
            await self._store.queues.refuse(message, problem, min(FIRST_PAUSE * 2**message.refusals, LONGEST_PAUSE))
            return
        _LOGGER.warning(
            "message %s of queue '%s' is a dead letter now: %s; see `orchestrator queues peek --dead %s`",
            message.id,
            message.queue,
            problem,
            message.queue,
        )
        await self._store.queues.refuse(message, problem, None)


def _trigger(message: Message, declared: Declared) -> dict[str, Json]:
    """The run's ``trigger``: the same however often the message is handed out."""
    return {
        "type": "queue",
        "id": declared.id,
        "time": message.sent_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "body": message.body,
        "queue": message.queue,
        "message_id": message.id,
    }


async def _until(arrived: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await arrived.wait()
    except TimeoutError:
        return
