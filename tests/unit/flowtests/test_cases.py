"""What is wrong with a test file is told before anything runs, with its place and what to write instead."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from orchestrator.errors import FlowInvalid
from orchestrator.spec.flowtests.cases import CaseFile
from orchestrator.spec.flowtests.loading import load_test_file
from orchestrator.spec.project import Project

FLOW = """
id: shop
inputs: {n: {type: integer, default: 1}}
env: {LIMIT: 3}
vars: {seen: 0}
triggers: [{type: webhook, id: door, path: /shop}]
steps:
  - {id: charge, type: http, config: {url: "https://a.example"}, compensate: {id: refund, type: http, config: {url: "https://b.example"}}}
  - {id: ask, type: human-task, config: {assignee: ada, title: Well?, decisions: [yes, no]}}
  - {id: paid, type: wait-for-event, config: {event: order.paid}}
  - {id: answer, type: wait-for-event, config: {callback: true}}
  - id: each
    type: for-each
    config: {items: 2, steps: [{id: ship, type: http, if: "loop.first", config: {url: "https://c.example"}}]}
"""


def load(folder: Path, tests: str) -> CaseFile:
    (folder / "shop.yaml").write_text(FLOW)
    path = folder / "shop.test.yaml"
    path.write_text(textwrap.dedent(tests).lstrip("\n"))
    return load_test_file(path, Project(root=folder))


def problems(folder: Path, tests: str) -> list[str]:
    with pytest.raises(FlowInvalid) as told:
        load(folder, tests)
    return [str(problem) for problem in told.value.problems]


ONE = [
    ("mocks: {chrge: {output: 1}}", "3:13: flow `shop` has no step `chrge` (did you mean `charge`?)"),
    ("mocks: {each: {output: 1}}", "3:13: `each` is a `for-each` step, which always runs for real"),
    ("mocks: {charge: {output: 1, error: x}}", "3:21: `charge`: an answer has `output` or `error`, not both"),
    ("mocks: {charge: {outptu: 1}}", "3:22: unknown key `outptu`"),
    (
        "real: [functoin]",
        "3:12: `functoin` is neither a step of flow `shop` nor a step type (did you mean `function`?)",
    ),
    ("env: {LIMT: 1}", "3:11: flow `shop` declares no env `LIMT` (did you mean `LIMIT`?)"),
    ("trigger: {type: event}", "3:21: flow `shop` declares no `event` trigger (there is `webhook`)"),
    ("trigger: {type: webhook, id: dor}", "there is no `webhook` trigger `dor` (did you mean `door`?)"),
    ("trigger: {sample: none.json}", "3:23: the sample cannot be read"),
    ("events: [{decide: charge, decision: yes}]", "`charge` is a `http` step, and nobody decides it"),
    ("events: [{decide: ask, decision: maybe}]", "`maybe` is no decision of `ask` (there is `no`, `yes`)"),
    ("events: [{decide: ask}]", "`decision` is missing: which of the task's decisions is taken"),
    ("events: [{event: order.piad}]", "waits for the event of type `order.piad` (did you mean `order.paid`?)"),
    ("events: [{signal: go}]", "no step of flow `shop` waits for the signal `go`"),
    ("events: [{callback: paid}]", "`paid` waits for no callback"),
    ("events: [{on: akk, cancel: true}]", "flow `shop` has no step `akk` (did you mean `ask`?)"),
    ("events: [{cancel: true, pause: true}]", "an event is exactly one of `decide`, `event`"),
    ("events: [{cancel: true, by: ada}]", "`by` says nothing about `cancel`"),
    ("expect: {ran: [chrge]}", "3:20: flow `shop` has no step `chrge` (did you mean `charge`?)"),
    ("expect: {ran: [charge], skipped: [charge]}", "3:39: `charge` cannot be both in `ran` and in `skipped`"),
    ("expect: {ran: [ship], not_reached: [ship]}", "`ship` cannot be both in `ran` and in `not_reached`"),
    ("expect: {status: failed, compensated: [ask]}", "`ask` has no `compensate`, so it is never undone"),
    ("expect: {status: failed, output: 1}", "a run that ends as failed has no output"),
    ("expect: {error: {type: x}}", "a run that is completed has no error (add `status: failed`)"),
    ("expect: {status: done}", "`status` must be `completed`"),
    ("expect: {calls: {each: 1}}", "`each` is a `for-each` step, which calls nothing"),
    ("expect: {called_with: {chrge: 1}}", "flow `shop` has no step `chrge`"),
    ("expect: {vars: {sen: 1}}", "flow `shop` declares no var `sen` (did you mean `seen`?)"),
    ("expect: {status: failed, error: {step: chrge}}", "flow `shop` has no step `chrge`"),
    ("expct: {}", "3:5: unknown key `expct` in a test file (did you mean `expect`?)"),
]


@pytest.mark.parametrize(("line", "said"), ONE, ids=[line for line, _ in ONE])
def test_a_mistake_is_told_with_its_place(tmp_path: Path, line: str, said: str) -> None:
    [problem] = problems(tmp_path, f"cases:\n  - name: one\n    {line}\n")
    assert problem.startswith("shop.test.yaml:3:")
    assert said in problem


def test_a_mistake_in_the_defaults_is_told_there(tmp_path: Path) -> None:
    tests = "defaults:\n  mocks:\n    chrge: {output: 1}\ncases: [{name: one}, {name: two}]\n"
    assert problems(tmp_path, tests) == ["shop.test.yaml:3:5: flow `shop` has no step `chrge` (did you mean `charge`?)"]


def test_a_step_in_a_loop_may_run_and_be_skipped(tmp_path: Path) -> None:
    assert load(tmp_path, "cases: [{name: one, expect: {ran: [ship], skipped: [ship]}}]").cases


def test_inputs_beside_a_trigger_are_refused(tmp_path: Path) -> None:
    tests = "cases:\n  - name: one\n    inputs: {n: 1}\n    trigger: {type: webhook}\n"
    assert "takes its inputs from the trigger" in problems(tmp_path, tests)[0]


def test_two_cases_of_one_name_are_refused(tmp_path: Path) -> None:
    said = problems(tmp_path, "cases:\n  - name: one\n  - name: one\n")
    assert said == ["shop.test.yaml:3:11: two cases are called `one` (first at line 2)"]


def test_a_file_without_a_flow_says_where_it_looked(tmp_path: Path) -> None:
    (tmp_path / "other.test.yaml").write_text("cases: [{name: one}]")
    with pytest.raises(FlowInvalid, match=r"there is no flow file `other\.yaml` beside this one"):
        load_test_file(tmp_path / "other.test.yaml", Project(root=tmp_path))


def test_a_file_that_is_no_mapping_and_one_without_cases_are_refused(tmp_path: Path) -> None:
    assert "a test file is a mapping with `cases`" in problems(tmp_path, "- 1\n")[0]
    assert "`cases` is missing" in problems(tmp_path, "flow: shop\n")[0]
    assert "needs at least 1 item" in problems(tmp_path, "cases: []\n")[0]


def test_the_entries_of_a_case_win_over_the_defaults_one_by_one(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        """
        defaults:
          inputs: {n: 1, m: 1}
          env: {LIMIT: 1}
          mocks: {charge: {output: default}, refund: {output: default}}
          real: [function]
          timeout: 5s
        cases:
          - name: own
            inputs: {n: 2}
            mocks: {charge: [{output: own}]}
            real: [state]
          - name: none
            timeout: 1m
        """,
    )
    own, none = loaded.cases
    assert own.inputs == {"n": 2, "m": 1}
    assert own.env == {"LIMIT": 1}
    assert own.mocks["charge"].answers[0].output == "own"
    assert own.mocks["charge"].in_order
    assert own.mocks["refund"].answers[0].output == "default"
    assert own.real == {"function", "state"}
    assert (own.timeout, none.timeout) == (5, 60)
    assert own.mocks["charge"].where == "shop.test.yaml:10:13"
