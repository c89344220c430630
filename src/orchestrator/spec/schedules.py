"""Names of schedules: which Temporal schedule belongs to which trigger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Json = Any

_PREFIX = "orchestrator:"


def schedule_id(flow: str, trigger: str) -> str:
    """The Temporal schedule of a flow's trigger. Neither name holds a colon."""
    return f"{_PREFIX}{flow}:{trigger}"


def of_schedule(found: str) -> tuple[str, str] | None:
    """Flow and trigger of a Temporal schedule; None where it is none of ours."""
    flow, _, trigger = found.removeprefix(_PREFIX).rpartition(":")
    return (flow, trigger) if found.startswith(_PREFIX) and flow and trigger else None


def named_triggers(triggers: Sequence[Mapping[str, Json]], kind: str) -> dict[str, Mapping[str, Json]]:
    """The stored triggers of one type by id: the author's, else type and place among all triggers of the flow."""
    return {
        str(trigger.get("id") or f"{kind}-{number}"): trigger
        for number, trigger in enumerate(triggers, 1)
        if trigger.get("type") == kind
    }
