"""What is well formed and could never do what it says is refused when it is loaded, with its place and the cure."""

from __future__ import annotations

from typing import Any

import pytest

HTTP = "type: http, config: {url: 'https://x.example'}"
WAIT = "{type: wait, config: {duration: 1}}"
TOP = "id: f\ninputs: {n: integer, who: string}\nsteps:\n"


def flow(steps: str, top: str = "") -> str:
    """A flow with these steps; the first is on line 4, or one further down for every line of ``top``."""
    return top + TOP + "".join(f"  {line}\n" for line in steps.splitlines())


def race(wait_for: str, counts: str = "true") -> str:
    return f"- {{id: r, parallel: {{wait_for: {wait_for}, branches: [{{id: a, counts: {counts}, {HTTP}}}, {{id: b, counts: {counts}, {HTTP}}}]}}}}"


BAD = {
    "an empty event": ("- {type: wait-for-event, config: {event: ''}}", "4:44: the event has no name: nothing could end this wait (for example `order.paid`)"),
    "a blank event": ("- {type: wait-for-event, config: {event: ' '}}", "the event has no name"),
    "an empty list of events": ("- {type: wait-for-event, config: {event: []}}", "4:44: the list of events is empty"),
    "a blank event in a list": ("- {type: wait-for-event, config: {event: [paid, '']}}", "4:51: the event has no name"),
    "a member no event has": ("- {type: wait-for-event, config: {event: paid, correlate: {orderid: '{{ inputs.n }}'}}}", "4:62: an event has no `orderid` (what was sent with it is under `data`: `data.orderid`)"),
    "a misspelled member": ("- {type: wait-for-event, config: {event: paid, correlate: {dta.orderid: 1}}}", "an event has no `dta` (did you mean `data`?)"),
    "no member": ("- {type: wait-for-event, config: {event: paid, correlate: {'': 1}}}", "`` names no member of an event (names joined by dots, for example `data.order_id`)"),
    "half a member": ("- {type: wait-for-event, config: {event: paid, correlate: {'data.': 1}}}", "`data.` names no member of an event"),
    "a member in brackets": ("- {type: wait-for-event, config: {event: paid, correlate: {\"data['id']\": 1}}}", "`data['id']` names no member of an event"),
    "a signal that decides a task": ("- {id: ok, type: human-task, config: {assignee: x}}\n- {type: wait-for-event, config: {signal: ok}}", "5:45: the signal `ok` is the name under which the human task at line 4 is decided"),
    "items that are true": (f"- {{type: for-each, config: {{items: true, steps: [{WAIT}]}}}}", "4:38: `items` is true, which has no elements (give a list, an object, or how many passes there are)"),
    "items that are nothing": (f"- {{type: for-each, config: {{items: null, steps: [{WAIT}]}}}}", "`items` is nothing"),
    "items that are text": (f"- {{type: for-each, config: {{items: \"'abc'\", steps: [{WAIT}]}}}}", "`items` is text, which has no elements"),
    "fewer than no items": (f"- {{type: for-each, config: {{items: -1, steps: [{WAIT}]}}}}", "`items` is -1, which is no number of passes"),
    "fewer than no items, computed": (f"- {{type: for-each, config: {{items: '1 - 3', steps: [{WAIT}]}}}}", "`items` is -2, which is no number of passes"),
    "half an item": (f"- {{type: for-each, config: {{items: 1.5, steps: [{WAIT}]}}}}", "`items` is 1.5, which is no number of passes"),
    "a misspelled race": (race("most"), "4:34: `most` is nothing to wait for (there is `all`, `any`, `majority`, or give a number or an expression)"),
    "a race of text": (race("\"'any'\""), "`wait_for` is text"),
    "a race of a fraction": (race("'0.5'"), "`wait_for` is 0.5"),
    "a race out of reach": (race("3"), "4:34: `wait_for` is 3, but 2 of the branches can count: it could never be reached"),
    "a race nobody runs in": (race("any", "false"), "no branch of `r` counts, so none can end it"),
    "a loop without a bound": (f"- {{type: while, config: {{while: 'true', steps: [{WAIT}]}}}}", "a while needs a bound: give `max_iterations`, `timeout` or both"),
    "an unknown type to allow": ("- {type: run-steps, config: {steps: '{{ inputs.who }}', allow: [http, htp]}}", "4:73: unknown step type `htp` (did you mean `http`?)"),
    "computing steps in computed steps": ("- {type: run-steps, config: {steps: '{{ inputs.who }}', allow: [run-steps]}}", "computed steps cannot compute further steps"),
    "undoing what undoes": (f"- {{id: a, {HTTP}, compensate: {{id: b, {HTTP}, compensate: {{{HTTP}}}}}}}", "4:129: `b` is part of the compensation of `a`, and what undoes is not undone itself"),
    "undoing what undoes, deeper": (f"- {{id: a, {HTTP}, compensate: {{id: b, steps: [{{id: c, {HTTP}, compensate: {{{HTTP}}}}}]}}}}", "`c` is part of the compensation of `a`"),
    "when to undo nothing": (f"- {{id: a, {HTTP}, compensate_on: attempted}}", "4:61: `compensate_on` does nothing on `a`: it has no `compensate`"),
    "when to undo nothing, on a saga": (f"- {{id: a, type: saga, compensate_on: attempted, config: {{steps: [{WAIT}]}}}}", "(for all steps of a saga it belongs into the saga's config)"),
    "itself for ever": ("- {id: again, type: flow, config: {flow: f}}", "4:5: step `again`: every run of `f` would start `f` again, without end (put the step under an `if`"),
    "itself for ever, deep inside": (f"- parallel: [{{id: b, {HTTP}}}, {{id: c, steps: [{{id: again, type: flow, config: {{flow: f}}}}]}}]", "step `again`: every run of `f` would start `f` again"),
    "itself for ever, caught": ("- {id: t, type: try, config: {steps: [{id: again, type: flow, config: {flow: f, wait: false}}], catch: [{steps: []}]}}", "without end"),
}  # fmt: skip


