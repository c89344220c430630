"""The table of webhooks: which trigger a request belongs to. Follows what is published."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from orchestrator.expressions import CompiledValue, Expression, Names, compile_expression, compile_value
from orchestrator.spec.definition import Json
from orchestrator.spec.webhooks import Cors, Reply, Verify
from orchestrator.store.database import Store

_SECONDS_BETWEEN_LOOKS = 1.0
_NO_NAMES = Names()
TEST = "/test"
"""What a webhook's test address ends with."""


@dataclass(frozen=True, slots=True)
class CompiledReply:
    """A trigger's fixed answer."""

    status: int
    headers: CompiledValue
    body: CompiledValue

    @property
    def static(self) -> bool:
        """Whether it is the same for every delivery."""
        return self.headers.static and self.body.static


@dataclass(frozen=True)
class Webhook:
    """One webhook trigger of a current version."""

    flow: str
    version: str
    id: str
    path: str
    trigger: Mapping[str, Json]

    @property
    def method(self) -> str:
        return str(self.trigger.get("method", "POST"))

    @property
    def limit(self) -> int | None:
        """Bytes a body may have, where the trigger says."""
        return self.trigger.get("max_body")

    @property
    def waits(self) -> bool:
        """Whether the answer is the run's result."""
        return self.trigger.get("respond") == "result"

    @cached_property
    def inputs(self) -> dict[str, CompiledValue] | None:
        """The trigger's own mapping of inputs, compiled; None: same-named members of the body."""
        given = self.trigger.get("inputs")
        if given is None:
            return None
        return {name: compile_value(value, _NO_NAMES) for name, value in given.items()}

    @cached_property
    def key(self) -> CompiledValue | None:
        """The trigger's ``idempotency_key``, compiled."""
        template = self.trigger.get("idempotency_key")
        return None if template is None else compile_value(template, _NO_NAMES)

    @cached_property
    def condition(self) -> Expression | bool | None:
        """The trigger's ``if``, compiled; None: every delivery passes."""
        given = self.trigger.get("if")
        return given if given is None or isinstance(given, bool) else compile_expression(str(given), _NO_NAMES)

    @cached_property
    def verify(self) -> Verify | None:
        """How its senders prove themselves; None: anybody may send."""
        given = self.trigger.get("verify")
        return None if given is None else Verify.model_validate(given)

    @cached_property
    def cors(self) -> Cors | None:
        """Which browsers may call it; None: no page of another origin."""
        given = self.trigger.get("cors")
        return None if given is None else Cors.model_validate(given)

    @cached_property
    def reply(self) -> CompiledReply | None:
        """The fixed answer, where the trigger has one."""
        given = self.trigger.get("respond")
        if not isinstance(given, dict):
            return None
        reply = Reply.model_validate(given)
        return CompiledReply(
            reply.status, compile_value(reply.headers, _NO_NAMES), compile_value(reply.body, _NO_NAMES)
        )

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Matches the path; each ``{name}`` is one segment."""
        parts = re.split(r"\{(\w+)\}", self.path)
        return re.compile(
            "".join(f"(?P<{part}>[^/]+)" if index % 2 else re.escape(part) for index, part in enumerate(parts))
        )


@dataclass(frozen=True, slots=True)
class Match:
    """What a path leads to. Without ``webhook`` the path exists for the other ``methods``. ``test`` where it is the
    test address of the webhook."""

    webhook: Webhook | None
    params: dict[str, str]
    methods: tuple[str, ...]
    test: bool = False


class Routes:
    """Finds webhooks by method and path. Asks the store for its revision at most once a second, and
    at once after this process has published."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._revision: int | None = None
        self._changes = -1
        self._looked = float("-inf")
        self._refreshing = asyncio.Lock()
        self._fixed: dict[str, list[Webhook]] = {}
        self._open: list[Webhook] = []

    async def all(self) -> list[Webhook]:
        """Every webhook, fixed paths first."""
        await self._refresh()
        return [hook for hooks in self._fixed.values() for hook in hooks] + self._open

    def has(self, path: str) -> bool:
        """Whether a webhook has exactly this path, without ``{names}``, as far as was known at the last look."""
        return path in self._fixed

    async def find(self, method: str, path: str) -> Match | None:
        """The webhook for a request; None where no webhook has this path. ``<path>/test`` is a webhook's test address
        unless a webhook has that path itself."""
        await self._refresh()
        match = self._find(method, path)
        if match is None and path.endswith(TEST) and path != TEST:
            match = self._find(method, path.removesuffix(TEST))
            return None if match is None else replace(match, test=True)
        return match

    def _find(self, method: str, path: str) -> Match | None:
        fixed = self._fixed.get(path)
        if fixed is not None:
            return _choose(method, [(hook, {}) for hook in fixed])
        candidates = []
        for hook in self._open:
            found = hook.pattern.fullmatch(path)
            if found is not None:
                candidates.append((hook, found.groupdict()))
        return _choose(method, candidates) if candidates else None

    async def _refresh(self) -> None:
        seen = self._store.flows.changes
        if not self._is_due(seen):
            return
        async with self._refreshing:
            if not self._is_due(seen):
                return
            revision = await self._store.flows.revision()
            if revision != self._revision:
                await self._load()
                self._revision = revision
            # Last: until then other requests wait here instead of using an old table.
            self._looked = time.monotonic()
            self._changes = seen

    def _is_due(self, changes: int) -> bool:
        return changes != self._changes or time.monotonic() - self._looked >= _SECONDS_BETWEEN_LOOKS

    async def _load(self) -> None:
        fixed: dict[str, list[Webhook]] = {}
        pattern: list[Webhook] = []
        for found in await self._store.flows.triggers():
            if found.trigger.get("type") != "webhook":
                continue
            path = str(found.trigger.get("path") or found.trigger.get("endpoint"))
            hook = Webhook(found.flow, found.version, found.id, path, found.trigger)
            if "{" in path:
                pattern.append(hook)
            else:
                fixed.setdefault(path, []).append(hook)
        # More fixed text first: /orders/{id}/paid before /orders/{id}/{what}.
        pattern.sort(key=lambda hook: (hook.path.count("{"), -len(hook.path)))
        self._fixed, self._open = fixed, pattern


def _choose(method: str, candidates: list[tuple[Webhook, dict[str, str]]]) -> Match:
    methods = tuple(dict.fromkeys(hook.method for hook, _ in candidates))
    for hook, params in candidates:
        if hook.method == method:
            return Match(hook, params, methods)
    return Match(None, {}, methods)
