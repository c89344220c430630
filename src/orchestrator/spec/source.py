"""YAML text to plain JSON, with the position of every key and value.

Only what JSON can hold is accepted, read the YAML 1.2 way: ``true``/``false``, ``null`` and plain decimal numbers are
themselves, everything else is text (``on``, ``no``, ``012``, ``0x1F``, ``1:30``, ``2024-01-01`` included). Anchors and
aliases work within a limit; merge keys (``<<``), tags, duplicate keys, NaN and infinity are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from orchestrator.errors import FlowInvalid, Problem

Json = Any
Path = tuple[str | int, ...]

MAX_CHARACTERS = 2_000_000
MAX_DEPTH = 100
MAX_VALUES = 200_000
"""Values in the document once every alias is expanded."""

_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(
    r"[-+]?(?:(?:0|[1-9][0-9]*)?\.[0-9]+|(?:0|[1-9][0-9]*)\.)(?:[eE][-+]?[0-9]+)?|[-+]?(?:0|[1-9][0-9]*)[eE][-+]?[0-9]+"
)
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS = {
    "true": True, "True": True, "TRUE": True,
    "false": False, "False": False, "FALSE": False,
    "null": None, "Null": None, "NULL": None, "~": None, "": None,
}  # fmt: skip


@dataclass(slots=True)
class Mark:
    """Where a value starts (1-based), and where its members are: by key, with the key's own position, or by index."""

    line: int
    column: int
    raw: str | None = None
    """The text of a scalar as written, quotes removed."""
    members: dict[str, tuple[int, int, Mark]] | None = None
    items: list[Mark] | None = None
    size: int = 1
    """Values in here, aliases expanded."""
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Source:
    """A parsed file: ``data`` is JSON, the rest says where each part of it stands."""

    file: str
    text: str
    data: Json
    root: Mark

    def value_at(self, path: Sequence[str | int]) -> tuple[int, int]:
        """Line and column of the value at ``path``, or of the nearest value around it that exists."""
        mark, _ = self._find(path)
        return mark.line, mark.column

    def key_at(self, path: Sequence[str | int]) -> tuple[int, int]:
        """Line and column of the key that ends ``path``; for list items and missing keys as ``value_at``."""
        parent, complete = self._find(path[:-1])
        if path and complete and parent.members is not None and path[-1] in parent.members:
            line, column, _ = parent.members[str(path[-1])]
            return line, column
        return self.value_at(path)

    def raw_at(self, path: Sequence[str | int]) -> str | None:
        """The scalar at ``path`` as written (``2.0`` stays ``2.0``), None if there is no scalar."""
        mark, complete = self._find(path)
        return mark.raw if complete else None

    def _find(self, path: Sequence[str | int]) -> tuple[Mark, bool]:
        mark = self.root
        for part in path:
            if mark.members is not None and isinstance(part, str) and part in mark.members:
                mark = mark.members[part][2]
            elif mark.items is not None and isinstance(part, int) and 0 <= part < len(mark.items):
                mark = mark.items[part]
            else:
                return mark, False
        return mark, True


def read_source(text: str, file: str) -> Source:
    """Parse YAML (or JSON) text. Raises FlowInvalid with one problem where the text cannot be read, or with every
    refused construct where it can."""
    if len(text) > MAX_CHARACTERS:
        raise _stop(file, 1, 1, f"the file has {len(text):,} characters; at most {MAX_CHARACTERS:,} are read")
    builder = _Builder(file)
    try:
        for event in _events(text.removeprefix("\ufeff")):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, file, text) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _stop(file, line, 1, "the file holds a control character that YAML does not allow") from error
    except UnicodeError as error:
        raise _stop(file, 1, 1, "the file holds text that is not valid Unicode") from error
    if builder.problems:
        raise FlowInvalid(builder.problems)
    if builder.root is None:
        raise _stop(file, 1, 1, "the file is empty", "a flow has at least `id` and `steps`")
    data, mark = builder.root
    return Source(file, text, data, mark)


def _events(text: str) -> Iterator[Any]:
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    events: Iterator[Any] = yaml.parse(text, Loader=loader)
    return events


