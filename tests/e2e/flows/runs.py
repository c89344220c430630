"""Runs of the example flows, from their doors to their ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import httpx
import pytest
from tests.e2e.product import Product, run_of

from orchestrator.client import Client, RunFailed
from orchestrator.store.tasks import Task

Json = Any
SECONDS = 120.0
"""Bounds what takes a second or two on an idle machine."""
_Found = TypeVar("_Found")


def with_client(house: Product, ask: Callable[[Client], Awaitable[_Found]]) -> _Found:
    """What the client of the house finds."""

    async def asked() -> _Found:
        async with await Client.connect(house.settings) as client:
            return await ask(client)

    return asyncio.run(asked())


def deliver(house: Product, path: str, body: Json) -> str:
    """Post to a webhook of the house; the run id."""
    answer = httpx.post(f"{house.settings.gateway_url}{path}", json=body, timeout=60)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["run_id"])


def start(house: Product, flow: str, inputs: Json) -> str:
    """Start a flow over HTTP; the run id."""
    url = f"{house.settings.gateway_url}/v1/flows/{flow}/runs"
    answer = httpx.post(url, json={"inputs": inputs}, timeout=60)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["run_id"])


def result(house: Product, run_id: str) -> Json:
    """What a run gives that completes."""
    return with_client(house, lambda client: client.run(run_id).result(SECONDS))


def error(house: Product, run_id: str) -> dict[str, Json]:
    """The error of a run that fails."""
    try:
        found = result(house, run_id)
    except RunFailed as failed:
        return failed.error
    pytest.fail(f"run {run_id} completed with {found}")


def records(house: Product, run_id: str) -> dict[str, Json]:
    """The records of a run's steps by path."""

    async def ask(client: Client) -> dict[str, Json]:
        found: dict[str, Json] = (await client.run(run_id).state())["steps"]
        return found

    return with_client(house, ask)


def open_task(house: Product, run_id: str) -> Task:
    """The task that a run opens."""
    found = until(lambda: with_client(house, lambda client: client.tasks(run_id=run_id, status="open")))
    return found[0]


def decide(house: Product, task: Task, decision: str, comment: str | None = None) -> None:
    """Answer a task."""
    with_client(house, lambda client: client.decide(task.id, decision, None, comment, by="kim"))


def waits(house: Product, run_id: str, count: int = 1) -> list[Json]:
    """The open waits of a run, once there are so many."""

    def look() -> list[Json]:
        found = (run_of(house, run_id).get("state") or {}).get("waits", [])
        return found if len(found) >= count else []

    return until(look)


def until(look: Callable[[], _Found]) -> _Found:
    """What ``look`` finds, as soon as it finds something."""
    deadline = time.monotonic() + SECONDS
    while not (found := look()):
        assert time.monotonic() < deadline, f"nothing was found within {SECONDS:g} s"
        time.sleep(0.1)
    return found
