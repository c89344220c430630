"""What a retry, a re-run and a restart take over from an older run: journals by hand, one promise each."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from typing import Any

import pytest

from orchestrator.engine import carry
from orchestrator.engine.carry import Carried
from orchestrator.spec.definition import Definition
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
UNDO = of(step("a", compensate=step("ua")), {"id": "g", "steps": [step("b", compensate=step("ub")), step("n")]}, step("c"))
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
