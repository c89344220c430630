"""Who an agent is: the declared one it names, and what its step says beside that."""

from __future__ import annotations

from typing import Any

from orchestrator.errors import TerminalError
from orchestrator.expressions import fill_catalogue_entry
from orchestrator.spec.acts.agent import AgentConfig, AgentLimits, AgentTraits, Approval, DeclaredAgent
from orchestrator.steps.context import StepContext

_ADDED = ("tools", "approve")
"""What a step adds to; every other key of its own replaces."""
MOST_TURNS = 50
APPROVERS = "approvers"
"""The group that is asked where the author named nobody."""


def declared_agent(name: str, context: StepContext) -> DeclaredAgent:
    """The agent ``name`` of the flow or else of orchestrator.yaml. Raises TerminalError ``not_found`` and
    ``invalid_config``, also for an entry that names a secret: a conversation is kept."""

    def refuse(secret: str) -> str:
        raise TerminalError(
            "invalid_config",
            f"agents.{name} uses the secret '{secret}', and what an agent is told is kept in its transcript: give "
            "secrets to the MCP server (`env`, `headers`) or to the function that needs them",
        )

    declared = context.project.agents | context.bindings.get("agents", {})
    if name in declared:
        fill_catalogue_entry(declared[name], refuse)
    return context.entry("agents", name, DeclaredAgent)


def merged(config: AgentConfig, context: StepContext) -> AgentTraits:
    """The step's config over what the agent it names declares: ``tools`` and ``approve`` are added, ``limits``
    replaced key by key, every other key of the step replaces."""
    if config.agent is None:
        return config
    declared = declared_agent(config.agent, context)
    values: dict[str, Any] = {name: getattr(declared, name) for name in AgentTraits.model_fields}
    for name in AgentTraits.model_fields.keys() & config.model_fields_set:
        own = getattr(config, name)
        values[name] = [*values[name], *own] if name in _ADDED else own
    values["limits"] = _limits(declared.limits, config.limits)
    return AgentTraits.model_construct(**values)


def _limits(declared: AgentLimits | None, own: AgentLimits | None) -> AgentLimits | None:
    if declared is None or own is None:
        return own or declared
    return declared.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})


def limits_of(traits: AgentTraits) -> dict[str, Any]:
    """The limits as JSON, every key there."""
    return {"turns": MOST_TURNS, "tokens": None, "cost": None, "time": None} | (
        traits.limits.model_dump(exclude_none=True) if traits.limits else {}
    )


def people_of(traits: AgentTraits) -> dict[str, Any]:
    """Whom to ask, as JSON."""
    return (traits.approval or Approval(group=APPROVERS)).model_dump(exclude_none=True)
