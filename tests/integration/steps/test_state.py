"""The state step: what it keeps, for whom, and what it refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.stores import open_store

from orchestrator.errors import StepError, TerminalError, Unavailable
from orchestrator.spec.acts.state import StateConfig
from orchestrator.steps.context import STORE
from orchestrator.steps.data.state import LARGEST, run
from orchestrator.store.database import Store

from .conftest import MakeContext


@pytest.fixture
async def store(tmp_path: Path, make_context: MakeContext) -> AsyncIterator[Store]:
    opened = await open_store(f"sqlite:///{tmp_path / 'store.db'}")
    make_context().resources.lend(STORE, opened)
    yield opened
    await opened.aclose()


async def state(make_context: MakeContext, config: dict[str, Any], **context: Any) -> Any:
    return await run(StateConfig.model_validate(config), make_context(step_type="state", **context))


async def test_what_one_run_keeps_another_run_of_the_flow_finds(make_context: MakeContext, store: Store) -> None:
    assert await state(make_context, {"get": "last"}) == {"value": None, "found": False}
    assert await state(make_context, {"put": "last", "value": {"id": 7}}) == {"value": {"id": 7}, "found": False}
    assert await state(make_context, {"get": "last"}, run_id="run-2") == {"value": {"id": 7}, "found": True}
    assert await state(make_context, {"delete": "last"}, idempotency_key="k2") == {"value": None, "found": True}
    assert await state(make_context, {"get": "last"}) == {"value": None, "found": False}


async def test_a_flow_has_its_own_keys_unless_it_shares_them_with_the_project(
    make_context: MakeContext, store: Store
) -> None:
    await state(make_context, {"put": "a", "value": 1}, idempotency_key="1")
    await state(make_context, {"put": "a", "value": 2, "scope": "project"}, idempotency_key="2")
    assert (await state(make_context, {"get": "a"}, flow="other"))["found"] is False
    assert (await state(make_context, {"get": "a", "scope": "project"}, flow="other"))["value"] == 2
    assert (await state(make_context, {"get": "a"}))["value"] == 1


async def test_attempts_of_one_step_add_once(make_context: MakeContext, store: Store) -> None:
    sums = [
        (await state(make_context, {"increment": "n", "value": 3}, idempotency_key=key, attempt=attempt))["value"]
        for key, attempt in (("a", 1), ("a", 2), ("b", 1), ("a", 3))
    ]
    assert sums == [3, 3, 6, 3]
    assert (await state(make_context, {"increment": "n"}, idempotency_key="c"))["value"] == 7


@pytest.mark.parametrize(
    ("config", "type_", "match"),
    [
        ({"put": "a", "value": "x" * LARGEST}, "value_too_large", f"may have {LARGEST}"),
        ({"put": "a", "value": ["so s3cr3t-value"]}, "secret_in_value", "holds a secret"),
        ({"put": "s3cr3t-value", "value": 1}, "secret_in_value", "key holds a secret"),
        ({"increment": "a", "value": "2"}, "not_a_number", "adds a number"),
        ({"increment": "a", "value": True}, "not_a_number", "adds a number"),
        ({"increment": "a", "value": None}, "not_a_number", "adds a number"),
        ({"increment": "a", "value": float("inf")}, "not_a_number", "adds a number"),
        ({"increment": "a", "value": 10**400}, "not_a_number", "adds a number"),
        ({"increment": "text"}, "not_a_number", "is no number"),
    ],
    ids=lambda case: str(case)[:40],
)
async def test_what_cannot_be_kept_is_said_and_nothing_is_changed(
    make_context: MakeContext, store: Store, config: dict[str, Any], type_: str, match: str
) -> None:
    await store.state.put("test-flow", "text", "t", once="before")
    context = make_context(secrets={"TOKEN": "s3cr3t-value"})
    context.secrets.get("TOKEN")
    with pytest.raises(TerminalError, match=match) as caught:
        await run(StateConfig.model_validate(config), context)
    assert caught.value.type == type_
    assert "s3cr3t" not in str(caught.value)
    assert not (await store.state.get("test-flow", "a")).found


async def test_a_store_that_cannot_be_reached_is_asked_again(
    make_context: MakeContext, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(*_: Any) -> Any:
        raise Unavailable("the store is away")

    monkeypatch.setattr(store.state, "get", gone)
    with pytest.raises(StepError, match="away") as caught:
        await state(make_context, {"get": "a"})
    assert (caught.value.type, caught.value.retryable) == ("store_unavailable", True)


async def test_a_worker_without_a_store_says_so(make_context: MakeContext) -> None:
    with pytest.raises(TerminalError, match="no store"):
        await state(make_context, {"get": "a"})


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({}, "exactly one of"),
        ({"get": "a", "put": "b", "value": 1}, "exactly one of"),
        ({"put": "a"}, "needs a `value`"),
        ({"get": "a", "value": 1}, "`get` takes no `value`"),
        ({"delete": "a", "ttl": "1h"}, "`delete` takes no `ttl`"),
        ({"put": "a", "value": 1, "ttl": 0}, "longer than nothing"),
        ({"get": ""}, "1 to 500 characters"),
        ({"get": "k" * 501}, "1 to 500 characters"),
        ({"get": "a\x00b"}, "control characters"),
        ({"get": "\ud800"}, "control characters"),
        ({"get": "a", "scope": "all"}, "'flow' or 'project'"),
    ],
)
def test_a_config_that_means_nothing_is_refused(config: dict[str, Any], match: str) -> None:
    with pytest.raises(ValidationError, match=match):
        StateConfig.model_validate(config)
