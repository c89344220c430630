"""Which names an expression may use where, and the order of steps (FLOW_FORMAT §2, §3)."""

from __future__ import annotations

from typing import Any

import pytest

T = "type: transform, config: {value: "
DECLARED = "id: f\ninputs: {who: string}\nvars: {n: 0, m: 0}\nenv: {ZONE: UTC}\nsteps:\n"


def flow(steps: str, after: str = "") -> str:
    """A flow of steps, one per line; the first is on line 6."""
    return DECLARED + "".join(f"  {line}\n" for line in steps.splitlines()) + after


def read(name: str, expression: str) -> str:
    return f'{{id: {name}, type: transform, config: {{value: "{{{{ {expression} }}}}"}}}}'


GOOD = {
    "an earlier step": f"- {read('a', 'inputs.who')}\n- {read('b', 'steps.a.output')}",
    "a step in a block above": f"- {{id: blk, steps: [{read('a', '1')}]}}\n- {read('b', 'steps.a.output + steps.blk.output')}",
    "a branch of a parallel above": f"- parallel: [{read('a', '1')}, {read('b', '2')}]\n- {read('c', 'steps.a.output + steps.b.output')}",
    "a step above the block around": f"- {read('a', '1')}\n- {{id: blk, steps: [{read('b', 'steps.a.output')}]}}",
    "a need below": f"- {{id: a, needs: [b], {T}'{{{{ steps.b.output }}}}'}}}}\n- {{id: b, needs: [], {T}1}}}}",
    "a need of a need": f"- {read('a', '1')}\n- {{id: b, needs: [a], {T}1}}}}\n- {{id: c, needs: [b], {T}'{{{{ steps.a.output }}}}'}}}}",
    "a branch that needs another": f"- parallel:\n  - {read('a', '1')}\n  - {{id: b, needs: [a], {T}'{{{{ steps.a.output }}}}'}}}}",
    "a sibling in the same pass": f"- {{id: e, type: for-each, config: {{items: [1], steps: [{read('a', 'item')}, {read('b', 'steps.a.output + loop.index')}]}}}}",
    "the element under its own name": f"- {{id: e, type: for-each, config: {{items: [1], as: row, steps: [{read('a', 'row')}]}}}}",
    "the body in until": f"- {{id: w, type: while, config: {{until: steps.a.output == 1, max_iterations: 3, steps: [{read('a', '1')}]}}}}",
    "every step in fallback": f"- {read('a', '1')}",
    "a step inside on_error sees its own error": f"- {{id: a, type: fail, config: {{message: x}}, on_error: [{read('h', 'error.message ~ steps.a.error.type')}]}}",
    "error in catch": f"- {{id: t, type: try, config: {{steps: [{read('a', '1')}], catch: [{{steps: [{read('c', 'error.type')}]}}]}}}}",
    "compensation sees its step": "- {id: a, type: http, config: {url: 'https://x.example'}, compensate: {type: http, config: {url: 'https://x.example/{{ steps.a.output.body.id }}'}}}",
    "late names in an act": "- {id: a, type: http, config: {url: 'https://x.example', headers: {A: 'Bearer {{ secrets.API }}', B: '{{ step.attempt }}'}}}",
    "event in wait-for-event": "- {id: a, type: wait-for-event, config: {event: paid, if: event.data.id == inputs.who}}",
    "a callback's address": "- {id: a, type: http, config: {url: 'https://x.example', body: '{{ callback.cb.url }}'}}\n- {id: cb, type: wait-for-event, config: {callback: true}}",
    "the element in a compensation": "- {id: e, type: for-each, config: {items: [1], as: row, steps: [{id: a, type: http, config: {url: 'https://x.example'}, compensate: {type: http, config: {url: 'https://x.example/{{ row }}/{{ loop.index }}/{{ steps.a.output.body.id }}/{{ error.type }}'}}}]}}",
    "the loop around the loop": f"- {{id: e, type: for-each, config: {{items: [1], as: row, steps: [{{id: w, type: while, config: {{while: row > loop.count and loop.parent.index == 0, max_iterations: 3, steps: [{read('a', 'row + loop.parent.index + loop.previous')}]}}}}]}}}}",
    "the body of a for-each in its until": f"- {{id: e, type: for-each, config: {{items: [1], until: steps.a.output > item and loop.index > 1, steps: [{read('a', '1')}]}}}}",
    "a step above the loop in its items": f"- {read('a', '1')}\n- {{id: e, type: for-each, config: {{items: steps.a.output, steps: [{read('b', 'steps.a.output + item')}]}}}}",
    "the same pass in a handler": f"- {{id: e, type: for-each, config: {{items: [1], steps: [{read('a', 'item')}, {{id: t, type: try, config: {{steps: [{read('b', '1')}], catch: [{{steps: [{read('c', 'steps.a.status ~ steps.b.status ~ item ~ error.type')}]}}], finally: [{read('d', 'steps.b.status')}]}}}}]}}}}",
    "a loop's output": f"- {{id: e, type: for-each, config: {{items: [1], steps: [{read('a', 'item')}]}}}}\n- {read('b', 'steps.e.output ~ steps.e.errors')}",
    "a while's passes": f"- {{id: w, type: while, config: {{until: 'true', max_iterations: 3, steps: [{read('a', '1')}]}}}}\n- {read('b', 'steps.w.passes')}",
    "who won": f"- {{id: r, parallel: {{wait_for: any, branches: [{read('a', '1')}, {read('b', '2')}]}}}}\n- {read('c', 'steps.r.winner ~ steps.r.finished')}",
    "a step inside a saga from outside": f"- {{id: s, type: saga, config: {{steps: [{read('a', '1')}]}}}}\n- {read('b', 'steps.a.output ~ steps.s.output')}",
    "what a saga undoes": f"- {{id: s, type: saga, config: {{steps: [{read('a', '1')}]}}, compensate: [{read('u', 'steps.a.output ~ steps.s.output ~ error.message')}]}}",
    "the cache key of a step": "- {id: a, type: http, config: {url: 'https://x.example'}, cache: {key: '{{ inputs.who }}'}}",
    "names with hyphens and of any script": f"- {read('risk-check', '1')}\n- {read('심사', 'steps.risk-check.output')}\n- {read('c', 'steps.심사.output')}",
}  # fmt: skip


