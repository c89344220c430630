"""Regular expressions on RE2: its time is linear in the text, whatever the pattern. RE2 has no backreferences and no
look-around; those are refused when the pattern is compiled."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import re2  # type: ignore[import-untyped]

from orchestrator.expressions.errors import Fault
from orchestrator.expressions.helpers import helper
from orchestrator.expressions.library.arguments import text
from orchestrator.expressions.limits import Meter
from orchestrator.expressions.values import Json

_MAX_PATTERN = 1_000
_MEMORY = 1 << 20
_GROUP = re.compile(r"\\(\d|\\)")


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    return re2.compile(pattern, options)


def _pattern(meter: Meter, pattern: Json, source: str, name: str) -> Any:
    expression = text(meter, pattern, name)
    if len(expression) > _MAX_PATTERN:
        raise Fault(f"the limit of {_MAX_PATTERN:,} characters for a pattern is exceeded")
    meter.charge(len(expression))
    try:
        compiled = _compiled(expression)
        source.encode()
    except re2.error as error:
        reason = (
            error.args[0].decode(errors="replace") if error.args and isinstance(error.args[0], bytes) else str(error)
        )
        hint = "; look-around and backreferences are not available" if "(?" in reason or "escape" in reason else ""
        raise Fault(f"`{name}`: the pattern is refused: {reason[:80]}{hint}") from error
    except UnicodeEncodeError as error:
        raise Fault(f"`{name}` cannot read half a character (\\ud800 to \\udfff without its pair)") from error
    meter.charge(_cost(compiled, len(source)))
    return compiled


def _cost(compiled: Any, characters: int) -> int:
    """Operations of one pass: in the worst case RE2 spends some nanoseconds per character and instruction."""
    return 1 + ((characters * int(compiled.programsize)) >> 7)


@helper("text | regex_match(pattern)", 2)
def regex_match(meter: Meter, value: Json, pattern: Json) -> Json:
    """Whether the whole text matches the pattern (RE2 syntax)."""
    source = text(meter, value, "regex_match")
    return _pattern(meter, pattern, source, "regex_match").fullmatch(source) is not None


@helper("text | regex_search(pattern)", 2)
def regex_search(meter: Meter, value: Json, pattern: Json) -> Json:
    """The first place that matches: the pattern's first group if it has one, else all of the match; none if
    there is none."""
    source = text(meter, value, "regex_search")
    compiled = _pattern(meter, pattern, source, "regex_search")
    match = compiled.search(source)
    return None if match is None else match.group(1 if compiled.groups else 0)


@helper("text | regex_replace(pattern, replacement)", 3)
def regex_replace(meter: Meter, value: Json, pattern: Json, replacement: Json) -> Json:
    r"""The text with every match replaced; \1 to \9 in the replacement are the groups, \0 all of the match."""
    source, new = text(meter, value, "regex_replace"), text(meter, replacement, "regex_replace")
    compiled = _pattern(meter, pattern, source, "regex_replace")
    pieces = _GROUP.split(new)
    if any(int(group) > compiled.groups for group in pieces[1::2] if group != "\\"):
        raise Fault(
            f"`regex_replace`: the replacement names a group that the pattern does not have ({compiled.groups})"
        )
    made: list[str] = []
    end = size = 0
    for match in compiled.finditer(source):
        # Each search may look at all the text that is left before it settles on a short match.
        meter.charge(len(pieces) + (_cost(compiled, len(source) - match.start()) >> 5))
        made.append(source[end : match.start()])
        made.extend(_piece(piece, index, match) for index, piece in enumerate(pieces))
        size += sum(map(len, made[-len(pieces) - 1 :]))
        meter.charge(size >> 17)
        if size > len(source):
            meter.charge_text(size)
        end = match.end()
    made.append(source[end:])
    meter.charge_text(size + len(source) - end)
    return "".join(made)


def _piece(piece: str, index: int, match: Any) -> str:
    if index % 2 == 0:
        return piece
    return "\\" if piece == "\\" else match.group(int(piece)) or ""
