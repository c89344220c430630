"""What a model is told about a user's function: JSON Schema of its parameters, its docstring as the description."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError

from orchestrator.spec.definition import Json
from orchestrator.steps.function.handlers import Function, Parameter

_ANYTHING: dict[str, Json] = {}


@dataclass(frozen=True, slots=True)
class FunctionTool:
    """A function as a tool. ``style`` says how the model's arguments, always one object, reach it: ``params`` as its
    one parameter, ``args`` one by one in ``order``."""

    description: str
    schema: dict[str, Json]
    style: Literal["params", "args"]
    order: tuple[str, ...] = ()


def function_tool(function: Function) -> FunctionTool:
    """The function as a tool. A single parameter that is an object gives the schema by itself; ``*args`` are left out,
    a type that JSON Schema cannot say is any value."""
    fixed = [parameter for parameter in function.parameters if not parameter.rest]
    if len(fixed) == 1:
        alone = _object(fixed[0])
        if alone is not None:
            return FunctionTool(function.doc, alone, "params")
    schema = _schema(function, fixed)
    return FunctionTool(function.doc, schema, "args", tuple(parameter.name for parameter in fixed))


def _object(parameter: Parameter) -> dict[str, Json] | None:
    """The schema of a parameter that takes an object, else None. One without a type is called with ``params`` too."""
    if parameter.adapter is None:
        return {"type": "object"}
    schema = _of(parameter.adapter)
    target: Json = schema
    name = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    if name in schema.get("$defs", {}):
        # A model that refers to itself: its own schema, beside the definitions it needs.
        target = schema["$defs"][name]
    if target.get("type") != "object":
        return None
    return {**target, "$defs": schema["$defs"]} if "$defs" in schema else dict(target)


def _schema(function: Function, parameters: list[Parameter]) -> dict[str, Json]:
    properties: dict[str, Json] = {}
    definitions: dict[str, Json] = {}
    defaults = _defaults(function)
    for parameter, told in zip(parameters, _together(parameters, definitions), strict=True):
        properties[parameter.name] = told | defaults.get(parameter.name, {})
    schema: dict[str, Json] = {
        "type": "object",
        "properties": properties,
        "required": _required(parameters),
        "additionalProperties": False,
    }
    return schema | ({"$defs": definitions} if definitions else {})


def _required(parameters: list[Parameter]) -> list[str]:
    """Arguments are passed by position, so that only the last one can be left out: a parameter with a default that has
    another behind it is asked for, its default being told."""
    names = [parameter.name for parameter in parameters]
    return names if not parameters or parameters[-1].required else names[:-1]


def _together(parameters: list[Parameter], definitions: dict[str, Json]) -> list[dict[str, Json]]:
    """The parameters' schemas, what they share in ``definitions``."""
    typed = [
        (index, "validation", parameter.adapter) for index, parameter in enumerate(parameters) if parameter.adapter
    ]
    try:
        found, shared = TypeAdapter.json_schemas(typed)  # type: ignore[arg-type]
    except (PydanticInvalidForJsonSchema, PydanticUserError):
        # One of them cannot be said: each for itself, so that the others still are.
        return [_inlined(parameter.adapter, definitions, index) for index, parameter in enumerate(parameters)]
    definitions.update(shared.get("$defs", {}))
    return [dict(found.get((index, "validation"), _ANYTHING)) for index in range(len(parameters))]


def _inlined(adapter: TypeAdapter[Any] | None, definitions: dict[str, Json], index: int) -> dict[str, Json]:
    if adapter is None:
        return {}
    schema = _of(adapter, f"#/$defs/p{index}_{{model}}")
    definitions.update({f"p{index}_{name}": told for name, told in schema.pop("$defs", {}).items()})
    return schema


def _of(adapter: TypeAdapter[Any], reference: str = "#/$defs/{model}") -> dict[str, Json]:
    try:
        return adapter.json_schema(ref_template=reference)
    except (PydanticInvalidForJsonSchema, PydanticUserError):
        return {}


def _defaults(function: Function) -> dict[str, dict[str, Json]]:
    """``default`` of every parameter that has one which JSON can hold as it is."""
    told: dict[str, dict[str, Json]] = {}
    for name, parameter in inspect.signature(function.call).parameters.items():
        value = parameter.default
        if value is None or type(value) in (bool, int, float, str):
            told[name] = {"default": value}
    return told
