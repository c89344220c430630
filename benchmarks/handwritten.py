"""The same work as in ``flows``, as somebody who knows the Temporal SDK well would write it."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta
from typing import Any

import httpx
from fastapi import FastAPI
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from benchmarks.flows import STEPS

QUEUE = "handwritten"
_LIMIT = timedelta(seconds=300)


@activity.defn
async def take_note(value: int) -> int:
    return value + 1


class Http:
    """One HTTP client for all activities of the worker."""

    def __init__(self, echo_port: int) -> None:
        self._client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{echo_port}")

    @activity.defn(name="post")
    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self._client.post(path, json=body)
        answer.raise_for_status()
        return {"status": answer.status_code, "headers": dict(answer.headers), "body": answer.json()}


@workflow.defn(name="FiveSteps")
class FiveSteps:
    @workflow.run
    async def run(self, start: int) -> int:
        value = start
        for _ in STEPS:
            value = await workflow.execute_activity(take_note, value, start_to_close_timeout=_LIMIT)
        return value


@workflow.defn(name="WebhookFive")
class WebhookFive:
    @workflow.run
    async def run(self, body: dict[str, Any]) -> dict[str, Any]:
        count = body["start"]
        for step in STEPS:
            answer: dict[str, Any] = await workflow.execute_activity(
                "post",
                args=[f"/{step}", {"count": count + 1, "name": f"step {step}"}],
                start_to_close_timeout=_LIMIT,
                result_type=dict,
            )
            count = answer["body"]["count"]
        return {"total": count, "size": "big" if count > 3 else "small"}


@workflow.defn(name="WebhookExpress")
class WebhookExpress:
    """The same with local activities: recorded when the workflow task closes, not one by one."""

    @workflow.run
    async def run(self, body: dict[str, Any]) -> dict[str, Any]:
        count = body["start"]
        for step in STEPS:
            answer: dict[str, Any] = await workflow.execute_local_activity(
                "post",
                args=[f"/{step}", {"count": count + 1, "name": f"step {step}"}],
                start_to_close_timeout=timedelta(seconds=5),
                result_type=dict,
            )
            count = answer["body"]["count"]
        return {"total": count, "size": "big" if count > 3 else "small"}


@workflow.defn(name="CountUp")
class CountUp:
    """A loop that continues as new where Temporal suggests it or its history has 5,000 events, as ours does."""

    @workflow.run
    async def run(self, count: int, times: int) -> int:
        while count < times:
            info = workflow.info()
            if info.is_continue_as_new_suggested() or info.get_current_history_length() >= 5_000:
                workflow.continue_as_new(args=[count, times])
            count = await workflow.execute_activity(take_note, count, start_to_close_timeout=_LIMIT)
        return count


@workflow.defn(name="WebhookAccepted")
class WebhookAccepted:
    """What is started and not waited for: no activity, so that starting is what costs."""

    @workflow.run
    async def run(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"total": body["start"] + 1}


@workflow.defn(name="Each")
class Each:
    """One activity per item, so many at once."""

    @workflow.run
    async def run(self, items: int, concurrency: int) -> list[int]:
        room = asyncio.Semaphore(concurrency)

        async def one(item: int) -> int:
            async with room:
                return await workflow.execute_activity(take_note, item, start_to_close_timeout=_LIMIT)

        return list(await asyncio.gather(*[one(item) for item in range(items)]))


def worker(client: Client, echo_port: int) -> Worker:
    """A tuned worker: no sandbox, and a cache above the number of runs in flight."""
    return Worker(
        client,
        task_queue=QUEUE,
        workflows=[FiveSteps, WebhookFive, WebhookExpress, WebhookAccepted, CountUp, Each],
        activities=[take_note, Http(echo_port).post],
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_cached_workflows=2_000,
    )


def web(client: Client) -> FastAPI:
    """The bare handlers: start the workflow, wait, answer."""
    app = FastAPI()

    @app.post("/webhook-five")
    async def webhook_five(body: dict[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = await client.execute_workflow(
            WebhookFive.run,
            body,
            id=f"webhook-five-{uuid.uuid4()}",
            task_queue=QUEUE,
            request_eager_start=True,
        )
        return result

    @app.post("/webhook-express")
    async def webhook_express(body: dict[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = await client.execute_workflow(
            WebhookExpress.run,
            body,
            id=f"webhook-express-{uuid.uuid4()}",
            task_queue=QUEUE,
            request_eager_start=True,
        )
        return result

    @app.post("/webhook-accepted", status_code=202)
    async def webhook_accepted(body: dict[str, Any]) -> dict[str, str]:
        handle = await client.start_workflow(
            WebhookAccepted.run,
            body,
            id=f"webhook-accepted-{uuid.uuid4()}",
            task_queue=QUEUE,
            request_eager_start=True,
        )
        return {"run_id": handle.id}

    return app
