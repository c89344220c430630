"""Workflows that keep deliveries of one trigger for one key: one for each, found by its id."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from orchestrator.client import Client
from orchestrator.client.connection import temporal_errors
from orchestrator.client.triggers import Declared
from orchestrator.spec.definition import Json


async def hand_over(
    client: Client,
    kind: str,
    declared: Declared,
    key: Json,
    signal: str,
    given: Json,
    *,
    about: str,
    arguments: Sequence[Json] = (),
) -> str:
    """Signal the keeper of a trigger and key, which begins with ``arguments`` where it is not there; its id. ``kind``
    is its workflow type, ``about`` what Temporal's pages say of it. Raises Unavailable."""
    keeper = _id(kind, client.settings.task_queue, declared, key)
    with temporal_errors(client.temporal, run_id=keeper):
        await client.temporal.start_workflow(
            kind,
            args=arguments,
            id=keeper,
            task_queue=client.settings.task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            start_signal=signal,
            start_signal_args=[given],
            static_summary=about,
        )
    return keeper


def _id(kind: str, queue: str, declared: Declared, key: Json) -> str:
    text = json.dumps(key, sort_keys=True, ensure_ascii=False)
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"{kind}:{queue}:{declared.flow}:{declared.id}:{digest}"