@pytest.mark.parametrize("steps", GOOD.values(), ids=GOOD.keys())
def test_what_is_over_by_then_may_be_named(load: Any, steps: str) -> None:
    load(flow(steps))


BAD = {
    "a step below": (f"- {read('a', 'steps.b.output')}\n- {read('b', '1')}", "6:46: step `b` is not over when step `a` reads it (`b` stands below `a`; move it up)"),
    "itself": (f"- {read('a', 'steps.a.output')}", "step `a` cannot read itself"),
    "the step around": (f"- {{id: blk, steps: [{read('a', 'steps.blk.output')}]}}", "`blk` is the step around `a` and not over before it"),
    "a branch beside": (f"- parallel: [{read('a', '1')}, {read('b', 'steps.a.output')}]", "(branches start together; give `b` `needs: [a]`)"),
    "a step not among the needs": (f"- {read('a', '1')}\n- {{id: b, needs: [], {T}1}}}}\n- {{id: c, needs: [b], {T}'{{{{ steps.a.output }}}}'}}}}", "(add `a` to the `needs` of `c`)"),
    "a step that is not waited for": (f"- {read('a', '1')}\n- {{id: c, needs: [], {T}'{{{{ steps.a.output }}}}'}}}}", "(add `a` to the `needs` of `c`)"),
    "the other branch of a condition": (f"- {{id: c, type: condition, config: {{if: 'true', then: [{read('a', '1')}], else: [{read('b', 'steps.a.output')}]}}}}", "(they are in different branches of `c`)"),
    "a step inside a loop from outside": (f"- {{id: e, type: for-each, config: {{items: [1], steps: [{read('a', 'item')}]}}}}\n- {read('b', 'steps.a.output')}", "step `a` lies inside the loop `e` and is visible only in the same pass (use `steps.e.output`)"),
    "an unknown step": (f"- {read('abc', '1')}\n- {read('b', 'steps.abd.output')}", "there is no step `abd` (did you mean `abc`?)"),
    "an unknown member of a record": (f"- {read('a', '1')}\n- {read('b', 'steps.a.outptu')}", "`steps.a` has no `outptu` (did you mean `output`?)"),
    "output forgotten": (f"- {read('a', '1')}\n- {read('b', 'steps.a.score')}", "`steps.a` has no `score` (did you mean `steps.a.output.score`?)"),
    "steps as a whole": (f"- {read('a', 'steps | length')}", "`steps` needs the name of a step"),
    "an undeclared input": (f"- {read('a', 'inputs.whom')}", "`inputs.whom` is not declared (did you mean `who`?)"),
    "an undeclared var": (f"- {read('a', 'vars.x')}", "`vars.x` is not declared (declare it at the top of the flow: `vars: {x: null}`)"),
    "an undeclared env": (f"- {read('a', 'env.x')}", "`env.x` is not declared"),
    "an unknown member of run": (f"- {read('a', 'run.ident')}", "`run` has no `ident`"),
    "an unknown root": (f"- {read('a', 'input.who')}", "`input` is no name (did you mean `inputs`?)"),
    "item outside a loop": (f"- {read('a', 'item')}", "`item` cannot be used in step `a` (`item` is known inside the body of a `for-each`)"),
    "item in a while": (f"- {{id: w, type: while, config: {{until: 'true', max_iterations: 3, steps: [{read('a', 'item')}]}}}}", "`item` cannot be used in step `a`"),
    "item under another name": (f"- {{id: e, type: for-each, config: {{items: [1], as: row, steps: [{read('a', 'item')}]}}}}", "`item` cannot be used in step `a`"),
    "a step in a loop from its items": (f"- {{id: e, type: for-each, config: {{items: steps.a.output, steps: [{read('a', '1')}]}}}}", "step `a` lies inside `e` and has not run when step `e` reads it"),
    "the element in the items": (f"- {{id: e, type: for-each, config: {{items: item, steps: [{read('a', '1')}]}}}}", "`item` cannot be used in step `e`"),
    "the element after the loop": (f"- {{id: e, type: for-each, config: {{items: [1], steps: [{read('a', '1')}], until: 'false'}}, on_error: [{read('b', 'item')}]}}", "`item` cannot be used in step `b`"),
    "the body in while": (f"- {{id: w, type: while, config: {{while: steps.a.output == 1, max_iterations: 3, steps: [{read('a', '1')}]}}}}", "step `a` lies inside `w` and has not run when step `w` reads it (`until` is checked after a pass and sees its steps)"),
    "an unknown member of loop": (f"- {{id: e, type: for-each, config: {{items: [1], steps: [{read('a', 'loop.number')}]}}}}", "`loop` has no `number` (there is `count`, `first`, `index`, `parent`, `previous`)"),
    "a name that is taken for the element": (f"- {{id: e, type: for-each, config: {{items: [1], as: steps, steps: [{read('a', '1')}]}}}}", "`steps` is taken: expressions know it already"),
    "the body of a try in its other steps' branch": (f"- {{id: t, type: try, config: {{steps: [{read('a', 'steps.c.output')}], catch: [{{steps: [{read('c', '1')}]}}]}}}}", "they are in different branches of `t`"),
    "another loop's pass in a handler": (f"- {{id: e, type: for-each, config: {{items: [1], steps: [{read('a', '1')}]}}}}\n- {{id: b, type: fail, config: {{message: x}}, on_error: [{read('c', 'steps.a.output')}]}}", "lies inside the loop `e`"),
    "the output in the cache key of a step": ("- {id: a, type: http, config: {url: 'https://x.example'}, cache: {key: '{{ steps.a.output }}'}}", "step `a` cannot read itself"),
    "a secret in a cache key": ("- {id: a, type: http, config: {url: 'https://x.example'}, cache: {key: '{{ secrets.K }}'}}", "`secrets.K` cannot be used in step `a`"),
    "a secret for a sub-flow": ("- {id: a, type: flow, config: {flow: other, inputs: {k: '{{ secrets.K }}'}}}", "`secrets.K` cannot be used in step `a`"),
    "error outside a handler": (f"- {read('a', 'error.type')}", "`error` cannot be used in step `a` (`error` is known in `catch`, `on_error`, `compensate`, `fallback` and `finally`)"),
    "event elsewhere": (f"- {read('a', 'event.id')}", "`event` cannot be used in step `a`"),
    "a secret where nothing is resolved": (f"- {read('a', 'secrets.K')}", "`secrets.K` cannot be used in step `a` (secrets are known only in the config of steps that act)"),
    "a secret in a human task": ("- {id: a, type: human-task, config: {assignee: x, title: '{{ secrets.K }}'}}", "`secrets.K` cannot be used in step `a`"),
    "a callback that is none": ("- {id: a, type: http, config: {url: 'https://x.example/{{ callback.a.url }}'}}", "`a` is no `wait-for-event` step with `callback: true`"),
    "a syntax error": (f"- {read('a', '1 &&')}", "6:46: write `and` instead of `&&`"),
    "a statement": ("- {id: a, type: transform, config: {value: '{% if x %}'}}", "`{% %}` is not available"),
    "a template as a key": ("- {id: a, type: transform, config: {value: {'{{ inputs.who }}': 1}}}", "keys take no templates (use the template as a value)"),
    "needs of nobody": (f"- {read('abc', '1')}\n- {{id: b, needs: [abd], {T}1}}}}", "7:21: there is no step `abd` beside `b` (did you mean `abc`?)"),
    "needs of a step elsewhere": (f"- {{id: blk, steps: [{read('a', '1')}]}}\n- {{id: b, needs: [a], {T}1}}}}", "`a` is not in the same list as `b` (`needs` names steps beside this one; name the block around it instead)"),
    "needs of itself": (f"- {{id: b, needs: [b], {T}1}}}}", "step `b` needs itself"),
    "a cycle": (f"- {{id: a, needs: [b], {T}1}}}}\n- {{id: b, needs: [c], {T}1}}}}\n- {{id: c, needs: [a], {T}1}}}}", "steps wait for each other: a → b → c → a"),
    "a cycle with an unwritten wait": (f"- {{id: a, needs: [b], {T}1}}}}\n- {{id: b, {T}1}}}}", "a → b → a (`b` has no `needs`, so it waits for all steps above it; give it `needs: []` or move it up)"),
    "an id used twice": (f"- {read('a', '1')}\n- {{id: blk, steps: [{read('a', '1')}]}}", "7:28: the id `a` is used twice (first at line 6)"),
    "set twice at the same time": ("- parallel: [{id: a, type: set, config: {n: 1}}, {id: b, type: set, config: {n: 2}}]", "`n` is set here and by `a` (line 6), which may run at the same time"),
    "set deep in two branches": ("- parallel: [{id: a, steps: [{type: set, config: {n: 1}}]}, {id: b, steps: [{type: set, config: {n: 2}}]}]", "which may run at the same time"),
    "set in a concurrent loop": ("- {id: e, type: for-each, config: {items: [1], concurrency: 2, steps: [{type: set, config: {n: 1}}]}}", "passes of `e` run at the same time and all set `n`"),
}  # fmt: skip


