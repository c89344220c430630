"""What an MCP server asks the user in the middle of a call, between the protocol and the engine.

A server of 2026 ends the call with its questions and a state, and is called again with both; where it does not know
that state any more, which for a command is whenever it was started anew, the call begins again without it. An older one
asks while the call is running and waits: nobody can hold that call for weeks, so it is dropped, and made again from its
beginning when the answers are known. Whoever asks the same again is answered at once.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from mcp_types import (
    ElicitRequest,
    ElicitRequestParams,
    ElicitRequestURLParams,
    ElicitResult,
    InputRequiredResult,
    InputResponses,
)
from pydantic import ValidationError

from orchestrator.errors import TerminalError
from orchestrator.spec.acts.mcp import McpConfig
from orchestrator.steps.mcp.call import Asked, Question

Json = Any

_ROUNDS = 10
"""Times one call may ask."""
_LONGEST_STATE = 100_000
"""Characters: it is kept in the run's history."""


@dataclass(slots=True)
class Answers:
    """What is known when a call begins."""

    state: str | None = None
    """The server's own, of 2026."""
    responses: dict[str, dict[str, Json]] = field(default_factory=dict)
    """To the questions of the round before, by their id."""
    earlier: dict[str, dict[str, Json]] = field(default_factory=dict)
    """To all questions so far, by what they say."""
    rounds: int = 0

    def for_protocol(self) -> InputResponses | None:
        """As the protocol takes them."""
        return {name: ElicitResult.model_validate(given) for name, given in self.responses.items()} or None


def answers(answered: Json) -> Answers:
    """What the engine gives back: ``{"state", "responses": {id: {"action", "content"}}}``, or None at the first
    call. Raises TerminalError ``invalid_config`` for anything else."""
    if answered is None:
        return Answers()
    try:
        state = json.loads(answered["state"]) if answered["state"] is not None else {}
        responses = {name: _response(given) for name, given in answered["responses"].items()}
        said = state.get("asked", {})
        earlier = {**state.get("earlier", {}), **{said.get(name, name): given for name, given in responses.items()}}
        return Answers(state.get("state"), responses, earlier, state.get("rounds", 0))
    except (KeyError, TypeError, ValueError, AttributeError, ValidationError) as error:
        raise TerminalError("invalid_config", f"the answers to an MCP server are not usable: {error}") from error


def _response(given: dict[str, Json]) -> dict[str, Json]:
    kept = {name: given[name] for name in ("action", "content") if given.get(name) is not None}
    ElicitResult.model_validate(kept)
    return kept


def asked(questions: Asked, known: Answers, config: McpConfig) -> dict[str, Json]:
    """The engine's ``{"state", "requests"}``. Raises TerminalError ``elicitation_required`` where the step names
    nobody who could answer, or the server does not stop asking."""
    requests = [question.to_json() for question in questions.questions]
    what = f"'{config.tool or config.prompt or config.resource}' of mcp.{config.server}"
    said = "; ".join(request["message"][:500] for request in requests)
    if config.elicit is None:
        raise TerminalError(
            "elicitation_required",
            f"{what} asks: {said} (give the step `elicit: {{assignee: …}}` to have a person answer)",
            data={"requests": requests},
        )
    if known.rounds >= _ROUNDS or (questions.state and len(questions.state) > _LONGEST_STATE):
        raise TerminalError(
            "elicitation_required", f"{what} has asked {known.rounds} times and asks again: {said}", data=None
        )
    same = {question.id: question.same for question in questions.questions}
    state = {"state": questions.state, "asked": same, "earlier": known.earlier, "rounds": known.rounds + 1}
    return {"state": json.dumps(state, ensure_ascii=False), "requests": requests}


def question(params: ElicitRequestParams, name: str | None = None) -> Question:
    """What the server wants to know; ``name`` is the server's, else what is the same for the same question."""
    if isinstance(params, ElicitRequestURLParams):
        message, schema = f"{params.message}\n{params.url}", {"type": "object", "properties": {}}
    else:
        message, schema = params.message, dict(params.requested_schema)
    said = json.dumps([message, schema], sort_keys=True, ensure_ascii=False)
    same = hashlib.sha256(said.encode()).hexdigest()[:16]
    return Question(name or same, message, schema, same)


def again(asked: Asked, known: Answers) -> Answers | None:
    """The answers to questions that all were answered before; None where one is new."""
    if any(question.same not in known.earlier for question in asked.questions):
        return None
    return Answers(asked.state, {question.id: known.earlier[question.same] for question in asked.questions})


def required(result: InputRequiredResult, server: str) -> Asked | None:
    """The questions of a round; None where the server only wants to be called again with its state. Raises
    TerminalError where it asks for something else than an answer."""
    requests = result.input_requests or {}
    questions = []
    for name, request in requests.items():
        if not isinstance(request, ElicitRequest):
            message = f"mcp.{server} asks for {request.method}, which was not offered to it"
            raise TerminalError("mcp_protocol_error", message)
        questions.append(question(request.params, name))
    return Asked(questions, result.request_state or "") if questions else None
