"""JSON Schema of flow and project files, for editors: completion and first checks while typing.

Generated from the same models that loading uses. It is a little more permissive than loading, which also knows
positions, names and order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from orchestrator.spec.acts.agent import DeclaredAgent
from orchestrator.spec.acts.mcp import McpServer
from orchestrator.spec.base import ACTS, ActConfig
from orchestrator.spec.control import CONTROLS, ControlConfig
from orchestrator.spec.declared import JSON_TYPES
from orchestrator.spec.flow import Flow
from orchestrator.spec.project import Project
from orchestrator.spec.queues import QueueEntry
from orchestrator.spec.reading import ConfigModel, step_types
from orchestrator.spec.step import RetryPolicy, Step
from orchestrator.spec.triggers import TRIGGERS

Json = Any
Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TEMPLATE: Schema = {"type": "string", "pattern": "\\{\\{", "description": "A template: {{ … }}"}
_FIXED = (Step, RetryPolicy)
"""Models that take no templates, wherever they stand."""


def flow_schema() -> Schema:
    """The schema of a flow file (Draft 2020-12)."""
    configs: list[ConfigModel] = [*ACTS.values(), *CONTROLS.values()]
    refs, defs = _definitions([Flow, Step, DeclaredAgent, McpServer, *configs, *TRIGGERS.values()])
    for model in configs:
        _allow_templates(model, defs, refs)
    flow = defs.pop(_name(refs[Flow]))
    defs["Step"] = _step(defs.pop(_name(refs[Step])), refs)
    defs["FallbackStep"] = {
        **{key: value for key, value in defs["Step"].items() if key not in ("allOf", "anyOf", "additionalProperties")},
        "required": ["type"],
        "description": "A step of `fallback`: its config may stand in the step itself.",
    }
    defs["Template"] = _TEMPLATE
    properties = flow["properties"]
    properties["steps"] = {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/Step"}}
    properties["triggers"] = {"type": "array", "items": {"$ref": "#/$defs/Trigger"}}
    properties["agents"]["additionalProperties"] = refs[DeclaredAgent]
    properties["mcp"]["additionalProperties"] = _server(refs, defs)
    properties["inputs"]["additionalProperties"] = {"$ref": "#/$defs/Input"}
    properties["inputs"].pop("patternProperties", None)
    defs["Trigger"] = _by_type({name: refs[model] for name, model in TRIGGERS.items()}, "What starts runs.")
    defs["Input"] = {
        "anyOf": [{"enum": list(JSON_TYPES)}, {"type": "object"}],
        "description": "A type, or a JSON Schema; required unless it has a `default` or `required: false`.",
    }
    handling = defs[_name(_ref_in(properties["error_handling"]))]["properties"]
    handling["fallback"]["items"] = {"$ref": "#/$defs/FallbackStep"}
    return {
        "$schema": DIALECT,
        "title": "Orchestrator flow",
        **_clean(flow, "Flow"),
        "$defs": dict(sorted(defs.items())),
    }


def project_schema() -> Schema:
    """The schema of ``orchestrator.yaml`` (Draft 2020-12)."""
    refs, defs = _definitions([Project, DeclaredAgent, McpServer, QueueEntry])
    schema = defs.pop(_name(refs[Project]))
    schema["properties"].pop("root")
    schema["properties"]["agents"]["additionalProperties"] = refs[DeclaredAgent]
    schema["properties"]["mcp"]["additionalProperties"] = _server(refs, defs)
    schema["properties"]["queues"]["additionalProperties"] = {"anyOf": [refs[QueueEntry], {"type": "null"}]}
    for section in schema["properties"].values():
        section.pop("title", None)
    return {"$schema": DIALECT, **schema, "title": "Orchestrator project", "$defs": dict(sorted(defs.items()))}


def _server(refs: dict[type[BaseModel], Schema], defs: dict[str, Schema]) -> Schema:
    """An MCP server as it is written: its texts may hold secrets, and a ready entry be changed by ``null``."""
    for name in ("McpServer", "ClientCredentials", "RefreshToken"):
        for member in defs[name]["properties"].values():
            for part in (member, *member.get("anyOf", ())):
                part.pop("pattern", None)
    properties = defs["McpServer"]["properties"]
    null: Schema = {"type": "null"}
    for key, member in properties.items():
        if null not in member.get("anyOf", ()):
            kept = {name: member.pop(name) for name in ("default", "description") if name in member}
            properties[key] = {"anyOf": [member, null], **kept}
    properties["use"] = {"type": "string", "description": "A ready entry of the catalogue to start from."}
    return refs[McpServer]


def _definitions(models: list[type[BaseModel]]) -> tuple[dict[type[BaseModel], Schema], dict[str, Schema]]:
    found, top = models_json_schema([(model, "validation") for model in models], by_alias=True)
    refs = {model: schema for (model, _), schema in found.items()}
    defs: dict[str, Schema] = top.get("$defs", {})
    for schema in defs.values():
        for member in schema.get("properties", {}).values():
            member.pop("title", None)
    return {model: refs[model] for model in models}, defs


def _name(reference: Schema) -> str:
    return str(reference["$ref"]).rpartition("/")[2]


def _ref_in(schema: Schema) -> Schema:
    return schema if "$ref" in schema else next(item for item in schema["allOf"] if "$ref" in item)


def _clean(flow: Schema, title: str) -> Schema:
    return {key: value for key, value in flow.items() if key != "title" or value != title}


def _step(schema: Schema, refs: dict[type[BaseModel], Schema]) -> Schema:
    """A step whose config follows from its type, or one of the two short forms."""
    properties = dict(schema["properties"])
    properties["type"] = {"enum": step_types(), "description": "What the step does."}
    properties["config"] = {"type": "object", "description": "What the step type needs."}
    parallel = {"$ref": refs[CONTROLS["parallel"]]["$ref"]}
    steps: Schema = {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/Step"}}
    properties["parallel"] = {"anyOf": [steps, parallel], "description": "Short form of `type: parallel`."}
    properties["steps"] = steps | {"description": "Short form of `type: block`."}
    models: dict[str, ConfigModel] = {**ACTS, **CONTROLS}
    return {
        "type": "object",
        "description": "A step: `type` and `config`, or the short forms `parallel: […]` and `steps: […]`.",
        "properties": properties,
        "additionalProperties": False,
        "anyOf": [{"required": ["type"]}, {"required": ["parallel"]}, {"required": ["steps"]}],
        "allOf": [
            {
                "if": {"properties": {"type": {"const": name}}, "required": ["type"]},
                "then": {
                    "properties": {"config": refs[models[name]], "parallel": False, "steps": False},
                    **({"required": ["config"]} if _needs_config(models[name]) else {}),
                },
            }
            for name in step_types()
        ],
    }


def _needs_config(model: ConfigModel) -> bool:
    return any(field.is_required() for field in model.model_fields.values())


def _by_type(refs: dict[str, Schema], description: str) -> Schema:
    return {
        "type": "object",
        "description": description,
        "required": ["type"],
        "properties": {"type": {"enum": sorted(refs)}},
        "allOf": [
            {"if": {"properties": {"type": {"const": name}}, "required": ["type"]}, "then": ref}
            for name, ref in sorted(refs.items())
        ],
    }


def _allow_templates(model: ConfigModel, defs: dict[str, Schema], refs: dict[type[BaseModel], Schema]) -> None:
    """Let a template stand for any value in a config, in models inside it too."""
    fixed = {_name(refs[item]) for item in _FIXED if item in refs} | {item.__name__ for item in _FIXED}
    free = set(model.template_free)
    if issubclass(model, ControlConfig):
        free |= {pattern[0] for pattern in model.lists}
    assert issubclass(model, ActConfig | ControlConfig)
    own = _name(refs[model])
    todo, done = [own], {"Step"}
    while todo:
        name = todo.pop()
        if name in done or name in fixed or name not in defs:
            continue
        done.add(name)
        schema = defs[name]
        todo.extend(_references(schema))
        for key, member in schema.get("properties", {}).items():
            if not (name == own and key in free) and key != "steps":
                schema["properties"][key] = _or_template(member)


def _references(schema: Json) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield _name(schema)
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from _references(item)


def _or_template(schema: Schema) -> Schema:
    inner = dict(schema)
    if isinstance(inner.get("items"), dict) and inner["items"].get("$ref") != "#/$defs/Step":
        inner["items"] = _or_template(inner["items"])
    if isinstance(inner.get("additionalProperties"), dict):
        inner["additionalProperties"] = _or_template(inner["additionalProperties"])
    if "anyOf" in inner:
        members = [_or_template_inside(member) for member in inner["anyOf"]]
        if {"$ref": "#/$defs/Template"} not in members and {"type": "string"} not in members:
            members.append({"$ref": "#/$defs/Template"})
        return inner | {"anyOf": members}
    if not inner.keys() & {"type", "$ref", "enum", "const"} or (
        inner.get("type") == "string" and not inner.keys() & {"pattern", "enum", "const", "minLength", "maxLength"}
    ):
        return inner
    outer: Schema = {key: inner.pop(key) for key in ("description", "default") if key in inner}
    return {"anyOf": [inner, {"$ref": "#/$defs/Template"}], **outer}


def _or_template_inside(schema: Schema) -> Schema:
    """A member of a union: its own parts may be templates, itself is decided by the union."""
    inner = dict(schema)
    if isinstance(inner.get("items"), dict):
        inner["items"] = _or_template(inner["items"])
    if isinstance(inner.get("additionalProperties"), dict):
        inner["additionalProperties"] = _or_template(inner["additionalProperties"])
    return inner
