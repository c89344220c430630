"""Reaching Temporal, and its errors in our words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import temporalio.client
from temporalio.envconfig import ClientConfig
from temporalio.service import GrpcCompression, RPCError, RPCStatusCode

from orchestrator.errors import Conflict, NotFound, Refused, SettingsInvalid, TooLarge, Unavailable
from orchestrator.payloads.converter import data_converter
from orchestrator.settings import Settings

_LOST = {
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.CANCELLED,
    RPCStatusCode.RESOURCE_EXHAUSTED,
    RPCStatusCode.PERMISSION_DENIED,
    RPCStatusCode.UNAUTHENTICATED,
    # A server that is killed, or has just come back, answers with these too.
    RPCStatusCode.ABORTED,
    RPCStatusCode.INTERNAL,
    RPCStatusCode.UNKNOWN,
}


async def connect_temporal(settings: Settings) -> temporalio.client.Client:
    """A Temporal client for these settings; large values go where they say. ``payloads.converter.release``
    closes what its data converter opens.

    What the settings leave open (TLS, API key, another profile) comes from Temporal's own environment variables and
    configuration file. Raises Unavailable, SettingsInvalid.
    """
    try:
        options: dict[str, Any] = dict(ClientConfig.load_client_connect_config())
    except (RuntimeError, ValueError, OSError) as error:
        raise SettingsInvalid(f"Temporal's configuration cannot be read: {_line(error)}") from error
    if settings.temporal_address or "target_host" not in options:
        options["target_host"] = settings.address
    if settings.temporal_namespace != "default" or "namespace" not in options:
        options["namespace"] = settings.temporal_namespace
    if _is_this_machine(str(options["target_host"])):
        # The SDK compresses by default. On one machine that costs a tenth of worker and server CPU for nothing.
        options.setdefault("grpc_compression", GrpcCompression.NONE)
    options["data_converter"] = data_converter(settings)
    try:
        return await temporalio.client.Client.connect(**options)
    except (RuntimeError, ValueError, OSError) as error:
        raise _unreachable(str(options["target_host"]), error) from error


def _is_this_machine(target: str) -> bool:
    host = target.rpartition(":")[0].strip("[]")
    return host in ("localhost", "::1") or host.startswith("127.")


@contextmanager
def temporal_errors(temporal: temporalio.client.Client, *, run_id: str | None = None) -> Iterator[None]:
    """Turns what a call to Temporal raises into NotFound, Conflict, TooLarge or Unavailable."""
    try:
        yield
    except RPCError as error:
        raise _worded(error, temporal, run_id) from error


def _worded(error: RPCError, temporal: temporalio.client.Client, run_id: str | None) -> Exception:
    said = _line(error)
    if error.status == RPCStatusCode.NOT_FOUND:
        if "namespace" in said.lower():
            return Unavailable(
                f"Temporal has no namespace '{temporal.namespace}': create it, or set TEMPORAL_NAMESPACE"
            )
        if "already completed" in said:
            return Conflict(f"the run '{run_id}' is over")
        return NotFound(f"there is no run '{run_id}'; `orchestrator runs list` shows the recent ones")
    if is_too_large(error):
        return TooLarge(f"Temporal refuses data of this size: {said}; keep large data elsewhere and pass a reference")
    if "limit for signal events" in said:
        return Conflict(
            f"the run '{run_id}' has as many signals as Temporal keeps for one run (10,000 unless its operator chose "
            "otherwise): send more when the run has continued as new, or fewer and larger ones"
        )
    if error.status in _LOST:
        return _unreachable(temporal.service_client.config.target_host, error)
    if error.status == RPCStatusCode.INVALID_ARGUMENT:
        return Refused(f"Temporal refuses this: {said}")
    return error


def is_too_large(error: RPCError) -> bool:
    """Whether a call failed because it carried too many bytes."""
    said = str(error).lower()
    if error.status == RPCStatusCode.INVALID_ARGUMENT:
        return "exceeds" in said and ("size" in said or "limit" in said)
    return error.status == RPCStatusCode.RESOURCE_EXHAUSTED and "larger than max" in said


def _unreachable(address: str, error: BaseException) -> Unavailable:
    return Unavailable(
        f"Temporal cannot be reached at {address} ({_line(error)}): start it with `orchestrator up`, "
        "or set TEMPORAL_ADDRESS"
    )


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else f"{text[:200]}…"
