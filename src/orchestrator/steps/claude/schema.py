"""Which JSON Schemas the Claude API can hold an answer to, and whether an answer does match one."""

from __future__ import annotations

import json
import re
from typing import Any

import anthropic

from orchestrator.spec.inputs import check_json

Json = Any

_COMBINED = ("anyOf", "oneOf", "allOf")
_BEYOND = ("patternProperties", "if", "not", "dependentSchemas", "prefixItems", "unevaluatedProperties")
_FENCE = re.compile(r"\A\s*```(?:json)?\s*(.*?)\s*```\s*\Z", re.DOTALL)


class AnswerMismatch(Exception):
    """An answer is not JSON or does not match its schema; the text says how, so that it can be corrected."""


class _Beyond(Exception):
    """The schema says something that the API's format cannot."""


def api_schema(schema: dict[str, Json]) -> dict[str, Json] | None:
    """The schema as ``output_config.format`` takes it, or None where it leaves members open (free objects,
    maps, values of any type) or uses what the API does not know: such a schema is told to Claude in words.

    What the API does not enforce (ranges, lengths, patterns) moves into descriptions, so the answer is
    validated against the original afterwards in either case.
    """
    try:
        return anthropic.transform_schema(_closed(schema))
    except (_Beyond, ValueError, AssertionError):
        return None


def told_schema(schema: dict[str, Json]) -> str:
    """What Claude is told about a schema that ``api_schema`` cannot express."""
    return f"Answer with JSON alone, valid for this JSON Schema:\n{json.dumps(schema, ensure_ascii=False)}"


def read_answer(text: str, schema: dict[str, Json]) -> Json:
    """The JSON value in ``text``, a code fence around it or not. Raises AnswerMismatch."""
    fenced = _FENCE.match(text)
    try:
        value = json.loads(fenced.group(1) if fenced else text, parse_constant=_no_constant)
    except ValueError as error:
        raise AnswerMismatch(f"it is not JSON ({error})") from error
    except RecursionError as error:
        raise AnswerMismatch("it is not JSON (it is nested too deeply)") from error
    problems = check_json(schema, value)
    if problems:
        listed = "; ".join(f"{problem.field or 'the answer'}: {problem.message}" for problem in problems[:5])
        raise AnswerMismatch(listed)
    return value


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is not a JSON number")


def _closed(schema: Json) -> dict[str, Json]:
    """The schema with every type written out. Raises _Beyond where something is left open."""
    if not isinstance(schema, dict) or any(key in schema for key in _BEYOND):
        raise _Beyond
    done = {key: value for key, value in schema.items() if key != "$schema"}
    if "$defs" in done:
        done["$defs"] = {name: _closed(member) for name, member in done["$defs"].items()}
    if "$ref" in done:
        if not str(done["$ref"]).startswith("#/$defs/"):
            raise _Beyond
        return done
    for key in _COMBINED:
        if key in done:
            if "properties" in done:
                raise _Beyond
            done[key] = [_closed(part) for part in done[key]]
            return done
    if "enum" in done or "const" in done:
        return done
    if isinstance(done.get("type"), list):
        kinds = done.pop("type")
        return {"anyOf": [_closed({"type": kind} if kind == "null" else done | {"type": kind}) for kind in kinds]}
    return _typed(done)


def _typed(done: dict[str, Json]) -> dict[str, Json]:
    kind = done.get("type") or ("object" if "properties" in done else "array" if "items" in done else None)
    if kind is None:
        raise _Beyond
    if kind == "object":
        members = done.get("properties") or {}
        undeclared = [name for name in done.get("required", []) if name not in members]
        if not members or undeclared or done.get("additionalProperties"):
            raise _Beyond
        done["properties"] = {name: _closed(member) for name, member in members.items()}
    if kind == "array":
        done["items"] = _closed(done.get("items"))
    return done | {"type": kind}
