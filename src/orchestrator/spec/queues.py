"""Queues as they are declared: ``queues`` of orchestrator.yaml. A name that is not declared is a queue of the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError

from orchestrator.errors import SettingsInvalid
from orchestrator.expressions import ExpressionError, fill_catalogue_entry
from orchestrator.spec.base import Spec
from orchestrator.spec.findings import Findings, check_model
from orchestrator.spec.step import PositiveDuration

Json = Any

LONGEST_NAME = 200
"""Characters."""


def check_queue_name(value: str) -> str:
    """A queue's name: printable text. Raises ValueError."""
    if not value.strip() or len(value) > LONGEST_NAME or not value.isprintable():
        raise ValueError(f"a queue's name is printable text of 1 to {LONGEST_NAME} characters")
    return value


QueueName = Annotated[str, AfterValidator(check_queue_name)]


def _redis(value: str) -> str:
    if not value.startswith(("redis://", "rediss://", "unix://")) and "{{" not in value:
        raise ValueError("the `url` of a queue is redis://host:port/0, rediss://… or unix://…")
    return value


class QueueEntry(Spec):
    """One entry under ``queues``."""

    description: str | None = None
    url: Annotated[str, AfterValidator(_redis)] | None = None
    """A Redis server; without it the queue is in the store."""
    concurrency: int = Field(10, ge=1, le=200)
    """Runs that one gateway starts at a time."""
    lease: PositiveDuration = 60.0
    """Seconds a gateway has to start the run of a message; after them the message is handed out again."""
    max_refusals: int = Field(5, ge=1, le=100)
    """How often a message may be refused a run before it is put among the dead letters."""


def check_queues(entries: Json, findings: Findings) -> None:
    """Report every entry under ``queues`` that could never work."""
    for name, entry in entries.items() if isinstance(entries, dict) else ():
        path = ("queues", name)
        try:
            check_queue_name(str(name))
        except ValueError as error:
            findings.error(path, str(error))
        check_model(
            QueueEntry, {} if entry is None else entry, findings, path, f" in the queue `{name}`", templates=True
        )


def queue_entry(queues: Mapping[str, Json], name: str, secret: Callable[[str], str]) -> QueueEntry:
    """The entry of a queue, its secrets filled in; the defaults where none is declared. Raises SettingsInvalid, and
    what ``secret`` does."""
    try:
        return QueueEntry.model_validate(fill_catalogue_entry(queues.get(name) or {}, secret))
    except ExpressionError as error:
        raise SettingsInvalid(f"queues.{name} in orchestrator.yaml: {error}") from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in ("queues", name, *first["loc"]))
        raise SettingsInvalid(f"{where} in orchestrator.yaml: {first['msg']}") from error
