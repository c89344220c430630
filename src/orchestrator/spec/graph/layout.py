"""Where every part of a flow's picture stands: sizes from the inside out, then positions from the outside in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestrator.spec.graph.layers import Laid, Line, Size, lay
from orchestrator.spec.graph.look import family_of, inset_of
from orchestrator.spec.graph.model import Box, Graph, Vertex, condition_of, detail_of
from orchestrator.spec.graph.texts import bold, cut, width_of, wrapped

TITLE = 14.0
SMALL = 11.5
DETAIL = 10.5
LINE = 18.0
SMALL_LINE = 15.0
PADDING = 12.0
ICON = 16.0
ICON_ROOM = ICON + 9.0
STATE_LINE = 20.0
LABEL = 24.0
HEAD_ROOM = 5.0
"""Sizes in pixels: of a step's title, of everything smaller, of their lines; the room around and beside; the line of a
step's state, and that of a list's title; the room below the head of a step with lists inside."""

_MARGIN = 16.0
_GAP = 20.0
_DROP = 34.0
WIDEST = 1_060.0
NARROW = 300.0
"""Pixels after which members side by side go on in another row: on a screen, on a phone."""
_TEXT = 216.0
"""Most pixels a title's line takes before it is broken."""
_LEAST = 148.0
_SINGLE = ("steps", "branches")


@dataclass(frozen=True, slots=True)
class Card:
    """A step's face: the whole of it, or the head of the frame around its lists."""

    vertex: Vertex
    x: float
    y: float
    width: float
    height: float
    title: tuple[str, ...]
    details: tuple[str, ...]
    head: bool


@dataclass(frozen=True, slots=True)
class Frame:
    """A rectangle around steps. ``kind``: ``step`` around a step's lists, ``list`` around one of them, ``aside`` around
    a list that runs when something went wrong."""

    kind: str
    title: str
    x: float
    y: float
    width: float
    height: float
    vertex: Vertex | None = None


@dataclass(frozen=True, slots=True)
class Arrow:
    """Who waits for whom, as ``(x, top, bottom)`` points; ``aside`` is the line to what is beside a step."""

    points: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True, slots=True)
class Aside:
    """The line from a step to what runs when something went wrong with it."""

    x: float
    y: float
    to: float


@dataclass(slots=True)
class Drawing:
    """Everything there is to draw, in the order in which it is drawn."""

    width: float = 0.0
    height: float = 0.0
    frames: list[Frame] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)
    asides: list[Aside] = field(default_factory=list)
    cards: list[Card] = field(default_factory=list)


def drawing_of(graph: Graph, *, states: bool = False, widest: float = WIDEST) -> Drawing:
    """The picture of a flow. ``states`` leaves room for a line about each step's state; what stands side by side goes
    on in another row after ``widest`` pixels."""
    measure = _Measure(states=states, widest=widest)
    drawing = Drawing()
    steps = measure.box(graph.steps, framed=False)
    handlers = [measure.box(box, framed=True) for box in graph.handlers]
    beneath = sum(part.size.width for part in handlers) + _GAP * max(len(handlers) - 1, 0)
    inner = max(steps.size.width, beneath)
    steps.put(drawing, _MARGIN + (inner - steps.size.width) / 2, _MARGIN)
    bottom = _MARGIN + steps.size.height
    left = _MARGIN + (inner - beneath) / 2
    for part in handlers:
        part.put(drawing, left, bottom + _DROP)
        left += part.size.width + _GAP
    drawing.width = inner + 2 * _MARGIN
    drawing.height = bottom + max((part.size.height + _DROP for part in handlers), default=0.0) + _MARGIN
    return drawing


@dataclass(slots=True)
class _List:
    """A measured list."""

    box: Box
    parts: list[_Step]
    laid: Laid
    framed: bool
    kind: str
    size: Size

    def put(self, drawing: Drawing, x: float, y: float) -> None:
        """Draw it with its upper left corner there."""
        if self.framed:
            drawing.frames.append(Frame(self.kind, self.box.title, x, y, self.size.width, self.size.height))
            x += (self.size.width - self.laid.width) / 2
            y += LABEL + PADDING / 2
        for line in self.laid.lines:
            drawing.arrows.append(_arrow(line, self.parts, x, y))
        for part, (dx, dy) in zip(self.parts, self.laid.positions, strict=True):
            part.put(drawing, x + dx, y + dy)


