"""Config of ``agent``: a model that calls tools until it reaches a goal."""

from __future__ import annotations

from pydantic import Field, model_validator

from orchestrator.spec.base import ActConfig, Duration, Spec, act


class AgentTool(Spec):
    """One source of tools: an MCP server (narrowed by ``allow``), a function, a flow or another agent."""

    mcp: str | None = None
    allow: list[str] | None = None
    function: str | None = None
    flow: str | None = None
    agent: str | None = None

    @model_validator(mode="after")
    def _one(self) -> AgentTool:
        kinds = [kind for kind in ("mcp", "function", "flow", "agent") if getattr(self, kind) is not None]
        if len(kinds) != 1:
            raise ValueError("a tool is exactly one of `mcp`, `function`, `flow`, `agent`")
        if self.allow is not None and self.mcp is None:
            raise ValueError("`allow` narrows the tools of an `mcp` server only")
        return self


class AgentLimits(Spec):
    """Where an agent stops at the latest."""

    turns: int | None = Field(None, ge=1)
    tokens: int | None = Field(None, ge=1)
    cost: float | None = Field(None, gt=0)
    time: Duration | None = None


@act("agent")
class AgentConfig(ActConfig):
    """Either a declared ``agent``, or ``model`` and ``system`` in place."""

    agent: str | None = None
    model: str | None = None
    system: str | None = None
    goal: str
    tools: list[AgentTool] = Field(default=[])
    approve: list[str] = Field(default=[])
    limits: AgentLimits | None = None

    @model_validator(mode="after")
    def _one(self) -> AgentConfig:
        if self.agent is not None and (self.model is not None or self.system is not None):
            raise ValueError("give either `agent` (a declared one) or `model` and `system`, not both")
        return self
