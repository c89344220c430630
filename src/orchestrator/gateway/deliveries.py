"""A delivery: what one request to a webhook says, as flows see it, and what would be started with it."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from fastapi import Request

from orchestrator.admission import now_text
from orchestrator.errors import FieldProblem, InputsInvalid
from orchestrator.expressions import CompiledValue, Expression, ExpressionError, Meter
from orchestrator.gateway.bodies import Body, File, gathered
from orchestrator.gateway.routes import Match, Webhook
from orchestrator.spec.definition import Json
from orchestrator.spec.inputs import check_inputs
from orchestrator.store.database import Store
from orchestrator.store.uploads import reference

_HIDDEN = re.compile(
    r"authorization|cookie|signature|secret|password|passwd|credential|api-?key|hmac|(^|-)(auth|token|jwt)($|-)"
)
"""Headers that prove who sends. A run's history is no place for them."""

_DELIVERY_IDS = (
    "x-github-delivery",
    "x-gitlab-event-uuid",
    "x-gitea-delivery",
    "x-shopify-webhook-id",
    "webhook-id",
    "svix-id",
    "linear-delivery",
    "ce-id",
)
"""Where senders put a delivery's own id, which stays the same when they send it again."""

_IDS_IN_BODIES = {"stripe": "id", "slack": "event_id"}
"""Vendors who write it into what they sign, by scheme. The rest of such a body may differ when it comes again."""

_TEXT_ROOTS = frozenset({"query", "params", "headers"})
"""Members of ``trigger`` whose values are text whatever they mean."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request. ``trigger`` is the scope's member of that name; ``sent_key`` the idempotency key that the request
    itself brings."""

    hook: Webhook
    body: Body
    trigger: dict[str, Json]
    sent_key: str | None

    @property
    def scope(self) -> dict[str, Json]:
        """What the trigger's own expressions see."""
        return {"trigger": self.trigger}

    def digest(self, key: str | None) -> str:
        """What tells whether two deliveries of one key are the same: their bodies, unless a vendor says so itself."""
        scheme = self.hook.verify.scheme if self.hook.verify is not None else ""
        if key is not None and scheme in _IDS_IN_BODIES and key == f"{scheme}:{self.trigger['delivery_id']}":
            return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
        return self.body.digest

    def passes(self) -> bool:
        """Whether the trigger's ``if`` lets it through. Raises InputsInvalid where that cannot be told."""
        condition = self.hook.condition
        if condition is None or isinstance(condition, bool):
            return condition is not False
        try:
            found = _evaluated(condition, self.scope)
            if not isinstance(found, bool):
                raise ExpressionError("the result is neither true nor false")
        except ExpressionError as error:
            raise InputsInvalid(self.hook.flow, [FieldProblem("if", str(error))]) from error
        return found

    def key(self) -> str | None:
        """What makes two deliveries the same: as the trigger says, else as the request does. Raises InputsInvalid."""
        if self.hook.key is None:
            return self.sent_key
        try:
            key = rendered(self.hook.key, self.scope)
        except ExpressionError as error:
            raise InputsInvalid(self.hook.flow, [FieldProblem("idempotency_key", str(error))]) from error
        return self.sent_key if key in (None, "") else str(key)

    async def inputs(self, store: Store) -> tuple[dict[str, Json], bool]:
        """The mapped inputs, and whether all of them are text that stands for other types. Raises InputsInvalid."""
        hook, body = self.hook, self.body
        if hook.inputs is None:
            return (body.value if isinstance(body.value, dict) else {}), body.textual
        inputs: dict[str, Json] = {}
        problems: list[FieldProblem] = []
        for name, template in hook.inputs.items():
            try:
                inputs[name] = rendered(template, self.scope)
            except ExpressionError as error:
                problems.append(FieldProblem(name, str(error)))
        if problems:
            raise InputsInvalid(hook.flow, problems)
        if not body.textual:
            await self._convert(store, inputs)
        return inputs, body.textual

    async def _convert(self, store: Store, inputs: dict[str, Json]) -> None:
        """Beside a JSON body only what comes from the query, the path or a header is text to be converted."""
        textual = [name for name, template in (self.hook.inputs or {}).items() if is_text_only(template)]
        if not textual:
            return
        version = await store.flows.version(self.hook.flow, self.hook.version)
        declared = version.definition.inputs.get("properties", {})
        for name in textual:
            if name in declared:
                schema = {"type": "object", "properties": {name: declared[name]}}
                inputs |= check_inputs(self.hook.flow, schema, {name: inputs[name]}, convert_text=True)

    async def keep_files(self, store: Store) -> None:
        """Put the files where their references say they are."""
        for file in self.body.files:
            await store.uploads.put(file.content, file.name)


