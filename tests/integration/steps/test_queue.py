"""The queue step: one message whatever its attempts, and what it refuses to send."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.stores import open_store

from orchestrator.errors import StepError, TerminalError, Unavailable
from orchestrator.spec.acts.queue import QueueConfig
from orchestrator.steps.context import STORE
from orchestrator.steps.messages.queue import run
from orchestrator.store.database import Store
from orchestrator.store.queues import LARGEST_MESSAGE

from .conftest import MakeContext


@pytest.fixture
async def store(tmp_path: Path, make_context: MakeContext) -> AsyncIterator[Store]:
    opened = await open_store(f"sqlite:///{tmp_path / 'store.db'}")
    make_context().resources.lend(STORE, opened)
    yield opened
    await opened.aclose()


async def send(make_context: MakeContext, config: dict[str, Any], **context: Any) -> Any:
    given = {"queue": "jobs"} | config
    return await run(QueueConfig.model_validate(given), make_context(step_type="queue", **context))


async def test_attempts_of_one_step_send_one_message(make_context: MakeContext, store: Store) -> None:
    sent = [await send(make_context, {"message": {"n": 1}, "key": "k"}, attempt=attempt) for attempt in (1, 2, 3)]
    other = await send(make_context, {"message": {"n": 1}}, idempotency_key="run-2:the-step:0")
    assert sent[0] == sent[1] == sent[2] != other
    [first, second] = await store.queues.list("jobs")
    assert (first.id, first.body, first.key, second.id) == (sent[0]["id"], {"n": 1}, "k", other["id"])


async def test_a_delay_counts_from_the_sending(make_context: MakeContext, store: Store) -> None:
    await send(make_context, {"message": 1, "delay": "1h"})
    [message] = await store.queues.list("jobs")
    assert (message.due_at - message.sent_at).total_seconds() == 3600
    assert await store.queues.take("jobs", 1, 60) == []


@pytest.mark.parametrize(
    ("config", "type_"),
    [
        ({"message": "x" * LARGEST_MESSAGE}, "message_too_large"),
        ({"message": {"auth": "Bearer s3cr3t-value"}}, "secret_in_message"),
        ({"message": 1, "key": "s3cr3t-value"}, "secret_in_message"),
    ],
    ids=["large", "secret", "secret key"],
)
async def test_what_should_not_be_sent_is_not(
    make_context: MakeContext, store: Store, config: dict[str, Any], type_: str
) -> None:
    context = make_context(secrets={"TOKEN": "s3cr3t-value"})
    context.secrets.get("TOKEN")
    with pytest.raises(TerminalError) as caught:
        await run(QueueConfig.model_validate({"queue": "jobs"} | config), context)
    assert caught.value.type == type_
    assert "s3cr3t" not in str(caught.value)
    assert await store.queues.list("jobs") == []


async def test_a_store_that_cannot_be_reached_is_asked_again(
    make_context: MakeContext, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(*_: Any, **__: Any) -> Any:
        raise Unavailable("the store is away")

    monkeypatch.setattr(store.queues, "send", gone)
    with pytest.raises(StepError, match="away") as caught:
        await send(make_context, {"message": 1})
    assert (caught.value.type, caught.value.retryable) == ("queue_unavailable", True)


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"queue": " "}, "printable text"),
        ({"queue": "q" * 201}, "1 to 200 characters"),
        ({"queue": "a\nb"}, "printable text"),
        ({"queue": "a", "key": ""}, "1 to 500 characters"),
        ({"queue": "a", "key": "\x00"}, "printable text"),
        ({"queue": "a", "delay": -1}, "zero or more"),
    ],
)
def test_a_config_that_means_nothing_is_refused(config: dict[str, Any], match: str) -> None:
    with pytest.raises(ValidationError, match=match):
        QueueConfig.model_validate(config)
