"""The claude step against the stand-in, through the real SDK."""

from __future__ import annotations

import asyncio
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from pydantic import ValidationError
from tests.integration.steps.asking import Ask, MakeContext, ask, claude

from orchestrator.errors import StepError, TerminalError
from orchestrator.spec.acts.claude import ClaudeConfig
from orchestrator.spec.project import Project
from orchestrator.steps.claude import step
from orchestrator.testing import ClaudeStandIn, Reply, Request, When

__all__ = ["ask", "claude"]

VERDICT: dict[str, Any] = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}, "score": {"type": "number", "minimum": 0, "maximum": 1}},
    "required": ["ok", "score"],
}


async def test_without_a_schema_the_output_is_the_text(claude: ClaudeStandIn, ask: Ask) -> None:
    claude.add(Reply.text("Hello").with_usage(input_tokens=1000, output_tokens=100))
    assert await ask() == {"text": "Hello"}
    assert claude.requests[0].body == {
        "model": "claude-sonnet-5-5",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
    }
    assert claude.requests[0].headers["authorization"] == "Bearer sk-test-key"
    assert ask.usage == {
        "input_tokens": 1000,
        "output_tokens": 100,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "calls": 1,
        "model": "claude-sonnet-5-5",
        "cost": 0.003,
    }


async def test_every_setting_reaches_the_api(claude: ClaudeStandIn, ask: Ask) -> None:
    config = {
        "prompt": {"a": ["글"]},
        "system": "Be brief.",
        "max_tokens": 7,
        "effort": "low",
        "thinking": "adaptive",
        "cache": "1h",
        "stop": ["END"],
    }
    claude.add("x")
    await ask(config)
    assert claude.requests[0].body == {
        "model": "claude-sonnet-5-5",
        "max_tokens": 7,
        "messages": [{"role": "user", "content": '{"a": ["글"]}'}],
        "system": "Be brief.",
        "output_config": {"effort": "low"},
        "thinking": {"type": "adaptive"},
        "cache_control": {"type": "ephemeral", "ttl": "1h"},
        "stop_sequences": ["END"],
        "stream": True,
    }


@pytest.mark.parametrize(
    ("named", "models", "used"),
    [
        (None, {}, "claude-sonnet-5-5"),
        (None, {"default": "claude-haiku-5-5"}, "claude-haiku-5-5"),
        ("fast", {"fast": "claude-haiku-5-5"}, "claude-haiku-5-5"),
        ("claude-opus-5-5", {"default": "claude-haiku-5-5"}, "claude-opus-5-5"),
    ],
)
async def test_models_have_aliases(
    claude: ClaudeStandIn, ask: Ask, named: str | None, models: dict[str, str], used: str
) -> None:
    await ask({"model": named} if named else {}, project=Project(models=models))
    assert claude.requests[0].model == used


async def test_with_a_schema_the_output_is_the_object(claude: ClaudeStandIn, ask: Ask) -> None:
    claude.add(Reply.json({"ok": True, "score": 0.5}))
    assert await ask(output_schema=VERDICT) == {"ok": True, "score": 0.5}
    sent = claude.requests[0].body["output_config"]["format"]
    assert sent["type"] == "json_schema"
    assert sent["schema"]["additionalProperties"] is False


