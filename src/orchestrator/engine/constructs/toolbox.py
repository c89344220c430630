"""An agent's tools, as they were settled when it began: what the model may call, and which step does it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from fnmatch import fnmatchcase

from orchestrator.engine.constructs.made import run_made
from orchestrator.engine.frame import Frame
from orchestrator.engine.journal import Record
from orchestrator.engine.run import Walk
from orchestrator.spec.definition import Json, Node


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool, by the name the model sees."""

    name: str
    target: dict[str, Json]
    """``{"type": "mcp", "server", "tool"}``, ``{"type": "function", "handler", "style", "order"}``,
    ``{"type": "flow", "flow"}`` or ``{"type": "agent", "agent"}``."""
    people: dict[str, Json]
    """Whom to ask: for approvals, and what an MCP server wants to know."""

    @property
    def kind(self) -> str:
        """The step type that carries it out."""
        return str(self.target["type"])

    def misfit(self, arguments: dict[str, Json]) -> str | None:
        """Why a function cannot be called with these arguments, in words for the model; None where it can, and for
        other tools, which look at theirs themselves. A function's parameters are given by position."""
        if self.target.get("style") != "args":
            return None
        order: list[str] = self.target["order"]
        unknown = [name for name in arguments if name not in order]
        if unknown:
            return f"{self.name} has no parameter '{unknown[0]}'; there: {', '.join(order) or 'none'}"
        missing = next((name for name in order if name not in arguments), None)
        behind = [] if missing is None else [name for name in order[order.index(missing) :] if name in arguments]
        return f"{self.name} needs '{missing}' where '{behind[0]}' is given" if behind else None

    async def call(self, walk: Walk, like: Node, step: str, arguments: dict[str, Json], frame: Frame) -> Record:
        """Carry it out as a step under the id ``step``. Raises what ``run_step`` raises."""
        return await run_made(walk, like, self.kind, step, self._config(arguments), frame, title=self.name)

    def _config(self, arguments: dict[str, Json]) -> dict[str, Json]:
        target = self.target
        match self.kind:
            case "mcp":
                people = {key: value for key, value in self.people.items() if key != "on_deadline"}
                return {"server": target["server"], "tool": target["tool"], "arguments": arguments, "elicit": people}
            case "flow":
                return {"flow": target["flow"], "inputs": arguments}
            case "agent":
                return {"agent": target["agent"], "goal": arguments.get("goal")}
            case _:
                return {"handler": target["handler"]} | _as_called(target, arguments)


def _as_called(target: dict[str, Json], arguments: dict[str, Json]) -> dict[str, Json]:
    """A function takes one object, or its parameters in their order as far as the last one that is given."""
    if target["style"] == "params":
        return {"params": arguments}
    order: list[str] = target["order"]
    last = max((index for index, name in enumerate(order) if name in arguments), default=-1)
    return {"args": [arguments.get(name) for name in order[: last + 1]]}


class Toolbox:
    """All tools of one agent, and which of them need approval."""

    def __init__(self, opened: dict[str, Json]) -> None:
        self._targets: dict[str, dict[str, Json]] = opened["tools"]
        self._patterns: list[str] = opened["approve"]
        self._people: dict[str, Json] = opened["approval"]

    def find(self, name: str) -> Tool | str:
        """The tool, or for the model why there is none."""
        if name in self._targets:
            return Tool(name, self._targets[name], self._people)
        near = difflib.get_close_matches(name, self._targets, 3) or sorted(self._targets)[:20]
        return f"there is no tool '{name}'; there: {', '.join(near) or 'none'}"

    def needs_approval(self, name: str) -> bool:
        """Whether a person has to agree first."""
        return any(fnmatchcase(name, pattern) for pattern in self._patterns)
