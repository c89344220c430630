"""A flow as a Mermaid flowchart."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.spec.definition import Definition
from orchestrator.spec.graph.model import Box, Vertex, graph_of

_DECISIONS = ("condition", "switch")


def mermaid(definition: Definition) -> str:
    """The flow's steps and who waits for whom. Lists inside a step (branches, then, else) are boxes in its box."""
    graph = graph_of(definition)
    names = {vertex.node.id: f"s{number}" for number, vertex in enumerate(graph.walk(), 1)}
    lines = ["flowchart TD"]
    lines += [f"  {line}" for line in _list(graph.steps, names)]
    for handler in graph.handlers:
        lines.append(f'  subgraph on_{handler.label}["{handler.label}"]')
        lines += [f"    {line}" for line in _list(handler, names)]
        lines.append("  end")
    return "\n".join(lines)


def _list(box: Box, names: dict[str, str]) -> Iterator[str]:
    for position, vertex in enumerate(box.vertices):
        yield from _vertex(vertex, names)
        name = names[vertex.node.id]
        yield from (
            f"{names[box.vertices[before].node.id]} --> {name}" for before, after in box.edges if after == position
        )


def _vertex(vertex: Vertex, names: dict[str, str]) -> Iterator[str]:
    node = vertex.node
    name = names[node.id]
    label = _quoted(f"{_safe(node.name or node.id)}<br/><small>{node.type}</small>")
    if not vertex.boxes:
        yield f"{name}{{{{{label}}}}}" if node.type in _DECISIONS else f"{name}[{label}]"
        return
    yield f"subgraph {name}[{label}]"
    for box in vertex.boxes:
        key = "".join(character if character.isalnum() else "_" for character in box.label)
        yield f"  subgraph {name}_{key}[{_quoted(_safe(box.title))}]"
        for line in _list(box, names):
            yield f"    {line}"
        yield "  end"
    yield "end"


def _quoted(text: str) -> str:
    return f'"{text}"'


def _safe(text: str) -> str:
    """Text that Mermaid takes as it is: its labels are HTML."""
    for sign, code in (("#", "#35;"), ("&", "#amp;"), ('"', "#quot;"), ("<", "#lt;"), (">", "#gt;")):
        text = text.replace(sign, code)
    return text
