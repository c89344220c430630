"""The last of several deliveries starts the run: they are handed to a workflow that waits until no other comes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from temporalio import activity
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError

from orchestrator.client import Client
from orchestrator.client.connection import temporal_errors
from orchestrator.client.starting import body_hash, keyed_run_id, new_run_id
from orchestrator.client.triggers import Declared
from orchestrator.dispatch.rules import Rules
from orchestrator.errors import Conflict, OrchestratorError, Refused, Unavailable
from orchestrator.spec.call import DEBOUNCER, HOLD, START_HELD
from orchestrator.spec.definition import Json
from orchestrator.spec.inputs import check_inputs

_HELD = {"held": True}


@dataclass(frozen=True, slots=True)
class Held:
    """A delivery that waits. Its run will have this id, unless a later delivery takes its place."""

    run_id: str
    flow: str
    version: str
    wait: float
    """Seconds without another delivery after which the run starts."""


async def hold(
    client: Client,
    declared: Declared,
    trigger: dict[str, Json],
    inputs: Mapping[str, Json],
    *,
    key: str | None = None,
    digest: str | None = None,
    convert_text: bool = False,
) -> Held:
    """Keep a delivery of a trigger with ``debounce``. ``key`` is what makes two deliveries the same one: the second
    changes nothing, however late it comes within the idempotency window.

    Raises NotFound, Refused, InputsInvalid, IdempotencyMismatch, Unavailable: a delivery that could start no run takes
    nobody's place.
    """
    found = await client.store.flows.version(declared.flow, declared.version)
    if not found.enabled:
        raise Refused(f"flow '{declared.flow}' is disabled; enable it to start runs")
    checked = check_inputs(declared.flow, found.definition.inputs, dict(inputs), convert_text=convert_text)
    rule = declared.trigger["debounce"]
    debouncer = _debouncer_id(client.settings.task_queue, declared, Rules(declared).debounce_key(trigger))
    run_id = new_run_id(declared.flow) if key is None else keyed_run_id(declared.flow, key)
    held = Held(run_id, declared.flow, declared.version, float(rule["wait"]))
    if key is None:
        await _tell(client, debouncer, held, rule, trigger, checked)
        return held
    claim = await client.store.deliveries.claim(
        key,
        declared.flow,
        digest or body_hash(trigger.get("body")),
        workflow_id=run_id,
        window=client.settings.idempotency_window,
    )
    if claim.answer is None:
        # The one before it may have been cut off here: the workflow knows what it has.
        await _tell(client, debouncer, held, rule, trigger, checked)
        await client.store.deliveries.record_answer(claim, _HELD)
    return held


async def _tell(
    client: Client,
    debouncer: str,
    held: Held,
    rule: Mapping[str, Json],
    trigger: dict[str, Json],
    inputs: dict[str, Json],
) -> None:
    start = {
        "flow": held.flow,
        "version": held.version,
        "run_id": held.run_id,
        "inputs": inputs,
        "trigger": trigger,
    }
    delivery = {"id": held.run_id, "wait": rule["wait"], "max_wait": rule.get("max_wait"), "start": start}
    with temporal_errors(client.temporal, run_id=debouncer):
        await client.temporal.start_workflow(
            DEBOUNCER,
            id=debouncer,
            task_queue=client.settings.task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            start_signal=HOLD,
            start_signal_args=[delivery],
            static_summary=f"deliveries for {held.flow}",
        )


def _debouncer_id(queue: str, declared: Declared, key: Json) -> str:
    text = json.dumps(key, sort_keys=True, ensure_ascii=False)
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"{DEBOUNCER}:{queue}:{declared.flow}:{declared.id}:{digest}"


def start_held_activity(client: Client) -> Callable[..., Any]:
    """The activity that starts the run of the last delivery, bound to the worker's client; attempts start one run."""

    @activity.defn(name=START_HELD)
    async def start_held(start: dict[str, Json]) -> str | None:
        try:
            run = await client.start(
                start["flow"],
                start["inputs"],
                version=start["version"],
                run_id=start["run_id"],
                trigger=start["trigger"],
            )
        except Conflict:
            # An attempt before this one started it.
            return str(start["run_id"])
        except OrchestratorError as error:
            # What a flow refuses now it refuses in a minute too; who cannot be reached may be back then.
            again = isinstance(error, Unavailable)
            if not again:
                activity.logger.warning("a held delivery started no run of %s: %s", start["flow"], error)
            raise ApplicationError(str(error), type=error.code, non_retryable=not again) from error
        return run.id

    return start_held
