"""Text to tokens. Knows where hyphens belong to a name: directly after ``steps.``, ``inputs.`` and their like."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Any, NamedTuple

from orchestrator.expressions.errors import ExpressionSyntaxError
from orchestrator.expressions.limits import MAX_INTEGER, MAX_SOURCE


@dataclass(frozen=True)
class Names:
    """The names a flow declares; hyphens are part of them. An empty set knows no names of that root: there the
    longest run of letters, digits, ``_`` and ``-`` is taken."""

    steps: frozenset[str] = frozenset()
    inputs: frozenset[str] = frozenset()
    vars: frozenset[str] = frozenset()
    env: frozenset[str] = frozenset()
    callbacks: frozenset[str] = frozenset()

    def declared(self, root: str) -> frozenset[str] | None:
        """The names under a root, None where hyphens have no special meaning."""
        match root:
            case "steps":
                return self.steps
            case "inputs":
                return self.inputs
            case "vars":
                return self.vars
            case "env":
                return self.env
            case "callback":
                return self.callbacks
            case "secrets":
                return frozenset()
        return None


class Token(NamedTuple):
    """``kind`` is name, number, text, sign or end; ``value`` the name, the number, the text's content, the
    sign."""

    kind: str
    value: Any
    offset: int
    end: int


_TOKEN = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<name>[^\W\d]\w*)"
    r"|(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"
    r"""|(?P<text>'[^'\\]*(?:\\.[^'\\]*)*'|"[^"\\]*(?:\\.[^"\\]*)*")"""
    r"|(?P<sign>===|!==|==|!=|<=|>=|<>|=>|&&|\|\||\*\*|//|\?\?|\?\.|[-+*/%~<>|.,:()\[\]{}])"
    r"|(?P<other>.)",
    re.DOTALL,
)
_RUN = re.compile(r"[\w-]+")

_TEACH = {
    "&&": "write `and` instead of `&&`",
    "||": "write `or` instead of `||`",
    "===": "write `==` instead of `===`; it never converts types",
    "!==": "write `!=` instead of `!==`; it never converts types",
    "<>": "write `!=` instead of `<>`",
    "=>": "there are no functions here; for `>=` write it that way round",
    "**": "there is no `**`; write `x * x`",
    "??": "write `x | default(y)` instead of `x ?? y`",
    "?.": "write `x | default(y)`: it guards the whole chain",
    "!": "write `not` instead of `!`",
    "=": "write `==` to compare",
    "&": "write `and` to join conditions, `~` to join texts",
    "?": "write `a if condition else b` instead of `condition ? a : b`",
    "`": "put text in ' or \"",
    "“": "put text in straight quotes: ' or \"",
    "‘": "put text in straight quotes: ' or \"",
    "$": "names stand without `$`",
    ";": "an expression has no `;`",
}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"'}
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_SIGNS = frozenset(["==", "!=", "<=", ">=", "//", "+", "-", "*", "/", "%", "~", "<", ">", "|", ".", ",", ":"])
_CLOSES = {")": "(", "]": "[", "}": "{"}


class Lexer:
    """Reads one expression. In a template it starts behind ``{{`` and stops at the ``}}`` that closes it; as an
    expression field it reads to the end, where ``{{`` and ``}}`` are parentheses."""

    def __init__(self, source: str, names: Names, start: int = 0, *, template: bool = False) -> None:
        self._source = source
        self._names = names
        self._start = start
        self._position = start
        self._template = template
        self._open: list[tuple[str, int]] = [("{{", start - 2)] if template else []
        self._tokens: list[Token] = []

    def run(self) -> tuple[list[Token], int]:
        """The tokens with one ``end`` behind them, and the position after the expression."""
        source, length = self._source, len(self._source)
        while self._position < length:
            if self._position - self._start > MAX_SOURCE:
                raise self._error(f"the limit of {MAX_SOURCE:,} characters for one expression is exceeded", self._start)
            match = _TOKEN.match(source, self._position)
            assert match is not None, "the last alternative matches any character"
            group = match.lastgroup
            if group == "space":
                self._position = match.end()
            elif group == "name":
                self._name(match.end())
            elif group == "number":
                self._number(match)
            elif group == "text":
                self._text(match)
            elif self._sign(match.group()):
                return self._tokens, self._position
        if self._open:
            sign, offset = self._open[-1]
            closing = {"{{": "}}", "(": ")", "[": "]", "{": "}"}[sign]
            hint = "; for literal braces write {{ '{{' }}" if sign == "{{" else ""
            raise self._error(f"`{sign}` is never closed: add `{closing}`{hint}", offset)
        self._tokens.append(Token("end", None, self._position, self._position))
        return self._tokens, self._position

    def _error(self, message: str, offset: int) -> ExpressionSyntaxError:
        return ExpressionSyntaxError(message, self._source, max(offset, 0))

    def _push(self, kind: str, value: Any, end: int) -> None:
        self._tokens.append(Token(kind, value, self._position, end))
        self._position = end

    def _name(self, end: int) -> None:
        source = self._source
        while end < len(source) and _continues(source[end]):
            end += 1
        name = source[self._position : end]
        root = not self._after_dot()
        self._push("name", name, end)
        declared = self._names.declared(name) if root else None
        if declared is not None and source.startswith(".", end) and _RUN.match(source, end + 1):
            self._push("sign", ".", end + 1)
            self._push("name", *self._declared_name(declared))

    def _after_dot(self) -> bool:
        return bool(self._tokens) and self._tokens[-1].kind == "sign" and self._tokens[-1].value == "."

    def _declared_name(self, declared: frozenset[str]) -> tuple[str, int]:
        """The longest declared name here; else the whole run, so that a message can show the misspelt name."""
        source, start = self._source, self._position
        end = start
        while end < len(source) and (source[end] == "-" or _continues(source[end])):
            end += 1
        run = source[start:end]
        candidate = run
        while candidate and candidate not in declared:
            candidate = candidate[: max(candidate.rfind("-"), 0)]
        found = candidate or run.rstrip("-") or run
        return found, start + len(found)

    def _number(self, match: re.Match[str]) -> None:
        text = match.group()
        after = self._source[match.end() : match.end() + 1]
        if self._after_dot():
            raise self._error(f"write `[{text}]` or `['{text}']` instead of `.{text}`", self._position)
        if after and _continues(after):
            raise self._error("a name cannot start with a digit; text stands in quotes", self._position)
        if text[0] == "0" and text[1:2].isdigit():
            raise self._error(f"a number has no leading zero; write '{text}' for text", self._position)
        if not text.isascii():
            raise self._error("numbers are written with the digits 0 to 9", self._position)
        whole = text.isdigit()
        number: int | float = (int(text) if len(text) < 20 else MAX_INTEGER + 1) if whole else float(text)
        if number > MAX_INTEGER if whole else number == float("inf"):
            raise self._error(
                "the limit of ±2**63 for whole numbers, and of finite numbers, is exceeded", self._position
            )
        self._push("number", number, match.end())

    def _text(self, match: re.Match[str]) -> None:
        raw = match.group()[1:-1]
        if not self._template and "{{" in raw and "}}" in raw:
            raise self._error(
                "`{{ }}` inside quotes stays text here; write the name without quotes and braces", self._position
            )
        content = _ESCAPE.sub(_unescape, raw) if "\\" in raw else raw
        # Two escapes may spell one character beyond the first plane; one alone is no character at all.
        if any("\ud800" <= character <= "\udfff" for character in content):
            try:
                content = content.encode("utf-16", "surrogatepass").decode("utf-16")
            except UnicodeDecodeError as error:
                raise self._error(
                    "the text contains half a character: \\ud800 to \\udfff come in pairs", self._position
                ) from error
        self._push("text", content, match.end())

    def _sign(self, sign: str) -> bool:
        """Take a sign; true when it closed the template."""
        position = self._position
        if sign in _TEACH:
            raise self._error(_TEACH[sign], position)
        if sign in "'\"":
            raise self._error(f"the text that starts with {sign} is never closed", position)
        if sign == "{" and self._source.startswith(("{{", "{%"), position):
            return self._open_braces()
        if sign in "([{":
            self._open.append((sign, position))
        elif sign in _CLOSES:
            return self._close(sign)
        elif sign not in _SIGNS:
            raise self._error(f"`{sign}` means nothing here", position)
        self._push("sign", sign, position + len(sign))
        return False

    def _open_braces(self) -> bool:
        position = self._position
        if self._source.startswith("{%", position):
            raise self._error("`{% %}` is not available; use `if`, `for-each` or `a if c else b`", position)
        if any(sign == "{{" for sign, _ in self._open):
            raise self._error("`{{ }}` does not nest; a name needs no braces of its own here", position)
        self._open.append(("{{", position))
        self._push("sign", "(", position + 2)
        return False

    def _close(self, sign: str) -> bool:
        position = self._position
        opened = self._open[-1][0] if self._open else ""
        if sign == "}" and opened == "{{":
            if not self._source.startswith("}}", position):
                raise self._error("a template closes with `}}`; here is only one `}`", position)
            self._open.pop()
            if self._template:
                self._tokens.append(Token("end", None, position, position))
                self._position = position + 2
                return True
            self._push("sign", ")", position + 2)
            return False
        if opened != _CLOSES[sign]:
            expected = f"; `{opened}` is still open" if opened else "; nothing is open"
            raise self._error(f"`{sign}` closes nothing{expected}", position)
        self._open.pop()
        self._push("sign", sign, position + 1)
        return False


def _continues(character: str) -> bool:
    """Whether a character goes on with a name: letters, digits, ``_`` and the marks some scripts put on
    letters."""
    return character.isalnum() or character == "_" or unicodedata.category(character)[0] == "M"


def _unescape(match: re.Match[str]) -> str:
    if match.group(1):
        return chr(int(match.group(1), 16))
    # Any other backslash stays, so that patterns such as '\d+' need no doubling.
    return _ESCAPES.get(match.group(2), match.group())
