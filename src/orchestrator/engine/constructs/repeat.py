"""``while``: passes one after the other, with a bound."""

from __future__ import annotations

from orchestrator.engine.activities import Outcome
from orchestrator.engine.constructs.numbers import whole_number
from orchestrator.engine.failures import StepFailed, error_record
from orchestrator.engine.frame import Frame
from orchestrator.engine.journal import State
from orchestrator.engine.run import Walk
from orchestrator.spec.base import parse_duration
from orchestrator.spec.definition import Json, Node


async def while_(walk: Walk, node: Node, frame: Frame, path: str) -> Outcome:
    """Run passes while the condition holds, within ``max_iterations`` and ``timeout``."""
    state = walk.run.journal.state(path)
    timeout = node.config.get("timeout")
    if timeout is not None and "bound" not in state:
        state["bound"] = walk.run.clock.after(timeout)

    def expired() -> StepFailed:
        return _limit(node, path, f"'{node.id}' was not done after {timeout:g}s")

    work = _passes(walk, node, frame, path, state)
    return await walk.run.clock.within(state.get("bound"), work, expired, f"timeout of {node.id}")


async def _passes(walk: Walk, node: Node, frame: Frame, path: str, state: State) -> Outcome:
    code = walk.program.code(node)
    collect = node.config.get("collect", "last")
    config = walk.render(code.config, node, frame).value
    interval = _interval(config, node, path)
    most = config.get("max_iterations")
    if most is not None:
        most = whole_number(most, "max_iterations", node, path)
    while True:
        number: int = state.setdefault("pass", 0)
        if "wake" in state:
            await walk.run.clock.until(state["wake"], f"interval of {node.id}")
            state.pop("wake")
        inner = frame.in_pass(f"{path}[{number}]/", {"loop": _loop(frame, state, number, number)})
        if not state.get("open"):
            if "while" in code.fields and not walk.holds(code.fields["while"], node, inner, path):
                break
            _check_bound(node, path, number, most)
        state["open"] = True
        output = await walk.run_list(node.lists["steps"], inner)
        _keep(state, collect, output)
        state["pass"] = number + 1
        state["open"] = False
        inner.scope["loop"] = _loop(frame, state, number, number + 1)
        enough = "until" in code.fields and walk.holds(code.fields["until"], node, inner, path)
        if code.folds or not walk.run.compensations.owes(inner.prefix):
            walk.run.journal.fold(path, inner.prefix)
        if enough:
            break
        if interval:
            state["wake"] = walk.run.clock.after(interval)
    given = {"all": state.get("outputs", []), "last": state.get("last"), "none": None}[collect]
    return Outcome(given, {"passes": state["pass"]})


def _interval(config: dict[str, Json], node: Node, path: str) -> float:
    try:
        return parse_duration(config.get("interval", 0))
    except ValueError as error:
        raise StepFailed(error_record(node, path, "invalid_config", f"`interval`: {error}")) from error


def _check_bound(node: Node, path: str, number: int, most: int | None) -> None:
    if most is not None and number >= most:
        raise _limit(node, path, f"'{node.id}' was not done after {most} passes, its max_iterations")


def _limit(node: Node, path: str, message: str) -> StepFailed:
    return StepFailed(error_record(node, path, "loop_limit", message))


def _keep(state: State, collect: str, output: Json) -> None:
    state["last"] = output
    if collect == "all":
        state.setdefault("outputs", []).append(output)


def _loop(frame: Frame, state: State, index: int, count: int) -> dict[str, Json]:
    """``loop`` as expressions see it; ``count`` is the passes so far."""
    loop: dict[str, Json] = {"index": index, "count": count, "first": index == 0}
    if count:
        loop["previous"] = state.get("last")
    if "loop" in frame.names:
        loop["parent"] = frame.names["loop"]
    return loop
