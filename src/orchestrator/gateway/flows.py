"""``/v1/flows``: what is published, and publishing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from orchestrator import admission
from orchestrator.client.metrics import metrics_of
from orchestrator.gateway.bodies import read_body
from orchestrator.settings import Settings
from orchestrator.spec.base import parse_duration
from orchestrator.spec.project import Project
from orchestrator.store.database import Store

_YAML = {"application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"}


class FlowShown(BaseModel):
    """A flow and its current version."""

    flow: str
    name: str | None
    version: str
    hash: str
    enabled: bool
    published_at: datetime
    versions: int = Field(description="How many versions are published")


class FlowList(BaseModel):
    flows: list[FlowShown]


class FlowDetail(BaseModel):
    """One version of a flow."""

    flow: str
    version: str
    hash: str
    enabled: bool
    published_at: datetime
    versions: list[str] = Field(description="Every published version, newest first")
    triggers: list[dict[str, Any]]
    inputs: dict[str, Any] = Field(description="JSON Schema of the inputs")
    text: str = Field(description="The YAML as it was published")


class MetricsShown(BaseModel):
    """What the runs took that ended in a window. Times are seconds, costs US dollars, rates from 0 to 1."""

    flow: str
    since: datetime
    until: datetime
    runs: dict[str, int] = Field(description="How many ended how")
    complete: bool = Field(description="False where the window holds more runs than the newest 10,000 told of here")
    spreads: dict[str, dict[str, float]] = Field(description="By metric of single runs: mean, p50, p95, max, total")
    rates: dict[str, float] = Field(description="success_rate and error_rate of the runs nobody cancelled")
    steps: dict[str, dict[str, float]] = Field(
        description="By step: runs, failed, attempts, mean seconds, longest, tokens, cost"
    )
    alerts: dict[str, int] = Field(description="Alerts raised since then: how many are waiting, sent, failed")


class Finding(BaseModel):
    """A remark about a flow file."""

    message: str
    file: str
    line: int
    column: int
    hint: str | None
    severity: str


class FlowPublished(BaseModel):
    """What a publication did."""

    flow: str
    version: str
    hash: str
    created: bool = Field(description="False when exactly this content was published before")
    warnings: list[Finding]


def router(store: Store, project: Callable[[], Project], settings: Settings) -> APIRouter:
    """The operations on flows."""
    api = APIRouter(prefix="/v1/flows", tags=["flows"])

    @api.get("", operation_id="listFlows", summary="List flows")
    async def list_flows() -> FlowList:
        return FlowList(flows=[FlowShown(**asdict(summary)) for summary in await store.flows.list()])

    @api.get("/{flow}", operation_id="getFlow", summary="Look at a flow")
    async def show(flow: str, version: str | None = None) -> FlowDetail:
        return await detail_of(store, flow, version)

    @api.get("/{flow}/metrics", operation_id="getFlowMetrics", summary="What a flow's runs took")
    async def metrics(
        flow: str, window: Annotated[str, Query(description="How far back: 24h, 7d, or seconds")] = "24h"
    ) -> MetricsShown:
        try:
            seconds = parse_duration(window)
        except ValueError as error:
            raise HTTPException(422, f"window: {error}") from error
        return MetricsShown(**asdict(await metrics_of(store, flow, seconds)))

    @api.post(
        "",
        operation_id="publishFlow",
        summary="Publish a flow from its YAML",
        status_code=201,
        responses={200: {"description": "This content was published before", "model": FlowPublished}},
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/yaml": {"schema": {"type": "string"}}},
            }
        },
    )
    async def publish(request: Request, response: Response) -> FlowPublished:
        kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind not in _YAML:
            # Also keeps pages of other origins out: browsers ask before they send this type.
            raise HTTPException(415, "send the flow's YAML with Content-Type: application/yaml")
        body = await read_body(request, settings.max_body)
        text = body.value if isinstance(body.value, str) else ""
        published, warnings = await admission.publish_text(store, project(), text, file="<request>", settings=settings)
        response.status_code = 201 if published.created else 200
        response.headers["Location"] = f"/v1/flows/{published.flow}"
        return FlowPublished(**asdict(published), warnings=[Finding(**asdict(warning)) for warning in warnings])

    return api


async def detail_of(store: Store, flow: str, version: str | None) -> FlowDetail:
    """One version of a flow, the current one unless given. Raises NotFound."""
    found = await (store.flows.current(flow) if version is None else store.flows.version(flow, version))
    return FlowDetail(
        flow=found.flow,
        version=found.version,
        hash=found.hash,
        enabled=found.enabled,
        published_at=found.published_at,
        versions=await store.flows.versions(flow),
        triggers=found.triggers,
        inputs=found.definition.inputs,
        text=found.text,
    )
