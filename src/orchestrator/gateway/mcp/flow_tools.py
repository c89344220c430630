"""Tools about flows: list, show, learn the format, check, publish."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

from pydantic import BaseModel, Field

from orchestrator import admission
from orchestrator.errors import FlowInvalid
from orchestrator.gateway.flows import Finding, FlowDetail, FlowPublished, FlowShown, detail_of
from orchestrator.gateway.mcp import reference
from orchestrator.gateway.mcp.exposed import FlowTools
from orchestrator.gateway.mcp.tool import Arguments, BuiltIn, Call, Given, Long, Text
from orchestrator.spec.loading import load_flow
from orchestrator.spec.project import Project
from orchestrator.store.database import Store

_FILE = "flow.yaml"
"""The name that problems of a text without a file give as its place."""


Yaml = Annotated[Long, Field(description="The flow's YAML")]


class ListFlows(Arguments):
    """Nothing is asked."""


class ShowFlow(Arguments):
    """Which flow."""

    flow: Given = Field(description="Its id, as list_flows shows it")
    version: Text | None = Field(None, description="A published version; without it the current one")


class FlowFormat(Arguments):
    """What about."""

    topic: Text | None = Field(None, description="A topic or a step type; without it an overview that lists them")


class FlowText(Arguments):
    """A flow."""

    text: Yaml


class FlowListed(FlowShown):
    """A flow, its current version, and its tool."""

    tool: str | None = Field(description="The tool that starts it, where it is one; else start_run does")


class FlowsListed(BaseModel):
    """Every published flow."""

    flows: list[FlowListed]


class FlowReference(BaseModel):
    """A part of the format's reference."""

    topic: str
    text: str
    topics: list[str] = Field(description="What else can be asked for")


class FlowChecked(BaseModel):
    """What checking a flow found."""

    valid: bool = Field(description="Whether publish_flow would take it, unless its version is published already")
    flow: str | None = None
    version: str | None = None
    steps: int | None = None
    problems: list[Finding] = Field(description="What stands in the way")
    warnings: list[Finding] = Field(default=[])


class FlowOut(FlowPublished):
    """What a publication did."""

    tool: str | None = Field(description="The tool that starts it, where the flow says `expose: {mcp: true}`")


def tools(store: Store, project: Callable[[], Project], exposed: FlowTools) -> list[BuiltIn]:
    """The tools about flows."""

    async def listed(_: ListFlows, __: Call) -> FlowsListed:
        names = {tool.flow: name for name, tool in (await exposed.all()).items()}
        return FlowsListed(
            flows=[FlowListed(**asdict(one), tool=names.get(one.flow)) for one in await store.flows.list()]
        )

    async def show(given: ShowFlow, _: Call) -> FlowDetail:
        return await detail_of(store, given.flow, given.version)

    async def explain(given: FlowFormat, _: Call) -> FlowReference:
        topic = given.topic or reference.OVERVIEW
        return FlowReference(topic=topic, text=reference.page(topic, project()), topics=reference.topics())

    async def check(given: FlowText, _: Call) -> FlowChecked:
        return await _checked(store, project(), given.text)

    async def publish(given: FlowText, _: Call) -> FlowOut:
        published, warnings = await admission.publish_text(store, project(), given.text, file=_FILE)
        found = [Finding(**asdict(warning)) for warning in warnings]
        return FlowOut(**asdict(published), warnings=found, tool=await exposed.name_of(published.flow))

    return [
        BuiltIn("list_flows", "List flows", "Every published flow with its version.", ListFlows, FlowsListed, listed),
        BuiltIn(
            "show_flow", "Show a flow", "A flow's YAML, inputs, triggers and versions.", ShowFlow, FlowDetail, show
        ),
        BuiltIn(
            "flow_format",
            "How flows are written",
            "The reference for writing flows: start here without `topic`, then ask for the step types you use.",
            FlowFormat,
            FlowReference,
            explain,
        ),
        BuiltIn(
            "validate_flow",
            "Check a flow",
            "Check a flow's YAML without publishing it: every problem with line, column and hint.",
            FlowText,
            FlowChecked,
            check,
        ),
        BuiltIn(
            "publish_flow",
            "Publish a flow",
            "Publish a flow from its YAML: new runs use it, its triggers start runs. A published version never "
            "changes; leave `version` out to get the next one.",
            FlowText,
            FlowOut,
            publish,
            reads=False,
        ),
    ]


async def _checked(store: Store, project: Project, text: str) -> FlowChecked:
    try:
        loaded = load_flow(text, _FILE, project)
        problems = await admission.problems_of(store, loaded)
    except FlowInvalid as error:
        return FlowChecked(valid=False, problems=[Finding(**asdict(problem)) for problem in error.problems])
    return FlowChecked(
        valid=not problems,
        flow=loaded.definition.flow,
        version=loaded.flow.version,
        steps=sum(1 for _ in loaded.definition.walk()),
        problems=[Finding(**asdict(problem)) for problem in problems],
        warnings=[Finding(**asdict(warning)) for warning in loaded.warnings],
    )
