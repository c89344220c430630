"""What happens to a run from outside, in a test: decisions, events, signals, callbacks, a cancel, a pause.

It happens inside the run's own workflow, where its clock is, so that it comes exactly when the case says, and nothing
has to be watched from outside.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from orchestrator.engine.waits import Wait
from orchestrator.engine.workflow import FlowWorkflow
from orchestrator.flowtests.playing.play import Part
from orchestrator.spec.acts.human_task import DECIDED_ALREADY
from orchestrator.spec.call import CALLBACK, CANCEL_RUN, EVENT
from orchestrator.spec.definition import Definition, Node
from orchestrator.spec.findings import is_template
from orchestrator.spec.flowtests.cases import Happening
from orchestrator.spec.moment import moment_text
from orchestrator.spec.patterns import matches_type

Json = Any
PAUSE, RESUME = "orchestrator.pause", "orchestrator.resume"


class Happenings:
    """The events of a case that concern one run."""

    def __init__(self, run: FlowWorkflow, part: Part, definition: Definition) -> None:
        self._run = run
        self._part = part
        self._nodes = {node.id: node for node in definition.walk()}
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        """Let everything happen that has not happened yet."""
        for number, happening in enumerate(self._part.case.events):
            if number not in self._part.delivered and self._concerns(happening):
                self._tasks.append(asyncio.create_task(self._happen(number, happening), name=f"event {number}"))

    def stop(self) -> None:
        """The run is over: nothing happens to it any more."""
        for task in self._tasks:
            task.cancel()

    def _concerns(self, happening: Happening) -> bool:
        """Whether the event is this run's: it names a step of it, or it is the case's own run."""
        what = happening.what
        named = what.decide or what.callback or what.on
        step = None if named is None else _last(named)
        own = self._part.workflow_id.find(":") < 0
        if step is None or step in self._part.play.steps:
            return own
        return step in self._nodes if not own else False

    async def _happen(self, number: int, happening: Happening) -> None:
        what = happening.what
        if what.on is not None:
            name = what.on
            await workflow.wait_condition(lambda: self._part.has_begun(name))
        # At once is without a timer, whatever the server's clock says of the moment of the start.
        if what.after:
            begun = workflow.now() if what.on is not None else workflow.info().start_time
            left = begun + timedelta(seconds=what.after) - workflow.now()
            if left > timedelta():
                await workflow.sleep(left, summary="until an event of the test")
        self._part.delivered.add(number)
        try:
            await self._act(number, happening)
        except ApplicationError as refused:
            self._part.blame(f"the run refused this event: {refused.message}", happening.where)
            return

    async def _act(self, number: int, happening: Happening) -> None:
        what = happening.what
        match what.action:
            case "decide":
                await self._decide(number, happening)
            case "callback":
                await self._call_back(number, happening)
            case "event":
                await self._emit(number, happening)
            case "signal":
                await self._signal(number, happening)
            case "cancel":
                await workflow.execute_local_activity(
                    CANCEL_RUN,
                    start_to_close_timeout=timedelta(seconds=10),
                    schedule_to_close_timeout=timedelta(minutes=5),
                )
            case "pause":
                self._tell(PAUSE, {"signal_id": f"test-{number}"})
            case "resume":
                self._tell(RESUME, {"signal_id": f"test-{number}"})

    async def _decide(self, number: int, happening: Happening) -> None:
        what = happening.what
        named = str(what.decide)
        step = _last(named)
        message: dict[str, Json] = {
            "decision": what.decision,
            "data": what.data,
            "comment": what.comment,
            "by": what.by,
        }
        if named != step:
            message["task"] = f"{self._part.workflow_id}:{named}"

        def takes() -> bool:
            return any(_is(wait, named) for wait in self._run.open_waits) and not self._is_decided(step, message)

        await self._until(number, takes)
        await self._update(step, message)

    def _is_decided(self, step: str, message: Json) -> bool:
        """Whether the open tasks of this name have their decision, and only have not gone on yet."""
        try:
            self._run.check_update(step, [_raw(message)])
        except ApplicationError as error:
            return DECIDED_ALREADY in error.message
        return False

    async def _call_back(self, number: int, happening: Happening) -> None:
        what = happening.what
        named = str(what.callback)
        await self._until(number, lambda: self._path(named) is not None)
        message: dict[str, Json] = {"path": self._path(named), "signal_id": f"test-{number}"}
        if what.error is not None:
            message["error"] = {"type": what.error.type, "message": what.error.message}
        else:
            message["data"] = what.data
        await self._update(CALLBACK, message)

    def _path(self, named: str) -> str | None:
        return next((wait.path for wait in self._run.open_waits if _is(wait, named)), None)

    async def _emit(self, number: int, happening: Happening) -> None:
        what = happening.what
        wanted = [node.id for node in self._waits_for("event") if _listens(node, str(what.event))]
        await self._when_awaited(number, happening, wanted)
        event = {
            "id": what.id or f"test-{number}",
            "type": what.event,
            "source": what.source or "test",
            "subject": what.subject,
            "time": moment_text(workflow.now()),
            "data": what.data,
        }
        whole = {name: value for name, value in event.items() if value is not None or name == "data"}
        self._tell(EVENT, {"event": whole, "signal_id": f"test-{number}"})

    async def _signal(self, number: int, happening: Happening) -> None:
        name = str(happening.what.signal)
        wanted = [node.id for node in self._waits_for("signal") if node.config["signal"] == name]
        await self._when_awaited(number, happening, wanted or ([name] if name in self._nodes else []))
        self._tell(name, happening.what.data)

    def _waits_for(self, key: str) -> Iterator[Node]:
        for node in self._nodes.values():
            if node.type == "wait-for-event" and node.config.get(key) is not None and not node.mocked:
                yield node

    async def _when_awaited(self, number: int, happening: Happening, steps: list[str]) -> None:
        """Without a time of its own an event comes when somebody waits for it."""
        if steps and happening.what.on is None and happening.what.after is None:
            await self._until(number, lambda: any(wait.step in steps for wait in self._run.open_waits))

    async def _until(self, number: int, condition: Callable[[], bool]) -> None:
        """Wait for a condition. Several events may wait for the same: who comes first may change it for the next."""
        self._part.delivered.discard(number)
        while not condition():
            await workflow.wait_condition(condition)
        self._part.delivered.add(number)

    async def _update(self, name: str, message: Json) -> None:
        # The SDK's decorator hides that it is a method.
        handler: Any = self._run.on_update
        await handler(name, [_raw(message)])

    def _tell(self, name: str, message: Json) -> None:
        self._run.on_signal(name, [_raw(message)])


def _last(named: str) -> str:
    """The id of the step that an id or a path names."""
    return named.rpartition("/")[2]


def _is(wait: Wait, named: str) -> bool:
    return named in (wait.step, wait.path)


def _listens(node: Node, kind: str) -> bool:
    given = node.config["event"]
    types = [str(one) for one in given] if isinstance(given, list | tuple) else [str(given)]
    return any(is_template(one) for one in types) or matches_type(tuple(types), kind)


def _raw(message: Json) -> RawValue:
    return RawValue(workflow.payload_converter().to_payload(message))
