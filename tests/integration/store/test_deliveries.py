"""Deliveries, on both databases."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.errors import IdempotencyMismatch
from orchestrator.store.database import Store


async def test_the_first_delivery_of_many_at_once_gets_the_key(store: Store) -> None:
    claims = await asyncio.gather(
        *(store.deliveries.claim("k", "flow", "hash", workflow_id=f"run-{n}") for n in range(8))
    )
    assert [claim.new for claim in claims].count(True) == 1
    (winner,) = [claim for claim in claims if claim.new]
    assert {claim.workflow_id for claim in claims} == {winner.workflow_id}


async def test_a_repeated_delivery_learns_what_was_answered(store: Store) -> None:
    claim = await store.deliveries.claim("k", "flow", "hash", workflow_id="run-1")
    assert (await store.deliveries.claim("k", "flow", "hash", workflow_id="run-2")).answer is None
    await store.deliveries.record_answer(claim, {"run_id": "run-1"})
    again = await store.deliveries.claim("k", "flow", "hash", workflow_id="run-2")
    assert (again.new, again.workflow_id, again.answer) == (False, "run-1", {"run_id": "run-1"})


async def test_the_same_key_with_another_body_is_refused(store: Store) -> None:
    await store.deliveries.claim("k", "flow", "hash", workflow_id="run-1")
    with pytest.raises(IdempotencyMismatch, match="another body"):
        await store.deliveries.claim("k", "flow", "other", workflow_id="run-1")


async def test_keys_of_different_flows_do_not_meet(store: Store) -> None:
    await store.deliveries.claim("k", "a", "hash", workflow_id="run-1")
    assert (await store.deliveries.claim("k", "b", "other", workflow_id="run-2")).new


async def test_a_forgotten_key_is_free_again(store: Store) -> None:
    claim = await store.deliveries.claim("k", "flow", "hash", workflow_id="run-1")
    await store.deliveries.forget(claim)
    assert (await store.deliveries.claim("k", "flow", "other", workflow_id="run-2")).new


async def test_a_key_older_than_the_window_is_free_again(store: Store) -> None:
    await store.deliveries.claim("k", "flow", "hash", workflow_id="run-1")
    await asyncio.sleep(0.02)
    assert (await store.deliveries.claim("k", "flow", "other", workflow_id="run-2", window=0.01)).new
    assert await store.deliveries.purge(3600) == 0
    await asyncio.sleep(0.02)
    assert await store.deliveries.purge(0.01) == 1


@pytest.mark.parametrize("key", ["", "x" * 10_000, "한글\n", "\ud800", "nul\x00"])
async def test_any_text_can_be_a_key(store: Store, key: str) -> None:
    assert (await store.deliveries.claim(key, "flow", "hash", workflow_id="run-1")).new
    assert not (await store.deliveries.claim(key, "flow", "hash", workflow_id="run-1")).new