@pytest.mark.parametrize(("steps", "said"), BAD.values(), ids=BAD.keys())
def test_what_is_not_over_by_then_is_refused_with_the_cure(problems: Any, steps: str, said: str) -> None:
    found = problems(flow(steps))
    assert len(found) == 1, found
    assert said in found[0]


@pytest.mark.parametrize(
    "steps",
    [
        "- {type: set, config: {n: 1}}\n- {type: set, config: {n: 2}}",
        "- parallel: [{id: a, type: set, config: {n: 1}}, {id: b, type: set, config: {m: 1}}]",
        "- parallel: [{id: a, type: set, config: {n: 1}}, {id: b, needs: [a], type: set, config: {n: 1}}]",
        "- {type: condition, config: {if: 'true', then: [{type: set, config: {n: 1}}], else: [{type: set, config: {n: 2}}]}}",
        "- {id: e, type: for-each, config: {items: [1], steps: [{type: set, config: {n: 1}}]}}",
    ],
)  # fmt: skip
def test_one_var_may_be_set_in_places_that_never_run_together(load: Any, steps: str) -> None:
    load(flow(steps))


def test_handlers_see_every_step_outside_loops_and_the_error(load: Any, problems: Any) -> None:
    steps = f"- {read('a', '1')}\n- {{id: e, type: for-each, config: {{items: [1], steps: [{read('i', 'item')}]}}}}"
    after = "error_handling:\n  {}: [{{type: notification, config: {{target: x, message: '{{{{ {} }}}}'}}}}]\n"
    for name in ("fallback", "finally"):
        load(flow(steps, after.format(name, "error.type ~ steps.a.status ~ steps.e.status")))
        [problem] = problems(flow(steps, after.format(name, "steps.i.output")))
        assert "lies inside the loop `e`" in problem


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("vars: {a: '{{ steps.s.output }}'}", "`steps` cannot be used in a var's start value"),
        ("vars: {a: 1, b: '{{ vars.a }}'}", "`vars` cannot be used in a var's start value"),
        ("output: '{{ secrets.K }}'", "`secrets.K` cannot be used in the flow's output"),
        ("output: '{{ error.type }}'", "`error` cannot be used in the flow's output"),
        ("concurrency: {key: '{{ steps.s.output }}'}", "`steps` cannot be used in the concurrency key"),
        ("triggers: [{type: webhook, path: /x, if: event.id == 1}]", "`event` cannot be used in a trigger"),
        (
            "triggers: [{type: webhook, path: /x, idempotency_key: '{{ inputs.a }}'}]",
            "`inputs` cannot be used in a trigger",
        ),
    ],
)
def test_each_place_at_the_top_knows_its_names(problems: Any, place: str, said: str) -> None:
    [problem] = problems(f"id: f\nsteps: [{{id: s, type: transform, config: {{value: 1}}}}]\n{place}\n")
    assert said in problem