@pytest.mark.parametrize(("steps", "said"), BAD.values(), ids=BAD.keys())
def test_what_could_never_work_is_refused_with_the_cure(problems: Any, steps: str, said: str) -> None:
    found = problems(flow(steps))
    assert len(found) == 1, found
    assert said in found[0]


@pytest.mark.parametrize(
    "steps",
    [
        "- {type: wait-for-event, config: {event: '{{ inputs.who }}', correlate: {data.order.id: 1, type: x}}}",
        "- {type: wait-for-event, config: {event: [paid, refused], mode: all}}",
        "- {id: a, type: human-task, config: {assignee: x}}\n- {type: wait-for-event, config: {signal: b}}",
        f"- {{type: for-each, config: {{items: 0, steps: [{WAIT}]}}}}",
        f"- {{type: for-each, config: {{items: 3, steps: [{WAIT}]}}}}",
        f"- {{type: for-each, config: {{items: [], steps: [{WAIT}]}}}}",
        f"- {{type: for-each, config: {{items: {{a: 1}}, steps: [{WAIT}]}}}}",
        f"- {{type: for-each, config: {{items: 'inputs.n', steps: [{WAIT}]}}}}",
        f"- {{type: for-each, config: {{items: '[1, 2]', steps: [{WAIT}]}}}}",
        f"- {{type: for-each, config: {{items: 'now()', steps: [{WAIT}]}}}}",
        *(race(word) for word in ("all", "any", "majority", "2", "1", "'{{ inputs.n }}'", "inputs.n + 1")),
        f"- {{id: e, type: for-each, config: {{items: 2, as: n, steps: [{race('n')[2:]}]}}}}",
        f"- {{id: a, {HTTP}, compensate: {{{HTTP}}}, compensate_on: attempted}}",
        "- {id: x, if: inputs.n > 0, type: flow, config: {flow: f}}",
        "- {id: c, type: condition, config: {if: inputs.n > 0, then: [{id: x, type: flow, config: {flow: f}}]}}",
        "- {id: s, type: switch, config: {value: inputs.n, cases: [{equals: 1, steps: [{type: flow, config: {flow: f}}]}]}}",
        "- {id: e, type: for-each, config: {items: '[]', steps: [{id: x, type: flow, config: {flow: f}}]}}",
        "- {id: t, type: try, config: {steps: [], catch: [{steps: [{type: flow, config: {flow: f}}]}]}}".replace("steps: []", f"steps: [{WAIT}]"),
        f"- {{id: a, {HTTP}, on_error: [{{type: flow, config: {{flow: f}}}}]}}",
        "- {type: flow, config: {flow: other}}",
        "- {type: flow, config: {flow: '{{ inputs.who }}'}}",
        "- {type: flow, config: {flow: f, version: 1}}",
        "- {id: c, type: condition, config: {if: inputs.n > 0, then: [{type: return, config: {}}]}}\n- {type: flow, config: {flow: f}}",
        "- {id: ok, type: human-task, config: {assignee: x}}\n- {type: flow, config: {flow: f}}",
        f"- {{id: r, parallel: {{wait_for: any, branches: [{{id: a, {HTTP}}}, {{id: x, type: flow, config: {{flow: f}}}}]}}}}",
    ],
)  # fmt: skip
def test_what_may_work_is_left_alone(load: Any, steps: str) -> None:
    load(flow(steps))


EXPRESS = "defaults: {durability: express, timeout: 5s}\n"
NEEDS = "express needs `timeout: 5s` (or less), on the step or in `defaults`"
SLOW = "`a` is express, and one attempt may take {} s; at most 5 s are allowed"


