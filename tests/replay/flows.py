"""The flows whose histories are kept: one for each construct, and what happens to its run from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from temporalio.client import WorkflowHandle
from tests.engine.harness import Workbench

from orchestrator.testing import Reply, Request, When

Handle = WorkflowHandle[Any, Any]
Act = Callable[[Workbench, Handle], Awaitable[None]]


async def nothing(bench: Workbench, handle: Handle) -> None:
    """The run is left alone."""


async def approve(bench: Workbench, handle: Handle) -> None:
    await bench.waiting(handle, "review")
    await handle.signal("review", {"decision": "approve"})


async def decide_together(bench: Workbench, handle: Handle) -> None:
    """One agrees and says why, nobody else does until it is escalated; who has it then hands it on."""
    await bench.waiting(handle, "review")
    await handle.execute_update("review", {"decision": "approve", "by": "kim"})
    await handle.signal("review", {"action": "comment", "by": "lee", "comment": "not yet"})
    for _ in range(200):
        if (await bench.waiting(handle, "review"))["waits"][0]["assignee"] == "lead":
            break
        await asyncio.sleep(0.05)
    await handle.execute_update("review", {"action": "delegate", "by": "lead", "to": "park"})
    await handle.execute_update("review", {"decision": "approve", "by": "park"})


async def cancel(bench: Workbench, handle: Handle) -> None:
    await bench.waiting(handle, "review")
    await handle.cancel()


async def ring(bench: Workbench, handle: Handle) -> None:
    """The same signal twice, by its id, then another one."""
    await bench.waiting(handle, "bell")
    for number in (1, 1, 2):
        await handle.signal("ring", {"number": number, "signal_id": f"ring-{number}"})


async def pause_and_resume(bench: Workbench, handle: Handle) -> None:
    await bench.waiting(handle, "first")
    await handle.signal("orchestrator.pause", {"stop_clock": True, "by": "ada"})
    await asyncio.sleep(2.5)
    await handle.signal("orchestrator.resume", {})


async def edit_call(bench: Workbench, handle: Handle) -> None:
    await bench.waiting(handle, "approve-0")
    await handle.signal("approve-0", {"decision": "edit", "data": {"arguments": {"text": "cake"}}})


TURNS = {
    "You lead.": [
        Reply.tool_uses([("echo", {"value": 1}), ("slow", {"seconds": 0.1}), ("no_such_tool", {})]),
        Reply.tool_uses([("fail_with", {"text": "pie"}), ("helper", {"goal": "help"})]),
        Reply.json({"done": "perhaps"}),
        Reply.json({"done": True}),
    ],
    "You help.": [Reply.tool_use("echo", {"value": "helped"}), Reply.text("That is all.")],
}
"""What the model says, by the beginning of its system prompt and turn."""


def said(request: Request) -> Reply | None:
    """The turn's answer of whoever is asked."""
    turns = next((turns for who, turns in TURNS.items() if request.system.startswith(who)), None)
    return turns[request.turn] if turns is not None else None


SCRIPT = [When(lambda request: True, said)]

TEAM = """
agents:
  helper: {system: You help., description: Helps., tools: [{function: echo}]}
steps:
  - id: team
    type: agent
    config:
      system: You lead.
      goal: Get it done.
      tools: [{function: echo}, {function: slow}, {function: fail_with}, {agent: helper}]
      approve: [fail_with]
      approval: {group: desk, deadline: 24h}
      limits: {turns: 9, cost: 1, time: 48h}
    output_schema: {type: object, required: [done], properties: {done: {type: boolean}}}
  - {id: after, type: function, config: {handler: echo, args: ["{{ steps.team.output.done }}"]}}
"""
"""Tools side by side, one that does not exist, one that is approved and fails, an agent, and an answer corrected."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A flow whose run is recorded."""

    flow: str
    act: Act = nothing
    envelope: dict[str, Any] = field(default_factory=dict)
    children: tuple[str, ...] = ()
    """Flows that are published first."""
    scheduled: bool = False
    """Whether a Temporal schedule starts it, bare."""
    retried: bool = False
    """Whether the run that has failed is retried; the histories of both are kept."""


CHILD = """
id: child
inputs: {n: integer}
steps:
  - {id: c, type: function, config: {handler: echo, args: ["{{ inputs.n }}"]}}
"""

