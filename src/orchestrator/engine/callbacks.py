"""Callbacks: addresses that a step hands out, and that let a ``wait-for-event`` of the run go on (FLOW_FORMAT §5).

What stands here is which wait an address belongs to: its path, inside a loop that of the same pass.
"""

from __future__ import annotations

from temporalio import workflow

from orchestrator.engine.failures import StepFailed, error_record
from orchestrator.engine.inbox import Inbox
from orchestrator.engine.journal import Journal
from orchestrator.spec.definition import Definition, Json, Node
from orchestrator.spec.places import Place, places

_ROOT = "callback."


def name_of(path: str) -> str:
    """The name under which the run's inbox keeps what came for the wait at ``path``: no signal is called so."""
    return f"callback {path}"


def refusal(inbox: Inbox, journal: Journal, message: Json) -> str | None:
    """Why a callback cannot be taken, in words for its sender; None when it can. The first one counts."""
    path = message.get("path") if isinstance(message, dict) else None
    if not isinstance(path, str):
        return 'send {"path": "<the wait\'s>", "data": {…}}'
    record, state = journal.get(path), journal.known_state(path) or {}
    answered = inbox.holds(name_of(path)) or state.get("taken") or state.get("failure")
    if answered or (record is not None and record["status"] != "running"):
        return f"'{path}' has its answer already, or waits no more"
    return None


def deliver(inbox: Inbox, journal: Journal, message: Json) -> str | None:
    """Keep a callback for its wait, which may not be open yet; why not, or None."""
    refused = refusal(inbox, journal, message)
    if refused is None:
        size = workflow.payload_converter().to_payload(message).ByteSize()
        # Its id was remembered when it arrived: here it is data.
        kept = {"callback" if key == "signal_id" else key: value for key, value in message.items()}
        inbox.deliver(name_of(message["path"]), kept, size)
    return refused


def addressed(late: list[dict[str, Json]], definition: Definition, node: Node, path: str) -> list[dict[str, Json]]:
    """Late names with callbacks told by the path of their wait (``callback.each[3]/paid``) instead of its id.
    Raises StepFailed ``invalid_config`` where the step at ``path`` is in no pass of the wait's loop."""
    if not any(_is_callback(part) for place in late for part in place["parts"]):
        return late
    waits = {place.node.id: place for place in places(definition)}

    def told(part: Json) -> Json:
        if not _is_callback(part):
            return part
        step = part["name"].removeprefix(_ROOT).removesuffix(".url")
        return {"name": _ROOT + _path(waits[step], node, path)}

    return [place | {"parts": [told(part) for part in place["parts"]]} for place in late]


def _is_callback(part: Json) -> bool:
    return isinstance(part, dict) and str(part["name"]).startswith(_ROOT)


def _path(wait: Place, node: Node, path: str) -> str:
    """The wait's path in the passes that ``path`` lies in."""
    found, known = "", ""
    for around in wait.parents:
        rest = around.inner[len(known) :]
        known = around.inner
        if around.index is None:
            found += rest
            continue
        loop = f"{found}{rest.removesuffix('[0]/')}["
        if not path.startswith(loop):
            message = f"`callback.{wait.node.id}.url` is known only inside a pass of '{around.node.id}'"
            raise StepFailed(error_record(node, path, "invalid_config", message))
        found = f"{loop}{path[len(loop) : path.index(']', len(loop))]}]/"
    return found + wait.node.id
