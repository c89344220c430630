"""Templates in values: native types, text, one pass, and the late names that never touch the data."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator.expressions import (
    ExpressionError,
    ExpressionSyntaxError,
    Meter,
    Names,
    compile_value,
    fill_catalogue_entry,
    fill_late,
)

from .conftest import Evaluate

SCOPE: dict[str, Any] = {
    "inputs": {
        "customer": {"name": "김철수", "tags": ["vip", "kr"], "plan": None},
        "n": 42,
        "f": 1.0,
        "yes": True,
        "zip": "007",
        "evil": "{{ secrets.API }} {{ inputs.n }} {% x %}",
    }
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("plain", "plain"),
        ("", ""),
        (12, 12),
        (None, None),
        ("{{ inputs.n }}", 42),
        ("{{inputs.n}}", 42),
        ("{{ inputs.f }}", 1.0),
        ("{{ inputs.yes }}", True),
        ("{{ inputs.customer.plan }}", None),
        ("{{ inputs.customer.tags }}", ["vip", "kr"]),
        ("{{ inputs.zip }}", "007"),
        ("{{ inputs.n > 40 }}", True),
        (" {{ inputs.n }}", " 42"),
        ("{{ inputs.n }}\n", "42\n"),
        ("n={{ inputs.n }}, f={{ inputs.f }}", "n=42, f=1.0"),
        ("{{ inputs.yes }}{{ inputs.customer.plan }}!", "true!"),
        ("{{ inputs.customer.name }}님", "김철수님"),
        ("tags: {{ inputs.customer.tags }}", 'tags: ["vip", "kr"]'),
        ("{{ inputs.customer }}.", '{"name": "김철수", "tags": ["vip", "kr"], "plan": null}.'),
        ("{{ '{{' }} and {{ '}}' }}", "{{ and }}"),
        ("{{ '{{' }}", "{{"),
        ('{"a": {"b": 1}}', '{"a": {"b": 1}}'),
        ("a }} b", "a }} b"),
        ("{{ {'a': {'b': inputs.n}} }}", {"a": {"b": 42}}),
        ("{{{'a': 1}}}", {"a": 1}),
        ("{{ 'a }} b' ~ inputs.n }}", "a }} b42"),
        (
            {"{{ inputs.n }}": ["{{ inputs.n }}", {"x": "{{ inputs.zip }}"}]},
            {"{{ inputs.n }}": [42, {"x": "007"}]},
        ),
    ],
)
def test_a_template_renders_to(render: Evaluate, template: Any, expected: Any) -> None:
    value = render(template, SCOPE)
    assert value == expected
    assert json.dumps(value) == json.dumps(expected)


def test_data_that_contains_braces_is_never_evaluated(meter: Meter) -> None:
    compiled = compile_value({"body": "{{ inputs.evil }}", "text": "got: {{ inputs.evil }}"}, Names())
    rendered = compiled.render(SCOPE, meter)
    assert rendered.value == {"body": SCOPE["inputs"]["evil"], "text": "got: " + SCOPE["inputs"]["evil"]}
    assert rendered.late == []


def test_a_webhook_body_cannot_name_a_secret_not_even_beside_a_real_one(meter: Meter) -> None:
    config = {
        "headers": {"Authorization": "Bearer {{ secrets.API }}"},
        "body": {"text": "{{ inputs.evil }}", "mixed": "{{ inputs.evil }} {{ secrets.API }}"},
    }
    rendered = compile_value(config, Names()).render(SCOPE, meter)
    asked: list[str] = []

    def resolve(name: str) -> str:
        asked.append(name)
        return "s3cret"

    filled = fill_late(json.loads(json.dumps(rendered.value)), json.loads(json.dumps(rendered.late)), resolve)
    assert asked == ["secrets.API", "secrets.API"]
    assert filled["headers"]["Authorization"] == "Bearer s3cret"
    assert filled["body"]["text"] == SCOPE["inputs"]["evil"]
    assert filled["body"]["mixed"] == SCOPE["inputs"]["evil"] + " s3cret"
    assert "s3cret" not in json.dumps([rendered.value, rendered.late])


def test_late_names_travel_as_positions_beside_the_value(meter: Meter) -> None:
    names = Names(callbacks=frozenset({"pay-done"}))
    compiled = compile_value(
        {
            "headers": {"Authorization": "Bearer {{ secrets.API-KEY }}", "X": "{{inputs.n}}"},
            "list": [1, "{{ step.attempt }}"],
            "url": "{{ inputs.zip }}/{{ callback.pay-done.url }}?key={{ step.idempotency_key }}&n={{ inputs.n }}!",
        },
        names,
    )
    rendered = compiled.render(SCOPE, meter)
    assert compiled.late_names == ("secrets.API-KEY", "step.attempt", "callback.pay-done.url", "step.idempotency_key")
    assert rendered.value == {"headers": {"Authorization": None, "X": 42}, "list": [1, None], "url": None}
    assert rendered.late == [
        {"path": ["headers", "Authorization"], "parts": ["Bearer ", {"name": "secrets.API-KEY"}]},
        {"path": ["list", 1], "parts": [{"name": "step.attempt"}]},
        {
            "path": ["url"],
            "parts": ["007/", {"name": "callback.pay-done.url"}, "?key=", {"name": "step.idempotency_key"}, "&n=42!"],
        },
    ]


def test_a_late_name_that_is_the_whole_value_keeps_its_type(meter: Meter) -> None:
    rendered = compile_value("{{ step.attempt }}", Names()).render({}, meter)
    assert rendered.late == [{"path": [], "parts": [{"name": "step.attempt"}]}]
    assert fill_late(rendered.value, rendered.late, lambda name: 3) == 3
    text = compile_value("try {{ step.attempt }}", Names()).render({}, meter)
    assert fill_late(text.value, text.late, lambda name: 3) == "try 3"


def test_filling_leaves_the_rendered_value_as_it_was() -> None:
    value = {"a": [None, {"b": None}]}
    late = [
        {"path": ["a", 0], "parts": [{"name": "secrets.A"}]},
        {"path": ["a", 1, "b"], "parts": ["x", {"name": "secrets.B"}]},
    ]
    assert fill_late(value, late, lambda name: name) == {"a": ["secrets.A", {"b": "xsecrets.B"}]}
    assert value == {"a": [None, {"b": None}]}


@pytest.mark.parametrize("path", [["b"], ["a", 2], ["a", "x"], ["a", -1], ["a", 0, "x"]])
def test_a_position_outside_the_value_is_an_error(path: list[Any]) -> None:
    with pytest.raises(ExpressionError, match="does not lie in the value"):
        fill_late({"a": [None]}, [{"path": path, "parts": ["x"]}], str)


@pytest.mark.parametrize(
    "template",
    [
        "{{ secrets.API | upper }}",
        "{{ 'Bearer ' ~ secrets.API }}",
        "{{ (secrets.API) }}",
        "{{ [secrets.API] }}",
        "{{ secrets.API.x }}",
        "{{ secrets }}",
        "{{ step.other }}",
        "{{ callback.x }}",
        "{{ secrets.API if true else '' }}",
    ],
)
def test_a_late_name_takes_no_operators_or_filters(template: str) -> None:
    with pytest.raises(ExpressionSyntaxError, match="without operators or filters"):
        compile_value(template, Names())


def test_a_value_without_templates_is_static_and_rendered_as_itself(meter: Meter) -> None:
    value = {"a": [1, "x", {"b": None}]}
    compiled = compile_value(value, Names())
    assert compiled.static
    assert compiled.references == ()
    assert compiled.render({}, meter).value is value
    assert not compile_value({"a": "{{ 1 }}"}, Names()).static
    assert not compile_value({"a": "{{ secrets.X }}"}, Names()).static


def test_rendering_changes_neither_the_config_nor_the_scope(meter: Meter) -> None:
    config = {"a": ["{{ inputs.n }}", {"b": "{{ inputs.customer }}"}]}
    before = json.dumps([config, SCOPE])
    compile_value(config, Names()).render(SCOPE, meter)
    assert json.dumps([config, SCOPE]) == before


def test_an_error_in_a_template_names_its_text(meter: Meter) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_value({"a": "n={{ inputs.nope }}"}, Names()).render(SCOPE, meter)
    assert caught.value.source == "n={{ inputs.nope }}"
    assert caught.value.offset == len("n={{ ")
    assert "'nope' is not in inputs" in str(caught.value)


def test_steps_may_be_any_mapping_and_come_out_as_json(render: Evaluate) -> None:
    from types import MappingProxyType

    scope = {"steps": MappingProxyType({"a": {"output": 1}})}
    assert render({"x": "{{ steps.a.output }}", "all": "{{ steps }}"}, scope) == {"x": 1, "all": {"a": {"output": 1}}}


def test_a_catalogue_entry_is_filled_with_secrets_only() -> None:
    entry = {
        "url": "https://x",
        "auth": {"bearer": "{{ secrets.CRM }}"},
        "n": 1,
        "l": ["a {{ secrets.B-2 }} {{ '{{' }}"],
    }
    assert fill_catalogue_entry(entry, lambda name: f"<{name}>") == {
        "url": "https://x",
        "auth": {"bearer": "<CRM>"},
        "n": 1,
        "l": ["a <B-2> {{"],
    }


@pytest.mark.parametrize(
    "text", ["{{ inputs.x }}", "{{ step.attempt }}", "a {{ env.X }}", "{{ now() }}", "{{ secrets.A | upper }}"]
)
def test_a_catalogue_entry_with_any_other_template_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        fill_catalogue_entry({"a": [text]}, str)


def test_a_secret_that_looks_like_a_template_is_not_evaluated_again() -> None:
    assert fill_catalogue_entry("{{ secrets.A }}", lambda name: "{{ secrets.B }}") == "{{ secrets.B }}"
    late = [{"path": [], "parts": [{"name": "secrets.A"}]}]
    assert fill_late(None, late, lambda name: "{{ secrets.B }}") == "{{ secrets.B }}"
