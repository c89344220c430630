"""Human tasks: decided by signal or update, refused clearly, bounded by a deadline, closed in the store."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.common import RawValue
from temporalio.exceptions import CancelledError
from tests.engine.harness import Workbench, failure_of

REVIEW = """
id: review
steps:
  - id: review
    type: human-task
    config:
      assignee: content-team
      title: Check it
      decisions: [approve, reject]
      comment_required: [reject]
      on_reject: {on_reject}
      form: {{type: object, properties: {{amount: {{type: number}}}}}}
output: "{{{{ steps.review.output }}}}"
"""
CONTINUE = REVIEW.format(on_reject="continue")


async def test_a_signal_named_like_the_step_decides_it(workbench: Workbench) -> None:
    handle = await workbench.start(CONTINUE)
    await workbench.waiting(handle, "review")
    await handle.signal("review", {"decision": "approve", "by": "kim", "data": {"amount": 3}})
    output = await handle.result()
    assert {key: output[key] for key in ("decision", "by", "data", "automatic")} == {
        "decision": "approve",
        "by": "kim",
        "data": {"amount": 3},
        "automatic": False,
    }


async def test_a_signal_sent_before_the_task_opens_is_not_lost(workbench: Workbench) -> None:
    handle = await workbench.start(CONTINUE)
    await handle.signal("review", {"decision": "approve"})
    assert (await handle.result())["decision"] == "approve"


async def test_an_update_answers_at_once_and_decides(workbench: Workbench) -> None:
    handle = await workbench.start(CONTINUE)
    await workbench.waiting(handle, "review")
    answer: dict[str, Any] = await handle.execute_update("review", {"decision": "approve"})
    assert answer["accepted"] is True
    assert (await handle.result())["decision"] == "approve"


@pytest.mark.parametrize(
    ("name", "message", "words"),
    [
        ("review", {"decision": "maybe"}, "approve, reject"),
        ("review", {"decision": "reject"}, "needs a comment"),
        ("review", {"decision": "approve", "data": {"amount": "lots"}}, "data.amount"),
        ("review", "approve", "send an object"),
        ("other", {"decision": "approve"}, "no step 'other' is waiting"),
    ],
)
async def test_a_wrong_update_is_refused_with_the_reason_and_changes_nothing(
    workbench: Workbench, name: str, message: object, words: str
) -> None:
    handle = await workbench.start(CONTINUE)
    await workbench.waiting(handle, "review")
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await handle.execute_update(name, message)
    assert words in str(caught.value.cause)
    await handle.signal("review", {"decision": "approve"})
    assert (await handle.result())["decision"] == "approve"


async def test_a_wrong_signal_is_kept_as_a_warning(workbench: Workbench) -> None:
    handle = await workbench.start(CONTINUE)
    await workbench.waiting(handle, "review")
    await handle.signal("review", {"decision": "maybe"})
    state: dict[str, Any] = await handle.query("state")
    assert "maybe" in state["warnings"][0]
    await handle.signal("review", {"decision": "approve"})
    await handle.result()


async def test_the_same_signal_id_counts_once(workbench: Workbench) -> None:
    two = """
    id: twice
    steps:
      - {id: a, type: human-task, config: {assignee: x}}
      - {id: b, type: human-task, config: {assignee: x}}
    """
    handle = await workbench.start(two)
    await workbench.waiting(handle, "a")
    for _ in range(2):
        await handle.signal("a", {"decision": "approve", "signal_id": "s-1"})
    state = await workbench.waiting(handle, "b")
    assert state["warnings"] == []
    await handle.signal("b", {"decision": "approve", "signal_id": "s-2"})
    await handle.result()


async def test_a_rejection_fails_the_step_unless_the_author_chose_otherwise(workbench: Workbench) -> None:
    handle = await workbench.start(REVIEW.format(on_reject="fail"))
    await workbench.waiting(handle, "review")
    await handle.signal("review", {"decision": "reject", "comment": "no", "by": "lee"})
    error = await failure_of(handle)
    assert (error["type"], error["data"]["by"]) == ("rejected", "lee")


async def test_a_task_row_is_opened_and_closed_with_the_decision(workbench: Workbench) -> None:
    handle = await workbench.start(CONTINUE)
    state = await workbench.waiting(handle, "review")
    task_id = state["waits"][0]["task_id"]
    row = await workbench.store.tasks.get(task_id)
    assert (row.status, row.assignee, row.title) == ("open", "content-team", "Check it")
    await handle.signal("review", {"decision": "reject", "comment": "spam", "by": "kim"})
    await handle.result()
    row = await workbench.store.tasks.get(task_id)
    assert (row.status, row.decision, row.comment, row.by) == ("decided", "reject", "spam", "kim")


async def test_cancelling_the_run_closes_its_task(workbench: Workbench) -> None:
    handle = await workbench.start(CONTINUE)
    state = await workbench.waiting(handle, "review")
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), 30)
    row = await workbench.store.tasks.get(state["waits"][0]["task_id"])
    assert row.status == "cancelled"


DEADLINE = """
id: deadline
steps:
  - id: review
    type: human-task
    config: {{assignee: a, deadline: 24h, on_deadline: {on_deadline}}}
