"""What one run consists of, and what its constructs may ask of the walk that reached them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from temporalio import workflow

from orchestrator.engine.activities import Activities
from orchestrator.engine.budget import Budget
from orchestrator.engine.children import Children
from orchestrator.engine.clock import Clock
from orchestrator.engine.compensations import Compensations
from orchestrator.engine.events import Events
from orchestrator.engine.frame import Frame
from orchestrator.engine.gate import Gate
from orchestrator.engine.inbox import Inbox
from orchestrator.engine.journal import Journal, Record
from orchestrator.engine.program import Program
from orchestrator.engine.strays import Strays
from orchestrator.engine.waits import Waits
from orchestrator.engine.warned import Warnings
from orchestrator.expressions import CompiledValue, Expression, Meter, Rendered
from orchestrator.spec.definition import Envelope, Json, Node

OPERATION_LIMIT = 50_000
"""Operations one evaluation may take (DESIGN §5.11)."""


@dataclass(slots=True)
class Run:
    """The parts of one run, each with its one concern."""

    envelope: Envelope
    root: str
    """Id of the first run of this chain of retries: what idempotency keys are made of."""
    frame: Frame
    """The scope outside every loop."""
    journal: Journal
    gate: Gate
    clock: Clock
    budget: Budget
    activities: Activities
    inbox: Inbox
    events: Events
    waits: Waits
    compensations: Compensations
    children: Children
    progressed: Callable[[], None]
    """Told after every change of the journal."""
    strays: Strays = field(default_factory=Strays)
    meter: Meter = field(default_factory=lambda: Meter(workflow.now, lambda: str(workflow.uuid4()), OPERATION_LIMIT))
    warnings: Warnings = field(default_factory=Warnings)

    @property
    def event_depth(self) -> int:
        """How many events led to one that this run sends."""
        event = self.envelope.trigger.get("event")
        return 1 + (int(event.get("depth", 0)) if isinstance(event, dict) else 0)

    def resume(self) -> None:
        """End a pause; what has to be cleaned up does not wait for one."""
        self.gate.paused = False
        self.clock.go()


class Walk(Protocol):
    """A walk over one program: what a control construct uses to run what is inside it."""

    @property
    def run(self) -> Run:
        """The run this belongs to."""
        ...

    @property
    def program(self) -> Program:
        """The compiled definition that is walked."""
        ...

    def over(self, program: Program) -> Walk:
        """A walk of the same run over another program."""
        ...

    async def run_list(self, nodes: Sequence[Node], frame: Frame) -> Json:
        """Run a list; the output of its textually last completed step. Raises StepFailed, RunEnded."""
        ...

    async def run_step(self, node: Node, frame: Frame) -> Record:
        """Run one step to its record. Raises StepFailed where the author did not handle the failure."""
        ...

    def skip(self, node: Node, frame: Frame) -> Record:
        """Record a step and everything inside it as skipped."""
        ...

    def render(self, value: CompiledValue, node: Node, frame: Frame) -> Rendered:
        """Templates filled in. Raises StepFailed ``expression_error``."""
        ...

    def evaluate(self, expression: Expression, node: Node, frame: Frame) -> Json:
        """An expression's value. Raises StepFailed ``expression_error``."""
        ...

    def holds(self, expression: Expression, node: Node, frame: Frame, path: str | None = None) -> bool:
        """Whether a condition is true. ``path`` is the step's, where the frame is that of a pass inside it. Raises
        StepFailed ``expression_error``."""
        ...