KEPT: dict[str, Kept] = {
    "two-echoes-and-a-wait": Kept("""
id: two-echoes-and-a-wait
steps:
  - {id: a, type: function, config: {handler: echo, args: [one]}}
  - {id: b, type: function, config: {handler: echo, args: [two]}}
  - {id: w, type: wait, config: {duration: 1s}}
"""),
    "graph-and-parallel": Kept("""
id: graph-and-parallel
vars: {n: 1}
steps:
  - {id: x, type: function, needs: [], config: {handler: echo, args: [x]}}
  - {id: y, type: function, needs: [], config: {handler: slow, params: {seconds: 0.2}}}
  - {id: z, type: function, needs: [x], config: {handler: echo, args: ["{{ steps.x.output }}"]}}
  - id: p
    type: parallel
    config:
      on_failure: finish_all
      branches:
        - {id: p1, type: function, config: {handler: slow, params: {seconds: 0.1}}}
        - {id: p2, type: function, config: {handler: echo, args: ["{{ uuid() }} {{ now() }}"]}}
        - {id: p3, type: block, timeout: 10s, config: {steps: [{id: p31, type: function, config: {handler: echo, args: [3]}}]}}
  - {id: s, type: set, config: {n: "{{ vars.n + 1 }}"}}
output: "{{ vars.n }}"
"""),
    "branches-and-handlers": Kept("""
id: branches-and-handlers
timeout: 1h
steps:
  - id: c
    type: condition
    config: {if: "1 < 2", then: [{id: t, type: function, config: {handler: echo, args: [t]}}], else: [{id: e, type: fail, config: {type: x, message: never}}]}
  - id: sw
    type: switch
    config: {value: "'b'", cases: [{equals: a, steps: [{id: ca, type: fail, config: {type: x, message: never}}]}, {equals: b, steps: [{id: cb, type: function, config: {handler: echo, args: [b]}}]}]}
  - {id: bad, type: function, retry: {max_attempts: 2, initial_interval: 10ms}, on_error: [{id: fix, type: function, config: {handler: echo, args: ["{{ error.type }}"]}}], config: {handler: fail_times, params: {times: 9}}}
  - {id: out, type: return, config: {output: {done: "{{ steps.bad.output }}"}}}
error_handling: {finally: [{id: last, type: function, config: {handler: echo, args: [last]}}]}
"""),
    "review-decided": Kept(
        """
id: review-decided
steps:
  - {id: review, type: human-task, config: {assignee: team, deadline: 24h}}
  - {id: after, type: function, config: {handler: echo, args: ["{{ steps.review.output.decision }}"]}}
""",
        approve,
    ),
    "review-together": Kept(
        """
id: review-together
steps:
  - id: review
    type: human-task
    config:
      {assignee: team, quorum: 2, not_by: ada, attachments: {order: 7}, remind: [1s], deadline: 2s,
       on_deadline: {escalate: [{assignee: lead}]}}
  - {id: after, type: function, config: {handler: echo, args: ["{{ steps.review.output.decision }}"]}}
""",
        decide_together,
    ),
    "review-cancelled": Kept(
        """
id: review-cancelled
steps:
  - parallel:
      - {id: review, type: human-task, config: {assignee: team}}
      - {id: long, type: function, config: {handler: slow, params: {seconds: 60}}}
""",
        cancel,
    ),
    "each-in-turn": Kept("""
id: each-in-turn
steps:
  - id: each
    type: for-each
    config:
      items: {b: 2, a: 1}
      until: "item.key == 'b'"
      steps: [{id: e, type: function, config: {handler: echo, args: ["{{ item.key }}{{ loop.index }}"]}}]
"""),
    "each-at-once": Kept("""
id: each-at-once
steps:
  - id: each
    type: for-each
    config:
      items: [1, 2, 3, 4, 5]
      as: number
      concurrency: 3
      tolerate: 1
      steps:
        - {id: e, type: function, config: {handler: slow, params: {seconds: "{{ number / 20 }}"}}}
        - {id: odd, type: function, if: "number == 2", config: {handler: fail_with, args: ["{{ number }}"]}}
"""),
    "each-by-batch": Kept("""
id: each-by-batch
steps:
  - id: each
    type: for-each
    config: {items: 5, batch_size: 2, steps: [{id: e, type: function, config: {handler: echo, args: ["{{ item }}"]}}]}
"""),
    "while-with-interval": Kept("""
id: while-with-interval
vars: {n: 0}
steps:
  - id: loop
    type: while
    config:
      until: "vars.n >= 3"
      max_iterations: 5
      interval: 100ms
      collect: all
      steps:
        - {id: turn, type: function, config: {handler: echo, args: ["{{ loop.index }}"]}}
        - {id: count, type: set, config: {n: "{{ vars.n + 1 }}"}}
"""),
    "try-catch-finally": Kept("""
id: try-catch-finally
steps:
  - id: guarded
    type: try
    config:
      retry: {max_attempts: 2, initial_interval: 50ms, on: ["*"]}
      steps:
        - {id: before, type: function, config: {handler: echo, args: [before]}}
        - {id: bad, type: function, config: {handler: fail_with, args: [bad]}}
      catch:
        - {"on": [timeout], steps: [{id: other, type: function, config: {handler: echo, args: [other]}}]}
        - {"on": [refused], steps: [{id: caught, type: function, config: {handler: echo, args: ["{{ error.type }}"]}}]}
      finally: [{id: always, type: function, config: {handler: echo, args: [always]}}]
"""),
    "saga-failed": Kept("""
id: saga-failed
steps:
  - id: s
    type: saga
    config:
      compensate_on: attempted
      steps:
        - {id: a, type: function, config: {handler: echo, args: [a]}, compensate: {id: undo-a, type: function, config: {handler: echo, args: ["undo {{ steps.a.output }}"]}}}
        - {id: b, type: function, config: {handler: fail_with, args: [b]}, compensate: [{id: undo-b, type: function, config: {handler: echo, args: ["{{ error.type }}"]}}]}
error_handling: {fallback: [{id: fell, type: function, config: {handler: echo, args: [fell]}}]}
"""),
    "saga-cancelled": Kept(
        """
id: saga-cancelled
steps:
  - {id: a, type: function, config: {handler: echo, args: [a]}, compensate: {id: undo-a, type: function, config: {handler: echo, args: [undone]}}}
  - {id: review, type: human-task, config: {assignee: team}}
error_handling: {finally: [{id: last, type: function, config: {handler: echo, args: [last]}}]}
""",
        cancel,
    ),
    "saga-timed-out": Kept("""
id: saga-timed-out
timeout: 1s
steps:
  - {id: a, type: function, config: {handler: echo, args: [a]}, compensate: {id: undo-a, type: function, config: {handler: echo, args: [undone]}}}
  - {id: w, type: wait, config: {duration: 1h}}
"""),
    "signal-heard": Kept(
        """
id: signal-heard
steps:
  - {id: bell, type: wait-for-event, config: {signal: ring, if: "event.data.number == 2", timeout: 1h}}
  - {id: after, type: function, config: {handler: echo, args: ["{{ steps.bell.output.event.data.number }}"]}}
""",
        ring,
    ),
    "signal-timed-out": Kept("""
id: signal-timed-out
steps:
  - {id: bell, type: wait-for-event, config: {signal: ring, timeout: 500ms, on_timeout: continue}}
"""),
    "monitored": Kept("""
id: monitored
monitoring:
  metrics: [execution_time]
  alerts:
    - {condition: execution_time > 300ms, channel: nobody}
    - {condition: attempts >= 2 and success_rate > 1%, channel: nobody}
    - {condition: execution_time > 1h, channel: nobody}
steps:
  - {id: hard, type: function, retry: {initial_interval: 10ms}, config: {handler: fail_times, params: {times: 1}}}
  - {id: w, type: wait, config: {duration: 1s}}
"""),
    "monitored-continued": Kept(
        """
id: monitored-continued
monitoring: {alerts: [{condition: execution_time > 300ms, channel: nobody}, {condition: attempts >= 1, channel: nobody}]}
steps:
  - {id: a, type: function, config: {handler: echo, args: [one]}}
  - {id: w, type: wait, config: {duration: 1s}}
  - {id: b, type: function, config: {handler: echo, args: [two]}}
""",
        envelope={"continue_after": 1},
    ),
    "schedule-skipped": Kept(
        """
id: schedule-skipped
triggers: [{type: schedule, id: nightly, cron: "0 3 * * *", if: "trigger.scheduled_time < '2000'"}]
steps: [{id: a, type: function, config: {handler: echo, args: [one]}}]
""",
        scheduled=True,
    ),
    "race-any": Kept("""
id: race-any
steps:
  - id: race
    type: parallel
    config:
      wait_for: any
      branches:
        - {id: quick, type: function, config: {handler: slow, params: {seconds: 0.1}}}
        - {id: long, type: function, config: {handler: slow, params: {seconds: 60}}}
        - {id: nap, type: wait, config: {duration: 1h}}
"""),
    "race-majority": Kept("""
id: race-majority
steps:
  - id: race
    type: parallel
    config:
      wait_for: majority
      losers: finish
      branches:
        - {id: one, type: function, config: {handler: slow, params: {seconds: 0.1}}}
        - {id: two, type: function, config: {handler: slow, params: {seconds: 0.3}}}
        - {id: three, type: function, config: {handler: slow, params: {seconds: 1.0}}}
  - {id: after, type: function, config: {handler: echo, args: ["{{ steps.race.finished }}"]}}
"""),
    "sub-flows": Kept(
        """
id: sub-flows
steps:
  - {id: awaited, type: flow, config: {flow: child, inputs: {n: 1}}}
  - {id: detached, type: flow, config: {flow: child, wait: false, inputs: {n: 2}}}
output: "{{ steps.awaited.output }}"
""",
        children=(CHILD,),
    ),
    "computed-steps": Kept("""
id: computed-steps
steps:
  - {id: plan, type: transform, config: {value: [{id: x, type: function, config: {handler: echo, args: [x]}}, {id: y, type: function, config: {handler: echo, args: [y]}}]}}
  - {id: play, type: run-steps, config: {steps: "{{ steps.plan.output }}", allow: [function]}}
"""),
    "express": Kept("""
id: express
steps:
  - id: fast
    type: block
    defaults: {durability: express, timeout: 5s}
    config:
      steps:
        - {id: one, type: function, config: {handler: echo, args: [one]}}
        - {id: two, type: function, config: {handler: echo, args: ["{{ steps.one.output }} two"]}}
  - {id: after, type: function, config: {handler: echo, args: [after]}}
"""),
    "cached": Kept("""
id: cached
steps:
  - {id: one, type: function, cache: {key: "k{{ run.id }}", ttl: 1h, scope: project}, config: {handler: echo, args: [one]}}
  - {id: two, type: function, cache: {key: "k{{ run.id }}", ttl: 1h, scope: project}, config: {handler: echo, args: [two]}}
"""),
    "paused": Kept(
        """
id: paused
timeout: 1h
steps:
  - {id: first, type: wait, config: {duration: 2s}}
  - {id: after, type: function, config: {handler: echo, args: [after]}}
""",
        pause_and_resume,
    ),
    "continued": Kept(
        """
id: continued
vars: {n: 0}
steps:
  - {id: a, type: function, config: {handler: echo, args: [a]}, compensate: {id: undo-a, type: function, config: {handler: echo, args: [undone]}}}
  - id: each
    type: for-each
    config: {items: 2, concurrency: 2, steps: [{id: e, type: function, config: {handler: echo, args: ["{{ item }}"]}}]}
  - {id: s, type: set, config: {n: "{{ vars.n + 1 }}"}}
  - {id: review, type: human-task, config: {assignee: team, deadline: 24h}}
  - {id: after, type: function, config: {handler: echo, args: ["{{ vars.n }} {{ steps.each.output }}"]}}
""",
        approve,
        {"continue_after": 1},
    ),
    "retried": Kept(
        """
id: retried
steps:
  - {id: a, type: function, config: {handler: echo, args: [a]}}
  - id: both
    type: parallel
    config:
      branches:
        - {id: well, type: function, config: {handler: echo, args: [well]}}
        - {id: badly, type: function, config: {handler: fail_times, params: {times: "{{ 9 if run.attempt == 1 else 0 }}"}}, retry: none}
        - {id: undoable, type: function, config: {handler: echo, args: [done]}, compensate: {id: undo, type: function, config: {handler: echo, args: [undone]}}}
  - {id: z, type: function, config: {handler: echo, args: [z]}}
""",
        retried=True,
    ),
    "scheduled": Kept(
        """
id: scheduled
triggers: [{type: schedule, id: clock, every: 1d, inputs: {at: "{{ trigger.scheduled_time }}"}}]
inputs: {at: string}
steps:
  - {id: a, type: function, config: {handler: echo, args: ["{{ inputs.at }} {{ trigger.id }}"]}}
""",
        scheduled=True,
    ),
    "agent": Kept(f"id: agent\n{TEAM}", edit_call),
    "agent-continued": Kept(f"id: agent-continued\n{TEAM}", edit_call, {"continue_after": 30}),
}
