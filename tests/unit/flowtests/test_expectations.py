"""What a run did against what its case expects: each difference is told, with the line of the expectation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from orchestrator.flowtests.judging.coverage import coverage_of
from orchestrator.flowtests.judging.differences import exact, having
from orchestrator.flowtests.judging.expectations import check
from orchestrator.flowtests.results import Called, CaseResult, FileResult, Mismatch, Ran, Report
from orchestrator.flowtests.telling.junit import junit
from orchestrator.flowtests.telling.telling import told
from orchestrator.spec.flowtests.loading import load_test_file
from orchestrator.spec.project import Project

FLOW = """
id: shop
vars: {seen: 0}
steps:
  - {id: charge, type: http, config: {url: "https://a.example"}, compensate: {id: refund, type: http, config: {url: "https://b.example"}}}
  - id: large
    type: condition
    config:
      if: "true"
      then: [{id: insure, type: http, config: {url: "https://i.example"}}]
  - {id: ship, type: http, on_error: [{id: excuse, type: set, config: {seen: 1}}], config: {url: "https://c.example"}}
  - id: kind
    type: switch
    config:
      value: "1"
      cases: [{equals: 1, steps: [{id: one, type: set, config: {seen: 2}}]}]
      default: [{id: other, type: set, config: {seen: 3}}]
