"""A person's word before an agent calls a dangerous tool."""

from __future__ import annotations

import json

from orchestrator.engine.constructs.made import run_made
from orchestrator.engine.constructs.toolbox import Tool
from orchestrator.engine.frame import Frame
from orchestrator.engine.run import Walk
from orchestrator.spec.acts.human_task import APPROVE, REJECT
from orchestrator.spec.definition import Json, Node

EDIT = "edit"
"""The decision that goes with other arguments in ``data.arguments``."""
SHOWN = 20_000
"""Characters of the arguments that the task shows."""
_FORM: dict[str, Json] = {
    "type": "object",
    "properties": {"arguments": {"type": "object"}},
    "additionalProperties": False,
}


async def approve(
    walk: Walk, node: Node, index: int, tool: Tool, arguments: dict[str, Json], frame: Frame
) -> dict[str, Json] | str:
    """The arguments to call the tool with, or for the model why it may not be called. Raises StepFailed
    ``deadline_exceeded`` where the author chose ``on_deadline: fail``."""
    people = {name: value for name, value in tool.people.items() if value is not None and name != "on_deadline"}
    task: dict[str, Json] = {
        **people,
        "title": f"{node.name or node.id} wants to call {tool.name}",
        "instructions": _shown(tool, arguments),
        "form": _FORM,
        "decisions": [APPROVE, EDIT, REJECT],
        "on_reject": "continue",
    }
    if people.get("deadline") is not None:
        task["on_deadline"] = "fail" if tool.people.get("on_deadline") == "fail" else "continue"
    record = await run_made(walk, node, "human-task", f"approve-{index}", task, frame, title=task["title"])
    decision: dict[str, Json] = record["output"]
    if decision["automatic"]:
        return f"nobody approved the call of {tool.name} in time"
    if decision["decision"] == REJECT:
        reason = f": {decision['comment']}" if decision.get("comment") else ", without a reason"
        return f"{decision.get('by') or 'a person'} refused the call of {tool.name}{reason}"
    edited = (decision.get("data") or {}).get("arguments")
    if edited is not None:
        # Whatever was decided beside them: what a person wrote is what is called.
        return dict(edited)
    if decision["decision"] == EDIT:
        return f"{decision.get('by') or 'a person'} wanted to change the call of {tool.name} and did not say how"
    return arguments


def _shown(tool: Tool, arguments: dict[str, Json]) -> str:
    told = json.dumps(arguments, ensure_ascii=False, indent=2)
    if len(told) > SHOWN:
        told = f"{told[:SHOWN]}… ({len(told)} characters; the whole call is in the transcript)"
    return f"Call of {tool.name} with:\n\n{told}\n\nTo change the arguments, choose `{EDIT}` and give `arguments`."
