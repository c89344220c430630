"""The api step against a real server, its service read from a real orchestrator.yaml."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.responses import JSONResponse, Response

from orchestrator.errors import StepError, TerminalError
from orchestrator.spec.acts.api import ApiConfig
from orchestrator.steps.context import StepContext
from orchestrator.steps.web.api import run

from .conftest import MakeContext, Received, RecordingServer

Catalogue = Callable[..., StepContext]

METHODS: dict[str, Any] = {
    "createAccount": {"method": "POST", "path": "/accounts", "headers": {"X-Kind": "create", "x-team": "method"}},
    "getAccount": {"path": "/accounts/{id}/notes/{note}", "query": {"full": True, "lang": "ko"}},
    "ping": {"method": "POST", "path": "ping", "body": {"ping": 1}, "expect": [200, 418]},
}


@pytest.fixture
def catalogue(make_context: MakeContext, http_server: RecordingServer, tmp_path: Path) -> Catalogue:
    """A context whose project has the service ``accounts``, changed by the given members."""

    def make(secrets: dict[str, str] | None = None, **changes: Any) -> StepContext:
        service = {"base_url": f"{http_server.url}/v1/", "methods": METHODS} | changes
        (tmp_path / "orchestrator.yaml").write_text(yaml.safe_dump({"services": {"accounts": service}}))
        return make_context(step_type="api", secrets=secrets)

    return make


def api(method: str, **config: Any) -> ApiConfig:
    return ApiConfig.model_validate({"service": "accounts", "method": method, **config})


async def test_the_output_is_the_body_alone(catalogue: Catalogue, http_server: RecordingServer) -> None:
    http_server.answer("/v1/accounts", lambda _: JSONResponse({"id": 7}, status_code=201))
    context = catalogue(headers={"X-Team": "service"}, auth={"bearer": "{{ secrets.CRM }}"}, secrets={"CRM": "tok-123"})
    output = await run(api("createAccount", body={"name": "김"}, headers={"X-KIND": "step"}), context)
    assert output == {"id": 7}
    sent = http_server.last
    assert (sent.method, sent.path) == ("POST", "/v1/accounts")
    assert json.loads(sent.body) == {"name": "김"}
    assert sent.headers["authorization"] == "Bearer tok-123"
    assert (sent.headers["x-kind"], sent.headers["x-team"]) == ("step", "method")
    assert sent.headers["idempotency-key"] == context.idempotency_key


async def test_path_params_are_quoted_and_query_members_added(
    catalogue: Catalogue, http_server: RecordingServer
) -> None:
    config = api("getAccount", params={"id": "a/b?c ü", "note": 5}, query={"lang": None, "page": 2})
    await run(config, catalogue())
    assert http_server.last.raw_path == "/v1/accounts/a%2Fb%3Fc%20%C3%BC/notes/5"
    assert http_server.last.query == [("full", "true"), ("page", "2")]


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"id": 1}, "needs param 'note'"),
        ({"id": 1, "note": None}, "needs param 'note'"),
        ({"id": "..", "note": 1}, "would change the path"),
        ({"id": "", "note": 1}, "would change the path"),
        ({"id": [1], "note": 1}, "param 'id' takes a text, number"),
        ({"id": 1, "note": 1, "nota": 2}, "no place for param 'nota'; its places: 'id', 'note'"),
    ],
)
async def test_a_path_that_cannot_be_filled_names_the_param(
    catalogue: Catalogue, http_server: RecordingServer, params: dict[str, Any], says: str
) -> None:
    with pytest.raises(TerminalError, match=says) as caught:
        await run(api("getAccount", params=params), catalogue())
    assert caught.value.type == "invalid_config"
    assert http_server.requests == []


async def test_unknown_services_and_methods_name_the_nearest(catalogue: Catalogue) -> None:
    context = catalogue()
    with pytest.raises(TerminalError, match=r"no method 'createAcount'; there: 'createAccount'"):
        await run(api("createAcount"), context)
    with pytest.raises(TerminalError, match=r"no entry 'account' under services .*'accounts'"):
        await run(ApiConfig(service="account", method="ping"), context)


async def test_a_method_has_its_own_body_and_expected_statuses(
    catalogue: Catalogue, http_server: RecordingServer
) -> None:
    http_server.answer("/v1/ping", lambda _: Response("short and stout", status_code=418, media_type="text/plain"))
    assert await run(api("ping"), catalogue()) == "short and stout"
    assert json.loads(http_server.last.body) == {"ping": 1}
    await run(api("ping", body={"mine": True}), catalogue())
    assert json.loads(http_server.last.body) == {"mine": True}


async def test_errors_are_those_of_http(catalogue: Catalogue, http_server: RecordingServer) -> None:
    http_server.answer("/v1/accounts", lambda _: Response(status_code=429, headers={"Retry-After": "3"}))
    with pytest.raises(StepError) as caught:
        await run(api("createAccount"), catalogue())
    assert (caught.value.type, caught.value.retry_after) == ("rate_limit_exceeded", 3.0)


async def test_a_call_that_takes_longer_than_the_service_allows_is_a_timeout(
    catalogue: Catalogue, http_server: RecordingServer
) -> None:
    async def slow(_: Received) -> Response:
        await asyncio.sleep(5)
        return Response()

    http_server.answer("/v1/accounts", slow)
    with pytest.raises(StepError, match=r"no complete answer within 0\.1 s") as caught:
        await run(api("createAccount"), catalogue(timeout="100ms"))
    assert caught.value.type == "timeout"
    assert caught.value.retryable


async def test_a_rate_limit_makes_steps_wait_instead_of_failing(
    catalogue: Catalogue, http_server: RecordingServer
) -> None:
    context = catalogue(rate_limit={"requests": 5, "per": "500ms"})
    started = time.monotonic()
    await asyncio.gather(*(run(api("createAccount"), context) for _ in range(8)))
    # Five go at once, the other three come one by one every 100 ms.
    assert time.monotonic() - started >= 0.3
    assert len(http_server.requests) == 8


async def test_a_service_entry_that_is_wrong_is_named(catalogue: Catalogue) -> None:
    with pytest.raises(TerminalError, match=r"services\.accounts\.base_url in orchestrator\.yaml"):
        await run(api("ping"), catalogue(base_url="accounts.example.com"))
