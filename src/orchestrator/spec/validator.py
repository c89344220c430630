"""A JSON Schema validator (Draft 2020-12) whose time is bounded by the sizes of schema and value.

``jsonschema`` itself matches patterns with ``re``, where one pattern and forty characters can take minutes, and
compares unlike items of ``uniqueItems`` pair by pair. Answers to tasks are checked inside a workflow task, which may
take two seconds (ENGINE §3), and inputs inside the gateway.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import jsonschema
import re2  # type: ignore[import-untyped]
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend

Json = Any

_MEMORY = 1 << 20
_MOST_WORK = 50_000_000
"""Characters of a text times the instructions of its pattern: some tens of milliseconds at worst."""


def pattern_fault(pattern: str) -> str | None:
    """Why RE2 does not take a pattern, or None."""
    try:
        _compiled(pattern)
    except re2.error as error:
        said = error.args[0] if error.args else ""
        reason = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    except UnicodeEncodeError:
        return "it holds half a character"
    else:
        return None
    hint = "; look-around and backreferences are not available" if "(?" in reason or "escape" in reason else ""
    if "repetition size" in reason:
        hint = "; for more than 1,000 repetitions use minLength and maxLength"
    return reason[:80] + hint


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    return re2.compile(pattern, options)


def _finds(pattern: str, text: str) -> bool | None:
    """Whether the pattern is found in the text; None where looking would take too long."""
    compiled = _compiled(pattern)
    if len(text) * int(compiled.programsize) > _MOST_WORK:
        return None
    try:
        return compiled.search(text) is not None
    except UnicodeEncodeError:
        # Half a character is no text.
        return False


def _pattern(validator: Validator, pattern: str, instance: Json, schema: Json) -> Iterator[ValidationError]:
    if isinstance(instance, str):
        found = _finds(pattern, instance)
        if found is None:
            yield ValidationError(f"a text of {len(instance)} characters is too long for the pattern {pattern}")
        elif not found:
            yield ValidationError(f"does not match {pattern}")


def _pattern_properties(
    validator: Any, patterns: dict[str, Json], instance: Json, schema: Json
) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        for pattern, inner in patterns.items():
            for name, value in instance.items():
                if _finds(pattern, name) is not False:
                    yield from validator.descend(value, inner, path=name, schema_path=pattern)


def _additional_properties(
    validator: Any, wanted: Json, instance: Json, schema: dict[str, Json]
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    extras = [
        name
        for name in instance
        if name not in known and not any(_finds(pattern, name) is not False for pattern in patterns)
    ]
    if isinstance(wanted, dict):
        for name in extras:
            yield from validator.descend(instance[name], wanted, path=name)
    elif not wanted and extras:
        listed = ", ".join(repr(name) for name in extras)
        yield ValidationError(f"additional properties are not allowed ({listed} were unexpected)")


def _unique_items(validator: Validator, wanted: Json, instance: Json, schema: Json) -> Iterator[ValidationError]:
    if wanted and isinstance(instance, list):
        seen: set[Any] = set()
        for item in map(_hashable, instance):
            if item in seen:
                yield ValidationError("has non-unique elements")
                return
            seen.add(item)


def _hashable(value: Json) -> Any:
    """Equal for equal JSON values: 1 is 1.0 and is not true."""
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, list):
        return ("list", *map(_hashable, value))
    if isinstance(value, dict):
        return ("object", frozenset((name, _hashable(member)) for name, member in value.items()))
    return value


FORMATS = jsonschema.FormatChecker(formats=())
FORMATS.checkers = dict(jsonschema.Draft202012Validator.FORMAT_CHECKER.checkers)


@FORMATS.checks("regex")
def _is_pattern(value: Json) -> bool:
    return not isinstance(value, str) or pattern_fault(value) is None


SafeValidator: type[Validator] = extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft202012Validator,
    {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "uniqueItems": _unique_items,
    },
    format_checker=FORMATS,
)
"""Draft 2020-12. Its schemas hold no ``patternProperties`` beside ``unevaluatedProperties``: see ``mixes_patterns``."""


def mixes_patterns(schema: Json) -> bool:
    """Whether a schema asks for what only ``re`` could answer: members that no pattern has named."""
    words = set(_keywords(schema))
    return {"patternProperties", "unevaluatedProperties"} <= words


def _keywords(schema: Json) -> Iterator[str]:
    if isinstance(schema, dict):
        yield from schema
        for member in schema.values():
            yield from _keywords(member)
    elif isinstance(schema, list):
        for item in schema:
            yield from _keywords(item)
