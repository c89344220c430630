"""Input values against declared schemas. Nothing remote is ever fetched."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import jsonschema
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.protocols import Validator
from referencing import Registry
from referencing.exceptions import Unresolvable

from orchestrator.errors import FieldProblem, InputsInvalid
from orchestrator.spec.findings import kind_of, suggestion
from orchestrator.spec.validator import FORMATS, SafeValidator, mixes_patterns, pattern_fault

Json = Any

_NO_REMOTE: Registry[Any] = Registry()
_PROBES: tuple[Json, ...] = (None, {}, [], "", 0)
"""One value of each kind: what a schema does with them shows whether it can be used at all."""
_SHOWN = 20
_TYPES = {
    "string": "text", "number": "a number", "integer": "a whole number", "boolean": "true or false",
    "object": "an object", "array": "a list", "null": "null",
}  # fmt: skip


def check_inputs(
    flow_id: str, schema: dict[str, Json], given: dict[str, Json], *, convert_text: bool = False
) -> dict[str, Json]:
    """The inputs of a run: declared members of ``given``, defaults filled in.

    ``convert_text`` reads text as the declared scalar (forms, queries, the command line). Members that are not
    declared are left out; they stay in ``trigger.body``. Raises InputsInvalid naming every field.
    """
    declared: dict[str, Json] = schema.get("properties", {})
    inputs: dict[str, Json] = {}
    for name, member in declared.items():
        if name in given:
            inputs[name] = _converted(member, given[name]) if convert_text else given[name]
        elif isinstance(member, dict) and "default" in member:
            inputs[name] = json.loads(json.dumps(member["default"]))
    problems = check_json(schema, inputs)
    if problems:
        unknown = [name for name in given if name not in declared]
        raise InputsInvalid(flow_id, [_with_unknown(problem, unknown) for problem in problems])
    return inputs


def _with_unknown(problem: FieldProblem, unknown: list[str]) -> FieldProblem:
    """A missing input and an undeclared one of nearly the same name are one typo."""
    if problem.message.startswith("is required") and unknown:
        hint = suggestion(problem.field, unknown)
        if hint and hint.startswith("did you mean"):
            return FieldProblem(problem.field, f"is required; you gave {hint[13:-1]}, which is not declared")
    return problem


def _converted(schema: Json, value: Json) -> Json:
    """Text as the declared scalar where it is one; anything else unchanged, for the schema to judge."""
    if not isinstance(value, str) or not isinstance(schema, dict):
        return value
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    text = value.strip()
    if "string" in types:
        return value
    if "boolean" in types and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if "null" in types and text in ("", "null"):
        return None
    if {"integer", "number", "object", "array"} & set(types):
        try:
            parsed = json.loads(text, parse_constant=_refuse_constant)
        except ValueError:
            return value
        return value if isinstance(parsed, str | bool) or parsed is None else parsed
    return value


def _refuse_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")


def check_json(schema: dict[str, Json], value: Json) -> list[FieldProblem]:
    """Every way in which ``value`` does not match a JSON Schema (Draft 2020-12), by field path. Raises ValueError
    when the schema itself cannot be used."""
    validator = _validator(_canonical(schema))
    try:
        return field_problems(validator.iter_errors(value))
    except Unresolvable as error:
        raise ValueError(
            f"refers to {'#' + error.ref.lstrip('#')!r}, which is not in the schema; nothing is fetched"
        ) from error
    except RecursionError as error:
        raise ValueError("refers to itself without end") from error


def field_problems(errors: Iterable[ValidationError]) -> list[FieldProblem]:
    """What a validator found, in our words, by field path."""
    ordered = sorted(errors, key=lambda error: [str(part) for part in error.absolute_path])
    return [problem for error in ordered for problem in _problems(error)][:_SHOWN]


def check_schema(schema: Json) -> tuple[tuple[str | int, ...], str] | None:
    """Where and why ``schema`` is no JSON Schema that can be used, or None."""
    try:
        jsonschema.Draft202012Validator.check_schema(schema, format_checker=FORMATS)
    except SchemaError as error:
        return tuple(error.absolute_path), _sentence(error)
    for path, reference in references(schema):
        if reference != "#" and not reference.startswith("#/"):
            return path, f"refers to {reference!r}; only references inside the schema (`#/…`) are followed"
    if not isinstance(schema, dict):
        return None
    try:
        for probe in _PROBES:
            check_json(schema, probe)
    except ValueError as error:
        return (), str(error)
    return None


_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_LITERALS = ("default", "const", "enum", "examples")


def references(schema: Json, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every ``$ref`` of a schema with its place."""
    if isinstance(schema, list):
        for index, item in enumerate(schema):
            yield from references(item, (*path, index))
    elif isinstance(schema, dict):
        for key, value in schema.items():
            if key in ("$ref", "$dynamicRef") and isinstance(value, str):
                yield (*path, key), value
            elif key in _MAPS and isinstance(value, dict):
                for name, member in value.items():
                    yield from references(member, (*path, key, name))
            elif key not in _LITERALS:
                yield from references(value, (*path, key))


