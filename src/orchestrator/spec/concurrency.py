"""How many runs of a flow go on at once: whom a run asks, and what it hands over where it joins another. Pure."""

from __future__ import annotations

import hashlib
import json

from orchestrator.spec.call import PERMITS
from orchestrator.spec.definition import Json


def desk_id(queue: str, flow: str, key: Json) -> str:
    """The workflow id of the desk for the value of a flow's key, among the workers of a task queue."""
    text = json.dumps(key, sort_keys=True, ensure_ascii=False)
    return f"{PERMITS}:{queue}:{flow}:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


def trigger_event(trigger: dict[str, Json]) -> dict[str, Json]:
    """What started a run, as the event that another run sees."""
    told = trigger.get("event") if isinstance(trigger.get("event"), dict) else {}
    return {
        "id": trigger.get("id"),
        "type": trigger.get("type"),
        "time": trigger.get("time"),
        "data": trigger.get("body"),
    } | (told or {})
