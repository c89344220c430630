"""A flow without one of its steps, for each of its steps."""

from __future__ import annotations

import pytest

from orchestrator.flowtests.mutation.mutants import Mutant, mutants
from orchestrator.spec.loading import load_flow
from orchestrator.spec.project import Project

FLOW = """\
id: every-place
version: 1.10
vars: {v: 1}
steps:
  - id: a
    type: http
    config: {url: "http://x.example"}
    compensate: {id: undo, type: http, config: {url: "http://y.example"}}
    on_error:
      - {id: handled, type: set, config: {v: 1}}
  - id: b
    type: condition
    config:
      if: "{{ vars.v }} > 0"
      then:
        - {id: c, type: transform, config: {value: 1}}
        - {type: file, config: {operation: write, path: data/x, content: "{{ steps.c.output }}"}}
      else:
        - {id: d, type: transform, config: {value: 2}}
  - id: loop
    type: for-each
    config:
      items: 3
      steps:
        - {type: file, config: {operation: stat, path: data/x}}
  - id: tried
    type: try
    config:
      steps: [{id: e, type: transform, config: {value: 1}}]
      catch: [{steps: [{id: f, type: transform, config: {value: 1}}]}]
      finally: [{id: g, type: transform, config: {value: 1}}]
error_handling:
  fallback:
    - {id: h, type: queue, queue: failed, message: "{{ error.message }}"}
"""


@pytest.fixture(scope="module")
def found() -> dict[str, Mutant]:
    """Every mutant of ``FLOW`` by the removed step."""
    return {mutant.step: mutant for mutant in mutants(load_flow(FLOW, "every.yaml", Project()), Project())}


def ids(mutant: Mutant) -> list[str]:
    assert mutant.flow is not None
    return [node.id for node in mutant.flow.definition.walk()]


def test_every_step_is_removed_once_wherever_it_stands(found: dict[str, Mutant]) -> None:
    assert sorted(found) == sorted(
        ["a", "undo", "handled", "b", "c", "file-1", "d", "loop", "file-2", "tried", "e", "f", "g", "h"]
    )


def test_a_removed_step_is_named_with_its_place(found: dict[str, Mutant]) -> None:
    assert (found["a"].place, found["a"].type) == ("every.yaml:5:5", "http")
    assert found["undo"].place == "every.yaml:8:17"
    assert found["h"].place == "every.yaml:34:7"


def test_what_else_needs_a_step_makes_the_flow_without_it_impossible(found: dict[str, Mutant]) -> None:
    assert [name for name, mutant in found.items() if mutant.flow is None] == ["c"]


def test_the_other_steps_keep_the_names_they_are_shown_by(found: dict[str, Mutant]) -> None:
    assert "file-2" in ids(found["file-1"])
    assert "file-1" not in ids(found["file-1"])


@pytest.mark.parametrize("step", ["undo", "handled", "d", "e", "f", "g", "h", "file-2"])
def test_a_step_that_is_alone_in_its_list_can_be_removed(found: dict[str, Mutant], step: str) -> None:
    assert step not in ids(found[step])


def test_steps_inside_go_with_the_one_around_them(found: dict[str, Mutant]) -> None:
    assert found["tried"].inside == {"tried", "e", "f", "g"}
    assert not found["tried"].inside & set(ids(found["tried"]))


def test_everything_else_stays_as_it_was_written(found: dict[str, Mutant]) -> None:
    mutant = found["b"].flow
    assert mutant is not None
    assert (mutant.definition.flow, mutant.definition.version) == ("every-place", "1.10")
    assert [node.id for node in mutant.definition.steps] == ["a", "loop", "tried"]
    assert [node.id for node in mutant.definition.handlers["fallback"]] == ["h"]
