"""Human tasks as people find them, in a real store."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.stores import open_store

from orchestrator.errors import TerminalError
from orchestrator.spec.acts.human_task import HumanTaskConfig, fields_of, ordered_form
from orchestrator.spec.loading import load_flow
from orchestrator.spec.project import Project
from orchestrator.steps.context import STORE, StepContext
from orchestrator.steps.tasks import human_task as step
from orchestrator.store.database import Store

MakeContext = Callable[..., StepContext]
DUE = "2026-11-21T09:00:00Z"
TASK_ID = "run-1:check/review"


@dataclass
class Desk:
    """A store and a context of the step ``check/review`` that is lent it."""

    store: Store
    context: StepContext

    async def open(self, deadline: str | None = None, **config: Any) -> Any:
        return await step.run(HumanTaskConfig(**{"assignee": "content-team"} | config), self.context, deadline)

    async def close(self, **closing: Any) -> Any:
        return await step.close_task({"path": "check/review"} | closing, self.context)


@pytest.fixture
async def desk(tmp_path: Path, make_context: MakeContext) -> AsyncIterator[Desk]:
    store = await open_store(f"sqlite:///{tmp_path / 'store.db'}")
    context = make_context(path="check/review", step_id="review")
    context.resources.lend(STORE, store)
    yield Desk(store, context)
    await store.aclose()


async def test_opening_puts_the_task_where_people_find_it(desk: Desk) -> None:
    shown = await desk.open(
        DUE,
        title="심사",
        instructions="Read it.",
        decisions=["approve", {"name": "reject", "label": "거절"}],
        form={"note": "string"},
    )
    assert shown == {"task_id": TASK_ID, "status": "open", "title": "심사", "assignee": "content-team"}
    [task] = await desk.store.tasks.list(status="open", assignee="content-team")
    assert (task.id, task.run_id, task.flow, task.step) == (TASK_ID, "run-1", "test-flow", "review")
    assert task.decisions == [
        {"name": "approve", "label": "approve"},
        {"name": "reject", "label": "거절"},
    ]
    assert task.form == {"type": "object", "properties": {"note": {"type": "string"}}, "required": ["note"]}
    assert task.deadline == datetime(2026, 11, 21, 9, tzinfo=UTC)


async def test_opening_twice_leaves_one_task(desk: Desk) -> None:
    assert await desk.open() == await desk.open()
    assert len(await desk.store.tasks.list()) == 1


async def test_a_task_without_a_title_has_the_steps_name(desk: Desk) -> None:
    assert (await desk.open())["title"] == "review"


async def test_closing_records_who_decided_what(desk: Desk) -> None:
    await desk.open()
    decided = {"decision": "approve", "data": {"a": 1}, "comment": "fine", "by": "kim", "automatic": False}
    assert (await desk.close(status="decided", at="2026-11-20T10:00:00Z", **decided))["status"] == "decided"
    task = await desk.store.tasks.get(TASK_ID)
    assert {name: getattr(task, name) for name in decided} == decided
    assert task.decided_at == datetime(2026, 11, 20, 10, tzinfo=UTC)


async def test_a_closed_task_keeps_its_first_end(desk: Desk) -> None:
    await desk.open()
    await desk.close(status="decided", decision="approve")
    await desk.close(status="cancelled")
    assert (await desk.open())["status"] == "decided"


async def test_closing_a_task_that_was_never_opened_does_nothing(desk: Desk) -> None:
    assert await desk.close(status="cancelled") is None


async def test_a_worker_without_a_store_says_so(make_context: MakeContext) -> None:
    with pytest.raises(TerminalError, match="has no store"):
        await step.run(HumanTaskConfig(assignee="a"), make_context())


async def test_what_happens_to_a_task_is_written_once_however_often_it_is_told(desk: Desk) -> None:
    await desk.open()
    notes = [
        {"number": 1, "action": "delegated", "at": "2026-11-20T10:00:00Z", "by": "kim", "to": ["lee"]},
        {"number": 2, "action": "commented", "at": "2026-11-20T10:00:01Z", "by": "lee", "comment": "mine"},
    ]
    told = {"path": "check/review", "notes": notes, "now": {"assignee": "lee", "group": None, "votes": []}}
    for _ in range(2):
        assert await step.note_task(told, desk.context) == {"noted": 2}
    assert (await desk.store.tasks.get(TASK_ID)).assignee == "lee"
    more = [{"number": 3, "action": "voted", "at": DUE, "by": "lee", "decision": "approve"}]
    end = {"status": "decided", "by": "lee", "decision": "approve", "notes": more, "now": {"assignee": "lee"}}
    for _ in range(2):
        await desk.close(**end)
    history = await desk.store.audit.of("task", TASK_ID)
    assert [(entry.action, entry.by, entry.details) for entry in history] == [
        ("opened", None, {"assignee": "content-team"}),
        ("delegated", "kim", {"to": ["lee"]}),
        ("commented", "lee", {"comment": "mine"}),
        ("voted", "lee", {"decision": "approve"}),
        ("decided", "lee", {"decision": "approve"}),
    ]
    assert await step.note_task({"path": "elsewhere", "notes": notes, "now": {}}, desk.context) is None


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({}, "exactly one of 'assignee' and 'group'"),
        ({"assignee": "a", "group": "b"}, "exactly one of"),
        ({"assignee": "a", "decisions": ["x", "x"]}, "listed once"),
        ({"assignee": "a", "decisions": []}, "at least 1"),
        ({"assignee": "a", "comment_required": ["rejct"]}, "not one of: approve, reject"),
        ({"assignee": "a", "deadline": "1h", "on_deadline": {"decide": "x"}}, "decides 'x'"),
        ({"assignee": "a", "on_deadline": "continue"}, "needs a 'deadline'"),
        ({"assignee": "a", "quorum": 0}, "greater than or equal to 1"),
        ({"assignee": "a", "quorum": "most"}, "majority"),
        ({"assignee": "a", "quorum": {"aprove": 2}}, "not one of: approve, reject"),
        ({"assignee": "a", "remind": "0s"}, "at least 1 second"),
        ({"assignee": "a", "remind": ["1h", "10ms"]}, "at least 1 second"),
        ({"assignee": "a", "deadline": "1h", "on_deadline": {"escalate": []}}, "at least 1 item"),
        ({"assignee": "a", "deadline": "1h", "on_deadline": {"escalate": [{"deadline": "1h"}]}}, "exactly one of"),
        ({"assignee": "a", "deadline": "1h", "on_deadline": {}}, "write 'decide', 'escalate'"),
        (
            {"assignee": "a", "deadline": "1h", "on_deadline": {"then": "fail", "decide": "approve"}},
            "instead of 'decide'",
        ),
        (
            {"assignee": "a", "deadline": "1h", "on_deadline": {"escalate": [{"assignee": "b"}, {"group": "c"}]}},
            "'b' has no deadline",
        ),
        ({"assignee": "a", "on_deadline": {"escalate": [{"assignee": "b"}]}}, "needs a 'deadline'"),
        ({"assignee": "a", "attachments": {"": 1}}, "at least 1 character"),
        ({"assignee": "a", "form": {"note": 3}}, "'note' in a form"),
    ],
)
def test_a_task_nobody_could_decide_is_refused_with_the_reason(config: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        HumanTaskConfig.model_validate(config)


@pytest.mark.parametrize(
    ("form", "required"),
    [
        ({"a": "string", "b": {"type": "number", "required": False}, "c": {"type": "string", "default": ""}}, ["a"]),
        ({"type": "object", "properties": {"a": {"type": "string"}}}, None),
        ({"properties": {"a": {}}, "required": ["a"]}, ["a"]),
    ],
)
def test_a_form_is_names_with_types_or_a_schema(form: dict[str, Any], required: list[str] | None) -> None:
    read = HumanTaskConfig.model_validate({"assignee": "a", "form": form}).form
    assert read is not None
    assert read.get("required") == required
    assert HumanTaskConfig.model_validate({"assignee": "a", "form": read}).form == read


@pytest.mark.parametrize(
    ("form", "order"),
    [
        ({"b": "string", "a": "string"}, ["b", "a"]),
        ({"properties": {"b": {}, "a": {}}, "x-order": ["a", "gone", 3, {}, "a"]}, ["a", "b"]),
        ({"properties": {"b": {}, "a": {}}, "x-order": 3}, ["b", "a"]),
        ({"properties": [1], "x-order": []}, []),
        (None, []),
    ],
)
def test_the_fields_of_a_form_are_known_in_order(form: dict[str, Any] | None, order: list[str]) -> None:
    assert list(fields_of(ordered_form(form) if form and "x-order" not in form else form)) == order


def test_a_forms_fields_keep_their_order_on_the_way_to_the_task() -> None:
    form = "{zeta: string, alpha: {type: number, required: false}}"
    flow = f"id: f\nsteps: [{{id: a, type: human-task, config: {{assignee: x, form: {form}}}}}]\n"
    kept = load_flow(flow, "flow.yaml", Project()).definition.steps[0].config["form"]
    assert list(fields_of(json.loads(json.dumps(kept, sort_keys=True)))) == ["zeta", "alpha"]
    assert kept["required"] == ["zeta"]
