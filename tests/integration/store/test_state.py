"""Data that flows keep between runs, on both databases."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.stores import open_store

from orchestrator.store.database import Store
from orchestrator.store.state import PROJECT, Kept, NotANumber


@pytest.mark.parametrize(
    "value", [None, False, 0, "", [], {"한글": ["\x00", "\ud800", "👍", 1.5, -0.0, 10**30]}, "x" * 250_000]
)
async def test_a_value_comes_back_as_it_was_put(store: Store, value: Any) -> None:
    assert await store.state.put("flow", "a", value, once="1") == Kept(value, found=False)
    assert await store.state.get("flow", "a") == Kept(value, found=True)


async def test_scopes_and_keys_are_kept_apart(store: Store) -> None:
    for number, (scope, key) in enumerate([("a", "bc"), ("ab", "c"), (PROJECT, "bc"), ("a", "b")]):
        assert not (await store.state.put(scope, key, number, once=f"{number}")).found
    assert (await store.state.get("a", "bc")).value == 0
    assert (await store.state.get(PROJECT, "bc")).value == 2
    assert await store.state.get("c", "b") == Kept(None, found=False)


async def test_a_change_is_made_once_and_answered_alike_whatever_came_between(store: Store) -> None:
    first = await store.state.increment("f", "n", 2, once="step-1")
    await store.state.put("f", "n", 40, once="step-2")
    assert await store.state.increment("f", "n", 2, once="step-1") == first == Kept(2, found=False)
    assert (await store.state.get("f", "n")).value == 40
    await store.state.delete("f", "n", once="step-3")
    assert await store.state.put("f", "n", 40, once="step-2") == Kept(40, found=True)
    assert not (await store.state.get("f", "n")).found


async def test_additions_of_many_at_once_all_count(store: Store) -> None:
    async def add(number: int) -> int | float:
        return (await store.state.increment("f", "n", 1, once=f"s{number % 20}")).value  # type: ignore[no-any-return]

    sums = await asyncio.gather(*(add(number) for number in range(40)))
    assert sorted(set(sums)) == list(range(1, 21))
    assert (await store.state.get("f", "n")).value == 20


async def test_deleting_and_putting_at_once_leaves_one_of_both(store: Store) -> None:
    for number in range(5):
        await asyncio.gather(
            store.state.put("f", "x", number, once=f"p{number}"),
            store.state.delete("f", "x", once=f"d{number}"),
            store.state.increment("f", "y", 1, once=f"i{number}"),
        )
    assert (await store.state.get("f", "x")).value in (None, 4)
    assert (await store.state.get("f", "y")).value == 5


@pytest.mark.parametrize("value", ["text", None, True, [1], {"n": 1}])
async def test_only_numbers_are_added_to_and_a_refused_change_can_be_made_later(store: Store, value: Any) -> None:
    await store.state.put("f", "n", value, once="1")
    with pytest.raises(NotANumber, match="'n' is no number"):
        await store.state.increment("f", "n", 1, once="2")
    assert (await store.state.get("f", "n")).value == value
    await store.state.put("f", "n", 1.5, once="3")
    assert (await store.state.increment("f", "n", 1, once="2")).value == 2.5


def str_of(number: float) -> str:
    return "huge" if isinstance(number, int) else f"{number:g}"


@pytest.mark.parametrize(
    ("old", "by"), [(1e300, 1e300), (10**300, 10**300), (10**400, 1.5), (-1e300, -1e300)], ids=str_of
)
async def test_a_number_that_grows_past_all_bounds_is_refused(store: Store, old: Any, by: float) -> None:
    await store.state.put("f", "n", old, once="1")
    with pytest.raises(NotANumber, match="too large"):
        await store.state.increment("f", "n", by, once="2")


async def test_a_value_is_gone_when_its_time_is_over_and_a_counter_starts_anew(store: Store) -> None:
    await store.state.put("f", "a", 1, once="1", ttl=0.2)
    await store.state.increment("f", "n", 5, once="2", ttl=0.2)
    assert (await store.state.increment("f", "n", 5, once="3", ttl=3600)).value == 10
    await store.state.put("f", "ever", 1, once="4", ttl=1e15)
    await asyncio.sleep(0.25)
    assert await store.state.get("f", "a") == Kept(None, found=False)
    assert await store.state.increment("f", "n", 5, once="5") == Kept(5, found=False)
    assert await store.state.purge(3600) == 1
    assert (await store.state.get("f", "n")).found
    assert (await store.state.get("f", "ever")).found


async def test_changes_are_forgotten_after_the_window(store: Store) -> None:
    await store.state.increment("f", "n", 1, once="1")
    await store.state.purge(3600)
    assert (await store.state.increment("f", "n", 1, once="1")).value == 1
    await asyncio.sleep(0.02)
    await store.state.purge(0)
    assert (await store.state.increment("f", "n", 1, once="1")).value == 2


KEYS = st.sampled_from(["a", "b"])
NUMBERS = st.integers(-5, 5) | st.sampled_from([0.5, -1.25])
CHANGES = st.lists(
    st.one_of(
        st.tuples(
            st.just("put"), KEYS, st.one_of(NUMBERS, st.none(), st.text(max_size=3), st.lists(NUMBERS, max_size=2))
        ),
        st.tuples(st.just("increment"), KEYS, NUMBERS),
        st.tuples(st.just("delete"), KEYS, st.none()),
        st.tuples(st.just("get"), KEYS, st.none()),
    ),
    max_size=12,
)


class Model:
    """What a plain dict would answer."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def change(self, what: str, key: str, value: Any) -> Kept | None:
        """The answer; None where it refuses."""
        found = key in self.values
        if what == "put":
            self.values[key] = value
        elif what == "increment":
            old = self.values.get(key, 0)
            if isinstance(old, bool) or not isinstance(old, int | float):
                return None
            self.values[key] = old + value
        elif what == "delete":
            self.values.pop(key, None)
        return Kept(self.values.get(key), found)


async def answer(store: Store, scope: str, once: str, what: str, key: str, value: Any) -> Kept | None:
    try:
        if what == "put":
            return await store.state.put(scope, key, value, once=once)
        if what == "increment":
            return await store.state.increment(scope, key, value, once=once)
        if what == "delete":
            return await store.state.delete(scope, key, once=once)
        return await store.state.get(scope, key)
    except NotANumber:
        return None


def test_it_answers_as_a_dict_would_and_repeated_attempts_change_nothing(tmp_path: Path) -> None:
    with asyncio.Runner() as runner:
        store = runner.run(open_store(f"sqlite:///{tmp_path / 'store.db'}"))
        count = 0

        async def play(changes: list[tuple[str, str, Any]], scope: str) -> None:
            model = Model()
            for number, (what, key, value) in enumerate(changes):
                expected = model.change(what, key, value)
                for _ in range(2):
                    assert await answer(store, scope, f"{scope} {number}", what, key, value) == expected

        @settings(max_examples=25, deadline=None)
        @given(CHANGES)
        def check(changes: list[tuple[str, str, Any]]) -> None:
            nonlocal count
            count += 1
            runner.run(play(changes, f"s{count}"))

        try:
            check()
        finally:
            runner.run(store.aclose())
