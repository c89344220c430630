"""What can be measured of runs, and when an alert is raised (FLOW_FORMAT §7). Pure: the engine asks it in a run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.spec.base import parse_duration
from orchestrator.spec.findings import suggestion

Json = Any
Unit = Literal["duration", "share", "number"]

RECENT = 100
"""Finished runs of a flow that a rate is taken over, the newest."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One thing that is measured. ``of_flow``: not of one run, but over the last ``RECENT`` that have ended."""

    unit: Unit
    about: str
    of_flow: bool = False


METRICS: dict[str, Metric] = {
    "execution_time": Metric("duration", "from the run's start on, waits included"),
    "queue_time": Metric("duration", "how long the run waited for its turn (`concurrency`)"),
    "step_duration": Metric("duration", "the longest step of the run, attempts included; no waits, tasks or blocks"),
    "attempts": Metric("number", "the most attempts that one step of the run took"),
    "tokens": Metric("number", "what models read and wrote, cached text included"),
    "cost": Metric("number", "US dollars for models, as far as their prices are known"),
    "success_rate": Metric("share", f"completed runs among the last {RECENT}", of_flow=True),
    "error_rate": Metric("share", f"failed and timed-out runs among the last {RECENT}", of_flow=True),
}
"""By name, in the order they are shown."""

_TERM = re.compile(r"\s*([A-Za-z_][\w.-]*)\s*(<=|>=|==|!=|<|>)\s*(\d[\w.]*%?|P[\w.]+)\s*")
_RISING = (">", ">=")


@dataclass(frozen=True, slots=True)
class Term:
    """``metric op value``; durations in seconds, shares from 0 to 1."""

    metric: str
    op: str
    value: float

    def holds(self, found: float) -> bool:
        """Whether it is true of what was found."""
        match self.op:
            case "<":
                return found < self.value
            case "<=":
                return found <= self.value
            case ">":
                return found > self.value
            case ">=":
                return found >= self.value
            case "==":
                return found == self.value
            case _:
                return found != self.value


Condition = tuple[tuple[Term, ...], ...]
"""Groups joined by ``or``, each of terms joined by ``and``."""


def read_condition(text: str) -> Condition:
    """A condition as its author wrote it. Raises ValueError for what is none, for a metric that nobody measures, for a
    literal of the wrong unit, and for what can never hold."""
    groups: list[tuple[Term, ...]] = []
    for part in re.split(r"\s+or\s+", text.strip()):
        group = tuple(_term(term) for term in re.split(r"\s+and\s+", part))
        why = _impossible(group)
        if why is not None:
            raise ValueError(f"`{part.strip()}` can never hold: {why}")
        groups.append(group)
    return tuple(groups)


def check_metric(name: str) -> str:
    """The name of a metric. Raises ValueError naming the nearest."""
    if name not in METRICS:
        hint = suggestion(name, METRICS)
        raise ValueError(f"there is no metric `{name}`" + (f"; {hint}" if hint else ""))
    return name


def _term(text: str) -> Term:
    found = _TERM.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{text.strip()!r} is not `metric op literal`, such as execution_time > 300s or success_rate < 95%"
        )
    name, op, literal = found.groups()
    return Term(check_metric(name), op, _value(name, literal))


def _value(name: str, literal: str) -> float:
    unit = METRICS[name].unit
    plain = re.fullmatch(r"\d+(?:\.\d+)?", literal) is not None
    if unit == "duration":
        if literal.endswith("%"):
            raise ValueError(f"`{name}` is a time, {literal} is none; write for example 300s")
        return parse_duration(literal)
    if unit == "share":
        value = _number(literal.removesuffix("%"), name, "95%") / (1.0 if plain else 100.0)
        if value > 1 and plain:
            raise ValueError(f"`{name}` is a share; write {literal}% or a number from 0 to 1")
        return value
    if not plain:
        raise ValueError(f"`{name}` is a plain number, {literal} is none; write for example 3")
    return float(literal)


