"""What FLOW_FORMAT §3–§6 say a flow does, as one recursive function per construct.

It reads the flow as its author wrote it, knows nothing of the engine and waits for nothing: a construct is a generator
that yields the paths of the steps which are under way (calls of the function ``act``) and is sent the path of the one
that was carried out. Side by side means that several paths are yielded at once; who drives it chooses.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

from tests.engine.flows.walks import (
    Cancelled,
    Ended,
    Failed,
    Json,
    Open,
    Race,
    Step,
    Walk,
    advance,
    caught,
    one_more,
    settle,
    unpacked,
)


@dataclass(frozen=True)
class Place:
    """Where a list stands."""

    prefix: str = ""
    saga: str = ""
    """Path of the nearest saga around."""
    compensate_on: str = "completed"
    names: Mapping[str, Json] = field(default_factory=dict)
    own: tuple[str, Json] = ("", None)
    """In a compensation: the step it undoes, and what that gave."""

    def path(self, step: Step) -> str:
        return f"{self.prefix}{step['id']}"

    def inside(self, prefix: str, **names: Json) -> Place:
        return replace(self, prefix=prefix, names={**self.names, **names})


@dataclass
class Owed:
    """A compensation that may have to run."""

    path: str
    scope: str
    steps: list[Step]
    place: Place
    completed: bool
    output: Json = None
    failed: bool = False


class Oracle:
    """One run of one flow."""

    def __init__(self, flow: Step) -> None:
        self._flow = flow
        self._vars: dict[str, Json] = dict(flow.get("vars", {}))
        self._owed: list[Owed] = []
        """Newest last."""
        self._strays: list[Walk] = []
        self._calls: dict[str, int] = {}
        self._completions: dict[str, int] = {}
        self._outputs: dict[str, Json] = {}
        self.done: list[tuple[str, int, Json]] = []
        """Calls carried out: path, generation (what its idempotency key tells), what it was shown of another step."""
        self.stopped: list[str] = []
        """Calls that were cancelled; whoever drives this takes them off."""
        self.status: dict[str, str] = {}
        self.open_question: set[str] = set()
        """Paths of which the format does not say whether they are shown as skipped or not at all."""
        self.undone: list[tuple[str, str]] = []
        self.ended: str = ""
        self.output: Json = None
        self.error: Failed | None = None

    # -- the run ----------------------------------------------------------------------------------------------

    def run(self) -> Walk:
        """The whole life of the run; ``ended``, ``output``, ``error`` and ``undone`` tell about it afterwards."""
        try:
            self.output = yield from self._with_strays(self._list(self._flow["steps"], Place()))
            self.ended = "completed"
        except Failed as failed:
            self.ended, self.error = "failed", failed
        except Ended as ended:
            self.ended, self.output = ended.status, ended.output
        if self.ended != "completed":
            yield from self._undo(None)
        handlers = self._flow.get("error_handling", {})
        if self.ended == "failed":
            yield from self._handler(handlers.get("fallback", []), "#fallback/")
        yield from self._handler(handlers.get("finally", []), "#finally/")

    def _handler(self, steps: list[Step], prefix: str) -> Walk:
        try:
            yield from self._list(steps, Place(prefix))
        except Failed as failed:
            if self.ended == "completed":
                self.ended, self.error = "failed", failed

    def _with_strays(self, walk: Walk) -> Walk:
        """The walk, and beside it the losers that races leave to finish."""
        outcome: list[tuple[str, Json]] = []

        def main() -> Walk:
            outcome.append((yield from caught(walk)))

        open_ = Open()
        open_.add(0, main())
        while True:
            while self._strays:
                open_.add(1 + max(open_.walks), self._strays.pop(0))
            if not open_.under_way() or (outcome and outcome[0][0] != "completed"):
                break
            yield from one_more(open_)
        open_.remove(0)
        yield from settle(open_)
        return unpacked(outcome[0])

    # -- lists and steps --------------------------------------------------------------------------------------

    def _list(self, steps: list[Step], place: Place) -> Walk:
        """In order, or as their needs say; a failure ends the list. The output of the textually last completed one."""
        if any("needs" in step for step in steps):
            outputs = yield from self._by_needs(steps, place)
            return outputs.get(max(outputs, default=-1))
        output: Json = None
        for step in steps:
            if (yield from self._step(step, place)) == "completed":
                output = self._outputs.get(place.path(step), None)
        return output

    def _by_needs(self, steps: list[Step], place: Place) -> Generator[list[str], str, dict[int, Json]]:
        outputs: dict[int, Json] = {}

        def ended(number: int, outcome: tuple[str, Json]) -> bool:
            if outcome[0] == "raised":
                return True
            if outcome[1] == "completed":
                outputs[number] = self._outputs.get(place.path(steps[number]), None)
            return False

        needs = [step.get("needs", [above["id"] for above in steps[:number]]) for number, step in enumerate(steps)]
        raised = yield from self._together(steps, needs, place, ended)
        if raised is not None:
            raise raised
        return outputs

    def _step(self, step: Step, place: Place) -> Walk:
        """One step to its status."""
        path = place.path(step)
        if "if" in step and not self._holds(step["if"], place):
            return self._skip(step, place)
        self.status[path] = "running"
        compensate = step.get("compensate")
        if compensate and step.get("compensate_on", place.compensate_on) == "attempted":
            self._owe(path, compensate, place, completed=False)
        try:
            output = yield from self._KINDS[step["type"]](self, step, path, place)
        except Failed as failed:
            return (yield from self._handled(step, path, place, failed))
        except (Ended, Cancelled) as stop:
            completed = isinstance(stop, Ended) and stop.status == "completed"
            self.status[path] = "completed" if completed else "cancelled"
            raise
        if compensate:
            self._owe(path, compensate, place, completed=True, output=output)
        return self._completed(path, output)

    def _completed(self, path: str, output: Json) -> str:
        self.status[path] = "completed"
        self._completions[path] = self._completions.get(path, 0) + 1
        self._outputs[path] = output
        return "completed"

    def _handled(self, step: Step, path: str, place: Place, failed: Failed) -> Walk:
        on_error = step.get("on_error", "fail")
        if isinstance(on_error, list):
            try:
                output = yield from self._list(on_error, place.inside(f"{path}#on_error/"))
            except Failed:
                self.status[path] = "failed"
                raise
            except (Ended, Cancelled) as stop:
                completed = isinstance(stop, Ended) and stop.status == "completed"
                self.status[path] = "completed" if completed else "cancelled"
                raise
            return self._completed(path, output)
        self.status[path] = "failed"
        if on_error == "fail":
            raise failed
        return "failed"

    def _skip(self, step: Step, place: Place) -> str:
        """Skipped, and with it all inside except what only errors or passes would reach."""
        self.status[place.path(step)] = "skipped"
        if step["type"] not in ("for-each", "while"):
            for prefix, steps in self._inner(step, place.path(step)):
                for child in steps:
                    self._skip(child, place.inside(prefix))
        return "skipped"

    @staticmethod
    def _inner(step: Step, path: str) -> Iterable[tuple[str, list[Step]]]:
        config = step.get("config", {})
        for key in ("steps", "branches"):
            yield f"{path}/", config.get(key, [])
        for key in ("then", "else", "default", "finally"):
            yield f"{path}/{key}/", config.get(key, [])
        for key, word in (("cases", "case"), ("catch", "catch")):
            for number, case in enumerate(config.get(key, [])):
                yield f"{path}/{word}[{number}]/", case["steps"]

    def _holds(self, text: str | bool, place: Place) -> bool:
        """A condition of the small language that Python and the format share."""
        names = {"vars": SimpleNamespace(**self._vars), **place.names}
        return bool(eval(text, {"__builtins__": {}}, names)) if isinstance(text, str) else text

    def _seen(self, template: str | None, place: Place) -> Json:
        """``{{ steps.x.output | default('none') }}``: the output of the nearest ``x``, if it has one."""
        if template is None:
            return None
        name = template.split(".")[1]
        if place.own[0] == name:
            return place.own[1]
        if place.prefix.startswith("#"):
            # A handler of the flow names any step outside loops.
            known = {path.rpartition("/")[2]: path for path in self.status}
            return self._nearest([known.get(name, name)])
        parts = place.prefix.split("/")
        return self._nearest(["/".join([*parts[:length], name]) for length in reversed(range(len(parts)))])

    def _nearest(self, paths: list[str]) -> Json:
        path = next((path for path in paths if path in self.status), None)
        return "none" if path is None or self.status[path] != "completed" else self._outputs.get(path, "none")

    def _transform(self, step: Step, path: str, place: Place) -> Walk:
        return self._seen(step["config"]["value"], place)
        yield

    # -- side by side -----------------------------------------------------------------------------------------

    def _together(
        self,
        steps: list[Step],
        needs: list[list[str]],
        place: Place,
        ended: Callable[[int, tuple[str, Json]], bool],
        spared: Callable[[], bool] = lambda: False,
    ) -> Generator[list[str], str, Exception | None]:
        """Steps that start as their needs are over, until all have ended or ``ended`` says it is enough; then the rest
        is cancelled, or goes on beside the run where it is ``spared``. The exception that ended it, if one did."""
        over: dict[str, str] = {}
        open_ = Open()
        outcomes: dict[int, tuple[str, Json]] = {}
        todo = list(range(len(steps)))
        while True:
            for number in [one for one in outcomes if one in open_.walks]:
                open_.remove(number)
                over[steps[number]["id"]] = str(outcomes[number][1])
                if ended(number, outcomes[number]):
                    if spared():
                        self._strays.extend(open_.resumed())
                    else:
                        yield from settle(open_)
                    return outcomes[number][1] if outcomes[number][0] == "raised" else None
            ready = [one for one in todo if all(need in over for need in needs[one])]
            for number in ready:
                todo.remove(number)
                before = [over[name] for name in needs[number]]
                open_.add(number, self._member(steps[number], number, place, before, outcomes))
            if not open_.walks:
                return None
            if not ready:
                yield from one_more(open_)

    def _member(
        self, step: Step, number: int, place: Place, before: list[str], outcomes: dict[int, tuple[str, Json]]
    ) -> Walk:
        if any(one not in ("completed", "skipped", "failed") for one in before):
            outcomes[number] = ("blocked", "blocked")
        elif before and "needs" in step and all(one == "skipped" for one in before):
            outcomes[number] = ("completed", self._skip(step, place))
        else:
            outcomes[number] = yield from caught(self._step(step, place))

    def _shielded(self, walk: Walk) -> Walk:
        """To its end, whoever cancels us meanwhile."""
        outcome: list[tuple[str, Json]] = []

        def work() -> Walk:
            outcome.append((yield from caught(walk)))

        shielded, interrupted = work(), False
        pending = advance(shielded, None)
        while pending:
            try:
                pending = advance(shielded, (yield pending))
            except Cancelled:
                interrupted = True
        if interrupted:
            raise Cancelled
        return unpacked(outcome[0])

    # -- compensation -----------------------------------------------------------------------------------------

    def _owe(self, path: str, steps: list[Step], place: Place, *, completed: bool, output: Json = None) -> None:
        known = next((one for one in self._owed if one.path == path and not one.completed and not one.failed), None)
        if known is not None:
            if not completed:
                return
            # It was only attempted so far: one effect, one compensation.
            self._owed.remove(known)
        self._owed.append(Owed(path, place.saga, steps, place, completed, output))

    def _undo(self, scope: str | None) -> Walk:
        """Newest completion first; one that fails does not stop the others."""
        while True:
            due = [one for one in self._owed if not one.failed and scope in (None, one.scope)]
            if not due:
                return None
            owed = due[-1]
            try:
                own = (owed.path.rpartition("/")[2], owed.output) if owed.completed else ("", None)
                place = replace(owed.place, prefix=f"{owed.path}#compensate/", own=own)
                yield from self._list(owed.steps, place)
            except Failed:
                owed.failed = True
                self.undone.append((owed.path, "failed"))
            else:
                self._owed.remove(owed)
                self.undone.append((owed.path, "completed"))

    def _hand_over(self, scope: str, to: str) -> None:
        for owed in self._owed:
            if owed.scope == scope:
                owed.scope = to

    def _forget(self, prefix: str) -> None:
        """What was there is run again."""
        for path in [path for path in self.status if path.startswith(prefix)]:
            del self.status[path]
            self._outputs.pop(path, None)

    # -- constructs -------------------------------------------------------------------------------------------

    def _act(self, step: Step, path: str, place: Place) -> Walk:
        told = step["config"]["params"]
        retry = step.get("retry", "none")
        for _ in range(1 if retry == "none" else retry["max_attempts"]):
            generation, seen = self._completions.get(path, 0) + 1, self._seen(told.get("seen"), place)
            try:
                yield [path]
            except Cancelled:
                self.stopped.append(path)
                raise
            call = self._calls[path] = self._calls.get(path, 0) + 1
            self.done.append((path, generation, seen))
            if call > told["fails"]:
                return f"{path}:{call}"
            if told["terminal"]:
                break
        raise Failed(told["type"], path, retryable=not told["terminal"])

    def _set(self, step: Step, path: str, place: Place) -> Walk:
        self._vars["n"] += 1
        return {"n": self._vars["n"]}
        yield

    def _fail(self, step: Step, path: str, place: Place) -> Walk:
        raise Failed(step["config"]["type"], path)
        yield

    def _return(self, step: Step, path: str, place: Place) -> Walk:
        raise Ended(step["config"]["output"], step["config"]["status"])
        yield

    def _block(self, step: Step, path: str, place: Place) -> Walk:
        return (yield from self._list(step["config"]["steps"], place.inside(f"{path}/")))

    def _condition(self, step: Step, path: str, place: Place) -> Walk:
        taken = "then" if self._holds(step["config"]["if"], place) else "else"
        return (yield from self._branch(step, path, place, f"{path}/{taken}/"))

    def _switch(self, step: Step, path: str, place: Place) -> Walk:
        cases = step["config"]["cases"]
        number = next((one for one, case in enumerate(cases) if self._holds(case["if"], place)), None)
        taken = "default" if number is None else f"case[{number}]"
        return (yield from self._branch(step, path, place, f"{path}/{taken}/"))

    def _branch(self, step: Step, path: str, place: Place, taken: str) -> Walk:
        output: Json = None
        for prefix, steps in self._inner(step, path):
            if prefix != taken:
                for other in steps:
                    self._skip(other, place.inside(prefix))
        for prefix, steps in self._inner(step, path):
            if prefix == taken:
                output = yield from self._list(steps, place.inside(prefix))
        return output

    def _parallel(self, step: Step, path: str, place: Place) -> Walk:
        config, inner = step["config"], place.inside(f"{path}/")
        race = Race(config)
        branches = config["branches"]

        def ended(number: int, outcome: tuple[str, Json]) -> bool:
            return race.ends(branches[number], outcome)

        needs = [branch.get("needs", []) for branch in branches]
        finish = config.get("losers") == "finish"
        raised = yield from self._together(branches, needs, inner, ended, spared=lambda: finish and race.won)
        if isinstance(raised, Ended):
            raise raised
        if not race.won:
            raise race.errors[0] if race.errors else Failed("invalid_config", path)
        outputs = {branch["id"]: self._outputs.get(inner.path(branch), None) for branch in branches}
        shown = [name for name in race.completed if name in race.counting][:1]
        if config.get("wait_for") != "any":
            shown = race.completed
        return {name: output for name, output in outputs.items() if name in shown}

    def _for_each(self, step: Step, path: str, place: Place) -> Walk:
        config = step["config"]
        items, width = config["items"], config.get("concurrency", 1)
        tolerated = len(items) if config.get("tolerate") == "all" else config.get("tolerate", 0)
        outcomes: dict[int, tuple[str, Json]] = {}
        open_ = Open()
        over: dict[int, Json] = {}
        failed, stopped = 0, False
        todo = list(range(len(items)))
        while True:
            for index in [one for one in outcomes if one in open_.walks]:
                open_.remove(index)
                kind, value = outcomes[index]
                over[index] = value if kind == "completed" else None
                failed += kind == "raised"
                if kind == "raised" and (isinstance(value, Ended) or failed > tolerated):
                    yield from settle(open_)
                    raise value
                names = {"item": items[index], "loop": SimpleNamespace(index=index)}
                stopped = stopped or ("until" in config and self._holds(config["until"], replace(place, names=names)))
            while todo and len(open_.walks) < width and not stopped:
                open_.add(todo[0], self._pass(step, path, place, todo.pop(0), outcomes))
            if not open_.walks:
                break
            if not any(one in outcomes for one in open_.walks):
                yield from one_more(open_)
        if config.get("collect") == "none":
            return None
        return [over[index] for index in sorted(over)]

    def _pass(self, step: Step, path: str, place: Place, index: int, outcomes: dict[int, tuple[str, Json]]) -> Walk:
        names = {"item": step["config"]["items"][index], "loop": SimpleNamespace(index=index)}
        inner = place.inside(f"{path}[{index}]/", **names)
        outcomes[index] = yield from caught(self._list(step["config"]["steps"], inner))

    def _while(self, step: Step, path: str, place: Place) -> Walk:
        config = step["config"]
        outputs: list[Json] = []
        while True:
            index = len(outputs)
            inner = place.inside(f"{path}[{index}]/", loop=SimpleNamespace(index=index, count=index))
            if "while" in config and not self._holds(config["while"], inner):
                break
            if index >= config["max_iterations"]:
                raise Failed("loop_limit", path)
            outputs.append((yield from self._list(config["steps"], inner)))
            inner = place.inside(inner.prefix, loop=SimpleNamespace(index=index, count=index + 1))
            if "until" in config and self._holds(config["until"], inner):
                break
        return {"all": outputs, "last": outputs[-1] if outputs else None, "none": None}[config.get("collect", "last")]

    def _try(self, step: Step, path: str, place: Place) -> Walk:
        config = step["config"]
        error: Failed | None = None
        ended: Ended | None = None
        output: Json = None
        at_last = place.inside(f"{path}/finally/")
        try:
            output = yield from self._caught_body(config, path, place)
        except Failed as failed:
            error = failed
        except Ended as stop:
            ended = stop
        except Cancelled:
            yield from self._shielded(self._list(config.get("finally", []), at_last))
            raise
        try:
            yield from self._shielded(self._list(config.get("finally", []), at_last))
        except Failed:
            if error is None:
                raise
        if ended or error:
            raise ended or error  # type: ignore[misc]
        return output

    def _caught_body(self, config: Step, path: str, place: Place) -> Walk:
        retry = config.get("retry", {"max_attempts": 1, "on": []})
        catches = config.get("catch", [])
        for attempt in range(1, retry["max_attempts"] + 1):
            try:
                output = yield from self._list(config["steps"], place.inside(f"{path}/"))
            except Failed as failed:
                if attempt < retry["max_attempts"] and _matches(retry["on"], failed):
                    self._forget(f"{path}/")
                    continue
                taken = next((one for one, catch in enumerate(catches) if _matches(catch["on"], failed)), None)
                self._skip_catches(catches, path, place, taken)
                if taken is None:
                    self.open_question.update(f"{path}/catch[{one}]/" for one in range(len(catches)))
                    raise
                return (yield from self._list(catches[taken]["steps"], place.inside(f"{path}/catch[{taken}]/")))
            self._skip_catches(catches, path, place, None)
            return output
        raise AssertionError("a try has at least one attempt")

    def _skip_catches(self, catches: list[Step], path: str, place: Place, taken: int | None) -> None:
        for number, catch in enumerate(catches):
            if number != taken:
                for step in catch["steps"]:
                    self._skip(step, place.inside(f"{path}/catch[{number}]/"))

    def _saga(self, step: Step, path: str, place: Place) -> Walk:
        config = step["config"]
        inner = replace(place.inside(f"{path}/"), saga=path, compensate_on=config.get("compensate_on", "completed"))
        try:
            output = yield from self._list(config["steps"], inner)
        except Failed:
            yield from self._shielded(self._undo(path))
            self._hand_over(path, place.saga)
            raise
        except Cancelled:
            self._hand_over(path, place.saga)
            raise
        if config.get("commit"):
            self._owed = [owed for owed in self._owed if owed.scope != path]
        self._hand_over(path, place.saga)
        return output

    _KINDS: Mapping[str, Callable[[Oracle, Step, str, Place], Walk]] = {
        "function": _act,
        "set": _set,
        "transform": _transform,
        "fail": _fail,
        "return": _return,
        "block": _block,
        "condition": _condition,
        "switch": _switch,
        "parallel": _parallel,
        "for-each": _for_each,
        "while": _while,
        "try": _try,
        "saga": _saga,
    }


def _matches(filters: list[str], failed: Failed) -> bool:
    return any(one in ("*", failed.kind) or (one == "retryable" and failed.retryable) for one in filters)
