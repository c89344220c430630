"""One text with ``{{ … }}`` in it, cut into the text as it stands, expressions and late names."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from orchestrator.expressions.errors import ExpressionSyntaxError
from orchestrator.expressions.evaluator import Run, compiled
from orchestrator.expressions.lexer import Lexer, Names, Token
from orchestrator.expressions.limits import MAX_TEMPLATE
from orchestrator.expressions.parser import parse
from orchestrator.expressions.tree import Reference


@dataclass(frozen=True, slots=True)
class Late:
    """A name that is known only inside the activity: ``secrets.API``, ``step.attempt``,
    ``callback.paid.url``."""

    name: str


Segment = str | Late | Run


@dataclass(frozen=True, slots=True)
class Template:
    """A text in pieces. One piece that is no text keeps the value's own type."""

    source: str
    segments: tuple[Segment, ...]
    references: tuple[Reference, ...]
    late_names: tuple[str, ...]
    parts: int


def compile_template(source: str, names: Names) -> Template | None:
    """The pieces of a text, None where it has no braces to look at. Compiled once per process. Raises
    ExpressionSyntaxError."""
    return _cut(source, names) if "{{" in source or "{%" in source else None


@lru_cache(maxsize=4096)
def _cut(source: str, names: Names) -> Template:
    if len(source) > MAX_TEMPLATE:
        raise ExpressionSyntaxError(f"the limit of {MAX_TEMPLATE:,} characters for one text is exceeded", source)
    segments: list[Segment] = []
    references: list[Reference] = []
    late: list[str] = []
    parts = position = 0
    while True:
        start = source.find("{{", position)
        statement = source.find("{%", position, start if start >= 0 else len(source))
        if statement >= 0:
            raise ExpressionSyntaxError(
                "`{% %}` is not available; use `if` and `for-each` steps, or `{{ a if c else b }}`; "
                "for the signs themselves write {{ '{%' }}",
                source,
                statement,
            )
        if start < 0:
            break
        if start > position:
            segments.append(source[position:start])
        tokens, position = Lexer(source, names, start + 2, template=True).run()
        name = _late_name(tokens)
        if name is not None:
            segments.append(Late(name))
            if name not in late:
                late.append(name)
            continue
        tree, found, size = parse(source, tokens)
        segments.append(compiled(tree))
        references.extend(found)
        parts += size
    if position < len(source):
        segments.append(source[position:])
    return Template(source, tuple(segments), tuple(references), tuple(late), parts)


def _late_name(tokens: list[Token]) -> str | None:
    """The late name that these tokens are, all of them, or None."""
    if not all(token.kind == ("sign" if index % 2 else "name") for index, token in enumerate(tokens[:-1])):
        return None
    if any(token.value != "." for token in tokens[1:-1:2]):
        return None
    match [token.value for token in tokens[:-1:2]]:
        case ["secrets", str(name)]:
            return f"secrets.{name}"
        case ["step", "attempt" | "idempotency_key" as name]:
            return f"step.{name}"
        case ["callback", str(name), "url"]:
            return f"callback.{name}.url"
    return None
