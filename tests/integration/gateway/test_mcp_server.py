"""Our MCP server as real clients see it: the SDK's client in every mode over HTTP, plain HTTP, our own mcp step."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import temporalio.client
from anthropic.lib.tools.mcp import async_mcp_tool
from mcp import Client, MCPError
from mcp_types import CallToolResult, RequestParamsMeta, TextContent
from tests.integration.gateway.conftest import Door, open_door

from orchestrator.gateway.mcp import outcome

MODES = ("auto", "legacy", "2026-07-28")
BUILT_IN = {
    "list_flows", "show_flow", "flow_format", "validate_flow", "publish_flow", "start_run", "get_run", "list_runs",
    "cancel_run", "list_tasks", "decide_task",
}  # fmt: skip

ADD = """
id: add.up
description: Adds two numbers
expose: {mcp: true}
inputs: {a: integer, b: {type: integer, default: 1}}
steps: [{id: sum, type: transform, config: {value: "{{ inputs.a + inputs.b }}"}}]
output: {sum: "{{ steps.sum.output }}"}
"""
BREAK = """
id: break
expose: {mcp: true}
steps: [{id: boom, type: fail, config: {type: out_of_stock, message: none left of it}}]
"""
REVIEW = """
id: review
expose: {mcp: {wait: 0.2s, name: ask_for_review, description: Asks a person}}
steps:
  - id: look
    type: human-task
    config:
      {assignee: ops, title: Look at it, on_reject: continue,
       form: {type: object, required: [note], properties: {note: {type: string}}}}
