"""The ready entries of the catalogue: each is usable as it is, and an author's entry takes one over key by key."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import BaseModel

from orchestrator.catalogue import (
    CATEGORIES,
    KINDS,
    ReadyEntry,
    ReadyEntryUnusable,
    ready_entries,
    with_ready_entry,
)
from orchestrator.expressions import fill_catalogue_entry
from orchestrator.spec.acts.api import Service
from orchestrator.spec.acts.mcp import McpServer

MODELS: dict[str, type[BaseModel]] = {"mcp": McpServer, "services": Service}
ALL = [ready for kind in KINDS for ready in ready_entries(kind).values()]
PACKAGES = [ready for ready in ready_entries("mcp").values() if ready.package]


def named(ready: ReadyEntry) -> str:
    return f"{ready.kind}.{ready.name}"


def filled(ready: ReadyEntry) -> tuple[dict[str, Any], set[str]]:
    """The entry as a step gets it with what the author must give, and the names of the secrets it asked for."""
    asked: set[str] = set()

    def secret(name: str) -> str:
        asked.add(name)
        return "a-secret"

    given: dict[str, Any] = {"use": ready.name}
    for need in ready.needs:
        key, _, member = need.name.partition(".")
        given[key] = {member: "/a/file"} if member else "https://example.test"
    return fill_catalogue_entry(with_ready_entry(ready.kind, given), secret), asked


@pytest.mark.parametrize("ready", ALL, ids=named)
def test_an_entry_is_usable_as_it_is_and_names_every_secret_it_needs(ready: ReadyEntry) -> None:
    entry, asked = filled(ready)
    MODELS[ready.kind].model_validate(entry)
    assert asked == {need.name for need in ready.secrets}
    assert ready.category in CATEGORIES
    assert all(need.about for need in (*ready.secrets, *ready.needs))


@pytest.mark.parametrize("ready", list(ready_entries("mcp").values()), ids=named)
def test_every_server_says_which_tools_may_be_called(ready: ReadyEntry) -> None:
    allow = ready.entry["allow"]
    assert allow
    assert "*" not in allow


@pytest.mark.parametrize("ready", PACKAGES, ids=named)
def test_a_package_is_started_in_exactly_the_version_that_was_tried(ready: ReadyEntry) -> None:
    assert ready.package is not None
    registry, _, pinned = ready.package.partition(":")
    assert pinned in ready.entry["args"]
    assert re.search(r".@\d" if registry == "npm" else r"==\d", pinned)
    assert ready.entry["command"] == {"npm": "npx", "pypi": "uvx"}[registry]


def test_commands_without_a_package_are_our_own() -> None:
    commands = [ready.name for ready in ready_entries("mcp").values() if "command" in ready.entry]
    assert [name for name in commands if ready_entries("mcp")[name].package is None] == ["database"]


def test_the_catalogue_covers_all_categories_with_servers_and_services() -> None:
    assert len(ready_entries("mcp")) >= 25
    assert len(ready_entries("services")) >= 10
    for kind in KINDS:
        assert {ready.category for ready in ready_entries(kind).values()} == set(CATEGORIES)


def test_what_the_author_writes_wins_and_members_of_headers_are_added() -> None:
    given = {"use": "github", "headers": {"X-Mine": "1"}, "allow": ["get_me"], "timeout": "5s"}
    entry = with_ready_entry("mcp", given)
    assert entry["allow"] == ["get_me"]
    assert entry["timeout"] == "5s"
    assert entry["headers"] == {**ready_entries("mcp")["github"].entry["headers"], "X-Mine": "1"}
    assert "use" not in entry
    assert "X-Mine" not in ready_entries("mcp")["github"].entry["headers"]


def test_null_takes_out_a_header_or_a_whole_key() -> None:
    entry = with_ready_entry("mcp", {"use": "github", "headers": {"X-MCP-Readonly": None}, "allow": None})
    assert list(entry["headers"]) == ["Authorization"]
    assert "allow" not in entry


def test_a_command_in_place_of_a_url_takes_nothing_of_the_url_along() -> None:
    entry = with_ready_entry("mcp", {"use": "github", "command": "github-mcp", "args": ["stdio"]})
    assert McpServer.model_validate(entry).command == "github-mcp"
    assert "headers" not in entry
    url = with_ready_entry("mcp", {"use": "memory", "url": "https://memory.test/mcp"})
    assert McpServer.model_validate(url).url == "https://memory.test/mcp"


def test_another_way_to_sign_in_takes_the_place_of_the_header() -> None:
    entry = with_ready_entry("mcp", {"use": "notion", "auth": {"token_file": "notion.json"}})
    assert entry["headers"] == {}
    assert McpServer.model_validate(entry).auth is not None


def test_methods_are_added_to_those_of_a_service() -> None:
    entry = with_ready_entry("services", {"use": "github", "methods": {"me": {"path": "/user"}, "comment": None}})
    assert "me" in entry["methods"]
    assert "createIssue" in entry["methods"]
    assert "comment" not in entry["methods"]


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ReadyEntryUnusable, match="no ready entry 'githb' for mcp; did you mean 'github'"):
        with_ready_entry("mcp", {"use": "githb"})
    with pytest.raises(ReadyEntryUnusable, match="'use' is the name"):
        with_ready_entry("mcp", {"use": ["github"]})


def test_what_only_the_author_knows_is_asked_for() -> None:
    with pytest.raises(ReadyEntryUnusable, match="must give base_url: your site"):
        with_ready_entry("services", {"use": "jira"})
    with pytest.raises(ReadyEntryUnusable, match=r"must give env\.MEMORY_FILE_PATH: the file"):
        with_ready_entry("mcp", {"use": "memory", "env": {"OTHER": "x"}})
    assert with_ready_entry("services", {"use": "jira", "base_url": "https://a.test"})["base_url"] == "https://a.test"


def test_entries_without_use_and_other_sections_are_left_alone() -> None:
    entry = {"url": "https://a.test/mcp"}
    assert with_ready_entry("mcp", entry) is entry
    database = {"use": "github"}
    assert with_ready_entry("databases", database) is database
