"""The functions of the chaos flows: each attempt is told to the recorder, which outlives every worker."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from typing import Any

from temporalio import activity

from orchestrator.errors import TerminalError
from orchestrator.steps.attempt import current_step
from orchestrator.steps.context import StepContext


@activity.defn
def record(params: dict[str, Any]) -> Any:
    """Tell the recorder and return the value, or fail for good with ``error``."""
    _tell(current_step(), params)
    return params["value"]


@activity.defn
def record_slowly(params: dict[str, Any]) -> Any:
    """As ``record``, with time to be killed in after the call."""
    _tell(current_step(), params)
    time.sleep(0.5)
    return params["value"]


def _tell(step: StepContext, params: dict[str, Any]) -> None:
    headers = {"Idempotency-Key": step.idempotency_key, "X-Attempt": str(step.attempt)}
    body = json.dumps({"value": params["value"]}).encode()
    request = urllib.request.Request(os.environ["ORCHESTRATOR_ENV_RECORDER"], body, headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        answer.read()
    if "error" in params:
        raise TerminalError(params["error"], "told to fail")
