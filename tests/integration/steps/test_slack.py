"""The slack step against a real HTTP server that answers as Slack does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.responses import JSONResponse, PlainTextResponse, Response

from orchestrator.errors import StepError, TerminalError
from orchestrator.spec.acts.slack import SlackConfig
from orchestrator.steps.context import StepContext
from orchestrator.steps.notify.slack import run

from .conftest import MakeContext, RecordingServer

Workspace = Callable[..., StepContext]
TOKEN = "xoxb-token-123"


@pytest.fixture
def workspace(make_context: MakeContext, http_server: RecordingServer, tmp_path: Path) -> Workspace:
    """A context whose project posts to the test's server, with a token unless members are given."""

    def make(**members: Any) -> StepContext:
        given = members or {"token": "{{ secrets.SLACK_BOT_TOKEN }}"}
        entry = {"api": f"{http_server.url}/api"} | given
        (tmp_path / "orchestrator.yaml").write_text(yaml.safe_dump({"slack": entry}))
        return make_context(step_type="slack", secrets={"SLACK_BOT_TOKEN": TOKEN})

    return make


def says(**answer: Any) -> Callable[[Any], Response]:
    return lambda _: JSONResponse(answer)


async def test_a_message_goes_to_the_channel_and_its_id_is_the_thread_of_answers(
    workspace: Workspace, http_server: RecordingServer
) -> None:
    http_server.answer("/api/chat.postMessage", says(ok=True, ts="171.5", channel="C1"))
    blocks = [{"type": "divider"}]
    config = SlackConfig(channel="#ops", message="hello", blocks=blocks, attachments=[{"text": "more"}])
    context = workspace()
    output = await run(config, context)
    assert output == {"id": "171.5", "channel": "C1"}
    sent = http_server.last
    assert sent.headers["authorization"] == f"Bearer {TOKEN}"
    assert sent.headers["idempotency-key"] == context.idempotency_key
    assert json.loads(sent.body) == {
        "channel": "#ops",
        "text": "hello",
        "blocks": blocks,
        "attachments": [{"text": "more"}],
    }
    await run(SlackConfig(channel="C1", message="again", thread=output["id"]), workspace())
    assert json.loads(http_server.last.body) == {"channel": "C1", "text": "again", "thread_ts": "171.5"}


async def test_a_channel_with_a_webhook_is_told_through_it(workspace: Workspace, http_server: RecordingServer) -> None:
    http_server.answer("/services/T0/B0/secret-part", lambda _: PlainTextResponse("ok"))
    context = workspace(webhooks={"#ops": f"{http_server.url}/services/T0/B0/secret-part"})
    output = await run(SlackConfig(channel="#ops", message="hello"), context)
    assert output == {"id": context.idempotency_key, "channel": "#ops"}
    assert json.loads(http_server.last.body) == {"text": "hello"}
    with pytest.raises(TerminalError, match=r"has no channel '#opps'; there: '#ops'"):
        await run(SlackConfig(channel="#opps", message="hello"), context)


async def test_the_address_of_a_webhook_is_masked_wherever_it_was_written_down(
    workspace: Workspace, http_server: RecordingServer
) -> None:
    http_server.answer("/services/T0/B0/secret-part", lambda _: PlainTextResponse("no_service", status_code=404))
    context = workspace(webhooks={"#ops": f"{http_server.url}/services/T0/B0/secret-part"})
    with pytest.raises(TerminalError) as caught:
        await run(SlackConfig(channel="#ops", message="hello"), context)
    shown = context.secrets.mask_text(caught.value.message)
    assert "no_service" in shown
    assert "secret-part" not in shown


@pytest.mark.parametrize(
    ("code", "kind", "type_", "hint"),
    [
        ("channel_not_found", TerminalError, "slack_error", "is the name right"),
        ("not_in_channel", TerminalError, "slack_error", "invite the app"),
        ("invalid_auth", TerminalError, "slack_error", "slack.token"),
        ("something_new", TerminalError, "slack_error", "something_new"),
        ("ratelimited", StepError, "rate_limit_exceeded", "ratelimited"),
        ("internal_error", StepError, "temporary_service_unavailable", "internal_error"),
    ],
)
async def test_a_refusal_within_a_200_is_an_error_that_says_what_to_do(
    workspace: Workspace, http_server: RecordingServer, code: str, kind: type[StepError], type_: str, hint: str
) -> None:
    http_server.answer("/api/chat.postMessage", says(ok=False, error=code))
    with pytest.raises(StepError, match=hint) as caught:
        await run(SlackConfig(channel="#ops", message="hello"), workspace())
    assert (type(caught.value), caught.value.type, caught.value.data) == (kind, type_, {"error": code})


async def test_a_rate_limit_waits_as_long_as_slack_asks(workspace: Workspace, http_server: RecordingServer) -> None:
    http_server.answer("/api/chat.postMessage", lambda _: Response(status_code=429, headers={"Retry-After": "7"}))
    with pytest.raises(StepError) as caught:
        await run(SlackConfig(channel="#ops", message="hello"), workspace())
    assert (caught.value.type, caught.value.retry_after) == ("rate_limit_exceeded", 7.0)


async def test_an_answer_that_is_not_slacks_is_told_from_one(
    workspace: Workspace, http_server: RecordingServer
) -> None:
    http_server.answer("/api/chat.postMessage", lambda _: PlainTextResponse("<html>"))
    with pytest.raises(TerminalError, match="no JSON object"):
        await run(SlackConfig(channel="#ops", message="hello"), workspace())


async def test_without_a_workspace_the_error_says_what_to_write(make_context: MakeContext) -> None:
    with pytest.raises(TerminalError, match=r"orchestrator.yaml has no `slack`: write"):
        await run(SlackConfig(channel="#ops", message="hello"), make_context())
