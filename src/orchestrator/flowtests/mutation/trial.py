"""Whether tests would notice: each step of a flow is left out in turn, and some case ought to fail."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from orchestrator.flowtests.lanes.lane import Lane
from orchestrator.flowtests.mutation.mutants import Mutant, mutants
from orchestrator.flowtests.results import CaseResult
from orchestrator.spec.flowtests.cases import CaseFile, FlowCase
from orchestrator.spec.project import Project

_PATIENCE = 20
"""How many times as long as with the step a case may take without it."""
_SHORTEST = 5.0


@dataclass(frozen=True, slots=True)
class Survivor:
    """A step whose absence no case noticed."""

    step: str
    type: str
    place: str
    """``file:line:column`` in the flow."""
    reached: bool
    """Whether any case reaches the step at all."""

    def __str__(self) -> str:
        named = f"`{self.step}` ({self.type})"
        if not self.reached:
            return f"{self.place}: no case reaches step {named}; add one that does, and says what comes of it"
        return f"{self.place}: without step {named} every case still passes; expect what it does, or that it ran"


@dataclass(slots=True)
class Mutation:
    """What came of leaving out each step of one flow."""

    file: str
    """The test file."""
    flow_file: str
    removed: int = 0
    survivors: list[Survivor] = field(default_factory=list)
    failing: list[CaseResult] = field(default_factory=list)
    """Cases that fail with the flow as it is: nothing was left out then."""

    @property
    def passed(self) -> bool:
        """Whether every step would be missed."""
        return not self.survivors and not self.failing


Progress = Callable[[Mutant, bool], None]
"""Told of each mutant, and whether it was noticed."""


async def mutate(
    lane: Lane, tests: CaseFile, project: Project, *, acts_only: bool = False, progress: Progress | None = None
) -> Mutation:
    """Leave out each step of the flow in turn, those of branches, handlers and compensations included, and run the
    cases that reach it until one fails. ``acts_only``: only steps that act. A flow that cannot be loaded without a
    step, and a case that names it among what it expects, have noticed without a run."""
    found = Mutation(tests.file, tests.flow.definition.file)
    runs = [(case, await lane.run(case, tests.flow)) for case in tests.cases]
    found.failing = [result for _, result in runs if not result.passed]
    if found.failing:
        return found
    # Loading a flow again and again is work; the lane's worker shares this event loop.
    for mutant in await asyncio.to_thread(list, mutants(tests.flow, project)):
        if acts_only and not mutant.is_act:
            continue
        found.removed += 1
        reaching = _reaching(mutant, runs)
        noticed = await _noticed(lane, mutant, reaching, tests.cases)
        if not noticed:
            found.survivors.append(Survivor(mutant.step, mutant.type, mutant.place, bool(reaching)))
        if progress is not None:
            progress(mutant, noticed)
    return found


async def _noticed(
    lane: Lane, mutant: Mutant, reaching: Sequence[tuple[FlowCase, CaseResult]], cases: Sequence[FlowCase]
) -> bool:
    if mutant.flow is None or any(_promised(case) & mutant.inside for case in cases):
        return True
    for case, before in reaching:
        result = await lane.run(_without(case, mutant, before.took), mutant.flow)
        if not result.passed:
            return True
    return False


def _reaching(mutant: Mutant, runs: Sequence[tuple[FlowCase, CaseResult]]) -> list[tuple[FlowCase, CaseResult]]:
    """The cases that know the step, those in which it ran first. For the others its absence changes nothing."""
    statuses = [
        (case, result, {ran.status for ran in result.steps if ran.step == mutant.step and ran.flow == result.flow})
        for case, result in runs
    ]
    known = [(case, result, found == {"skipped"}) for case, result, found in statuses if found]
    return [(case, result) for case, result, _ in sorted(known, key=lambda one: one[2])]


def _promised(case: FlowCase) -> set[str]:
    """Ids of the steps that a case expects to see."""
    expect = case.expect
    named = [*expect.ran, *expect.failed, *expect.skipped, *expect.order, *(expect.compensated or ())]
    named += [name for name, times in expect.calls.items() if times]
    named += expect.called_with
    if expect.error is not None and expect.error.step is not None:
        named.append(expect.error.step)
    return {_id(name) for name in named}


def _without(case: FlowCase, mutant: Mutant, took: float) -> FlowCase:
    """The case for a flow without the step: answers and events for it say nothing about what is expected, and go."""
    return dataclasses.replace(
        case,
        mocks={name: mock for name, mock in case.mocks.items() if _id(name) not in mutant.inside},
        events=tuple(
            one for one in case.events if not _named(one.what.decide, one.what.callback, one.what.on) & mutant.inside
        ),
        timeout=min(case.timeout, max(_SHORTEST, _PATIENCE * took)),
    )


def _named(*names: str | None) -> set[str]:
    return {_id(name) for name in names if name is not None}


def _id(name: str) -> str:
    """The id of the step that an id or a path names."""
    return name.rpartition("/")[2]