@pytest.mark.parametrize("wrong", ['{"ok": true, "score": 4}', "no json", ""])
async def test_a_wrong_answer_gets_one_correction_and_both_calls_are_paid(
    claude: ClaudeStandIn, ask: Ask, wrong: str
) -> None:
    cost = {"input_tokens": 1000, "output_tokens": 0}
    claude.add(Reply.text(wrong).with_usage(**cost), Reply.json({"ok": True, "score": 0.5}).with_usage(**cost))
    assert await ask(output_schema=VERDICT) == {"ok": True, "score": 0.5}
    turns = claude.requests[1].body["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert "does not match the schema" in turns[2]["content"]
    assert (ask.usage["calls"], ask.usage["cost"], ask.usage["input_tokens"]) == (2, 0.004, 2000)


async def test_two_wrong_answers_are_invalid_output(claude: ClaudeStandIn, ask: Ask) -> None:
    claude.add(*[Reply.json({"ok": True, "score": 7})] * 2)
    with pytest.raises(StepError, match="score") as caught:
        await ask(output_schema=VERDICT)
    assert (caught.value.type, caught.value.retryable) == ("invalid_output", True)
    assert ask.usage["calls"] == 2


async def test_a_schema_the_api_cannot_hold_is_told_in_words_and_still_checked(claude: ClaudeStandIn, ask: Ask) -> None:
    schema = {"type": "object", "required": ["industry", "size"]}
    claude.add(Reply.text('```json\n{"industry": "steel"}\n```'), Reply.json({"industry": "a", "size": 1}))
    assert await ask({"system": "Be brief."}, output_schema=schema) == {"industry": "a", "size": 1}
    assert "output_config" not in claude.requests[0].body
    assert claude.requests[0].system.startswith("Be brief.")
    assert '"industry"' in claude.requests[0].system
    assert set(await ask(output_schema=schema)) == {"industry", "size"}, "the persona reads it there too"


@pytest.mark.parametrize(
    ("reply", "type_", "retryable", "wait"),
    [
        (Reply.rate_limited(7), "rate_limit_exceeded", True, 7),
        (Reply.rate_limited(None), "rate_limit_exceeded", True, None),
        (Reply.failure(429, headers={"retry-after-ms": "1500"}), "rate_limit_exceeded", True, 1.5),
        (
            Reply.failure(429, error_code="contract_spend_limit_reached"),
            "contract_spend_limit_reached",
            False,
            None,
        ),
        (Reply.failure(429, headers={"x-should-retry": "false"}), "rate_limit_exceeded", False, None),
        (Reply.failure(400, headers={"x-should-retry": "true"}), "invalid_request_error", True, None),
        (Reply.overloaded(), "temporary_service_unavailable", True, None),
        (Reply.failure(503), "temporary_service_unavailable", True, None),
        (Reply.failure(500), "api_error", True, None),
        (Reply.failure(408, type="timeout_error"), "timeout_error", True, None),
        (Reply.failure(400), "invalid_request_error", False, None),
        (Reply.failure(401), "authentication_error", False, None),
        (Reply.failure(404), "not_found_error", False, None),
        (Reply.malformed(), "network_error", True, None),
        (Reply.refusal("cyber"), "refusal", False, None),
        (Reply.truncated("half"), "max_tokens", False, None),
        (
            Reply.text("x", stop_reason="model_context_window_exceeded"),
            "model_context_window_exceeded",
            False,
            None,
        ),
    ],
)
async def test_what_the_api_says_no_with_becomes_a_typed_error(
    claude: ClaudeStandIn, ask: Ask, reply: Reply, type_: str, retryable: bool, wait: float | None
) -> None:
    claude.add(reply)
    with pytest.raises(StepError) as caught:
        await ask()
    error = caught.value
    assert (error.type, error.retryable, error.retry_after) == (type_, retryable, wait)
    assert isinstance(error, TerminalError) is not retryable
    assert error.status == (None if reply.status == 200 else reply.status)
    assert len(claude.requests) == 1, "the SDK must not retry: Temporal does"


async def test_retry_after_may_be_a_date(claude: ClaudeStandIn, ask: Ask) -> None:
    claude.add(Reply.rate_limited(format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)))
    with pytest.raises(StepError) as caught:
        await ask()
    assert caught.value.retry_after == pytest.approx(90, abs=3)


async def test_a_refusal_names_its_category_and_is_still_paid(claude: ClaudeStandIn, ask: Ask) -> None:
    claude.add(Reply.refusal("bio").with_usage(input_tokens=500, output_tokens=0))
    with pytest.raises(TerminalError, match="bio") as caught:
        await ask()
    assert caught.value.data == {"category": "bio"}
    assert ask.usage["cost"] == 0.001


async def test_max_tokens_says_to_raise_it(claude: ClaudeStandIn, ask: Ask) -> None:
    claude.add(Reply.truncated("half"))
    with pytest.raises(TerminalError, match="max_tokens: 9; raise it"):
        await ask({"max_tokens": 9})


async def test_a_paused_turn_is_continued(claude: ClaudeStandIn, ask: Ask) -> None:
    claude.add(Reply.paused("first, "), "then the rest")
    assert await ask() == {"text": "first, then the rest"}
    assert claude.requests[1].body["messages"][1]["role"] == "assistant"
    assert ask.usage["calls"] == 2


async def test_a_turn_that_never_ends_is_given_up(claude: ClaudeStandIn, ask: Ask) -> None:
    claude.add(*[Reply.paused("…")] * 20)
    with pytest.raises(TerminalError) as caught:
        await ask()
    assert caught.value.type == "pause_limit"
    assert len(claude.requests) == 8


async def test_a_missing_key_names_the_variable_to_set(make_context: MakeContext) -> None:
    with pytest.raises(TerminalError, match="set ANTHROPIC_API_KEY") as caught:
        await step.run(ClaudeConfig(prompt="Hi"), make_context())
    assert caught.value.type == "missing_key"


