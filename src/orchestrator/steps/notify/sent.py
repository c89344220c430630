"""What earlier attempts of a step have sent already, and sending to several places side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

from temporalio import activity

from orchestrator.errors import StepError, TerminalError
from orchestrator.steps.context import StepContext

Json = Any
Send = Callable[[], Awaitable[Json]]
_MEMBER = "sent"


class Sent:
    """What this step has sent, by idempotency key. It travels to the next attempt in the details of a heartbeat: what
    was sent is not sent again because something else failed."""

    def __init__(self, known: Mapping[str, Json]) -> None:
        self._known = dict(known)

    @classmethod
    def so_far(cls) -> Sent:
        """What earlier attempts of the running activity noted. An express step has nowhere to note it."""
        details = activity.info().heartbeat_details if activity.in_activity() else ()
        first = details[0] if details else None
        known = first.get(_MEMBER) if isinstance(first, dict) else None
        return cls(known if isinstance(known, dict) else {})

    @property
    def known(self) -> Mapping[str, Json]:
        """All of it."""
        return self._known

    async def once(self, context: StepContext, send: Send) -> Json:
        """What ``send`` answers, or answered in an earlier attempt. Raises what it raises."""
        key = context.idempotency_key
        if key not in self._known:
            self._known[key] = context.secrets.mask(await send())
            if activity.in_activity():
                activity.heartbeat({_MEMBER: self._known})
        return self._known[key]


async def side_by_side(
    ways: Mapping[str, Send], require: Literal["any", "all"], context: StepContext
) -> dict[str, Json]:
    """What each way answered, or ``{"error": {type, message}}``. All are tried, and those that failed are warnings of
    the run.

    Raises StepError or TerminalError ``delivery_failed`` where every way failed, or with ``all`` any of them; its data
    holds the answers of all.
    """
    tasks = [asyncio.create_task(_outcome(send)) for send in ways.values()]
    try:
        outcomes = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
    answers: dict[str, Json] = {}
    failed: dict[str, StepError] = {}
    for name, outcome in zip(ways, outcomes, strict=True):
        if isinstance(outcome, StepError):
            failed[name] = outcome
            answers[name] = {"error": {"type": outcome.type, "message": context.secrets.mask_text(outcome.message)}}
        else:
            answers[name] = outcome
    if len(failed) == len(ways) or (failed and require == "all"):
        raise _together(failed, len(ways), answers)
    for name, error in failed.items():
        context.warnings.append(f"'{name}' was not told: {context.secrets.mask_text(error.message)}")
    return answers


async def _outcome(send: Send) -> Json | StepError:
    try:
        return await send()
    except StepError as error:
        return error


def _together(failed: Mapping[str, StepError], ways: int, answers: dict[str, Json]) -> StepError:
    """One error for all of them. Another attempt is worth it where it may help one of them."""
    listed = "; ".join(f"{name}: {error.message}" for name, error in failed.items())
    kind = StepError if any(error.retryable for error in failed.values()) else TerminalError
    waits = [error.retry_after for error in failed.values() if error.retry_after is not None]
    message = f"{len(failed)} of {ways} could not be told: {listed}"
    return kind("delivery_failed", message, retry_after=max(waits, default=None), data={"channels": answers})


def part_of(context: StepContext, name: str) -> StepContext:
    """The context of one of several things a step sends: it has an idempotency key of its own."""
    return replace(context, idempotency_key=f"{context.idempotency_key}:{name}")