def _number(text: str, name: str, example: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(f"`{name}` is a share, {text} is none; write for example {example}") from error


@dataclass(slots=True)
class _Range:
    """The values that are left for one metric."""

    low: float = 0.0
    high: float = float("inf")
    above: bool = False
    """Whether ``low`` itself is out."""
    below: bool = False

    def narrow(self, term: Term) -> None:
        if term.op in (">", ">=", "==") and (term.value, term.op == ">") > (self.low, self.above):
            self.low, self.above = term.value, term.op == ">"
        if term.op in ("<", "<=", "==") and (term.value, term.op != "<") < (self.high, not self.below):
            self.high, self.below = term.value, term.op == "<"

    @property
    def empty(self) -> bool:
        return self.low > self.high or (self.low == self.high and (self.above or self.below))


def _whole(metric: str) -> _Range:
    return _Range(high=1.0) if METRICS[metric].unit == "share" else _Range()


def _impossible(group: Sequence[Term]) -> str | None:
    """Why no values make all of these true at once; None where some do."""
    left: dict[str, _Range] = {}
    for term in group:
        alone = _whole(term.metric)
        alone.narrow(term)
        if alone.empty:
            bounds = "from 0% to 100%" if METRICS[term.metric].unit == "share" else "0 or more"
            return f"`{term.metric}` is {bounds}"
        both = left.setdefault(term.metric, _whole(term.metric))
        both.narrow(term)
        if both.empty:
            return f"no value of `{term.metric}` fits all of it"
    return None


def always_holds(condition: Condition) -> bool:
    """Whether it is true of every run."""
    return any(all(_is_trivial(term) for term in group) for group in condition)


def _is_trivial(term: Term) -> bool:
    whole = _whole(term.metric)
    return (term.op == ">=" and term.value <= whole.low) or (term.op == "<=" and term.value >= whole.high)


def holds(condition: Condition, values: Mapping[str, float | None]) -> bool:
    """Whether it is true of these values; a metric that is not known makes no term true."""
    return any(all(_known(term, values) for term in group) for group in condition)


def _known(term: Term, values: Mapping[str, float | None]) -> bool:
    found = values.get(term.metric)
    return found is not None and term.holds(found)


def while_running(condition: Condition) -> Condition:
    """The groups that can be told before a run is over, and stay true then: those about how much of something a run
    has taken so far, its time among them."""
    return tuple(group for group in condition if all(_only_grows(term) for term in group) and _moments(group))


def _only_grows(term: Term) -> bool:
    return term.op in _RISING and not METRICS[term.metric].of_flow


def _moments(group: Sequence[Term]) -> list[float]:
    return [term.value for term in group if term.metric == "execution_time"]


def moments(condition: Condition) -> list[float]:
    """Seconds after a run's start at which one of the groups of ``while_running`` may begin to hold."""
    return sorted({max(_moments(group)) for group in while_running(condition)})


def only_of_flow(condition: Condition) -> bool:
    """Whether it is about recent runs together, and not about any single one."""
    return all(METRICS[term.metric].of_flow for group in condition for term in group)


def metrics_in(condition: Condition) -> list[str]:
    """The metrics it names, each once, in its order."""
    return list(dict.fromkeys(term.metric for group in condition for term in group))


def shown(metric: str, value: float) -> str:
    """A value for people: ``5m 12s``, ``93.5%``, ``$0.0312``, ``12500``."""
    match METRICS[metric].unit:
        case "share":
            return f"{value * 100:.4g}%"
        case "duration":
            return _time(value)
        case _:
            return f"${value:.4g}" if metric == "cost" else f"{value:.10g}"


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.3g}s"
    whole = round(seconds)
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "m"), (whole % 60, "s")]
    return " ".join([f"{count}{unit}" for count, unit in parts if count][:2])


def described(condition: Condition, values: Mapping[str, float | None]) -> str:
    """What was found of the metrics it names."""
    told = [(name, values.get(name)) for name in metrics_in(condition)]
    return ", ".join(f"{name} is {shown(name, value)}" for name, value in told if value is not None)


def to_json(condition: Condition) -> list[list[list[Json]]]:
    """The condition as a definition pins it."""
    return [[[term.metric, term.op, term.value] for term in group] for group in condition]


def from_json(data: Iterable[Iterable[Sequence[Json]]]) -> Condition:
    """The condition that ``to_json`` wrote."""
    return tuple(tuple(Term(*term) for term in group) for group in data)
