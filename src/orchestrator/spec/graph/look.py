"""How types and states are told apart: a shape and a sign for each family of types, a sign for each state."""

from __future__ import annotations

FAMILIES: dict[str, tuple[str, ...]] = {
    "web": ("http", "api", "mcp"),
    "claude": ("claude", "agent"),
    "function": ("function",),
    "data": ("sql", "state"),
    "file": ("file",),
    "message": ("email", "slack", "notification", "multi-channel"),
    "queue": ("queue", "emit"),
    "person": ("human-task",),
    "decide": ("condition", "switch"),
    "repeat": ("for-each", "while"),
    "together": ("parallel",),
    "block": ("block",),
    "wait": ("wait", "wait-for-event"),
    "compose": ("flow", "run-steps"),
    "shape": ("set", "transform"),
    "respond": ("respond",),
    "recover": ("try", "saga"),
    "end": ("fail", "return"),
}
_FAMILY = {name: family for family, names in FAMILIES.items() for name in names}

SIGNS: dict[str, str] = {
    "web": "M2 8a6 6 0 1 0 12 0a6 6 0 1 0-12 0M2 8h12M8 2c-4.5 4-4.5 8 0 12M8 2c4.5 4 4.5 8 0 12",
    "claude": "M8 1.5v13M1.5 8h13M3.5 3.5l9 9M12.5 3.5l-9 9",
    "function": "M5 2.5c-3 0 0 5.5-3 5.5c3 0 0 5.5 3 5.5M11 2.5c3 0 0 5.5 3 5.5c-3 0 0 5.5-3 5.5M6.5 8h3",
    "data": "M3 4c0-2.6 10-2.6 10 0v8c0 2.6-10 2.6-10 0zM3 4c0 2.6 10 2.6 10 0M3 8c0 2.6 10 2.6 10 0",
    "file": "M4 1.5h5l3.5 3.5v9.5h-8.5zM9 1.5v3.5h3.5",
    "message": "M1.5 3.5h13v9h-13zM1.5 4l6.5 5l6.5-5",
    "queue": "M1.5 5h4v6h-4zM6 5h4v6h-4zM10.5 5h4v6h-4z",
    "person": "M5 5a3 3 0 1 0 6 0a3 3 0 1 0-6 0M2.5 14.5c0-7 11-7 11 0",
    "decide": "M8 1.5l6.5 6.5l-6.5 6.5l-6.5-6.5z",
    "repeat": "M13.5 6a6 6 0 1 0 .3 3.5M14 2v4h-4",
    "together": "M2 2.5h12M2 13.5h12M4.5 2.5v11M8 2.5v11M11.5 2.5v11",
    "block": "M2 3.5h12M2 8h12M2 12.5h12",
    "wait": "M2 8a6 6 0 1 0 12 0a6 6 0 1 0-12 0M8 4.5v3.5l2.5 1.5",
    "compose": "M1.5 2.5h8v6h-8zM6.5 8.5v5h8v-6h-5",
    "shape": "M2.5 6h11M2.5 10.5h11",
    "respond": "M6.5 3l-5 4.5l5 4.5M1.5 7.5h8c3 0 4.5 2 4.5 5.5",
    "recover": "M8 1.5l5.5 2v4.5c0 3.5-2.5 5.5-5.5 6.5c-3-1-5.5-3-5.5-6.5v-4.5z",
    "end": "M5.5 1.5h5l4 4v5l-4 4h-5l-4-4v-5zM5.5 8h5",
}
"""Strokes in a square of 16 by family."""

STATES: dict[str, str] = {
    "completed": "M3 8.5l3.5 3.5l6.5-8",
    "failed": "M3.5 3.5l9 9M12.5 3.5l-9 9",
    "running": "M4.5 2.5l8 5.5l-8 5.5z",
    "waiting": "M2 8a6 6 0 1 0 12 0a6 6 0 1 0-12 0M8 4.5v3.5l2.5 1.5",
    "skipped": "M2.5 3.5l5 4.5l-5 4.5M8.5 3.5l5 4.5l-5 4.5",
    "cancelled": "M2 8a6 6 0 1 0 12 0a6 6 0 1 0-12 0M4 12l8-8",
    "compensated": "M6.5 3l-5 4.5l5 4.5M1.5 7.5h8c3 0 4.5 2 4.5 5.5",
    "pending": "M3 8h2M7 8h2M11 8h2",
}
"""Strokes in a square of 16 by state."""


def family_of(type_: str) -> str:
    """The family of a step type."""
    return _FAMILY.get(type_, "block")


def inset_of(family: str) -> float:
    """How many pixels further in the words of a step stand, because of its outline."""
    return {"wait": 8.0, "shape": 7.0, "end": 5.0, "compose": 3.0}.get(family, 0.0)


def outline(family: str, x: float, y: float, width: float, height: float) -> str:
    """The outline of a step of this family, as the data of an SVG path."""
    right, bottom = x + width, y + height
    match family:
        case "wait":
            return _rounded(x, y, width, height, height / 2)
        case "claude":
            return _cut(x, y, right, bottom, 11)
        case "end":
            return _cut(x, y, right, bottom, 17)
        case "shape":
            slant = 10
            return f"M{x + slant:g} {y:g}H{right:g}L{right - slant:g} {bottom:g}H{x:g}Z"
        case "person":
            fold = 15
            return (
                f"M{x:g} {y:g}H{right - fold:g}L{right:g} {y + fold:g}V{bottom:g}H{x:g}Z"
                f"M{right - fold:g} {y:g}V{y + fold:g}H{right:g}"
            )
        case "compose":
            inner = f"M{x + 4:g} {y:g}V{bottom:g}M{right - 4:g} {y:g}V{bottom:g}"
            return f"M{x:g} {y:g}H{right:g}V{bottom:g}H{x:g}Z{inner}"
        case _:
            return _rounded(x, y, width, height, 7)


def _rounded(x: float, y: float, width: float, height: float, radius: float) -> str:
    """A rectangle with round corners."""
    r = min(radius, width / 2, height / 2)
    return (
        f"M{x + r:g} {y:g}h{width - 2 * r:g}a{r:g} {r:g} 0 0 1 {r:g} {r:g}v{height - 2 * r:g}"
        f"a{r:g} {r:g} 0 0 1 {-r:g} {r:g}h{2 * r - width:g}a{r:g} {r:g} 0 0 1 {-r:g} {-r:g}v{2 * r - height:g}"
        f"a{r:g} {r:g} 0 0 1 {r:g} {-r:g}z"
    )


def _cut(x: float, y: float, right: float, bottom: float, corner: float) -> str:
    """A rectangle without its corners."""
    return (
        f"M{x + corner:g} {y:g}H{right - corner:g}L{right:g} {y + corner:g}V{bottom - corner:g}"
        f"L{right - corner:g} {bottom:g}H{x + corner:g}L{x:g} {bottom - corner:g}V{y + corner:g}Z"
    )
