"""What users and we test with: a stand-in for the Claude API that speaks HTTP."""

from orchestrator.testing.claude_persona import MODERATION, Persona, Words
from orchestrator.testing.claude_replies import Reply, Turns, When
from orchestrator.testing.claude_request import Request
from orchestrator.testing.claude_server import ClaudeStandIn

__all__ = ["MODERATION", "ClaudeStandIn", "Persona", "Reply", "Request", "Turns", "When", "Words"]
