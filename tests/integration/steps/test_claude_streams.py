"""How the claude step hears an answer out: pieces, silence, breaks and blocks nobody knows."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections import Counter
from typing import Any

import httpx2
import pytest
from anthropic import AsyncAnthropic, DefaultAsyncHttpxClient
from starlette.responses import HTMLResponse, JSONResponse
from temporalio.testing import ActivityEnvironment
from tests.integration.steps.asking import Ask, MakeContext, ask, claude
from tests.integration.steps.conftest import Received, RecordingServer

from orchestrator.errors import StepError, TerminalError
from orchestrator.steps.claude import call as claude_call
from orchestrator.testing import ClaudeStandIn, Reply, Request
from orchestrator.testing.claude_stream import wire_events

__all__ = ["ask", "claude"]

PAID = {"input_tokens": 1000, "output_tokens": 100}


async def failure(ask: Ask, config: dict[str, Any] | None = None, **fields: Any) -> StepError:
    with pytest.raises(StepError) as caught:
        await ask(config, **fields)
    return caught.value


@pytest.mark.parametrize(
    ("reply", "type_", "retryable"),
    [
        (Reply.broken_stream("half"), "temporary_service_unavailable", True),
        (Reply.broken_stream("half", "rate_limit_error", "slow down"), "rate_limit_exceeded", True),
        (Reply.broken_stream("half", "api_error", "oops"), "api_error", True),
        (Reply.broken_stream("half", "timeout_error", "late"), "timeout_error", True),
        (Reply.broken_stream("half", "invalid_request_error", "no"), "invalid_request_error", False),
        (Reply.cut("half"), "network_error", True),
        (Reply.dropped("half"), "network_error", True),
        (Reply.malformed(), "network_error", True),
        (Reply.malformed(b'{"type": "message_start"}'), "network_error", True),
        (Reply.malformed(b'{"type": "content_block_delta", "index": 7, "delta": {}}'), "network_error", True),
        (Reply.malformed(b'"text"'), "network_error", True),
        (Reply.malformed(b""), "network_error", True),
    ],
)
async def test_a_stream_that_breaks_is_a_typed_error(
    claude: ClaudeStandIn, ask: Ask, reply: Reply, type_: str, retryable: bool
) -> None:
    claude.add(reply)
    error = await failure(ask)
    assert (error.type, error.retryable, error.status) == (type_, retryable, None)
    assert "sk-test-key" not in str(error)


@pytest.mark.parametrize("reply", [Reply.broken_stream("half"), Reply.cut("half"), Reply.dropped("half")])
async def test_what_a_broken_answer_read_is_paid_for(claude: ClaudeStandIn, ask: Ask, reply: Reply) -> None:
    claude.add(reply.with_usage(input_tokens=1000))
    await failure(ask)
    assert (ask.usage["input_tokens"], ask.usage["calls"]) == (1000, 1)
    assert ask.usage["cost"] == pytest.approx(0.00201), "and the one token that was begun"


@pytest.mark.parametrize("status", [200, 404, 502])
async def test_a_gateways_page_of_megabytes_makes_a_short_message(
    ask: Ask, http_server: RecordingServer, status: int
) -> None:
    page = "<html>" + "x" * 2_000_000
    http_server.answer("/v1/messages", lambda received: HTMLResponse(page, status))
    error = await failure(ask, settings={"anthropic_base_url": http_server.url})
    assert error.type in ("network_error", "http_404", "temporary_service_unavailable")
    assert len(error.message) < 1000


async def test_a_gateway_that_repeats_the_key_does_not_bring_it_into_a_message(
    ask: Ask, http_server: RecordingServer
) -> None:
    def answer(received: Received) -> JSONResponse:
        said = f"bad header {received.headers['authorization']}"
        return JSONResponse({"type": "error", "error": {"type": "invalid_request_error", "message": said}}, 400)

    http_server.answer("/v1/messages", answer)
    http_server.answer("/v1/messages/count_tokens", answer)
    for config in ({}, {"budget": {"max_tokens": 100}}):
        error = await failure(ask, config, settings={"anthropic_base_url": http_server.url})
        assert "bad header Bearer ***" in error.message
        assert "sk-test-key" not in repr((error, error.args, error.data))


async def test_a_stream_that_goes_silent_is_given_up(claude: ClaudeStandIn, ask: Ask) -> None:
    claude.add(Reply.silent("half"))
    began = time.monotonic()
    error = await failure(ask, settings={"claude_silence": 0.3})
    assert time.monotonic() - began < 5
    assert (error.type, error.retryable) == ("timeout", True)
    assert "ORCHESTRATOR_CLAUDE_SILENCE" in error.message


async def test_a_slow_stream_that_keeps_talking_is_heard_out(claude: ClaudeStandIn, ask: Ask) -> None:
    claude.add(Reply.text("one two three").in_chunks(5, pause=0.12))
    assert await ask(settings={"claude_silence": 0.4}) == {"text": "one two three"}


async def test_progress_goes_out_as_heartbeat_details(
    claude: ClaudeStandIn, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claude_call, "_PROGRESS_EVERY", 0.0)
    claude.add(Reply.text("x" * 80).with_thinking("y" * 40).in_chunks(20))
    environment = ActivityEnvironment()
    beats: list[Any] = []
    environment.on_heartbeat = lambda *details: beats.extend(details)
    assert await environment.run(ask) == {"text": "x" * 80}
    assert beats.pop()["spent"]["calls"] == 1, "once the answer is whole, what it consumed"
    assert {beat["model"] for beat in beats} == {"claude-sonnet-5-5"}
    counted = [beat["output_tokens"] for beat in beats]
    assert counted == sorted(counted)
    assert counted[-1] == 30


async def test_blocks_and_reasons_that_nobody_knows_do_no_harm(claude: ClaudeStandIn, ask: Ask) -> None:
    blocks: list[dict[str, Any]] = [
        {"type": "text", "text": "a"},
        {"type": "hologram", "shape": [1]},
        {"type": "text", "text": "b"},
    ]
    claude.add(Reply.blocks(blocks, stop_reason="enlightened"), Reply.blocks([{"type": "hologram"}]))
    assert await ask() == {"text": "ab"}
    assert await ask() == {"text": ""}


async def test_a_paused_turn_goes_back_as_it_was(claude: ClaudeStandIn, ask: Ask) -> None:
    strange = {"type": "hologram", "shape": [1, {"x": None}]}
    claude.add(Reply.blocks([{"type": "text", "text": ""}, strange], stop_reason="pause_turn").with_thinking("hm"))
    claude.add("the rest")
    assert await ask() == {"text": "the rest"}
    sent = claude.requests[1].body["messages"][1]
    assert [block["type"] for block in sent["content"]] == ["thinking", "hologram"]
    assert sent["content"][1] == strange
    assert sent["content"][0]["signature"], "the stand-in, like the API, would have refused it without"


async def test_a_pause_without_a_word_is_asked_again(claude: ClaudeStandIn, ask: Ask) -> None:
    claude.add(Reply.paused(""), "now")
    assert await ask() == {"text": "now"}
    assert len(claude.requests[1].body["messages"]) == 1


async def test_the_first_prompt_of_an_attempt_is_counted_and_no_other(claude: ClaudeStandIn, ask: Ask) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    said = {"input_tokens": 50, "output_tokens": 10}
    claude.add(*[Reply.json(n).with_usage(**said) for n in ({"n": "one"}, {"n": 1})])
    await ask({"budget": {"max_tokens": 1000}}, output_schema=schema)
    assert len(claude.counted) == 1
    first, second = [request.body["max_tokens"] for request in claude.requests]
    assert first == 1000 - claude.counted[0].tokens
    assert 500 < second < 1000 - 60 - 60, "the correction is reckoned at its bytes"


async def test_a_repair_that_the_budget_does_not_cover_is_not_asked_for(claude: ClaudeStandIn, ask: Ask) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    claude.add(Reply.json({"n": "one"}).with_usage(input_tokens=50, output_tokens=10))
    error = await failure(ask, {"budget": {"max_tokens": 100}}, output_schema=schema)
    assert isinstance(error, TerminalError)
    assert (error.type, error.data["spent_tokens"], len(claude.requests)) == ("budget_exceeded", 60, 1)
    assert ask.usage["cost"] == pytest.approx(0.0002)


@pytest.mark.parametrize("answer", ['{"n": NaN}', '{"n": Infinity}', "[" * 100_000])
async def test_text_that_is_almost_json_is_not_taken_for_it(claude: ClaudeStandIn, ask: Ask, answer: str) -> None:
    claude.add(Reply.text(answer).in_chunks(10_000), Reply.json({"n": 1}))
    schema = {"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]}
    assert await ask(output_schema=schema) == {"n": 1}
    assert "is not JSON" in claude.requests[1].prompt


async def test_cancelling_a_stream_closes_its_connection(claude: ClaudeStandIn, ask: Ask) -> None:
    claude.add(Reply.silent("half"))
    attempt = asyncio.create_task(ask())
    while not claude.requests:
        await asyncio.sleep(0.01)
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt


async def test_steps_of_one_worker_do_not_wait_for_each_other(claude: ClaudeStandIn, make_context: MakeContext) -> None:
    claude.add(*[Reply.text("late").after(0.4)] * 8)
    asks = [Ask(claude, make_context) for _ in range(8)]
    began = time.monotonic()
    assert await asyncio.gather(*[one() for one in asks]) == [{"text": "late"}] * 8
    assert time.monotonic() - began < 2.4


def mangled(chance: random.Random) -> bytes:
    """A streamed answer in which events are missing, doubled, swapped, cut or hold something else."""
    server = ClaudeStandIn()
    content = Reply.tool_use("search", {"q": [1, {"a": "b"}]}, text="a longer text").with_thinking("hm")
    heard = Request("/v1/messages", {}, {"model": "claude-sonnet-5-5"})
    events = list(wire_events(server.message(heard, content, 1), content))
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(events))
        match chance.randrange(5):
            case 0 if len(events) > 1:
                events.pop(at)
            case 1:
                events.insert(at, chance.choice(events))
            case 2:
                events[at] = events[at][: chance.randrange(len(events[at]))]
            case _:
                # Some value becomes another.
                spots = list(re.finditer(rb'(?<=: )("[^"]*"|\d+|null|\[\]|\{\})', events[at]))
                junk = chance.choice([b"null", b"1", b'"x"', b"[]", b"{}", b"true", b"-1", b"[1]"])
                if spots:
                    spot = chance.choice(spots)
                    events[at] = events[at][: spot.start()] + junk + events[at][spot.end() :]
    return b"".join(events)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("seed", range(3))
async def test_however_mangled_a_stream_is_an_answer_or_a_step_error(make_context: MakeContext, seed: int) -> None:
    chance = random.Random(seed)

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=mangled(chance), headers={"content-type": "text/event-stream"})

    http = DefaultAsyncHttpxClient(transport=httpx2.MockTransport(answer))
    request = {"model": "claude-sonnet-5-5", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    outcomes: Counter[str] = Counter()
    async with AsyncAnthropic(api_key="k", base_url="http://claude", max_retries=0, http_client=http) as sdk:
        for _ in range(100):
            context = make_context()
            try:
                message = await claude_call.send(sdk, request, context)
            except StepError as error:
                outcomes[error.type] += 1
            else:
                claude_call.check_end(message, 9, 9)
                turn = claude_call.as_turn(message)
                assert all(isinstance(block["type"], str) for block in turn["content"])
                assert isinstance(claude_call.text_of(message), str)
                outcomes["answer"] += 1
            assert json.loads(json.dumps(context.usage)) == context.usage
    assert set(outcomes) == {"answer", "network_error"}
