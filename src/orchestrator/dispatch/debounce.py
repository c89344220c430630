"""The last of several deliveries starts the run: they are handed to a workflow that waits until no other comes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from orchestrator.client import Client
from orchestrator.client.starting import body_hash, keyed_run_id, new_run_id
from orchestrator.client.triggers import Declared
from orchestrator.dispatch.keeper import hand_over
from orchestrator.dispatch.rules import Rules
from orchestrator.errors import Conflict, FieldProblem, InputsInvalid, OrchestratorError, Refused, Unavailable
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
    place = _place(declared, trigger)
    run_id = new_run_id(declared.flow) if key is None else keyed_run_id(declared.flow, key)
    held = Held(run_id, declared.flow, declared.version, float(declared.trigger["debounce"]["wait"]))
    if key is None:
        await _tell(client, declared, place, held, trigger, checked)
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
        await _tell(client, declared, place, held, trigger, checked)
        await client.store.deliveries.record_answer(claim, _HELD)
    return held


def _place(declared: Declared, trigger: dict[str, Json]) -> Json:
    """Whose place the delivery takes. What has none is as wrong as any other input."""
    try:
        return Rules(declared).debounce_key(trigger)
    except Refused as error:
        raise InputsInvalid(declared.flow, [FieldProblem("debounce.key", str(error))]) from error


async def _tell(
    client: Client, declared: Declared, place: Json, held: Held, trigger: dict[str, Json], inputs: dict[str, Json]
) -> None:
    start = {
        "flow": held.flow,
        "version": held.version,
        "run_id": held.run_id,
        "inputs": inputs,
        "trigger": trigger,
    }
    rule = declared.trigger["debounce"]
    delivery = {"id": held.run_id, "wait": rule["wait"], "max_wait": rule.get("max_wait"), "start": start}
    await hand_over(client, DEBOUNCER, declared, place, HOLD, delivery, about=f"deliveries for {held.flow}")


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
