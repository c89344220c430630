"""The stand-in, through the real SDK."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import httpx2
import pytest
from anthropic import AsyncAnthropic
from jsonschema import Draft202012Validator

from orchestrator.testing import ClaudeStandIn, Reply, Turns, When
from orchestrator.testing.claude_persona import subject_of
from orchestrator.testing.claude_stand_in import read_script

MODEL = "claude-sonnet-5-5"
CLOSED = {"additionalProperties": False}
VERDICT = {
    "type": "object",
    "properties": {
        "appropriate": {"type": "boolean"},
        "confidence": {"type": "number"},
        "reason": {"type": "string"},
        "sentiment": {"enum": ["positive", "negative", "neutral"]},
    },
    "required": ["appropriate", "confidence", "reason", "sentiment"],
    "additionalProperties": False,
}


@pytest.fixture
async def claude() -> AsyncIterator[ClaudeStandIn]:
    async with ClaudeStandIn() as server:
        yield server


@pytest.fixture
async def sdk(claude: ClaudeStandIn) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(api_key="any", base_url=claude.base_url, max_retries=0, timeout=10) as client:
        yield client


async def ask(sdk: AsyncAnthropic, prompt: str = "Hi", **more: Any) -> Any:
    body: dict[str, Any] = {
        "model": MODEL,
        "max_tokens": 500,
        "messages": [{"role": "user", "content": prompt}],
    }
    return await sdk.messages.create(**body | more)


async def ask_json(sdk: AsyncAnthropic, prompt: str, schema: dict[str, Any]) -> Any:
    message = await ask(sdk, prompt, output_config={"format": {"type": "json_schema", "schema": schema}})
    return json.loads(message.content[0].text)


async def test_replies_come_in_order_and_rules_come_first(claude: ClaudeStandIn, sdk: AsyncAnthropic) -> None:
    claude.add("one", "two", When("weather", "sunny"), When(lambda request: request.model == "m", "by model"))
    said = [(await ask(sdk, prompt)).content[0].text for prompt in ("a", "the weather?", "b")]
    assert said == ["one", "sunny", "two"]
    assert (await ask(sdk, model="m")).content[0].text == "by model"
    assert [request.prompt for request in claude.requests] == ["a", "the weather?", "b", "Hi"]
    assert claude.requests[0].headers["authorization"] == "Bearer any"


async def test_a_rule_applies_as_often_as_it_says(claude: ClaudeStandIn, sdk: AsyncAnthropic) -> None:
    claude.add(When("Hi", Reply.overloaded(), times=1), "after")
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        await ask(sdk)
    assert (await ask(sdk)).content[0].text == "after"


@pytest.mark.parametrize(
    ("content", "appropriate", "unsure"),
    [
        ("테스트 메시지입니다", True, True),
        ("이 도박 사이트 사기", False, False),
        ("정말 좋은 글이네요", True, False),
    ],
)
async def test_the_persona_moderates_by_listed_words(
    sdk: AsyncAnthropic, content: str, appropriate: bool, unsure: bool
) -> None:
    prompt = f"다음 콘텐츠를 분석하여:\n1. 부적절한 언어, 사기, 테스트\n\n콘텐츠: {content}\n\nJSON 반환:"
    verdict = await ask_json(sdk, prompt, VERDICT)
    Draft202012Validator(VERDICT).validate(verdict)
    assert verdict["appropriate"] is appropriate
    assert (verdict["confidence"] < 0.8) is unsure
    assert verdict == await ask_json(sdk, prompt, VERDICT)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {"type": "string", "format": "email"}, "minItems": 1},
        {"type": "integer", "description": "{minimum: 3, maximum: 5}", "minimum": 3, "maximum": 5},
        {"type": "object", "properties": {"score": {"type": "number", "minimum": 0, "maximum": 1}}} | CLOSED,
        {"anyOf": [{"type": "null"}, {"type": "string"}]},
        {"const": 4},
        {
            "$defs": {
                "p": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]} | CLOSED
            },
            "type": "object",
            "additionalProperties": False,
            "properties": {"people": {"type": "array", "items": {"$ref": "#/$defs/p"}}},
            "required": ["people"],
        },
        {"type": "object", "properties": {"appropriate": {"type": "string"}}, "required": ["appropriate"]} | CLOSED,
    ],
)
async def test_the_persona_answers_valid_for_any_schema(sdk: AsyncAnthropic, schema: dict[str, Any]) -> None:
    Draft202012Validator(schema).validate(await ask_json(sdk, "Content: something", schema))


@pytest.mark.parametrize(
    ("prompt", "subject"),
    [
        ("Check this.\n\nContent: a\nb\n\nAnswer JSON", "a\nb"),
        ("Judge <text>good</text> now", "good"),
        ("메시지： 안녕", "안녕"),
        ("just words", "just words"),
    ],
)
def test_the_subject_is_what_the_prompt_is_about(prompt: str, subject: str) -> None:
    assert subject_of(prompt) == subject


async def test_streaming_gives_the_same_message(claude: ClaudeStandIn, sdk: AsyncAnthropic) -> None:
    claude.add(Reply.tool_use("search", {"query": "한국어 and more than sixteen characters"}, text="let me look"))
    async with sdk.messages.stream(model=MODEL, max_tokens=50, messages=[{"role": "user", "content": "x"}]) as stream:
        message = await stream.get_final_message()
    assert message.stop_reason == "tool_use"
    assert [block.type for block in message.content] == ["text", "tool_use"]
    assert message.content[1].input == {"query": "한국어 and more than sixteen characters"}  # type: ignore[union-attr]


async def test_a_broken_stream_raises_with_status_200(claude: ClaudeStandIn, sdk: AsyncAnthropic) -> None:
    claude.add(Reply.broken_stream("half"))
    with pytest.raises(anthropic.APIStatusError) as caught:
        async with sdk.messages.stream(
            model=MODEL, max_tokens=50, messages=[{"role": "user", "content": "x"}]
        ) as stream:
            await stream.get_final_message()
    assert (caught.value.status_code, caught.value.type) == (200, "overloaded_error")


@pytest.mark.parametrize(
    ("reply", "status", "kind"),
    [
        (Reply.rate_limited(7), 429, "rate_limit_error"),
        (Reply.overloaded(), 529, "overloaded_error"),
        (Reply.failure(400, "bad"), 400, "invalid_request_error"),
        (Reply.failure(500), 500, "api_error"),
    ],
)
async def test_errors_arrive_typed(
    claude: ClaudeStandIn, sdk: AsyncAnthropic, reply: Reply, status: int, kind: str
) -> None:
    claude.add(reply)
    with pytest.raises(anthropic.APIStatusError) as caught:
        await ask(sdk)
    assert (caught.value.status_code, caught.value.type) == (status, kind)
    if status == 429:
        assert caught.value.response.headers["retry-after"] == "7"


async def test_refusals_truncation_and_pauses_are_http_200(claude: ClaudeStandIn, sdk: AsyncAnthropic) -> None:
    claude.add(Reply.refusal("cyber"), Reply.truncated("ha"), Reply.paused("wait"))
    refused, cut, paused = [await ask(sdk) for _ in range(3)]
    assert (refused.stop_reason, refused.stop_details.category) == ("refusal", "cyber")
    assert (cut.stop_reason, paused.stop_reason) == ("max_tokens", "pause_turn")


async def test_a_made_up_answer_longer_than_max_tokens_is_cut(sdk: AsyncAnthropic) -> None:
    assert (await ask(sdk, "word " * 30, max_tokens=2)).stop_reason == "max_tokens"


async def test_a_malformed_body_is_not_json(claude: ClaudeStandIn, sdk: AsyncAnthropic) -> None:
    claude.add(Reply.malformed())
    with pytest.raises(json.JSONDecodeError):
        await ask(sdk)


async def test_usage_counts_the_cache_and_can_be_scripted(claude: ClaudeStandIn, sdk: AsyncAnthropic) -> None:
    system = [{"type": "text", "text": "long " * 100, "cache_control": {"type": "ephemeral"}}]
    first, second = [(await ask(sdk, system=system)).usage for _ in range(2)]
    assert (first.cache_creation_input_tokens, first.cache_read_input_tokens) == (125, 0)
    assert (second.cache_creation_input_tokens, second.cache_read_input_tokens) == (0, 125)
    claude.add(Reply.text("x").with_usage(input_tokens=9, output_tokens=8))
    usage = (await ask(sdk)).usage
    assert (usage.input_tokens, usage.output_tokens) == (9, 8)


async def test_tokens_are_counted(claude: ClaudeStandIn, sdk: AsyncAnthropic) -> None:
    counted = await sdk.messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": "12345678"}])
    assert counted.input_tokens == 2
    assert len(claude.counted) == 1
    assert claude.requests == []


async def test_a_slow_reply_outlasts_the_timeout(claude: ClaudeStandIn, sdk: AsyncAnthropic) -> None:
    claude.add(Reply.text("late").after(0.5))
    with pytest.raises(anthropic.APITimeoutError):
        await ask(sdk, timeout=0.1)


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"anthropic-version": "x"}, {}, 401),
        ({"authorization": "Bearer k"}, {}, 400),
        ({"x-api-key": "k", "anthropic-version": "x"}, {"model": "m", "messages": [{}]}, 400),
        (
            {"x-api-key": "k", "anthropic-version": "x"},
            {"model": "m", "max_tokens": 1, "messages": [{}], "temperature": 1},
            400,
        ),
        ({"x-api-key": "k", "anthropic-version": "x"}, [], 400),
    ],
)
async def test_bad_requests_are_refused_as_the_api_refuses_them(
    claude: ClaudeStandIn, headers: dict[str, str], body: Any, status: int
) -> None:
    async with httpx.AsyncClient(base_url=claude.base_url, headers=headers) as http:
        answer = await http.post("/v1/messages", json=body)
        assert (answer.status_code, answer.json()["type"]) == (status, "error")
        assert (await http.get("/nothing")).status_code == 404


TOOL = {"name": "search", "input_schema": {"type": "object"}}
CALL = {"type": "tool_use", "id": "a", "name": "search", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "a", "content": "found"}
MARKED = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}
ASKED = {"role": "user", "content": "x"}
PNG = {"type": "base64", "media_type": "image/png", "data": "AAAA"}


def answered(*blocks: dict[str, Any]) -> list[dict[str, Any]]:
    """A conversation in which a tool was called and the next message has these blocks."""
    return [ASKED, {"role": "assistant", "content": [CALL]}, {"role": "user", "content": list(blocks)}]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"messages": [ASKED, {"role": "assistant", "content": [CALL]}]}, "without `tool_result` blocks"),
        ({"messages": answered({"type": "text", "text": "no result"})}, "without `tool_result` blocks"),
        ({"messages": answered({"type": "text", "text": "first"}, RESULT)}, "immediately after"),
        ({"messages": answered(RESULT, RESULT)}, "single result"),
        ({"messages": answered(RESULT | {"tool_use_id": "b"})}, "unexpected `tool_use_id`"),
        ({"messages": [{"role": "user", "content": [RESULT]}]}, "unexpected `tool_use_id`"),
        ({"messages": [*answered(RESULT), *answered(RESULT)[1:]]}, "must be unique"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "first message"),
        ({"messages": [{"role": "system", "content": "x"}]}, "'user' or 'assistant'"),
        ({"messages": [{"role": "user", "content": []}]}, "non-empty content"),
        ({"messages": [{"role": "user", "content": [MARKED] * 4}], "cache_control": {"type": "ephemeral"}}, "Found 5"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]}, "must be non-empty"),
        ({"tools": [TOOL | {"name": "a b"}]}, "should match pattern"),
        ({"tools": [TOOL | {"name": "a" * 65}]}, "should match pattern"),
        ({"tools": [TOOL, TOOL]}, "must be unique"),
        ({"tools": [{"name": "a", "input_schema": {"anyOf": []}}]}, "'object'"),
        ({"tools": [{"name": "a", "input_schema": {"type": "object", "anyOf": []}}]}, "top level"),
        ({"tools": [TOOL], "tool_choice": {"type": "any"}}, "forced tool use"),
        ({"thinking": {"type": "disabled"}, "model": "claude-opus-5-5"}, "not supported"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url"}}]}]}, "source"),
        (
            {"messages": [{"role": "user", "content": [{"type": "document", "source": PNG}]}]},
            "application/pdf",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": PNG | {"data": "?"}}]}]},
            "base64",
        ),
        ({"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}}, "additionalProperties"),
    ],
)
async def test_what_the_api_answers_with_400_gets_400(
    claude: ClaudeStandIn, sdk: AsyncAnthropic, body: dict[str, Any], says: str
) -> None:
    with pytest.raises(anthropic.BadRequestError, match=says):
        await ask(sdk, **body)
    assert (claude.requests, len(claude.refused)) == ([], 1)


async def test_several_tools_can_be_called_at_once_and_each_call_has_its_own_id(
    claude: ClaudeStandIn, sdk: AsyncAnthropic
) -> None:
    claude.add(*[Reply.tool_uses([("search", {"q": 1}), ("search", {"q": 2})], text="looking")] * 2, "done")
    messages: list[Any] = [ASKED]
    for _ in range(2):
        message = await ask(sdk, messages=messages, tools=[TOOL])
        calls = [block for block in message.content if block.type == "tool_use"]
        assert [call.input for call in calls] == [{"q": 1}, {"q": 2}]
        results = [{"type": "tool_result", "tool_use_id": call.id, "content": "found"} for call in calls]
        messages += [message.to_param(), {"role": "user", "content": results}]
    assert (await ask(sdk, messages=messages, tools=[TOOL])).content[0].text == "done"
    assert [result["content"] for result in claude.requests[-1].results] == ["found", "found"]


@pytest.mark.parametrize("change", [{"signature": "other"}, {"thinking": "other"}, None])
async def test_thinking_has_to_come_back_as_it_was(
    claude: ClaudeStandIn, sdk: AsyncAnthropic, change: dict[str, str] | None
) -> None:
    claude.add(Reply.tool_use("search", {}).with_thinking("I should search"), "done")
    async with sdk.messages.stream(model=MODEL, max_tokens=9, messages=[ASKED], tools=[TOOL]) as stream:  # type: ignore[list-item]
        thought, call = [block.to_dict() for block in (await stream.get_final_message()).content]
    assert thought["thinking"] == "I should search"
    result = {"role": "user", "content": [RESULT | {"tool_use_id": call["id"]}]}
    changed = [] if change is None else [thought | change]
    with pytest.raises(anthropic.BadRequestError, match="thinking"):
        await ask(sdk, messages=[ASKED, {"role": "assistant", "content": [*changed, call]}, result], tools=[TOOL])
    messages = [ASKED, {"role": "assistant", "content": [thought, call]}, result]
    assert (await ask(sdk, messages=messages, tools=[TOOL])).content[0].text == "done"


async def test_a_conversation_has_a_script_of_its_own_and_a_repeated_request_gets_the_same_turn(
    claude: ClaudeStandIn, sdk: AsyncAnthropic
) -> None:
    claude.add(Turns("goal A", ["A0", "A1"]), Turns("goal B", ["B0"]), "other")
    said = {"role": "assistant", "content": "…"}
    more = {"role": "user", "content": "go on"}

    async def turn(goal: str, number: int) -> str:
        goal_first: list[Any] = [{"role": "user", "content": goal}]
        return str((await ask(sdk, messages=[*goal_first, *[said, more] * number])).content[0].text)

    assert [await turn("goal A", 0), await turn("goal B", 0), await turn("goal A", 1)] == ["A0", "B0", "A1"]
    assert [await turn("goal A", 1), await turn("goal A", 0), await turn("goal A", 2)] == ["A1", "A0", "other"]


async def hear(sdk: AsyncAnthropic) -> list[tuple[float, str]]:
    """When each piece of text of a streamed answer came."""
    started = time.monotonic()
    async with sdk.messages.stream(model=MODEL, max_tokens=9, messages=[ASKED]) as stream:  # type: ignore[list-item]
        return [(time.monotonic() - started, text) async for text in stream.text_stream]


async def test_a_stream_may_take_its_time(claude: ClaudeStandIn, sdk: AsyncAnthropic) -> None:
    claude.add(Reply.text("abcdef").in_chunks(2, pause=0.05))
    heard = await hear(sdk)
    assert [text for _, text in heard] == ["ab", "cd", "ef"]
    assert heard[-1][0] - heard[0][0] >= 0.09


async def test_a_stream_may_end_too_early_fall_silent_or_lose_its_connection(
    claude: ClaudeStandIn, sdk: AsyncAnthropic
) -> None:
    claude.add(Reply.cut("half"), Reply.dropped("half"), Reply.silent("half"))
    assert "".join(text for _, text in await hear(sdk)) == "half"
    with pytest.raises(httpx2.RemoteProtocolError):
        await hear(sdk)
    with pytest.raises(httpx2.ReadTimeout):
        await hear(sdk.with_options(timeout=0.2))


async def test_other_models_can_be_unknown() -> None:
    async with (
        ClaudeStandIn(models=["claude-opus-5-5"]) as claude,
        AsyncAnthropic(api_key="any", base_url=claude.base_url, max_retries=0) as sdk,
    ):
        with pytest.raises(anthropic.NotFoundError, match=f"model: {MODEL}"):
            await ask(sdk)


async def test_a_script_file_can_say_all_that_a_reply_can(sdk: AsyncAnthropic, claude: ClaudeStandIn) -> None:
    script = [
        {"match": {"opening": "goal", "tool": "search"}, "turns": [
            {"tool_uses": [{"name": "search", "input": {"q": 1}}, {"name": "search"}], "thinking": "hm"},
            {"paused": "wait", "chunk": 2, "pause": 0.01},
        ]},
        {"match": {"model": "m", "turn": 0}, "content": [{"type": "new_kind", "x": 1}], "times": 1},
        {"truncated": "ha"},
        {"broken_stream": {"text": "half"}},
        {"silent": "a"},
        {"dropped": "a"},
        {"cut": "a"},
        {"malformed": True},
    ]  # fmt: skip
    claude.add(*read_script(json.dumps(script)))
    goal = [{"role": "user", "content": "goal"}]
    first = await ask(sdk, messages=goal, tools=[TOOL])
    assert [block.type for block in first.content] == ["thinking", "tool_use", "tool_use"]
    assert (await ask(sdk, model="m")).content[0].type == "new_kind"
    assert (await ask(sdk, model="m")).stop_reason == "max_tokens"
    with pytest.raises(anthropic.APIStatusError):
        await ask(sdk)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[{}]",
        '[{"error": {}}]',
        "[1]",
        "nonsense",
        '[{"text": "a", "json": 1}]',
        '[{"text": "a", "colour": 1}]',
        '[{"text": "a", "match": {"mood": 1}}]',
        '[{"match": "a", "turns": [{}]}]',
    ],
)
def test_a_script_that_cannot_be_used_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        read_script(text)


async def test_it_runs_as_its_own_process_and_stops_on_sigterm(tmp_path: Path) -> None:
    script = tmp_path / "replies.json"
    script.write_text(
        json.dumps(
            [
                {"json": {"ok": True}, "usage": {"output_tokens": 3}},
                {"match": "limit", "error": {"status": 429, "headers": {"retry-after": "1"}}, "times": 1},
                {"tool_use": {"name": "t", "input": {}}},
                {"refusal": "bio"},
            ]
        )
    )
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-W",
            "error",
            "-m",
            "orchestrator.testing.claude_stand_in",
            "--script",
            str(script),
        ),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        url = (await asyncio.wait_for(process.stdout.readline(), 20)).decode().strip()
        async with AsyncAnthropic(api_key="any", base_url=url, max_retries=0, timeout=5) as sdk:
            with pytest.raises(anthropic.RateLimitError):
                await ask(sdk, "limit")
            assert (await ask(sdk, "limit")).content[0].text == '{"ok": true}'
            assert (await ask(sdk)).stop_reason == "tool_use"
            assert (await ask(sdk)).stop_reason == "refusal"
        async with httpx.AsyncClient() as http:
            log = (await http.get(f"{url}/_stand_in/requests")).json()
        assert [entry["body"]["messages"][0]["content"] for entry in log] == ["limit", "limit", "Hi", "Hi"]
        assert "authorization" not in log[0]["headers"]
    finally:
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(process.wait(), 10)
    assert process.stderr is not None
    assert (code, await process.stderr.read()) == (0, b"")
    assert time.monotonic() - started < 3
