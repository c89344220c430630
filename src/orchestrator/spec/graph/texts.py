"""How wide text is, and where it is cut, without a font at hand: widths are a little generous, for every font."""

from __future__ import annotations

import unicodedata

_NARROW = frozenset("iljtfrI.,:;|!'()[]{}/\\ -")
_WIDE = frozenset("mwMWQGOD@%&—…→")


def width_of(text: str, size: float) -> float:
    """About how many pixels a line of text takes in a sans-serif font of ``size`` pixels."""
    return sum(_ems(character) for character in text) * size


def bold(text: str, size: float) -> float:
    """About how many pixels a bold line takes."""
    return width_of(text, size) * 1.08


def cut(text: str, size: float, width: float) -> str:
    """The text, or as much of its beginning as fits into ``width``, with an ellipsis."""
    if width_of(text, size) <= width:
        return text
    room = width - width_of("…", size)
    kept = ""
    for character in text:
        room -= _ems(character) * size
        if room < 0:
            break
        kept += character
    return f"{kept.rstrip()}…"


def wrapped(text: str, size: float, width: float, lines: int) -> list[str]:
    """The text in at most ``lines`` lines that fit into ``width``, broken at blanks and hyphens where there are any;
    what does not fit is cut."""
    rest = " ".join(text.split())
    found: list[str] = []
    while rest and len(found) < lines - 1 and width_of(rest, size) > width:
        line = rest[: _break(rest, size, width)]
        found.append(line.strip())
        rest = rest[len(line) :].strip()
    return [*found, cut(rest, size, width)] if rest else found or [""]


def _break(text: str, size: float, width: float) -> int:
    """How many characters go on the first line: at least one."""
    fits, used = 0, 0.0
    for character in text:
        used += _ems(character) * size
        if used > width:
            break
        fits += 1
    for at in range(fits, fits // 2, -1):
        if text[at : at + 1] == " " or text[at - 1] in " -_/":
            return at
    return max(fits, 1)


def _ems(character: str) -> float:
    if unicodedata.east_asian_width(character) in ("W", "F"):
        return 1.0
    if unicodedata.combining(character):
        return 0.0
    if character in _NARROW:
        return 0.38
    if character in _WIDE:
        return 0.95
    return 0.72 if character.isupper() else 0.62
