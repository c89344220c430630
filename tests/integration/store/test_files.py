"""Files that triggers have seen, on both databases."""

from __future__ import annotations

import asyncio
from typing import Any

from orchestrator.store.database import Store

FILE: dict[str, Any] = {"path": "data/in/a.csv", "size": 5_000_000_000, "sha256": "0" * 64}


async def test_the_same_file_is_one_however_often_and_by_however_many_it_is_seen(store: Store) -> None:
    found = await asyncio.gather(*(store.files.see("f", "t", "key", **FILE) for _ in range(8)))
    assert len({one.id for one in found}) == 1
    await store.files.started(found[0], "run-1", "2")
    again = await store.files.see("f", "t", "key", **(FILE | {"path": "data/in/b.csv"}))
    assert (again.run_id, again.version, again.path, again.size) == ("run-1", "2", "data/in/a.csv", 5_000_000_000)
    assert again.seen_at >= found[0].seen_at


async def test_files_of_other_flows_triggers_and_keys_are_others(store: Store) -> None:
    for flow, trigger, key in (("f", "t", "k"), ("f", "t", "l"), ("f", "u", "k"), ("g", "t", "k")):
        seen = await store.files.see(flow, trigger, key, **FILE)
        assert (seen.run_id, seen.problem) == (None, None)
        await store.files.refused(seen, "invalid_inputs: no", "1")
    assert len(await store.files.list("f")) == 3
    assert [one.problem for one in await store.files.list("g")] == ["invalid_inputs: no"]


async def test_a_run_takes_the_place_of_an_earlier_refusal(store: Store) -> None:
    seen = await store.files.see("f", "t", "k", **FILE)
    await store.files.refused(seen, "no", "1")
    await store.files.started(seen, "run-1", "2")
    [one] = await store.files.list("f")
    assert (one.run_id, one.problem, one.version) == ("run-1", None, "2")


async def test_files_not_seen_for_long_are_forgotten(store: Store) -> None:
    await store.files.see("f", "t", "k", **FILE)
    assert await store.files.purge() == 0
    assert await store.files.purge(-1) == 1
    assert await store.files.list("f") == []
