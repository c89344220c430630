"""A flow as an SVG picture: light or dark as the reader has it, and told in words for those who do not see it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from orchestrator.spec.definition import Definition
from orchestrator.spec.graph import layout
from orchestrator.spec.graph.layout import Arrow, Aside, Card, Drawing, Frame, drawing_of
from orchestrator.spec.graph.look import SIGNS, STATES, family_of, inset_of, outline
from orchestrator.spec.graph.model import Graph, graph_of
from orchestrator.spec.graph.style import STYLE
from orchestrator.spec.graph.texts import cut

_NO_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML file may hold."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What a run says of a step: ``status`` is one of ``look.STATES``, ``text`` its line in words, ``href`` where more
    is told."""

    status: str
    text: str
    href: str | None = None


def svg_file(definition: Definition) -> str:
    """The flow as an SVG file that needs nothing beside it."""
    graph = graph_of(definition)
    picture = svg(graph, told=described(graph), styled=True)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{picture}\n'


def described(graph: Graph) -> str:
    """The flow in a sentence."""
    vertices = list(graph.walk())
    first = ", ".join(vertex.node.name or vertex.node.id for vertex in vertices[:12])
    more = f" and {len(vertices) - 12} more" if len(vertices) > 12 else ""
    return f"Flow {graph.flow}, version {graph.version}: {len(vertices)} steps: {first}{more}."


def svg(
    graph: Graph,
    *,
    told: str,
    marks: Mapping[str, Mark] | None = None,
    styled: bool = False,
    narrow: bool = False,
    key: str = "graph",
) -> str:
    """The flow as an ``<svg>`` element.

    ``told`` describes it in words. ``marks`` are what a run says of its steps, by id; a step without one has not begun.
    ``styled`` puts the style sheet in; without it the page around has ``STYLE``. ``narrow`` draws it for a phone.
    ``key`` begins the ids of its parts, for pages with several.
    """
    widest = layout.NARROW if narrow else layout.WIDEST
    drawing = drawing_of(graph, states=marks is not None, widest=widest)
    width, height = round(drawing.width), round(drawing.height)
    shape = "flow-graph narrow" if narrow else "flow-graph"
    return "\n".join(
        [
            f'<svg class="{shape}" xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="{key}-title '
            f'{key}-told" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
            f'<title id="{key}-title">{_safe(graph.title)}</title><desc id="{key}-told">{_safe(told)}</desc>',
            f"<style>{STYLE}</style>" if styled else "",
            f'<defs><marker id="{key}-arrow" class="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
            'markerHeight="8" orient="auto"><path d="M0 .5L8 4L0 7.5Z"/></marker></defs>',
            *_parts(drawing, marks, key),
            "</svg>",
        ]
    )


def _parts(drawing: Drawing, marks: Mapping[str, Mark] | None, key: str) -> Iterator[str]:
    for frame in drawing.frames:
        yield from _frame(frame, marks)
    for arrow in drawing.arrows:
        yield f'<path class="arrow" d="{_curve(arrow)}" marker-end="url(#{key}-arrow)"/>'
    for aside in drawing.asides:
        yield _dashes(aside)
    for card in drawing.cards:
        yield from _card(card, marks)


def _frame(frame: Frame, marks: Mapping[str, Mark] | None) -> Iterator[str]:
    state = _state(frame.vertex.node.id, marks) if frame.vertex is not None else ""
    yield (
        f'<rect class="frame {frame.kind}{state}" x="{frame.x:g}" y="{frame.y:g}" width="{frame.width:g}" '
        f'height="{frame.height:g}" rx="9"/>'
    )
    if frame.title:
        room = frame.width - 2 * layout.PADDING
        shown = cut(frame.title, layout.SMALL * 1.08, room)
        whole = f"<title>{_safe(frame.title)}</title>" if shown != frame.title else ""
        yield (
            f'<text class="label" x="{frame.x + layout.PADDING:g}" y="{frame.y + 17:g}">{whole}{_safe(shown)}</text>'
        )


