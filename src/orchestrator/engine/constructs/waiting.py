"""The steps that are nothing but waiting: ``wait`` and ``wait-for-event``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from temporalio import workflow

from orchestrator.engine.activities import Outcome
from orchestrator.engine.callbacks import name_of
from orchestrator.engine.clock import now_text
from orchestrator.engine.events import Event
from orchestrator.engine.failures import StepFailed, error_record, told
from orchestrator.engine.frame import Frame
from orchestrator.engine.inbox import Receiver, new_future
from orchestrator.engine.listening import listen
from orchestrator.engine.run import Walk
from orchestrator.engine.waits import Wait
from orchestrator.expressions import ExpressionError, Meter
from orchestrator.spec.base import parse_duration
from orchestrator.spec.concurrency import trigger_event
from orchestrator.spec.definition import Json, Node
from orchestrator.spec.patterns import matches_type, member

OPERATIONS_PER_EVENT = 1_000
"""What the `if` of a wait may cost: it is evaluated while messages are handled, a thousand of which may come in one
workflow task, where the run cannot yield."""
LAST_YEAR = 9000


async def wait(walk: Walk, node: Node, frame: Frame, path: str) -> Outcome:
    """Wait for a length of time or until an instant; what has passed is over at once."""
    run = walk.run
    state = run.journal.state(path)
    if "until" not in state:
        config = walk.render(walk.program.code(node).config, node, frame).value
        state["until"] = _instant(walk, node, path, config)
    with run.waits.open(Wait(path, node.id, "wait", run.clock.text(state["until"]))):
        await run.clock.until(state["until"], node.name or path)
    return Outcome(None)


def _instant(walk: Walk, node: Node, path: str, config: dict[str, Json]) -> int:
    try:
        if "duration" in config:
            return walk.run.clock.after(parse_duration(config["duration"]))
        # What lies before 1970 has passed like anything else; some of it has no text.
        return max(0, walk.run.clock.at(_moment(config["until"])))
    except (ValueError, OverflowError) as error:
        raise StepFailed(error_record(node, path, "invalid_config", str(error))) from error


def _moment(given: Json) -> datetime:
    example = "2026-01-31T09:00:00+09:00"
    if not isinstance(given, str):
        raise ValueError(f"`until` gave {told(given)}; write an instant as text, for example {example}")
    try:
        moment = datetime.fromisoformat(given)
    except ValueError as error:
        raise ValueError(f"`until` gave {given[:80]!r}, which is no instant; write for example {example}") from error
    if moment.tzinfo is None:
        raise ValueError(f"{given!r} has no time zone; write for example {example}")
    if moment.year > LAST_YEAR:
        raise ValueError(f"{given!r} is too late: the last year that can be waited for is {LAST_YEAR}")
    return moment


async def wait_for_event(walk: Walk, node: Node, frame: Frame, path: str) -> Outcome:
    """Wait for an event or a signal that correlates, until the timeout."""
    listening = _Listening(walk, node, frame, path)
    run = walk.run
    if listening.state.setdefault("until", None) is None and node.config.get("timeout") is not None:
        listening.state["until"] = run.clock.after(node.config["timeout"])
    until = listening.state["until"]
    shown = None if until is None else run.clock.text(until)
    with run.waits.open(Wait(path, node.id, "event", shown)), listening.opened():
        await listening.announced()
        if until is None:
            await listening.done
        else:
            await run.clock.first(listening.done, until, f"timeout of {node.id}")
    if listening.failure is not None:
        raise StepFailed(error_record(node, path, **listening.failure))
    if listening.is_full():
        return Outcome(listening.output())
    if node.config.get("on_timeout") == "continue":
        return Outcome({"timed_out": True, "event": None, "events": listening.taken})
    awaited = "its callback" if node.config.get("callback") else listening.signal or ", ".join(listening.types)
    message = f"'{node.id}' waited for {awaited} until {shown}, and none came that correlates"
    raise StepFailed(error_record(node, path, "deadline_exceeded", message))


class _Listening:
    """One wait while it is open. What was taken stands in its state, so that it survives continue-as-new."""

    def __init__(self, walk: Walk, node: Node, frame: Frame, path: str) -> None:
        self._walk = walk
        self._node = node
        self._path = path
        self._frame = frame
        self.state = walk.run.journal.state(path)
        self.taken: dict[str, Event] = self.state.setdefault("taken", {})
        self.done = new_future()
        self.failure: dict[str, str] | None = self.state.get("failure")
        """What a callback was told instead of data."""
        self.signal: str | None = name_of(path) if node.config.get("callback") else node.config.get("signal")
        """What it is called in the inbox; None where it waits for events."""
        self._meter = Meter(workflow.now, lambda: str(workflow.uuid4()), OPERATIONS_PER_EVENT)
        wanted = walk.render(walk.program.code(node).config, node, frame).value
        given = wanted.get("event", ())
        self.types: tuple[str, ...] = tuple(given) if isinstance(given, list | tuple) else (given,)
        if self.signal is None and not (self.types and all(isinstance(t, str) and t for t in self.types)):
            message = f"`event` of '{node.id}' gave {told(given)}: nobody can send an event of that type"
            raise StepFailed(error_record(node, path, "invalid_config", message))
        self._correlate: dict[str, Json] = wanted.get("correlate", {})
        if not isinstance(self._correlate, dict):
            message = f"`correlate` of '{node.id}' gave {told(self._correlate)}; it takes a mapping"
            raise StepFailed(error_record(node, path, "invalid_config", message))

    async def announced(self) -> None:
        """Tell once that events are waited for. What is waited for from the run's start was told then."""
        if self.signal is not None or self._node.id in self._walk.program.early or "listening" in self.state:
            return
        since = self.state.setdefault("since", now_text())
        if not self.is_full():
            wanted = {"path": self._path, "types": list(self.types), "correlate": self._correlate}
            await listen(self._walk.run, [wanted], since)
        self.state["listening"] = True

    def is_full(self) -> bool:
        """Whether everything has come."""
        if self.failure is not None:
            return True
        if self._node.config.get("mode") == "all":
            return all(kind in self.taken for kind in self.types)
        return bool(self.taken)

    def output(self) -> dict[str, Json]:
        """The step's output."""
        return {"timed_out": False, "event": self.state["last"], "events": self.taken}

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Listen while the context is open."""
        run = self._walk.run
        signal = self.signal
        self._settle()
        if not self.is_full() and self._node.config.get("include_trigger"):
            self._offer(trigger_event(run.envelope.trigger))
        if signal is not None:
            run.inbox.open(signal, self._path, Receiver(self._refuse, self._take, self.is_full, keeps=True))
        else:
            run.events.listen(self._node, self._path, self._offer)
        try:
            yield
        finally:
            if signal is not None:
                run.inbox.close(signal, self._path)
            else:
                run.events.close(self._path)

    def _offer(self, event: Event) -> bool:
        if self.is_full() or not matches_type(self.types, event["type"]) or not self._correlates(event):
            return False
        kind = event["type"]
        if self._node.config.get("mode") == "all":
            kind = next(one for one in self.types if matches_type((one,), event["type"]))
            if kind in self.taken:
                return False
        self._keep(kind, event)
        return True

    def _refuse(self, message: Json) -> str | None:
        if self.is_full():
            return f"'{self._node.id}' has what it waited for"
        event = self._event(message)
        return None if self._correlates(event) else f"it does not correlate with what '{self._node.id}' waits for"

    def _take(self, message: Json) -> None:
        if self._node.config.get("callback") and "error" in message:
            self.failure = self.state["failure"] = _told_failure(message["error"])
            self._settle()
            return
        event = self._event(message)
        self._keep(event["type"], event | {"time": now_text()})

    def _event(self, message: Json) -> Event:
        if self._node.config.get("callback"):
            return {"id": message.get("callback"), "type": "callback", "time": None, "data": message.get("data")}
        return _signal_event(str(self.signal), message)

    def _keep(self, kind: str, event: Event) -> None:
        self.taken[kind] = event
        self.state["last"] = event
        self._settle()

    def _settle(self) -> None:
        if self.is_full() and not self.done.done():
            self.done.set_result(None)

    def _correlates(self, event: Event) -> bool:
        if any(member(event, dotted) != value for dotted, value in self._correlate.items()):
            return False
        condition = self._walk.program.code(self._node).fields.get("if")
        if condition is None:
            return True
        try:
            return condition.evaluate_bool(self._frame.scope | {"event": event}, self._meter)
        except ExpressionError as error:
            # Asked while a message is handled, where a failure would stick the run.
            self._walk.run.inbox.note(self._node.id, f"its `if` could not be evaluated: {error}")
            return False


def _signal_event(name: str, message: Json) -> Event:
    given: Any = message.get("signal_id") if isinstance(message, dict) else None
    return {"id": given, "type": name, "time": None, "data": message}


def _told_failure(error: Json) -> dict[str, str]:
    given = error if isinstance(error, dict) else {}
    message = given.get("message") or "the other side answered with an error"
    return {"kind": str(given.get("type") or "callback_error")[:100], "message": str(message)[:10_000]}
