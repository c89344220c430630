"""Running coroutines side by side, deterministically.

``asyncio.wait``, ``as_completed``, ``TaskGroup`` and ``asyncio.timeout`` are not used: the first two depend on set
order and break replay, the third raises ExceptionGroup (which sticks a run), the last turns an activity's
cancellation into the wrong exception (ENGINE §3, §5, §9).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

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
    await outlast(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()


async def outlast(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Wait until every task has ended, however often we are cancelled meanwhile; that is raised afterwards."""
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


@dataclass(frozen=True, slots=True)
class Ended(Generic[T]):
    """How a set of works ended."""

    results: list[T | BaseException | None]
    """By work; None for one that is still running."""
    finished: list[int]
    """Indexes in the order they finished."""
    pending: list[asyncio.Task[T]]
    """Still running: only where ``enough`` ended the waiting."""


def _goes_on(index: int, outcome: object) -> bool:
    return False


async def run_all(
    works: Sequence[Work[T]],
    stops: Callable[[BaseException], bool],
    enough: Callable[[int, T | BaseException], bool] = _goes_on,
) -> Ended[T]:
    """Run all side by side until everything has ended, or ``enough`` says so as one of them finishes.

    An exception for which ``stops`` is true cancels the others, which are awaited until they have stopped, and is
    raised; any other stands among the results. Cancelling this call cancels all.
    """
    tasks = [asyncio.create_task(work) for work in works]
    numbers = {task: index for index, task in enumerate(tasks)}
    finished: list[int] = []
    pending = list(tasks)
    try:
        while pending:
            done, _ = await workflow.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                pending.remove(task)
                finished.append(numbers[task])
                outcome = _outcome(task)
                if isinstance(outcome, BaseException) and stops(outcome):
                    raise outcome
                if enough(numbers[task], outcome):
                    return _ended(tasks, finished)
    except CLEANED_UP_AFTER:
        await settle(pending)
        raise
    return _ended(tasks, finished)


def _ended(tasks: list[asyncio.Task[T]], finished: list[int]) -> Ended[T]:
    results = [_outcome(task) if task.done() else None for task in tasks]
    return Ended(results, finished, [task for task in tasks if not task.done()])


def _outcome(task: asyncio.Task[T]) -> T | BaseException:
    if task.cancelled():
        return asyncio.CancelledError()
    error = task.exception()
    return error if error is not None else task.result()


def raise_if_cancelled() -> None:
    """Raise CancelledError where a cancellation was asked for while the step ran to a normal end: it must not hide
    the request (ENGINE §5)."""
    current = asyncio.current_task()
    if current is not None and current.cancelling():
        raise asyncio.CancelledError
