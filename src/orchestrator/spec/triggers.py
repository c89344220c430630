"""What starts runs (FLOW_FORMAT §8)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, model_validator

from orchestrator.spec.base import Spec
from orchestrator.spec.cron import read_cron
from orchestrator.spec.queues import check_queue_name
from orchestrator.spec.size import Size
from orchestrator.spec.step import Expression, FixedDuration, Name, PositiveDuration
from orchestrator.spec.webhooks import Cors, Reply, Verify

Json = Any

LEAST_CATCH_UP = 10.0
"""Seconds; Temporal takes no less."""


def check_cron(value: str) -> str:
    """A cron text as ``spec.cron`` reads it. Raises ValueError."""
    if "{{" in value:
        raise ValueError("takes no templates: the schedule is fixed when the flow is published")
    read_cron(value)
    return " ".join(value.split())


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{value!r} is no time zone; write for example UTC or Asia/Seoul") from error
    return value


def _folder(value: str) -> str:
    if "{{" in value:
        raise ValueError("takes no templates: the folder is fixed when the flow is published")
    if not value.strip() or "\0" in value:
        raise ValueError(f"{value!r} is no folder; write for example data/incoming")
    return value


def _pattern(value: str) -> str:
    parts = value.split("/")
    if "{{" in value or not all(parts) or ".." in parts or "\0" in value:
        raise ValueError(f"{value!r} is no pattern; write for example *.csv, or **/*.csv for folders below too")
    if any("**" in part and part != "**" for part in parts) or parts[-1] == "**":
        raise ValueError(f"{value!r} is no pattern: ** stands alone between slashes, as in **/*.csv")
    return value


_RESERVED = (
    *("/v1", "/health", "/ready", "/metrics", "/docs", "/openapi.json", "/mcp", "/codec"),
    *("/inbox", "/runs", "/pages"),
)
"""Paths of the gateway itself; the last ones are its pages and what they load."""


def _webhook_path(value: str) -> str:
    if not value.startswith("/"):
        raise ValueError(f"{value!r} must start with /")
    if re.search(r"[\s?#\x00-\x1f\x7f]|%[0-9A-Fa-f]{2}|//|/\.\.?(/|$)", value) or "{{" in value:
        raise ValueError(
            f"{value!r} is no path that a request has, decoded and without `.` and `..`; write for example "
            "/api/webhooks/new or /orders/{id}"
        )
    names = re.findall(r"\{([^{}]*)\}", value)
    if len(set(names)) != len(names) or not all(re.fullmatch(r"[A-Za-z_]\w*", name) for name in names):
        raise ValueError(f"{value!r}: each {{name}} is a word used once")
    for reserved in _RESERVED:
        if value == reserved or value.startswith(reserved + "/"):
            raise ValueError(f"{value!r} is a path of the gateway itself; choose another")
    return value


def _fixed_queue(value: str) -> str:
    if "{{" in value:
        raise ValueError("takes no templates: the queue is fixed when the flow is published")
    return check_queue_name(value)


class Trigger(Spec):
    """What all triggers have."""

    template_free: ClassVar[frozenset[str]] = frozenset({"type", "id", "enabled"})

    type: str
    id: Name | None = None
    enabled: bool = True
    if_: Expression | None = Field(None, alias="if")
    inputs: dict[str, Any] | None = None
    idempotency_key: str | None = None


_Trigger = TypeVar("_Trigger", bound=type[Trigger])

TRIGGERS: dict[str, type[Trigger]] = {}
"""Trigger models by type."""


def _trigger(name: str) -> Callable[[_Trigger], _Trigger]:
    def register(model: _Trigger) -> _Trigger:
        TRIGGERS[name] = model
        return model

    return register


class Debounce(Spec):
    """The last of several deliveries starts the run, once no other has come for some time."""

    wait: PositiveDuration
    max_wait: FixedDuration | None = None
    """How long the first of them waits at most, however many follow it."""
    key: str | None = None
    """Deliveries with another value of it are counted apart."""

    @model_validator(mode="after")
    def _in_order(self) -> Debounce:
        if self.max_wait is not None and self.max_wait < self.wait:
            raise ValueError("`max_wait` is shorter than `wait`: no delivery could wait that long")
        return self


@_trigger("webhook")
class WebhookTrigger(Trigger):
    """An HTTP request to ``path``; ``endpoint`` is another word for it."""

    type: Literal["webhook"]
    path: Annotated[str, AfterValidator(_webhook_path)] | None = None
    endpoint: Annotated[str, AfterValidator(_webhook_path)] | None = None
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    verify: Verify | None = None
    respond: Literal["accepted", "result"] | Reply = "accepted"
    cors: Cors | None = None
    max_body: Size | None = None
    debounce: Debounce | None = None

    @model_validator(mode="after")
    def _one_path(self) -> WebhookTrigger:
        if (self.path is None) == (self.endpoint is None):
            raise ValueError("a webhook needs its `path` (or `endpoint`, the same thing), once")
        if self.debounce is not None and self.respond != "accepted":
            raise ValueError("with `debounce` the answer is `respond: accepted`: whether a run starts is not known yet")
        return self

    @property
    def route(self) -> str:
        """The path, whichever word the author used."""
        return self.path or self.endpoint or ""


@_trigger("schedule")
class ScheduleTrigger(Trigger):
    """A clock."""

    type: Literal["schedule"]
    cron: Annotated[str, AfterValidator(check_cron)] | None = None
    every: PositiveDuration | None = None
    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"
    overlap: Literal["skip", "buffer-one", "buffer-all", "cancel-other", "terminate-other", "allow-all"] = "skip"
    catch_up: FixedDuration | None = None
    jitter: FixedDuration | None = None

    @model_validator(mode="after")
    def _one_clock(self) -> ScheduleTrigger:
        if (self.cron is None) == (self.every is None):
            raise ValueError("a schedule needs exactly one of `cron` and `every`")
        if self.every is not None and (self.every < 1 or self.every % 1):
            raise ValueError("`every` is a whole number of seconds, 1s or more")
        if self.catch_up is not None and self.catch_up < LEAST_CATCH_UP:
            raise ValueError(f"`catch_up` is {LEAST_CATCH_UP:g}s or more: Temporal takes no less")
        return self


class Batch(Spec):
    """Several events to one run."""

    size: int = Field(ge=1, le=1000)
    max_wait: FixedDuration | None = None
    key: str | None = None


@_trigger("event")
class EventTrigger(Trigger):
    """An event by type pattern; ``source`` alone is the type pattern."""

    type: Literal["event"]
    event: str | None = None
    source: str | None = None
    delay: FixedDuration | None = None
    batch: Batch | None = None
    debounce: Debounce | None = None

    @model_validator(mode="after")
    def _named(self) -> EventTrigger:
        if self.debounce is not None and (self.batch is not None or self.delay is not None):
            raise ValueError("`debounce` starts a run for the last event, so `batch` and `delay` do not go with it")
        if not self.event and not self.source:
            raise ValueError("an event trigger needs `event` (a type pattern)")
        return self


class MoveAway(Spec):
    """Where files go whose run has completed."""

    move: Annotated[str, AfterValidator(_folder)]


@_trigger("file")
class FileTrigger(Trigger):
    """Files that appear in a folder."""

    type: Literal["file"]
    path: Annotated[str, AfterValidator(_folder)]
    pattern: Annotated[str, AfterValidator(_pattern)] = "*"
    settle: FixedDuration = 2.0
    after: Literal["keep", "delete"] | MoveAway = "keep"


@_trigger("api")
class ApiTrigger(Trigger):
    """Starts over the API, CLI or a Temporal client; always on, also undeclared."""

    type: Literal["api"]
    debounce: Debounce | None = None


@_trigger("queue")
class QueueTrigger(Trigger):
    """Messages of a queue."""

    type: Literal["queue"]
    queue: Annotated[str, AfterValidator(_fixed_queue)]
