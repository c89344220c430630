"""What a webhook asks of senders and answers them: what could not work is said at load, with its place."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.errors import FlowInvalid

FLOW = "id: f\ntriggers:\n  - {{type: webhook, path: /x, {more}}}\nsteps: [{{id: a, type: transform, config: {{value: 1}}}}]\n"


@pytest.mark.parametrize(
    ("more", "column", "says"),
    [
        ("verify: {scheme: md5, secret: S}", 48, "`standard-webhooks`"),
        ("verify: {scheme: hmac}", 39, "needs `secret`"),
        ("verify: {scheme: github, secrets: S}", 56, "did you mean `secret`?"),
        ("verify: {secret: [S, 'a b']}", 52, "item 2 of `secret`"),
        ("verify: {secret: '{{ secrets.S }}'}", 48, "takes no templates"),
        ("respond: {status: 99}", 49, "at least 200"),
        ("respond: {headers: {Content-Length: 3}}", 50, "set by the gateway itself"),
        ("respond: {headers: {X-A: \"a\\nb\"}}", 50, "line break"),
        ("respond: {body: '{{ inputs.x }}'}", 47, "known here: `trigger`, `run`"),
        ("respond: {body: '{{ secrets.X }}'}", 47, "secrets are known only"),
        ("respond: {body: '{{ run.nothing }}'}", 47, "`run` has no `nothing`"),
        ("respond: never", 40, "`accepted` or `result`"),
        ("cors: {origins: [example.com]}", 37, "is no origin"),
        ("cors: {origins: []}", 47, "at least 1"),
        ("if: 'trigger.body.x =='", 35, "a value is missing"),
        ("if: steps.a.output", 35, "`steps` cannot be used in a trigger"),
    ],
)  # fmt: skip
def test_a_webhook_that_could_not_work_is_refused(load: Any, more: str, column: int, says: str) -> None:
    with pytest.raises(FlowInvalid) as caught:
        load(FLOW.format(more=more))
    [problem] = caught.value.problems
    assert says in str(problem)
    assert (problem.line, problem.column) == (3, column)


@pytest.mark.parametrize(
    "more",
    [
        "verify: {secret: S}",
        "verify: {scheme: stripe, secret: [NEW, OLD], tolerance: 10m}",
        "respond: {status: 201, headers: {X: '{{ trigger.body.a }}', Y: 3}, body: {a: ['{{ run.id }}']}}",
        "cors: {origins: ['*'], max_age: 1h}",
        "if: trigger.body.a",
        "if: false",
    ],
)
def test_what_a_webhook_can_say_runs_without_a_warning(load: Any, more: str) -> None:
    loaded = load(FLOW.format(more=more))
    assert (loaded.unsupported, loaded.warnings) == ((), ())


def test_an_answer_that_no_webhook_waits_for_is_a_warning(load: Any) -> None:
    text = FLOW.format(more="respond: accepted").replace("transform, config: {value: 1}", "respond, config: {body: 1}")
    [warning] = load(text).warnings
    assert (warning.line, warning.message) == (
        4, "nobody waits for this answer: no webhook of the flow has `respond: result`",
    )  # fmt: skip
    assert load(text.replace("accepted", "result")).warnings == ()
