"""The ``agent`` step: a model calls tools until it reaches its goal.

The loop is the workflow's; each call of the model and each call of a tool is one activity. The conversation is kept
outside history, in a transcript that those activities share; what stands here is how far it got.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from orchestrator.engine import usage
from orchestrator.engine.activities import Call, Outcome
from orchestrator.engine.clock import now_text
from orchestrator.engine.constructs.approval import approve
from orchestrator.engine.constructs.toolbox import Tool, Toolbox
from orchestrator.engine.failures import StepFailed, error_record
from orchestrator.engine.frame import Frame
from orchestrator.engine.run import Walk
from orchestrator.engine.together import CLEANED_UP_AFTER, raise_if_cancelled, run_all
from orchestrator.spec.call import AGENT_OPEN, AGENT_TURN
from orchestrator.spec.definition import Json, Node

_NOTED = 1_000
"""Characters of changed arguments that the model is told."""
_REST_OF_TURN = 100_000
"""Bytes of a turn's arguments that are not results."""

Answer = dict[str, Any]
"""What a turn gave: ``{"stop", "calls", "text", "value", "problem"}``."""


async def agent(walk: Walk, node: Node, frame: Frame, path: str) -> Outcome:
    """Converse until the model ends its turn. Raises StepFailed: what its model calls raise, ``loop_limit`` (turns),
    ``budget_exceeded`` (tokens, cost), ``step_timeout`` (time), ``invalid_output``."""
    state = walk.run.journal.state(path)
    if "opened" not in state:
        state["opened"] = await _open(walk, node, frame, path)
        state.update(turn=0, usage={})
        raise_if_cancelled()
    limit = state["opened"]["limits"].get("time")
    if limit is not None and "until" not in state:
        state["until"] = walk.run.clock.after(limit)

    def expired() -> StepFailed:
        message = f"agent '{node.id}' took longer than its limits.time of {limit:g}s"
        return StepFailed(error_record(node, path, "step_timeout", message, usage=state["usage"]))

    work = _Conversation(walk, node, frame, path).hold()
    return await walk.run.clock.within(state.get("until"), work, expired, f"time limit of {node.id}")


async def _open(walk: Walk, node: Node, frame: Frame, path: str) -> dict[str, Json]:
    """Who the agent is and which tools it has: settled once, whatever is edited later."""
    rendered = walk.render(walk.program.code(node).config, node, frame)
    around = _around(frame)
    told = {
        "transcript": _transcript(walk, path),
        "schema": node.output_schema,
        "depth": around.get("depth", -1) + 1,
    }
    call = Call(
        replace(node, output_schema=None),
        f"{path}/open",
        AGENT_OPEN,
        [rendered.value, told],
        [place | {"path": [0, *place["path"]]} for place in rendered.late],
        retry=node.retry,
        generation=walk.run.journal.generation(path),
        plans=walk.program.plans,
    )
    opened: dict[str, Json] = (await walk.run.activities.run(call)).output
    left = around.get("left", {})
    limits = {
        name: _smaller(opened["limits"].get(name), left.get(name)) for name in ("turns", "tokens", "cost", "time")
    }
    return opened | {"limits": limits}


def _around(frame: Frame) -> dict[str, Any]:
    """What the agent that called this one as a tool told it; empty where none did."""
    given: dict[str, Any] = frame.scope.get("agent", {})
    return given


def _smaller(own: float | None, left: float | None) -> float | None:
    given = [limit for limit in (own, left) if limit is not None]
    return min(given) if given else None


def _transcript(walk: Walk, path: str) -> str:
    return f"{walk.run.root}/{path}#{walk.run.journal.generation(path)}"


