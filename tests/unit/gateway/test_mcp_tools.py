"""The MCP server's parts that need no server: names of tools, the reference, the hosts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from orchestrator.errors import NotFound
from orchestrator.gateway.mcp import reference
from orchestrator.gateway.mcp.door import Hosts
from orchestrator.gateway.mcp.exposed import FlowTool, named
from orchestrator.settings import Settings
from orchestrator.spec.loading import load_flow
from orchestrator.spec.project import Project
from orchestrator.spec.reading import step_types

PROJECT = Project(root=Path())


def tool(flow: str, wanted: str) -> FlowTool:
    return FlowTool(flow=flow, version="1", wait=1.0, wanted=wanted, description="", inputs={"type": "object"})


def names(*tools: FlowTool, reserved: frozenset[str] = frozenset()) -> dict[str, str]:
    return {found.flow: name for name, found in named(tools, reserved).items()}


class TestNames:
    def test_a_flow_alone_has_the_name_it_wants(self) -> None:
        assert names(tool("pay.out", "pay_out"), tool("b", "b")) == {"pay.out": "pay_out", "b": "b"}

    def test_of_flows_that_want_one_name_the_one_whose_id_it_is_keeps_it(self) -> None:
        found = names(tool("a.b", "a_b"), tool("a_b", "a_b"), tool("a-b", "a_b"))
        assert found["a_b"] == "a_b"
        assert len(set(found.values())) == 3
        assert all(re.fullmatch(r"a_b_[0-9a-f]{8}", found[flow]) for flow in ("a.b", "a-b"))

    def test_the_order_in_which_flows_are_found_makes_no_difference(self) -> None:
        both = tool("x.y", "same"), tool("z", "same")
        assert names(*both) == names(*reversed(both))

    def test_a_built_in_name_is_never_a_flows(self) -> None:
        found = names(tool("get_run", "get_run"), reserved=frozenset({"get_run"}))
        assert re.fullmatch(r"get_run_[0-9a-f]{8}", found["get_run"])

    def test_a_name_that_clashes_stays_within_what_clients_take(self) -> None:
        long = "n" * 64
        assert all(len(name) <= 64 for name in names(tool("a", long), tool("b", long)).values())


class TestReference:
    def test_the_example_is_a_flow_that_loads_and_runs(self) -> None:
        loaded = load_flow(reference.EXAMPLE, "example", Project(root=Path(), contacts={"ops": {}}))
        assert (loaded.warnings, loaded.unsupported) == ((), ())
        assert loaded.flow.expose.tool is not None

    def test_every_step_type_has_its_output_and_its_page(self) -> None:
        assert set(reference.OUTPUTS) == set(step_types())
        for topic in reference.topics():
            assert reference.page(topic, PROJECT).startswith("# ")

    def test_a_page_names_the_keys_of_the_model(self) -> None:
        page = reference.page("human-task", PROJECT)
        assert "- assignee: text" in page
        assert "- deadline: duration" in page
        assert "- on_deadline: " in page

    def test_keys_of_parts_are_shown_once_below(self) -> None:
        page = reference.page("agent", PROJECT)
        assert page.count("\nAgentTool: ") == 1

    def test_the_overview_fits_a_prompt(self) -> None:
        assert len(reference.page(reference.OVERVIEW, PROJECT)) < 12_000

    def test_an_unknown_topic_names_the_nearest(self) -> None:
        with pytest.raises(NotFound, match=r"did you mean `for-each`\?"):
            reference.page("foreach", PROJECT)

    def test_the_project_page_has_names_and_nothing_behind_them(self) -> None:
        project = Project(root=Path(), mcp={"files": {"command": "npx", "env": {"KEY": "hidden"}}})
        page = reference.page("project", project)
        assert "- mcp: files" in page
        assert "npx" not in page
        assert "hidden" not in page


def asked(host: str | None, origin: str | None = None) -> Request:
    headers = [(name, value.encode()) for name, value in ((b"host", host), (b"origin", origin)) if value is not None]
    return Request({"type": "http", "method": "POST", "path": "/mcp", "query_string": b"", "headers": headers})


class TestHosts:
    @pytest.mark.parametrize(
        ("settings", "host", "origin", "status"),
        [
            ({}, "127.0.0.1:8000", None, None),
            ({}, "localhost", None, None),
            ({}, "[::1]:8000", None, None),
            ({}, "LOCALHOST:8000", "http://localhost:6274", None),
            ({}, "evil.example.com:8000", None, 421),
            ({}, "127.0.0.1.evil.example.com", None, 421),
            ({}, "10.0.0.7:8000", None, 421),
            ({}, "", None, 421),
            ({}, None, None, 421),
            ({}, "[::1", None, 421),
            ({}, "127.0.0.1:8000", "https://evil.example.com", 403),
            ({}, "127.0.0.1:8000", "null", 403),
            ({}, "127.0.0.1:8000", "http://[", 403),
            ({"public_url": "https://flows.example.com/base"}, "flows.example.com", "https://flows.example.com", None),
            ({"allowed_hosts": ("gateway",)}, "gateway:8000", None, None),
            ({"host": "10.0.0.7"}, "10.0.0.7:8000", None, None),
            ({"host": "0.0.0.0"}, "10.0.0.7:8000", None, None),
            ({"host": "0.0.0.0"}, "evil.example.com", None, 421),
            ({"host": "0.0.0.0"}, "10.0.0.7:8000", "http://6.6.6.6", 403),
            ({"host": "0.0.0.0"}, "10.0.0.7:8000", "http://10.0.0.7:8000", None),
        ],
    )
    def test_only_our_own_names_are_answered(
        self, settings: dict[str, Any], host: str | None, origin: str | None, status: int | None
    ) -> None:
        problem = Hosts(Settings(**settings)).problem(asked(host, origin))
        assert (problem.status_code if problem else None) == status
