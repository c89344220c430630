"""Any JSON value whose strings are templates: what stands under ``config``, ``output``, ``vars`` and trigger inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from orchestrator.expressions.errors import ExpressionError, ExpressionSyntaxError, Fault
from orchestrator.expressions.lexer import Names
from orchestrator.expressions.limits import MAX_DEPTH, Meter
from orchestrator.expressions.template import Late, Template, compile_template
from orchestrator.expressions.tree import Reference
from orchestrator.expressions.values import Json, Scope, check_size, to_text

Place = tuple[str | int, ...]
_Render = Callable[[Scope, Meter, list[dict[str, Any]]], Json]


@dataclass
class Rendered:
    """A value with its templates filled in. Late names stay out: ``late`` lists where they belong and around which
    text, ``value`` holds None at those places. Nothing in ``value`` is ever searched for names again."""

    value: Json
    late: list[dict[str, Any]] = field(default_factory=list)


class CompiledValue:
    """A compiled value. ``static`` where it holds no template at all: then rendering gives the value
    itself."""

    __slots__ = ("_parts", "_render", "late_names", "references", "static")

    def __init__(self, value: Json, names: Names) -> None:
        builder = _Builder(names)
        self._render = builder.build(value, ())
        self._parts = builder.parts
        self.references: tuple[Reference, ...] = tuple(builder.references)
        self.late_names: tuple[str, ...] = tuple(builder.late_names)
        self.static: bool = self._render is None
        if self._render is None:
            self._render = lambda scope, meter, late: value

    def render(self, scope: Scope, meter: Meter) -> Rendered:
        """The value in the scope given; one evaluation, however many templates it holds. Raises
        ExpressionError."""
        assert self._render is not None, "set by the constructor"
        late: list[dict[str, Any]] = []
        try:
            meter.begin(self._parts)
            value = self._render(scope, meter, late)
            if not self.static:
                check_size(value, meter)
        except Fault as fault:
            # Not the fault of one template: the sum of them is too much.
            raise ExpressionError(fault.explain()) from None
        return Rendered(value, late)


def compile_value(value: Json, names: Names) -> CompiledValue:
    """The value with every string in it compiled as a template; keys of objects are taken as they are. Raises
    ExpressionSyntaxError for the first bad one."""
    return CompiledValue(value, names)


class _Builder:
    """Walks a value once; None stands for a part that needs no rendering."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self.references: list[Reference] = []
        self.late_names: list[str] = []
        self.parts = 0

    def build(self, value: Json, place: Place) -> _Render | None:
        if len(place) > MAX_DEPTH:
            raise ExpressionSyntaxError(f"the limit of {MAX_DEPTH} levels of nesting in a value is exceeded")
        if isinstance(value, str):
            template = compile_template(value, self._names)
            return self._template(template, place) if template is not None else None
        if isinstance(value, list):
            return self._list(value, place)
        if isinstance(value, dict):
            return self._object(value, place)
        return None

    def _list(self, value: list[Json], place: Place) -> _Render | None:
        rendered = {}
        for index, item in enumerate(value):
            render = self.build(item, (*place, index))
            if render is not None:
                rendered[index] = render
        if not rendered:
            return None

        def run(scope: Scope, meter: Meter, late: list[dict[str, Any]]) -> Json:
            result = list(value)
            for index, render in rendered.items():
                result[index] = render(scope, meter, late)
            return result

        return run

    def _object(self, value: dict[str, Json], place: Place) -> _Render | None:
        rendered = {}
        for key, item in value.items():
            render = self.build(item, (*place, key))
            if render is not None:
                rendered[key] = render
        if not rendered:
            return None

        def run(scope: Scope, meter: Meter, late: list[dict[str, Any]]) -> Json:
            result = dict(value)
            for key, render in rendered.items():
                result[key] = render(scope, meter, late)
            return result

        return run

    def _template(self, template: Template, place: Place) -> _Render:
        self.references.extend(template.references)
        self.late_names.extend(name for name in template.late_names if name not in self.late_names)
        self.parts += template.parts + len(template.segments)

        def run(scope: Scope, meter: Meter, late: list[dict[str, Any]]) -> Json:
            try:
                if template.late_names:
                    late.append({"path": list(place), "parts": _late_parts(template, scope, meter)})
                    return None
                return _filled(template, scope, meter)
            except Fault as fault:
                raise ExpressionError(fault.explain(), template.source, fault.offset or 0) from None

        return run


def _filled(template: Template, scope: Scope, meter: Meter) -> Json:
    """A text with its expressions filled in; one expression alone keeps the type of its value."""
    if len(template.segments) == 1:
        only = template.segments[0]
        return only(scope, meter) if callable(only) else only
    texts = [
        to_text(segment(scope, meter), meter) if callable(segment) else segment
        for segment in template.segments
        if not isinstance(segment, Late)
    ]
    meter.charge_text(sum(map(len, texts)))
    return "".join(texts)


def _late_parts(template: Template, scope: Scope, meter: Meter) -> list[Json]:
    """The pieces of a text with late names: text, where neighbours are put together, and ``{"name": …}``."""
    parts: list[Json] = []
    for segment in template.segments:
        if isinstance(segment, Late):
            parts.append({"name": segment.name})
            continue
        text = to_text(segment(scope, meter), meter) if callable(segment) else segment
        meter.charge_text(len(text))
        if parts and isinstance(parts[-1], str):
            parts[-1] += text
        else:
            parts.append(text)
    check_size(parts, meter)
    return parts
