"""How a flow looks: who waits for whom, where everything stands, and what the picture tells those who do not see it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.spec.conftest import Load

from orchestrator.spec.definition import Definition, Node
from orchestrator.spec.graph.layout import NARROW, WIDEST, Card, Drawing, Frame, drawing_of
from orchestrator.spec.graph.look import FAMILIES, SIGNS, STATES, family_of, outline
from orchestrator.spec.graph.mermaid import mermaid
from orchestrator.spec.graph.model import Box, Graph, detail_of, graph_of, place_of, static_paths
from orchestrator.spec.graph.style import DARK, LIGHT
from orchestrator.spec.graph.svg import Mark, described, svg, svg_file
from orchestrator.spec.graph.texts import cut, width_of, wrapped
from orchestrator.spec.loading import load_flow_file
from orchestrator.spec.project import load_project
from orchestrator.spec.reading import step_types

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = [file for file in sorted((ROOT / "workflows").glob("*.yaml")) if not file.name.endswith(".test.yaml")]
NESTED = """
id: nested
name: 주문 처리
version: 3
inputs: {plan: string, orders: array}
vars: {seen: 0}
steps:
  - parallel:
      - {id: left, type: transform, config: {value: 1}}
      - {id: right, type: set, config: {seen: 1}}
  - id: decide
    type: condition
    if: "{{ inputs.plan != 'none' }}"
    config:
      if: "{{ inputs.plan }} == 'pro'"
      then: [{id: ask, name: 사람이 확인, type: human-task, config: {assignee: kim}}, {id: rest, type: wait, config: {duration: 90m}}]
      else: [{id: skip, type: transform, config: {value: 0}}]
  - id: choose
    type: switch
    config:
      value: "{{ inputs.plan }}"
      cases:
        - {equals: [a, b], steps: [{id: one, type: transform, config: {value: 1}}]}
        - {if: "inputs.plan == 'c'", steps: [{id: two, type: transform, config: {value: 2}}]}
      default: [{id: other, type: fail, config: {type: unknown_plan, message: "no such plan"}}]
  - id: each
    type: for-each
    config:
      items: "{{ inputs.orders }}"
      steps:
        - id: again
          type: while
          config: {while: "loop.count < 2", max_iterations: 2, steps: [{id: poll, type: emit, config: {event: order.polled}}]}
  - id: guarded
    type: try
    config:
      steps: [{id: risky, type: file, config: {operation: read, path: a.txt}}]
      catch: [{on: [not_found, http_5xx], steps: [{id: caught, type: transform, config: {value: 1}}]}]
      finally: [{id: after, type: transform, config: {value: 2}}]
  - id: money
    type: saga
    config:
      steps:
        - id: charge
          type: state
          config: {increment: total, value: 1}
          compensate: [{id: refund, type: state, config: {increment: total, value: -1}}]
          on_error: [{id: note, type: transform, config: {value: 3}}]
error_handling:
  fallback: [{id: tell, type: transform, config: {value: 1}}]
  finally: [{id: clean, type: transform, config: {value: 1}}]
