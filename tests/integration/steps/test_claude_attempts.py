"""The claude step on a worker, over the attempts that Temporal makes of it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from tests.integration.steps.asking import claude
from tests.integration.steps.one_step import Bench, open_bench

from orchestrator.testing import ClaudeStandIn, Reply

__all__ = ["claude"]

SAID = {"input_tokens": 1000, "output_tokens": 0}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
RETRY: dict[str, Any] = {"max_attempts": 5, "backoff": "fixed", "initial_interval": 0.05}


@pytest.fixture
async def bench(temporal: Client, tmp_path: Path, claude: ClaudeStandIn) -> AsyncIterator[Bench]:
    settings: dict[str, Any] = {"anthropic_api_key": "k", "anthropic_base_url": claude.base_url}
    async with open_bench(temporal, tmp_path, "", **settings) as made:
        yield made


async def test_what_failed_attempts_consumed_is_part_of_the_steps_usage(bench: Bench, claude: ClaudeStandIn) -> None:
    wrong, right = (Reply.json({"n": n}).with_usage(**SAID) for n in ("one", 1))
    claude.add(wrong, wrong, Reply.cut("half").with_usage(**SAID), Reply.rate_limited(0.1), wrong, right)
    result = await bench.run("claude", {"prompt": "Hi"}, output_schema=SCHEMA, retry=RETRY, attempts=10)
    assert (result["output"], result["attempts"]) == ({"n": 1}, 4)
    assert (result["usage"]["calls"], result["usage"]["input_tokens"]) == (5, 5000)
    assert result["usage"]["cost"] == pytest.approx(0.01, abs=0.0001)


async def test_what_an_attempt_consumed_that_ran_out_of_time_is_counted_too(
    bench: Bench, claude: ClaudeStandIn
) -> None:
    claude.add(Reply.silent("half").with_usage(**SAID), "done")
    result = await bench.run("claude", {"prompt": "Hi"}, retry=RETRY, attempts=10, attempt_timeout=0.5)
    assert (result["output"], result["attempts"]) == ({"text": "done"}, 2)
    assert (result["usage"]["calls"], result["usage"]["input_tokens"]) == (2, 1001)


async def test_a_step_that_fails_for_good_says_what_all_its_attempts_consumed(
    bench: Bench, claude: ClaudeStandIn
) -> None:
    claude.add(Reply.cut("half").with_usage(**SAID), Reply.refusal("bio").with_usage(**SAID))
    error = await bench.error("claude", {"prompt": "Hi"}, retry=RETRY, attempts=10)
    assert (error["type"], error["attempts"]) == ("refusal", 2)
    assert (error["usage"]["calls"], error["usage"]["input_tokens"]) == (2, 2000)


async def test_a_budget_is_one_attempts(bench: Bench, claude: ClaudeStandIn) -> None:
    claude.add(Reply.cut("half").with_usage(input_tokens=90), "done")
    config: dict[str, Any] = {"prompt": "Hi", "budget": {"max_tokens": 100, "max_cost": 0.001}}
    result = await bench.run("claude", config, retry=RETRY, attempts=10)
    assert result["attempts"] == 2
    assert [request.body["max_tokens"] for request in claude.requests] == [99, 99]


async def test_a_rate_limit_is_waited_for_as_long_as_the_api_asks(bench: Bench, claude: ClaudeStandIn) -> None:
    claude.add(Reply.rate_limited(1), "done")
    began = time.monotonic()
    result = await bench.run("claude", {"prompt": "Hi"}, retry=RETRY, attempts=10)
    assert result["output"] == {"text": "done"}
    assert time.monotonic() - began >= 1


async def test_a_spend_limit_is_not_tried_again(bench: Bench, claude: ClaudeStandIn) -> None:
    claude.add(Reply.failure(429, error_code="contract_spend_limit_reached", headers={"retry-after": "1"}))
    error = await bench.error("claude", {"prompt": "Hi"}, retry=RETRY, attempts=10)
    assert (error["type"], error["attempts"], error["retryable"]) == ("contract_spend_limit_reached", 1, False)
    assert len(claude.requests) == 1
