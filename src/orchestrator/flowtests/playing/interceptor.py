"""Where a test takes part in a run: around the workflow, and in front of every activity that the run schedules."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.worker import (
    ExecuteWorkflowInput,
    Interceptor,
    StartActivityInput,
    StartLocalActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)

from orchestrator.engine.activities import is_foreign
from orchestrator.engine.workflow import FlowWorkflow
from orchestrator.flowtests.playing.answers import Attempts, config_of, unanswered
from orchestrator.flowtests.playing.happenings import Happenings
from orchestrator.flowtests.playing.marking import Marking
from orchestrator.flowtests.playing.play import Part, Stage, WatchedJournal
from orchestrator.spec.call import HEADER, NOTE_TASK, StepCall, decode_call

Json = Any

_KEPT = 10_000_000
"""Beyond the last record: the state without its steps, which the part knows already."""


class TestInterceptor(Interceptor):
    """Worker interceptor of a lane."""

    __test__ = False
    """No class of tests, whatever its name begins with."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._marking = Marking()

    def workflow_interceptor_class(
        self,
        input: WorkflowInterceptorClassInput,  # noqa: A002 - SDK's name
    ) -> type[WorkflowInboundInterceptor] | None:
        """The interceptor of one run, which knows the lane."""
        stage, marking = self._stage, self._marking

        class Inbound(_Inbound):
            lane = (stage, marking)

        return Inbound


class _Inbound(WorkflowInboundInterceptor):
    lane: tuple[Stage, Marking]
    _part: Part | None = None

    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        info = outbound.info()
        play = self.lane[0].play(info.workflow_id)
        if play is not None:
            self._part = play.begin(info.workflow_id, info.run_id, info.continued_run_id)
        super().init(outbound if self._part is None else _Outbound(outbound, self._part))

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:  # noqa: A002
        run = workflow.instance()
        part = self._part
        # A dynamic workflow has one argument: the list of what it was started with.
        args = list(input.args[0]) if input.args else []
        if part is None or not isinstance(run, FlowWorkflow) or len(args) < 3:
            return await self.next.execute_workflow(input)
        run.record_in(WatchedJournal(part))
        part.flow = workflow.info().workflow_type
        part.waiting = lambda: [f"{wait.step} ({wait.kind})" for wait in run.open_waits]
        converter = workflow.payload_converter()
        args, definition = self.lane[1].marked(args, part.case, converter)
        input.args = [args]
        happenings = Happenings(run, part, definition)
        happenings.begin()
        try:
            result = await self.next.execute_workflow(input)
        except (Exception, asyncio.CancelledError):
            _ended(run, part)
            raise
        finally:
            happenings.stop()
        _ended(run, part)
        return result


def _ended(run: FlowWorkflow, part: Part) -> None:
    """Keep what the run's state is at its end."""
    part.state = run.state({"after": _KEPT})
    part.seconds = (workflow.now() - workflow.info().start_time).total_seconds()
    if part.workflow_id == part.play.run_id:
        part.play.ending()


class _Outbound(WorkflowOutboundInterceptor):
    def __init__(self, next: WorkflowOutboundInterceptor, part: Part) -> None:  # noqa: A002
        super().__init__(next)
        self._part = part

    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:  # noqa: A002
        call = _call_of(input)
        if call is None or self._is_left_alone(input.activity, call):
            self._carried_out(input, call)
            return self.next.start_activity(input)
        return self._played(input, call, input.task_queue, input.schedule_to_close_timeout)

    def start_local_activity(self, input: StartLocalActivityInput) -> workflow.ActivityHandle[Any]:  # noqa: A002
        call = _call_of(input)
        if call is None or self._is_left_alone(input.activity, call):
            self._carried_out(input, call)
            return self.next.start_local_activity(input)
        return self._played(input, call, None, input.schedule_to_close_timeout)

    def _is_left_alone(self, activity: str, call: StepCall) -> bool:
        """Whether the activity is carried out: those of a step that is real, and what keeps a task in the store."""
        if self._part.mock(call) is not None:
            return False
        if call.type == "human-task":
            return activity != NOTE_TASK
        return self._part.is_real(call)

    def _carried_out(self, input: StartActivityInput | StartLocalActivityInput, call: StepCall | None) -> None:  # noqa: A002
        """Note that a step is called that does what it does."""
        if call is not None and self._part.is_real(call):
            converter = workflow.payload_converter()
            args = [converter.from_payload(arg.payload) for arg in input.args]
            self._part.called(call, config_of(call, args, input.activity), 1, real=True)

    def _played(
        self,
        input: StartActivityInput | StartLocalActivityInput,  # noqa: A002
        call: StepCall,
        queue: str | None,
        total: timedelta | None,
    ) -> workflow.ActivityHandle[Any]:
        """The answer, as the activity's result."""
        converter = workflow.payload_converter()
        args = [converter.from_payload(arg.payload) for arg in input.args]
        foreign = is_foreign(queue)
        seconds = None if total is None else total.total_seconds()

        async def answer() -> Json | RawValue:
            if input.activity == NOTE_TASK:
                # Nobody is told of a task in a test.
                return {"output": None, "attempts": 1}
            mock = self._part.mock(call)
            config = config_of(call, args, input.activity)
            if mock is None:
                raise unanswered(self._part, call)
            result = await Attempts(self._part, call, mock, config, seconds).result()
            answered = result["output"] if foreign else result
            # The engine measures the result of an express step as it came, and takes it apart itself.
            return RawValue(converter.to_payload(answered)) if input.ret_type is RawValue else answered

        handle: workflow.ActivityHandle[Any] = _as_handle(asyncio.create_task(answer(), name=f"mock of {call.path}"))
        return handle


def _as_handle(task: Any) -> Any:
    """A task of the workflow's loop is all that an activity's handle is."""
    return task


def _call_of(input: StartActivityInput | StartLocalActivityInput) -> StepCall | None:  # noqa: A002
    payload = input.headers.get(HEADER)
    return None if payload is None else decode_call(payload.data)
