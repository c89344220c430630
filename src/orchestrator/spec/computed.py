"""Steps computed while a flow runs (``run-steps``): checked like a file, and kept inside what their author allowed."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from orchestrator.errors import FlowInvalid, Problem
from orchestrator.spec.agents import tool_kinds
from orchestrator.spec.control import ControlConfig
from orchestrator.spec.declared import assign_ids, check_schemas
from orchestrator.spec.definition import Definition, Node
from orchestrator.spec.delivery import check_delivery
from orchestrator.spec.findings import Findings, kind_of
from orchestrator.spec.flow import Flow
from orchestrator.spec.normalise import content_hash, normalise_steps
from orchestrator.spec.places import LOOPS, Place, places
from orchestrator.spec.reading import Placed, read_steps
from orchestrator.spec.rules import check_rules
from orchestrator.spec.sight import Sight
from orchestrator.spec.source import MAX_DEPTH, Mark, Source, read_source
from orchestrator.spec.step import Defaults, Step
from orchestrator.spec.support import unsupported_steps
from orchestrator.spec.visibility import Visibility

Json = Any

MAX_CHARACTERS = 200_000
"""Characters of computed steps given as text."""
MAX_VALUES = 20_000
"""Values in a computed list, members and items counted."""

_OUTER = "outer"
_FENCE = re.compile(r"^[ \t]*```[\w-]*[ \t]*$", re.MULTILINE)
_ERROR_LISTS = ("on_error", "compensate", "finally")


class StepsInvalid(FlowInvalid):
    """Computed steps that may not run; ``problems`` lists every finding, each naming its step and key."""

    code = "invalid_steps"

    def __str__(self) -> str:
        return "; ".join(
            problem.message + (f" ({problem.hint})" if problem.hint else "") for problem in self.problems[:20]
        ) + (f"; and {len(self.problems) - 20} more" if len(self.problems) > 20 else "")


def prepare(
    raw: Json,
    allow: Sequence[str],
    max_steps: int,
    definition: Definition,
    visible: Iterable[str],
    step: str | None = None,
) -> Definition:
    """The computed steps as a definition of their own, which holds nothing but them and the names of the flow's inputs,
    vars and env.

    ``raw`` is a list of steps, or text that holds one as YAML or JSON, a code fence around it or not. ``definition`` is
    the flow that runs them, ``visible`` the steps of it that they may name, ``step`` the id of the ``run-steps`` step:
    its place says what they inherit and whether they lie in a loop or handler. Raises StepsInvalid with every problem.
    """
    place = next((one for one in places(definition) if one.node.id == step), None)
    where = place.node.source if place else f"{definition.file}:1:1"
    data = _read(raw, where)
    findings = _Findings(_source(data, where))
    steps = read_steps(data["steps"], ("steps",), findings, parent=None, list_name="steps")
    everything = [placed for one in steps for placed in one.walk()]
    _limits(everything, allow, max_steps, findings)
    outer = {node.id for node in definition.walk()}
    ids = assign_ids(steps, findings, frozenset(outer))
    check_schemas(steps, findings)
    _names(steps, ids, definition, frozenset(visible), place, findings)
    check_rules(steps, findings)
    findings.raise_if_any()
    findings.problems.extend((*unsupported_steps(steps, findings), *findings.later))
    findings.raise_if_any()
    inherited = Defaults.model_validate(place.node.config.get("defaults", {}) if place else {})
    nodes = normalise_steps(steps, inherited, _catalogue(definition), findings.source)
    check_delivery(steps, nodes, findings)
    findings.raise_if_any()
    return Definition(
        flow=definition.flow,
        version=definition.version,
        hash=content_hash(data),
        file=definition.file,
        steps=nodes,
        inputs={"type": "object", "properties": {name: {} for name in definition.inputs.get("properties", {})}},
        env=dict.fromkeys(definition.env),
        vars=dict.fromkeys(definition.vars),
        task_queue=definition.task_queue,
    )


class _Findings(Findings):
    """Places a problem in the list by step and key: computed steps have no lines anybody could open."""

    def place(
        self,
        path: Sequence[str | int],
        message: str,
        hint: str | None = None,
        *,
        key: bool = False,
        severity: str = "error",
    ) -> Problem:
        return super().place(path, f"{_where(self.source.data, path)}: {message}", hint, key=key, severity=severity)

    def raise_if_any(self) -> None:
        """Raise StepsInvalid with every error."""
        if self.problems:
            raise StepsInvalid(tuple(dict.fromkeys(self.problems)))


def _where(data: Json, path: Sequence[str | int]) -> str:
    """``computed step `charge`, `steps[1].config.url```."""
    words, name, here = "", None, data
    for part in path:
        words += f"[{part}]" if isinstance(part, int) else f".{part}" if words else part
        here = here[part] if _has(here, part) else None
        if isinstance(part, int) and isinstance(here, dict) and isinstance(here.get("id"), str):
            name = here["id"]
    return f"computed step `{name[:100]}`, `{words[:300]}`" if name else f"computed `{words[:300]}`"


def _has(here: Json, part: str | int) -> bool:
    if isinstance(here, list):
        return isinstance(part, int) and 0 <= part < len(here)
    return isinstance(here, dict) and part in here


def _read(raw: Json, where: str) -> dict[str, Json]:
    """``{"steps": list}`` of what was given."""
    if isinstance(raw, str):
        raw = _parsed(raw, where)
    if isinstance(raw, dict) and list(raw) == ["steps"]:
        raw = raw["steps"]
    if not isinstance(raw, list):
        got = kind_of(raw)
        hint = "a list of steps, or `{steps: [...]}`"
        if isinstance(raw, dict):
            got = "a mapping with " + (", ".join(f"`{str(key)[:40]}`" for key in list(raw)[:5]) or "nothing in it")
        raise _refused(f"computed steps must be a list, got {got}", where, hint)
    if not raw:
        raise _refused("the list of computed steps is empty", where, "skip the step with an `if` where there is none")
    _bounded(raw, where)
    return {"steps": raw}


def _parsed(text: str, where: str) -> Json:
    if len(text) > MAX_CHARACTERS:
        found = f"the computed steps have {len(text):,} characters"
        raise _refused(f"{found}; at most {MAX_CHARACTERS:,} are read", where, "compute fewer steps")
    inner = _unfenced(text)
    try:
        # JSON escapes mean more in JSON than in YAML.
        return json.loads(inner, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        pass
    try:
        return read_source(inner, "computed steps").data
    except FlowInvalid as error:
        raise StepsInvalid(
            [
                replace(problem, message=f"line {problem.line} of the computed steps: {problem.message}", **_at(where))
                for problem in error.problems
            ]
        ) from error


def _no_constant(word: str) -> Json:
    raise ValueError(f"{word} is no JSON")


def _unfenced(text: str) -> str:
    """The content of the only code fence in a text, else the text."""
    fences = list(_FENCE.finditer(text))
    if len(fences) == 2:
        return text[fences[0].end() : fences[1].start()]
    return text


def _bounded(value: Json, where: str) -> None:
    """Refuse data too deep or too large to be worth a look; without recursion."""
    seen = 0
    level = [value]
    for _ in range(MAX_DEPTH):
        seen += len(level)
        if seen > MAX_VALUES:
            raise _refused(f"the computed steps hold more than {MAX_VALUES:,} values", where, "compute fewer steps")
        following: list[Json] = []
        for one in level:
            if isinstance(one, dict):
                following.extend(one.values())
            elif isinstance(one, list):
                following.extend(one)
            elif isinstance(one, float) and not math.isfinite(one):
                raise _refused(
                    "the computed steps hold a number that is not finite", where, "quote it, or leave it out"
                )
        if not following:
            return
        level = following
    raise _refused(f"the computed steps are nested more than {MAX_DEPTH} levels deep", where, "compute flatter steps")


def _refused(message: str, where: str, hint: str) -> StepsInvalid:
    return StepsInvalid([Problem(message, hint=hint, **_at(where))])


def _at(where: str) -> dict[str, Any]:
    file, line, column = where.rsplit(":", 2)
    return {"file": file, "line": int(line), "column": int(column)}


def _source(data: Json, where: str) -> Source:
    """A source in which everything stands where the ``run-steps`` step does."""
    at = _at(where)
    return Source(at["file"], "", data, Mark(at["line"], at["column"]))


def _limits(steps: list[Placed], allow: Sequence[str], max_steps: int, findings: Findings) -> None:
    if len(steps) > max_steps:
        findings.error(("steps",), f"{len(steps)} steps were computed, at most {max_steps} are allowed (`max_steps`)")
    for placed in steps:
        if placed.type == "run-steps":
            findings.error((*placed.path, "type"), "computed steps cannot compute further steps")
        elif placed.type not in allow and placed.type != "unknown":
            allowed = ", ".join(f"`{name}`" for name in allow)
            findings.error((*placed.path, "type"), f"`{placed.type}` is not allowed here", f"allowed: {allowed}")
        if placed.type == "agent":
            _agent_tools(placed, allow, findings)
        if "compensate" in placed.lists:
            # What is owed is found again in the flow's own definition, where computed steps are not.
            findings.error(
                (*placed.path, "compensate"),
                "computed steps cannot carry compensations",
                "put `compensate` on the run-steps step: it undoes them as one",
            )


def _agent_tools(placed: Placed, allow: Sequence[str], findings: Findings) -> None:
    """What an agent calls is a step as well: computed steps must not get at the others through one."""
    for kind in tool_kinds(placed.config.get("tools")):
        if kind not in allow:
            findings.error(
                placed.config_paths.get("tools", placed.path),
                f"a tool of an agent that is a `{kind}` is not allowed here",
                f"add `{kind}` to `allow`, or let computed agents use declared ones (`agent: name`)",
            )


def _names(
    steps: list[Placed],
    ids: dict[str, Placed],
    definition: Definition,
    visible: frozenset[str],
    place: Place | None,
    findings: Findings,
) -> None:
    """Check every expression: computed steps see each other as steps of a file do, and of the flow what is visible."""
    outer = {node.id: _stand_in(node) for node in definition.walk() if node.named}
    flow = Flow.model_construct(
        id=definition.flow,
        steps=[],
        inputs=dict(definition.inputs.get("properties", {})),
        vars=dict.fromkeys(definition.vars),
        env=definition.env,
    )
    visibility = Visibility(flow, findings, {**outer, **ids}, {})
    explain = visibility.checker.explain

    def why_hidden(step: Placed, sight: Sight) -> tuple[str, str | None]:
        if step.list_name == _OUTER:
            return f"step `{step.id}` of the flow is not over when the computed steps run", None
        return explain(step, sight)

    visibility.checker.explain = why_hidden
    visibility.checker.late_refused = "whoever computes steps could send it anywhere; the flow's own steps may use it"
    over = visible.intersection(outer)
    visibility.check_inner(steps, over, tuple(_roots(place)) if place else ())


def _stand_in(node: Node) -> Placed:
    step = Step.model_construct(id=node.id, type=node.type)
    return Placed(step, node.type, (), {}, {}, ControlConfig, list_name=_OUTER, id=node.id)


def _roots(place: Place) -> list[str]:
    """What the steps around a ``run-steps`` step add to the names."""
    roots: list[str] = ["error"] if place.root in ("fallback", "finally") else []
    for around in place.parents:
        if around.node.type in LOOPS and around.label == "steps":
            roots.append("loop")
            if around.node.type == "for-each":
                roots.append(str(around.node.config.get("as", "item")))
        if around.label in _ERROR_LISTS or around.label.startswith("catch["):
            roots.append("error")
    return list(dict.fromkeys(roots))


def _catalogue(definition: Definition) -> Flow:
    """A flow with those entries of the flow's own catalogue that its steps name: the definition pins no others."""
    found: dict[str, dict[str, Json]] = {"services": {}, "mcp": {}, "agents": {}}
    for node in definition.walk():
        for kind, entries in node.bindings.items():
            found[kind].update(entries)
    return Flow.model_construct(
        id=definition.flow, steps=[], services=found["services"], mcp=found["mcp"], agents=found["agents"]
    )
