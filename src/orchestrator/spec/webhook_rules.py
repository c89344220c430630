"""Answers to webhooks that nobody would wait for (FLOW_FORMAT §8)."""

from __future__ import annotations

from orchestrator.spec.findings import Findings
from orchestrator.spec.flow import Flow
from orchestrator.spec.reading import Placed
from orchestrator.spec.triggers import WebhookTrigger


def check_webhooks(flow: Flow, steps: list[Placed], findings: Findings) -> None:
    """Warn about ``respond`` steps that answer nobody. ``steps`` are all top-level lists together."""
    hooks = [trigger for trigger in flow.triggers if isinstance(trigger, WebhookTrigger)]
    if any(hook.respond == "result" for hook in hooks):
        return
    for placed in (inner for step in steps for inner in step.walk() if inner.type == "respond"):
        findings.warn(
            (*placed.path, "type"),
            "nobody waits for this answer: no webhook of the flow has `respond: result`",
            "write `respond: result` in the webhook that this step answers",
        )
