"""Flows made up at random: every construct inside every other, failures anywhere.

What is made up is determined: side by side stand only lists that begin with a call, so that whoever carries out the
calls one by one decides the order.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

Step = dict[str, Any]
Draw = st.DrawFn

TYPES = ("red", "blue")
WORST = 9
"""Failures of a call that never succeeds."""
FAILURES = (*([0] * 16), 1, 1, 2, WORST)


@dataclass
class Left:
    """How much may still be made up."""

    steps: int
    ids: dict[str, int] = field(default_factory=dict)
    outside: list[str] = field(default_factory=list)
    """Steps outside loops: handlers may name them."""

    def name(self, letter: str) -> str:
        """An id nobody has yet."""
        self.ids[letter] = self.ids.get(letter, 0) + 1
        return f"{letter}{self.ids[letter]}"


@dataclass(frozen=True)
class Where:
    """What the place allows."""

    depth: int = 3
    alone: bool = True
    """Nothing runs beside it: vars may be set, a cancel cannot come."""
    top: bool = True
    in_loop: bool = False
    races: bool = True
    """Whether something may be cancelled because of what runs beside it."""
    in_saga: bool = False
    seen: tuple[str, ...] = ()
    """Steps that are over before, and may be named."""

    @property
    def in_order(self) -> bool:
        """Whether a step begins when the oracle says: a drain holds it back until what runs beside it has ended, so
        that what it attempts is undone before that."""
        return self.alone or self.races

    def inside(self, **changes: Any) -> Where:
        return replace(self, depth=self.depth - 1, top=False, **changes)


@st.composite
def flows(draw: Draw, *, races: bool = True, size: int = 20) -> Step:
    """A flow as its author would have written it."""
    left = Left(size)
    where = Where(races=races)
    steps = _steps(draw, left, where, trouble=3)
    flow: Step = {"id": "made-up", "vars": {"n": 0}, "steps": steps}
    handlers = {name: _calls(draw, left) for name in ("fallback", "finally") if _one_in(draw, 4)}
    if handlers:
        flow["error_handling"] = handlers
    return flow


def _steps(draw: Draw, left: Left, where: Where, *, lead: bool = False, trouble: int = 0) -> list[Step]:
    """A list. ``lead``: it begins with a call that always runs. ``trouble``: how often of ten times it ends badly,
    after something has been done."""
    if not lead and not trouble and _one_in(draw, 10):
        return _by_needs(draw, left, where)
    made = [_call(draw, left, where) if lead else _step(draw, left, where)]
    most = draw(st.sampled_from((1, 2, 2, 3, 3, 4)))
    while len(made) < most and left.steps > 0:
        made.append(_step(draw, left, _after(where, made)))
    if draw(st.integers(0, 9)) < trouble:
        made.append(_trouble(draw, left, _after(where, made)))
    return made


def _after(where: Where, made: list[Step]) -> Where:
    above = tuple(one["id"] for one in made if one["type"] not in ("fail", "return"))
    return replace(where, seen=where.seen + above)


def _one_in(draw: Draw, times: int) -> bool:
    return draw(st.integers(1, times)) == times


def _trouble(draw: Draw, left: Left, where: Where, *, calls: bool = False) -> Step:
    """What fails: for ever, or until it is tried once more."""
    if not calls and draw(st.booleans()):
        return _fail(draw, left, where)
    step = _call(draw, left, where, plain=True)
    fails, terminal = draw(st.sampled_from(((1, False), (1, False), (WORST, False), (WORST, True))))
    step["config"]["params"] |= {"fails": fails, "terminal": terminal, "type": draw(st.sampled_from(TYPES))}
    step["retry"] = "none"
    return _undone(draw, left, where, step)


def _undone(draw: Draw, left: Left, where: Where, step: Step) -> Step:
    """Perhaps with a compensation, which perhaps looks at what it undoes."""
    if left.steps > 0 and draw(st.booleans()):
        left.steps -= 1
        step["compensate"] = _calls(draw, left)[:1]
        if draw(st.booleans()):
            step["compensate"][0]["config"]["params"]["seen"] = _output_of(step["id"])
        if _one_in(draw, 4):
            step["compensate_on"] = draw(
                st.sampled_from(("attempted", "completed") if where.in_order else ("completed",))
            )
    return step


def _by_needs(draw: Draw, left: Left, where: Where) -> list[Step]:
    made: list[Step] = []
    for number in range(3):
        step = _branch(draw, left, where.inside(alone=False))
        step["needs"] = [one["id"] for one in made if draw(st.booleans())]
        if number and step["needs"] and _one_in(draw, 4):
            step["if"] = False
        if not where.races:
            # A failure would cancel what runs beside it.
            step["on_error"] = "continue"
        made.append(step)
    return made


def _calls(draw: Draw, left: Left, seen: tuple[str, ...] = ()) -> list[Step]:
    return [_call(draw, left, Where(depth=0, seen=seen), plain=True) for _ in range(draw(st.integers(1, 2)))]


def _call(draw: Draw, left: Left, where: Where, *, plain: bool = False, mild: bool = False) -> Step:
    left.steps -= 1
    fails = draw(st.sampled_from(FAILURES))
    step: Step = {
        "id": left.name("a"),
        "type": "function",
        "config": {
            "handler": "act",
            "params": {
                "fails": 0 if mild else fails,
                "type": draw(st.sampled_from(TYPES)) if fails else TYPES[0],
                "terminal": bool(fails) and _one_in(draw, 4),
            },
        },
        "retry": draw(st.sampled_from(("none", {"max_attempts": 2, "initial_interval": "1ms"}))) if fails else "none",
    }
    if where.seen and _one_in(draw, 3):
        step["config"]["params"]["seen"] = _output_of(draw(st.sampled_from(where.seen)))
    return step if plain else _wrapped(draw, left, where, step)


def _output_of(name: str) -> str:
    return f"{{{{ steps.{name}.output | default('none') }}}}"


def _wrapped(draw: Draw, left: Left, where: Where, step: Step) -> Step:
    """What may stand around any step."""
    if not where.in_loop:
        left.outside.append(step["id"])
    _undone(draw, left, where, step)
    match draw(st.integers(0, 11)):
        case 10:
            step["on_error"] = "continue"
        case 11 if left.steps > 0:
            step["on_error"] = _calls(draw, left)[:1]
        case _:
            pass
    return step


def _step(draw: Draw, left: Left, where: Where) -> Step:
    if left.steps <= 0 or where.depth <= 0:
        return _call(draw, left, where)
    kinds = ["call"] * 5 + ["block", "condition", "switch", "each", "each", "while"] + ["try", "saga"] * 3
    kinds += ["parallel"] * 4
    kinds += ["saga"] * 4 if where.in_saga else []
    kinds += ["set"] if where.alone else []
    kinds += ["transform"] if where.seen else []
    kinds += ["return"] if (where.alone or where.races) and _one_in(draw, 4) else []
    made: Step = _MAKERS[draw(st.sampled_from(kinds))](draw, left, where)
    if made["type"] != "function" and _one_in(draw, 8):
        made["if"] = draw(_conditions(where))
    return made


def _conditions(where: Where) -> st.SearchStrategy[Any]:
    """What Python and the format understand alike."""
    texts: list[Any] = [True, False]
    if where.alone:
        texts += ["vars.n == 0", "vars.n > 0", "vars.n < 2"]
    if where.in_loop:
        texts += ["loop.index == 0", "loop.index > 0"]
    return st.sampled_from(texts)


def _made(draw: Draw, left: Left, where: Where, letter: str, type_: str, config: Step) -> Step:
    left.steps -= 1
    return _wrapped(draw, left, where, {"id": left.name(letter), "type": type_, "config": config})


def _block(draw: Draw, left: Left, where: Where) -> Step:
    return _made(draw, left, where, "b", "block", {"steps": _steps(draw, left, where.inside())})


def _condition(draw: Draw, left: Left, where: Where) -> Step:
    inner = where.inside()
    config = {"if": draw(_conditions(where)), "then": _steps(draw, left, inner), "else": _steps(draw, left, inner)}
    return _made(draw, left, where, "c", "condition", config)


def _switch(draw: Draw, left: Left, where: Where) -> Step:
    inner = where.inside()
    cases = [{"if": draw(_conditions(where)), "steps": _steps(draw, left, inner)} for _ in range(2)]
    config: Step = {"cases": cases}
    if draw(st.booleans()):
        config["default"] = _steps(draw, left, inner)
    return _made(draw, left, where, "w", "switch", config)


def _branch(draw: Draw, left: Left, where: Where) -> Step:
    """A step that begins with a call."""
    if _one_in(draw, 5):
        return _trouble(draw, left, where, calls=True)
    if where.depth <= 0 or draw(st.booleans()):
        return _call(draw, left, where)
    config: Step = {"steps": _steps(draw, left, where.inside(), lead=True, trouble=3)}
    return _made(draw, left, where, "b", "block", config)


def _parallel(draw: Draw, left: Left, where: Where) -> Step:
    branches = [_branch(draw, left, where.inside(alone=False)) for _ in range(draw(st.integers(2, 3)))]
    config: Step = {"branches": branches}
    if not where.races:
        # Which of two fails first would depend on what a drain holds back.
        config |= {
            "on_failure": "finish_all",
            "branches": [branches[0], *({**one, "on_error": "continue"} for one in branches[1:])],
        }
        return _made(draw, left, where, "p", "parallel", config)
    config["wait_for"] = draw(st.sampled_from(("all", "all", "any", "majority", 1, 2)))
    config["on_failure"] = draw(st.sampled_from(("fail_fast", "finish_all")))
    if where.top and draw(st.booleans()):
        config |= {"losers": "finish", "wait_for": draw(st.sampled_from(("any", "majority", 1)))}
    elif _one_in(draw, 4):
        branches[0]["counts"] = False
    for branch in branches:
        if _one_in(draw, 8):
            branch["if"] = False
    counting = len([branch for branch in branches if branch.get("counts", True)])
    if isinstance(config["wait_for"], int):
        config["wait_for"] = min(config["wait_for"], counting)
    return _made(draw, left, where, "p", "parallel", config)


def _each(draw: Draw, left: Left, where: Where) -> Step:
    items = [draw(st.integers(0, 5)) for _ in range(draw(st.sampled_from((0, 1, 2, 3, 3, 4))))]
    config: Step = {"items": items}
    together = draw(st.booleans())
    inner = where.inside(in_loop=True, alone=where.alone and not together)
    if together:
        config["concurrency"] = 2
    config["steps"] = _steps(draw, left, inner, lead=together)
    config["tolerate"] = draw(st.sampled_from((0, 0, 1, "all"))) if where.races or not together else "all"
    if (where.races or not together) and _one_in(draw, 3):
        # A drain may hold back the pass that would have begun before `until` was true.
        config["until"] = draw(st.sampled_from(("item > 2", "loop.index == 1", "loop.index == 0")))
    if _one_in(draw, 4):
        config["collect"] = "none"
    return _made(draw, left, where, "e", "for-each", config)


def _while(draw: Draw, left: Left, where: Where) -> Step:
    config: Step = {"steps": _steps(draw, left, where.inside(in_loop=True)), "max_iterations": draw(st.integers(1, 3))}
    number = draw(st.integers(0, 3))
    if draw(st.booleans()):
        config["while"] = f"loop.index < {number}"
    else:
        config["until"] = f"loop.index >= {number}"
    config["collect"] = draw(st.sampled_from(("last", "all", "none")))
    return _made(draw, left, where, "l", "while", config)


def _try(draw: Draw, left: Left, where: Where) -> Step:
    inner = where.inside()
    config: Step = {"steps": _steps(draw, left, inner, trouble=6)}
    if draw(st.booleans()):
        config["catch"] = [
            {
                "on": [draw(st.sampled_from((*TYPES, "*", "retryable", "loop_limit")))],
                "steps": _steps(draw, left, inner),
            }
            for _ in range(draw(st.integers(1, 2)))
        ]
    if draw(st.booleans()):
        # Where a cancel may come, what a failing `finally` does to it is nobody's promise.
        config["finally"] = [_call(draw, left, where, plain=True, mild=not where.alone)]
    if draw(st.booleans()):
        config["retry"] = {
            "max_attempts": 2,
            "initial_interval": "1ms",
            "on": [draw(st.sampled_from(("*", "retryable", *TYPES)))],
        }
    return _made(draw, left, where, "t", "try", config)


def _saga(draw: Draw, left: Left, where: Where, trouble: int = 6) -> Step:
    inner = where.inside(in_saga=True)
    # One that succeeds inside one that then fails: what the first did is undone by the second.
    first = [_saga(draw, left, inner, 1)] if inner.depth > 0 and left.steps > 3 and draw(st.booleans()) else []
    config: Step = {"steps": first + _steps(draw, left, _after(inner, first), trouble=trouble)}
    if _one_in(draw, 4):
        config["commit"] = True
    if where.in_order and _one_in(draw, 3):
        config["compensate_on"] = "attempted"
    made = _made(draw, left, where, "s", "saga", config)
    # What the run does next shows what the saga still owed.
    return made | {"on_error": "continue"} if _one_in(draw, 3) else made


def _fail(draw: Draw, left: Left, where: Where) -> Step:
    config = {"type": draw(st.sampled_from(TYPES)), "message": "told to"}
    return {"id": left.name("f"), "type": "fail", "config": config}


def _set(draw: Draw, left: Left, where: Where) -> Step:
    return {"id": left.name("v"), "type": "set", "config": {"n": "{{ vars.n + 1 }}"}}


def _transform(draw: Draw, left: Left, where: Where) -> Step:
    return {
        "id": left.name("x"),
        "type": "transform",
        "config": {"value": _output_of(draw(st.sampled_from(where.seen)))},
    }


def _return(draw: Draw, left: Left, where: Where) -> Step:
    status = draw(st.sampled_from(("completed", "cancelled")))
    return {"id": left.name("r"), "type": "return", "config": {"output": left.name("out"), "status": status}}


_MAKERS = {
    "call": _call,
    "block": _block,
    "condition": _condition,
    "switch": _switch,
    "parallel": _parallel,
    "each": _each,
    "while": _while,
    "try": _try,
    "saga": _saga,
    "fail": _fail,
    "set": _set,
    "transform": _transform,
    "return": _return,
}