def moved_into(schema: Json, pointer: str) -> Json:
    """The schema with its references rewritten for a place inside another one, such as ``/properties/order``."""
    if isinstance(schema, list):
        return [moved_into(item, pointer) for item in schema]
    if not isinstance(schema, dict):
        return schema
    moved: dict[str, Json] = {}
    for key, value in schema.items():
        if key == "$ref" and isinstance(value, str):
            moved[key] = f"#{pointer}{value[1:]}"
        elif key in _MAPS and isinstance(value, dict):
            moved[key] = {name: moved_into(member, pointer) for name, member in value.items()}
        else:
            moved[key] = value if key in _LITERALS else moved_into(value, pointer)
    return moved


def _canonical(schema: dict[str, Json]) -> str:
    return json.dumps(schema, sort_keys=True, ensure_ascii=False)


@lru_cache(maxsize=512)
def _validator(text: str) -> Validator:
    schema = json.loads(text)
    try:
        jsonschema.Draft202012Validator.check_schema(schema, format_checker=FORMATS)
    except SchemaError as error:
        raise ValueError(f"this is no JSON Schema: {_sentence(error)}") from error
    if mixes_patterns(schema):
        raise ValueError(
            "`patternProperties` and `unevaluatedProperties` cannot be used together; use `additionalProperties`"
        )
    return SafeValidator(schema, registry=_NO_REMOTE, format_checker=FORMATS)


def _problems(error: ValidationError) -> list[FieldProblem]:
    field = _field(error.absolute_path)
    if error.validator == "required" and isinstance(error.instance, dict):
        # One error per missing name; its message quotes the name, so it is found by asking which one it is about.
        wanted: Any = error.validator_value
        missing = [name for name in wanted if name not in error.instance and repr(name) in error.message]
        return [FieldProblem(_joined(field, name), "is required") for name in missing[:1]]
    return [FieldProblem(field or "inputs", _sentence(error))]


def _field(path: Iterable[str | int]) -> str:
    field = ""
    for part in path:
        field = f"{field}[{part}]" if isinstance(part, int) else _joined(field, part)
    return field


def _joined(field: str, name: str) -> str:
    return f"{field}.{name}" if field else name


def _sentence(error: ValidationError | SchemaError) -> str:
    rule, value = error.validator, error.instance
    wanted: Any = error.validator_value
    if rule == "type":
        types = [wanted] if isinstance(wanted, str) else list(wanted)
        return f"must be {' or '.join(_TYPES.get(name, name) for name in types)}, got {kind_of(value)}"
    if rule == "enum":
        return f"must be one of {', '.join(json.dumps(choice, ensure_ascii=False) for choice in wanted[:20])}"
    if rule == "const":
        return f"must be {json.dumps(wanted, ensure_ascii=False)}"
    if rule == "additionalProperties" and isinstance(value, dict):
        return "has members that are not allowed: " + error.message.partition("(")[2].partition(" w")[0]
    if rule == "format" and wanted == "regex" and (fault := pattern_fault(str(value))):
        return f"must be a valid regex: {fault}"
    if rule == "pattern" and "too long" in error.message:
        return error.message
    if rule in _RULES:
        return _RULES[str(rule)].format(wanted)
    text = error.message if len(error.message) <= 200 else error.message[:200] + "…"
    return f"does not match the rule `{rule}`: {text}"


_RULES = {
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "exclusiveMinimum": "must be more than {}",
    "exclusiveMaximum": "must be less than {}",
    "multipleOf": "must be a multiple of {}",
    "minLength": "must have at least {} character(s)",
    "maxLength": "must have at most {} characters",
    "pattern": "must match the pattern {}",
    "format": "must be a valid {}",
    "minItems": "must have at least {} item(s)",
    "maxItems": "must have at most {} items",
    "uniqueItems": "must not hold the same item twice",
    "minProperties": "must have at least {} member(s)",
    "maxProperties": "must have at most {} members",
}
