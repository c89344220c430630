"""Arguments against the schema that an MCP server declares for a tool: in bounded time, without a network, and with
the last word left to the server where its schema is of no use."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

from orchestrator.errors import FieldProblem
from orchestrator.spec.inputs import field_problems
from orchestrator.spec.validator import FORMATS, SafeValidator, mixes_patterns

Json = Any
Rule = Callable[[Validator, Any, Any, Any], Iterator[ValidationError]]

_LONGEST = 100_000
"""Characters a schema may have to be looked at."""
_SHORT = 8_000
_QUICK = 20_000
_MOST = 500_000
"""Work one check may be: rules asked, each times its depth, some hundred thousand in a second. Schemas may refer to
themselves from many sides."""
_REGISTRY: Registry[Any] = Registry()
"""Without a way to fetch anything."""


class Unusable(Exception):
    """The schema says nothing that can be checked here; ``str`` is why."""


class _TooMuch(Exception):
    """A check asks more rules than it may."""


async def check_arguments(schema: dict[str, Json], arguments: dict[str, Json]) -> list[FieldProblem]:
    """Every way in which the arguments miss the tool's schema. Raises Unusable where only the server can tell."""
    text = json.dumps(schema, sort_keys=True)
    if len(text) > _LONGEST:
        raise Unusable(f"the schema has {len(text)} characters")
    if len(text) <= _SHORT:
        with contextlib.suppress(_TooMuch):
            return _checked(text, arguments, _QUICK)
    try:
        # What takes longer must not hold up the worker's other steps.
        return await asyncio.to_thread(_checked, text, arguments, _MOST)
    except _TooMuch as error:
        raise Unusable("it takes too long to follow") from error


def _checked(text: str, arguments: dict[str, Json], work: int) -> list[FieldProblem]:
    validator = _validator(text)
    token = _METER.set(_Meter(work))
    try:
        return field_problems(validator.iter_errors(arguments))
    except Unresolvable as error:
        raise Unusable(f"it refers to {error.ref!r}, which is not in it") from error
    except RecursionError as error:
        raise _TooMuch from error
    finally:
        _METER.reset(token)


@lru_cache(maxsize=512)
def _validator(text: str) -> Validator:
    schema = json.loads(text)
    try:
        Draft202012Validator.check_schema(schema, format_checker=FORMATS)
    except SchemaError as error:
        raise Unusable(f"it is no JSON Schema: {error.message[:200]}") from error
    except RecursionError as error:
        raise Unusable("it is nested too deeply") from error
    if mixes_patterns(schema):
        raise Unusable("it uses `patternProperties` beside `unevaluatedProperties`")
    return _Metered(schema, registry=_REGISTRY, format_checker=FORMATS)


class _Meter:
    """What is left of the work one check may be."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.depth = 0


_METER: ContextVar[_Meter] = ContextVar("orchestrator_mcp_schema_meter")


def _metered(rule: Rule) -> Rule:
    def counted(validator: Validator, wanted: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        meter = _METER.get()
        meter.depth += 1
        meter.left -= meter.depth
        if meter.left < 0:
            raise _TooMuch
        try:
            yield from rule(validator, wanted, instance, schema) or ()
        finally:
            meter.depth -= 1

    return counted


_Metered: type[Validator] = extend(  # type: ignore[no-untyped-call]
    SafeValidator,
    {name: _metered(rule) for name, rule in SafeValidator.VALIDATORS.items()},
    format_checker=FORMATS,
)