def _stop(file: str, line: int, column: int, message: str, hint: str | None = None) -> FlowInvalid:
    return FlowInvalid([Problem(message, file, line, column, hint)])


@dataclass(slots=True)
class _Open:
    """A list or mapping that is being filled."""

    data: Any
    mark: Mark
    anchor: str | None
    key: tuple[str, int, int] | None = None
    awaits_value: bool = False


class _Builder:
    """Turns parser events into data and marks, without recursion."""

    def __init__(self, file: str) -> None:
        self.problems: list[Problem] = []
        self.root: tuple[Json, Mark] | None = None
        self._file = file
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[Json, Mark]] = {}
        self._documents = 0

    def take(self, event: Any) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._start(event)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            done = self._stack.pop()
            if done.anchor:
                self._anchors[done.anchor] = (done.data, done.mark)
            self._place(done.data, done.mark)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise self._at(event, "a second document starts here", "one flow per file")

    def _start(self, event: Any) -> None:
        mark = Mark(event.start_mark.line + 1, event.start_mark.column + 1)
        if self._expects_key():
            raise self._bad_key(event)
        self._refuse_tag(event)
        if len(self._stack) >= MAX_DEPTH:
            raise self._at(event, f"more than {MAX_DEPTH} levels of nesting")
        if isinstance(event, yaml.MappingStartEvent):
            mark.members = {}
            self._stack.append(_Open({}, mark, event.anchor))
        else:
            mark.items = []
            self._stack.append(_Open([], mark, event.anchor))

    def _scalar(self, event: Any) -> None:
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        plain = event.implicit[0]
        if self._expects_key():
            self._key(event, line, column, plain)
            return
        self._refuse_tag(event)
        value: Json = event.value
        if plain:
            value = self._resolve(event, line, column)
        mark = Mark(line, column, raw=event.value)
        if event.anchor:
            self._anchors[event.anchor] = (value, mark)
        self._place(value, mark)

    def _resolve(self, event: Any, line: int, column: int) -> Json:
        text: str = event.value
        if text in _WORDS:
            return _WORDS[text]
        if text[0] not in "-+.0123456789":
            return text
        if _INT.fullmatch(text):
            if len(text) <= 20 and -(2**63) <= int(text) < 2**64:
                return int(text)
            self._problem(line, column, f"the number {text[:24]}… is too large", "quote it to keep it as text")
            return 0
        if _FLOAT.fullmatch(text):
            number = float(text)
            if number - number == 0:
                return number
            self._problem(line, column, f"the number {text[:24]} is too large", "quote it to keep it as text")
            return 0
        if _NOT_FINITE.fullmatch(text):
            self._problem(line, column, f"{text} is not a JSON number", "quote it to keep it as text")
        return text

    def _key(self, event: Any, line: int, column: int, plain: bool) -> None:
        self._refuse_tag(event)
        open_ = self._stack[-1]
        name: str = event.value
        if plain and name == "<<":
            self._problem(
                line,
                column,
                "merge keys (`<<`) are not supported",
                "write the members out, or use `defaults`",
            )
        elif plain and (_INT.fullmatch(name) or _FLOAT.fullmatch(name)):
            self._problem(line, column, f"the key {name} is a number; keys are text", f'quote it: "{name}"')
        elif plain and name in ("", "~", "null", "Null", "NULL"):
            self._problem(line, column, "a key is missing before `:`", 'quote it if you mean it: "null"')
        assert open_.mark.members is not None
        if name in open_.mark.members:
            first = open_.mark.members[name]
            self._problem(
                line,
                column,
                f"`{name}` is given twice",
                f"first at line {first[0]}; the second would silently win",
            )
        open_.key = (name, line, column)
        open_.awaits_value = True

    def _alias(self, event: Any) -> None:
        if self._expects_key():
            raise self._bad_key(event)
        found = self._anchors.get(event.anchor)
        if found is None:
            inside = any(open_.anchor == event.anchor for open_ in self._stack)
            reason = "contains itself" if inside else "is not defined above"
            raise self._at(event, f"the anchor `*{event.anchor}` {reason}")
        if len(self._stack) + found[1].depth > MAX_DEPTH:
            raise self._at(event, f"more than {MAX_DEPTH} levels of nesting once aliases are expanded")
        self._place(*found)

    def _place(self, value: Json, mark: Mark) -> None:
        if not self._stack:
            self.root = (value, mark)
            return
        open_ = self._stack[-1]
        if open_.mark.items is not None:
            open_.data.append(value)
            open_.mark.items.append(mark)
        elif open_.key is not None and open_.mark.members is not None:
            name, line, column = open_.key
            open_.data[name] = value
            open_.mark.members[name] = (line, column, mark)
            open_.awaits_value = False
        open_.mark.size += mark.size
        open_.mark.depth = max(open_.mark.depth, mark.depth + 1)
        if open_.mark.size > MAX_VALUES:
            message = f"the document has more than {MAX_VALUES:,} values once aliases are expanded"
            raise _stop(self._file, mark.line, mark.column, message)

    def _expects_key(self) -> bool:
        return bool(self._stack) and self._stack[-1].mark.members is not None and not self._stack[-1].awaits_value

    def _bad_key(self, event: Any) -> FlowInvalid:
        return self._at(
            event,
            "a list or mapping stands where a key is expected",
            'a value that starts with `{{` needs quotes: "{{ … }}"',
        )

    def _refuse_tag(self, event: Any) -> None:
        if event.tag is not None:
            line, column = event.start_mark.line + 1, event.start_mark.column + 1
            self._problem(
                line,
                column,
                f"the YAML tag `{event.tag}` is refused",
                "values are plain JSON; remove the tag",
            )

    def _at(self, event: Any, message: str, hint: str | None = None) -> FlowInvalid:
        return FlowInvalid(
            [
                *self.problems,
                Problem(message, self._file, event.start_mark.line + 1, event.start_mark.column + 1, hint),
            ]
        )

    def _problem(self, line: int, column: int, message: str, hint: str | None = None) -> None:
        self.problems.append(Problem(message, self._file, line, column, hint))