"""


def steps(*nodes: Node, **handlers: tuple[Node, ...]) -> Definition:
    return Definition("flow", "1", "hash", "flow.yaml", nodes, handlers=handlers)


def node(name: str, type_: str = "transform", needs: Sequence[str] | None = None, **lists: tuple[Node, ...]) -> Node:
    return Node(
        name,
        type_,
        "flow.yaml:1:1",
        needs=None if needs is None else tuple(needs),
        lists={key.removesuffix("_"): value for key, value in lists.items()},
    )


def named_edges(box: Box) -> set[tuple[str, str]]:
    ids = [vertex.node.id for vertex in box.vertices]
    return {(ids[before], ids[after]) for before, after in box.edges}


# -- who waits for whom -------------------------------------------------------------------------------------------


def test_without_needs_each_step_waits_for_the_one_above_it() -> None:
    graph = graph_of(steps(node("a"), node("b"), node("c")))
    assert named_edges(graph.steps) == {("a", "b"), ("b", "c")}


def test_a_step_without_needs_waits_for_all_above_that_nobody_above_waits_for() -> None:
    graph = graph_of(steps(node("a"), node("b", needs=[]), node("c", needs=["a"]), node("d"), node("e", needs=["b"])))
    assert named_edges(graph.steps) == {("a", "c"), ("b", "d"), ("c", "d"), ("b", "e")}


def test_needs_of_steps_further_down_are_drawn_too() -> None:
    graph = graph_of(steps(node("a", needs=["b"]), node("b", needs=[]), node("c")))
    assert named_edges(graph.steps) == {("b", "a"), ("a", "c")}


def test_branches_wait_for_nobody_unless_they_say_so() -> None:
    fork = node("fork", "parallel", branches=(node("a"), node("b"), node("c", needs=["a"])))
    assert named_edges(graph_of(steps(fork)).steps.vertices[0].boxes[0]) == {("a", "c")}


def test_every_step_has_a_place_that_its_journal_path_leads_to(load: Load) -> None:
    definition = load(NESTED).definition
    places = static_paths(definition)
    assert {found.id for found in places.values()} == {one.id for one in definition.walk()}
    for path, name in {
        "parallel-1/left": "left",
        "decide/then/ask": "ask",
        "choose/case[1]/two": "two",
        "choose/default/other": "other",
        "each[17]/again[3]/poll": "poll",
        "guarded/risky": "risky",
        "guarded/catch[0]/caught": "caught",
        "guarded/finally/after": "after",
        "money/charge#compensate/refund": "refund",
        "money/charge#on_error/note": "note",
        "#fallback/tell": "tell",
        "#finally/clean": "clean",
    }.items():
        assert places[place_of(path)].id == name


# -- where it stands ----------------------------------------------------------------------------------------------


def inside(inner: Card | Frame, outer: Frame) -> bool:
    return (
        outer.x <= inner.x
        and outer.y <= inner.y
        and inner.x + inner.width <= outer.x + outer.width + 0.01
        and inner.y + inner.height <= outer.y + outer.height + 0.01
    )


def overlap(one: Card | Frame, other: Card | Frame) -> bool:
    return (
        one.x < other.x + other.width - 0.01
        and other.x < one.x + one.width - 0.01
        and one.y < other.y + other.height - 0.01
        and other.y < one.y + one.height - 0.01
    )


def check_drawing(graph: Graph, drawing: Drawing) -> None:
    cards = {card.vertex.node.id: card for card in drawing.cards}
    frames = {frame.vertex.node.id: frame for frame in drawing.frames if frame.vertex is not None}
    assert set(cards) == {vertex.node.id for vertex in graph.walk()}
    for one, other in itertools.combinations(drawing.cards, 2):
        assert not overlap(one, other), (one.vertex.node.id, other.vertex.node.id)
    whole = Frame("whole", "", 0, 0, drawing.width, drawing.height)
    assert all(inside(card, whole) for card in drawing.cards)
    assert all(inside(frame, whole) for frame in drawing.frames)
    for vertex in graph.walk():
        for box in vertex.inner:
            for child in box.vertices:
                assert inside(frames.get(child.node.id, cards[child.node.id]), frames[vertex.node.id])
    for frame, another in itertools.combinations(drawing.frames, 2):
        assert not overlap(frame, another) or inside(frame, another) or inside(another, frame)
    lowest = {name: part.y + part.height for name, part in (cards | frames).items()}
    boxes = [graph.steps, *graph.handlers, *(box for vertex in graph.walk() for box in vertex.boxes)]
    for box in boxes:
        for before, after in named_edges(box):
            assert cards[after].y > lowest[before]
    assert len(drawing.arrows) == sum(len(box.edges) for box in boxes)
    assert all(top <= bottom for arrow in drawing.arrows for _, top, bottom in arrow.points)


@st.composite
def lists_of_nodes(draw: st.DrawFn, prefix: str = "s", depth: int = 2) -> tuple[Node, ...]:
    found: list[Node] = []
    for number in range(draw(st.integers(1, 5))):
        name = f"{prefix}{number}"
        needs = draw(
            st.none() | st.lists(st.sampled_from([one.id for one in found]), unique=True) if found else st.none()
        )
        labels = draw(st.sampled_from(["", "then else", "branches", "steps", "compensate", "steps on_error"]))
        inner = {label: draw(lists_of_nodes(f"{name}{label[0]}", depth - 1)) for label in labels.split() if depth > 0}
        title = draw(
            st.sampled_from(["", "Ask the customer about the parcel", "고객에게 소포에 대해 물어보기", "x" * 90])
        )
        found.append(
            Node(name, "block", "f:1:1", name=title or None, needs=None if needs is None else tuple(needs), lists=inner)
        )
    return tuple(found)


@settings(max_examples=60, deadline=None)
@given(lists_of_nodes(), st.booleans(), st.sampled_from([WIDEST, NARROW]))
def test_nothing_overlaps_and_what_waits_stands_below(nodes: tuple[Node, ...], states: bool, widest: float) -> None:
    graph = graph_of(steps(*nodes, fallback=nodes[:0], **{"finally": (node("end"),)}))
    check_drawing(graph, drawing_of(graph, states=states, widest=widest))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_every_example_can_be_drawn(file: Path) -> None:
    definition = load_flow_file(file, load_project(ROOT)).definition
    check_drawing(graph_of(definition), drawing_of(graph_of(definition)))
    ElementTree.fromstring(svg_file(definition))


def test_a_long_chain_stays_narrow_and_straight() -> None:
    graph = graph_of(steps(*(node(f"step-{number}") for number in range(200))))
    drawing = drawing_of(graph)
    check_drawing(graph, drawing)
    assert drawing.width < 300
    assert {round(x, 3) for arrow in drawing.arrows for x, _, _ in arrow.points} == {round(drawing.width / 2, 3)}


def test_many_branches_stand_in_several_rows() -> None:
    fork = node("fork", "parallel", branches=tuple(node(f"branch-{number}") for number in range(30)))
    graph = graph_of(steps(fork))
    drawing = drawing_of(graph)
    check_drawing(graph, drawing)
    assert drawing.width < 1_200
    on_a_phone = drawing_of(graph, widest=NARROW)
    check_drawing(graph, on_a_phone)
    assert on_a_phone.width < 390


def test_an_edge_does_not_run_through_the_steps_it_passes() -> None:
    graph = graph_of(steps(node("a"), node("b"), node("c"), node("d", needs=["a", "c"])))
    drawing = drawing_of(graph)
    passed = [card for card in drawing.cards if card.vertex.node.id in ("b", "c")]
    long = max(drawing.arrows, key=lambda arrow: len(arrow.points))
    assert len(long.points) == 4
    for (x, _, _), card in zip(long.points[1:3], passed, strict=True):
        assert not card.x <= x <= card.x + card.width


def test_steps_stand_so_that_arrows_do_not_cross() -> None:
    graph = graph_of(
        steps(
            *(node(name, needs=[]) for name in "abc"),
            *(node(f"after-{name}", needs=[name]) for name in "cab"),
        )
    )
    drawing = drawing_of(graph)
    check_drawing(graph, drawing)
    middle = {card.vertex.node.id: card.x + card.width / 2 for card in drawing.cards}
    left_to_right = sorted("abc", key=lambda name: middle[name])
    assert sorted("abc", key=lambda name: middle[f"after-{name}"]) == left_to_right


def test_lists_stand_in_the_order_they_are_read_though_json_sorts_them() -> None:
    labels = ("then", "else", "compensate")
    cases = (*(f"case[{number}]" for number in range(12)), "default")
    choices = tuple(
        Node(name, "switch", "f:1", lists={label: (Node(f"{name}-{label}", "set", "f:1"),) for label in sorted(found)})
        for name, found in (("one", labels), ("other", cases))
    )
    drawn = graph_of(steps(*choices)).steps.vertices
    assert [[box.label for box in vertex.boxes] for vertex in drawn] == [list(labels), list(cases)]


# -- how it looks -------------------------------------------------------------------------------------------------


def test_every_step_type_has_a_family_with_a_sign_of_its_own() -> None:
    known = {name for names in FAMILIES.values() for name in names}
    assert known == set(step_types())
    assert set(SIGNS) == set(FAMILIES)
    assert len(set(SIGNS.values())) == len(SIGNS)


def test_outlines_differ_for_those_who_wait_think_decide_and_compute() -> None:
    types = ("http", "claude", "human-task", "wait", "flow", "transform", "fail")
    assert len({outline(family_of(type_), 0, 0, 160, 60) for type_ in types}) == len(types)


def test_states_are_told_by_sign_and_words() -> None:
    assert len(set(STATES.values())) == len(STATES)
    graph = graph_of(steps(node("a"), node("b")))
    text = svg(graph, told="", marks={"a": Mark("failed", "failed after 3 tries", href="#a")})
    assert "failed after 3 tries" in text
    assert STATES["failed"] in text
    assert 'class="step shape is-failed"' in text
    assert 'class="step shape is-pending"' in text


def test_the_picture_is_told_in_words(load: Load) -> None:
    definition = load(NESTED).definition
    root = ElementTree.fromstring(svg_file(definition))
    names = {"s": "http://www.w3.org/2000/svg"}
    title, told = root.find("s:title", names), root.find("s:desc", names)
    assert title is not None and told is not None
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == f"{title.get('id')} {told.get('id')}"
    assert title.text == "주문 처리"
    assert told.text == described(graph_of(definition))
    assert told.text is not None and told.text.startswith("Flow nested, version 3: 24 steps: parallel-1, left, right, ")
    shown = "".join(root.itertext())
    for text in (
        "사람이 확인",
        "human-task",
        "90m",
        "case 1: = a, b",
        "catch: not_found, http_5xx",
        "inputs.plan == 'pro'",
        "compensate",
        "if inputs.plan",
    ):
        assert text in shown


def test_text_of_a_flow_never_becomes_markup() -> None:
    hostile = "</text><script>alert(1)</script>\"'&\x00\x0b\ud800"
    definition = Definition(
        "flow",
        "1",
        "h",
        "f",
        (Node("a", "http", "f:1", name=hostile, config={"url": hostile, "method": "GET"}),),
        name=hostile,
    )
    for text in (
        svg_file(definition),
        svg(graph_of(definition), told=hostile, marks={"a": Mark("failed", hostile, hostile)}),
    ):
        root = ElementTree.fromstring(text.encode())
        assert not [element for element in root.iter() if element.tag.endswith("script")]
    assert "<script" not in mermaid(definition)


def test_mermaid_draws_the_same_boxes_and_arrows(load: Load) -> None:
    text = mermaid(load(NESTED).definition)
    lines = text.splitlines()
    assert lines[0] == "flowchart TD"
    assert sum(line.strip().startswith("subgraph") for line in lines) == sum(line.strip() == "end" for line in lines)
    assert 'subgraph on_fallback["fallback"]' in text
    assert "  s1 --> s4" in lines
    assert "사람이 확인<br/><small>human-task</small>" in text


@pytest.mark.parametrize(
    ("type_", "config", "told"),
    [
        ("http", {"method": "POST", "url": "{{ env.BASE }}/orders"}, "POST env.BASE/orders"),
        ("wait", {"duration": 86_400}, "1d"),
        ("wait", {"duration": 5_400.0}, "90m"),
        ("wait", {"duration": 1.5}, "1.5s"),
        ("wait", {"until": "2027-01-01T00:00:00Z"}, "2027-01-01T00:00:00Z"),
        ("parallel", {"wait_for": "all"}, ""),
        ("parallel", {"wait_for": 2}, "2"),
        ("switch", {"value": True}, "true"),
        ("wait-for-event", {"event": ["order.paid", "order.void"]}, "order.paid, order.void"),
        ("transform", {"value": "anything"}, ""),
    ],
)
def test_one_line_tells_what_a_step_does(type_: str, config: dict[str, object], told: str) -> None:
    assert detail_of(Node("a", type_, "f:1", config=config)) == told


@given(st.text(max_size=80), st.floats(20, 400))
def test_what_is_cut_fits(text: str, width: float) -> None:
    assert width_of(cut(text, 12, width), 12) <= max(width, width_of("…", 12))
    lines = wrapped(text, 12, width, 2)
    assert 1 <= len(lines) <= 2
    assert all(width_of(line, 12) <= max(width, width_of("W", 12)) for line in lines)


def test_titles_break_at_blanks() -> None:
    assert wrapped("Ask the customer about the parcel", 14, 160, 2) == ["Ask the customer", "about the parcel"]


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_every_text_can_be_read_on_what_is_behind_it(colours: dict[str, str]) -> None:
    for text in ("ink", "soft", "completed", "failed", "running", "waiting", "cancelled", "compensated"):
        for behind in ("face", "frame", "list", f"{text}-face"):
            if behind in colours:
                assert contrast(colours[text], colours[behind]) >= 4.5, (text, behind)


def contrast(one: str, other: str) -> float:
    """WCAG's contrast of two colours."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(part, 16) / 255 for part in re.findall("..", colour.removeprefix("#"))]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
