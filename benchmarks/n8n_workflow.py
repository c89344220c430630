"""W5 as somebody who knows n8n would draw it: webhook, five HTTP Request nodes, If, Edit Fields on either side; the
answer is what the last node gave. Edit Fields and no Code node, for code leaves n8n's process and comes back."""

from __future__ import annotations

from typing import Any

from benchmarks.flows import STEPS

ID = "webhookFive00001"
PATH = "webhook-five"
Json = dict[str, Any]


def workflow(echo_port: int) -> Json:
    """The workflow as ``n8n import:workflow`` reads it."""
    webhook = {"httpMethod": "POST", "path": PATH, "responseMode": "lastNode", "options": {}}
    nodes = [_node("webhook", "n8n-nodes-base.webhook", 2, webhook) | {"webhookId": PATH}]
    count = "$json.body.start"
    for step in STEPS:
        nodes.append(_node(step, "n8n-nodes-base.httpRequest", 4.2, _post(echo_port, step, count)))
        count = "$json.count"
    links = {name: _links(after) for name, after in zip(["webhook", *STEPS], [*STEPS, "if"], strict=True)}
    nodes.append(_node("if", "n8n-nodes-base.if", 2.2, {"conditions": _more_than(count, 3), "options": {}}))
    nodes += [_node(size, "n8n-nodes-base.set", 3.4, _fields(count, size)) for size in ("big", "small")]
    return {
        "id": ID,
        "name": "W5",
        "active": False,
        "nodes": nodes,
        "connections": {**links, "if": _links("big", "small")},
        "settings": {"executionOrder": "v1"},
    }


def _node(name: str, kind: str, version: float, parameters: Json) -> Json:
    return {
        "id": name,
        "name": name,
        "type": kind,
        "typeVersion": version,
        "position": [0, 0],
        "parameters": parameters,
    }


def _links(*after: str) -> Json:
    """One output for each node that comes after."""
    return {"main": [[{"node": name, "type": "main", "index": 0}] for name in after]}


def _post(echo_port: int, step: str, count: str) -> Json:
    return {
        "method": "POST",
        "url": f"http://127.0.0.1:{echo_port}/{step}",
        "sendBody": True,
        "specifyBody": "json",
        "jsonBody": f"={{{{ {{ count: {count} + 1, name: 'step {step}' }} }}}}",
        "options": {},
    }


def _more_than(count: str, limit: int) -> Json:
    return {
        "combinator": "and",
        "options": {"version": 2, "caseSensitive": True, "typeValidation": "strict"},
        "conditions": [
            {
                "id": "more",
                "leftValue": f"={{{{ {count} }}}}",
                "rightValue": limit,
                "operator": {"type": "number", "operation": "gt"},
            }
        ],
    }


def _fields(count: str, size: str) -> Json:
    fields = [
        {"id": "total", "name": "total", "type": "number", "value": f"={{{{ {count} }}}}"},
        {"id": "size", "name": "size", "type": "string", "value": size},
    ]
    return {"assignments": {"assignments": fields}, "options": {}}