output: "{{{{ steps.review.output }}}}"
"""


async def test_a_missed_deadline_fails_the_step(skipping: Workbench) -> None:
    error = await skipping.failure(DEADLINE.format(on_deadline="fail"))
    assert error["type"] == "deadline_exceeded"


async def test_a_deadline_can_decide_by_itself(skipping: Workbench) -> None:
    output = await skipping.run(DEADLINE.format(on_deadline="{decide: approve}"))
    assert (output["decision"], output["automatic"]) == ("approve", True)


async def test_a_tasks_timeout_ends_the_wait_and_closes_the_task(workbench: Workbench) -> None:
    flow = "id: impatient\nsteps: [{id: ask, type: human-task, timeout: 500ms, config: {assignee: x}}]"
    handle = await workbench.start(flow)
    error = await failure_of(handle)
    assert (error["type"], error["step"]["id"]) == ("step_timeout", "ask")
    row = await workbench.store.tasks.get(f"{handle.id}:ask")
    assert row.status == "cancelled"


async def test_a_rejection_can_cancel_the_run(workbench: Workbench) -> None:
    handle = await workbench.start(REVIEW.format(on_reject="cancel"))
    await workbench.waiting(handle, "review")
    await handle.signal("review", {"decision": "reject", "comment": "no"})
    with pytest.raises(WorkflowFailureError) as caught:
        await asyncio.wait_for(handle.result(), 30)
    assert isinstance(caught.value.cause, CancelledError)
    state: dict[str, Any] = await handle.query("state")
    assert (state["status"], state["steps"]["review"]["status"]) == ("cancelled", "cancelled")


async def test_of_many_decisions_at_once_exactly_one_is_accepted(workbench: Workbench) -> None:
    handle = await workbench.start(CONTINUE)
    await workbench.waiting(handle, "review")
    answers = await asyncio.gather(
        *(handle.execute_update("review", {"decision": "approve", "by": f"p{n}"}) for n in range(8)),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, dict) for answer in answers) == 1
    assert sum(isinstance(answer, WorkflowUpdateFailedError) for answer in answers) == 7
    await handle.result()


@pytest.mark.parametrize("encoding", [b"json/plain", b"binary/encrypted", b"json/protobuf"])
async def test_a_message_that_is_no_json_is_refused_and_does_not_stick_the_run(
    workbench: Workbench, encoding: bytes
) -> None:
    garbage = RawValue(Payload(metadata={"encoding": encoding}, data=b"{oops"))
    handle = await workbench.start(CONTINUE)
    await handle.signal("review", garbage)
    state = await workbench.waiting(handle, "review")
    assert "cannot be read as JSON" in state["warnings"][0]
    with pytest.raises(WorkflowUpdateFailedError):
        await handle.execute_update("review", garbage)
    await handle.signal("review", {"decision": "approve"})
    assert (await asyncio.wait_for(handle.result(), 30))["decision"] == "approve"


@pytest.mark.parametrize("form", [{"type": "object", "properties": {"a": {"pattern": "("}}}, {"$ref": "#/nowhere"}])
async def test_a_form_that_is_no_schema_fails_the_step_before_anybody_is_asked(
    workbench: Workbench, form: dict[str, Any]
) -> None:
    flow = """
    id: bad-form
    inputs: {form: object}
    steps: [{id: ask, type: human-task, config: {assignee: x, form: "{{ inputs.form }}"}}]
    """
    error = await workbench.failure(flow, {"form": form})
    assert error["type"] == "invalid_config"
    assert "form" in error["message"]
