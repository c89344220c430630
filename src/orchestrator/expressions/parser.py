"""Tokens to a tree: a Pratt parser. From loosest to tightest: ``if else``, ``or``, ``and``, ``not``, comparisons with
``in`` and ``is``, ``~``, ``+ -``, ``* / // %``, filters, unary ``-``, members and calls. A filter binds to the value
before it: ``a + b | round`` rounds b, ``-x | abs`` is the absolute value of -x."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.expressions.errors import ExpressionSyntaxError
from orchestrator.expressions.helpers import HELPERS, KINDS
from orchestrator.expressions.lexer import Lexer, Names, Token
from orchestrator.expressions.limits import MAX_DEPTH
from orchestrator.expressions.tree import (
    Call,
    Chain,
    Choice,
    Comparison,
    Default,
    Defined,
    KindTest,
    ListOf,
    Literal,
    Logic,
    Member,
    ObjectOf,
    Part,
    Path,
    Reference,
    Slice,
    Unary,
)
from orchestrator.expressions.values import clipped, listed, nearest

_CHOICE, _OR, _AND, _NOT, _COMPARE, _JOIN, _SUM, _PRODUCT, _FILTER, _NEGATE, _MEMBER = range(1, 12)
_RANK = {
    "if": _CHOICE,
    "or": _OR,
    "and": _AND,
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">=", "in", "not", "is"), _COMPARE),
    "~": _JOIN,
    **dict.fromkeys("+-", _SUM),
    **dict.fromkeys(("*", "/", "//", "%"), _PRODUCT),
    "|": _FILTER,
    **dict.fromkeys(".([", _MEMBER),
}
_UP, _DOWN = frozenset({"<", "<="}), frozenset({">", ">="})
_WORDS = frozenset({"if", "else", "or", "and", "not", "in", "is"})
_CONSTANTS = {"true": True, "false": False, "none": None}
_OTHER_CONSTANTS = {"True": "true", "False": "false", "None": "none", "null": "none", "nil": "none"}
_LATE = {
    "secrets": "a secret is known only inside the step that uses it: write {{ secrets.NAME }} alone or inside text in "
    "the config of a step, without operators or filters",
    "step": "`step.attempt` and `step.idempotency_key` are known only inside the step: write them alone in braces in "
    "its config, without operators or filters (`steps.<id>` is another step's record)",
    "callback": "a callback's address is known only inside the step that sends it: write {{ callback.<id>.url }} alone "
    "or inside text in its config, without operators or filters",
}


def parse(source: str, tokens: list[Token]) -> tuple[Part, tuple[Reference, ...], int]:
    """The tree, every reference in it in the order of the text, and the number of its parts. Raises
    ExpressionSyntaxError."""
    parser = Parser(source, tokens)
    tree = parser.whole()
    return tree, parser.references(), parser.parts


def parse_field(source: str, names: Names) -> tuple[Part, tuple[Reference, ...], int]:
    """The same, for the text of an expression field."""
    tokens, _ = Lexer(source, names).run()
    return parse(source, tokens)


class Parser:
    """Reads one list of tokens once."""

    def __init__(self, source: str, tokens: list[Token]) -> None:
        self._source = source
        self._tokens = tokens
        self._at = 0
        self._depth = 0
        self._paths: list[Path] = []
        self._guarded: set[int] = set()
        self._tested: list[Path] = []
        self.parts = 0

    def whole(self) -> Part:
        """The tree of all tokens."""
        first = self._tokens[0]
        if first.kind == "end":
            raise self._error("the expression is empty: write a name or a value", first.offset)
        tree = self._parse(0)
        token = self._tokens[self._at]
        if token.kind != "end":
            raise self._error(self._unexpected(token), token.offset)
        return tree

    def references(self) -> tuple[Reference, ...]:
        """Every name used. A name is also guarded where the same expression asks ``is defined`` of the way
        to it."""
        found = []
        for index, path in enumerate(self._paths):
            guarded = index in self._guarded or any(
                test.root == path.root and test.path == path.path[: len(test.path)] for test in self._tested
            )
            found.append(Reference(path.root, path.path, guarded, path.offset, self._source))
        return tuple(found)

    # -- tokens ---------------------------------------------------------------------------------------------------

    def _error(self, message: str, offset: int) -> ExpressionSyntaxError:
        return ExpressionSyntaxError(message, self._source, offset)

    def _unexpected(self, token: Token) -> str:
        if token.kind == "name" and token.value in _OTHER_CONSTANTS:
            return f"write `{_OTHER_CONSTANTS[token.value]}` instead of `{token.value}`"
        if token.kind == "end":
            return "the expression ends too early"
        what = {"name": "name", "number": "number", "text": "text"}.get(token.kind, "")
        return f"unexpected {what} `{clipped(str(token.value), 40)}`; is an operator missing before it?".replace(
            "  ", " "
        )

    def _next(self) -> Token:
        token = self._tokens[self._at]
        self._at += 1 if token.kind != "end" else 0
        return token

    def _sees(self, sign: str) -> bool:
        token = self._tokens[self._at]
        return token.value == sign and token.kind in ("sign", "name")

    def _take(self, sign: str) -> bool:
        if self._sees(sign):
            self._at += 1
            return True
        return False

    def _expect(self, sign: str, why: str) -> None:
        if not self._take(sign):
            token = self._tokens[self._at]
            raise self._error(f"expected `{sign}` {why}", token.offset)

    def _height(self, *children: Part | None) -> int:
        """The height of a new part over these; also counts it."""
        self.parts += 1
        height = 1 + max((child.height for child in children if child is not None), default=0)
        if height > MAX_DEPTH:
            raise self._error(f"the limit of {MAX_DEPTH} levels in an expression is exceeded", 0)
        return height

    # -- expressions ------------------------------------------------------------------------------------------------

    def _parse(self, rank: int) -> Part:
        """An expression of operators that bind tighter than ``rank``."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(
                f"the limit of {MAX_DEPTH} levels in an expression is exceeded", self._tokens[self._at].offset
            )
        first_path = len(self._paths)
        left = self._operand()
        while True:
            token = self._tokens[self._at]
            binds = _RANK.get(token.value, 0) if token.kind in ("sign", "name") else 0
            if binds <= rank:
                break
            left = self._operator(left, token, binds, first_path)
        self._depth -= 1
        return left

    def _operator(self, left: Part, token: Token, rank: int, first_path: int) -> Part:
        match rank:
            case 11:
                return self._member(left, token)
            case 9:
                return self._filter(left, first_path)
            case 8 | 7 | 6:
                return self._chain(left, rank)
            case 5:
                return self._comparison(left, token, first_path)
            case 3 | 2:
                return self._logic(left, token, rank)
        return self._choice(left, token)

    def _operand(self) -> Part:
        token = self._next()
        if token.kind == "number" or token.kind == "text":
            return Literal(value=token.value, offset=token.offset, height=self._height())
        if token.kind == "name":
            return self._named(token)
        match token.value if token.kind == "sign" else None:
            case "(":
                inner = self._parse(0)
                self._expect(")", "to close the parenthesis; lists are written [a, b]")
                return inner
            case "[":
                items = self._arguments("]")
                return ListOf(items=items, offset=token.offset, height=self._height(*items))
            case "{":
                return self._object(token)
            case "-":
                operand = self._parse(_NEGATE)
                if isinstance(operand, Literal) and type(operand.value) in (int, float):
                    return replace(operand, value=-operand.value, offset=token.offset)
                return Unary(sign="-", operand=operand, offset=token.offset, height=self._height(operand))
        if token.kind == "end":
            raise self._error("the expression ends too early: a value is missing", token.offset)
        raise self._error(f"a value is missing before `{token.value}`", token.offset)

    def _named(self, token: Token) -> Part:
        name, offset = token.value, token.offset
        if name == "not":
            operand = self._parse(_NOT - 1)
            return Unary(sign="not", operand=operand, offset=offset, height=self._height(operand))
        if name in _CONSTANTS:
            return Literal(value=_CONSTANTS[name], offset=offset, height=self._height())
        if name in _WORDS:
            raise self._error(f"a value is missing before `{name}`", offset)
        if self._sees("("):
            return self._function(name, offset)
        if name in _OTHER_CONSTANTS:
            raise self._error(self._unexpected(token), offset)
        if name in _LATE:
            raise self._error(_LATE[name], offset)
        path = Path(root=name, offset=offset, height=self._height())
        self._paths.append(path)
        return path

    def _object(self, opening: Token) -> Part:
        keys: list[str] = []
        values: list[Part] = []
        while not self._take("}"):
            token = self._next()
            if token.kind != "text":
                raise self._error("a key of an object stands in quotes: {'name': value}", token.offset)
            if token.value in keys:
                raise self._error(f"the key '{clipped(token.value, 40)}' stands twice in this object", token.offset)
            self._expect(":", "between key and value")
            keys.append(token.value)
            values.append(self._parse(0))
            if not self._sees("}"):
                self._expect(",", "or `}` after a value of an object")
        return ObjectOf(keys=tuple(keys), values=tuple(values), offset=opening.offset, height=self._height(*values))

    def _arguments(self, closing: str) -> tuple[Part, ...]:
        found: list[Part] = []
        while not self._take(closing):
            found.append(self._parse(0))
            if not self._sees(closing):
                self._expect(",", f"or `{closing}` after a value")
        return tuple(found)

    # -- members, filters, calls ----------------------------------------------------------------------------------

    def _member(self, left: Part, token: Token) -> Part:
        self._at += 1
        if token.value == "(":
            raise self._error("only helpers can be called, by name: write `x | upper`, `now()`", token.offset)
        if token.value == ".":
            name = self._next()
            if name.kind != "name":
                raise self._error("a name must follow `.`; others stand in brackets: ['a b'], [0]", name.offset)
            if self._sees("("):
                raise self._error(self._no_method(name.value), name.offset)
            return self._extend(left, name.value, token.offset)
        if self._sees(":"):
            return self._slice(left, None, token.offset)
        key = self._parse(0)
        if self._sees(":"):
            return self._slice(left, key, token.offset)
        self._expect("]", "after the member")
        if isinstance(key, Literal) and type(key.value) in (str, int):
            return self._extend(left, key.value, token.offset)
        return Member(operand=left, key=key, offset=token.offset, height=self._height(left, key))

    @staticmethod
    def _no_method(name: str) -> str:
        known = {
            "toUpperCase": "upper",
            "toLowerCase": "lower",
            "strip": "trim",
            "get": "default",
            "includes": "contains",
        }
        near = known.get(name) or (name if name in HELPERS else None)
        hint = f"write `x | {near}`" if near else "see the list of helpers, used as `x | name`"
        return f"values have no methods such as `.{clipped(name, 40)}()`: {hint}"

    def _extend(self, left: Part, key: str | int, offset: int) -> Part:
        if isinstance(left, Path) and self._paths and self._paths[-1] is left:
            # The newest path is the one being written: no other can have come between its members.
            longer = replace(left, path=(*left.path, key))
            self._paths[-1] = longer
            return longer
        literal = Literal(value=key, offset=offset, height=self._height())
        return Member(operand=left, key=literal, offset=offset, height=self._height(left, literal))

    def _slice(self, left: Part, start: Part | None, offset: int) -> Part:
        self._expect(":", "in a slice")
        stop = None if self._sees("]") else self._parse(0)
        self._expect("]", "after a slice [start:stop]")
        return Slice(operand=left, start=start, stop=stop, offset=offset, height=self._height(left, start, stop))

    def _filter(self, left: Part, first_path: int) -> Part:
        self._at += 1
        name = self._next()
        if name.kind != "name":
            hint = "; write `or` for a choice of conditions" if name.value == "|" else ""
            raise self._error(f"the name of a helper must follow `|`{hint}", name.offset)
        if name.value == "default":
            self._guarded.update(range(first_path, len(self._paths)))
        more = self._arguments(")") if self._take("(") else ()
        return self._call(name.value, (left, *more), name.offset, piped=True)

    def _function(self, name: str, offset: int) -> Part:
        self._expect("(", "after the name of a function")
        first_path = len(self._paths)
        found: list[Part] = []
        while not self._take(")"):
            found.append(self._parse(0))
            if name == "default" and len(found) == 1:
                self._guarded.update(range(first_path, len(self._paths)))
            if not self._sees(")"):
                self._expect(",", "or `)` after an argument")
        return self._call(name, tuple(found), offset, piped=False)

    def _call(self, name: str, arguments: tuple[Part, ...], offset: int, *, piped: bool) -> Part:
        helper = HELPERS.get(name)
        if helper is None:
            hint = nearest(name, HELPERS) or f"; there: {listed(sorted(HELPERS))}"
            raise self._error(f"there is no helper '{clipped(name, 40)}'{hint}", offset)
        if piped and not helper.takes_input:
            raise self._error(f"`{name}` takes no value from `|`: write `{helper.usage}`", offset)
        if not helper.least <= len(arguments) <= helper.most:
            raise self._error(f"`{name}` has the wrong number of arguments: write `{helper.usage}`", offset)
        height = self._height(*arguments)
        if name == "default":
            return Default(
                operand=arguments[0],
                fallback=arguments[1],
                also_empty=arguments[2] if len(arguments) > 2 else None,
                offset=offset,
                height=height,
            )
        return Call(name=name, arguments=arguments, offset=offset, height=height)

    # -- operators ------------------------------------------------------------------------------------------------

    def _chain(self, first: Part, rank: int) -> Part:
        rest: list[tuple[str, int, Part]] = []
        while _RANK.get(self._tokens[self._at].value) == rank and self._tokens[self._at].kind == "sign":
            token = self._next()
            rest.append((token.value, token.offset, self._parse(rank)))
        self.parts += len(rest) - 1
        height = self._height(first, *(part for _, _, part in rest))
        return Chain(first=first, rest=tuple(rest), offset=first.offset, height=height)

    def _logic(self, first: Part, token: Token, rank: int) -> Part:
        operands = [first]
        while self._take(token.value):
            operands.append(self._parse(rank))
        self.parts += len(operands) - 2
        return Logic(sign=token.value, operands=tuple(operands), offset=token.offset, height=self._height(*operands))

    def _choice(self, then: Part, token: Token) -> Part:
        self._at += 1
        condition = self._parse(_CHOICE)
        self._expect("else", "after `a if condition`: both values must be given")
        otherwise = self._parse(_CHOICE - 1)
        height = self._height(condition, then, otherwise)
        return Choice(condition=condition, then=then, otherwise=otherwise, offset=token.offset, height=height)

    def _comparison(self, first: Part, token: Token, first_path: int) -> Part:
        if token.value == "is":
            return self._test(first, token, first_path)
        rest: list[tuple[str, int, Part]] = []
        while True:
            token = self._tokens[self._at]
            if token.kind not in ("sign", "name") or _RANK.get(token.value) != _COMPARE:
                break
            if token.value == "is":
                raise self._error("put parentheses around the comparison before `is`", token.offset)
            self._at += 1
            sign = token.value
            if sign == "not":
                self._expect("in", "after `not` between two values; to join conditions write `and not`")
                sign = "not in"
            rest.append((sign, token.offset, self._parse(_COMPARE)))
            signs = {sign for sign, _, _ in rest}
            if len(rest) > 1 and not (signs <= _UP or signs <= _DOWN):
                raise self._error("only `<`/`<=` or `>`/`>=` can be chained: join comparisons with `and`", token.offset)
        self.parts += len(rest) - 1
        height = self._height(first, *(part for _, _, part in rest))
        return Comparison(first=first, rest=tuple(rest), offset=rest[0][1], height=height)

    def _test(self, operand: Part, token: Token, first_path: int) -> Part:
        self._at += 1
        negated = self._take("not")
        name = self._next()
        height = self._height(operand)
        if name.kind == "name" and name.value == "defined":
            self._guarded.update(range(first_path, len(self._paths)))
            if isinstance(operand, Path):
                self._tested.append(operand)
            return Defined(operand=operand, negated=negated, offset=token.offset, height=height)
        if name.kind == "name" and name.value in KINDS:
            return KindTest(operand=operand, kind=name.value, negated=negated, offset=token.offset, height=height)
        if name.value in _OTHER_CONSTANTS:
            raise self._error(self._unexpected(name), name.offset)
        raise self._error(f"after `is` stands one of: defined, {', '.join(KINDS)}; to compare write `==`", name.offset)
