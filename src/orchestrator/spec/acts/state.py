"""Config of ``state``: data kept between runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, model_validator

from orchestrator.spec.base import ActConfig, Duration, act

_LONGEST_KEY = 500
"""Characters."""


def _key(value: str) -> str:
    if not value or len(value) > _LONGEST_KEY:
        raise ValueError(f"a key is text of 1 to {_LONGEST_KEY} characters")
    if "\x00" in value or not value.isprintable():
        raise ValueError("a key has no control characters")
    return value


def _some_time(value: float) -> float:
    if value <= 0:
        raise ValueError("a `ttl` is longer than nothing; to forget a value at once use `delete`")
    return value


Key = Annotated[str, AfterValidator(_key)]


@act("state")
class StateConfig(ActConfig):
    """Exactly one of ``get``, ``put``, ``increment``, ``delete``, each with the key."""

    get: Key | None = None
    put: Key | None = None
    increment: Key | None = None
    delete: Key | None = None
    value: Any = None
    ttl: Annotated[Duration, AfterValidator(_some_time)] | None = None
    scope: Literal["flow", "project"] = "flow"

    @model_validator(mode="after")
    def _one_operation(self) -> StateConfig:
        given = [name for name in ("get", "put", "increment", "delete") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of `get`, `put`, `increment`, `delete`, with the key as its value")
        if given == ["put"] and "value" not in self.model_fields_set:
            raise ValueError("`put` needs a `value`")
        for name in ("value", "ttl"):
            if given[0] in ("get", "delete") and name in self.model_fields_set:
                raise ValueError(f"`{given[0]}` takes no `{name}`")
        return self
