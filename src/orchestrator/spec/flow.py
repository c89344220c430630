"""The flow file as a model (FLOW_FORMAT §1)."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SerializeAsAny, WithJsonSchema

from orchestrator.spec.base import Spec
from orchestrator.spec.monitoring import METRICS, check_metric, read_condition
from orchestrator.spec.step import Defaults, FixedDuration, Name, PositiveDuration, RetryField, Step, Steps
from orchestrator.spec.triggers import Trigger

Json = Any

_FLOW_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z._+-]{0,63}")
LONGEST_WAIT = 600.0
"""Seconds a tool call may wait for a run."""


def _flow_id(value: str) -> str:
    if "{{" in value:
        raise ValueError("takes no templates: it names the flow")
    if not _FLOW_ID.fullmatch(value):
        raise ValueError(
            f"{value!r} is not a flow id; use a-z, 0-9, `.`, `_` and `-`, starting with a letter or digit, "
            "at most 100 characters"
        )
    if value.startswith("orchestrator."):
        raise ValueError("ids that begin with `orchestrator.` are Orchestrator's own")
    return value


def _version(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str) and not _VERSION.fullmatch(value):
        raise ValueError(f"{value!r} is not a version; use letters, digits, `.`, `_`, `-` and `+`, such as 2.0.0")
    return value


def _alert_condition(value: str) -> str:
    read_condition(value)
    return value


def _fixed_text(value: str) -> str:
    if "{{" in value:
        raise ValueError("takes no templates: an alert adds what was found, the flow and the run by itself")
    return value


FlowId = Annotated[str, AfterValidator(_flow_id)]
Version = Annotated[str, BeforeValidator(_version), WithJsonSchema({"type": ["string", "number"]})]


class Concurrency(Spec):
    """How many runs of the flow go on at once."""

    limit: int = Field(1, ge=1)
    key: str | None = None
    when_full: Literal["queue", "reject", "cancel-oldest", "join"] = "queue"


class ErrorHandling(Spec):
    """What holds for every step (``retry``), after a failed run (``fallback``) and at every end (``finally``)."""

    retry: RetryField | None = None
    fallback: Steps = Field(default=[])
    finally_: Steps = Field(default=[], alias="finally")


class Alert(Spec):
    """When to tell whom."""

    condition: Annotated[str, AfterValidator(_alert_condition)]
    channel: Annotated[str, AfterValidator(_fixed_text)] = Field(
        min_length=1,
        description="A contact; `slack` or `email` for what orchestrator.yaml says there; a Slack channel such as "
        "`#ops`; an e-mail address.",
    )
    message: Annotated[str, AfterValidator(_fixed_text)] | None = None


class Monitoring(Spec):
    """Metrics to keep and alerts to raise."""

    metrics: list[Annotated[str, AfterValidator(check_metric)]] = Field(
        default=[], description=f"Of {', '.join(METRICS)}."
    )
    alerts: list[Alert] = Field(default=[])


def _tool_wait(value: float) -> float:
    if value > LONGEST_WAIT:
        raise ValueError(f"a tool call waits at most {LONGEST_WAIT:g}s; whoever called asks on with `get_run`")
    return value


class ExposedTool(Spec):
    """How a flow is offered as an MCP tool."""

    wait: Annotated[FixedDuration, AfterValidator(_tool_wait)] = Field(
        25.0, description="How long a call waits for the run's output; 0s answers as soon as the run is started."
    )
    name: str | None = Field(
        None, pattern=r"^[a-zA-Z0-9_-]{1,64}$", description="Of the tool; without it the flow's id, `.` written as `_`."
    )
    description: str | None = Field(
        None, min_length=1, max_length=2000, description="What the tool does; without it the flow's own description."
    )


class Expose(Spec):
    """Doors beyond the usual ones."""

    mcp: bool | ExposedTool = Field(False, description="Offer the flow as a tool of the MCP server.")

    @property
    def tool(self) -> ExposedTool | None:
        """How the flow is offered over MCP; None where it is not."""
        if isinstance(self.mcp, bool):
            return ExposedTool() if self.mcp else None
        return self.mcp


Catalogue = dict[str, dict[str, Any]]
"""Entries by name: read by the step types that use them."""


class Flow(Spec):
    """A flow file as its author wrote it."""

    id: FlowId
    version: Version | None = None
    name: str | None = None
    description: str | None = None
    labels: dict[str, str] = Field(default={})
    enabled: bool = True
    triggers: list[SerializeAsAny[Trigger]] = Field(default=[])
    inputs: dict[Name, Any] = Field(default={})
    env: dict[Name, str | int | float | bool | None] = Field(default={})
    vars: dict[Name, Any] = Field(default={})
    steps: list[Step] = Field(min_length=1)
    output: Any = None
    timeout: PositiveDuration | None = None
    defaults: Defaults | None = None
    concurrency: Concurrency | None = None
    error_handling: ErrorHandling = Field(default=ErrorHandling())
    monitoring: Monitoring | None = None
    agents: Catalogue = Field(default={})
    mcp: Catalogue = Field(default={})
    services: Catalogue = Field(default={})
    expose: Expose = Field(default=Expose())
