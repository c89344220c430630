"""Puts a step's StepCall into its activity's header. Worker-side code reads it there, so that arguments stay the
author's own."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.worker import (
    Interceptor,
    StartActivityInput,
    StartLocalActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)

from orchestrator.spec.call import HEADER

CALL: ContextVar[Payload | None] = ContextVar("orchestrator_step_call", default=None)
"""The encoded StepCall of the activity being scheduled; set around ``workflow.start_activity`` and, for express
steps, ``workflow.start_local_activity``."""


def header(data: bytes) -> Payload:
    """The header's payload."""
    return Payload(metadata={"encoding": b"json/plain"}, data=data)


class _Outbound(WorkflowOutboundInterceptor):
    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:  # noqa: A002 - SDK's name
        call = CALL.get()
        if call is not None:
            input.headers = {**input.headers, HEADER: call}
        return self.next.start_activity(input)

    def start_local_activity(self, input: StartLocalActivityInput) -> workflow.ActivityHandle[Any]:  # noqa: A002
        call = CALL.get()
        if call is not None:
            input.headers = {**input.headers, HEADER: call}
        return self.next.start_local_activity(input)


class _Inbound(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_Outbound(outbound))


class HeaderInterceptor(Interceptor):
    """Worker interceptor of the engine."""

    def workflow_interceptor_class(
        self,
        input: WorkflowInterceptorClassInput,  # noqa: A002 - SDK's name
    ) -> type[WorkflowInboundInterceptor] | None:
        """The inbound interceptor that installs the header writer."""
        return _Inbound
