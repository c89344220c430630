"""Which model answers: fallbacks, what they cost, and what is said when none does."""

from __future__ import annotations

from typing import Any

import pytest
from tests.integration.steps.asking import Ask, ask, claude

from orchestrator.errors import StepError
from orchestrator.spec.project import Project
from orchestrator.testing import ClaudeStandIn, Reply, When

__all__ = ["ask", "claude"]

FIRST, SECOND, THIRD = "claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5"
CHAIN: dict[str, Any] = {"model": FIRST, "fallback_models": [SECOND, THIRD]}


def asked(model: str, reply: Reply) -> When:
    return When(lambda request: request.model == model, reply)


@pytest.mark.parametrize(
    "reply",
    [
        Reply.overloaded(),
        Reply.failure(503),
        Reply.failure(404, "model: no such"),
        Reply.broken_stream("half"),
        Reply.refusal("cyber"),
    ],
)
async def test_the_next_model_answers_where_one_is_unavailable_unknown_or_declines(
    claude: ClaudeStandIn, ask: Ask, reply: Reply
) -> None:
    claude.add(asked(FIRST, reply), asked(SECOND, Reply.text("here")))
    assert await ask(CHAIN) == {"text": "here"}
    assert [request.model for request in claude.requests] == [FIRST, SECOND]
    assert (ask.usage["model"], ask.usage["fallback_from"]) == (SECOND, [FIRST])


@pytest.mark.parametrize(
    ("reply", "type_"),
    [
        (Reply.rate_limited(3), "rate_limit_exceeded"),
        (Reply.failure(400), "invalid_request_error"),
        (Reply.failure(401), "authentication_error"),
        (Reply.failure(500), "api_error"),
        (Reply.truncated("half"), "max_tokens"),
        (Reply.dropped("half"), "network_error"),
    ],
)
async def test_other_failures_are_not_the_models_and_stay(
    claude: ClaudeStandIn, ask: Ask, reply: Reply, type_: str
) -> None:
    claude.add(asked(FIRST, reply))
    with pytest.raises(StepError) as caught:
        await ask(CHAIN)
    assert (caught.value.type, len(claude.requests)) == (type_, 1)


async def test_every_model_is_paid_at_its_own_price(claude: ClaudeStandIn, ask: Ask) -> None:
    said = {"input_tokens": 1_000_000, "output_tokens": 0}
    claude.add(asked(FIRST, Reply.refusal().with_usage(**said)), asked(SECOND, Reply.text("x").with_usage(**said)))
    await ask(CHAIN)
    assert (ask.usage["cost"], ask.usage["calls"]) == (6.0, 2)


async def test_a_fallback_begins_the_conversation_anew(claude: ClaudeStandIn, ask: Ask) -> None:
    claude.add(
        When(lambda request: request.model == FIRST and request.turn == 0, Reply.paused("so far").with_thinking("hm")),
        When(lambda request: request.model == FIRST, Reply.overloaded()),
        asked(SECOND, Reply.text("all of it")),
    )
    assert await ask(CHAIN) == {"text": "all of it"}
    assert claude.requests[-1].turn == 0, "thinking belongs to the model that thought"


@pytest.mark.parametrize(
    ("replies", "type_", "retryable"),
    [
        ([Reply.failure(404), Reply.overloaded(), Reply.refusal()], "temporary_service_unavailable", True),
        ([Reply.refusal(), Reply.failure(404), Reply.failure(404)], "not_found_error", False),
        ([Reply.failure(404), Reply.rate_limited(9)], "rate_limit_exceeded", True),
        ([Reply.overloaded(), Reply.failure(400)], "temporary_service_unavailable", True),
    ],
)
async def test_when_none_answers_the_error_that_may_pass_is_the_steps(
    claude: ClaudeStandIn, ask: Ask, replies: list[Reply], type_: str, retryable: bool
) -> None:
    claude.add(*replies)
    with pytest.raises(StepError) as caught:
        await ask(CHAIN)
    assert (caught.value.type, caught.value.retryable) == (type_, retryable)
    assert len(claude.requests) == len(replies)
    assert all(model in str(caught.value) for model in (FIRST, SECOND)), "it says what each of them said"


async def test_fallbacks_may_be_aliases_and_one_model_is_asked_once(claude: ClaudeStandIn, ask: Ask) -> None:
    claude.add(Reply.overloaded(), "here")
    config = {"fallback_models": ["claude-sonnet-5-5", "small"]}
    assert await ask(config, project=Project(models={"small": THIRD})) == {"text": "here"}
    assert [request.model for request in claude.requests] == [SECOND, THIRD]


async def test_a_model_nobody_knows_comes_with_advice(claude: ClaudeStandIn, ask: Ask) -> None:
    claude.add(*[Reply.failure(404, "model: x")] * 2)
    with pytest.raises(StepError, match="did you mean `claude-sonnet-5-5`"):
        await ask({"model": "claude-sonet-5-5"})
    with pytest.raises(StepError, match="use `claude-opus-5-5`"):
        await ask({"model": "claude-3-opus-20240229"})
