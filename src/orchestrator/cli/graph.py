"""A flow as a Mermaid flowchart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.spec.definition import Definition, Node

_DECISIONS = {"condition", "switch"}


def mermaid(definition: Definition) -> str:
    """The flow's steps and who waits for whom. Lists inside a step (branches, then, else) are boxes in its box."""
    names: dict[str, str] = {}
    for number, node in enumerate(definition.walk(), 1):
        names[node.id] = f"s{number}"
    lines = ["flowchart TD"]
    lines += [f"  {line}" for line in _list(definition.steps, names, ordered=True)]
    for handler, nodes in definition.handlers.items():
        lines.append(f'  subgraph on_{handler}["{handler}"]')
        lines += [f"    {line}" for line in _list(nodes, names, ordered=True)]
        lines.append("  end")
    return "\n".join(lines)


def _list(nodes: Sequence[Node], names: dict[str, str], *, ordered: bool) -> Iterator[str]:
    for position, node in enumerate(nodes):
        yield from _node(node, names)
        waits = node.needs
        if waits is None:
            waits = (nodes[position - 1].id,) if ordered and position else ()
        for needed in waits:
            if needed in names:
                yield f"{names[needed]} --> {names[node.id]}"


def _node(node: Node, names: dict[str, str]) -> Iterator[str]:
    name = names[node.id]
    label = _quoted(f"{node.name or node.id}<br/><small>{node.type}</small>")
    if not node.lists:
        yield f"{name}{{{{{label}}}}}" if node.type in _DECISIONS else f"{name}[{label}]"
        return
    yield f"subgraph {name}[{label}]"
    for title, children in node.lists.items():
        if not children:
            continue
        box = f"{name}_{''.join(character if character.isalnum() else '_' for character in title)}"
        yield f"  subgraph {box}[{_quoted(title)}]"
        for line in _list(children, names, ordered=title != "branches"):
            yield f"    {line}"
        yield "  end"
    yield "end"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', "#quot;") + '"'
