"""What a start consists of: the run's id, its two arguments, what lists and the Web UI show."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections import OrderedDict
from datetime import timedelta
from typing import Any

import temporalio.client
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue, SearchAttributePair, TypedSearchAttributes

from orchestrator import telemetry
from orchestrator.client.run import MEMO
from orchestrator.errors import TooLarge
from orchestrator.settings import Settings
from orchestrator.spec.definition import (
    Definition,
    Envelope,
    Json,
    definition_key,
    definition_to_json,
    envelope_to_json,
)

TASK_TIMEOUT = timedelta(seconds=5)
"""A lost worker is noticed after this long (ENGINE §4)."""
LARGEST_START = 2_000_000
"""Bytes. Temporal itself refuses a start whose arguments are larger than 2 MiB."""
_REMEMBERED = 256
"""Definitions kept encoded; they never change, so only their number is bounded."""
_LONGEST_BY = 200
"""Characters of a name that lists show."""
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_run_id(flow: str) -> str:
    """``<flow>-<time><chance>``: ids of one flow sort by the moment of their start."""
    return f"{flow}-{_base32(time.time_ns() // 1_000_000, 9)}{_base32(secrets.randbits(35), 7)}"


def keyed_run_id(flow: str, key: str) -> str:
    """The id of the run that an idempotency key starts: the same in every process, for ever."""
    digest = hashlib.sha256(f"{flow}\n{key}".encode("utf-8", "surrogatepass")).digest()
    return f"{flow}-{_base32(int.from_bytes(digest[:10]), 16)}"


def body_hash(body: Json) -> str:
    """SHA-256 (hex) of a JSON body, whatever the order of its members."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class Encoder:
    """Encodes starts for one Temporal client."""

    def __init__(self, temporal: temporalio.client.Client, settings: Settings) -> None:
        self._converter = temporal.data_converter.payload_converter
        self._stored = settings.payloads != "none"
        self._definitions: OrderedDict[str, Payload] = OrderedDict()

    def arguments(self, body: Json, envelope: Envelope, *carried: Json) -> list[RawValue]:
        """The workflow's arguments: body, envelope, definition, and what is carried from the run that this one goes on
        from: its journal, its messages. Raises TooLarge, in words, before Temporal would.

        They are not stored yet: the start itself does that, so that a stored value's age is that of its last use.
        """
        definition = self._definition(envelope.definition)
        first = self._converter.to_payloads([body, envelope_to_json(envelope, body)])
        last = self._converter.to_payloads(carried)
        payloads = [*first, definition, *last]
        _check_sizes(envelope, [len(payload.data) for payload in payloads], stored=self._stored)
        return [RawValue(payload) for payload in payloads]

    def _definition(self, definition: Definition) -> Payload:
        key = definition_key(definition)
        payload = self._definitions.get(key)
        if payload is None:
            [payload] = self._converter.to_payloads([definition_to_json(definition)])
            while len(self._definitions) >= _REMEMBERED:
                self._definitions.popitem(last=False)
            self._definitions[key] = payload
        return payload


def options(envelope: Envelope, *, eager: bool, by: str | None = None) -> dict[str, Any]:
    """Keyword arguments of ``start_workflow`` that are the same for every start. ``by``: who asked for a run that goes
    on from another; otherwise the trigger may say it."""
    definition = envelope.definition
    kind = str(envelope.trigger.get("type", "api"))
    memo: dict[str, Json] = {"flow": definition.flow, "version": definition.version, "trigger": kind}
    if envelope.retry_of is not None:
        memo |= {"retry_of": envelope.retry_of, "root": envelope.root, "attempt": envelope.attempt}
    by = envelope.trigger.get("by") if by is None else by
    if isinstance(by, str) and by:
        memo["by"] = by[:_LONGEST_BY]
    shown: dict[str, Any] = {
        "task_timeout": TASK_TIMEOUT,
        "static_summary": definition.name or definition.flow,
        "memo": {MEMO: memo},
        "request_eager_start": eager,
    }
    if envelope.searchable:
        shown["search_attributes"] = TypedSearchAttributes(
            [
                SearchAttributePair(telemetry.VERSION, definition.version),
                SearchAttributePair(telemetry.TRIGGER, kind),
            ]
        )
    return shown


def _check_sizes(envelope: Envelope, sizes: list[int], *, stored: bool) -> None:
    flow = envelope.definition.flow
    if stored and max(sizes) > envelope.largest_payload:
        raise TooLarge(
            f"the start of flow '{flow}' has a body, inputs, definition or journal of {max(sizes)} bytes, and one may "
            f"have {envelope.largest_payload}: keep large data elsewhere and pass a reference, or raise "
            "ORCHESTRATOR_PAYLOAD_LIMIT"
        )
    if not stored and sum(sizes) > LARGEST_START:
        raise TooLarge(
            f"the start of flow '{flow}' takes {sum(sizes)} bytes (body, inputs, definition, journal) and may take "
            f"{LARGEST_START} where ORCHESTRATOR_PAYLOADS is none: keep large data elsewhere and pass a reference, or "
            "give large values a place"
        )


def _base32(number: int, digits: int) -> str:
    text = ""
    for _ in range(digits):
        number, digit = divmod(number, 32)
        text = _ALPHABET[digit] + text
    return text