@pytest.mark.parametrize(
    ("top", "step", "said"),
    [
        ("defaults: {durability: express}\n", f"{{id: a, {HTTP}}}", f"5:5: {SLOW.format(300)} ({NEEDS})"),
        (EXPRESS, f"{{id: a, {HTTP}, timeout: 6s}}", f"5:61: {SLOW.format(6)} ({NEEDS})"),
        (EXPRESS, f"{{id: a, {HTTP}, timeout: {{attempt: 10s}}}}", SLOW.format(10)),
        ("", f"{{id: b, defaults: {{durability: express}}, steps: [{{id: a, {HTTP}}}]}}", SLOW.format(300)),
        (EXPRESS, "{id: a, type: human-task, config: {assignee: x}}", "`a` is express, and a `human-task` step takes longer"),
        (EXPRESS, "{id: a, type: agent, config: {goal: x, model: m}}", "`a` is express, and a `agent` step takes longer"),
        (EXPRESS, f"{{id: a, {HTTP}, compensate: {{{HTTP}}}}}", "`a` is express: a crash may repeat it, so it is not known what to compensate"),
        (EXPRESS, f"{{id: a, {HTTP}, at_most_once: true}}", "which `at_most_once` rules out"),
        (EXPRESS, "{id: a, type: function, config: {handler: x, task_queue: java}}", "`a` is express, and the queue `java` is another program's"),
        (EXPRESS, "{id: a, type: function, task_queue: java, config: {handler: x}}", "`a` is express, and the queue `java` is another program's"),
    ],
)  # fmt: skip
def test_what_express_cannot_promise_is_refused(problems: Any, top: str, step: str, said: str) -> None:
    found = problems(flow(f"- {step}", top))
    assert len(found) == 1, found
    assert said in found[0]


@pytest.mark.parametrize(
    ("top", "steps"),
    [
        (EXPRESS, f"- {{id: a, {HTTP}}}\n- {WAIT}\n- {{id: b, {HTTP}, timeout: 500ms}}"),
        (EXPRESS, "- {type: wait-for-event, config: {event: paid}}\n- {type: flow, config: {flow: other}}"),
        (EXPRESS, "- {type: function, config: {handler: x, task_queue: orchestrator-gpu}}"),
        (EXPRESS, "- {type: function, config: {handler: x, task_queue: '{{ inputs.who }}'}}"),
        ("defaults: {durability: express}\n", f"- {{id: b, defaults: {{timeout: {{attempt: 1s}}}}, steps: [{{{HTTP}}}]}}"),
        (EXPRESS, "- {id: b, defaults: {durability: step}, steps: [{type: human-task, config: {assignee: x}}]}"),
        (EXPRESS, f"- {{id: b, defaults: {{durability: step, timeout: 1h}}, steps: [{{id: a, {HTTP}, compensate: {{{HTTP}}}}}]}}"),
    ],
)  # fmt: skip
def test_what_express_can_promise_is_left_alone(load: Any, top: str, steps: str) -> None:
    load(flow(steps, top))


def test_express_holds_in_handlers_too(problems: Any) -> None:
    text = flow(f"- {WAIT}", EXPRESS) + f"error_handling: {{finally: [{{id: a, {HTTP}, timeout: 1m}}]}}\n"
    [problem] = problems(text)
    assert SLOW.format(60) in problem


JAVA = "type: function, config: {handler: x, task_queue: java}"


@pytest.mark.parametrize(
    ("top", "step", "said"),
    [
        ("", f"{{id: a, {JAVA}, retry: {{backoff: fixed}}}}", "4:86: `a` is retried on the queue `java` of another program, which knows no fixed backoff (write `backoff: exponential`, with `multiplier: 1` for the same wait every time)"),
        ("defaults: {retry: {backoff: linear}}\n", f"{{id: a, {JAVA}}}", "5:62: `a` is retried on the queue `java` of another program, which knows no linear backoff"),
        ("defaults: {retry: {backoff: fixed}, task_queue: java}\n", "{id: a, type: function, config: {handler: x}}", "5:5: `a` is retried on the queue `java`"),
    ],
)  # fmt: skip
def test_another_programs_worker_knows_exponential_backoff_only(problems: Any, top: str, step: str, said: str) -> None:
    found = problems(flow(f"- {step}", top))
    assert len(found) == 1, found
    assert said in found[0]


@pytest.mark.parametrize(
    "step",
    [
        f"{{{JAVA}}}",
        f"{{{JAVA}, retry: {{backoff: exponential, multiplier: 1}}}}",
        f"{{{JAVA}, retry: {{backoff: fixed, max_attempts: 1}}}}",
        f"{{{JAVA}, retry: none}}",
        "{type: function, config: {handler: x}, retry: {backoff: fixed}}",
        "{type: function, config: {handler: x, task_queue: orchestrator-gpu}, retry: {backoff: fixed}}",
    ],
)
def test_backoffs_our_workers_know_are_left_alone(load: Any, step: str) -> None:
    load(flow(f"- {step}"))
