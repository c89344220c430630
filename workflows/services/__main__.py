"""The services that the example flows call, so that they run without an account: small, in memory, and easy to break.

    python workflows/services            # HTTP on port 8100, SMTP on port 8125

Every file beside this one is one service: it defines ``router``. What was asked of them is listed at ``/_calls``, the
mail that came at ``/_mails``. ``POST /_failures {"path": "/payments", "status": 503, "times": 2}`` makes the next two
requests below that path fail, and with ``"done": true`` do their work before; the path ``/mail/kim@example.com`` stands
for mail to somebody. ``DELETE /_calls`` forgets all of it.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel

Json = Any
KEPT = 10_000
"""Calls and mails that are remembered."""


class Failure(BaseModel):
    """What goes wrong next: requests whose path begins with ``path`` are answered with ``status``, ``times`` times,
    after ``delay`` seconds."""

    path: str
    status: int = 503
    times: int = 1
    method: str | None = None
    delay: float = 0.0
    done: bool = False
    """The request does its work, and only its answer is lost."""


class Record:
    """What was asked of the services, and what shall go wrong."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Json]] = []
        self.mails: list[dict[str, Json]] = []
        self.failures: list[Failure] = []

    def failure_for(self, method: str, path: str) -> Failure | None:
        """The failure that is due for a request; it is used up by that."""
        for failure in self.failures:
            if failure.times > 0 and path.startswith(failure.path) and failure.method in (None, method):
                failure.times -= 1
                return failure
        return None

    def clear(self) -> None:
        """As after the start."""
        self.calls.clear()
        self.mails.clear()
        self.failures.clear()


def application(record: Record) -> FastAPI:
    """The services of this folder in one application."""
    app = FastAPI(title="Example services", docs_url=None, redoc_url=None)
    for file in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        spec = importlib.util.spec_from_file_location(f"example_service_{file.stem}", file)
        if spec is None or spec.loader is None:
            raise ImportError(f"{file} cannot be read as Python")
        module = importlib.util.module_from_spec(spec)
        # Dataclasses and models look up there what their annotations mean.
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        app.include_router(module.router)

    @app.middleware("http")
    async def recorded(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        if request.url.path.startswith("/_"):
            return await answer(request)
        raw = await request.body()
        call = {
            "method": request.method,
            "path": request.url.path,
            "query": dict(request.query_params),
            "headers": dict(request.headers),
            "body": _parsed(raw),
            "at": time.time(),
        }
        record.calls.append(call)
        del record.calls[:-KEPT]
        failure = record.failure_for(request.method, request.url.path)
        if failure is None or failure.done:
            response = await answer(request)
        if failure is not None:
            await asyncio.sleep(failure.delay)
            response = Response(json.dumps({"error": "as ordered"}), failure.status, media_type="application/json")
        call["status"] = response.status_code
        return response

    @app.get("/_calls")
    def calls(path: str = "/") -> list[dict[str, Json]]:
        return [call for call in record.calls if call["path"].startswith(path)]

    @app.delete("/_calls", status_code=204)
    def forget() -> None:
        record.clear()

    @app.post("/_failures", status_code=204)
    def fail(failure: Failure) -> None:
        record.failures.append(failure)

    @app.get("/_mails")
    def mails() -> list[dict[str, Json]]:
        return record.mails

    return app


def _parsed(raw: bytes) -> Json:
    if not raw:
        return None
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode(errors="replace")


class Postbox:
    """Takes every mail, unless a failure is due for ``/mail/`` and the address."""

    def __init__(self, record: Record) -> None:
        self._record = record

    async def handle_RCPT(self, _server: Json, _session: Json, envelope: Json, address: str, _options: Json) -> str:
        failure = self._record.failure_for("MAIL", f"/mail/{address}")
        if failure is not None:
            return f"{failure.status} refused, as ordered"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Json, _session: Json, envelope: Json) -> str:
        message = message_from_bytes(envelope.content, policy=policy.default)
        body = message.get_body(("plain", "html"))
        self._record.mails.append(
            {
                "from": envelope.mail_from,
                "to": list(envelope.rcpt_tos),
                "subject": str(message["subject"]),
                "text": body.get_content() if body is not None else "",
                "id": str(message["message-id"]),
            }
        )
        del self._record.mails[:-KEPT]
        return "250 taken"


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description="The services that the example flows call")
    parser.add_argument("--port", type=int, default=8100)
    parser.add_argument("--smtp-port", type=int, default=8125)
    ports = parser.parse_args()
    record = Record()
    postbox = None
    with suppress(ImportError):
        # aiosmtpd comes with the `dev` extra; without it there is no mail server, and sending mail fails.
        from aiosmtpd.controller import Controller

        postbox = Controller(Postbox(record), hostname="127.0.0.1", port=ports.smtp_port)
        postbox.start()
    print(f"example services on http://127.0.0.1:{ports.port}", flush=True)  # noqa: T201
    try:
        uvicorn.run(application(record), host="127.0.0.1", port=ports.port, log_level="warning")
    finally:
        if postbox is not None:
            postbox.stop()


if __name__ == "__main__":
    main()