def test_env_of_the_project_is_known_and_pinned_where_it_is_read(load: Any) -> None:
    text = "id: f\nenv: {OWN: 1}\nsteps: [{type: transform, config: {value: '{{ env.SHARED }}'}}]\n"
    assert load(text, env={"SHARED": "x", "UNUSED": "y"}).definition.env == {"SHARED": "x", "OWN": 1}


WARNED = {
    "a step with an if": (f"- {{id: a, if: 'inputs.who == 1', {T}1}}}}\n- {read('b', 'steps.a.output')}", "`a` has an `if`"),
    "a step in a branch": (f"- {{id: c, type: condition, config: {{if: 'true', then: [{read('a', '1')}]}}}}\n- {read('b', 'steps.a.output')}", "`a` runs only in the branch `then` of `c`"),
    "a branch that may lose": (f"- {{id: r, parallel: {{wait_for: any, branches: [{read('a', '1')}, {read('z', '2')}]}}}}\n- {read('b', 'steps.a.output')}", "`r` may end before its branch `a` does"),
    "a step whose errors are caught": (f"- {{id: t, type: try, config: {{steps: [{read('a', '1')}], catch: [{{steps: [{{type: wait, config: {{duration: 1}}}}]}}]}}}}\n- {read('b', 'steps.a.output')}", "`t` catches errors"),
    "a step that may fail": (f"- {{id: a, on_error: continue, {T}1}}}}\n- {read('b', 'steps.a.output')}", "`a` may fail and the run goes on"),
}  # fmt: skip