_QUOTE = 'a value that starts with `{{` needs quotes: "{{ … }}"'
_INDENT = "check the indentation"
_TAG = "values are plain JSON; remove the tag"
_PLAIN_WORDS = (
    ("cannot start any token", "this character cannot start a value", "quote text that starts with @, ` or %"),
    ("mapping values are not allowed", "`:` is not allowed here", f"{_INDENT}, or quote text that contains `: `"),
    ("expected ':'", "a `:` is missing here", "a key is followed by `:` and a space"),
    ("expected ',' or '}'", "`{` is not closed properly", f"close it with `}}`; {_QUOTE}"),
    ("expected ',' or ']'", "`[` is not closed properly", "separate items by `,` and close the list with `]`"),
    ("expected '-' indicator", "a list item is expected here", "line up `-` with the items above"),
    ("expected node content", "a value or key is missing here", "remove the `,` or `:`, or write what belongs here"),
    ("expected key", "this line does not line up with the keys above it", f"{_INDENT} and the quotes"),
    ("unexpected end of stream", "a quote is not closed", "close it with the same quote"),
    ("unknown escape character", "unknown escape in a double-quoted text", r"write \\ for a backslash, or use '…'"),
    ("undefined alias", "this anchor is not defined above", None),
    ("duplicate anchor", "this anchor is defined twice", None),
    ("undefined tag handle", "YAML tags are refused", _TAG),
    ("expected <document start>", "text follows the end of the document", _INDENT),
    ("invalid leading UTF-8", "the file is not UTF-8 text", "save it as UTF-8"),
    ("control characters are not allowed", "the file holds a control character that YAML does not allow", None),
)
"""What libyaml says, what is meant, and what to do."""


def _syntax_error(error: yaml.MarkedYAMLError, file: str, text: str) -> FlowInvalid:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    said = f"{error.problem or ''} {error.context or ''}".strip()
    for sign, message, hint in _PLAIN_WORDS:
        if sign in said:
            if "quote" in message and error.context_mark:
                line, column = error.context_mark.line + 1, error.context_mark.column + 1
            lines = text.splitlines()
            if line <= len(lines) and lines[line - 1][:column].strip(" ") == "\t":
                message, hint = "a tab cannot indent YAML", "use spaces"
            return _stop(file, line, column, message, hint)
    return _stop(file, line, column, f"this is not valid YAML: {said}")
