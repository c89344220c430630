"""Which published flows are tools, and under which names. Follows what is published."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections import Counter, OrderedDict
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace

from mcp_types import Tool, ToolAnnotations
from pydantic import ValidationError

from orchestrator.gateway.mcp.tool import Json
from orchestrator.spec.flow import Expose, ExposedTool
from orchestrator.spec.source import read_source
from orchestrator.store.database import Store
from orchestrator.store.flows import FlowVersion

_LOGGER = logging.getLogger("orchestrator.gateway")
_NAME = re.compile(r"[^a-zA-Z0-9_-]")
_LONGEST_NAME = 64
"""What the Claude API takes as the name of a tool."""
_LONGEST_DESCRIPTION = 2000
_REMEMBERED = 10_000
"""Versions of which it is kept whether they are tools; they never change, so only their number is bounded."""


@dataclass(frozen=True, slots=True)
class FlowTool:
    """A flow as a tool."""

    flow: str
    version: str
    wait: float
    """Seconds a call waits for the run's output."""
    wanted: str
    """The name it has unless another tool has it."""
    description: str
    inputs: Mapping[str, Json]
    """JSON Schema, always of type object."""

    def shown(self, name: str, output: dict[str, Json]) -> Tool:
        """The tool as clients list it; ``output`` is the schema of every flow's answer."""
        return Tool(
            name=name,
            title=self.flow,
            description=self.description,
            input_schema=dict(self.inputs),
            output_schema=output,
            annotations=ToolAnnotations(read_only_hint=False, open_world_hint=True),
        )


class FlowTools:
    """The flows that opted in, by tool name. ``reserved`` are names that no flow can take."""

    def __init__(self, store: Store, reserved: Container[str]) -> None:
        self._store = store
        self._reserved = reserved
        self._revision: int | None = None
        self._tools: dict[str, FlowTool] = {}
        self._read: OrderedDict[tuple[str, str], FlowTool | None] = OrderedDict()
        self._refreshing = asyncio.Lock()

    async def all(self) -> dict[str, FlowTool]:
        """Every flow that is a tool at this moment, by its name there. Raises Unavailable."""
        async with self._refreshing:
            revision = await self._store.flows.revision()
            if revision != self._revision:
                found = [
                    await self._tool(summary.flow, summary.version)
                    for summary in await self._store.flows.list()
                    if summary.enabled
                ]
                self._tools = named([tool for tool in found if tool is not None], self._reserved)
                self._revision = revision
            return self._tools

    async def name_of(self, flow: str) -> str | None:
        """The name a flow has as a tool; None where it is none."""
        return next((name for name, tool in (await self.all()).items() if tool.flow == flow), None)

    async def _tool(self, flow: str, version: str) -> FlowTool | None:
        if (flow, version) not in self._read:
            while len(self._read) >= _REMEMBERED:
                self._read.popitem(last=False)
            self._read[flow, version] = _of_version(await self._store.flows.version(flow, version))
        return self._read[flow, version]


def named(tools: Iterable[FlowTool], reserved: Container[str]) -> dict[str, FlowTool]:
    """Tools by name. Where several flows want one name, or it is reserved, each gets an ending made of its flow's id,
    the same in every process; only a flow whose id is the name keeps it."""
    found = sorted(tools, key=lambda tool: tool.flow)
    wishes = Counter(tool.wanted for tool in found)
    by_name: dict[str, FlowTool] = {}
    for tool in found:
        alone = wishes[tool.wanted] == 1 or tool.flow == tool.wanted
        name = tool.wanted if alone and tool.wanted not in reserved else _with_ending(tool)
        by_name[name] = tool
    return by_name


def _with_ending(tool: FlowTool) -> str:
    ending = hashlib.sha256(tool.flow.encode()).hexdigest()[:8]
    return f"{tool.wanted[: _LONGEST_NAME - len(ending) - 1]}_{ending}"


def _of_version(version: FlowVersion) -> FlowTool | None:
    """What a published file says about being a tool; None where it is none."""
    if "expose" not in version.text:
        return None
    data = read_source(version.text, version.definition.file).data
    try:
        exposed = Expose.model_validate(data.get("expose") or {}).tool
    except ValidationError:
        # It was valid when it was published, by another release.
        _LOGGER.warning(
            "flow %s %s: what `expose` says is not understood; it is no tool", version.flow, version.version
        )
        return None
    if exposed is None:
        return None
    wanted = exposed.name or _NAME.sub("_", version.flow)
    tool = FlowTool(
        flow=version.flow,
        version=version.version,
        wait=exposed.wait,
        wanted=wanted,
        description=_description(version, exposed, data.get("description")),
        inputs={"type": "object", "properties": {}, "additionalProperties": False} | version.definition.inputs,
    )
    return tool if len(wanted) <= _LONGEST_NAME else replace(tool, wanted=_with_ending(tool))


def _description(version: FlowVersion, exposed: ExposedTool, written: Json) -> str:
    about = exposed.description or written or version.definition.name or f"Runs the flow {version.flow}."
    does = f"Starts a run of flow '{version.flow}'"
    if exposed.wait:
        does += f" and waits up to {exposed.wait:g} s for its output"
    return f"{str(about).strip()[:_LONGEST_DESCRIPTION]}\n\n{does}; a run that takes longer is asked for with get_run."
