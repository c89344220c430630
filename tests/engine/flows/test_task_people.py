"""Human tasks that several people decide, that are handed on, escalated, reminded of: also across continue-as-new."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.client import WorkflowHandle, WorkflowUpdateFailedError
from tests.engine.harness import Workbench, failure_of, scheduled, untroubled

Handle = WorkflowHandle[Any, Any]

CONTACTS = """
contacts:
  board: {members: [kim, lee, park]}
  kim: {}
"""
VOTE = """
id: vote
steps:
  - id: review
    type: human-task
    config: {{group: board, quorum: {quorum}, on_reject: continue{more}}}
output: "{{{{ steps.review.output }}}}"
"""


def declare(bench: Workbench) -> None:
    (bench.settings.project_dir / "orchestrator.yaml").write_text(CONTACTS)


async def waiting(bench: Workbench, quorum: str, more: str = "", **envelope: Any) -> Handle:
    declare(bench)
    handle = await bench.start(VOTE.format(quorum=quorum, more=more), **envelope)
    await bench.waiting(handle, "review")
    return handle


async def refused(handle: Handle, message: object) -> str:
    for _ in range(100):
        with pytest.raises(WorkflowUpdateFailedError) as caught:
            await handle.execute_update("review", message)
        if "is waiting now" not in str(caught.value.cause):
            break
        await asyncio.sleep(0.05)
    return str(caught.value.cause)


async def vote(handle: Handle, by: str, decision: str = "approve", **more: Any) -> None:
    await taken(handle, {"decision": decision, "by": by} | more)


async def taken(handle: Handle, message: object) -> None:
    """Send an update that must be taken: after a moment, where the run is about to continue as new."""
    for _ in range(100):
        try:
            await handle.execute_update("review", message)
            return
        except WorkflowUpdateFailedError as error:
            if "is waiting now" not in str(error.cause):
                raise
        await asyncio.sleep(0.05)
    raise AssertionError(f"{message} is never taken")


async def history(bench: Workbench, handle: Handle) -> list[tuple[str, str | None]]:
    return [(entry.action, entry.by) for entry in await bench.store.audit.of("task", f"{handle.id}:review")]


@pytest.mark.parametrize("continue_after", [5000, 1])
async def test_so_many_have_to_agree_each_counts_once_and_everything_is_audited(
    workbench: Workbench, continue_after: int
) -> None:
    handle = await waiting(workbench, "2", continue_after=continue_after)
    await vote(handle, "kim", comment="fine", data={"n": 1})
    assert "kim has decided already: approve" in await refused(handle, {"decision": "reject", "by": " Kim"})
    assert "choi is not asked; those who are: kim, lee, park" in await refused(
        handle, {"decision": "approve", "by": "choi"}
    )
    assert "say who decides" in await refused(handle, {"decision": "approve"})
    await vote(handle, "lee", data={"n": 2})
    output = await asyncio.wait_for(handle.result(), 30)
    assert (output["decision"], output["by"], output["data"], output["automatic"]) == (
        "approve",
        "lee",
        {"n": 2},
        False,
    )
    assert [(one["by"], one["decision"], one["comment"]) for one in output["votes"]] == [
        ("kim", "approve", "fine"),
        ("lee", "approve", None),
    ]
    assert await history(workbench, handle) == [
        ("opened", None),
        ("voted", "kim"),
        ("voted", "lee"),
        ("decided", "lee"),
    ]
    row = await workbench.store.tasks.get(f"{handle.id}:review")
    assert (row.status, row.decision, [one["by"] for one in row.votes or []]) == ("decided", "approve", ["kim", "lee"])
    await untroubled(handle)


async def test_one_rejection_is_a_veto_unless_more_are_asked_for(workbench: Workbench) -> None:
    handle = await waiting(workbench, "2")
    await vote(handle, "kim")
    await vote(handle, "park", "reject", comment="no")
    assert (await handle.result())["decision"] == "reject"
    handle = await waiting(workbench, "{approve: 2, reject: 2}")
    for person, decision in (("park", "reject"), ("kim", "approve"), ("lee", "approve")):
        await vote(handle, person, decision)
    assert (await handle.result())["decision"] == "approve"


async def test_a_quorum_that_cannot_be_reached_any_more_fails_the_step_and_closes_the_task(
    workbench: Workbench,
) -> None:
    handle = await waiting(workbench, "{approve: all, reject: all}")
    await vote(handle, "kim")
    await vote(handle, "lee", "reject")
    error = await failure_of(handle)
    assert (error["type"], [one["by"] for one in error["data"]["votes"]]) == ("no_quorum", ["kim", "lee"])
    assert (await workbench.store.tasks.get(f"{handle.id}:review")).status == "expired"


@pytest.mark.parametrize(
    ("flow", "says"),
    [
        (VOTE.format(quorum=4, more=""), "'approve' needs 4 people, and 3 may decide"),
        (VOTE.format(quorum="all", more="").replace("board", "nobody-declared"), "give the contact `members`"),
        (VOTE.format(quorum=3, more=", not_by: Kim"), "needs 3 people, and 2 may decide"),
    ],
)
async def test_a_quorum_nobody_could_reach_fails_the_step_before_anybody_is_asked(
    workbench: Workbench, flow: str, says: str
) -> None:
    declare(workbench)
    error = await workbench.failure(flow)
    assert (error["type"], says in error["message"]) == ("invalid_config", True), error["message"]
    assert await workbench.store.tasks.list() == []


async def test_votes_that_come_early_count_once_it_is_known_who_may_vote(workbench: Workbench) -> None:
    declare(workbench)
    handle = await workbench.start(VOTE.format(quorum=2, more=""))
    for person in ("stranger", "kim", "lee"):
        await handle.signal("review", {"decision": "approve", "by": person})
    output = await asyncio.wait_for(handle.result(), 30)
    assert [one["by"] for one in output["votes"]] == ["kim", "lee"]


async def test_who_asked_may_not_decide(workbench: Workbench) -> None:
    flow = """
    id: asked
    inputs: {asked_by: string}
    steps: [{id: review, type: human-task, config: {assignee: team, not_by: "{{ inputs.asked_by }}"}}]
    """
    handle = await workbench.start(flow, {"asked_by": "choi"})
    await workbench.waiting(handle, "review")
    assert "Choi may not decide this task" in await refused(handle, {"decision": "approve", "by": "Choi "})
    assert "say who decides" in await refused(handle, {"decision": "approve"})
    assert "choi may not decide" in await refused(handle, {"action": "delegate", "by": "kim", "to": "choi"})
    await vote(handle, "kim")
    assert (await handle.result())["by"] == "kim"


@pytest.mark.parametrize("continue_after", [5000, 1])
async def test_a_task_is_handed_on_and_shows_who_has_it(workbench: Workbench, continue_after: int) -> None:
    (workbench.settings.project_dir / "orchestrator.yaml").write_text(CONTACTS)
    flow = "id: hand\nsteps: [{id: review, type: human-task, config: {assignee: kim}}]"
    handle = await workbench.start(flow, continue_after=continue_after)
    await workbench.waiting(handle, "review")
    assert "give `by` and `to`" in await refused(handle, {"action": "delegate", "by": "kim"})
    assert "not one of comment, delegate" in await refused(handle, {"action": "forward"})
    await taken(handle, {"action": "delegate", "by": "kim", "to": "lee", "comment": "away"})
    assert "kim does not have this task" in await refused(handle, {"action": "delegate", "by": "kim", "to": "park"})
    await handle.signal("review", {"action": "comment", "by": "lee", "comment": "looking"})
    for _ in range(200):
        row = await workbench.store.tasks.get(f"{handle.id}:review")
        if len(await history(workbench, handle)) == 3:
            break
        await asyncio.sleep(0.05)
    assert (row.assignee, row.status) == ("lee", "open")
    state = await workbench.waiting(handle, "review")
    assert state["waits"][0]["assignee"] == "lee"
    await vote(handle, "lee")
    await handle.result()
    assert await history(workbench, handle) == [
        ("opened", None),
        ("delegated", "kim"),
        ("commented", "lee"),
        ("decided", "lee"),
    ]
    await untroubled(handle)


async def test_a_vote_is_handed_on_with_its_place(workbench: Workbench) -> None:
    handle = await waiting(workbench, "all")
    await vote(handle, "kim")
    assert "has decided already" in await refused(handle, {"action": "delegate", "by": "kim", "to": "choi"})
    await taken(handle, {"action": "delegate", "by": "lee", "to": "choi"})
    assert "lee is not asked" in await refused(handle, {"decision": "approve", "by": "lee"})
    await vote(handle, "choi")
    await vote(handle, "park")
    assert (await handle.result())["decision"] == "approve"


async def test_what_happens_while_a_run_is_cancelled_is_kept(workbench: Workbench) -> None:
    handle = await waiting(workbench, "2")
    await handle.signal("orchestrator.pause", {})
    await vote(handle, "kim")
    await handle.cancel()
    with pytest.raises(Exception, match="Workflow"):
        await asyncio.wait_for(handle.result(), 30)
    assert await history(workbench, handle) == [("opened", None), ("voted", "kim"), ("cancelled", None)]


ESCALATED = """
id: escalated
steps:
  - id: review
    type: human-task
    config:
      group: board
      deadline: 24h
      remind: 10h
      on_deadline: {escalate: [{assignee: lead, deadline: 2h}, {group: office, deadline: 1h}], decide: reject}
