"""What a retry, a re-run and a restart take over from an older run: journals by hand, one promise each."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping
from typing import Any

import pytest

from orchestrator.engine.again import carry
from orchestrator.engine.again.carry import Carried
from orchestrator.errors import InputsInvalid, Refused
from orchestrator.spec.definition import Definition, definition_to_json
from orchestrator.spec.loading import load_flow
from orchestrator.spec.places import locate
from orchestrator.spec.project import Project

Json = Any
AT = "2026-01-01T00:00:00.000Z"
WORDS = {"+": "completed", "x": "failed", "~": "cancelled", "-": "skipped", ".": "running", "u": "completed"}
"""How the tables write a status; ``u`` is completed and compensated since."""


def flow(text: str) -> Definition:
    return load_flow(textwrap.dedent(text), "flow.yaml", Project()).definition


def journal(definition: Definition, records: str, **members: Json) -> dict[str, Json]:
    """A journal of ``path:status`` words."""
    made = []
    for word in records.split():
        path, _, sign = word.rpartition(":")
        try:
            kind = locate(definition, path).node.type
        except LookupError:
            kind = "transform"
        record: dict[str, Json] = {"type": kind, "status": WORDS[sign], "attempts": 1, "started_at": AT}
        if sign in "+u":
            record |= {"output": f"of {path}", "finished_at": AT}
        if sign == "x":
            record |= {"error": {"type": "told", "message": path}, "finished_at": AT}
        if sign == "u":
            record["undone"] = True
        made.append([path, record])
    return {"format": 1, "records": made, "states": {}, "generations": {}, "prefixes": {}, "folded": {}, "vars": {},
            "compensations": [], "compensated": [], "deadline": 5, "paused": True, "ending": {"status": "failed"},
            "counter": 3, "warnings": []} | members  # fmt: skip


def left(carried: Carried) -> dict[str, str]:
    """Path → sign of what the new run starts with."""
    signs = {word: sign for sign, word in WORDS.items() if sign != "u"}
    return {path: signs[record["status"]] for path, record in carried.journal["records"]}


def shown(carried: Carried) -> str:
    return " ".join(f"{path}:{sign}" for path, sign in left(carried).items())


def step(name: str, **more: Json) -> dict[str, Json]:
    return {"id": name, "type": "http", "config": {"url": "http://x"}} | more


def of(*steps: Mapping[str, Json], **members: Json) -> Definition:
    return flow(json.dumps({"id": "f", "steps": list(steps)} | members))


LINE = of(step("a"), step("b"), step("c"))
HANDLED = of(step("a", on_error="continue"), step("b", on_error=[step("help")]), step("c"))
GROUP = of(step("a"), {"id": "g", "steps": [step("b"), step("c")]}, step("d"))
BRANCHES = of({"id": "p", "parallel": [step("a"), step("b"), {"id": "g", "steps": [step("c"), step("d")]}]}, step("e"))
IF = of({"id": "if", "type": "condition", "config": {"if": "true", "then": [step("a"), step("b")], "else": [step("c")]}},
        step("d"))  # fmt: skip
TRY = of({"id": "t", "type": "try", "config": {"steps": [step("a"), step("b")], "catch": [{"on": ["other"], "steps": [step("d")]},
         {"steps": [step("c")]}], "finally": [step("z")]}}, step("e"))  # fmt: skip
UNDO = of(
    step("a", compensate=step("ua")), {"id": "g", "steps": [step("b", compensate=step("ub")), step("n")]}, step("c")
)
SAGA = of({"id": "t", "type": "try", "config": {"steps": [{"id": "s", "type": "saga", "config": {"steps": [
         step("a", compensate=step("ua")), step("b")]}}], "catch": [{"steps": [step("c")]}]}}, step("d"))  # fmt: skip
EACH = of({"id": "each", "type": "for-each", "config": {"items": 5, "tolerate": 2, "steps": [step("a", compensate=step("ua")), step("b")]}},
          step("c"))  # fmt: skip
WIDE = of({"id": "each", "type": "for-each", "config": {"items": 5, "concurrency": 3, "steps": [step("a"), step("b")]}},
          step("c"))  # fmt: skip
LOOP = of({"id": "w", "type": "while", "config": {"until": "loop.count > 3", "max_iterations": 9, "steps": [
         step("a", compensate=step("ua")), step("b")]}}, step("c"))  # fmt: skip
GRAPH = of(step("a", needs=[]), step("b", needs=["a"]), step("c", needs=[]), step("d", needs=["b", "c"]))


@pytest.mark.parametrize(
    ("definition", "before", "after"),
    [
        pytest.param(LINE, "a:+ b:x", "a:+", id="the-failed-step-runs-again"),
        pytest.param(LINE, "a:+ b:~", "a:+", id="a-cancelled-step-runs-again"),
        pytest.param(LINE, "a:+ b:.", "a:+", id="a-step-that-was-terminated-runs-again"),
        pytest.param(HANDLED, "a:x b:+ b#on_error/help:+ c:x", "a:x b:+ b#on_error/help:+", id="what-was-handled-stays"),
        pytest.param(HANDLED, "a:x b:x b#on_error/help:x", "a:x", id="a-handler-that-failed-goes-with-its-step"),
        pytest.param(HANDLED, "a:~", "", id="a-cancelled-step-was-not-handled"),
        pytest.param(GROUP, "a:+ g:x g/b:+ g/c:x", "a:+ g:. g/b:+", id="a-block-is-opened-again"),
        pytest.param(BRANCHES, "p:x p/a:+ p/b:x p/g:~ p/g/c:+ p/g/d:~", "p:. p/a:+ p/g:. p/g/c:+", id="a-branch"),
        pytest.param(BRANCHES, "p:+ p/a:+ p/b:~ p/g:~ p/g/c:x e:x", "p:+ p/a:+ p/b:~ p/g:~ p/g/c:x", id="losers-stay"),
        pytest.param(IF, "if:x if/then/a:+ if/then/b:x if/else/c:-", "if:. if/then/a:+ if/else/c:-", id="a-branch-taken"),
        pytest.param(TRY, "t:+ t/a:+ t/b:x t/catch[1]/c:+ t/finally/z:+ e:x", "t:+ t/a:+ t/b:x t/catch[1]/c:+ t/finally/z:+", id="what-was-caught-stays"),
        pytest.param(SAGA, "t:+ t/s:x t/s/a:u t/s/b:x t/catch[0]/c:+ d:x", "t:+ t/s:x t/s/a:+ t/s/b:x t/catch[0]/c:+", id="what-a-caught-saga-undid-stays-undone"),
        pytest.param(SAGA, "t:x t/s:x t/s/a:u t/s/b:x t/catch[0]/c:x", "t:. t/s:.", id="a-saga-whose-catch-failed-begins-again"),
        pytest.param(UNDO, "a:u g:+ g/b:u g/n:+ c:x", "g:. g/n:+", id="what-was-compensated-runs-again"),
        pytest.param(UNDO, "a:u a#compensate/ua:+ g:x g/b:x", "g:.", id="compensations-are-forgotten"),
        pytest.param(UNDO, "a:+ a#compensate/ua:x g:x g/b:x", "a:+ g:.", id="a-failed-compensation-is-tried-again-when-it-is-due"),
        pytest.param(GRAPH, "a:x c:+", "c:+", id="independent-steps-are-kept"),
        pytest.param(LINE, "a:+ b:+ c:x #fallback/x:+ #finally/y:+", "a:+ b:+", id="handlers-of-the-flow-run-again"),
    ],
)  # fmt: skip
def test_a_retry_runs_what_did_not_end_well_and_keeps_the_rest(definition: Definition, before: str, after: str) -> None:
    old = journal(definition, before)
    kept = json.dumps(old, sort_keys=True)
    carried = carry.retry(old, definition)
    assert shown(carried) == after
    assert json.dumps(old, sort_keys=True) == kept, "the old journal was changed"
    for name in ("ending", "deadline", "paused"):
        assert carried.journal[name] is None
    assert carried.journal["compensated"] == []
    assert json.loads(json.dumps(carried.journal)) == carried.journal


def test_a_step_that_failed_keeps_its_idempotency_key_and_one_that_was_compensated_gets_a_new_one() -> None:
    carried = carry.retry(journal(UNDO, "a:u a#compensate/ua:+ g:x g/b:u g/n:x"), UNDO)
    assert carried.journal["generations"] == {"a": 2, "a#compensate/ua": 2, "g/b": 2}
    assert carried.undone == ("a", "g/b")
    assert carried.again == ("a", "g/b", "g/n")
    again = carry.retry(carried.journal | {"records": journal(UNDO, "a:u")["records"]}, UNDO)
    assert again.journal["generations"]["a"] == 3


def test_what_is_owed_stays_owed_and_a_compensation_that_failed_is_due_again() -> None:
    owed = [{"path": "a", "number": 1, "scope": "", "status": "completed", "failed": True}]
    carried = carry.retry(journal(UNDO, "a:+ a#compensate/ua:x g:x g/b:x", compensations=owed), UNDO)
    assert carried.journal["compensations"] == [{"path": "a", "number": 1, "scope": "", "status": "completed"}]
    assert carried.kept == ("a",)


# -- loops ------------------------------------------------------------------------------------------------------------


def failed_passes(*indexes: int) -> list[dict[str, Json]]:
    return [{"index": index, "item": index, "error": {"type": "told"}} for index in indexes]


def test_a_for_each_that_failed_runs_the_passes_again_that_it_had_tolerated() -> None:
    state = {"total": 5, "low": 2, "beyond": [], "outputs": {}, "errors": failed_passes(0, 1, 2)}
    before = "each:x each[0]/a:+ each[0]/b:x each[1]/a:x each[2]/a:x"
    carried = carry.retry(journal(EACH, before, states={"each": state}), EACH)
    assert shown(carried) == "each:. each[0]/a:+"
    assert carried.journal["states"]["each"] == {
        "total": 5, "low": 2, "beyond": [], "outputs": {}, "errors": [], "again": [0, 1],
    }  # fmt: skip


def test_a_for_each_that_was_stopped_keeps_what_it_had_tolerated() -> None:
    state = {"total": 5, "low": 1, "beyond": [], "errors": failed_passes(0)}
    before = "each:~ each[0]/a:+ each[0]/b:x each[1]/a:~"
    carried = carry.retry(journal(EACH, before, states={"each": state}), EACH)
    assert shown(carried) == "each:. each[0]/a:+ each[0]/b:x"
    assert carried.journal["states"]["each"]["errors"] == failed_passes(0)
    assert carried.journal["states"]["each"]["again"] == []


def test_passes_side_by_side_go_on_each_where_it_was() -> None:
    state = {"total": 5, "low": 1, "beyond": [3], "outputs": {"0": 1, "3": 1}, "deadline": 9}
    before = "each:x each[1]/a:+ each[1]/b:x each[2]/a:~"
    carried = carry.retry(journal(WIDE, before, states={"each": state}, folded={"each": 2}), WIDE)
    assert shown(carried) == "each:. each[1]/a:+"
    assert carried.journal["states"]["each"] == {
        "total": 5, "low": 1, "beyond": [3], "outputs": {"0": 1, "3": 1}, "errors": [], "again": [],
    }  # fmt: skip
    assert carried.journal["folded"] == {"each": 2}


def test_a_finished_for_each_is_opened_for_the_pass_that_was_compensated() -> None:
    before = "each:+ each[0]/a:+ each[0]/b:+ each[1]/a:u each[1]/b:+ c:x"
    old = journal(EACH, before)
    old["records"][0][1] |= {"output": ["x", "y", None], "errors": failed_passes(2)}
    carried = carry.retry(old, EACH)
    assert shown(carried) == "each:. each[0]/a:+ each[0]/b:+ each[1]/b:+"
    assert carried.journal["states"]["each"] == {
        "low": 3, "outputs": {"0": "x"}, "errors": failed_passes(2), "stopped": True, "again": [1], "beyond": [],
    }  # fmt: skip


def test_a_while_goes_on_in_its_pass_and_begins_again_where_an_earlier_one_was_compensated() -> None:
    state = {"pass": 1, "open": True, "last": "x", "bound": 7}
    here = carry.retry(journal(LOOP, "w:x w[0]/a:+ w[1]/a:u w[1]/b:x", states={"w": state}), LOOP)
    assert shown(here) == "w:. w[0]/a:+"
    assert here.journal["states"]["w"] == {"pass": 1, "open": True, "last": "x"}
    again = carry.retry(journal(LOOP, "w:x w[0]/a:u w[0]/b:+ w[1]/a:x", states={"w": state}), LOOP)
    assert shown(again) == "w:."
    assert again.journal["states"] == {}
    assert again.journal["generations"] == {"w[0]/a": 2, "w[0]/b": 2}
    assert again.undone == ("w[0]/a",)


def test_a_for_each_that_child_runs_carry_out_starts_those_again_that_did_not_end_well() -> None:
    good, bad = {"outputs": [1], "errors": []}, {"outputs": [None], "errors": failed_passes(500)}
    state = {"total": 1500, "slices": {"0": good, "500": bad}, "open": {"1000": {"child": "x"}}}
    carried = carry.retry(journal(EACH, "each:x", states={"each": state}), EACH)
    assert carried.journal["states"]["each"] == {"total": 1500, "slices": {"0": good}, "open": {}}
    assert carried.journal["generations"] == {"each": 2}, "under their old ids they would be taken as they are"


# -- recovery ---------------------------------------------------------------------------------------------------------

BODY = {"type": "told", "message": "t/b"}


@pytest.mark.parametrize(
    ("before", "state", "label", "after", "then"),
    [
        pytest.param("t:x t/a:+ t/b:x t/finally/z:+", {"stage": "finally", "error": BODY}, None,
                     "t:. t/a:+", None, id="nothing-caught-it-the-body-goes-on"),
        pytest.param("t:x t/a:+ t/b:x t/catch[0]/d:- t/catch[1]/c:x t/finally/z:+",
                     {"stage": "finally", "catch": 1, "error": {"type": "other"}}, None,
                     "t:. t/a:+ t/b:x t/catch[0]/d:-", {"stage": "catch", "catch": 1, "error": BODY}, id="the-catch-failed"),
        pytest.param("t:x t/a:+ t/b:x t/catch[1]/c:+ t/finally/z:x", {"stage": "finally", "catch": 1, "output": 7}, None,
                     "t:. t/a:+ t/b:x t/catch[1]/c:+", {"stage": "finally", "catch": 1, "output": 7}, id="finally-failed"),
        pytest.param("t:~ t/a:+ t/b:~ t/finally/z:+", {"attempt": 2, "retry_at": 5}, None,
                     "t:. t/a:+", None, id="stopped-in-the-body-finally-runs-again"),
        pytest.param("t:~ t/a:~ t/finally/z:+", {"stage": "finally", "ended": {"output": 1, "status": "cancelled"}}, None,
                     "t:.", None, id="a-return-that-cancelled-is-reached-again"),
    ],
)  # fmt: skip
def test_a_try_goes_on_in_the_list_that_did_not_end_well(
    before: str, state: dict[str, Json], label: str | None, after: str, then: dict[str, Json] | None
) -> None:
    carried = carry.retry(journal(TRY, before, states={"t": state}), TRY)
    assert shown(carried) == after
    assert carried.journal["states"].get("t") == then


def test_a_race_is_decided_by_the_branches_that_still_stand() -> None:
    state = {"wait_for": "all", "finished": ["b", "a"], "losers": True}
    carried = carry.retry(journal(BRANCHES, "p:x p/a:u p/b:+ p/g:x p/g/c:x", states={"p": state}), BRANCHES)
    assert carried.journal["states"]["p"] == {"wait_for": "all", "finished": ["b"]}


def test_a_condition_stays_in_its_branch_also_where_its_state_is_gone() -> None:
    old = journal(of({"id": "if", "type": "condition", "config": {"if": "true", "then": [step("a", compensate=step("u"))]}},
                     step("b")), "if:+ if/then/a:u b:x")  # fmt: skip
    old["records"][0][1]["branch"] = "then"
    definition = of(
        {"id": "if", "type": "condition", "config": {"if": "true", "then": [step("a", compensate=step("u"))]}},
        step("b"),
    )
    assert carry.retry(old, definition).journal["states"] == {"if": {"branch": "then"}}


def test_a_skipped_step_is_asked_again_where_what_it_waited_for_runs_again() -> None:
    definition = of(step("a", compensate=step("u")), step("b", **{"if": "steps.a.output.status == 200"}), step("c"))
    assert shown(carry.retry(journal(definition, "a:u b:- c:x"), definition)) == ""
    assert shown(carry.retry(journal(definition, "a:+ b:- c:x"), definition)) == "a:+ b:-"


def test_a_wait_keeps_the_events_it_has_got() -> None:
    definition = of({"id": "w", "type": "wait-for-event", "config": {"event": ["a", "b"], "mode": "all"}})
    state = {"taken": {"a": {"type": "a"}}, "last": {"type": "a"}, "until": 99}
    carried = carry.retry(journal(definition, "w:~", states={"w": state}), definition)
    assert (shown(carried), carried.journal["states"]["w"]) == (
        "",
        {"taken": {"a": {"type": "a"}}, "last": {"type": "a"}},
    )


def test_computed_steps_go_on_from_the_list_that_was_checked() -> None:
    definition = of({"id": "r", "type": "run-steps", "config": {"steps": "[]", "allow": ["http"]}}, step("z"))
    state = {"definition": definition_to_json(of(step("x"), step("y")))}
    carried = carry.retry(journal(definition, "r:x r/x:+ r/y:x", states={"r": state}), definition)
    assert (shown(carried), carried.journal["states"]["r"]) == ("r:. r/x:+", state)
    done = carry.retry(journal(definition, "r:+ r/x:u r/y:+ z:x"), definition)
    assert (shown(done), done.undone) == ("r:. r/y:+", ("r/x",))


# -- re-run -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("definition", "before", "path", "after", "generations"),
    [
        pytest.param(LINE, "a:+ b:+ c:+", "b", "a:+", {"b": 2, "c": 2}, id="a-step-and-what-follows"),
        pytest.param(LINE, "a:+ b:x", "a", "", {"a": 2}, id="what-failed-keeps-its-key"),
        pytest.param(GROUP, "a:+ g:+ g/b:+ g/c:+ d:+", "g/c", "a:+ g:. g/b:+", {"g/c": 2, "d": 2}, id="inside-a-block"),
        pytest.param(GROUP, "a:+ g:+ g/b:+ g/c:+ d:+", "c", "a:+ g:. g/b:+", {"g/c": 2, "d": 2}, id="by-id"),
        pytest.param(BRANCHES, "p:+ p/a:+ p/b:+ p/g:+ p/g/c:+ p/g/d:+ e:+", "p/g/d", "p:. p/a:+ p/b:+ p/g:. p/g/c:+",
                     {"p/g/d": 2, "e": 2}, id="other-branches-are-kept"),
        pytest.param(GRAPH, "a:+ c:+ b:+ d:+", "b", "a:+ c:+", {"b": 2, "d": 2}, id="what-needs-it"),
        pytest.param(GRAPH, "a:+ c:+ b:+ d:+", "c", "a:+ b:+", {"c": 2, "d": 2}, id="and-nothing-else"),
        pytest.param(TRY, "t:+ t/a:+ t/b:x t/catch[1]/c:+ t/finally/z:+ e:+", "t/a", "t:.",
                     {"t/a": 2, "t/catch[1]/c": 2, "t/finally/z": 2, "e": 2}, id="a-body-and-then-its-catch"),
        pytest.param(TRY, "t:+ t/a:+ t/b:x t/catch[1]/c:+ t/finally/z:+ e:+", "t/catch[1]/c", "t:. t/a:+ t/b:x",
                     {"t/catch[1]/c": 2, "t/finally/z": 2, "e": 2}, id="a-catch"),
        pytest.param(TRY, "t:+ t/a:+ t/b:+ t/finally/z:+ e:+", "z", "t:. t/a:+ t/b:+", {"t/finally/z": 2, "e": 2}, id="finally"),
        pytest.param(UNDO, "a:u g:x g/b:u g/n:x", "g/n", "g:.", {"a": 2, "g/b": 2}, id="what-was-compensated-runs-too"),
        pytest.param(LINE, "a:x b:x", "b", "", {}, id="what-failed-before-it-runs-too"),
    ],
)  # fmt: skip
def test_a_rerun_keeps_exactly_what_stands_before_or_beside(
    definition: Definition, before: str, path: str, after: str, generations: dict[str, int]
) -> None:
    carried = carry.rerun(journal(definition, before), definition, path)
    assert shown(carried) == after
    inner = {path: n for path, n in carried.journal["generations"].items() if path not in ("g", "p", "p/g", "t")}
    assert inner == generations


def test_a_rerun_in_a_pass_repeats_the_later_passes_and_their_folded_ones_get_new_keys() -> None:
    state = {"total": 5, "low": 4, "beyond": [], "outputs": {"0": 0, "2": 2, "3": 3}, "errors": failed_passes(1)}
    before = "each:x each[1]/a:+ each[1]/b:x each[4]/a:x"
    carried = carry.rerun(journal(EACH, before, states={"each": state}, folded={"each": 3}), EACH, "each[1]/a")
    assert shown(carried) == "each:."
    after = carried.journal["states"]["each"]
    assert (after["low"], after["beyond"], after["outputs"], after["errors"]) == (1, [], {"0": 0}, [])
    assert carried.journal["prefixes"] == {"each": 1}


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_rerun_in_a_pass_that_was_tolerated_opens_what_is_around_the_step(concurrency: int) -> None:
    body = [{"id": "g", "parallel": [step("a"), step("b")]}]
    loop = of({"id": "f", "type": "for-each", "config": {"items": 3, "tolerate": 1, "concurrency": concurrency,
                                                         "steps": body}})  # fmt: skip
    old = journal(loop, "f:+ f[0]/g:x f[0]/g/a:+ f[0]/g/b:x", folded={"f": 2})
    old["records"][0][1] |= {"output": [None, 1, 1], "errors": [{"index": 0, "item": 0, "error": "told"}]}
    carried = carry.rerun(old, loop, "f[0]/g/b")
    assert left(carried) == {"f": ".", "f[0]/g": ".", "f[0]/g/a": "+"}
    state = carried.journal["states"]["f"]
    assert state["errors"] == []
    assert (state["low"], state["again"]) == ((0, []) if concurrency == 1 else (3, [0]))


def test_a_rerun_in_a_pass_says_that_folded_passes_after_it_are_repeated() -> None:
    loop = of({"id": "f", "type": "for-each", "config": {"items": 3, "tolerate": 1, "steps": [step("a")]}})
    errors = [{"index": index, "item": index, "error": "told"} for index in (0, 2)]
    state = {"low": 2, "errors": errors, "outputs": {"1": 1}}
    carried = carry.rerun(journal(loop, "f:x f[0]/a:x f[2]/a:x", folded={"f": 1}, states={"f": state}), loop, "f[0]/a")
    assert set(carried.again) == {"f", "f[0]/a", "f[2]/a"}
    assert carried.journal["prefixes"] == {"f": 1}


def test_a_rerun_of_a_loop_gives_every_step_of_every_pass_a_new_key() -> None:
    carried = carry.rerun(journal(WIDE, "each:+ c:+", folded={"each": 5}), WIDE, "each")
    assert (shown(carried), carried.journal["prefixes"], carried.journal["folded"]) == ("", {"each": 1}, {})
    assert carried.again == ("each", "c")


def test_the_first_effect_of_a_step_that_runs_again_is_still_owed() -> None:
    owed = [{"path": "a", "number": 1, "scope": "", "status": "completed"}]
    carried = carry.rerun(journal(UNDO, "a:+ g:x g/b:x", compensations=owed), UNDO, "a")
    [entry] = carried.journal["compensations"]
    assert entry["record"]["output"] == "of a"


def test_vars_take_the_value_that_they_had_before_what_is_run_again() -> None:
    sets = of({"id": "one", "type": "set", "config": {"n": 1, "m": 1}}, {"id": "two", "type": "set", "config": {"n": 2}},
              step("c"), {"id": "three", "type": "set", "config": {"n": 3, "k": 3}}, vars={"n": 0, "m": 0, "k": 0})  # fmt: skip
    old = journal(sets, "one:+ two:+ c:+ three:+", vars={"n": 3, "m": 1, "k": 3})
    for record, values in zip(old["records"], ({"n": 1, "m": 1}, {"n": 2}, None, {"n": 3, "k": 3}), strict=True):
        record[1]["output"] = values
    assert carry.rerun(old, sets, "c").journal["vars"] == {"n": 2, "m": 1}
    assert carry.rerun(old, sets, "two").journal["vars"] == {"n": 1, "m": 1}
    assert carry.rerun(old, sets, "three").journal["vars"] == {"n": 2, "m": 1}
    assert carry.retry(old, sets).journal["vars"] == {"n": 3, "m": 1, "k": 3}


@pytest.mark.parametrize(
    ("definition", "before", "path", "why"),
    [
        (LINE, "a:+ b:x", "c", "never reached `c`"),
        (LINE, "a:+ b:x", "nope", "no step `nope`"),
        (LINE, "a:+ b:x", "a/b", "no step of flow"),
        (HANDLED, "b:+ b#on_error/help:+", "b#on_error/help", "choose `b`"),
        (IF, "if:+ if/then/a:+ if/then/b:+ if/else/c:- d:x", "if/else/c", "choose `if` to decide again"),
        (WIDE, "each:x each[4]/a:x", "each[1]/a", "choose `each` to run all its passes again"),
        (LOOP, "w:x w[0]/a:+ w[1]/a:x", "w[0]/a", "choose `w` to run all its passes again"),
        (EACH, "each:+", "a", "has a path for every pass"),
    ],
)
def test_a_rerun_that_cannot_be_is_refused_with_what_to_choose_instead(
    definition: Definition, before: str, path: str, why: str
) -> None:
    states: dict[str, Json] = {"w": {"pass": 1, "open": True}} if definition is LOOP else {"each": {"low": 3}}
    with pytest.raises(Refused, match=re.escape(why)):
        carry.rerun(journal(definition, before, folded={"each": 3}, states=states), definition, path)


# -- another version --------------------------------------------------------------------------------------------------


def other(name: str, **more: Json) -> dict[str, Json]:
    return {"id": name, "type": "http", "config": {"url": "http://other"}} | more


@pytest.mark.parametrize(
    ("old", "new", "before", "after", "changed"),
    [
        pytest.param(LINE, of(step("a"), other("b"), step("c")), "a:+ b:+ c:x", "a:+", ["b"], id="a-step-was-changed"),
        pytest.param(LINE, of(step("a"), step("c")), "a:+ b:+ c:x", "a:+", ["b"], id="a-step-is-gone"),
        pytest.param(LINE, of(step("a"), step("n"), step("b"), step("c")), "a:+ b:+ c:x", "a:+ b:+", [], id="a-step-is-new"),
        pytest.param(GROUP, of(step("a"), {"id": "g", "steps": [step("b"), other("c")]}, step("d")),
                     "a:+ g:+ g/b:+ g/c:+ d:x", "a:+ g:. g/b:+", ["g/c"], id="inside-a-finished-block"),
        pytest.param(GROUP, of(step("a"), {"id": "g", "steps": [step("b"), step("c"), step("n")]}, step("d")),
                     "a:+ g:+ g/b:+ g/c:+ d:x", "a:+ g:. g/b:+ g/c:+", [], id="a-finished-block-has-more"),
        pytest.param(WIDE, of({"id": "each", "type": "for-each", "config": {"items": 5, "concurrency": 3, "steps": [step("a"), other("b")]}},
                     step("c")), "each:+ c:x", "", ["each"], id="a-finished-loop-with-another-body"),
        pytest.param(LINE, of(step("a", retry={"max_attempts": 9}), step("b"), step("c")), "a:+ b:+ c:x", "a:+ b:+", [], id="retries-make-no-other-step"),
    ],
)  # fmt: skip
def test_a_restart_keeps_results_of_steps_that_are_the_same(
    old: Definition, new: Definition, before: str, after: str, changed: list[str]
) -> None:
    carried = carry.upgrade(journal(old, before, folded={"each": 5} if "each" in before else {}), old, new)
    assert shown(carried) == after
    assert list(carried.changed) == changed


def test_a_restart_tells_which_effects_the_new_version_cannot_undo() -> None:
    owed = [{"path": path, "number": 1, "scope": "", "status": "completed"} for path in ("a", "g/b")]
    new = of(step("a"), {"id": "g", "steps": [step("b", compensate=step("ub")), step("n")]}, step("c"))
    carried = carry.upgrade(journal(UNDO, "a:+ g:x g/b:+ g/n:x", compensations=owed), UNDO, new)
    assert carried.left == ("a",)
    assert [entry["path"] for entry in carried.journal["compensations"]] == ["g/b"]


def test_a_loop_that_failed_goes_on_with_its_new_body() -> None:
    fixed = of({"id": "each", "type": "for-each", "config": {"items": 5, "concurrency": 3, "steps": [step("a"), other("b")]}},
               step("c"))  # fmt: skip
    state = {"total": 5, "low": 2, "beyond": [], "outputs": {"0": 1, "1": 1}}
    carried = carry.upgrade(journal(WIDE, "each:x each[2]/a:+ each[2]/b:x", states={"each": state}), WIDE, fixed)
    assert shown(carried) == "each:. each[2]/a:+"
    assert carried.journal["states"]["each"]["low"] == 2


# -- pins -------------------------------------------------------------------------------------------------------------


def test_a_pinned_step_is_completed_with_the_given_result() -> None:
    carried = carry.pin(carry.retry(journal(GROUP, "a:+ g:x g/b:x"), GROUP), GROUP, {"b": 7, "g/c": 8, "d": 9}, AT)
    assert shown(carried) == "a:+ g:. g/b:+ g/c:+ d:+"
    records = dict(carried.journal["records"])
    assert (records["g/b"]["output"], records["g/b"]["pinned"]) == (7, True)
    assert (carried.pinned, carried.again) == (("g/b", "g/c", "d"), ())


def test_what_cannot_be_pinned_is_refused() -> None:
    schema = of(step("a", output_schema={"type": "object", "required": ["n"]}), step("b"))
    carried = carry.retry(journal(schema, "a:x"), schema)
    with pytest.raises(InputsInvalid, match=r"pins\.a"):
        carry.pin(carried, schema, {"a": {}}, AT)
    with pytest.raises(Refused, match="no step `x`"):
        carry.pin(carried, schema, {"x": {}}, AT)
    done = carry.rerun(journal(GROUP, "a:+ g:+ g/b:+ g/c:+ d:+"), GROUP, "d")
    with pytest.raises(Refused, match="`g` around it is over"):
        carry.pin(done, GROUP, {"c": 1}, AT)