@dataclass(slots=True)
class _Step:
    """A measured step: its card, the lists inside in rows, the lists beside it."""

    vertex: Vertex
    title: tuple[str, ...]
    details: tuple[str, ...]
    card: tuple[float, float]
    rows: list[list[_List]]
    asides: list[_List]
    frame: tuple[float, float]
    """Width and height of the card with the lists inside; the card's own where there are none."""
    size: Size

    def put(self, drawing: Drawing, x: float, y: float) -> None:
        """Draw it with its upper left corner there."""
        width, height = self.frame
        if self.rows:
            drawing.frames.append(Frame("step", "", x, y, width, height, self.vertex))
        drawing.cards.append(
            Card(self.vertex, x, y, width, self.card[1], self.title, self.details, head=bool(self.rows))
        )
        top = y + self.card[1]
        for row in self.rows:
            left = x + (width - _across(row)) / 2
            for part in row:
                part.put(drawing, left, top)
                left += part.size.width + _GAP
            top += max(part.size.height for part in row) + PADDING
        top = y
        for part in self.asides:
            drawing.asides.append(Aside(x + width, top + LABEL / 2, x + width + _GAP))
            part.put(drawing, x + width + _GAP, top)
            top += part.size.height + PADDING


class _Measure:
    """Works out how large everything is."""

    def __init__(self, *, states: bool, widest: float) -> None:
        self._states = states
        self._widest = widest

    def box(self, box: Box, *, framed: bool, kind: str = "list") -> _List:
        parts = [self._step(vertex) for vertex in box.vertices]
        laid = lay([part.size for part in parts], box.edges, gap=_GAP, drop=_DROP, widest=self._widest)
        if not framed:
            return _List(box, parts, laid, framed, kind, Size(laid.width, laid.height, laid.port))
        width = max(laid.width, min(bold(box.title, SMALL), 2 * _TEXT, self._widest)) + 2 * PADDING
        return _List(box, parts, laid, framed, kind, Size(width, laid.height + LABEL + 1.5 * PADDING, width / 2))

    def _step(self, vertex: Vertex) -> _Step:
        inner = vertex.inner
        single = len(inner) == 1 and inner[0].label in _SINGLE
        lists = [self.box(box, framed=not single) for box in inner]
        rows = _in_rows(lists, self._widest)
        within = max((_across(row) for row in rows), default=0.0)
        title, details, card = self._card(vertex, max(within, _TEXT))
        if rows:
            card = (card[0], card[1] + HEAD_ROOM)
        width, height = card
        if rows:
            width = max(width, within + 2 * PADDING)
            height += sum(max(part.size.height for part in row) + PADDING for row in rows)
        asides = [self.box(box, framed=True, kind="aside") for box in vertex.asides]
        beside = max((part.size.width + _GAP for part in asides), default=0.0)
        tallest = sum(part.size.height for part in asides) + PADDING * max(len(asides) - 1, 0)
        size = Size(width + beside, max(height, tallest), width / 2)
        return _Step(vertex, title, details, card, rows, asides, (width, height), size)

    def _card(self, vertex: Vertex, most: float) -> tuple[tuple[str, ...], tuple[str, ...], tuple[float, float]]:
        node = vertex.node
        title = tuple(wrapped(node.name or node.id, TITLE, most, 2))
        notes = [detail_of(node), condition_of(node)]
        details = tuple(cut(text, DETAIL, most) for text in notes if text)
        inset = inset_of(family_of(node.type))
        widest = max(
            *(bold(line, TITLE) for line in title),
            width_of(node.type, SMALL),
            *(width_of(line, DETAIL) for line in details),
            (_LEAST + 36.0 if self._states else _LEAST) - ICON_ROOM,
        )
        height = 2 * PADDING + LINE * len(title) + SMALL_LINE * (1 + len(details))
        height += STATE_LINE if self._states else 0.0
        return title, details, (widest + ICON_ROOM + 2 * (PADDING + inset), height - 6)


def _in_rows(parts: Sequence[_List], widest: float) -> list[list[_List]]:
    rows: list[list[_List]] = []
    for part in parts:
        if rows and _across(rows[-1]) + _GAP + part.size.width <= widest:
            rows[-1].append(part)
        else:
            rows.append([part])
    return rows


def _across(row: Sequence[_List]) -> float:
    return sum(part.size.width for part in row) + _GAP * (len(row) - 1)


def _arrow(line: Line, parts: Sequence[_Step], x: float, y: float) -> Arrow:
    """The line from the lower edge of the step's own frame, which may end above what stands beside it."""
    points = [(x + at, y + top, y + bottom) for at, top, bottom in line.points]
    part = parts[line.before]
    at, top, bottom = points[0]
    points[0] = (at, top - part.size.height + part.frame[1], bottom)
    return Arrow(tuple(points))
