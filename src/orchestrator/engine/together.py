"""Running coroutines side by side and under a deadline, deterministically.

``asyncio.wait``, ``as_completed``, ``TaskGroup`` and ``asyncio.timeout`` are not used: the first two depend on set
order and break replay, the third raises ExceptionGroup (which sticks a run), the last turns an activity's
cancellation into the wrong exception (ENGINE §3, §5, §9).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from temporalio import workflow

T = TypeVar("T")
Work = Coroutine[Any, Any, T]

CLEANED_UP_AFTER = (Exception, asyncio.CancelledError)
"""What clean-up that waits or calls Temporal may follow. Never ``finally`` or BaseException: when a run is dropped
from a worker's memory its coroutines are closed with GeneratorExit, outside the workflow, where neither is possible."""


async def settle(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel the tasks and wait until every one of them has really stopped, even if we are cancelled meanwhile.
    Their results and errors are dropped."""
    for task in tasks:
        task.cancel()
    await _outlast(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()


async def _outlast(tasks: Sequence[asyncio.Task[Any]]) -> None:
    pending = [task for task in tasks if not task.done()]
    interrupted: asyncio.CancelledError | None = None
    while pending:
        try:
            await workflow.wait(pending)
        except asyncio.CancelledError as error:
            interrupted = error
        pending = [task for task in pending if not task.done()]
    if interrupted:
        raise interrupted


async def run_all(
    works: Sequence[Work[T]], stops: Callable[[BaseException], bool]
) -> tuple[list[T | BaseException], list[int]]:
    """Run all side by side. Returns each one's result or exception in the given order, and the indexes in the order
    they finished.

    An exception for which ``stops`` is true cancels the others, which are awaited until they have stopped, and is
    raised; any other is returned once everything has ended. Cancelling this call cancels all.
    """
    tasks = [asyncio.create_task(work) for work in works]
    finished: list[int] = []
    pending = list(tasks)
    try:
        while pending:
            done, _ = await workflow.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                pending.remove(task)
                finished.append(tasks.index(task))
                outcome = _outcome(task)
                if isinstance(outcome, BaseException) and stops(outcome):
                    raise outcome
    except CLEANED_UP_AFTER:
        await settle(pending)
        raise
    return [_outcome(task) for task in tasks], finished


def _outcome(task: asyncio.Task[T]) -> T | BaseException:
    if task.cancelled():
        return asyncio.CancelledError()
    error = task.exception()
    return error if error is not None else task.result()


async def within(seconds: float | None, work: Work[T], expired: Callable[[], BaseException], summary: str) -> T:
    """The work's result, or ``expired()`` raised after ``seconds`` of workflow time, once the work has stopped.
    None means no deadline."""
    if seconds is None:
        return await work
    task = asyncio.create_task(work)
    timer = asyncio.create_task(workflow.sleep(seconds, summary=summary))
    try:
        await workflow.wait([task, timer], return_when=asyncio.FIRST_COMPLETED)
    except CLEANED_UP_AFTER:
        await settle([task, timer])
        raise
    if task.done():
        await settle([timer])
        return task.result()
    await settle([task])
    raise expired()


def raise_if_cancelled() -> None:
    """Raise CancelledError where a cancellation was asked for while the step ran to a normal end: it must not hide
    the request (ENGINE §5)."""
    current = asyncio.current_task()
    if current is not None and current.cancelling():
        raise asyncio.CancelledError
