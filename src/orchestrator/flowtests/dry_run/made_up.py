"""What a step might answer, where nobody says: from its ``output_schema``, else from its type and from what the flow
looks for in its output."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from orchestrator.spec.definition import Definition, Json, Node, definition_to_json
from orchestrator.spec.inputs import check_json

TEXT = "made up"
_DEEPEST = 8
_BY_TYPE: dict[str, Json] = {
    "http": {"status": 200, "headers": {}, "body": None},
    "claude": {"text": TEXT},
    "agent": {"text": TEXT},
    "mcp": {"text": TEXT, "content": []},
    "sql": {"rows": [], "count": 0},
    "human-task": {"decision": "approve", "data": {}, "comment": None, "by": TEXT, "at": None, "automatic": False},
    "wait-for-event": {"timed_out": False, "event": {"id": TEXT, "type": TEXT, "data": {}}, "events": {}},
    **{name: {"id": TEXT} for name in ("email", "slack", "notification", "queue", "emit")},
}
_FORMATS = {
    "date": "2030-01-31",
    "date-time": "2030-01-31T09:00:00Z",
    "time": "09:00:00Z",
    "email": "made-up@example.com",
    "uri": "https://example.com/made-up",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_CONDITIONS = ("if", "condition", "while", "until")
_EXPRESSIONS = (*_CONDITIONS, "items", "value")
"""Keys whose text is one expression, braces or not."""
_MEMBERS = r"((?:\.[^\W\d]\w*)*)"
_COMPARED = re.compile(r"[\s)]*(?:[-+*/<>]|[=!]=\s*-?\d)")
_COMPARED_BEFORE = re.compile(r"(?:[-+*/<>]=?|\d\s*[=!]=)[\s(]*$")
_LISTED = re.compile(r"[\s)]*\|\s*(?:length|first|last|map|join|sum|sort|unique|reverse|select)\b")
_TESTED = re.compile(r"[\s)]*(?:and|or)\b")
_TESTED_BEFORE = re.compile(r"\b(?:not|and|or|if)[\s(]*$")
_MORE = re.compile(r"[\s)]*(?:[=!]=|\||in\b|is\b|not\b)")


def made_up(node: Node, definition: Definition) -> Json:
    """An output for the step. Where its schema cannot be followed, None."""
    if node.output_schema is not None:
        output = _sample(node.output_schema, node.output_schema, 0)
        return output if not check_json(node.output_schema, output) else None
    output = _BY_TYPE.get(node.type)
    if isinstance(output, dict) and node.type == "human-task" and node.config.get("decisions"):
        output = output | {"decision": _decision(node.config["decisions"])}
    wanted: dict[tuple[str, ...], Json] = {}
    for members, value in _wanted(node.id, definition):
        # Any place that does more with it than show it says what it is.
        if wanted.get(members, TEXT) == TEXT:
            wanted[members] = value
    return _with(output, wanted)


def _decision(decisions: Json) -> Json:
    first = decisions[0]
    return first.get("id", TEXT) if isinstance(first, dict) else first


# -- from a schema --------------------------------------------------------------------------------------------


def _sample(schema: Json, root: Mapping[str, Json], depth: int) -> Json:
    """The simplest value that a schema takes, optional members included."""
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return None
    for given in ("const", "default"):
        if given in schema:
            return schema[given]
    for listed in ("examples", "enum"):
        if schema.get(listed):
            return schema[listed][0]
    if "$ref" in schema:
        return _sample(_referred(str(schema["$ref"]), root), root, depth + 1)
    for choice in ("anyOf", "oneOf"):
        if schema.get(choice):
            return _sample(schema[choice][0], root, depth + 1)
    if schema.get("allOf"):
        merged: dict[str, Json] = {}
        for part in schema["allOf"]:
            merged |= part if isinstance(part, dict) else {}
        return _sample({name: value for name, value in schema.items() if name != "allOf"} | merged, root, depth + 1)
    kind = schema.get("type")
    return _of_type(kind[0] if isinstance(kind, list) else kind, schema, root, depth)


def _of_type(kind: Json, schema: Mapping[str, Json], root: Mapping[str, Json], depth: int) -> Json:
    if kind == "object" or "properties" in schema:
        members = schema.get("properties") or {}
        names = dict.fromkeys([*members, *(schema.get("required") or ())])
        return {name: _sample(members.get(name, {}), root, depth + 1) for name in names}
    if kind == "array" or "items" in schema:
        return [_sample(schema.get("items", {}), root, depth + 1)] * max(1, int(schema.get("minItems", 0)))
    if kind in ("number", "integer"):
        return _number(schema)
    if kind == "boolean":
        return True
    if kind == "string":
        text = _FORMATS.get(str(schema.get("format")), TEXT)
        return text.ljust(int(schema.get("minLength", 0)), ".")[: schema.get("maxLength")]
    return None


def _number(schema: Mapping[str, Json]) -> float | int:
    step = schema.get("multipleOf", 1)
    if "minimum" in schema:
        return schema["minimum"]  # type: ignore[no-any-return]
    if "exclusiveMinimum" in schema:
        low, high = schema["exclusiveMinimum"], schema.get("maximum", schema.get("exclusiveMaximum"))
        return low + step if high is None or low + step < high else (low + high) / 2  # type: ignore[no-any-return]
    highest = schema.get("maximum", schema.get("exclusiveMaximum", step))
    return min(0, highest - step) if highest <= 0 else 0


def _referred(name: str, root: Mapping[str, Json]) -> Json:
    found: Json = root
    for part in name.removeprefix("#").strip("/").split("/"):
        found = found.get(part) if isinstance(found, dict) else None
    return found


# -- from what the flow looks for -----------------------------------------------------------------------------


def _wanted(step: str, definition: Definition) -> Iterator[tuple[tuple[str, ...], Json]]:
    """Members of the step's output that expressions name, each with a value that they can do something with."""
    found = re.compile(rf"steps\.{re.escape(step)}\.output{_MEMBERS}")
    for field, text in _texts(definition_to_json(replace(definition, hash="")), ""):
        for match in found.finditer(text):
            members = tuple(match[1].split(".")[1:])
            yield members, _leaf(field, text[: match.start()], text[match.end() :])


