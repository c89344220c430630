"""From messages of queues to runs of the flows that consume them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from orchestrator.client import Client
from orchestrator.client.queues import QueueDesk
from orchestrator.client.starting import keyed_run_id
from orchestrator.client.triggers import Declared, Triggers
from orchestrator.dispatch.loops import side_by_side, until
from orchestrator.dispatch.rules import Rules
from orchestrator.errors import NotFound, OrchestratorError, Unavailable
from orchestrator.spec.definition import Json
from orchestrator.spec.moment import moment_text
from orchestrator.spec.queues import QueueEntry
from orchestrator.store.brokers import Broker
from orchestrator.store.queues import Message

_LOGGER = logging.getLogger("orchestrator.dispatch")
AT_ONCE = 50
"""Messages of a queue taken together."""
POLL = 1.0
"""Seconds between two looks for what other processes sent, and for what was delayed."""
POLL_OTHERS = 0.2
"""The same where a queue is in Redis, of which nobody tells this process anything."""
RETRY = 5.0
"""Seconds before a message is seen to again when Temporal could not be asked."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds before a message that was refused a run is tried again; doubled from refusal to refusal."""


class QueueConsumer:
    """Takes messages and starts a run for each. A message is done when its run has started; until then it is handed out
    again, to the same run. What no run can be started for is put among the dead letters."""

    name = "queues"

    def __init__(self, client: Client, desk: QueueDesk) -> None:
        self._client = client
        self._store = client.store
        self._desk = desk
        self._triggers = Triggers(client.store, "queue")
        self._seen: tuple[Declared, ...] = ()
        self._consumers: dict[str, list[Rules]] = {}
        self._quiet: dict[str, float] = {}
        """Queues that could not be used, and when they are tried again."""

    async def turn(self) -> None:
        """See to what is there, or wait until something may be. Raises Unavailable."""
        self._store.queues.arrived.clear()
        consumers = await self._by_queue()
        ours = [queue for queue in consumers if self._desk.in_store(queue)]
        others = [queue for queue in consumers if queue not in ours]
        due = await self._store.queues.with_due(ours) if ours else []
        results = await side_by_side(self._tend(queue, consumers[queue]) for queue in [*due, *others])
        if not any(results):
            await until(self._store.queues.arrived, POLL_OTHERS if others else POLL)

    async def _by_queue(self) -> dict[str, list[Rules]]:
        declared = await self._triggers.all()
        if declared is not self._seen:
            self._consumers = {}
            for one in declared:
                self._consumers.setdefault(str(one.trigger["queue"]), []).append(Rules(one))
            self._seen = declared
        return self._consumers

    async def _tend(self, queue: str, consumers: Sequence[Rules]) -> int:
        """As ``_drain``; what is wrong with this queue alone is no reason to stop the others."""
        now = asyncio.get_running_loop().time()
        if self._quiet.get(queue, now) > now:
            return 0
        try:
            taken = await self._drain(queue, consumers)
        except OrchestratorError as error:
            if isinstance(error, Unavailable) and self._desk.in_store(queue):
                raise
            if queue not in self._quiet:
                _LOGGER.warning("%s; tried again every %g s", error, RETRY)
            self._quiet[queue] = asyncio.get_running_loop().time() + RETRY
            return 0
        if self._quiet.pop(queue, None) is not None:
            _LOGGER.info("queue '%s' goes on", queue)
        return taken

    async def _drain(self, queue: str, consumers: Sequence[Rules]) -> int:
        """Take messages and see to them; how many there were."""
        entry, broker = self._desk.entry(queue), self._desk.broker(queue)
        room = asyncio.Semaphore(entry.concurrency)

        async def see_to(message: Message) -> None:
            async with room:
                await self._see_to(message, consumers, entry, broker)

        taken = await broker.take(queue, max(AT_ONCE, entry.concurrency), entry.lease)
        await side_by_side(see_to(message) for message in taken)
        return len(taken)

    async def _see_to(self, message: Message, consumers: Sequence[Rules], entry: QueueEntry, broker: Broker) -> None:
        """Start the run of a message. Raises Unavailable."""
        try:
            outcome = await self._start(message, consumers)
        except Unavailable:
            await broker.release(message, RETRY)
            raise
        except OrchestratorError as error:
            await _refuse(message, error, entry, broker)
            return
        await broker.done(message, outcome)

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


async def _refuse(message: Message, error: OrchestratorError, entry: QueueEntry, broker: Broker) -> None:
    problem = f"{error.code}: {error}"
    if message.refusals + 1 < entry.max_refusals:
        await broker.refuse(message, problem, min(FIRST_PAUSE * 2**message.refusals, LONGEST_PAUSE))
        return
    _LOGGER.warning(
        "message %s of queue '%s' is a dead letter now: %s; see `orchestrator queues peek --dead %s`",
        message.id,
        message.queue,
        problem,
        message.queue,
    )
    await broker.refuse(message, problem, None)


def _trigger(message: Message, declared: Declared) -> dict[str, Json]:
    """The run's ``trigger``: the same however often the message is handed out."""
    return {
        "type": "queue",
        "id": declared.id,
        "time": moment_text(message.sent_at),
        "body": message.body,
        "queue": message.queue,
        "message_id": message.id,
    }
