"""What a case expects against what its run did: every difference, with the line of the expectation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from orchestrator.flowtests.judging.differences import exact, having
from orchestrator.flowtests.playing.answers import OWN_ERROR
from orchestrator.flowtests.results import Called, CaseResult, Mismatch, Ran
from orchestrator.spec.definition import Definition
from orchestrator.spec.flowtests.cases import FlowCase
from orchestrator.spec.flowtests.model import Between, Lasting

Json = Any

_SLACK = 5.0
"""Seconds a run may take more or less than `duration` says."""
_REACHED = ("completed", "failed", "cancelled", "running")


def check(case: FlowCase, definition: Definition, result: CaseResult, refused: str | None = None) -> None:
    """Add every difference to the result. ``refused``: why nothing was started."""
    looks = _Looks(case, definition, result, refused)
    if not looks.status():
        return
    for look in looks.others():
        look()


class _Looks:
    """One look for each key of ``expect``."""

    def __init__(self, case: FlowCase, definition: Definition, result: CaseResult, refused: str | None) -> None:
        self._case = case
        self._expect = case.expect
        self._definition = definition
        self._result = result
        self._refused = refused

    def status(self) -> bool:
        """How it ended: where that is not as expected, the rest is no news."""
        wanted, got = self._expect.status, self._result.status
        if got in ("running", "waiting") or (wanted == got and got == "not_started"):
            return False
        if wanted == got:
            return True
        if (self._result.error or {}).get("type") == OWN_ERROR:
            # The reason is told already.
            return False
        self._say(f"the run {_ENDS[got]}{self._why()}; expected: {wanted}", ("status",))
        return False

    def _why(self) -> str:
        if self._refused is not None:
            return f" ({self._refused})"
        error = self._result.error
        if error is None:
            return ""
        step = (error.get("step") or {}).get("path")
        at = f" at step '{step}'" if step else ""
        where = f" ({error['source']})" if error.get("source") else ""
        return f"{at} with {error.get('type')}: {error.get('message')}{where}"

    def others(self) -> Iterator[Callable[[], None]]:
        """Every other look that the case asks for."""
        given = self._expect.model_fields_set
        for key in ("output", "output_has", "vars"):
            if key in given:
                yield from [getattr(self, key)]
        yield from (self.error, self.states, self.compensated, self.order, self.calls, self.called_with)
        yield from (self.warnings, self.duration, self.cost)

    def output(self) -> None:
        """Exactly."""
        self._differ("output", exact(self._expect.output, self._result.output), self._expect.output)

    def output_has(self) -> None:
        """These members."""
        self._differ("output_has", having(self._expect.output_has, self._result.output), self._expect.output_has)

    def vars(self) -> None:
        """The vars that are named."""
        for name, wanted in self._expect.vars.items():
            self._compare(("vars", name), f"var `{name}`", exact(wanted, self._result.vars.get(name)))

    def error(self) -> None:
        """Type, step, a part of the message."""
        wanted, got = self._expect.error, self._result.error or {}
        if wanted is None:
            return
        step = got.get("step") or {}
        if wanted.type is not None and wanted.type != got.get("type"):
            self._say(f"the error's type is {got.get('type')}; expected: {wanted.type}", ("error", "type"))
        if wanted.message is not None and wanted.message not in str(got.get("message")):
            self._say(
                f"the error's message is {got.get('message')!r}; expected in it: {wanted.message!r}",
                ("error", "message"),
            )
        if wanted.step is not None and wanted.step not in (step.get("id"), step.get("path")):
            came = f"from step '{step.get('path')}'" if step else "from no step"
            self._say(f"the error came {came}; expected: {wanted.step}", ("error", "step"))
        if wanted.status is not None and wanted.status != got.get("status"):
            self._say(f"the error's status is {got.get('status')}; expected: {wanted.status}", ("error", "status"))
        if "data" in wanted.model_fields_set:
            self._compare(("error", "data"), "the error's data", having(wanted.data, got.get("data")))

    def states(self) -> None:
        """Which steps ran, were skipped, failed, were never reached."""
        for key, right, words in _STATES:
            for number, name in enumerate(getattr(self._expect, key)):
                found = [status for ran in self._steps(name) for status in _statuses(ran)]
                if not right(found):
                    hint = _NOT_TAKEN if key == "not_reached" and found == ["skipped"] else ""
                    self._say(f"step '{name}' {words}: {_told(found)}{hint}", (key, number))

    def compensated(self) -> None:
        """Exactly these, in this order."""
        wanted = self._expect.compensated
        if wanted is None:
            return
        paths = self._result.compensated
        ids = [self._id(path) for path in paths]
        got = [path if path in wanted else step for path, step in zip(paths, ids, strict=True)]
        if wanted != got:
            self._say(f"undone was {_listed(got)}; expected, in this order: {_listed(wanted)}", ("compensated",))

    def order(self) -> None:
        """These began in this order."""
        firsts: list[int] = []
        for number, name in enumerate(self._expect.order):
            at = [place for place, ran in enumerate(self._result.steps) if name in (ran.step, ran.path)]
            if not at or self._result.steps[at[0]].status == "skipped":
                self._say(f"step '{name}' never began", ("order", number))
                return
            firsts.append(at[0])
        if firsts != sorted(firsts):
            began = [name for _, name in sorted(zip(firsts, self._expect.order, strict=True))]
            self._say(f"they began as {_listed(began)}; expected: {_listed(self._expect.order)}", ("order",))

    def calls(self) -> None:
        """How often a step was called."""
        for name, wanted in self._expect.calls.items():
            got = len(self._calls(name))
            if got != wanted:
                self._say(f"step '{name}' was called {_times(got)}; expected: {_times(wanted)}", ("calls", name))

    def called_with(self) -> None:
        """What a step was called with: some call's members, or those of each call."""
        for name, wanted in self._expect.called_with.items():
            calls = self._calls(name)
            path = ("called_with", name)
            if not calls:
                self._say(f"step '{name}' was not called", path)
            elif isinstance(wanted, list):
                if len(wanted) != len(calls):
                    self._say(f"step '{name}' was called {_times(len(calls))}; expected: {_times(len(wanted))}", path)
                for number, (one, call) in enumerate(zip(wanted, calls, strict=False)):
                    self._compare((*path, number), f"call {number + 1} of '{name}'", having(one, call.config))
            elif not any(not list(having(wanted, call.config)) for call in calls):
                self._compare(path, f"the last call of '{name}'", having(wanted, calls[-1].config))

    def warnings(self) -> None:
        """Types of failures that were handled or tolerated."""
        wanted = self._expect.warnings
        if wanted is None:
            return
        for number, kind in enumerate(wanted):
            if not any(kind in warning for warning in self._result.warnings):
                self._say(f"no warning names {kind}; there: {_listed(self._result.warnings)}", ("warnings", number))
        if not wanted and self._result.warnings:
            self._say(f"expected were no warnings; there: {_listed(self._result.warnings)}", ("warnings",))

    def duration(self) -> None:
        """How long it took by the run's clock."""
        wanted, got = self._expect.duration, self._result.seconds
        # The run's clock goes on while it works: a busy machine makes a run longer, never shorter.
        slack = _SLACK + self._result.took
        if wanted is None:
            return
        if isinstance(wanted, Lasting):
            if wanted.at_least is not None and got < wanted.at_least - _SLACK:
                self._say(f"the run took {_long(got)}; expected: at least {_long(wanted.at_least)}", ("duration",))
            if wanted.at_most is not None and got > wanted.at_most + slack:
                self._say(f"the run took {_long(got)}; expected: at most {_long(wanted.at_most)}", ("duration",))
        elif not wanted - _SLACK <= got <= wanted + slack:
            self._say(f"the run took {_long(got)}; expected: {_long(wanted)}", ("duration",))

    def cost(self) -> None:
        """What the mocks, and steps that were real, said they cost."""
        wanted, got = self._expect.cost, self._result.cost
        if wanted is None:
            return
        if isinstance(wanted, Between):
            low, high = wanted.at_least, wanted.at_most
            if (low is not None and got < low - 1e-9) or (high is not None and got > high + 1e-9):
                named = (("at least", low), ("at most", high))
                bounds = " and ".join(f"{words} {bound:g}" for words, bound in named if bound is not None)
                self._say(f"the run cost {got:g}; expected: {bounds}", ("cost",))
        elif abs(got - float(wanted)) > 1e-9:
            self._say(f"the run cost {got:g}; expected: {wanted:g}", ("cost",))

    # -- helpers --------------------------------------------------------------------------------------------------

    def _steps(self, name: str) -> list[Ran]:
        return [ran for ran in self._result.steps if name in (ran.step, ran.path)]

    def _calls(self, name: str) -> list[Called]:
        return [call for call in self._result.calls if name in (call.step, call.path)]

    def _id(self, path: str) -> str:
        return next((ran.step for ran in self._result.steps if ran.path == path), path)

    def _say(self, message: str, path: tuple[str | int, ...]) -> None:
        given = self._expect.model_fields_set
        where = self._case.where("expect", *path) if path[0] in given else self._case.where("name")
        self._result.problems.append(Mismatch(message, where))

    def _differ(self, key: str, differences: Iterator[str], wanted: Json) -> None:
        listed = list(differences)
        if listed:
            message = f"the output differs: {'; '.join(listed[:10])}"
            where = self._case.where("expect", key)
            self._result.problems.append(Mismatch(message, where, wanted, self._result.output, compared=True))

    def _compare(self, path: tuple[str | int, ...], what: str, differences: Iterator[str]) -> None:
        listed = list(differences)
        if listed:
            self._say(f"{what}: {'; '.join(listed[:10])}", path)


