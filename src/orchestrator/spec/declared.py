"""What a flow declares at its top: inputs as one object schema, ids, names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from orchestrator.spec.findings import Findings, kind_of, suggestion
from orchestrator.spec.inputs import check_json, check_schema, moved_into
from orchestrator.spec.reading import Placed, refuse_templates
from orchestrator.spec.source import Path

Json = Any

JSON_TYPES = ("string", "number", "integer", "boolean", "object", "array", "null")


def inputs_schema(raw: Json, findings: Findings) -> dict[str, Json]:
    """``inputs`` as one object schema. Required unless ``default`` or ``required: false``; a ``required`` list keeps
    its JSON Schema meaning."""
    properties: dict[str, Json] = {}
    required: list[str] = []
    for name, given in raw.items() if isinstance(raw, dict) else ():
        schema, needed = _input(given, ("inputs", name), findings)
        properties[name] = moved_into(schema, f"/properties/{name}")
        if needed:
            required.append(name)
    return {"type": "object", "properties": properties, "required": required}


def _input(given: Json, path: Path, findings: Findings) -> tuple[dict[str, Json], bool]:
    if isinstance(given, str):
        if given not in JSON_TYPES:
            findings.error(path, f"`{given}` is no type of an input", suggestion(given, JSON_TYPES))
            return {}, True
        return {"type": given}, True
    if not isinstance(given, dict):
        findings.error(
            path,
            f"an input must be a type or a JSON Schema, got {kind_of(given)}",
            "for example `name: string`",
        )
        return {}, True
    schema = dict(given)
    needed = "default" not in schema
    if "required" in schema and not isinstance(schema["required"], list):
        flag = schema.pop("required")
        if not isinstance(flag, bool):
            findings.error(
                (*path, "required"),
                f"`required` must be true, false or a list of members, got {kind_of(flag)}",
            )
        elif flag is False:
            needed = False
        elif "default" in schema:
            findings.error(
                (*path, "required"),
                "an input with a `default` is never missing",
                "remove `required` or `default`",
            )
    if usable_schema(schema, path, findings) and "default" in schema:
        for problem in check_json(schema, schema["default"]):
            findings.error((*path, "default"), f"the default {problem.message}")
            break
    return schema, needed


def usable_schema(schema: Json, path: Path, findings: Findings) -> bool:
    """Whether a JSON Schema can be used; reports why not."""
    before = len(findings.problems)
    refuse_templates(schema, path, findings)
    wrong = check_schema(schema)
    if wrong:
        where, why = wrong
        named = next((part for part in reversed(where) if isinstance(part, str)), None)
        if named == "type" and isinstance(here := _member(schema, where), str):
            findings.error((*path, *where), f"`{here}` is no JSON Schema type", suggestion(here, JSON_TYPES))
        else:
            findings.error((*path, *where), f"`{named or 'schema'}` {why}")
    return len(findings.problems) == before


def _member(value: Json, path: Iterable[str | int]) -> Json:
    for part in path:
        value = value[part]
    return value


def check_schemas(steps: list[Placed], findings: Findings) -> None:
    """Report every ``output_schema`` that cannot be used."""
    for step in steps:
        for placed in step.walk():
            if placed.step.output_schema is not None:
                usable_schema(placed.step.output_schema, (*placed.path, "output_schema"), findings)


def assign_ids(steps: list[Placed], findings: Findings, taken: frozenset[str] = frozenset()) -> dict[str, Placed]:
    """Give every step its id (``type-n`` where the author gave none) and refuse one id for two steps. The named
    steps by id. ``taken`` are ids of steps that are not in the lists."""
    named: dict[str, Placed] = {}
    everything = [placed for step in steps for placed in step.walk()]
    for number, placed in enumerate(everything, 1):
        placed.number = number
        given = placed.step.id
        if given is None:
            continue
        placed.id = given
        if given in taken:
            findings.error((*placed.path, "id"), f"the id `{given}` belongs to a step of the flow", "choose another")
        elif given in named:
            first = findings.source.value_at((*named[given].path, "id"))
            findings.error(
                (*placed.path, "id"),
                f"the id `{given}` is used twice (first at line {first[0]})",
                "ids are unique in the whole file, also in branches, loops and handlers",
            )
        else:
            named[given] = placed
    counters: dict[str, int] = {}
    for placed in everything:
        if placed.step.id is None:
            number = counters.get(placed.type, 0) + 1
            while f"{placed.type}-{number}" in named or f"{placed.type}-{number}" in taken:
                number += 1
            counters[placed.type] = number
            placed.id = f"{placed.type}-{number}"
    return named
