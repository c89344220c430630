"""What a step attempt is given, and the resources that attempts on one worker share."""

from __future__ import annotations

import asyncio
import difflib
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ValidationError
from temporalio import activity

from orchestrator.catalogue import ReadyEntryUnusable, where_to_get, with_ready_entry
from orchestrator.errors import TerminalError
from orchestrator.expressions import fill_catalogue_entry
from orchestrator.security.secrets import Secrets
from orchestrator.settings import Settings
from orchestrator.spec.project import Project

T = TypeVar("T")
Model = TypeVar("Model", bound=BaseModel)
Json = Any
LOGGER = logging.getLogger("orchestrator.steps")
STORE = "store"
"""The key under which the worker lends its store to the steps."""


class Closable(Protocol):
    """Anything opened once per worker."""

    async def aclose(self) -> None: ...


C = TypeVar("C", bound=Closable)


class Resources:
    """Connections that live as long as the worker: each step type opens its own kind on first use, here they are
    kept by key and closed together."""

    def __init__(self) -> None:
        self._open: dict[str, Any] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._stack = AsyncExitStack()

    async def shared(self, key: str, opener: Callable[[], Awaitable[C]]) -> C:
        """The resource under ``key``, opened by the first caller; concurrent callers wait for that one opening."""
        if key not in self._open:
            async with self._locks.setdefault(key, asyncio.Lock()):
                if key not in self._open:
                    resource = await opener()
                    self._stack.push_async_callback(resource.aclose)
                    self._open[key] = resource
        found: C = self._open[key]
        return found

    def lend(self, key: str, resource: Any) -> None:
        """Put in something the worker owns itself, such as the store: shared, never closed here."""
        self._open[key] = resource

    def lent(self, key: str) -> Any | None:
        """What the worker put in under ``key``; None where it did not."""
        return self._open.get(key)

    async def aclose(self) -> None:
        """Close everything, newest first."""
        self._open.clear()
        await self._stack.aclose()


@dataclass(slots=True)
class StepContext:
    """One attempt of one step."""

    path: str
    step_id: str
    step_type: str
    source: str
    """``file:line:column`` of the step."""
    flow: str
    version: str
    run_id: str
    root_id: str
    attempt: int
    """1 for the first try."""
    idempotency_key: str
    """The same for every attempt of this step in this run and its retries: pass it on to vendors."""
    settings: Settings
    project: Project
    secrets: Secrets
    resources: Resources
    bindings: dict[str, dict[str, Json]] = field(default_factory=dict)
    """Catalogue entries the flow itself declares."""
    logger: logging.Logger = LOGGER
    output_schema: dict[str, Json] | None = None
    """JSON Schema the output must match, where the author gave one."""
    usage: dict[str, Json] = field(default_factory=dict)
    """What the step consumed (tokens, cost); recorded beside its output, also when the attempt fails."""
    warnings: list[str] = field(default_factory=list)
    """What the run's warnings should say of this step although it completed."""
    report: Callable[[Json], None] = activity.heartbeat
    """Says how far the attempt has got: any small JSON, shown by Temporal while the step runs. In a function's
    process it reaches the worker."""
    asked: dict[str, Json] | None = None
    """Set by a step that needs people's answers before it can go on, instead of an output: ``{"state", "requests":
    [{"id", "message", "schema"}]}``. It is called again with a second argument that holds them."""

    def entry(self, kind: str, name: str, model: type[Model]) -> Model:
        """The catalogue entry ``name`` of ``kind`` (``services``, ``databases``, ``mcp`` …), the flow's own before
        the project's, a ready entry it uses filled in, its secrets resolved, as ``model``. Raises TerminalError naming
        the nearest entries, the part that is wrong, or the secret that is not set."""
        declared = getattr(self.project, kind, {}) | self.bindings.get(kind, {})
        if name not in declared:
            close = difflib.get_close_matches(name, declared, 3) or sorted(declared)
            known = ", ".join(f"'{other}'" for other in close) or "none"
            raise TerminalError("not_found", f"no entry '{name}' under {kind} in orchestrator.yaml; there: {known}")
        filled = fill_catalogue_entry(self._ready(kind, name, declared[name]), self._secret_of(kind, declared[name]))
        try:
            return model.model_validate(filled)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            message = f"{kind}.{name}.{where} in orchestrator.yaml: {first['msg']}"
            raise TerminalError("invalid_config", message) from error

    def _ready(self, kind: str, name: str, given: Json) -> Json:
        try:
            return with_ready_entry(kind, given)
        except ReadyEntryUnusable as error:
            raise TerminalError("invalid_config", f"{kind}.{name} in orchestrator.yaml: {error}") from error

    def _secret_of(self, kind: str, given: Json) -> Callable[[str], str]:
        """Resolves secrets; where an entry uses a ready one, the error says where to get the secret."""

        def resolve(secret: str) -> str:
            try:
                return self.secrets.get(secret)
            except TerminalError as error:
                where = where_to_get(kind, given, secret)
                if where is None:
                    raise
                raise TerminalError(error.type, f"{error.message} Where it comes from: {where}") from error

        return resolve


CURRENT: ContextVar[StepContext] = ContextVar("orchestrator_step_context")
"""The attempt that is running here."""


def current_step() -> StepContext:
    """The attempt that is running here: for functions that want the idempotency key, secrets or the logger.
    Raises LookupError outside a step."""
    return CURRENT.get()