"""


def ran(step: str, status: str = "completed", **more: Any) -> Ran:
    return Ran(step, step, "http", status, "shop", **more)


def result(**more: Any) -> CaseResult:
    made = CaseResult("shop.test.yaml", "one", 2, "shop", status="completed", output={"paid": 20, "list": [1, 2]})
    made.steps = [ran("charge"), ran("large"), ran("insure", "skipped"), ran("ship", error={"type": "late"})]
    made.calls = [Called("ship", "ship", {"body": {"n": n}}, n, "shop") for n in (1, 2)]
    made.vars = {"seen": 2}
    made.warnings = ["'ship' failed and was handled: late"]
    made.seconds, made.cost = 7200.0, 0.05
    for name, value in more.items():
        setattr(made, name, value)
    return made


def said(folder: Path, expect: str, **more: Any) -> list[str]:
    """What the check of one case says."""
    (folder / "shop.yaml").write_text(FLOW)
    (folder / "shop.test.yaml").write_text(f"cases:\n  - name: one\n    expect: {expect}\n")
    loaded = load_test_file(folder / "shop.test.yaml", Project(root=folder))
    made = result(**more)
    check(loaded.cases[0], loaded.flow.definition, made)
    return [str(problem) for problem in made.problems]


MET = [
    "{output: {paid: 20, list: [1, 2]}}",
    "{output_has: {paid: 20.0}}",
    "{ran: [charge, ship], skipped: [insure], failed: [ship], not_reached: [kind]}",
    "{order: [charge, ship], calls: {ship: 2, insure: 0}, vars: {seen: 2}}",
    "{called_with: {ship: {body: {n: 1}}}}",
    "{called_with: {ship: [{body: {n: 1}}, {body: {n: 2}}]}}",
    "{warnings: [late], compensated: []}",
    "{duration: 2h, cost: 0.05}",
    "{duration: {at_least: 1h, at_most: 3h}, cost: {at_least: 0.01, at_most: 0.06}}",
]
MISSED = [
    ("{output: {paid: 20}}", ":14: the output differs: list is [1, 2], expected is no such member"),
    ("{output_has: {paid: 21, other: 1}}", "paid is 20, expected 21; other is missing, expected 1"),
    ("{output_has: {list: [1]}}", "list has 2 items, expected 1"),
    ("{output: null}", "expected null"),
    ("{status: failed}", ":14: the run completed; expected: failed"),
    ("{ran: [charge, insure]}", ":28: step 'insure' did not run: it is skipped"),
    ("{ran: [kind]}", "step 'kind' did not run: it was never reached"),
    ("{skipped: [charge]}", "step 'charge' was not skipped: it is completed"),
    ("{failed: [charge]}", "step 'charge' did not fail: it is completed"),
    ("{not_reached: [insure]}", "step 'insure' has a record: it is skipped; what stands in a branch that is not taken"),
    ("{order: [ship, charge]}", "they began as charge, ship; expected: ship, charge"),
    ("{order: [insure]}", "step 'insure' never began"),
    ("{calls: {ship: 1}}", ":22: step 'ship' was called twice; expected: once"),
    ("{called_with: {charge: {}}}", "step 'charge' was not called"),
    ("{called_with: {ship: {body: {n: 3}}}}", "the last call of 'ship': body.n is 2, expected 3"),
    ("{called_with: {ship: [{body: {n: 1}}]}}", "step 'ship' was called twice; expected: once"),
    ("{called_with: {ship: [{}, {body: {n: 1}}]}}", "call 2 of 'ship': body.n is 2, expected 1"),
    ("{vars: {seen: 1}}", "var `seen`: it is 2, expected 1"),
    ("{compensated: [charge]}", "undone was nothing; expected, in this order: charge"),
    ("{warnings: [other]}", "no warning names other; there: 'ship' failed"),
    ("{warnings: []}", "expected were no warnings"),
    ("{duration: 1h}", "the run took 2h; expected: 1h"),
    ("{duration: {at_most: 90m}}", "the run took 2h; expected: at most 1h30m"),
    ("{duration: {at_least: 1d}}", "the run took 2h; expected: at least 1d"),
    ("{cost: 0.04}", "the run cost 0.05; expected: 0.04"),
    ("{cost: {at_most: 0.01}}", "the run cost 0.05; expected: at most 0.01"),
]


@pytest.mark.parametrize("expect", MET)
def test_what_is_as_expected_is_no_problem(tmp_path: Path, expect: str) -> None:
    assert said(tmp_path, expect) == []


@pytest.mark.parametrize(("expect", "message"), MISSED, ids=[expect for expect, _ in MISSED])
def test_what_is_not_is_told_where_it_is_expected(tmp_path: Path, expect: str, message: str) -> None:
    [problem] = said(tmp_path, expect)
    assert problem.startswith("shop.test.yaml:3:")
    assert message in problem


def test_an_error_is_compared_by_its_parts(tmp_path: Path) -> None:
    error = {
        "type": "http_409",
        "message": "it is taken already",
        "status": 409,
        "data": {"by": "ada", "at": 1},
        "step": {"id": "charge", "path": "charge"},
        "source": "shop.yaml:5:5",
    }
    failed: dict[str, Any] = {"status": "failed", "error": error, "output": None}
    good = "{status: failed, error: {type: http_409, message: taken, step: charge, status: 409, data: {by: ada}}}"
    assert said(tmp_path, good, **failed) == []
    wrong = "{status: failed, error: {type: x, message: never, step: ship, status: 1, data: {by: eve}}}"
    assert [problem.partition(": ")[2] for problem in said(tmp_path, wrong, **failed)] == [
        "the error's type is http_409; expected: x",
        "the error's message is 'it is taken already'; expected in it: 'never'",
        "the error came from step 'charge'; expected: ship",
        "the error's status is 409; expected: 1",
        'the error\'s data: by is "ada", expected "eve"',
    ]
    [problem] = said(tmp_path, "{ran: [ship]}", **failed)
    assert problem == (
        "shop.test.yaml:2:5: the run failed at step 'charge' with http_409: it is taken already (shop.yaml:5:5); "
        "expected: completed"
    )


def test_json_values_are_the_same_as_json_says() -> None:
    assert list(exact({"a": [1, {"b": None}]}, {"a": [1.0, {"b": None}]})) == []
    assert list(exact(1, True)) == ["it is true, expected 1"]
    assert list(exact({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}})) == ["a.c is 2, expected is no such member"]
    assert list(having([{"a": 1}], [{"a": 1, "b": 2}])) == []
    assert list(having({"a": {}}, {"a": 3})) == ["a is 3, expected {}"]


def test_coverage_names_the_steps_and_branches_that_nobody_reached(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(FLOW)
    (tmp_path / "shop.test.yaml").write_text("cases: [{name: one}]")
    definition = load_test_file(tmp_path / "shop.test.yaml", Project(root=tmp_path)).flow.definition
    made = result()
    made.steps = [ran("charge"), ran("large", branch="none"), ran("ship"), ran("kind", branch=0), ran("one")]
    found = coverage_of(definition, [made])
    assert (found.steps_run, found.steps, found.branches_taken, found.branches) == (5, 9, 2, 6)
    assert [str(one) for one in found.unreached] == [
        "shop.yaml:5:5: `charge`: no test takes its compensation",
        "shop.yaml:5:78: step `refund` (http) never runs",
        "shop.yaml:6:5: `large`: no test takes `then`",
        "shop.yaml:10:14: step `insure` (http) never runs",
        "shop.yaml:11:5: `ship`: no test takes its `on_error` steps",
        "shop.yaml:11:39: step `excuse` (set) never runs",
        "shop.yaml:12:5: `kind`: no test takes `default`",
        "shop.yaml:17:17: step `other` (set) never runs",
    ]


def test_a_report_is_xml_that_a_build_server_reads() -> None:
    good, bad = result(took=0.5), result(name="a \x00 <case>")
    bad.problems = [Mismatch("it & that", "shop.test.yaml:3:1")]
    unread = FileResult("other.test.yaml", problems=[Mismatch("no such step", "other.test.yaml:1:1")])
    report = Report([FileResult("shop.test.yaml", "shop", "shop.yaml", [good, bad]), unread], 1.0)
    bad.output = {"text": "\x01"}
    root = ElementTree.fromstring(junit(report))
    assert {name: root.get(name) for name in ("tests", "failures", "errors")} == {
        "tests": "2",
        "failures": "1",
        "errors": "1",
    }
    failure = root.find("testsuite/testcase/failure")
    assert failure is not None
    assert failure.get("message") == "shop.test.yaml:3:1: it & that"
    assert root.find("testsuite[@file='other.test.yaml']/testcase/error") is not None


def test_a_failed_case_shows_what_the_run_did_and_cuts_what_is_long() -> None:
    made = result(problems=[Mismatch("no", "shop.test.yaml:3:1")], compensated=["charge"])
    made.steps = [ran("charge", output="x" * 1000), ran("ship", "failed", error={"type": "late", "message": "too"})]
    lines = list(told(made))
    assert lines[0] == "shop.test.yaml:3:1: no"
    assert max(map(len, lines)) < 200
    assert any("failed     ship (http): late: too" in line for line in lines)
    assert "  undone, in this order: charge" in lines
    assert json.dumps(made.vars)
