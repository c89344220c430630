"""Published flows, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from pydantic import BaseModel

from orchestrator.errors import Conflict, NotFound
from orchestrator.spec.definition import Definition, Node
from orchestrator.store.database import Store


class Hook(BaseModel):
    type: str = "webhook"
    path: str | None = None
    enabled: bool = True


@dataclass
class File:
    version: str | None
    enabled: bool = True
    triggers: Sequence[BaseModel] = ()


@dataclass
class Loaded:
    definition: Definition
    flow: File
    text: str = field(default="id: x")


def loaded(
    flow: str = "greeting",
    version: str | None = "1.0",
    content: str = "a",
    triggers: Sequence[BaseModel] = (),
    enabled: bool = True,
) -> Loaded:
    definition = Definition(
        flow=flow,
        version=version or "",
        hash=content * 64,
        file="f.yaml",
        name="인사",
        steps=(Node("hi", "set", "f.yaml:3:5", config={"word": content}),),
    )
    return Loaded(definition, File(version, enabled, triggers), f"id: {flow} # {content}")


async def test_a_published_flow_is_read_back_as_it_was(store: Store) -> None:
    published = await store.flows.publish(loaded(triggers=[Hook(path="/hi")]))
    assert (published.flow, published.version, published.created) == ("greeting", "1.0", True)
    current = await store.flows.current("greeting")
    assert current.definition == loaded().definition
    assert current.triggers == [{"type": "webhook", "path": "/hi", "enabled": True}]
    assert current.text == "id: greeting # a"
    assert current.published_at.tzinfo is not None
    assert current.enabled


async def test_the_same_content_again_changes_nothing(store: Store) -> None:
    await store.flows.publish(loaded())
    before = await store.flows.revision()
    again = await store.flows.publish(loaded())
    assert not again.created
    assert await store.flows.revision() == before
    assert await store.flows.versions("greeting") == ["1.0"]


async def test_other_content_under_a_published_version_says_to_raise_the_version(store: Store) -> None:
    await store.flows.publish(loaded())
    with pytest.raises(Conflict, match=r"version 1\.0 of flow 'greeting'.*raise `version`"):
        await store.flows.publish(loaded(content="b"))
    assert (await store.flows.current("greeting")).hash == "a" * 64


async def test_another_trigger_is_other_content(store: Store) -> None:
    await store.flows.publish(loaded(triggers=[Hook(path="/one")]))
    with pytest.raises(Conflict):
        await store.flows.publish(loaded(triggers=[Hook(path="/two")]))


async def test_a_refused_first_publication_leaves_no_flow(store: Store) -> None:
    await store.flows.publish(loaded())
    await store.flows.delete("greeting")
    with pytest.raises(Conflict):
        await store.flows.publish(loaded(content="b"))
    assert await store.flows.list() == []


async def test_an_edit_is_published_beside_the_version_it_edits(store: Store) -> None:
    await store.flows.publish(loaded(), as_edit=True)
    edit = await store.flows.publish(loaded(content="b"), as_edit=True)
    assert edit.version.startswith("1.0+")
    assert len(edit.version) == len("1.0+") + 8
    assert (await store.flows.current("greeting")).definition.version == edit.version
    back = await store.flows.publish(loaded(), as_edit=True)
    assert (back.version, back.created) == ("1.0", False)
    assert (await store.flows.current("greeting")).version == "1.0"
    again = await store.flows.publish(loaded(content="b"), as_edit=True)
    assert (again.version, again.created) == (edit.version, False)


async def test_without_a_version_each_new_content_gets_the_next_whole_number(store: Store) -> None:
    numbers = [(await store.flows.publish(loaded(version=None, content=content))).version for content in "aabbca"]
    assert numbers == ["1", "1", "2", "2", "3", "4"]


async def test_an_unknown_flow_names_the_nearest(store: Store) -> None:
    with pytest.raises(NotFound, match="none is published"):
        await store.flows.current("greting")
    await store.flows.publish(loaded())
    with pytest.raises(NotFound, match="did you mean 'greeting'"):
        await store.flows.current("greting")
    with pytest.raises(NotFound, match="published: 'greeting'"):
        await store.flows.current("zzz")
    with pytest.raises(NotFound, match=r"no version '3'; published: '1\.0'"):
        await store.flows.version("greeting", "3")


async def test_triggers_are_those_of_current_enabled_versions(store: Store) -> None:
    await store.flows.publish(loaded(triggers=[Hook(path="/old")]))
    await store.flows.publish(
        loaded(version="2", content="b", triggers=[Hook(path="/new"), Hook(path="/off", enabled=False)])
    )
    await store.flows.publish(loaded(flow="sleeping", triggers=[Hook(path="/z")], enabled=False))
    assert [(t.flow, t.version, t.trigger["path"]) for t in await store.flows.triggers()] == [("greeting", "2", "/new")]
    await store.flows.set_enabled("sleeping", True)
    assert [t.trigger["path"] for t in await store.flows.triggers()] == ["/new", "/z"]


async def test_every_visible_change_raises_the_revision(store: Store) -> None:
    seen = [await store.flows.revision()]
    for change in (
        store.flows.publish(loaded()),
        store.flows.set_enabled("greeting", False),
        store.flows.publish(loaded(version="2", content="b")),
        store.flows.delete("greeting"),
    ):
        await change
        seen.append(await store.flows.revision())
    assert seen == sorted(set(seen))


async def test_a_deleted_flow_is_gone_and_its_versions_stay_taken(store: Store) -> None:
    await store.flows.publish(loaded())
    await store.flows.delete("greeting")
    for question in (store.flows.current("greeting"), store.flows.version("greeting", "1.0")):
        with pytest.raises(NotFound):
            await question
    with pytest.raises(NotFound):
        await store.flows.delete("greeting")
    assert await store.flows.triggers() == []
    await store.flows.publish(loaded())
    assert (await store.flows.current("greeting")).version == "1.0"


async def test_publications_at_the_same_time_agree_on_the_numbers(store: Store) -> None:
    published = await asyncio.gather(
        *(store.flows.publish(loaded(version=None, content=content)) for content in "abcdefgh")
    )
    assert sorted(p.version for p in published) == [str(n) for n in range(1, 9)]


async def test_the_list_counts_versions(store: Store) -> None:
    await store.flows.publish(loaded())
    await store.flows.publish(loaded(version="2", content="b"))
    (summary,) = await store.flows.list()
    assert (summary.flow, summary.name, summary.version, summary.versions) == ("greeting", "인사", "2", 2)


async def test_two_stores_on_one_database_see_each_others_changes(store: Store, store_url: str) -> None:
    other = await Store.open(store_url)
    try:
        await store.flows.publish(loaded())
        assert (await other.flows.current("greeting")).version == "1.0"
        await other.flows.set_enabled("greeting", False)
        assert not (await store.flows.current("greeting")).enabled
    finally:
        await other.aclose()


async def test_a_version_asked_for_by_name_is_looked_up_once_for_a_burst_of_starts(
    store: Store, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.store.flows.FRESH", 60.0)
    await store.flows.publish(loaded())
    assert (await store.flows.version("greeting", "1.0")).enabled
    other = await Store.open(store_url)
    try:
        await other.flows.set_enabled("greeting", False)
        assert (await store.flows.version("greeting", "1.0")).enabled, "asked again at once"
        await store.flows.set_enabled("greeting", False)
        assert not (await store.flows.version("greeting", "1.0")).enabled, "its own change does not count at once"
        await other.flows.set_enabled("greeting", True)
        monkeypatch.setattr("orchestrator.store.flows.FRESH", 0.0)
        assert (await store.flows.version("greeting", "1.0")).enabled
    finally:
        await other.aclose()