def read_delivery(request: Request, match: Match, hook: Webhook, body: Body, path: str) -> Delivery:
    """What a verified request says. Its files are not kept yet, and those of a test have no references."""
    delivery_id, key = _delivery_id(request, hook, body)
    trigger: dict[str, Json] = {
        "type": "webhook",
        "id": hook.id,
        "time": now_text(),
        "body": body.value,
        "method": request.method,
        "path": path,
        "params": match.params,
        "query": gathered(request.query_params.multi_items()),
        "headers": _shown_headers(request, hook),
        "files": _shown_files(body.files, kept=not match.test),
        "delivery_id": delivery_id,
        "ip": request.client.host if request.client else None,
    }
    return Delivery(hook, body, trigger, key)


def rendered(template: CompiledValue, scope: Mapping[str, Json]) -> Json:
    """The value of a template outside of runs. Raises ExpressionError."""
    if template.late_names:
        raise ExpressionError("names that are known only inside a step cannot be used in a trigger")
    return template.render(scope, _meter()).value


def _evaluated(expression: Expression, scope: Mapping[str, Json]) -> Json:
    return expression.evaluate(scope, _meter())


def _meter() -> Meter:
    return Meter(lambda: datetime.now(UTC), lambda: str(uuid.uuid4()))


def is_text_only(template: CompiledValue) -> bool:
    """Whether a trigger's template gives nothing but what came as text: from the query, the path or a header."""
    return bool(template.references) and all(
        named.root == "trigger" and named.path[:1] and named.path[0] in _TEXT_ROOTS for named in template.references
    )


def _delivery_id(request: Request, hook: Webhook, body: Body) -> tuple[str | None, str | None]:
    """The delivery's own id and the idempotency key that follows from it."""
    # One pass over what was sent; the first of several headers of one name counts.
    sent = dict(reversed(request.headers.items()))
    key = sent.get("idempotency-key", "").strip()
    if key:
        return key, key
    scheme = hook.verify.scheme if hook.verify is not None else ""
    if scheme in _IDS_IN_BODIES and isinstance(body.value, dict):
        found = body.value.get(_IDS_IN_BODIES[scheme])
        if isinstance(found, str) and found:
            return found, f"{scheme}:{found}"
    for name in _DELIVERY_IDS:
        found = sent.get(name, "").strip()
        if found:
            return found, f"{name}:{found}"
    return None, None


def _shown_headers(request: Request, hook: Webhook) -> dict[str, str]:
    proof = (hook.verify.header or "").lower() if hook.verify is not None else ""
    shown: dict[str, str] = {}
    for name, value in request.headers.items():
        if name != proof and not _HIDDEN.search(name):
            shown[name] = f"{shown[name]}, {value}" if name in shown else value
    return shown


def _shown_files(files: tuple[File, ...], *, kept: bool) -> dict[str, Json]:
    """Files by the form's names for them; a name that comes more than once has a list."""
    shown: dict[str, list[Json]] = {}
    for file in files:
        digest = file.sha256
        shown.setdefault(file.field, []).append(
            {
                "ref": reference(digest, file.name) if kept else None,
                "name": file.name,
                "content_type": file.content_type,
                "size": len(file.content),
                "sha256": digest,
            }
        )
    return {name: found[0] if len(found) == 1 else found for name, found in shown.items()}
