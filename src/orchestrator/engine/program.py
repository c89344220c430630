"""A definition made ready to run: every expression compiled, once per process and content."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from orchestrator.engine.activities import Plans
from orchestrator.expressions import CompiledValue, Expression, Names, Reference, compile_expression, compile_value
from orchestrator.spec.definition import Definition, Json, Node, definition_from_json

EXPRESSION_FIELDS = {
    "condition": ("if",),
    "while": ("while", "until"),
    "for-each": ("items", "until"),
    "switch": ("value",),
    "parallel": ("wait_for",),
    "wait-for-event": ("if",),
}
"""Config keys of control types that hold an expression instead of a template (FLOW_FORMAT §2)."""


@dataclass(frozen=True, slots=True)
class Case:
    """One case of a switch: equals any of the values, or its own expression."""

    steps: str
    """Name of its list in ``Node.lists``."""
    condition: Expression | None
    equals: CompiledValue | None


@dataclass(frozen=True, slots=True)
class Code:
    """The compiled parts of one node."""

    condition: Expression | None
    config: CompiledValue
    fields: dict[str, Expression]
    cases: tuple[Case, ...] = ()
    cache: CompiledValue | None = None
    """The cache's ``key``."""
    folds: bool = True
    """Whether a finished pass of this loop can be dropped without asking what is still owed for it."""

    def references(self) -> Iterator[Reference]:
        """Every name the node's own expressions use."""
        yield from self.config.references
        for expression in (self.condition, *self.fields.values(), *(case.condition for case in self.cases)):
            if expression is not None:
                yield from expression.references
        for value in (self.cache, *(case.equals for case in self.cases)):
            if value is not None:
                yield from value.references


RACES = ("all", "any", "majority")
"""Words of ``wait_for``; anything else is an expression."""


class Program:
    """A definition with the compiled code of each of its nodes. ``around`` is the program of the flow that computed it:
    its steps may be named too."""

    def __init__(self, definition: Definition, around: Program | None = None) -> None:
        self.definition = definition
        self.names: Names = Names(
            steps=frozenset(node.id for node in definition.walk() if node.named)
            | (around.names.steps if around else frozenset()),
            inputs=frozenset(definition.inputs.get("properties", {})),
            vars=frozenset(definition.vars),
            env=frozenset(definition.env),
            callbacks=frozenset(node.id for node in definition.walk() if node.named),
        )
        self.output = compile_value(definition.output, self.names)
        self.vars = {name: compile_value(value, self.names) for name, value in definition.vars.items()}
        self._code = {node.id: self._compile(node) for node in definition.walk()}
        self.early = dict(self._early())
        """Types of events that a step listens to before it is reached: its correlation needs nothing the run finds
        out on its way (FLOW_FORMAT §5)."""
        self.plans: Plans = {}
        """How each step is scheduled, filled as steps are first reached."""

    def code(self, node: Node) -> Code:
        """The compiled parts of a node. Ids are unique in a file, made-up ones included."""
        return self._code[node.id]

    def _compile(self, node: Node) -> Code:
        expressions = EXPRESSION_FIELDS.get(node.type, ())
        fields = {
            key: self._expression(node.config[key])
            for key in expressions
            if isinstance(node.config.get(key), str | bool | int | float) and node.config[key] not in RACES
        }
        rest = {key: value for key, value in node.config.items() if key not in fields and key != "cases"}
        return Code(
            condition=None if node.condition is None else self._expression(node.condition),
            config=compile_value(rest, self.names),
            fields=fields,
            cases=tuple(self._cases(node)),
            cache=None if node.cache is None else compile_value(node.cache["key"], self.names),
            folds=not any("compensate" in inner.lists for inner in node.walk() if inner is not node),
        )

    def _early(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        for node in self.definition.walk():
            kind = node.config.get("event")
            if node.type == "wait-for-event" and kind and node.config.get("correlate"):
                references = compile_value(node.config["correlate"], self.names).references
                if all(reference.root in ("trigger", "inputs", "env") for reference in references):
                    yield node.id, (kind,) if isinstance(kind, str) else tuple(kind)

    def _cases(self, node: Node) -> Iterator[Case]:
        for index, case in enumerate(node.config.get("cases", ())):
            yield Case(
                steps=f"case[{index}]",
                condition=self._expression(case["if"]) if "if" in case else None,
                equals=compile_value(case["equals"], self.names) if "equals" in case else None,
            )

    def _expression(self, source: Json) -> Expression:
        text = source if isinstance(source, str) else _literal(source)
        return compile_expression(text, self.names)


def _literal(value: Json) -> str:
    """``if: true`` and ``items: 3`` in YAML are not text; their source is the JSON word."""
    return str(value).lower() if isinstance(value, bool) else str(value)


_programs: dict[str, Program] = {}
_MOST = 512


def program_of(key: str, read: Callable[[], Json]) -> Program:
    """The program of the definition with this key (``definition_key``), from this process's cache where it was seen
    before; else ``read`` gives the definition as JSON. So a definition is decoded once per process, not per run."""
    program = _programs.get(key)
    if program is None:
        program = Program(definition_from_json(read()))
        if len(_programs) >= _MOST:
            _programs.pop(next(iter(_programs)))
        _programs[key] = program
    return program
