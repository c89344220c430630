"""The runs under fire: how they are started, signalled, decided or cancelled, and what each must come to."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError, CancelledError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode
from tests.e2e.chaos.stack import HERE, Door, Stack
from tests.e2e.chaos.thinker import LAST_WORDS

from orchestrator.spec.definition import Envelope, definition_to_json, envelope_to_json
from orchestrator.spec.loading import load_flow_file
from orchestrator.spec.project import load_project

Json = Any
_Answer = TypeVar("_Answer")
FATES = ("complete", "complete", "complete", "fail", "cancel")
"""What runs come to, in turn."""
CONTINUE_AFTER = 60
"""History events after which every second run goes on as a new one."""


@dataclass(slots=True)
class Case:
    """One run, what was found of it, and what is wrong with it."""

    number: int
    fate: str
    problems: list[str] = field(default_factory=list)

    @property
    def id(self) -> str:
        return f"chaos-{self.number}"

    @property
    def inputs(self) -> dict[str, Json]:
        return {"number": self.number, "fate": self.fate}


def expected_output(number: int) -> dict[str, Json]:
    """What a run that completes must return."""
    return {
        "quick": number,
        "winner": "quick",
        "sums": [number + item for item in (10, 20, 30, 40, 50)],
        "total": 4,
        "caught": "tripped",
        "child": number * 2,
        "thought": LAST_WORDS,
        "paid": 8,
        "played": {"play-1": 1, "play-2": 2},
        "fast": 2,
        "cached": ["kept", "kept"],
        "tolerated": "failed",
        "repaired": "broken",
        "heard": number,
        "decision": "approve",
        "last": 4,
    }


class Driver:
    """Drives runs through doors that come and go."""

    def __init__(self, stack: Stack, temporal: Client, door: Door, chance: random.Random) -> None:
        self._temporal = temporal
        self._door = door
        self._chance = chance
        self._queue = stack.settings.task_queue
        self._recorder = stack.settings.env["RECORDER"]
        self._definition = load_flow_file(HERE / "flow.yaml", load_project(stack.folder)).definition

    async def drive(self, case: Case) -> None:
        """One run from its start to its end; what it ended with is compared with what it must end with."""
        await (self._start_by_hand(case) if case.number % 2 else self._start_at_the_door(case))
        await asyncio.sleep(self._chance.uniform(0.0, 6.0))
        handle = self._temporal.get_workflow_handle(case.id)
        message = {"number": case.number, "signal_id": f"go-{case.number}"}
        for _ in range(2):  # Applied once: both carry the same id.
            await patiently(lambda: handle.signal("go", message))
        await self._answer_review(case)
        await self._check(case)

    async def _start_at_the_door(self, case: Case) -> None:
        """Twice, as a caller does who got no answer: the key makes it one run."""
        for _ in range(2):
            await self._door.ask(
                "POST",
                "/v1/flows/chaos/runs",
                202,
                json={"inputs": case.inputs, "run_id": case.id},
                headers={"Idempotency-Key": case.id},
            )

    async def _start_by_hand(self, case: Case) -> None:
        """With an envelope that makes the run continue as new again and again."""
        trigger = {"type": "api", "id": case.id, "time": "2026-01-01T00:00:00Z", "body": case.inputs}
        env = {"RECORDER": self._recorder}
        envelope = Envelope(self._definition, case.inputs, env, trigger, continue_after=CONTINUE_AFTER)
        args = [case.inputs, envelope_to_json(envelope, case.inputs), definition_to_json(self._definition)]

        async def start() -> None:
            try:
                await self._temporal.start_workflow(
                    "chaos", args=args, id=case.id, task_queue=self._queue, task_timeout=timedelta(seconds=5)
                )
            except WorkflowAlreadyStartedError:
                return

        await patiently(start)

    async def _answer_review(self, case: Case) -> None:
        """Wait until a person is asked; decide, or cancel the run."""
        while True:
            listed = await self._door.ask("GET", f"/v1/tasks?status=open&run_id={case.id}", 200)
            tasks = listed.json()["tasks"]
            if tasks:
                break
            if await self._is_over(case):
                return
            await asyncio.sleep(0.5)
        if case.fate == "cancel":
            await self._door.ask("POST", f"/v1/runs/{case.id}/cancel", 202, 409, json={})
            return
        path = f"/v1/tasks/{tasks[0]['id']}/decision"
        while (await self._door.ask("POST", path, 200, 409, json={"decision": "approve"})).status_code == 409:
            # Listed a moment before the run waits for it; or taken already, unheard.
            if (await self._door.ask("GET", f"/v1/tasks/{tasks[0]['id']}", 200)).json()["status"] != "open":
                return
            if await self._is_over(case):
                return
            await asyncio.sleep(0.2)

    async def _is_over(self, case: Case) -> bool:
        description = await patiently(lambda: self._temporal.get_workflow_handle(case.id).describe())
        return description.close_time is not None and description.status is not None and description.status.value != 6

    async def _check(self, case: Case) -> None:
        try:
            ended = await self._result(case)
        except WorkflowFailureError as failure:
            ended = failure
        case.problems += unlike_expected(case, ended)

    async def _result(self, case: Case) -> Json:
        return await patiently(lambda: self._temporal.get_workflow_handle(case.id).result())


def unlike_expected(case: Case, ended: Json) -> list[str]:
    """How the end of a run differs from what it must be."""
    if case.fate == "complete":
        wanted = expected_output(case.number)
        if ended == wanted:
            return []
        if not isinstance(ended, dict):
            return [f"ended with {_told(ended)}"]
        return [
            f"output {name}: {ended.get(name)!r}, not {wanted[name]!r}"
            for name in wanted
            if ended.get(name) != wanted[name]
        ]
    cause = ended.cause if isinstance(ended, WorkflowFailureError) else ended
    if case.fate == "fail" and isinstance(cause, ApplicationError) and cause.type == "doomed":
        return _compensations(cause.details[0].get("compensations", []))
    if case.fate == "cancel" and isinstance(cause, CancelledError):
        return []
    return [f"ended with {_told(ended)}, not with its fate {case.fate}"]


def _compensations(told: list[dict[str, Json]]) -> list[str]:
    return [f"compensation {one['path']} is {one['status']}" for one in told if one["status"] != "completed"]


def _told(ended: Json) -> str:
    if isinstance(ended, WorkflowFailureError):
        details = ended.cause.details if isinstance(ended.cause, ApplicationError) else ()
        return f"{ended.cause!r} {details}"
    return repr(ended)


_PASSING = {
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.CANCELLED,
    RPCStatusCode.UNKNOWN,
    RPCStatusCode.INTERNAL,
    RPCStatusCode.RESOURCE_EXHAUSTED,
    RPCStatusCode.ABORTED,
}


async def patiently(ask: Callable[[], Awaitable[_Answer]]) -> _Answer:
    """The answer of a Temporal server that comes and goes."""
    while True:
        try:
            return await ask()
        except RPCError as error:
            if error.status not in _PASSING:
                raise
            await asyncio.sleep(0.2)
