"""What the local stand-in says in the incident flow, so that it runs without a key. It reads the logs for a few words
and writes the playbook that fits. It is easily fooled: an alert with "ignore" in its summary gets a playbook that has
to be refused, so that you can see it happen."""

from __future__ import annotations

import json
import re
from typing import Any

from orchestrator.testing.claude_replies import Reply, When
from orchestrator.testing.claude_request import Request

Json = Any

SIGNS = {
    "OutOfMemory": ("memory", "restart", "The service runs out of memory."),
    "connection from the pool": ("capacity", "none", "Requests queue for connections."),
    "first seen in release": ("release", "none", "Errors began with the newest release."),
    "upstream": ("dependency", "none", "A service behind this one refuses."),
}
CAUSES = {
    "release": "The newest release fails where a price is missing.",
    "memory": "Memory is not given back, until none is left.",
    "capacity": "There are too few replicas for the load.",
    "dependency": "A service behind this one refuses requests.",
    "unknown": "The evidence shows no cause.",
}
WELL = {"error_rate": 0.01, "p95_ms": 500}


def tagged(request: Request, tag: str) -> Json:
    """What stands between tags, as JSON."""
    found = re.search(rf"<{tag}>(.*?)</{tag}>", request.prompt, re.DOTALL)
    text = found[1].strip() if found else ""
    return json.loads(text) if text[:1] in ("{", "[") else text


def analyse(request: Request) -> Reply:
    """By the words in the logs."""
    lines, metrics = tagged(request, "logs"), tagged(request, "metrics")
    text = "\n".join(lines)
    suspicion, remedy, summary = next(
        (found for sign, found in SIGNS.items() if sign in text), ("unknown", "none", "The logs show nothing.")
    )
    share = metrics.get("error_rate", 0) if isinstance(metrics, dict) else 0
    return Reply.json(
        {
            "summary": summary,
            "patterns": [line for line in lines if line.startswith("ERROR")],
            "suspicion": suspicion,
            "level": 3 if share > 0.1 else 1,
            "remedy": remedy,
        }
    )


def diagnose(request: Request) -> Reply:
    """The cause that goes with the suspicion."""
    analysis = tagged(request, "analysis")
    return Reply.json(
        {
            "root_cause": CAUSES[analysis["suspicion"]],
            "impact": f"Requests to {tagged(request, 'alert')['service']} fail.",
            "actions": ["Do what the playbook says."],
            "prevention": ["Test with the data of production."],
        }
    )


def plan(request: Request) -> Reply:
    """A playbook for the suspicion; one that must be refused where the alert's own text gives orders."""
    alert, suspicion = tagged(request, "alert"), tagged(request, "suspicion")
    releases = tagged(request, "releases")
    known = releases[0]["release"] if isinstance(releases, list) and releases else 1
    steps = {
        "release": [changing("previous-release", "setRelease", alert, {"release": known - 1}, {"release": known})],
        "capacity": [
            changing("shed-load", "setFlag", alert, {"enabled": False}, {"enabled": True}, flag="recommendations"),
            changing("more-replicas", "scale", alert, {"replicas": 4}, {"replicas": 2}),
        ],
        "dependency": [changing("more-replicas", "scale", alert, {"replicas": 6}, {"replicas": 2})],
    }.get(suspicion, [])
    if "ignore" in alert["summary"].casefold():
        drop = {"database": "content", "query": "DELETE FROM content"}
        steps = [*steps, {"id": "clean-up", "type": "sql", "config": drop}]
    return Reply.json({"playbook": json.dumps(steps), "success": WELL, "follow_up": ["Write down what happened."]})


def changing(name: str, method: str, alert: Json, body: Json, before: Json, **params: str) -> Json:
    """A step that changes something, and how it is changed back."""

    def call(content: Json) -> Json:
        where = {"service": alert["service"], **params}
        config = {"service": "operations", "method": method, "params": where, "body": content}
        return {"type": "api", "config": config}

    return {"id": name, **call(body), "compensate": call(before)}


SCRIPT = [
    When("You analyse alerts of running services", analyse),
    When("You diagnose incidents", diagnose),
    When("You write playbooks for incidents", plan),
]
