"""``/v1/callbacks/{token}``: the outside world answers a run at an address that the run has handed out."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel

from orchestrator.client import Client
from orchestrator.client.callbacks import answer_callback
from orchestrator.errors import FieldProblem, InputsInvalid
from orchestrator.gateway.bodies import read_body
from orchestrator.settings import Settings
from orchestrator.spec.call import CALLBACKS

Json = Any


class CallbackTaken(BaseModel):
    """A callback that was taken. What it tells of the run is what the address told already."""

    accepted: bool = True
    run_id: str


def router(client: Client, settings: Settings) -> APIRouter:
    """The routes."""
    api = APIRouter(prefix=CALLBACKS, tags=["callbacks"])

    @api.post("/{token}", status_code=202, operation_id="answerCallback", summary="Answer a run that waits")
    async def answer(token: str, request: Request) -> CallbackTaken:
        """Any body: JSON, a form or text becomes the event's `data`. `{"error": {"type", "message"}}` alone fails the
        waiting step. The first answer counts; a second one is 409."""
        body = await read_body(request, settings.max_body)
        taken = await answer_callback(client.temporal, client.store, token, _told(body.value))
        return CallbackTaken(run_id=taken["run_id"])

    return api


def _told(body: Json) -> dict[str, Json]:
    if not isinstance(body, dict) or set(body) != {"error"}:
        return {"data": body}
    error = body["error"]
    if not isinstance(error, dict):
        problem = FieldProblem("error", 'write {"error": {"type": "declined", "message": "no funds"}}')
        raise InputsInvalid("callback", [problem])
    return {"error": {name: str(error[name]) for name in ("type", "message") if error.get(name) is not None}}
