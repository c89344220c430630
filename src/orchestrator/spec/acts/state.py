"""Config of ``state``: data kept between runs."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from orchestrator.spec.base import ActConfig, Duration, act


@act("state")
class StateConfig(ActConfig):
    """Exactly one of ``get``, ``put``, ``increment``, ``delete``, each with the key."""

    get: str | None = None
    put: str | None = None
    increment: str | None = None
    delete: str | None = None
    value: Any = None
    ttl: Duration | None = None
    scope: Literal["flow", "project"] = "flow"

    @model_validator(mode="after")
    def _one_operation(self) -> StateConfig:
        given = [name for name in ("get", "put", "increment", "delete") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of `get`, `put`, `increment`, `delete`, with the key as its value")
        if given == ["put"] and "value" not in self.model_fields_set:
            raise ValueError("`put` needs a `value`")
        if given[0] in ("get", "delete") and "value" in self.model_fields_set:
            raise ValueError(f"`{given[0]}` takes no `value`")
        return self