def _statuses(ran: Ran) -> list[str]:
    """A failure that `on_error` steps handled is both: the step has failed, and is completed."""
    handled = ran.status == "completed" and ran.error is not None
    return ["failed", ran.status] if handled else [ran.status]


def _ran(found: list[str]) -> bool:
    return any(status in _REACHED for status in found)


_STATES: tuple[tuple[str, Callable[[list[str]], bool], str], ...] = (
    ("ran", _ran, "did not run"),
    ("skipped", lambda found: "skipped" in found, "was not skipped"),
    ("not_reached", lambda found: not found, "has a record"),
    ("failed", lambda found: "failed" in found, "did not fail"),
)
_NOT_TAKEN = "; what stands in a branch that is not taken counts as skipped"
_ENDS = {
    "completed": "completed",
    "failed": "failed",
    "cancelled": "was cancelled",
    "timed_out": "timed out",
    "not_started": "was not started",
}


def _told(found: list[str]) -> str:
    return f"it is {', '.join(dict.fromkeys(found))}" if found else "it was never reached"


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "nothing"


def _times(number: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(number, f"{number} times")


def _long(seconds: float) -> str:
    """A length of time as an author would write it."""
    parts: list[str] = []
    rest = round(seconds, 1)
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        count, rest = divmod(rest, length)
        if count:
            parts.append(f"{count:g}{unit}")
    if rest or not parts:
        parts.append(f"{round(rest, 1):g}s")
    return "".join(parts)
