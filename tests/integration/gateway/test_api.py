"""The API of runs, tasks and flows, its errors and its description."""

from __future__ import annotations

import asyncio
import re
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import temporalio.client

from .conftest import Door, open_door

GREET = """
id: greet
version: 1.0.0
inputs:
  who: string
  times: {type: integer, default: 1}
steps:
  - {id: first, type: transform, config: {value: "hello {{ inputs.who }}"}}
  - {id: second, type: transform, config: {value: {text: "{{ steps.first.output }}", times: "{{ inputs.times }}"}}}
"""

REVIEW = """
id: review
version: 1.0.0
steps:
  - id: check
    type: human-task
    config:
      assignee: content-team
      title: Look at it
      decisions: [approve, reject]
      comment_required: [reject]
      on_reject: continue
      form: {type: object, required: [score], properties: {score: {type: integer}}}
"""

WAITING = "id: sleepy\nsteps: [{id: nap, type: wait, config: {duration: 1h}}]\n"
FAILING = "id: failing\nsteps: [{id: stop, type: fail, config: {type: no_luck, message: not today}}]\n"


def is_problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    """The problem document of an answer that must be this one."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["type"] == f"urn:orchestrator:problem:{code}"
    assert body["status"] == status
    assert body["title"] and body["detail"]
    return body


async def started(door: Door, flow: str, **body: Any) -> str:
    answer = await door.http.post(f"/v1/flows/{flow}/runs", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["run_id"])


# -- runs -------------------------------------------------------------------------------------------------


async def test_a_run_is_started_and_shown_step_by_step(door: Door) -> None:
    await door.publish(GREET)
    answer = await door.http.post("/v1/flows/greet/runs", json={"inputs": {"who": "Ada"}})
    assert answer.status_code == 202
    assert set(answer.json()) == {"run_id", "flow", "version"}
    run_id = answer.json()["run_id"]
    assert answer.headers["location"] == f"/v1/runs/{run_id}"
    await door.client.run(run_id).result(20)
    shown = (await door.http.get(answer.headers["location"])).json()
    assert (shown["id"], shown["flow"], shown["version"]) == (run_id, "greet", "1.0.0")
    assert (shown["status"], shown["result"]) == ("completed", {"text": "hello Ada", "times": 1})
    assert shown["finished_at"] >= shown["started_at"]
    assert [record["status"] for record in shown["state"]["steps"].values()] == ["completed"] * 2


async def test_a_step_is_read_whole_whatever_the_state_leaves_out(door: Door) -> None:
    await door.publish(
        """
id: wordy
steps:
  - {id: repeat, type: transform, config: {value: "{{ range(9000) }}"}}
  - {id: each, type: for-each, config: {items: 2, steps: [{id: say, type: transform, config: {value: 1}}]}}
