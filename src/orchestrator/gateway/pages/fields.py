"""The fields of a task's form, made from its JSON Schema: how each is asked for, and what was answered.

What has no field of its own here (references, alternatives, objects inside objects) is asked for as JSON. Nothing is
checked but that; the schema judges the data as a whole."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any, Literal

from starlette.exceptions import HTTPException

from orchestrator.errors import FieldProblem
from orchestrator.gateway.bodies import parse_json
from orchestrator.spec.acts.human_task import fields_of

Json = Any
Given = Mapping[str, Json]
"""What a form was sent with, by the names of its fields; a name that came several times has a list."""
Kind = Literal["input", "long", "select", "choice", "checks", "lines", "json", "group"]

PREFIX = "data."
WHOLE = "data"
"""Name of the one field of a form whose schema declares no members."""
_RADIOS = 5
"""Up to so many options are all shown at once."""
_LONG = 200
"""A text that may have more characters has several lines."""
_LONG_FORMATS = ("textarea", "multiline", "markdown", "text")
_INPUTS = {"date": "date", "date-time": "datetime-local", "time": "time", "email": "email", "idn-email": "email",
           "uri": "url", "url": "url"}  # fmt: skip
_SCALARS = ("string", "number", "integer", "boolean")
_WIDE = {"string": "text", "number": "number", "integer": "number"}


@dataclass(slots=True)
class Field:
    """One question. ``key`` is its name in the form, ``path`` its place in the data, ``value`` what it shows: a text,
    or the texts that are checked. ``options`` are texts and labels, which are keys of ours where ``worded``."""

    key: str
    path: str
    label: str
    kind: Kind
    help: str = ""
    required: bool = False
    value: str | list[str] = ""
    options: Sequence[tuple[str, str]] = ()
    worded: bool = False
    attributes: dict[str, str] = field(default_factory=dict)
    members: list[Field] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def id(self) -> str:
        """For labels and errors to point at."""
        return "f-" + "".join(sign if sign.isalnum() else f"-{ord(sign):x}-" for sign in self.key)


def fields(form: dict[str, Json] | None, given: Given | None, zone: tzinfo) -> list[Field]:
    """The fields of a form, as ``given`` last time; without that with the defaults of the schema."""
    if not form:
        return []
    asked = fields_of(form)
    if not asked:
        label = str(form.get("title") or "JSON")
        return [Field(WHOLE, "", label, "json", value=_kept(WHOLE, given, "{}"), help=_help(form), required=True)]
    needed = form.get("required")
    return [
        _field((name,), schema, name in needed if isinstance(needed, list) else False, given, zone)
        for name, schema in asked.items()
    ]


def data_of(form: dict[str, Json], given: Given, zone: tzinfo) -> tuple[Json, list[FieldProblem]]:
    """What was answered, and which answers are no JSON. A field that was left empty was not given."""
    asked = fields_of(form)
    problems: list[FieldProblem] = []
    if not asked:
        return _as_json(given.get(WHOLE), "", problems) or {}, problems
    data: dict[str, Json] = {}
    needed = form.get("required")
    for name, schema in asked.items():
        schema = _plain(schema)
        if _kind(schema, deep=False) != "group":
            _put(data, (name,), schema, given, zone, problems)
            continue
        inner: dict[str, Json] = {}
        for member, member_schema in fields_of(schema).items():
            _put(inner, (name, member), _plain(member_schema), given, zone, problems)
        if inner or (isinstance(needed, list) and name in needed):
            data[name] = inner
    return data, problems


def is_untouched(form: dict[str, Json], given: Given, zone: tzinfo) -> bool:
    """Whether nothing was filled in: every field is empty, or as its default."""
    before = {one.key: one.value for one in flat(fields(form, None, zone))}
    return all(_kept(key, given, "") in ("", [], value) for key, value in before.items())


def tell(asked: list[Field], problems: Sequence[FieldProblem]) -> list[str]:
    """Put what is wrong beside the field it is about; what is about none is returned."""
    rest = []
    deepest_first = sorted(flat(asked), key=lambda one: -len(one.path))
    for problem in problems:
        about = next((one for one in deepest_first if _is_in(problem.field, one.path)), None)
        if about is None:
            rest.append(problem.message if problem.field == "inputs" else f"{problem.field}: {problem.message}")
        else:
            within = problem.field.removeprefix(about.path).lstrip(".")
            about.wrong.append(f"{within}: {problem.message}" if within and about.path else problem.message)
    return rest


def _is_in(place: str, path: str) -> bool:
    return path in ("", place) or place.startswith((f"{path}.", f"{path}["))


def flat(asked: Sequence[Field]) -> list[Field]:
    """The fields and their members, in order."""
    return [one for each in asked for one in (each, *flat(each.members))]


# -- asking -------------------------------------------------------------------------------------------------------


def _field(path: tuple[str, ...], schema: Json, required: bool, given: Given | None, zone: tzinfo) -> Field:
    schema = _plain(schema)
    kind = _kind(schema, deep=len(path) > 1)
    label = str(schema.get("title") or path[-1])
    made = Field(_key(path), ".".join(path), label, kind, _help(schema), required)
    if kind == "group":
        needed = schema.get("required")
        # A group that may be left out has nothing that must be filled in, until something is.
        made.members = [
            _field((*path, name), member, required and isinstance(needed, list) and name in needed, given, zone)
            for name, member in fields_of(schema).items()
        ]
        return made
    options = _options(schema["items"] if kind == "checks" else schema)
    if options is None and schema.get("type") == "boolean":
        made.options, made.worded = [("true", "inbox.yes"), ("false", "inbox.no")], True
    elif options is not None:
        made.options = [(_text(value), label) for value, label in options]
    made.attributes = _attributes(schema) if kind in ("input", "long") else {}
    made.value = _kept(made.key, given, _shown(schema, kind, zone))
    if kind == "checks" and isinstance(made.value, str):
        made.value = [made.value] if made.value else []
    return made


def _kept(key: str, given: Given | None, default: str | list[str]) -> str | list[str]:
    if given is None:
        return default
    value = given.get(key, "")
    return [_text(one) for one in value] if isinstance(value, list) else _text(value)


def _shown(schema: dict[str, Json], kind: Kind, zone: tzinfo) -> str | list[str]:
    default = schema.get("default")
    if default is None:
        return [] if kind == "checks" else ""
    if kind == "checks":
        return [_text(one) for one in default] if isinstance(default, list) else []
    if kind == "lines":
        return "\n".join(_text(one) for one in default) if isinstance(default, list) else ""
    if kind == "json":
        return json.dumps(default, ensure_ascii=False, indent=1)
    if schema.get("format") == "date-time":
        return _local(str(default), zone)
    return _text(default)


def _kind(schema: dict[str, Json], *, deep: bool) -> Kind:
    options = _options(schema)
    if options is not None:
        return "choice" if len(options) <= _RADIOS else "select"
    kind = schema.get("type")
    members = schema.get("properties")
    if kind in (None, "object") and isinstance(members, dict) and members and not deep:
        return "group"
    if kind == "array":
        items = schema.get("items")
        if not isinstance(items, dict) or "$ref" in items:
            return "json"
        return "checks" if _options(items) is not None else "lines" if items.get("type") in _SCALARS else "json"
    if kind == "boolean":
        return "choice"
    if kind not in _WIDE or "$ref" in schema:
        return "json"
    return "long" if kind == "string" and _is_long(schema) else "input"


def _is_long(schema: dict[str, Json]) -> bool:
    longest = schema.get("maxLength")
    has_room = isinstance(longest, int) and longest > _LONG
    return has_room or schema.get("format") in _LONG_FORMATS or "contentMediaType" in schema


def _plain(given: Json) -> dict[str, Json]:
    """The schema without the other type of something that may also be null."""
    schema: dict[str, Json] = given if isinstance(given, dict) else {}
    either = schema.get("anyOf")
    if isinstance(either, list) and "type" not in schema:
        others = [one for one in either if isinstance(one, dict) and one.get("type") != "null"]
        if len(others) == 1 and len(either) == 2:
            schema = {**others[0], **{key: value for key, value in schema.items() if key != "anyOf"}}
    kinds = schema.get("type")
    if kinds is not None and not isinstance(kinds, str):
        left = [kind for kind in kinds if kind != "null"] if isinstance(kinds, list) else []
        schema = {**schema, "type": left[0] if len(left) == 1 and isinstance(left[0], str) else None}
    return schema


def _options(schema: dict[str, Json]) -> list[tuple[Json, str]] | None:
    """The values that can be chosen, with their labels."""
    listed = schema.get("enum")
    if isinstance(listed, list) and listed:
        names = schema.get("enumNames")
        labels = names if isinstance(names, list) and len(names) == len(listed) else listed
        return [(value, _text(label)) for value, label in zip(listed, labels, strict=True)]
    for key in ("oneOf", "anyOf"):
        entries = schema.get(key)
        if isinstance(entries, list) and entries and all(isinstance(one, dict) and "const" in one for one in entries):
            return [(one["const"], str(one.get("title") or _text(one["const"]))) for one in entries]
    return None


def _attributes(schema: dict[str, Json]) -> dict[str, str]:
    """What browsers check by themselves."""
    kind = schema.get("type")
    found: dict[str, Json] = {}
    if kind == "string":
        found = {"type": _INPUTS.get(str(schema.get("format")), "text")}
        found |= {"minlength": schema.get("minLength"), "maxlength": schema.get("maxLength")}
    elif kind in ("number", "integer"):
        least, most = schema.get("minimum"), schema.get("maximum")
        if kind == "integer" and isinstance(schema.get("exclusiveMinimum"), int):
            least = schema["exclusiveMinimum"] + 1
        if kind == "integer" and isinstance(schema.get("exclusiveMaximum"), int):
            most = schema["exclusiveMaximum"] - 1
        found = {"type": "number", "min": least, "max": most, "step": "any" if kind == "number" else "1"}
        found["inputmode"] = "decimal" if kind == "number" else "numeric"
    return {name: str(value) for name, value in found.items() if isinstance(value, int | float | str)}


def _help(schema: dict[str, Json]) -> str:
    return str(schema.get("description") or "")


def _key(path: tuple[str, ...]) -> str:
    # As in a JSON Pointer, so that no two members have one name.
    return PREFIX + "/".join(part.replace("~", "~0").replace("/", "~1") for part in path)


# -- answers ------------------------------------------------------------------------------------------------------


def _put(
    data: dict[str, Json],
    path: tuple[str, ...],
    schema: dict[str, Json],
    given: Given,
    zone: tzinfo,
    problems: list[FieldProblem],
) -> None:
    value = given.get(_key(path))
    if value is None or value == "" or value == []:
        return
    kind = _kind(schema, deep=len(path) > 1)
    if kind == "checks":
        data[path[-1]] = [_chosen(schema["items"], one) for one in (value if isinstance(value, list) else [value])]
    elif not isinstance(value, str):
        data[path[-1]] = value
    elif kind == "lines":
        lines = [line.strip() for line in value.splitlines()]
        data[path[-1]] = [_scalar(schema["items"], line, zone) for line in lines if line]
    elif kind == "json":
        data[path[-1]] = _as_json(value, ".".join(path), problems)
    elif kind in ("select", "choice") and _options(schema) is not None:
        data[path[-1]] = _chosen(schema, value)
    else:
        data[path[-1]] = _scalar(schema, value, zone)


def _chosen(schema: dict[str, Json], text: Json) -> Json:
    options = _options(schema) or []
    return next((value for value, _ in options if _text(value) == text), text)


def _scalar(schema: dict[str, Json], text: str, zone: tzinfo) -> Json:
    """Text as the declared scalar; where it is none the text itself, for the schema to judge."""
    kind = schema.get("type")
    if kind == "boolean":
        return {"true": True, "false": False}.get(text.strip().lower(), text)
    if kind in ("number", "integer"):
        return _number(text)
    if schema.get("format") == "date-time":
        return _with_zone(text, zone)
    # Browsers end lines as mail does.
    return text.replace("\r\n", "\n")


def _number(text: str) -> Json:
    try:
        value = parse_json(text.strip())
    except HTTPException:
        return text
    return value if isinstance(value, int | float) and not isinstance(value, bool) else text


def _as_json(text: Json, path: str, problems: list[FieldProblem]) -> Json:
    if not isinstance(text, str):
        return text
    if not text.strip():
        return None
    try:
        return parse_json(text)
    except HTTPException as error:
        problems.append(FieldProblem(path or "inputs", str(error.detail).replace("the body is", "is")))
        return None


def _local(text: str, zone: tzinfo) -> str:
    """A moment as ``datetime-local`` shows it."""
    try:
        moment = datetime.fromisoformat(text)
        return (moment.astimezone(zone) if moment.tzinfo else moment).strftime("%Y-%m-%dT%H:%M")
    except (ValueError, OverflowError):
        return ""


def _with_zone(text: str, zone: tzinfo) -> str:
    """What ``datetime-local`` sends, with the zone of the pages; other text unchanged."""
    try:
        moment = datetime.fromisoformat(text)
        return text if moment.tzinfo else moment.replace(tzinfo=zone).isoformat()
    except (ValueError, OverflowError):
        return text


def _text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