async def test_a_stand_in_on_this_machine_is_reached_past_the_proxies_of_the_environment(
    claude: ClaudeStandIn, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    claude.add("here")
    assert await ask() == {"text": "here"}


@pytest.mark.parametrize("address", ["api.anthropic.com", "http://[", "file:///x"])
async def test_an_address_that_is_none_is_the_configurations_fault(make_context: MakeContext, address: str) -> None:
    context = make_context(settings={"anthropic_api_key": "k", "anthropic_base_url": address})
    with pytest.raises(TerminalError, match="ANTHROPIC_BASE_URL") as caught:
        await step.run(ClaudeConfig(prompt="Hi"), context)
    assert caught.value.type == "invalid_config"


async def test_an_unreachable_api_is_a_network_error(make_context: MakeContext) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        context = make_context(settings={"anthropic_api_key": "k", "anthropic_base_url": url})
        with pytest.raises(StepError) as caught:
            await step.run(ClaudeConfig(prompt="Hi"), context)
    assert (caught.value.type, caught.value.retryable) == ("network_error", True)


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{", b"nonsense\r\n\r\n"])
async def test_a_connection_that_breaks_is_a_network_error(make_context: MakeContext, said: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        context = make_context(settings={"anthropic_api_key": "k", "anthropic_base_url": url})
        with pytest.raises(StepError) as caught:
            await step.run(ClaudeConfig(prompt="Hi"), context)
    assert (caught.value.type, caught.value.retryable) == ("network_error", True)


async def test_cancelling_the_attempt_cancels_it(claude: ClaudeStandIn, ask: Ask) -> None:
    asked = asyncio.Event()

    def answer(request: Request) -> Reply:
        asked.set()
        return Reply.text("late").after(5)

    claude.add(When("Hi", answer))
    attempt = asyncio.create_task(ask())
    await asked.wait()
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt


async def test_a_budget_refuses_a_prompt_it_cannot_pay(claude: ClaudeStandIn, ask: Ask) -> None:
    long = "word " * 4000
    for budget in ({"max_tokens": 4000}, {"max_cost": 0.005}):
        with pytest.raises(TerminalError, match="5000 tokens") as caught:
            await ask({"prompt": long, "budget": budget})
        assert caught.value.type == "budget_exceeded"
    assert claude.requests == []
    assert len(claude.counted) == 2


async def test_a_budget_caps_the_answer(claude: ClaudeStandIn, ask: Ask) -> None:
    claude.add("x", "y")
    await ask({"prompt": "x" * 400, "budget": {"max_tokens": 150}})
    await ask({"prompt": "x" * 400, "budget": {"max_cost": 0.001}})
    assert [request.body["max_tokens"] for request in claude.requests] == [50, 80]
    claude.add(Reply.truncated("half"))
    with pytest.raises(TerminalError, match="budget") as caught:
        await ask({"prompt": "x" * 400, "budget": {"max_tokens": 150}})
    assert caught.value.type == "budget_exceeded"


async def test_a_cost_budget_for_an_unpriced_model_is_refused(claude: ClaudeStandIn, ask: Ask) -> None:
    with pytest.raises(TerminalError, match="add it under prices"):
        await ask({"model": "claude-fable-5-2", "budget": {"max_cost": 1}})
    prices = {"claude-fable-5-2": {"input": 1, "output": 2}}
    await ask(
        {"model": "claude-fable-5-2", "budget": {"max_cost": 1}}, project=Project.model_validate({"prices": prices})
    )
    assert len(claude.requests) == 1


async def test_an_unknown_model_is_unpriced_and_never_free(claude: ClaudeStandIn, ask: Ask) -> None:
    await ask({"model": "some-model"})
    assert ask.usage["cost"] == "unpriced"


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({}, "exactly one of 'prompt' and 'messages'"),
        ({"prompt": "a", "messages": [{"role": "user", "content": "b"}]}, "exactly one"),
        ({"prompt": "a", "attachments": [{}]}, "exactly one of `file`, `url` and `base64`"),
        ({"prompt": "a", "attachments": [{"file": "a.png", "url": "https://x"}]}, "exactly one of"),
        ({"prompt": "a", "attachments": [{"base64": "AAAA"}]}, "needs `media_type`"),
        ({"prompt": "a", "fallback_models": [""]}, "at least 1 character"),
        ({"prompt": "a", "temperature": 0.7}, "'temperature' is no longer a parameter"),
        ({"prompt": "a", "top_p": 1}, "'top_p' is no longer"),
        ({"prompt": "a", "max_tokens": 0}, "greater than or equal to 1"),
        ({"prompt": "a", "modle": "x"}, "Extra inputs"),
        ({"messages": [{"role": "system", "content": "b"}]}, "'user' or 'assistant'"),
    ],
)
def test_a_config_that_cannot_work_is_refused_with_the_reason(config: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        ClaudeConfig.model_validate(config)


async def test_messages_with_content_blocks_pass_through(claude: ClaudeStandIn, make_context: MakeContext) -> None:
    claude.add("a cat")
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    messages = [{"role": "user", "content": [image, {"type": "text", "text": "What is this?"}]}]
    settings = {"anthropic_api_key": "k", "anthropic_base_url": claude.base_url}
    config = ClaudeConfig.model_validate({"messages": messages})
    assert await step.run(config, make_context(settings=settings)) == {"text": "a cat"}
    assert claude.requests[0].body["messages"] == messages
