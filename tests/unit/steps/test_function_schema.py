"""What a model is told about users' functions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator.spec.inputs import check_json, check_schema
from orchestrator.steps.function.handlers import discover, invoke_arguments
from orchestrator.steps.function.schema import FunctionTool, function_tool

FUNCTIONS = '''
from __future__ import annotations
from dataclasses import dataclass, field
from datetime import date
from enum import Enum
from typing import Any, Literal, TypedDict
from pydantic import BaseModel
from temporalio import activity


class Size(Enum):
    small = "small"
    large = "large"


class Customer(BaseModel):
    """A customer."""
    name: str
    size: Size = Size.small
    parent: Customer | None = None


@dataclass
class Order:
    id: int
    notes: list[str] = field(default_factory=list)


class Opaque:
    def __get_pydantic_core_schema__(cls, handler):
        raise NotImplementedError
    __get_pydantic_core_schema__ = classmethod(
        lambda cls, source, handler: __import__("pydantic_core").core_schema.is_instance_schema(cls)
    )


@activity.defn
def no_arguments() -> str:
    """Takes nothing."""
    return ""

@activity.defn
def one_dict(given: dict[str, Any]) -> str: return ""

@activity.defn
def one_untyped(given) -> str: return ""

@activity.defn
def one_model(customer: Customer) -> str: return ""

@activity.defn
def one_dataclass(order: Order) -> str: return ""

@activity.defn
def one_scalar(city: str) -> str: return ""

@activity.defn
def several(order: Order, customer: Customer, on: date, kind: Literal["a", "b"] = "a", limit: int = 5) -> str: return ""

@activity.defn
def with_rest(first: str, *more: int) -> str: return ""

@activity.defn
def cannot_be_said(first: str, second: Opaque, third: Customer) -> str: return ""

@activity.defn
def optional_object(order: Order | None = None) -> str: return ""
'''


@dataclass
class Tools:
    found: dict[str, Any]

    def __call__(self, name: str) -> FunctionTool:
        return function_tool(self.found[name])


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Tools:
    folder = tmp_path_factory.mktemp("activities")
    (folder / "some.py").write_text(FUNCTIONS)
    return Tools(discover(Path(folder)))


def test_every_schema_can_be_used_and_says_object(tools: Tools) -> None:
    for name in tools.found:
        schema = tools(name).schema
        assert schema["type"] == "object"
        assert check_schema(schema) is None, name


def test_a_function_without_parameters_takes_an_empty_object(tools: Tools) -> None:
    tool = tools("no_arguments")
    assert (tool.description, tool.style, tool.order) == ("Takes nothing.", "args", ())
    assert check_json(tool.schema, {}) == []
    assert check_json(tool.schema, {"x": 1}) != []


@pytest.mark.parametrize("name", ["one_dict", "one_untyped"])
def test_one_free_object_is_the_arguments_themselves(tools: Tools, name: str) -> None:
    assert tools(name).style == "params"
    assert check_json(tools(name).schema, {"any": ["thing"]}) == []


def test_one_model_is_the_arguments_themselves_also_where_it_refers_to_itself(tools: Tools) -> None:
    tool = tools("one_model")
    assert tool.style == "params"
    assert check_json(tool.schema, {"name": "a", "parent": {"name": "b", "size": "large"}}) == []
    assert check_json(tool.schema, {"name": "a", "parent": {"size": "large"}}) != []
    assert tools("one_dataclass").style == "params"
    assert check_json(tools("one_dataclass").schema, {}) != []


def test_one_plain_value_is_passed_by_position(tools: Tools) -> None:
    tool = tools("one_scalar")
    assert (tool.style, tool.order) == ("args", ("city",))
    assert tool.schema["required"] == ["city"]
    assert tools("optional_object").style == "args"


def test_several_parameters_are_members_and_only_the_last_can_be_left_out(tools: Tools) -> None:
    tool = tools("several")
    assert tool.order == ("order", "customer", "on", "kind", "limit")
    assert tool.schema["required"] == ["order", "customer", "on", "kind"]
    assert tool.schema["properties"]["kind"]["default"] == "a"
    given = {"order": {"id": 1}, "customer": {"name": "a"}, "on": "2026-11-20", "kind": "b"}
    assert check_json(tool.schema, given) == []
    assert check_json(tool.schema, given | {"customer": {}}) != []
    # What the schema admits is what the function takes.
    assert len(invoke_arguments(tools.found["several"], [given[name] for name in tool.order[:4]])) == 4


def test_what_json_schema_cannot_say_is_any_value_and_the_rest_is_said(tools: Tools) -> None:
    schema = tools("cannot_be_said").schema
    assert schema["properties"]["second"] == {}
    assert check_json(schema, {"first": "a", "second": [], "third": {"name": "b"}}) == []
    assert check_json(schema, {"first": 1, "second": [], "third": {}}) != []


def test_further_positional_arguments_are_not_offered(tools: Tools) -> None:
    assert tools("with_rest").order == ("first",)
