"""Each step of a flow left out in turn: what the tests of the flow would not notice is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from orchestrator.flowtests.lanes.lane import Lane
from orchestrator.flowtests.mutation.trial import Mutation, mutate
from orchestrator.settings import Settings
from orchestrator.spec.flowtests.loading import load_test_file
from orchestrator.spec.project import Project

pytestmark = pytest.mark.asyncio(loop_scope="module")

FLOW = """\
id: order
inputs: {amount: number}
vars: {seen: 0}
steps:
  - id: charge
    type: http
    config: {url: "https://pay.example", method: POST}
    compensate: {id: refund, type: http, config: {url: "https://pay.example/refund"}}
  - id: count
    type: set
    config: {seen: 1}
  - id: large
    type: condition
    config:
      if: "{{ inputs.amount }} > 100"
      then:
        - {id: insure, type: http, config: {url: "https://insure.example"}}
      else:
        - {id: note, type: http, config: {url: "https://note.example"}}
  - id: ship
    type: http
    config: {url: "https://ship.example"}
  - {id: tell, type: notification, config: {target: ops, message: done}}
output: {seen: "{{ vars.seen }}"}
error_handling:
  fallback:
    - {id: alarm, type: notification, target: ops, message: failed}
"""
GOOD = """\
cases:
  - name: a small order
    inputs: {amount: 5}
    mocks: &answers
      charge: {output: 1}
      insure: {output: 1}
      note: {output: 1}
      ship: {output: 1}
      tell: {output: 1}
    expect: {output: {seen: 1}, ran: [charge, note, ship, tell], skipped: [insure]}
  - name: a large order
    inputs: {amount: 500}
    mocks: *answers
    expect: {ran: [insure], calls: {ship: 1}}
  - name: what cannot be shipped is refunded
    inputs: {amount: 5}
    mocks:
      charge: {output: 1}
      note: {output: 1}
      ship: {error: http_404}
      refund: {output: 1}
      alarm: {output: 1}
    expect: {status: failed, error: {type: http_404}, compensated: [charge], ran: [alarm]}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lane(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lane]:
    """Where every case of this file runs."""
    async with Lane(Settings(project_dir=tmp_path_factory.mktemp("project"))) as opened:
        yield opened


async def mutated(lane: Lane, folder: Path, tests: str, *, acts_only: bool = False) -> Mutation:
    """What came of leaving out the steps of ``FLOW`` under these tests."""
    (folder / "order.yaml").write_text(FLOW, encoding="utf-8")
    path = folder / "order.test.yaml"
    path.write_text(tests, encoding="utf-8")
    project = Project(root=folder)
    return await mutate(lane, load_test_file(path, project), project, acts_only=acts_only)


def survivors(found: Mutation) -> list[str]:
    return [one.step for one in found.survivors]


async def test_tests_that_name_every_effect_miss_every_step(lane: Lane, tmp_path: Path) -> None:
    found = await mutated(lane, tmp_path, GOOD)
    assert found.passed, [str(one) for one in found.survivors]
    assert found.removed == 9


@pytest.mark.parametrize(
    ("promise", "kept", "unnoticed"),
    [
        ("output: {seen: 1}, ", "", ["count"]),
        (", compensated: [charge]", "", ["refund"]),
        (", ran: [alarm]", "", ["alarm"]),
        (", tell]", "]", ["tell"]),
        (", calls: {ship: 1}", "", []),
    ],
)
async def test_a_step_whose_effect_nothing_expects_survives(
    lane: Lane, tmp_path: Path, promise: str, kept: str, unnoticed: list[str]
) -> None:
    assert promise in GOOD
    found = await mutated(lane, tmp_path, GOOD.replace(promise, kept))
    assert survivors(found) == unnoticed
    assert found.failing == []


async def test_a_survivor_is_told_with_its_line_and_what_to_do(lane: Lane, tmp_path: Path) -> None:
    first = GOOD[: GOOD.index("  - name: a large order")]
    found = await mutated(lane, tmp_path, first)
    told = [str(one) for one in found.survivors]
    assert "order.yaml:8:17: no case reaches step `refund` (http); add one that does, and says what comes of it" in told
    assert [one.step for one in found.survivors if one.reached] == []
    again = await mutated(lane, tmp_path, first.replace(", tell]", "]"))
    [reached] = [one for one in again.survivors if one.reached]
    assert str(reached).startswith("order.yaml:23:5: without step `tell` (notification) every case still passes")


async def test_answers_for_a_step_are_no_promise_that_it_runs(lane: Lane, tmp_path: Path) -> None:
    found = await mutated(lane, tmp_path, GOOD.replace("ran: [charge, note, ship, tell]", "ran: [charge]"))
    assert {"note", "tell"} <= set(survivors(found)), "the mocks name them, nothing else does"


async def test_only_steps_that_act_when_that_is_asked(lane: Lane, tmp_path: Path) -> None:
    found = await mutated(lane, tmp_path, GOOD.replace("output: {seen: 1}, ", ""), acts_only=True)
    assert found.removed == 7
    assert survivors(found) == [], "`count` acts on nothing outside"


async def test_nothing_is_left_out_while_a_case_fails(lane: Lane, tmp_path: Path) -> None:
    found = await mutated(lane, tmp_path, GOOD.replace("output: {seen: 1}", "output: {seen: 2}"))
    assert not found.passed
    assert [result.name for result in found.failing] == ["a small order"]
    assert found.removed == 0