def _leaf(field: str, before: str, rest: str) -> Json:
    """A value for a member by the expression around it and the key that holds it."""
    if field not in _EXPRESSIONS:
        before, rest = before.rpartition("{{")[2], rest.partition("}}")[0]
    before, rest = before.replace("{{", " "), rest.replace("}}", " ")
    alone = not before.strip(" (") and not rest.strip(" )")
    if _COMPARED.match(rest) or _COMPARED_BEFORE.search(before):
        return 0
    if _LISTED.match(rest) or (alone and field == "items"):
        return [TEXT]
    tested = _TESTED.match(rest) or (_TESTED_BEFORE.search(before) and not _MORE.match(rest))
    return True if tested or (alone and field in _CONDITIONS) else TEXT


def _texts(value: Json, field: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield field, value
    elif isinstance(value, dict):
        for name, member in value.items():
            yield from _texts(member, name)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, field)


def _with(output: Json, wanted: Mapping[tuple[str, ...], Json]) -> Json:
    """The output with the members that are looked for; what is there already stays."""
    made = json.loads(json.dumps(output))
    for members, leaf in sorted(wanted.items(), key=lambda one: len(one[0]), reverse=True):
        made = _put(made, members, leaf)
    return made


def _put(value: Json, members: tuple[str, ...], leaf: Json) -> Json:
    if not members:
        return leaf if value is None else value
    if value is not None and not isinstance(value, dict):
        return value
    inner = value or {}
    return inner | {members[0]: _put(inner.get(members[0]), members[1:], leaf)}
