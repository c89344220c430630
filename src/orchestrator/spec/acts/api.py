"""Config of ``api`` steps, and the service catalogue entry they name."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from orchestrator.spec.acts.http import Auth, Method, Scalar, Statuses
from orchestrator.spec.base import ActConfig, Duration, Spec, act


class RateLimit(Spec):
    """At most ``requests`` in every ``per``, on each worker. Steps wait for their turn."""

    requests: int = Field(gt=0)
    per: Duration = 1.0

    @model_validator(mode="after")
    def _some_time(self) -> RateLimit:
        if self.per <= 0:
            raise ValueError("'per' is longer than no time, for example 1s or 1m")
        return self


class ServiceMethod(Spec):
    """One call a service offers."""

    path: str
    """Added to ``base_url``; ``{name}`` takes the step's ``params.name``."""
    method: Method = "GET"
    description: str | None = None
    headers: dict[str, Scalar] = Field(default_factory=dict)
    query: dict[str, Any] = Field(default_factory=dict)
    """Sent unless the step gives the same member; null is not sent."""
    body: Any = None
    """Sent as JSON where the step gives no body."""
    expect: Statuses | None = None


class Service(Spec):
    """An entry of ``services`` in orchestrator.yaml."""

    base_url: str = Field(pattern=r"^https?://[^/?#\s]")
    description: str | None = None
    auth: Auth | None = None
    headers: dict[str, Scalar] = Field(default_factory=dict)
    timeout: Duration | None = None
    """For one call, redirects and reading the answer included."""
    rate_limit: RateLimit | None = None
    methods: dict[str, ServiceMethod]


@act("api")
class ApiConfig(ActConfig):
    """A call of a catalogue service's method. The output is the body of the answer."""

    service: str
    method: str
    params: dict[str, Any] = Field(default_factory=dict)
    """Fills the ``{name}`` places of the method's path."""
    query: dict[str, Any] = Field(default_factory=dict)
    headers: dict[str, Scalar] = Field(default_factory=dict)
    body: Any = None
