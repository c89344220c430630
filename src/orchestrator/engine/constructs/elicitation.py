"""Questions that an MCP server asks in the middle of a call: people answer them as tasks, then the call goes on."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.engine.activities import Call, Outcome
from orchestrator.engine.constructs.made import run_made
from orchestrator.engine.failures import StepFailed, error_record
from orchestrator.engine.frame import Frame
from orchestrator.engine.run import Walk
from orchestrator.engine.together import raise_if_cancelled
from orchestrator.spec.acts.human_task import REJECT
from orchestrator.spec.definition import Json, Node

MOST_ROUNDS = 10
"""How often one call may come back with questions."""


async def call_answering(walk: Walk, node: Node, frame: Frame, call: Call) -> Outcome:
    """The call's outcome, once everything it asked is answered. What was asked and answered stands in the step's
    state. Raises what the call raises, and StepFailed ``elicitation_limit``."""
    state = walk.run.journal.known_state(call.path) or {}
    while True:
        if "asked" not in state:
            told = [state["answered"]] if "answered" in state else []
            outcome = await walk.run.activities.run(replace(call, args=[call.args[0], *told]))
            asked = outcome.extra.pop("asked", None)
            if asked is None:
                return outcome
            state = walk.run.journal.state(call.path)
            state.update(asked=asked, round=state.get("round", 0) + 1)
            if state["round"] > MOST_ROUNDS:
                message = f"the server asked something {state['round']} times during one call"
                raise StepFailed(error_record(node, call.path, "elicitation_limit", message))
        raise_if_cancelled()
        state["answered"] = await _answer(walk, node, frame, call, state["asked"], state["round"])
        del state["asked"]


async def _answer(
    walk: Walk, node: Node, frame: Frame, call: Call, asked: dict[str, Json], number: int
) -> dict[str, Json]:
    """Ask people one question after the other."""
    people = {name: value for name, value in call.args[0]["elicit"].items() if value is not None}
    inner = frame.with_names(f"{call.path}/", {})
    responses: dict[str, Json] = {}
    for index, request in enumerate(asked["requests"]):
        task: dict[str, Json] = {
            **people,
            "title": f"{call.args[0].get('server')} asks: {request['message']}"[:200],
            "instructions": request["message"],
            "decisions": ["answer", {"name": REJECT, "label": "decline"}],
            "on_reject": "continue",
        }
        if request.get("schema"):
            task["form"] = request["schema"]
        if people.get("deadline") is not None:
            task["on_deadline"] = "continue"
        record = await run_made(walk, node, "human-task", f"answer-{number}-{index}", task, inner)
        responses[request["id"]] = _response(record["output"])
    return {"state": asked.get("state"), "responses": responses}


def _response(decision: dict[str, Json]) -> dict[str, Json]:
    if decision["automatic"]:
        return {"action": "cancel"}
    if decision["decision"] == REJECT:
        return {"action": "decline"}
    return {"action": "accept", "content": decision["data"] or {}}
