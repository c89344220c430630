"""``/v1/flows/{flow}/webhooks`` and ``…/samples``: where a flow's webhooks are, and what was tried on them."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from orchestrator.gateway.routes import TEST, Routes
from orchestrator.settings import Settings
from orchestrator.store.database import Store
from orchestrator.store.samples import KEPT


class WebhookShown(BaseModel):
    """One webhook of a flow's current version."""

    id: str
    method: str
    url: str
    test_url: str = Field(description="Takes the same requests, keeps them as samples and starts nothing")
    verify: str | None = Field(description="How its senders prove themselves; null: anybody may send")
    counts: dict[str, int] = Field(description="What became of requests since this gateway started, by outcome")


class WebhookList(BaseModel):
    webhooks: list[WebhookShown]


class SampleShown(BaseModel):
    """A delivery to a test address."""

    id: str
    flow: str
    trigger: str = Field(description="The trigger's id")
    version: str
    delivery: dict[str, Any] = Field(description="What `trigger` would have been in the run")
    outcome: dict[str, Any] = Field(description="Whether it would have started a run, and with which inputs")
    created_at: datetime


class SampleList(BaseModel):
    samples: list[SampleShown]


def router(store: Store, routes: Routes, settings: Settings, counts: Counter[tuple[str, str, str]]) -> APIRouter:
    """The operations on a flow's webhooks."""
    api = APIRouter(prefix="/v1/flows", tags=["flows"])

    @api.get("/{flow}/webhooks", operation_id="listWebhooks", summary="Where a flow's webhooks are")
    async def webhooks(flow: str) -> WebhookList:
        await store.flows.current(flow)
        found = [
            WebhookShown(
                id=hook.id,
                method=hook.method,
                url=f"{settings.gateway_url}{hook.path}",
                test_url=f"{settings.gateway_url}{hook.path}{TEST}",
                verify=None if hook.verify is None else hook.verify.scheme,
                counts={
                    outcome: count
                    for (of, id_, outcome), count in sorted(counts.items())
                    if (of, id_) == (flow, hook.id)
                },
            )
            for hook in await routes.all()
            if hook.flow == flow
        ]
        return WebhookList(webhooks=found)

    @api.get("/{flow}/samples", operation_id="listSamples", summary="What was sent to a flow's test addresses")
    async def samples(
        flow: str, trigger: str | None = None, limit: Annotated[int, Query(ge=1, le=100)] = KEPT
    ) -> SampleList:
        await store.flows.current(flow)
        return SampleList(
            samples=[SampleShown(**asdict(sample)) for sample in await store.samples.list(flow, trigger, limit)]
        )

    return api
