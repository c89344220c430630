"""A journal path leads to one step of the definition, and a step's content can be told from its position."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.spec.definition import Definition, Node
from orchestrator.spec.places import (
    Place,
    content_hash_of,
    is_inside,
    locate,
    loop_prefix,
    own_hash_of,
    path_of,
    paths_inside,
    places,
)


def leaf(name: str) -> Node:
    return Node(name, "http", "f.yaml:1:1", config={"url": "https://x.example"})


def holder(name: str, kind: str, **lists: list[Node]) -> Node:
    named = {
        key.replace("_0", "[0]").replace("_1", "[1]").removesuffix("_"): tuple(value) for key, value in lists.items()
    }
    return Node(name, kind, "f.yaml:1:1", lists=named)


def definition(*steps: Node, **handlers: list[Node]) -> Definition:
    named = {name.removesuffix("_"): tuple(nodes) for name, nodes in handlers.items()}
    return Definition("f", "1", "0", "f.yaml", tuple(steps), handlers=named)


EVERYTHING = definition(
    leaf("top"),
    holder("blk", "block", steps=[leaf("in-blk")], on_error=[leaf("rescue")], compensate=[leaf("undo")]),
    holder("par", "parallel", branches=[leaf("left"), holder("right", "block", steps=[leaf("deep")])]),
    holder("cond", "condition", then=[leaf("then")], else_=[leaf("otherwise")]),
    holder("sw", "switch", case_0=[leaf("first")], case_1=[leaf("case")], default=[leaf("심사")]),
    holder(
        "each",
        "for-each",
        steps=[leaf("one"), holder("case-2", "while", steps=[leaf("again")], compensate=[leaf("take-back")])],
        on_error=[leaf("each-failed")],
    ),
    holder("careful", "try", steps=[leaf("risky"), holder("finally", "block", steps=[leaf("body")])],
           catch_0=[leaf("caught")], catch_1=[leaf("caught-2")], finally_=[leaf("last")]),
    holder("order", "saga", steps=[leaf("charge")]),
    Node("plan", "run-steps", "f.yaml:9:9"),
    fallback=[leaf("tell")],
    finally_=[holder("tidy", "block", steps=[leaf("sweep")])],
)  # fmt: skip


@pytest.mark.parametrize(
    ("path", "step", "label", "pass_"),
    [
        ("top", "top", "steps", ""),
        ("blk/in-blk", "in-blk", "steps", ""),
        ("blk#on_error/rescue", "rescue", "on_error", ""),
        ("blk#compensate/undo", "undo", "compensate", ""),
        ("par/left", "left", "branches", ""),
        ("par/right/deep", "deep", "steps", ""),
        ("cond/then/then", "then", "then", ""),
        ("cond/else/otherwise", "otherwise", "else", ""),
        ("sw/case[0]/first", "first", "case[0]", ""),
        ("sw/case[1]/case", "case", "case[1]", ""),
        ("sw/default/심사", "심사", "default", ""),
        ("each", "each", "steps", ""),
        ("each[0]/one", "one", "steps", "each[0]/"),
        ("each[17]/one", "one", "steps", "each[17]/"),
        ("each[17]/case-2", "case-2", "steps", "each[17]/"),
        ("each[17]/case-2[3]/again", "again", "steps", "each[17]/case-2[3]/"),
        ("each[17]/case-2#compensate/take-back", "take-back", "compensate", "each[17]/"),
        ("each#on_error/each-failed", "each-failed", "on_error", ""),
        ("careful/risky", "risky", "steps", ""),
        ("careful/finally", "finally", "steps", ""),
        ("careful/finally/body", "body", "steps", ""),
        ("careful/finally/last", "last", "finally", ""),
        ("careful/catch[1]/caught-2", "caught-2", "catch[1]", ""),
        ("order/charge", "charge", "steps", ""),
        ("#fallback/tell", "tell", "fallback", ""),
        ("#finally/tidy/sweep", "sweep", "steps", ""),
    ],
)
def test_a_path_leads_to_its_step(path: str, step: str, label: str, pass_: str) -> None:
    place = locate(EVERYTHING, path)
    assert (place.node.id, place.path, place.list_name, loop_prefix(place)) == (step, path, label, pass_)
    assert place.siblings + step == path


def test_a_place_knows_the_steps_around_it() -> None:
    place = locate(EVERYTHING, "each[17]/case-2[3]/again")
    assert [(around.node.id, around.path, around.label, around.index, around.inner) for around in place.parents] == [
        ("each", "each", "steps", 17, "each[17]/"),
        ("case-2", "each[17]/case-2", "steps", 3, "each[17]/case-2[3]/"),
    ]


@pytest.mark.parametrize(
    ("path", "reached"),
    [
        ("", "it begins with no step"),
        ("tip", "it begins with no step"),
        ("#nothing/tell", "it begins with no step"),
        ("top/x", "followed to `top`"),
        ("top[0]", "followed to `top`"),
        ("top[0]/x", "followed to `top`"),
        ("top#on_error/x", "followed to `top`"),
        ("blk/in-blkk", "followed to `blk`"),
        ("blk[1]/in-blk", "followed to `blk`"),
        ("cond/otherwise", "followed to `cond`"),
        ("cond/then/otherwise", "followed to `cond`"),
        ("sw/case[7]/first", "followed to `sw`"),
        ("each[17]", "followed to `each`"),
        ("each/one", "followed to `each`"),
        ("each[x]/one", "followed to `each`"),
        ("each[" + "9" * 5000 + "]/one", "followed to `each`"),
        ("careful/finally/risky", "followed to `careful/finally`"),
        ("plan/step", "followed to `plan`"),
        ("top/" * 50_000, "followed to `top`"),
    ],
)
def test_what_leads_nowhere_says_how_far_it_could_be_followed(path: str, reached: str) -> None:
    with pytest.raises(LookupError, match="is no step of flow `f`") as caught:
        locate(EVERYTHING, path)
    assert reached in str(caught.value)


def test_computed_steps_are_found_where_they_are_given() -> None:
    computed = {"plan": (holder("look", "block", steps=[leaf("closer")]),)}
    place = locate(EVERYTHING, "plan/look/closer", computed)
    assert [around.path for around in place.parents] == ["plan", "plan/look"]


def test_a_step_has_one_path_by_its_id_unless_a_loop_is_around_it() -> None:
    assert path_of(EVERYTHING, "last") == "careful/finally/last"
    assert path_of(EVERYTHING, "sweep") == "#finally/tidy/sweep"
    with pytest.raises(LookupError, match=r"for every pass, such as `each\[0\]/case-2\[0\]/again`"):
        path_of(EVERYTHING, "again")
    with pytest.raises(LookupError, match="no step `nobody`"):
        path_of(EVERYTHING, "nobody")


@pytest.mark.parametrize(
    ("path", "outer", "inside"),
    [
        ("each[3]/x", "each", True),
        ("each[3]/x", "each[3]", True),
        ("each[31]/x", "each[3]", False),
        ("each#on_error/x", "each", True),
        ("each-2/x", "each", False),
        ("each", "each", False),
        ("a/b", "b", False),
    ],
)
def test_inside_is_told_by_whole_names(path: str, outer: str, inside: bool) -> None:
    assert is_inside(path, outer) is inside
    assert paths_inside(outer, [path, "other"]) == ([path] if inside else [])


NAMES = st.sampled_from(
    ["a", "case", "finally", "then", "default", "catch", "each-1", "심사", "_", "9", "else", "steps"]
)


@st.composite
def trees(draw: Any) -> Definition:
    """Definitions of any shape, ids unique and as confusing as possible."""
    counter = iter(range(10_000))

    def node(depth: int) -> Node:
        kinds = ["http"] if depth == 0 else list(SHAPES)
        kind = draw(st.sampled_from(kinds))
        number = next(counter)
        name = draw(NAMES)
        lists = {label: tuple(nodes(depth - 1)) for label in SHAPES[kind]}
        for label in ("on_error", "compensate"):
            if depth and draw(st.integers(0, 4)) == 0:
                lists[label] = tuple(nodes(depth - 1))
        return Node(f"{name}{'' if number < 1 else number}", kind, "f:1:1", lists=lists)

    def nodes(depth: int) -> Iterator[Node]:
        return iter([node(depth) for _ in range(draw(st.integers(1, 2)))])

    return Definition("f", "1", "0", "f", tuple(nodes(3)), handlers={"finally": tuple(nodes(1))})


SHAPES: dict[str, tuple[str, ...]] = {
    "http": (), "block": ("steps",), "saga": ("steps",), "parallel": ("branches",), "condition": ("then", "else"),
    "switch": ("case[0]", "case[1]", "default"), "for-each": ("steps",), "while": ("steps",),
    "try": ("steps", "catch[0]", "finally"),
}  # fmt: skip


@given(trees())
def test_every_step_of_any_definition_is_found_by_its_path(tree: Definition) -> None:
    found = list(places(tree))
    assert [place.node for place in found] == list(tree.walk())
    assert len({place.path for place in found}) == len(found), "no two steps share a path"
    for place in found:
        assert locate(tree, place.path) == place


@given(trees(), st.integers(0, 10**6))
def test_the_pass_of_every_loop_is_read_from_the_path(tree: Definition, number: int) -> None:
    for place in places(tree):
        again: Place = locate(tree, place.path.replace("[0]/", f"[{number}]/")) if _only_loops(place) else place
        expected = [None if around.index is None else number for around in place.parents]
        assert not _only_loops(place) or [around.index for around in again.parents] == expected


def _only_loops(place: Place) -> bool:
    return not any(around.label.startswith(("case[", "catch[")) for around in place.parents)


def test_the_content_of_a_step_is_neither_its_line_nor_its_limits() -> None:
    inner = leaf("inner")
    step = replace(holder("s", "block", steps=[inner], compensate=[leaf("undo")]), condition="inputs.a")
    moved = replace(step, source="f.yaml:99:1", name="New", priority=1, durability="express", needs=("x",))
    assert content_hash_of(moved) == content_hash_of(step)
    other_undo = replace(step, lists=step.lists | {"compensate": ()})
    assert content_hash_of(other_undo) == content_hash_of(step), "how it is undone says nothing about what it did"


@pytest.mark.parametrize(
    "change",
    [
        {"id": "t"},
        {"type": "api"},
        {"config": {"url": "https://y.example"}},
        {"condition": "inputs.b"},
        {"on_error": "continue"},
        {"output_schema": {"type": "object"}},
        {"bindings": {"services": {"crm": {}}}},
        {"lists": {"on_error": (leaf("other"),)}},
    ],
)
def test_what_makes_another_result_makes_another_step(change: dict[str, Any]) -> None:
    step = leaf("s")
    changed = replace(step, **change)
    assert content_hash_of(changed) != content_hash_of(step)
    around = holder("b", "block", steps=[step])
    holding = replace(around, lists={"steps": (changed,)})
    assert content_hash_of(holding) != content_hash_of(around)
    assert own_hash_of(holding) == own_hash_of(around)
