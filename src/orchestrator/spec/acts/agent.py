"""Config of ``agent``: a model that calls tools until it reaches a goal; and of the agents that flows declare."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from orchestrator.spec.acts.claude import Sampling, Text
from orchestrator.spec.base import ActConfig, Duration, Spec, act


class AgentTool(Spec):
    """One source of tools: an MCP server (narrowed by ``allow``), a function, a flow or another agent."""

    mcp: str | None = None
    allow: list[str] | None = None
    """Names of the server's tools, ``*`` standing for any text."""
    function: str | None = None
    flow: str | None = None
    agent: str | None = None
    description: str | None = None
    """What the model reads about a function, flow or agent; empty: what its author wrote there."""

    @model_validator(mode="after")
    def _one(self) -> AgentTool:
        kinds = [kind for kind in ("mcp", "function", "flow", "agent") if getattr(self, kind) is not None]
        if len(kinds) != 1:
            raise ValueError("a tool is exactly one of `mcp`, `function`, `flow`, `agent`")
        if self.allow is not None and self.mcp is None:
            raise ValueError("`allow` narrows the tools of an `mcp` server only")
        if self.description is not None and self.mcp is not None:
            raise ValueError("the tools of an `mcp` server describe themselves")
        return self


class AgentLimits(Spec):
    """Where an agent stops at the latest. ``tokens`` and ``cost`` (US dollars) count its own model calls and those of
    the agents it calls."""

    turns: int | None = Field(None, ge=1, le=1000)
    tokens: int | None = Field(None, ge=1)
    cost: float | None = Field(None, gt=0, strict=False)
    time: Duration | None = None


class Approval(Spec):
    """Whom to ask before a tool that ``approve`` names is called, and for how long."""

    assignee: str | None = Field(default=None, min_length=1)
    group: str | None = Field(default=None, min_length=1)
    deadline: Duration | None = None
    on_deadline: Literal["fail", "refuse"] = "refuse"
    """``refuse``: the model is told that nobody answered; ``fail``: the step fails."""

    @model_validator(mode="after")
    def _one(self) -> Approval:
        if (self.assignee is None) == (self.group is None):
            raise ValueError("write exactly one of `assignee` and `group`")
        return self


class AgentTraits(Spec):
    """What makes an agent, wherever it is declared."""

    model: str | None = Field(default=None, min_length=1)
    """A model id, or an alias of ``models`` in orchestrator.yaml; empty: the alias ``default``."""
    system: Text | None = None
    tools: list[AgentTool] = Field(default=[])
    approve: list[str] = Field(default=[])
    """Tools that need a person's approval: names as the model sees them (``server__tool``), ``*`` for any text."""
    approval: Approval | None = None
    limits: AgentLimits | None = None
    max_tokens: int = Field(default=8192, ge=1)
    """Of one answer."""
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    thinking: Literal["adaptive", "between_tools", "disabled"] | dict[str, Any] | None = None
    cache: bool | Literal["5m", "1h"] = True
    """Prompt caching: every turn sends the whole conversation."""
    max_tool_result: int = Field(default=50_000, ge=1_000)
    """Characters of one tool's result that the model is shown; what is cut off is said."""
    temperature: Sampling = None
    top_p: Sampling = None
    top_k: Sampling = None


class DeclaredAgent(AgentTraits):
    """One entry of ``agents``, in a flow or in orchestrator.yaml."""

    description: str | None = None
    """What an agent that has this one as a tool reads about it."""


@act("agent")
class AgentConfig(AgentTraits, ActConfig):
    """An agent at work: a declared ``agent``, or one described in place, and its ``goal``. Beside ``agent``, ``tools``
    and ``approve`` add to what it declares; every other key replaces it, ``limits`` key by key."""

    agent: str | None = Field(default=None, min_length=1)
    goal: Text

    @model_validator(mode="after")
    def _one(self) -> AgentConfig:
        if self.agent is not None and (self.model is not None or self.system is not None):
            raise ValueError("give either `agent` (a declared one) or `model` and `system`, not both")
        return self