"""
    )
    run_id = await started(door, "wordy")
    await door.client.run(run_id).result(30)
    state = (await door.http.get(f"/v1/runs/{run_id}")).json()["state"]["steps"]
    assert state["repeat"]["output_bytes"] > 32_000 and "output" not in state["repeat"]
    whole = (await door.http.get(f"/v1/runs/{run_id}/steps", params={"path": "repeat"})).json()
    assert (whole["status"], whole["output"]) == ("completed", list(range(9000)))
    is_problem(await door.http.get(f"/v1/runs/{run_id}/steps", params={"path": "each[1]/say"}), 404, "not_found")
    is_problem(await door.http.get(f"/v1/runs/{run_id}/steps", params={"path": "nowhere"}), 404, "not_found")
    is_problem(await door.http.get(f"/v1/runs/{run_id}/steps"), 422, "invalid_request")


async def test_a_list_tells_what_started_a_run_and_who_asked_for_it(door: Door) -> None:
    await door.publish(GREET)
    run = await door.client.start("greet", {"who": "Ada"}, by="kim")
    shown = (await door.http.get(f"/v1/runs/{run.id}")).json()
    assert (shown["trigger"], shown["by"]) == ("api", "kim")
    nobody = await door.client.start("greet", {"who": "Ada"})
    shown = (await door.http.get(f"/v1/runs/{nobody.id}")).json()
    assert (shown["trigger"], shown["by"]) == ("api", None)


async def test_a_failed_run_shows_its_error(door: Door) -> None:
    await door.publish(FAILING)
    run_id = await started(door, "failing")
    for _ in range(100):
        shown = (await door.http.get(f"/v1/runs/{run_id}")).json()
        if shown["status"] == "failed":
            break
        await asyncio.sleep(0.05)
    assert (shown["status"], shown["error"]["type"]) == ("failed", "no_luck")


async def test_runs_are_listed_newest_first_and_narrowed(door: Door) -> None:
    flow = GREET.replace("id: greet", "id: listed")
    await door.publish(flow)
    ids = [await started(door, "listed", inputs={"who": str(n)}) for n in range(3)]
    for run_id in ids:
        await door.client.run(run_id).result(20)
    runs: list[dict[str, Any]] = []
    for _ in range(100):
        answer = await door.http.get("/v1/runs", params={"flow": "listed", "status": "completed"})
        runs = answer.json()["runs"]
        if len(runs) == 3:
            break
        await asyncio.sleep(0.05)
    assert [run["id"] for run in runs] == ids[::-1]
    assert {run["version"] for run in runs} == {"1.0.0"}
    assert (await door.http.get("/v1/runs", params={"flow": "listed", "status": "failed"})).json() == {"runs": []}
    assert len((await door.http.get("/v1/runs", params={"limit": 2, "flow": "listed"})).json()["runs"]) == 2
    odd = await door.http.get("/v1/runs", params={"flow": "it's \\ \" odd"})
    assert odd.json() == {"runs": []}


async def test_a_run_of_a_paused_kind_does_not_break_lists(door: Door) -> None:
    from orchestrator.client.run import STATUSES

    assert STATUSES[8] == "paused"
    is_problem(await door.http.get("/v1/runs", params={"status": "dancing"}), 422, "invalid_request")


async def test_a_run_is_cancelled_once(door: Door) -> None:
    await door.publish(WAITING)
    run_id = await started(door, "sleepy")
    answer = await door.http.post(f"/v1/runs/{run_id}/cancel", json={"reason": "enough"})
    assert (answer.status_code, answer.json()) == (202, {"run_id": run_id, "accepted": True})
    for _ in range(200):
        shown = (await door.http.get(f"/v1/runs/{run_id}")).json()
        if shown["status"] == "cancelled":
            break
        await asyncio.sleep(0.05)
    assert shown["status"] == "cancelled"
    is_problem(await door.http.post(f"/v1/runs/{run_id}/cancel"), 409, "conflict")


async def test_an_unknown_run_is_404_everywhere(door: Door) -> None:
    is_problem(await door.http.get("/v1/runs/nope"), 404, "not_found")
    is_problem(await door.http.post("/v1/runs/nope/cancel"), 404, "not_found")


async def test_a_run_without_a_worker_is_shown_without_its_state(idle: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.client.run.QUERY_TIMEOUT", timedelta(seconds=1))
    await idle.publish(WAITING)
    run_id = await started(idle, "sleepy")
    shown = (await idle.http.get(f"/v1/runs/{run_id}")).json()
    assert (shown["status"], shown["state"]) == ("running", None)
    assert "no worker answers" in shown["state_problem"]


async def test_a_start_names_unknown_flows_versions_and_steps(door: Door) -> None:
    await door.publish(GREET)
    problem = is_problem(await door.http.post("/v1/flows/gret/runs", json={}), 404, "not_found")
    assert "did you mean 'greet'" in problem["detail"]
    body: dict[str, Any] = {"inputs": {"who": "x"}, "version": "9"}
    assert "1.0.0" in is_problem(await door.http.post("/v1/flows/greet/runs", json=body), 404, "not_found")["detail"]
    body = {"inputs": {"who": "x"}, "until": "third"}
    problem = is_problem(await door.http.post("/v1/flows/greet/runs", json=body), 422, "invalid_inputs")
    assert "first, second" in problem["detail"]


async def test_until_ends_the_run_with_that_steps_output(door: Door) -> None:
    await door.publish(GREET)
    run_id = await started(door, "greet", inputs={"who": "Ada"}, until="first")
    assert await door.client.run(run_id).result(20) == "hello Ada"


async def test_a_run_id_is_the_callers_choice_and_taken_once(idle: Door) -> None:
    await idle.publish(WAITING)
    chosen = f"mine-{idle.settings.task_queue}"
    assert await started(idle, "sleepy", run_id=chosen) == chosen
    is_problem(await idle.http.post("/v1/flows/sleepy/runs", json={"run_id": chosen}), 409, "conflict")


async def test_an_idempotency_key_starts_one_run(idle: Door, key: str) -> None:
    await idle.publish(GREET)
    headers = {"Idempotency-Key": key}
    bodies = [{"inputs": {"who": "a"}}, {"inputs": {"who": "a"}}, {"inputs": {"who": "b"}}]
    answers = [await idle.http.post("/v1/flows/greet/runs", json=body, headers=headers) for body in bodies]
    assert answers[0].content == answers[1].content
    is_problem(answers[2], 422, "idempotency_mismatch")


async def test_a_disabled_flow_refuses_starts(idle: Door) -> None:
    await idle.publish(GREET)
    await idle.store.flows.set_enabled("greet", False)
    is_problem(await idle.http.post("/v1/flows/greet/runs", json={"inputs": {"who": "x"}}), 403, "refused")


@pytest.mark.parametrize(
    ("content", "status", "says"),
    [
        (b"{", 400, "JSON"),
        (b'{"inputs": {"who": 5}}', 422, "who"),
        (b'{"inputs": {}}', 422, "who"),
        (b'{"inputs": []}', 422, "inputs"),
        (b'{"input": {}}', 422, "input"),
        (b'{"inputs": {"who": "x", "times": NaN}}', 422, "inputs"),
        (b'{"inputs": {"who": "\\ud800"}}', 422, "inputs"),
        (b'{"run_id": "", "inputs": {"who": "x"}}', 422, "run_id"),
        (b"[" * 50_000, 400, ""),
        (b'{"a":' * 50_000, 400, ""),
        (b"1" * 6000, 400, ""),
        (b"\xff\xfe\x00", 400, ""),
    ],
)
async def test_starts_that_cannot_be_read_are_refused_in_words(
    idle: Door, content: bytes, status: int, says: str
) -> None:
    await idle.publish(GREET)
    answer = await idle.http.post("/v1/flows/greet/runs", content=content, headers={"Content-Type": "application/json"})
    code = "invalid_request" if status == 400 else answer.json()["type"].split(":")[-1]
    assert says in is_problem(answer, status, code)["detail"]


async def test_a_body_above_the_limit_is_413_on_every_path_of_the_api(idle: Door) -> None:
    big = b'{"inputs": {"who": "' + b"x" * 1_100_000 + b'"}}'
    for path in ("/v1/flows/greet/runs", "/v1/tasks/x/decision", "/v1/runs/x/cancel"):
        answer = await idle.http.post(path, content=big, headers={"Content-Type": "application/json"})
        is_problem(answer, 413, "payload_too_large")
    answer = await idle.http.post("/v1/flows", content=big, headers={"Content-Type": "application/yaml"})
    is_problem(answer, 413, "payload_too_large")


# -- tasks ------------------------------------------------------------------------------------------------


async def test_a_task_is_listed_shown_and_decided(door: Door) -> None:
    await door.publish(REVIEW)
    run_id = await started(door, "review")
    task = await door.waiting_task(run_id)
    assert (task["title"], task["assignee"], task["status"]) == ("Look at it", "content-team", "open")
    url = f"/v1/tasks/{task['id']}"
    assert (await door.http.get(url)).json() == task
    assert (await door.http.get(f"/v1/runs/{run_id}")).json()["status"] == "waiting"
    decision = {"decision": "approve", "data": {"score": 7}, "comment": "좋아요", "by": "kim"}
    answer = await door.http.post(f"{url}/decision", json=decision)
    assert (answer.status_code, answer.json()["accepted"]) == (200, True), answer.text
    output = await door.client.run(run_id).result(20)
    assert {key: output[key] for key in decision} == decision
    closed = (await door.http.get(url)).json()
    assert (closed["status"], closed["decision"], closed["by"]) == ("decided", "approve", "kim")
    is_problem(await door.http.post(f"{url}/decision", json=decision), 409, "conflict")


async def test_a_decision_the_task_does_not_know_is_refused_and_the_task_stays_open(door: Door) -> None:
    await door.publish(REVIEW)
    task = await door.waiting_task(await started(door, "review"))
    url = f"/v1/tasks/{task['id']}/decision"
    for body, field in (
        ({"decision": "maybe"}, "decision"),
        ({"decision": "approve", "data": {"score": "high"}}, "data.score"),
        ({"decision": "reject"}, "decision"),
    ):
        problem = is_problem(await door.http.post(url, json=body), 422, "invalid_inputs")
        assert problem["errors"][0]["field"] == field
    is_problem(await door.http.post(url, json={"decision": "approve", "comment": "\x00"}), 422, "invalid_request")
    accepted = await door.http.post(url, json={"decision": "reject", "comment": "no"})
    assert accepted.status_code == 200, accepted.text


async def test_a_decision_for_a_run_that_is_over_is_409(door: Door) -> None:
    await door.publish(REVIEW)
    run_id = await started(door, "review")
    task = await door.waiting_task(run_id)
    await door.client.run(run_id).terminate("test")
    answer = await door.http.post(
        f"/v1/tasks/{task['id']}/decision", json={"decision": "approve", "data": {"score": 1}}
    )
    is_problem(answer, 409, "conflict")


async def test_two_decisions_at_once_count_once(door: Door) -> None:
    await door.publish(REVIEW)
    task = await door.waiting_task(await started(door, "review"))
    url = f"/v1/tasks/{task['id']}/decision"
    answers = await asyncio.gather(
        *(door.http.post(url, json={"decision": "approve", "data": {"score": 1}, "by": str(n)}) for n in range(5))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]


async def test_an_unknown_task_is_404(idle: Door) -> None:
    is_problem(await idle.http.get("/v1/tasks/a:b/c"), 404, "not_found")
    is_problem(await idle.http.post("/v1/tasks/a:b/c/decision", json={"decision": "x"}), 404, "not_found")
    is_problem(await idle.http.get("/v1/tasks", params={"limit": 0}), 422, "invalid_request")


# -- flows ------------------------------------------------------------------------------------------------

YAML = {"Content-Type": "application/yaml"}


async def test_a_flow_is_published_shown_and_listed(idle: Door) -> None:
    answer = await idle.http.post("/v1/flows", content=GREET, headers=YAML)
    assert answer.status_code == 201, answer.text
    assert (answer.json()["flow"], answer.json()["version"], answer.json()["created"]) == ("greet", "1.0.0", True)
    again = await idle.http.post("/v1/flows", content=GREET, headers=YAML)
    assert (again.status_code, again.json()["created"]) == (200, False)
    shown = (await idle.http.get("/v1/flows/greet")).json()
    assert (shown["text"], shown["versions"]) == (GREET, ["1.0.0"])
    assert shown["inputs"]["properties"]["who"] == {"type": "string"}
    listed = (await idle.http.get("/v1/flows")).json()["flows"]
    assert [(flow["flow"], flow["version"]) for flow in listed] == [("greet", "1.0.0")]
    other = await idle.http.post("/v1/flows", content=GREET.replace("hello", "bye"), headers=YAML)
    assert "raise `version`" in is_problem(other, 409, "conflict")["detail"]


async def test_a_flow_with_problems_gets_all_of_them_with_positions(idle: Door) -> None:
    text = "id: bad\nsteps:\n  - {id: a, type: htp}\n  - {id: a, type: set, config: {x: 1}, extra: 1}\n"
    problem = is_problem(await idle.http.post("/v1/flows", content=text, headers=YAML), 422, "flow_invalid")
    assert len(problem["errors"]) >= 2
    assert all({"file", "line", "column", "message", "hint"} <= set(error) for error in problem["errors"])
    assert problem["errors"][0]["line"] == 3
    assert (await idle.http.get("/v1/flows")).json() == {"flows": []}


async def test_what_cannot_run_yet_is_refused_at_publication(idle: Door) -> None:
    trigger = "{type: schedule, every: 1h, idempotency_key: a}"
    text = f"id: later\ntriggers: [{trigger}]\nsteps: [{{type: wait, config: {{duration: 1}}}}]\n"
    is_problem(await idle.http.post("/v1/flows", content=text, headers=YAML), 422, "flow_invalid")


@pytest.mark.parametrize("kind", [None, "text/plain", "application/json", "application/x-www-form-urlencoded"])
async def test_only_yaml_is_published(idle: Door, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    is_problem(await idle.http.post("/v1/flows", content=GREET, headers=headers), 415, "unsupported_media_type")


async def test_odd_texts_of_flows_are_refused_in_words(idle: Door) -> None:
    for content in (b"", b"\xff", b"\x00", b"- 1", b"a: &x [*x]", b"{" * 3000, b"!!python/none"):
        answer = await idle.http.post("/v1/flows", content=content, headers=YAML)
        assert answer.status_code in (400, 422), (content[:10], answer.text)
        assert answer.headers["content-type"] == "application/problem+json"


# -- the rest ---------------------------------------------------------------------------------------------


async def test_health_and_readiness(door: Door) -> None:
    health = await door.http.get("/health")
    assert (health.status_code, health.json()["status"]) == (200, "ok")
    ready = await door.http.get("/ready")
    assert ready.status_code == 200, ready.text
    body = ready.json()
    assert (body["ready"], body["store"]["ok"], body["temporal"]["ok"]) == (True, True, True)
    assert body["search_attributes"] is True
    assert isinstance(body["stuck_runs"], list)


async def test_a_run_tells_its_flow_version_and_trigger_without_search_attributes(idle: Door) -> None:
    await idle.publish(GREET.replace("id: greet", "id: told"))
    run_id = await started(idle, "told", inputs={"who": "x"})
    description = await idle.client.temporal.get_workflow_handle(run_id).describe()
    assert not [name for name in description.search_attributes if name.startswith("Orchestrator")]
    assert await description.memo() == {"orchestrator": {"flow": "told", "version": "1.0.0", "trigger": "api"}}


async def test_without_temporal_the_gateway_says_so(
    own_temporal_server: tuple[subprocess.Popen[bytes], str], tmp_path: Path
) -> None:
    process, address = own_temporal_server
    temporal = await temporalio.client.Client.connect(address)
    async with open_door(temporal, tmp_path, working=False) as door:
        await door.publish(WAITING)
        process.terminate()
        await asyncio.to_thread(process.wait)
        answer = await door.http.get("/ready")
        assert (answer.status_code, answer.json()["temporal"]["ok"]) == (503, False)
        assert answer.json()["store"]["ok"]
        problem = is_problem(await door.http.post("/v1/flows/sleepy/runs", json={}), 503, "unavailable")
        assert "orchestrator up" in problem["detail"]
        assert (await door.http.get("/health")).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/v1/nothing", 404, "not_found"),
        ("DELETE", "/health", 405, "method_not_allowed"),
        ("PUT", "/v1/runs", 405, "method_not_allowed"),
        ("GET", "/v1/runs/%00", 400, "invalid_request"),
        ("GET", "/v1/tasks?run_id=%00", 400, "invalid_request"),
        ("GET", "/v1/runs/" + "x" * 3000, 404, "not_found"),
        ("GET", "/v1/runs?limit=many", 422, "invalid_request"),
        ("GET", "/v1/flows/%F0%9F%98%80", 404, "not_found"),
        ("GET", "/v1/flows/%ff", 404, "not_found"),
        ("GET", "/docs/assets/../../secret", 404, "not_found"),
    ],
)
async def test_every_error_is_a_problem_document(idle: Door, method: str, path: str, status: int, code: str) -> None:
    is_problem(await idle.http.request(method, path), status, code)


async def test_the_openapi_document_is_complete(idle: Door) -> None:
    from jsonschema import Draft202012Validator

    await idle.publish(
        "id: hooked\ntriggers: [{type: webhook, path: '/h/{x}'}]\nsteps: [{type: wait, config: {duration: 1s}}]\n"
    )
    document = (await idle.http.get("/openapi.json")).json()
    operations = {
        operation["operationId"]: operation for methods in document["paths"].values() for operation in methods.values()
    }
    assert {
        "startRun", "listRuns", "getRun", "getStep", "cancelRun", "terminateRun", "pauseRun", "resumeRun", "signalRun",
        "deliverEvent", "retryRun", "rerunRun", "restartRun", "listTasks", "getTask", "decideTask",
        "commentTask", "delegateTask", "getTaskHistory", "makeTaskLinks",
        "listTranscripts", "getTranscript", "answerCallback", "sendEvents", "listEvents", "listFlows", "getFlow", "publishFlow", "getFlowMetrics", "health", "ready",
        "listWebhooks", "listSamples", "listFiles", "uploadFile", "listQueues", "listMessages", "sendMessage",
        "redriveMessages", "listSchedules", "getSchedule", "pauseSchedule", "resumeSchedule", "triggerSchedule",
        "backfillSchedule",
        "webhook_hooked_webhook-1_post",
    } == set(operations)  # fmt: skip
    assert all("default" in operation["responses"] for operation in operations.values())
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    names = set(document["components"]["schemas"])
    for reference in re.findall(r'#/components/schemas/([^"]+)"', (await idle.http.get("/openapi.json")).text):
        assert reference in names


async def test_the_docs_render_without_the_internet(idle: Door) -> None:
    page = (await idle.http.get("/docs")).text
    assert "http://" not in page and "https://" not in page
    links = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(links) >= 2
    for link in links:
        assert (await idle.http.get(link)).status_code == 200