output: "{{ steps.look.output.decision }}"
"""


def url(door: Door) -> str:
    return f"{str(door.http.base_url).rstrip('/')}/mcp"


@asynccontextmanager
async def connected(door: Door, mode: str = "2026-07-28") -> AsyncIterator[Client]:
    async with Client(url(door), mode=mode) as client:
        yield client


def told(result: CallToolResult) -> str:
    return "".join(part.text for part in result.content if isinstance(part, TextContent))


def value(result: CallToolResult) -> dict[str, Any]:
    assert not result.is_error, told(result)
    assert result.structured_content is not None
    return dict(result.structured_content)


def meta(**members: str) -> RequestParamsMeta:
    return cast("RequestParamsMeta", members)


async def is_never_started(door: Door, flow: str) -> bool:
    """Whether the flow has no run though one that was started after is listed."""
    await door.publish("id: later\nsteps: [{id: a, type: transform, config: {value: 1}}]\n")
    later = await door.client.start("later")
    for _ in range(200):
        if any(info.id == later.id for info in await door.client.runs("later")):
            return not await door.client.runs(flow)
        await asyncio.sleep(0.05)
    raise AssertionError("the list of runs stands still")


@pytest.mark.parametrize("mode", MODES)
async def test_a_flow_that_opts_in_is_a_tool_in_every_mode_of_the_protocol(door: Door, mode: str) -> None:
    await door.publish(ADD)
    async with connected(door, mode) as client:
        assert client.instructions is None or "flow_format" in client.instructions
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == BUILT_IN | {"add_up"}
        assert (tools["add_up"].description or "").startswith("Adds two numbers\n")
        assert tools["add_up"].input_schema["required"] == ["a"]
        # The client checks what comes back against the tool's output schema.
        answer = value(await client.call_tool("add_up", {"a": 2}))
    assert answer == {
        "run_id": answer["run_id"], "flow": "add.up", "version": "1", "status": "completed", "output": {"sum": 3},
    }  # fmt: skip


async def test_what_is_published_or_disabled_shows_on_the_next_list(door: Door) -> None:
    async def listed(client: Client) -> set[str]:
        return {tool.name for tool in (await client.list_tools()).tools} - BUILT_IN

    async with connected(door) as client:
        assert await listed(client) == set()
        await door.publish(ADD)
        await door.publish(BREAK.replace("expose: {mcp: true}", "expose: {mcp: false}"))
        assert await listed(client) == {"add_up"}
        await door.publish(REVIEW)
        assert await listed(client) == {"add_up", "ask_for_review"}
        await door.store.flows.set_enabled("add.up", False)
        assert await listed(client) == {"ask_for_review"}
        with pytest.raises(MCPError, match="there is no tool 'add_up'"):
            await client.call_tool("add_up", {"a": 1})


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_a_call_that_asks_for_progress_is_told_what_the_run_does(
    door: Door, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcome, "_TICK_SECONDS", 0.05)
    await door.publish(
        "id: slow\nexpose: {mcp: true}\nsteps: [{id: nap, type: wait, config: {duration: 600ms}},"
        " {id: end, type: transform, config: {value: up}}]\n"
    )
    heard: list[tuple[float, float | None, str]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message or ""))

    async with connected(door, mode) as client:
        assert value(await client.call_tool("slow", {}, progress_callback=hear))["output"] == "up"
    assert "started" in heard[0][2]
    assert any("waiting at nap (wait)" in message for _, _, message in heard)
    assert [done for done, _, _ in heard] == sorted({done for done, _, _ in heard})
    assert {total for _, total, _ in heard} == {25.0}


async def test_arguments_that_miss_the_schema_start_nothing_and_say_why(door: Door, key: str) -> None:
    await door.publish(ADD.replace("add.up", key))
    async with connected(door) as client:
        for arguments, words in (
            ({}, ["a: is required"]),
            ({"a": "two"}, ["a: must be a whole number, got"]),
            ({"a": "two", "c": 1}, ["c: is no input of it", "a: must be a whole number"]),
            ({"a": 1, "bb": 2}, ["bb: is no input of it (did you mean `b`?)"]),
        ):
            result = await client.call_tool(key, arguments)
            assert result.is_error
            assert all(word in told(result) for word in words), told(result)
    assert await is_never_started(door, key)


async def test_thousands_of_wrong_names_cost_no_more_than_a_few(idle: Door) -> None:
    await idle.publish(ADD)
    many = {f"{'long' * 50}{number}": number for number in range(4000)}
    async with connected(idle) as client:
        for tool in ("add_up", "show_flow"):
            result = await client.call_tool(tool, many)
            assert result.is_error
            assert 10 < told(result).count(" it (") <= 20
            assert len(told(result)) < 10_000
        with pytest.raises(MCPError) as unknown:
            await client.call_tool("x" * 900_000, {})
        assert len(unknown.value.message) < 300


async def test_a_run_that_fails_is_an_error_with_its_type_message_and_run(door: Door) -> None:
    await door.publish(BREAK)
    async with connected(door) as client:
        result = await client.call_tool("break", {})
        assert result.is_error
        answer = result.structured_content or {}
        assert (answer["status"], answer["error"]["type"]) == ("failed", "out_of_stock")
        assert f"run '{answer['run_id']}' failed at step 'boom': out_of_stock: none left of it" in told(result)
        # Asking about it is no error: the question is answered.
        assert value(await client.call_tool("get_run", {"run_id": answer["run_id"]}))["error"]["type"] == "out_of_stock"


async def test_a_run_that_waits_for_a_person_is_followed_and_decided_with_tools_alone(door: Door) -> None:
    await door.publish(REVIEW)
    async with connected(door) as client:
        answer = value(await client.call_tool("ask_for_review", {}))
        run_id = answer["run_id"]
        assert (answer["status"], run_id in answer["next"]) == ("running", True)
        task = await door.waiting_task(run_id)
        [shown] = value(await client.call_tool("list_tasks", {"run_id": run_id}))["tasks"]
        assert (shown["id"], shown["form"]["required"]) == (task["id"], ["note"])
        looked = value(await client.call_tool("get_run", {"run_id": run_id}))
        assert (looked["status"], looked["waits"][0]["task_id"]) == ("waiting", shown["id"])

        for arguments, words in (
            ({"decision": "maybe"}, "approve"),
            ({"decision": "approve"}, "data"),
            ({"decision": "approve", "data": {"note": 7}}, "note: must be text"),
        ):
            refused = await client.call_tool("decide_task", {"task_id": shown["id"], **arguments})
            assert refused.is_error
            assert words in told(refused)

        good = {"task_id": shown["id"], "decision": "approve", "data": {"note": "fine"}, "by": "kim"}
        assert value(await client.call_tool("decide_task", good))["accepted"] is True
        again = await client.call_tool("decide_task", good)
        assert again.is_error
        assert "conflict: the task" in told(again)
        await door.client.run(run_id).result(10)
        assert value(await client.call_tool("get_run", {"run_id": run_id, "step": "look"}))["output"] == "approve"
        assert (await door.client.task(shown["id"])).by == "kim"


async def test_a_model_can_learn_the_format_write_check_publish_and_run_a_flow(door: Door) -> None:
    async with connected(door) as client:
        assert "# Step types" in value(await client.call_tool("flow_format", {}))["text"]
        bad = "id: hail\nexpose: {mcp: true}\nsteps:\n  - {id: say, type: transfrm, config: {value: hello}}\n"
        found = value(await client.call_tool("validate_flow", {"text": bad}))
        assert found["valid"] is False
        assert [(one["line"], one["column"], one["hint"]) for one in found["problems"]] == [
            (4, 21, "did you mean `transform`?")
        ]
        refused = await client.call_tool("publish_flow", {"text": bad})
        assert refused.is_error
        assert "flow.yaml:4:21: unknown step type `transfrm`" in told(refused)
        assert value(await client.call_tool("list_flows", {}))["flows"] == []

        good = bad.replace("transfrm", "transform")
        assert value(await client.call_tool("validate_flow", {"text": good}))["valid"] is True
        assert value(await client.call_tool("publish_flow", {"text": good}))["tool"] == "hail"
        [listed] = value(await client.call_tool("list_flows", {}))["flows"]
        assert (listed["flow"], listed["version"], listed["tool"]) == ("hail", "1", "hail")
        assert value(await client.call_tool("show_flow", {"flow": "hail"}))["text"] == good
        assert value(await client.call_tool("hail", {}))["output"] == "hello"
        started = value(await client.call_tool("start_run", {"flow": "hail", "wait": 10}))
        assert (started["status"], started["output"]) == ("completed", "hello")


async def test_checking_finds_what_publishing_would_refuse(door: Door) -> None:
    async with connected(door) as client:
        text = "id: up\nsteps: [{id: down, type: flow, config: {flow: nobody}}]\n"
        found = value(await client.call_tool("validate_flow", {"text": text}))
        assert found["valid"] is False
        assert "there is no flow `nobody`" in found["problems"][0]["message"]


async def test_the_same_idempotency_key_starts_one_run(door: Door, key: str) -> None:
    await door.publish(ADD)
    async with connected(door) as client:
        answers = [
            value(await client.call_tool("add_up", {"a": 1}, meta=meta(**{"example.com/idempotency-key": key})))
            for _ in range(2)
        ]
        answers.append(
            value(await client.call_tool("start_run", {"flow": "add.up", "inputs": {"a": 1}, "idempotency_key": key}))
        )
        assert len({answer["run_id"] for answer in answers}) == 1
        other = await client.call_tool("add_up", {"a": 2}, meta=meta(idempotencyKey=key))
        assert other.is_error
        assert told(other).startswith("idempotency_mismatch: ")


async def test_steps_are_shown_page_by_page_and_one_with_its_output(door: Door) -> None:
    steps = ", ".join(f"{{id: s{number}, type: transform, config: {{value: {number}}}}}" for number in range(5))
    await door.publish(f"id: five\nsteps: [{steps}]\n")
    async with connected(door) as client:
        run_id = value(await client.call_tool("start_run", {"flow": "five", "wait": 10}))["run_id"]
        page = value(await client.call_tool("get_run", {"run_id": run_id, "limit": 2, "after": 2}))
        assert [step["path"] for step in page["steps"]] == ["s2", "s3"]
        assert (page["steps_total"], page["steps_next"]) == (5, 4)
        assert "output" not in page["steps"][0]
        last = value(await client.call_tool("get_run", {"run_id": run_id, "after": page["steps_next"]}))
        assert ([step["path"] for step in last["steps"]], "steps_next" in last) == (["s4"], False)
        [one] = value(await client.call_tool("get_run", {"run_id": run_id, "step": "s3"}))["steps"]
        assert (one["status"], one["output"]) == ("completed", 3)
        missing = await client.call_tool("get_run", {"run_id": run_id, "step": "s9"})
        assert missing.is_error
        assert "no record of a step 's9'" in told(missing)


async def test_an_output_too_large_for_an_answer_is_named_and_never_cut(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcome, "LARGEST_OUTPUT", 10)
    await door.publish(ADD.replace("{sum:", "{a-long-name-for-a-sum:"))
    async with connected(door) as client:
        answer = value(await client.call_tool("add_up", {"a": 2}))
    assert (answer["status"], answer["output_bytes"], "output" in answer) == ("completed", 28, False)
    assert f"GET /v1/runs/{answer['run_id']}" in answer["next"]


async def test_a_cancelled_run_ends_the_call_that_waits_for_it(door: Door, key: str) -> None:
    await door.publish(f"id: {key}\nexpose: {{mcp: true}}\nsteps: [{{id: w, type: wait, config: {{duration: 1h}}}}]\n")
    async with connected(door) as client:
        waiting = asyncio.create_task(client.call_tool(key, {}))
        for _ in range(200):
            listed = value(await client.call_tool("list_runs", {"flow": key}))["runs"]
            if listed:
                break
            await asyncio.sleep(0.05)
        run_id = listed[0]["run_id"]
        assert value(await client.call_tool("cancel_run", {"run_id": run_id, "reason": "enough"}))["accepted"] is True
        result = await asyncio.wait_for(waiting, 10)
        assert result.is_error
        assert f"run '{run_id}' cancelled" in told(result)
        again = await client.call_tool("cancel_run", {"run_id": run_id})
        assert told(again) == f"conflict: the run '{run_id}' is over: cancelled"


UNUSABLE: list[tuple[str, dict[str, Any], str]] = [
    ("list_flows", {"flow": 1}, "invalid_arguments: the arguments of list_flows cannot be used: flow: is no"),
    ("show_flow", {}, "flow: is required"),
    ("show_flow", {"flow": 7}, "flow: Input should be a valid string"),
    ("show_flow", {"flow": "nobody"}, "not_found: there is no flow 'nobody'"),
    ("show_flow", {"flow": "a\x00b"}, "holds a NUL character"),
    ("start_run", {"flow": "nobody", "inputs": {}}, "not_found: "),
    ("start_run", {"flow": "nobody", "wait": 1e9}, "wait: Input should be less than or equal to 600"),
    ("start_run", {"flow": "nobody", "input": {}}, "input: is no argument of it (did you mean `inputs`?)"),
    ("get_run", {"run_id": "nobody"}, "not_found: there is no run 'nobody'"),
    ("list_runs", {"status": "sleeping"}, "status: "),
    ("cancel_run", {"run_id": "nobody"}, "not_found: "),
    ("decide_task", {"task_id": "nobody", "decision": "approve"}, "not_found: there is no task 'nobody'"),
    ("publish_flow", {"text": "a: [1"}, "flow_invalid: flow.yaml:2:1: "),
    ("validate_flow", {"text": ""}, "text: String should have at least 1 character"),
    ("flow_format", {"topic": "htp"}, "did you mean `http`?"),
]
"""A tool, arguments it cannot use, and what it answers."""


async def test_a_call_that_cannot_be_done_says_why_in_words(idle: Door) -> None:
    for tool, arguments, words in UNUSABLE:
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}
        answer = await post(idle, json.dumps(body))
        assert answer.status_code == 200, (tool, arguments)
        result = answer.json()["result"]
        assert result["isError"] is True, (tool, arguments)
        assert words in result["content"][0]["text"]


HEADERS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
LIST = '{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}'


async def post(door: Door, body: str | bytes, **headers: str) -> Any:
    given = HEADERS | {name.replace("_", "-"): value for name, value in headers.items()}
    return await door.http.post("/mcp", content=body, headers=given)


async def test_requests_that_are_not_the_protocols_are_refused_and_never_an_error_of_ours(idle: Door) -> None:
    async def refused(status: int, words: str, body: str | bytes = LIST, **headers: str) -> None:
        answer = await post(idle, body, **headers)
        assert (answer.status_code, words in answer.json()["error"]["message"]) == (status, True), answer.text

    assert (await post(idle, LIST)).status_code == 200
    assert (await idle.http.post("/mcp/", content=LIST, headers=HEADERS)).status_code == 200
    await refused(421, "ORCHESTRATOR_ALLOWED_HOSTS", Host="evil.example.com")
    await refused(403, "https://evil.example.com", Origin="https://evil.example.com")
    await refused(415, "application/json", Content_Type="text/plain")
    await refused(406, "application/json", Accept="text/html")
    await refused(413, "1000000 bytes", b"x" * 1_000_001)
    await refused(400, "is not JSON", "hello")
    await refused(400, "is not JSON", "")
    await refused(400, "not UTF-8", b"\xff\xfe")
    await refused(400, "no batches", f"[{LIST}]")
    await refused(400, "no batches", "7")
    await refused(400, "nested too deeply", "[" * 100_000)
    await refused(400, "lone surrogate", json.dumps({"a": "\ud800"}))
    await refused(400, "is not JSON", '{"jsonrpc": "2.0", "id": NaN, "method": "tools/list"}')
    for body in ("{}", '{"jsonrpc": "1.0"}', '{"jsonrpc": "2.0", "id": {}, "method": 7}', '{"id": 1}'):
        for version in ({}, {"MCP_Protocol_Version": "2026-07-28"}, {"MCP_Protocol_Version": "nonsense"}):
            assert (await post(idle, body, **version)).status_code in (202, 400), (body, version)
    for method in ("GET", "DELETE", "PUT", "OPTIONS"):
        answer = await idle.http.request(method, "/mcp")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    unknown = await post(idle, '{"jsonrpc": "2.0", "id": 1, "method": "tools/destroy"}')
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (200, -32601)


async def test_arguments_of_ten_megabytes_are_refused_in_words_and_start_nothing(door: Door, key: str) -> None:
    await door.publish(ADD.replace("add.up", key).replace("a: integer", "a: string"))
    async with connected(door) as client:
        with pytest.raises(MCPError, match="larger than 1000000 bytes"):
            await client.call_tool(key, {"a": "1" * 10_000_000})
        assert len((await client.list_tools()).tools) == len(BUILT_IN) + 1
    assert await is_never_started(door, key)


async def test_a_temporal_that_is_gone_is_told_and_the_flows_are_still_listed(
    own_temporal_server: tuple[subprocess.Popen[bytes], str], tmp_path: Path
) -> None:
    process, address = own_temporal_server
    temporal = await temporalio.client.Client.connect(address)
    async with open_door(temporal, tmp_path, working=False) as door:
        await door.publish(ADD)
        async with connected(door) as client:
            process.kill()
            process.wait()
            assert "add_up" in {tool.name for tool in (await client.list_tools()).tools}
            result = await client.call_tool("list_runs", {})
            assert result.is_error
            assert told(result).startswith("unavailable: ")


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_a_defect_of_ours_is_told_to_the_log_and_not_to_the_client(
    idle: Door, mode: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError("hidden")

    monkeypatch.setattr(idle.client, "runs", broken)
    async with connected(idle, mode) as client:
        with pytest.raises(MCPError, match="something unexpected happened") as told_client:
            await client.call_tool("list_runs", {})
    assert told_client.value.code == -32603
    assert "hidden" in caplog.text


async def test_claudes_tool_runner_can_use_a_flow(door: Door) -> None:
    await door.publish(ADD)
    async with connected(door) as client:
        [found] = [tool for tool in (await client.list_tools()).tools if tool.name == "add_up"]
        tool = async_mcp_tool(found, client.session)
        sent = tool.to_dict()
        assert (sent["name"], sent["input_schema"]["required"]) == ("add_up", ["a"])
        answered = await tool.call({"a": 4})
        assert '"output": {"sum": 5}' in str(answered)


async def test_a_flow_calls_another_through_our_own_server(door: Door) -> None:
    await door.publish(ADD)
    await door.publish(
        f"id: loop\nmcp: {{self: {{url: '{url(door)}', allow: [add_up]}}}}\n"
        "steps: [{id: call, type: mcp, config: {server: self, tool: add_up, arguments: {a: 20, b: 22}}}]\n"
        'output: "{{ steps.call.output.output.sum }}"\n'
    )
    run = await door.client.start("loop")
    assert await run.result(20) == 42
