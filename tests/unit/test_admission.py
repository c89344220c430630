"""What may be published and what may start."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.stores import open_store

from orchestrator import admission
from orchestrator.errors import Conflict, FlowInvalid, InputsInvalid, NotFound, Refused, SettingsInvalid
from orchestrator.settings import Settings
from orchestrator.spec.definition import envelope_from_json, envelope_to_json
from orchestrator.spec.loading import load_flow
from orchestrator.spec.project import Project
from orchestrator.store.database import Store

FLOW = """
id: greet
version: 1.0.0
env: {REGION: eu, LIMIT: 5, STRICT: false, RATE: 0.5}
inputs: {who: string, times: {type: integer, default: 2}}
steps:
  - {id: first, type: transform, config: {value: "{{ inputs.who }}"}}
  - {type: transform, config: {value: 1}}
"""


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(f"sqlite:///{tmp_path / 'store.db'}")
    yield opened
    await opened.aclose()


async def admit(store: Store, body: Any, *, env: dict[str, str] | None = None, **options: Any) -> Any:
    project = options.pop("project", Project())
    return await admission.admit(store, project, Settings(env=env or {}), "greet", body, **options)


async def test_an_api_start_gets_checked_inputs_and_says_who_and_when(store: Store) -> None:
    await admission.publish_text(store, Project(), FLOW)
    envelope = await admit(store, {"who": "Ada", "more": 1}, by="kim")
    assert envelope.inputs == {"who": "Ada", "times": 2}
    assert envelope.trigger["body"] == {"who": "Ada", "more": 1}
    assert {key: envelope.trigger[key] for key in ("type", "id", "by")} == {"type": "api", "id": "api", "by": "kim"}
    assert envelope.trigger["time"].endswith("Z")
    assert envelope.definition.version == "1.0.0"
    sent = envelope_to_json(envelope, envelope.trigger["body"])
    assert "body" not in sent["trigger"]
    assert envelope_from_json(sent, envelope.definition, envelope.trigger["body"]) == envelope


@pytest.mark.parametrize(
    ("body", "field"), [({}, "who"), (None, "who"), ({"who": 1}, "who"), ([], "(inputs)"), ("x", "(inputs)")]
)
async def test_inputs_that_do_not_match_name_the_field(store: Store, body: Any, field: str) -> None:
    await admission.publish_text(store, Project(), FLOW)
    with pytest.raises(InputsInvalid) as caught:
        await admit(store, body)
    assert caught.value.problems[0].field == field


async def test_text_becomes_the_declared_type_only_where_asked(store: Store) -> None:
    await admission.publish_text(store, Project(), FLOW)
    body = {"who": "7", "times": "7"}
    assert (await admit(store, body, convert_text=True)).inputs == {"who": "7", "times": 7}
    with pytest.raises(InputsInvalid):
        await admit(store, body)


async def test_env_is_the_default_then_the_project_then_the_environment(store: Store) -> None:
    await admission.publish_text(store, Project(), FLOW)
    project = Project(env={"REGION": "us", "LIMIT": 6, "OTHER": "x"})
    envelope = await admit(store, {"who": "x"}, project=project, env={"LIMIT": "7", "STRICT": "True", "MORE": "y"})
    assert envelope.env == {"REGION": "us", "LIMIT": 7, "STRICT": True, "RATE": 0.5}


@pytest.mark.parametrize(("name", "text"), [("LIMIT", "many"), ("STRICT", "perhaps"), ("RATE", "fast")])
async def test_an_env_value_of_the_wrong_type_names_the_variable(store: Store, name: str, text: str) -> None:
    await admission.publish_text(store, Project(), FLOW)
    with pytest.raises(SettingsInvalid, match=f"ORCHESTRATOR_ENV_{name}="):
        await admit(store, {"who": "x"}, env={name: text})


async def test_unknown_and_disabled_flows_are_told_apart(store: Store) -> None:
    with pytest.raises(NotFound):
        await admit(store, {})
    await admission.publish_text(store, Project(), FLOW)
    with pytest.raises(NotFound, match=r"published: '1\.0\.0'"):
        await admit(store, {"who": "x"}, version="2")
    await store.flows.set_enabled("greet", False)
    with pytest.raises(Refused, match="disabled"):
        await admit(store, {"who": "x"})


async def test_until_names_the_steps_there_are(store: Store) -> None:
    await admission.publish_text(store, Project(), FLOW)
    assert (await admit(store, {"who": "x"}, until="first")).until == "first"
    with pytest.raises(InputsInvalid, match="its steps: first"):
        await admit(store, {"who": "x"}, until="frist")


async def test_an_older_version_can_be_asked_for(store: Store) -> None:
    await admission.publish_text(store, Project(), FLOW)
    await admission.publish_text(store, Project(), FLOW.replace("1.0.0", "2.0.0").replace("times", "count"))
    assert (await admit(store, {"who": "x"}, version="1.0.0")).inputs == {"who": "x", "times": 2}
    assert (await admit(store, {"who": "x"})).inputs == {"who": "x", "count": 2}


async def test_what_cannot_run_yet_is_not_published(store: Store) -> None:
    text = FLOW + "triggers: [{type: schedule, every: 1h, idempotency_key: a}]\n"
    with pytest.raises(FlowInvalid, match="`idempotency_key` of a trigger"):
        await admission.publish_text(store, Project(), text)
    assert await store.flows.list() == []


async def test_one_path_has_one_flow(store: Store) -> None:
    hook = "id: {id}\ntriggers: [{{type: webhook, path: '{path}', method: {method}}}]\nsteps: [{{type: transform, config: {{value: 1}}}}]\n"

    async def publish(name: str, path: str, method: str = "POST") -> None:
        await admission.publish_text(store, Project(), hook.format(id=name, path=path, method=method))

    await publish("one", "/orders/{id}")
    await publish("one", "/orders/{number}")
    await publish("two", "/orders/{id}", "PUT")
    await publish("three", "/orders/{id}/lines")
    with pytest.raises(Conflict, match="belongs to flow 'one'"):
        await publish("four", "/orders/{order}")


async def test_a_folder_is_published_file_by_file(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "workflows"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.yaml").write_text(FLOW)
    (folder / "b.yml").write_text("id: b\nsteps: [{id: x, type: nonsense}]\n")
    (folder / "c.yaml").write_text(FLOW.replace("Ada", "Bob"))
    (folder / "deep" / "d.yaml").write_text(FLOW.replace("id: greet", "id: deep"))
    (folder / "notes.txt").write_text("no flow")
    results = await admission.publish_folder(store, Project(), folder, as_edit=True)
    by_name = {result.file.name: result for result in results}
    assert list(by_name) == ["a.yaml", "b.yml", "c.yaml", "d.yaml"]
    assert by_name["a.yaml"].published is not None and by_name["d.yaml"].published is not None
    assert by_name["b.yml"].published is None and "nonsense" in str(by_name["b.yml"].problems[0])
    assert by_name["c.yaml"].published is None and "also defined in" in by_name["c.yaml"].problems[0].message
    (folder / "a.yaml").write_text(FLOW.replace("default: 2", "default: 3"))
    (edited, *_) = await admission.publish_folder(store, Project(), folder, as_edit=True)
    assert edited.published is not None and edited.published.version.startswith("1.0.0+")
    assert (await admit(store, {"who": "x"})).inputs["times"] == 3


async def test_a_missing_folder_has_no_flows(store: Store, tmp_path: Path) -> None:
    assert await admission.publish_folder(store, Project(), tmp_path / "none") == []


def calling(name: str, *others: str, more: str = "") -> str:
    steps = [f"{{id: s{number}, {more}type: flow, config: {{flow: {other}}}}}" for number, other in enumerate(others)]
    return f"id: {name}\nsteps: [{', '.join(['{type: transform, config: {value: 1}}', *steps])}]\n"


def folder_of(tmp_path: Path, flows: dict[str, str]) -> Path:
    for name, text in flows.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


async def publish_all(store: Store, tmp_path: Path, flows: dict[str, str]) -> dict[str, str]:
    """What was said about each file; nothing about those that were published."""
    results = await admission.publish_folder(store, Project(), folder_of(tmp_path, flows), as_edit=True)
    return {
        result.file.stem: "" if result.published else "; ".join(str(one) for one in result.problems)
        for result in results
    }


async def test_a_sub_flow_that_nobody_knows_is_refused_with_the_nearest(store: Store) -> None:
    await admission.publish_text(store, Project(), calling("child"))
    with pytest.raises(FlowInvalid) as caught:
        await admission.publish_text(store, Project(), calling("parent", "chidl"))
    [problem] = caught.value.problems
    assert (problem.line, problem.column) == (2, 48)
    assert problem.message == "step `s0`: there is no flow `chidl`"
    assert problem.hint == "publish it first, or together with this one; did you mean `child`?"
    await admission.publish_text(store, Project(), calling("parent", "child"))
    await admission.publish_text(store, Project(), calling("any", "'{{ run.id }}'"))


async def test_flows_published_together_may_name_each_other_in_any_order(store: Store, tmp_path: Path) -> None:
    flows = {"a": calling("a", "b", "c"), "b": calling("b", "c"), "c": calling("c"), "d": calling("d", "d0")}
    said = await publish_all(store, tmp_path, flows)
    assert "there is no flow `d0`" in said["d"]
    assert {name for name, problem in said.items() if problem} == {"d"}


async def test_a_refused_sub_flow_takes_along_those_that_need_it(store: Store, tmp_path: Path) -> None:
    flows = {
        "a": calling("a", "b"),
        "b": calling("b", "c"),
        "c": "id: c\ntriggers: [{type: schedule, every: 1h, idempotency_key: a}]\nsteps: [{type: transform, config: {value: 1}}]\n",
        "d": calling("d", "e"),
        "e": "id: e\nsteps: [{type: nonsense}]\n",
        "f": calling("f"),
    }
    said = await publish_all(store, tmp_path, flows)
    assert "no flow `b`" in said["a"]
    assert "no flow `c`" in said["b"]
    assert "cannot run it yet" in said["c"]
    assert "no flow `e`" in said["d"]
    assert said["f"] == ""


async def test_flows_that_start_each_other_without_end_are_refused(store: Store, tmp_path: Path) -> None:
    flows = {"a": calling("a", "b"), "b": calling("b", "c"), "c": calling("c", "a"), "d": calling("d", "a")}
    said = await publish_all(store, tmp_path, flows)
    assert "these flows would start each other in every run, without end: a → b → c → a" in said["a"]
    assert "b → c → a → b" in said["b"]
    assert said["c"] != ""
    (tmp_path / "two").mkdir()
    flows["c"] = calling("c", "a", more='if: "run.attempt > 3", ')
    assert set((await publish_all(store, tmp_path / "two", flows)).values()) == {""}


async def test_an_endless_circle_is_found_through_flows_published_before(store: Store) -> None:
    await admission.publish_text(store, Project(), calling("a"))
    await admission.publish_text(store, Project(), calling("b", "a"))
    await admission.publish_text(store, Project(), calling("c", "b"))
    with pytest.raises(FlowInvalid, match="a → c → b → a"):
        await admission.publish_text(store, Project(), calling("a", "c"))


SENDER = "id: sender\nsteps:\n  - {id: tell, type: emit, config: {event: order.payed, data: 1}}\n"
LISTENER = """
id: listener
triggers: [{type: event, event: order.paid}]
steps: [{id: paid, type: wait-for-event, config: {event: [parcel.sent, 'stock.*'], timeout: 1h}}]
"""


async def remarks(store: Store, *texts: str, catalogue: Any = None) -> list[str]:
    project = Project(events=catalogue or {})
    flows = [load_flow(text, "flow.yaml", project) for text in texts]
    told = await admission.remarks(store, project, Settings(), flows)
    return [str(problem) for problems in told.values() for problem in problems]


async def test_an_event_that_nobody_hears_is_told_when_its_flow_is_published(store: Store) -> None:
    lonely = "flow.yaml:3:5: step `tell`: no flow subscribes to `order.payed` or waits for it"
    assert await remarks(store, SENDER) == [f"{lonely} (it is kept for a week, and reaches nobody)"]
    await admission.publish_text(store, Project(), LISTENER)
    assert await remarks(store, SENDER) == [f"{lonely} (did you mean `order.paid`?)"]
    for heard in ("order.paid", "parcel.sent", "stock.low"):
        assert await remarks(store, SENDER.replace("order.payed", heard)) == []
    assert await remarks(store, SENDER.replace("order.payed", '"{{ env.KIND }}"') + "env: {KIND: x}\n") == []


async def test_who_listens_may_be_published_together_with_who_sends(store: Store) -> None:
    assert await remarks(store, SENDER.replace("payed", "paid"), LISTENER) == []


async def test_a_flow_that_is_off_hears_nothing(store: Store) -> None:
    await admission.publish_text(store, Project(), LISTENER + "enabled: false\n")
    assert len(await remarks(store, SENDER.replace("payed", "paid"))) == 1


async def test_where_there_is_a_catalogue_of_events_it_names_every_type(store: Store) -> None:
    catalogue = {"order.paid": {"type": "object"}, "stock.low": {"type": "object"}}
    assert await remarks(store, LISTENER) == []
    assert await remarks(store, LISTENER, catalogue=catalogue) == [
        "flow.yaml:4:9: step `paid`: the catalogue of events has no `parcel.sent` "
        "(describe it under `events` in orchestrator.yaml)"
    ]
    typo = LISTENER.replace("order.paid", "order.payd")
    assert "flow.yaml:3:33: the catalogue of events has no `order.payd` (did you mean `order.paid`?)" in await remarks(
        store, typo, catalogue=catalogue
    )
    own = "id: watch\ntriggers: [{type: event, event: run.failed}]\nsteps: [{type: wait, config: {duration: 1}}]\n"
    assert await remarks(store, own, catalogue=catalogue) == []


async def test_publishing_a_text_answers_its_remarks(store: Store) -> None:
    _, warnings = await admission.publish_text(store, Project(), SENDER, settings=Settings())
    assert [problem.severity for problem in warnings] == ["warning"]
