"""Webhooks: requests at the paths that published flows declare. Read, verify, map, start, answer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from orchestrator.client import Client, Run, RunCancelled, RunFailed
from orchestrator.client.triggers import Declared
from orchestrator.dispatch.debounce import hold
from orchestrator.errors import InputsInvalid, OrchestratorError
from orchestrator.gateway import cors
from orchestrator.gateway.answers import Answers
from orchestrator.gateway.bodies import parse_body, read_raw
from orchestrator.gateway.deliveries import Delivery, read_delivery
from orchestrator.gateway.problems import problem, problem_of, problem_of_http
from orchestrator.gateway.replies import accepted, held_back, not_started, render_reply, reply_of, run_headers
from orchestrator.gateway.routes import Match, Routes, Webhook
from orchestrator.gateway.sendable import answer_of
from orchestrator.security.verify import Received, Unverified, VerifyUnusable, check, needs_body
from orchestrator.settings import Settings
from orchestrator.spec.definition import Json
from orchestrator.spec.inputs import check_inputs

_LOGGER = logging.getLogger("orchestrator.gateway")
_ANSWERING = frozenset({"respond", "run-steps"})


class Webhooks:
    """The ASGI app for every path that is not the gateway's own. ``counts`` says how often what became of deliveries
    since this process started, by flow, trigger and outcome."""

    def __init__(self, client: Client, routes: Routes, settings: Settings) -> None:
        self._client = client
        self._routes = routes
        self._settings = settings
        self._answers = Answers(client.store)
        self.counts: Counter[tuple[str, str, str]] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise HTTPException(404)
        request = Request(scope, receive)
        wanted = request.method
        if cors.is_preflight(request):
            wanted = request.headers["access-control-request-method"]
        match = await self._routes.find(wanted, _path(request))
        response = await self._guarded(request, match)
        hook = None if match is None else match.webhook
        if hook is not None and hook.cors is not None and not cors.is_preflight(request):
            cors.allow(response, hook.cors, request)
        await response(scope, receive, send)

    async def _guarded(self, request: Request, match: Match | None) -> Response:
        """The answer; errors are answers too, so that pages of other origins can read them."""
        hook = None if match is None else match.webhook
        try:
            if match is None:
                raise HTTPException(
                    404, f"nothing is at {_path(request)}: no enabled flow has a webhook with this path"
                )
            if hook is None or (request.method == "OPTIONS" and hook.cors is None):
                allowed = ", ".join(match.methods)
                raise HTTPException(405, f"the webhook {_path(request)} takes {allowed}", {"Allow": allowed})
            if hook.cors is not None and cors.is_preflight(request):
                return cors.preflight(hook.cors, match.methods, request)
            return await self._answer(request, match, hook)
        except Unverified as error:
            self._count(hook, "unverified")
            headers = {"WWW-Authenticate": error.challenge}
            return problem(401, str(error), headers=headers, instance=_path(request))
        except HTTPException as error:
            self._count(hook, f"refused_{error.status_code}")
            return problem_of_http(error, request)
        except OrchestratorError as error:
            self._count(hook, error.code)
            return problem_of(error, _path(request))

    def _count(self, hook: Webhook | None, outcome: str) -> None:
        if hook is not None:
            self.counts[hook.flow, hook.id, outcome] += 1

    async def _answer(self, request: Request, match: Match, hook: Webhook) -> Response:
        delivery = await self._receive(request, match, hook)
        if match.test:
            return await self._try(delivery)
        shortcut = _handshake(delivery)
        if shortcut is not None:
            self._count(hook, "handshake")
            return shortcut
        if not delivery.passes():
            self._count(hook, "filtered")
            return not_started(hook.flow, "the trigger's `if` is false for this delivery")
        if hook.reply is not None:
            render_reply(hook.reply, delivery, None)
        key = delivery.key()
        if hook.trigger.get("debounce"):
            return await self._hold(delivery, key)
        run = await self._start(delivery, key)
        self._count(hook, "started")
        if hook.reply is not None:
            return await self._fixed(delivery, run, keyed=key is not None)
        return await self._result(hook, run, keyed=key is not None) if hook.waits else accepted(run)

    async def _receive(self, request: Request, match: Match, hook: Webhook) -> Delivery:
        """The delivery of a sender who has proved itself. Raises Unverified, HTTPException."""
        verify = hook.verify
        if verify is not None and not needs_body(verify):
            self._verify(hook, request, b"")
        limit = hook.limit or self._settings.max_body
        raw = await read_raw(request, limit, seconds=self._settings.body_timeout)
        if verify is not None and needs_body(verify):
            self._verify(hook, request, raw)
        return read_delivery(request, match, hook, await parse_body(request, raw), _path(request))

    def _verify(self, hook: Webhook, request: Request, raw: bytes) -> None:
        assert hook.verify is not None
        received = Received([(name, value) for name, value in request.headers.items()], raw, time.time())
        try:
            check(hook.verify, self._settings.secrets, received)
        except VerifyUnusable as error:
            # Senders are strangers: what is missing here is none of their business. They send it again.
            _LOGGER.error("the webhook %s of flow %s refuses every request: %s", hook.path, hook.flow, error)
            raise HTTPException(
                503, "this webhook is not set up completely; the gateway's log says what is missing"
            ) from error

    async def _hold(self, delivery: Delivery, key: str | None) -> Response:
        """Keep it until no other comes."""
        hook = delivery.hook
        inputs, textual = await self._taken(delivery)
        held = await hold(
            self._client,
            Declared(hook.flow, hook.version, hook.id, hook.trigger),
            delivery.trigger,
            inputs,
            key=key,
            digest=delivery.digest(key),
            convert_text=textual,
        )
        self._count(hook, "held")
        return held_back(held)

    async def _start(self, delivery: Delivery, key: str | None) -> Run:
        inputs, textual = await self._taken(delivery)
        return await self._client.start(
            delivery.hook.flow,
            inputs,
            version=delivery.hook.version,
            trigger=delivery.trigger,
            idempotency_key=key,
            convert_text=textual,
            digest=delivery.digest(key),
        )

    async def _taken(self, delivery: Delivery) -> tuple[dict[str, Json], bool]:
        """The inputs, and whether they are text; its files are kept. Raises InputsInvalid."""
        store = self._client.store
        inputs, textual = await delivery.inputs(store)
        if delivery.body.files:
            # A delivery that is refused leaves nothing behind.
            version = await store.flows.version(delivery.hook.flow, delivery.hook.version)
            check_inputs(delivery.hook.flow, version.definition.inputs, inputs, convert_text=textual)
            await delivery.keep_files(store)
        return inputs, textual

    async def _try(self, delivery: Delivery) -> Response:
        """What a live delivery would start, kept as a sample. Nothing is started, and no file is kept."""
        hook, store = delivery.hook, self._client.store
        outcome: dict[str, Json] = {"would_start": True}
        try:
            inputs, textual = await delivery.inputs(store)
            version = await store.flows.version(hook.flow, hook.version)
            outcome["inputs"] = check_inputs(hook.flow, version.definition.inputs, inputs, convert_text=textual)
            outcome["idempotency_key"] = delivery.key()
            if hook.reply is not None:
                outcome["answer"] = render_reply(hook.reply, delivery, None)
            if _handshake(delivery) is not None or not delivery.passes():
                outcome |= {
                    "would_start": False,
                    "reason": "the trigger's `if` is false, or the sender only says hello",
                }
        except InputsInvalid as error:
            problems = [{"field": entry.field, "message": entry.message} for entry in error.problems]
            outcome |= {"would_start": False, "reason": str(error), "problems": problems}
        sample = await store.samples.add(hook.flow, hook.id, hook.version, delivery.trigger, outcome)
        self._count(hook, "tested")
        told = {"test": True, "sample": sample.id, "flow": hook.flow, "version": hook.version}
        return JSONResponse(told | outcome | {"trigger": delivery.trigger})

    async def _fixed(self, delivery: Delivery, run: Run, *, keyed: bool) -> Response:
        """The trigger's own answer. A repeated delivery gets the one of the first."""
        reply = delivery.hook.reply
        assert reply is not None
        answer = render_reply(reply, delivery, run)
        if keyed and not reply.static:
            kept = await self._client.store.responses.put(run.id, None, answer)
            answer = kept.answer or answer
        return reply_of(answer, run)

    async def _result(self, hook: Webhook, run: Run, *, keyed: bool) -> Response:
        """What a ``respond`` step says, else the run's result, else 202."""
        if not await self._may_respond(hook):
            return await self._outcome(run, self._settings.sync_timeout)
        if keyed:
            await self._client.store.responses.reopen(run.id)
        answer = await self._first_answer(run)
        if isinstance(answer, dict):
            return reply_of(answer, run)
        return answer

    async def _may_respond(self, hook: Webhook) -> bool:
        definition = (await self._client.store.flows.version(hook.flow, hook.version)).definition
        return any(node.type in _ANSWERING for node in definition.walk())

    async def _first_answer(self, run: Run) -> Response | dict[str, Json]:
        responses = self._client.store.responses
        answering = _task(self._answers.of(run.id))
        ending = _task(self._outcome(run, None))
        try:
            await asyncio.wait(
                (answering, ending), timeout=self._settings.sync_timeout, return_when=asyncio.FIRST_COMPLETED
            )
            if answering.done():
                answer: dict[str, Json] = await answering
                return answer
            if ending.done():
                # The step may have answered since the last look.
                found = await responses.found([run.id])
                ended: Response = await ending
                return found[run.id].answer or {} if run.id in found else ended
            # Unless it answers at this very moment, later answers are too late.
            kept = await responses.put(run.id, None, None)
            return accepted(run) if kept.answer is None else kept.answer
        finally:
            for task in (answering, ending):
                task.cancel()
            await asyncio.gather(answering, ending, return_exceptions=True)

    async def _outcome(self, run: Run, seconds: float | None) -> Response:
        try:
            output = await run.result(seconds)
        except TimeoutError:
            return accepted(run)
        except (RunFailed, RunCancelled) as error:
            response = problem_of(error)
            response.headers.update(run_headers(run))
            return response
        return answer_of(output, 200, run_headers(run))


def _path(request: Request) -> str:
    """The path as it was decoded once: in a URL put together again, a ``?`` or ``#`` in it would end it."""
    return str(request.scope["path"])


def _handshake(delivery: Delivery) -> Response | None:
    """The answer to a sender that only asks whether somebody is there: Slack's challenge, GitHub's ping."""
    scheme = delivery.hook.verify.scheme if delivery.hook.verify is not None else None
    body = delivery.body.value
    if scheme == "slack" and isinstance(body, dict) and body.get("type") == "url_verification":
        return Response(str(body.get("challenge", ""))[:1000], media_type="text/plain")
    if scheme == "github" and delivery.trigger["headers"].get("x-github-event") == "ping":
        return not_started(delivery.hook.flow, "a ping says that the webhook was set up")
    return None


def _task(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    return asyncio.ensure_future(work)
