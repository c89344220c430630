"""``python -m tests.e2e.chaos [--runs 200] [--seed N]``: runs under fire, and whether every promise was kept.

Workers, gateway and Temporal server are killed with SIGKILL at random instants while runs of one flow with every
construct are in flight. Prints the figures; ends with 1 where a promise was broken.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter
from tests.e2e.chaos.recorder import Recorder, recording
from tests.e2e.chaos.runs import FATES, Case, Driver
from tests.e2e.chaos.stack import Door, Stack
from tests.e2e.chaos.thinker import thinking
from tests.e2e.chaos.verdict import Recorded, Verdict, judge, read_histories


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of it."""

    runs: int = 200
    in_flight: int = 25
    kills: int = 60
    pause: tuple[float, float] = (0.2, 3.0)
    """Seconds between two kills."""
    seed: int = 1
    limit: float = 1800.0
    """Seconds after which what has not ended counts as stuck."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it."""

    plan: Plan
    verdict: Verdict
    recorded: Recorded
    kills: dict[str, int]
    calls: int
    seconds: float

    def __str__(self) -> str:
        killed = ", ".join(f"{count} × {name}" for name, count in sorted(self.kills.items()))
        lines = [
            f"seed {self.plan.seed}: {self.plan.runs} runs in {self.seconds:.0f} s, killed {killed}",
            f"{self.recorded.executions} executions, {self.recorded.continued} of them continued as new; "
            f"{self.calls} calls, {len(self.recorded.finished)} results recorded",
            f"attempts repeated before a result was recorded: {self.verdict.repeated} "
            f"(express: {self.verdict.express_repeated}, overlapping: {self.verdict.overlapping})",
            f"violations: {len(self.verdict.violations)}",
        ]
        return "\n".join([*lines, *(f"  {one}" for one in self.verdict.violations[:40])])


async def chaos(plan: Plan, folder: Path) -> Result:
    """Runs under fire in ``folder``."""
    with recording(plan.seed) as recorder:
        async with thinking(recorder, plan.seed) as model:
            stack = Stack(folder, recorder.url, model)
            try:
                await asyncio.to_thread(stack.start)
                return await _under_fire(plan, stack, recorder)
            finally:
                await asyncio.to_thread(stack.stop)


async def _under_fire(plan: Plan, stack: Stack, recorder: Recorder) -> Result:
    chance = random.Random(plan.seed)
    temporal, door = await stack.connect(), Door(stack.settings.gateway_url)
    driver = Driver(stack, temporal, door, random.Random(plan.seed + 1))
    cases = [Case(number, FATES[number % len(FATES)]) for number in range(plan.runs)]
    room = asyncio.Semaphore(plan.in_flight)

    async def drive(case: Case) -> None:
        async with room:
            await driver.drive(case)

    began = time.monotonic()
    killing = asyncio.create_task(stack.kill_at_random(chance, plan.kills, plan.pause))
    driving = [asyncio.create_task(drive(case)) for case in cases]
    try:
        _, stuck = await asyncio.wait(driving, timeout=plan.limit)
        for case, task in zip(cases, driving, strict=True):
            if task in stuck:
                case.problems.append(f"was not over after {plan.limit:g} s")
            elif task.exception() is not None:
                case.problems.append(f"could not be driven: {task.exception()!r}")
    finally:
        for task in (killing, *driving):
            task.cancel()
        outcomes = await asyncio.gather(killing, *driving, return_exceptions=True)
        await door.aclose()
    if isinstance(outcomes[0], Exception):
        raise outcomes[0]
    seconds = time.monotonic() - began
    recorded = await read_histories(temporal)
    while recorded.open and not any(case.problems for case in cases) and time.monotonic() < began + plan.limit:
        # A detached sub-flow may outlive the run that started it by some seconds.
        await asyncio.sleep(1.0)
        recorded = await read_histories(temporal)
    calls = recorder.calls()
    return Result(plan, judge(cases, calls, recorded), recorded, dict(stack.kills), len(calls), seconds)


def main() -> int:
    """Run it from the command line."""
    usual = Plan()
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.chaos", description=__doc__)
    parser.add_argument("--runs", type=int, default=usual.runs)
    parser.add_argument("--in-flight", type=int, default=usual.in_flight)
    parser.add_argument("--kills", type=int, default=usual.kills)
    parser.add_argument("--seed", type=int, default=None, help="what is killed when; printed, made up without it")
    parser.add_argument("--keep", type=Path, help="a folder that stays, to look at what happened")
    given = parser.parse_args()
    seed = random.randrange(1_000_000) if given.seed is None else given.seed
    # The SDK tells every attempt to reach a server that was killed a moment ago.
    logging = LoggingConfig(TelemetryFilter(core_level="ERROR", other_level="ERROR"))
    Runtime.set_default(Runtime(telemetry=TelemetryConfig(logging=logging)))
    plan = Plan(given.runs, given.in_flight, given.kills, seed=seed)
    sys.stdout.write(f"seed {seed}\n")
    sys.stdout.flush()
    with contextlib.ExitStack() as stack:
        folder = given.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="orchestrator-chaos-")))
        folder.mkdir(parents=True, exist_ok=True)
        result = asyncio.run(chaos(plan, folder))
    sys.stdout.write(f"{result}\n")
    return 1 if result.verdict.violations else 0


if __name__ == "__main__":
    sys.exit(main())