class _Conversation:
    """One agent at work. Everything it needs to go on stands in its state and its calls' records."""

    def __init__(self, walk: Walk, node: Node, frame: Frame, path: str) -> None:
        self._walk = walk
        self._run = walk.run
        self._node = node
        self._frame = frame
        self._path = path
        self._state = walk.run.journal.state(path)
        self._tools = Toolbox(self._state["opened"])

    async def hold(self) -> Outcome:
        """Ask, carry out what the answer wants, ask again, until it wants nothing more."""
        answer: Answer = self._state.get("answer") or await self._ask({})
        while answer["stop"] != "end":
            answer = await self._ask(await self._reply(answer))
        self._fold(self._state["turn"] - 1)
        output = answer["value"] if self._node.output_schema is not None else {"text": answer["text"] or ""}
        return Outcome(output, {"usage": self._state["usage"], "turns": self._state["turn"]})

    async def _reply(self, answer: Answer) -> dict[str, Json]:
        """What the next turn begins with."""
        if answer["stop"] == "invalid":
            turn = self._state["turn"]
            if self._state.get("corrected", turn) != turn:
                # A retry of the run may try a correction again.
                del self._state["corrected"]
                message = (
                    f"the agent's answer does not match output_schema, also after a correction: {answer['problem']}"
                )
                raise self._failure("invalid_output", message, data={"text": (answer["text"] or "")[:2000]})
            self._state["corrected"] = turn
            return {"correction": answer["problem"]}
        if answer["stop"] == "paused":
            return {}
        return {"results": await self._call_tools(answer["calls"])}

    # -- the model --------------------------------------------------------------------------------------------

    async def _ask(self, begin: dict[str, Json]) -> Answer:
        """One turn of the model. What the turn before it left in the journal is in the transcript then."""
        turn: int = self._state["turn"]
        most = self._state["opened"]["limits"]["turns"]
        if most is not None and turn >= most:
            raise self._failure("loop_limit", f"the agent needs more than its limits.turns of {most:g}")
        told = {"transcript": _transcript(self._walk, self._path), "turn": turn, "results": None, "correction": None}
        outcome = await self._model_call(turn, told | begin | {"left": self._left()})
        answer: Answer = outcome.output
        # A correction is needed anew where tools were called since.
        if answer["stop"] == "calls":
            self._state.pop("corrected", None)
        self._state.update(turn=turn + 1, answer=answer)
        self._spend(outcome.extra.get("usage"))
        self._fold(turn - 1)
        raise_if_cancelled()
        return answer

    async def _model_call(self, turn: int, told: dict[str, Json]) -> Outcome:
        """The activity, with a record of its own beside those of the tools."""
        node, inner = replace(self._node, type=AGENT_TURN, name=None, output_schema=None), self._inside(turn)
        path, journal = f"{inner.prefix}model", self._run.journal
        record = journal.get(path)
        if record is None:
            await self._run.gate.enter()
            record = journal.start(node, path, now_text(), inner.inside)
        generation = journal.generation(path)
        call = Call(
            node, path, AGENT_TURN, [told], retry=node.retry, generation=generation, plans=self._walk.program.plans
        )
        self._run.progressed()
        try:
            outcome = await self._run.activities.run(call)
        except StepFailed as failure:
            self._spend(failure.error.get("usage"))
            failure.error["usage"] = self._state["usage"]
            journal.fail(path, record, now_text(), failure.error)
            raise
        except CLEANED_UP_AFTER:
            journal.cancel(path, record, now_text())
            raise
        journal.complete(path, record, now_text(), None, outcome.extra)
        return outcome

    def _spend(self, more: Json) -> None:
        usage.add(self._state["usage"], more)
        record = self._run.journal.get(self._path)
        if record is not None:
            record.update(usage=dict(self._state["usage"]), turns=self._state["turn"])

    def _left(self) -> dict[str, Json]:
        """What tokens and money the limits leave."""
        limits, spent = self._state["opened"]["limits"], self._state["usage"]
        tokens, cost = limits["tokens"], limits["cost"]
        left = {
            "tokens": None if tokens is None else tokens - usage.tokens(spent),
            "cost": None if cost is None else cost - usage.cost(spent),
        }
        for name, value in left.items():
            if value is not None and value <= 0:
                message = f"the agent has used up its limits.{name} of {limits[name]:g}"
                raise self._failure("budget_exceeded", message, data={"limit": name})
        return left

    # -- tools ------------------------------------------------------------------------------------------------

    async def _call_tools(self, calls: list[dict[str, Json]]) -> list[Json]:
        """All calls of an answer side by side; their results in the answer's order."""
        inner = self._inside(self._state["turn"] - 1)
        works = [self._call_tool(index, call, inner) for index, call in enumerate(calls)]
        ended = await run_all(works, stops=lambda error: True)
        # Together they are the argument of one activity.
        share = (self._run.envelope.largest_payload - _REST_OF_TURN) // max(1, len(calls))
        return [_fitting(result, share) for result in ended.results if isinstance(result, dict)]

    async def _call_tool(self, index: int, call: dict[str, Json], inner: Frame) -> dict[str, Json]:
        """One call, asked for approval first where the author wants that. Whatever fails is told to the model."""
        name, arguments = call["name"], call["arguments"]
        tool = self._tools.find(name)
        if isinstance(tool, str):
            return _failed(call, "unknown_tool", tool)
        if not isinstance(arguments, dict):
            return _failed(call, "invalid_arguments", "the arguments of a tool are an object")
        if self._tools.needs_approval(name):
            verdict = await approve(self._walk, self._node, index, tool, arguments, inner)
            if isinstance(verdict, str):
                return _failed(call, "refused", verdict)
            if verdict != arguments:
                result = await self._carry_out(index, call, tool, verdict, inner)
                return result | {"note": _changed(verdict)}
        return await self._carry_out(index, call, tool, arguments, inner)

    async def _carry_out(
        self, index: int, call: dict[str, Json], tool: Tool, arguments: dict[str, Json], inner: Frame
    ) -> dict[str, Json]:
        misfit = tool.misfit(arguments)
        if misfit is not None:
            return _failed(call, "invalid_arguments", misfit)
        told = {"left": self._shares(), "depth": _around(self._frame).get("depth", -1) + 1}
        frame = inner.with_names(inner.prefix, {"agent": told})
        known = self._run.journal.get(f"{frame.prefix}call-{index}")
        over = known is not None and known["status"] in ("completed", "failed")
        try:
            record = await tool.call(self._walk, self._node, f"call-{index}", arguments, frame)
        except StepFailed as failure:
            error = failure.error
            if tool.kind == "agent" and not over:
                self._spend(error.get("usage"))
            return _failed(call, error["type"], error["message"])
        if tool.kind == "agent" and not over:
            self._spend(record.get("usage"))
        return {"id": call["id"], "error": False, "content": record.get("output")}

    def _shares(self) -> dict[str, Json]:
        """What an agent that is called may use at most: what is left here, shared with those called beside it."""
        limits, spent = self._state["opened"]["limits"], self._state["usage"]
        called = [self._tools.find(call["name"]) for call in self._state["answer"]["calls"]]
        beside = max(1, sum(isinstance(tool, Tool) and tool.kind == "agent" for tool in called))
        left: dict[str, Json] = {}
        if limits["tokens"] is not None:
            left["tokens"] = max(0, limits["tokens"] - usage.tokens(spent)) // beside
        if limits["cost"] is not None:
            left["cost"] = max(0.0, limits["cost"] - usage.cost(spent)) / beside
        return left

    # -- the journal ------------------------------------------------------------------------------------------

    def _inside(self, turn: int) -> Frame:
        return self._frame.in_pass(f"{self._path}/turn[{turn}]/", {})

    def _fold(self, turn: int) -> None:
        """Drop the records of a turn whose results are in the transcript."""
        if turn >= 0:
            self._run.journal.fold(f"{self._path}/turn", f"{self._path}/turn[{turn}]/")

    def _failure(self, kind: str, message: str, **more: Json) -> StepFailed:
        return StepFailed(error_record(self._node, self._path, kind, message, usage=self._state["usage"], **more))


def _fitting(result: dict[str, Json], most: int) -> dict[str, Json]:
    """A result that can travel beside the others of its turn: one larger than ``most`` bytes is its beginning, as text.
    Of any result the model is shown much less."""
    written = json.dumps(result["content"])
    if len(written) <= most:
        return result
    text = result["content"] if isinstance(result["content"], str) else written
    # What is written may be several times as long as the text itself.
    kept = text[: most * len(text) // (2 * len(written))]
    return result | {"content": f"{kept}\n[cut: these are the first {len(kept):,} of {len(text):,} characters]"}


def _changed(arguments: dict[str, Json]) -> str:
    """What the model has to know, or it takes the result for that of the call it asked for."""
    told = json.dumps(arguments, ensure_ascii=False)
    return f"[A person changed this call; it was made with: {told[:_NOTED]}{'…' if len(told) > _NOTED else ''}]"


def _failed(call: dict[str, Json], kind: str, message: str) -> dict[str, Json]:
    return {"id": call["id"], "error": True, "content": f"{kind}: {message}"}