output: "{{ steps.review.output }}"
"""


@pytest.mark.parametrize("continue_after", [5000, 1])
async def test_after_its_deadlines_a_task_goes_from_one_to_the_next_and_then_decides_itself(
    skipping: Workbench, continue_after: int
) -> None:
    declare(skipping)
    handle = await skipping.start(ESCALATED, continue_after=continue_after)
    output = await asyncio.wait_for(handle.result(), 60)
    assert (output["decision"], output["automatic"], output["by"]) == ("reject", True, None)
    entries = await skipping.store.audit.of("task", f"{handle.id}:review")
    assert [(entry.action, entry.details.get("to")) for entry in entries] == [
        ("opened", None),
        ("reminded", ["kim", "lee", "park"]),
        ("reminded", ["kim", "lee", "park"]),
        ("escalated", ["lead"]),
        ("escalated", ["office"]),
        ("expired", None),
    ]
    hours = [round((entry.at - entries[3].at).total_seconds() / 3600) for entry in entries[1:]]
    assert hours == [-14, -4, 0, 2, 3]
    row = await skipping.store.tasks.get(f"{handle.id}:review")
    assert (row.assignee, row.group, row.status) == (None, "office", "expired")
    assert output["due"] == row.deadline.isoformat(timespec="milliseconds").replace("+00:00", "Z")  # type: ignore[union-attr]
    await untroubled(handle)


async def test_whoever_a_task_is_escalated_to_has_the_last_word(workbench: Workbench) -> None:
    declare(workbench)
    flow = """
    id: lead
    steps:
      - id: review
        type: human-task
        config:
          {group: board, quorum: 2, remind: [1s], deadline: 1500ms, on_deadline: {escalate: [{assignee: lead}]}}
    output: "{{ steps.review.output }}"
    """
    handle = await workbench.start(flow)
    await workbench.waiting(handle, "review")
    await vote(handle, "kim")
    for _ in range(100):
        if ("escalated", None) in await history(workbench, handle):
            break
        await asyncio.sleep(0.05)
    row = await workbench.store.tasks.get(f"{handle.id}:review")
    assert (row.assignee, row.group, row.deadline) == ("lead", None, None)
    await vote(handle, "lead")
    output = await asyncio.wait_for(handle.result(), 30)
    assert (output["by"], output["due"], [one["by"] for one in output["votes"]]) == ("lead", None, ["kim"])
    entries = await workbench.store.audit.of("task", f"{handle.id}:review")
    assert [(entry.action, entry.details.get("to")) for entry in entries] == [
        ("opened", None),
        ("voted", None),
        ("reminded", ["lee", "park"]),
        ("escalated", ["lead"]),
        ("decided", None),
    ]


async def test_without_the_new_keys_a_task_costs_two_activities(workbench: Workbench) -> None:
    handle = await workbench.start("id: plain\nsteps: [{id: review, type: human-task, config: {assignee: a}}]")
    await workbench.waiting(handle, "review")
    await vote(handle, "kim")
    await handle.result()
    assert await scheduled(handle) == ["review", "review#close"]


async def test_a_pause_that_stops_the_clock_moves_deadlines_and_reminders(workbench: Workbench) -> None:
    flow = """
    id: paused-task
    steps:
      - id: review
        type: human-task
        config: {assignee: kim, remind: 1s, deadline: 2500ms, on_deadline: {escalate: [{assignee: lead}]}}
    output: "{{ steps.review.output }}"
    """
    handle = await workbench.start(flow)
    await workbench.waiting(handle, "review")
    await handle.signal("orchestrator.pause", {"stop_clock": True})
    await asyncio.sleep(1.5)
    assert await history(workbench, handle) == [("opened", None)]
    await handle.signal("orchestrator.resume", {})
    for _ in range(100):
        if ("escalated", None) in await history(workbench, handle):
            break
        await asyncio.sleep(0.05)
    entries = await workbench.store.audit.of("task", f"{handle.id}:review")
    assert [entry.action for entry in entries] == ["opened", "reminded", "reminded", "escalated"]
    assert (entries[3].at - entries[0].at).total_seconds() > 3.5
    await vote(handle, "lead")
    await handle.result()


async def test_no_message_sticks_a_task_however_odd_it_is(workbench: Workbench) -> None:
    handle = await waiting(workbench, "2", ", not_by: [ada, null]")
    odd: list[Any] = [
        {"action": "comment"},
        {"action": "comment", "comment": 3},
        {"action": "comment", "comment": "x\x00"},
        {"action": "delegate", "by": 3, "to": "lee"},
        {"action": "delegate", "by": "kim", "to": ["lee"]},
        {"action": "delegate", "by": " ", "to": "choi"},
        {"action": "delegate", "by": "kim", "to": "ADA"},
        {"action": "delegate", "by": "kim", "to": "lee"},
        {"action": None},
        {"action": {"a": 1}},
        {"decision": ["approve"], "by": "kim"},
        {"decision": "approve", "by": {"a": 1}},
        {"decision": "approve", "by": "  "},
        {"decision": "approve", "by": "Ada"},
        {"decision": None, "action": "comment", "comment": "x"},
    ]
    for message in odd:
        await handle.signal("review", message)
    state: dict[str, Any] = await handle.query("state")
    assert len(state["warnings"]) == len(odd), state["warnings"]
    for person in ("kim", "lee"):
        await vote(handle, person)
    await handle.result()
    assert await history(workbench, handle) == [
        ("opened", None),
        ("voted", "kim"),
        ("voted", "lee"),
        ("decided", "lee"),
    ]
    await untroubled(handle)
