"""What a tool of ours is, and how its arguments are read and its answer is written."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from mcp_types import CallToolResult, TextContent, Tool, ToolAnnotations
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.json_schema import GenerateJsonSchema

from orchestrator.errors import OrchestratorError
from orchestrator.spec.findings import suggestion

Json = Any

MOST_PROBLEMS = 20
LONGEST_NAME = 100
"""Characters. With the other it bounds what looking for similar names costs, and what an answer repeats."""


def _plain(value: str) -> str:
    if "\x00" in value:
        raise ValueError("holds a NUL character")
    return value


Long = Annotated[str, Field(min_length=1), AfterValidator(_plain)]
"""Text of any length, and not empty."""
Text = Annotated[str, Field(max_length=2000), AfterValidator(_plain)]
"""A name, an id, a sentence."""
Given = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_plain)]
"""The same, and not empty."""


class ArgumentsInvalid(OrchestratorError):
    """The arguments of a call do not match what the tool takes; nothing was done."""

    code = "invalid_arguments"


class Arguments(BaseModel):
    """Base of every tool's arguments: unknown ones are refused, types are not converted."""

    model_config = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True, slots=True)
class Call:
    """What a call brings besides its arguments."""

    key: str | None = None
    """The idempotency key, where the client sent one."""
    report: Callable[[float, float, str], Awaitable[None]] | None = None
    """Tells how far it is, of how much, in words; None where the client did not ask."""


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """A tool that is always there. ``run`` takes the arguments as ``arguments`` reads them and raises
    OrchestratorError."""

    name: str
    title: str
    description: str
    arguments: type[Arguments]
    answer: type[BaseModel]
    run: Callable[[Any, Call], Awaitable[BaseModel]]
    reads: bool = True
    """Whether it changes nothing."""
    destroys: bool = False

    def shown(self) -> Tool:
        """The tool as clients list it."""
        return Tool(
            name=self.name,
            title=self.title,
            description=self.description,
            input_schema=schema_of(self.arguments),
            output_schema=schema_of(self.answer),
            annotations=ToolAnnotations(
                read_only_hint=self.reads, destructive_hint=self.destroys, open_world_hint=not self.reads
            ),
        )

    def read(self, given: Mapping[str, Json]) -> Arguments:
        """The arguments. Raises ArgumentsInvalid naming each that cannot be used."""
        try:
            return self.arguments.model_validate(given)
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False)
            problems = "; ".join(_problem(one, self.arguments) for one in found[:MOST_PROBLEMS])
            raise ArgumentsInvalid(f"the arguments of {self.name} cannot be used: {problems}") from error


def answered(value: BaseModel, *, failed: bool = False, told: str | None = None) -> CallToolResult:
    """The result of a call: structured, and the same as text for clients that read text alone; ``told`` is said
    instead where words say more than the structure."""
    structured = value.model_dump(mode="json", by_alias=True, exclude_unset=True)
    text = told or json.dumps(structured, ensure_ascii=False)
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=structured, is_error=failed)


def refused(code: str, message: str) -> CallToolResult:
    """A result that says what went wrong in words a model can act on."""
    return CallToolResult(content=[TextContent(type="text", text=f"{code}: {message}")], is_error=True)


class _Untitled(GenerateJsonSchema):
    """Schemas without a title for every field, which repeats its name in every list of tools."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def schema_of(model: type[BaseModel]) -> dict[str, Json]:
    """The JSON Schema of a model as clients see it."""
    schema = model.model_json_schema(by_alias=True, schema_generator=_Untitled)
    # The class's own title and docstring are for readers of this code.
    return {key: value for key, value in schema.items() if key not in ("title", "description")}


def _problem(error: Any, model: type[Arguments]) -> str:
    where = ".".join(str(part)[:LONGEST_NAME] for part in error["loc"]) or "(arguments)"
    if error["type"] == "missing":
        return f"{where}: is required"
    if error["type"] == "extra_forbidden":
        near = suggestion(where, model.model_fields)
        return f"{where}: is no argument of it ({near or 'it takes none'})"
    return f"{where}: {error['msg']}"