def _card(card: Card, marks: Mapping[str, Mark] | None) -> Iterator[str]:
    node = card.vertex.node
    family = family_of(node.type)
    mark = None if marks is None else marks.get(node.id)
    link = mark is not None and mark.href is not None
    if mark is not None and mark.href is not None:
        # Not a stop for the keyboard: the page around lists the same steps with the same links.
        yield f'<a href="{_safe(mark.href)}" tabindex="-1">'
    told = [node.name or "", node.id, node.type, mark.text if mark else ""]
    head = " head" if card.head else ""
    yield f'<g class="step {family}{head}{_state(node.id, marks)}">'
    yield f"<title>{_safe(' · '.join(part for part in told if part))}</title>"
    if card.head:
        yield f'<rect class="hit" x="{card.x:g}" y="{card.y:g}" width="{card.width:g}" height="{card.height:g}"/>'
    else:
        yield f'<path class="face" d="{outline(family, card.x, card.y, card.width, card.height)}"/>'
    yield from _words(card, family)
    if marks is not None:
        yield from _told(card, mark)
    yield "</g>"
    if link:
        yield "</a>"


def _words(card: Card, family: str) -> Iterator[str]:
    x, y = _left(card), card.y + layout.PADDING
    beside = x + layout.ICON_ROOM
    yield f'<path class="sign" transform="translate({x:g} {y - 1:g})" d="{SIGNS[family]}"/>'
    y += 13
    for line in card.title:
        yield f'<text class="title" x="{beside:g}" y="{y:g}">{_safe(line)}</text>'
        y += layout.LINE
    y -= 3
    yield f'<text class="type" x="{beside:g}" y="{y:g}">{_safe(card.vertex.node.type)}</text>'
    for line in card.details:
        y += layout.SMALL_LINE
        yield f'<text class="detail" x="{beside:g}" y="{y:g}">{_safe(line)}</text>'


def _told(card: Card, mark: Mark | None) -> Iterator[str]:
    """The line with the step's state: a sign and words."""
    if mark is None:
        return
    x, y = _left(card), card.y + card.height - layout.PADDING + 1
    y -= layout.HEAD_ROOM if card.head else 0
    yield f'<path class="state-sign" transform="translate({x:g} {y - 11:g}) scale(.8)" d="{STATES[mark.status]}"/>'
    room = card.x + card.width - x - layout.PADDING - layout.ICON_ROOM
    shown = cut(mark.text, layout.SMALL * 1.08, room)
    yield f'<text class="state" x="{x + layout.ICON_ROOM:g}" y="{y:g}">{_safe(shown)}</text>'


def _left(card: Card) -> float:
    return card.x + layout.PADDING + (0 if card.head else inset_of(family_of(card.vertex.node.type)))


def _state(step: str, marks: Mapping[str, Mark] | None) -> str:
    if marks is None:
        return ""
    return f" is-{marks[step].status}" if step in marks else " is-pending"


def _curve(arrow: Arrow) -> str:
    """Straight down past what stands in the same layer, then over to the next."""
    (x, top, bottom), *rest = arrow.points
    parts = [f"M{x:g} {top:g}V{bottom:g}"]
    for number, (to, above, below) in enumerate(rest, 1):
        above -= 1 if number == len(rest) else 0
        middle = (bottom + above) / 2
        parts.append(f"V{above:g}" if abs(to - x) < 0.5 else f"C{x:g} {middle:g} {to:g} {middle:g} {to:g} {above:g}")
        if number < len(rest):
            parts.append(f"V{below:g}")
        x, bottom = to, below
    return "".join(parts)


def _dashes(aside: Aside) -> str:
    return f'<path class="aside-line" d="M{aside.x:g} {aside.y:g}H{aside.to:g}"/>'


def _safe(text: str) -> str:
    return html.escape(_NO_XML.sub("\ufffd", text))