@pytest.mark.parametrize(("steps", "said"), WARNED.values(), ids=WARNED.keys())
def test_a_name_that_may_be_missing_and_has_no_guard_is_a_warning(load: Any, steps: str, said: str) -> None:
    [warning] = load(flow(steps)).warnings
    assert warning.severity == "warning"
    assert said in warning.message
    guarded = load(flow(steps.replace("steps.a.output", "steps.a.output | default(0)")))
    assert guarded.warnings == ()
    status = load(flow(steps.replace("steps.a.output", "steps.a.status")))
    assert status.warnings == ()


@pytest.mark.parametrize(
    "reader",
    [
        f"- {{id: b, if: \"steps.a.status == 'completed'\", {T}'{{{{ steps.a.output }}}}'}}}}",
        f"- {{id: b, needs: [a], {T}'{{{{ steps.a.output }}}}'}}}}",
        f"- {{id: b, if: 'inputs.who == 1', {T}'{{{{ steps.a.output }}}}'}}}}",
        f"- {{id: b, type: condition, config: {{if: steps.a.status == 'completed', then: [{read('d', 'steps.a.output')}]}}}}",
    ],
)
def test_an_if_that_looks_first_needs_no_other_guard(load: Any, reader: str) -> None:
    assert load(flow(f"- {{id: a, if: 'inputs.who == 1', {T}1}}}}\n{reader}")).warnings == ()


def test_an_input_a_trigger_never_supplies_is_a_warning(load: Any) -> None:
    step = "steps: [{type: wait, config: {duration: 1}}]\n"
    [warning] = load("id: f\ninputs: {who: string}\ntriggers: [{type: schedule, every: 1h}]\n" + step).warnings
    assert "never supplies the required input `who`" in warning.message
    assert load("id: f\ninputs: {who: {default: x}}\ntriggers: [{type: schedule, every: 1h}]\n" + step).warnings == ()
    assert load("id: f\ninputs: {who: string}\ntriggers: [{type: webhook, path: /x}]\n" + step).warnings == ()
