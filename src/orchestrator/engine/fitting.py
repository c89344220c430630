"""What a run ends with has to fit into one payload; what does not would leave it trying to end for ever (ENGINE §3)."""

from __future__ import annotations

from temporalio import workflow
from temporalio.api.common.v1 import Payload

from orchestrator.engine.failures import ErrorRecord, StepFailed
from orchestrator.spec.definition import Json

LONGEST_MESSAGE = 10_000
"""Characters of an error's message. It stands in the failure itself, where no storage takes it."""
_LARGE = ("errors", "data", "compensations", "cause")
"""Members of an error that may be left out, in this order."""


def fitting_output(output: Json, limit: int) -> Payload:
    """The run's output as it is sent: written once, to know its size. Raises StepFailed ``payload_too_large``."""
    payload = workflow.payload_converter().to_payload(output)
    size = payload.ByteSize()
    if size > limit:
        message = (
            f"the output of the run has {size} bytes and may have {limit}: choose less with the flow's `output`, keep "
            "the data elsewhere and return a reference, or configure external storage for payloads"
        )
        raise StepFailed({"type": "payload_too_large", "message": message, "attempts": 1, "retryable": False})
    return payload


def fitting_error(error: ErrorRecord, limit: int) -> ErrorRecord:
    """The run's error, without what is too large for it; the message names what was left out."""
    message = str(error["message"])
    if len(message) > LONGEST_MESSAGE:
        error = error | {"message": f"{message[:LONGEST_MESSAGE]}…"}
    left: list[str] = []
    for name in _LARGE:
        if _size(error) <= limit:
            break
        if name in error:
            left.append(f"`{name}`")
            error = {key: value for key, value in error.items() if key != name}
    if left:
        told = f"{error['message']} (too large to be told: {', '.join(left)})"
        error = error | {"message": told}
    return error


def _size(value: Json) -> int:
    return workflow.payload_converter().to_payload(value).ByteSize()
