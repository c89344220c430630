"""Contacts and several channels at once, against real servers for mail and HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.responses import JSONResponse, Response
from temporalio.client import Client

from orchestrator.errors import StepError, TerminalError
from orchestrator.spec.acts.multi_channel import MultiChannelConfig
from orchestrator.spec.acts.notification import NotificationConfig
from orchestrator.steps.context import StepContext
from orchestrator.steps.notify import multi_channel, notification

from .conftest import MakeContext, RecordingServer
from .mail_server import MailBox, mail_server
from .one_step import open_bench

Project = Callable[..., StepContext]


@pytest.fixture
async def box() -> AsyncIterator[MailBox]:
    async with mail_server() as made:
        yield made


def write_project(folder: Path, box: MailBox, server: RecordingServer, contacts: Any = None) -> None:
    """A project of which every way leads to the test's servers."""
    project = {
        "mail": {"server": "127.0.0.1", "port": box.port, "security": "none", "from": "flows@example.com"},
        "slack": {"token": "xoxb-1234", "api": f"{server.url}/slack"},
        "services": {"crm": {"base_url": f"{server.url}/crm", "methods": {"updateStatus": {"path": "/status", "method": "POST"}}}},
        "contacts": contacts or {},
    }  # fmt: skip
    (folder / "orchestrator.yaml").write_text(yaml.safe_dump(project))
    server.answer("/slack/chat.postMessage", lambda _: JSONResponse({"ok": True, "ts": "1.2", "channel": "C1"}))


@pytest.fixture
def project(make_context: MakeContext, http_server: RecordingServer, box: MailBox, tmp_path: Path) -> Project:
    def make(contacts: Any = None) -> StepContext:
        write_project(tmp_path, box, http_server, contacts)
        return make_context(secrets={"HOOK": "hook-token"})

    return make


def news(**members: Any) -> NotificationConfig:
    return NotificationConfig.model_validate({"target": "ops", "message": "Disk <!channel> is full"} | members)


def channels(*given: dict[str, Any], **members: Any) -> MultiChannelConfig:
    return MultiChannelConfig.model_validate({"channels": list(given)} | members)


EMAIL: dict[str, Any] = {"email": {"to": "kim@example.com", "subject": "s", "text": "t"}}
SLACK: dict[str, Any] = {"slack": {"channel": "#ops", "message": "m"}}
CRM: dict[str, Any] = {"crm": {"action": "updateStatus", "status": "onboarded"}}


async def test_a_contact_is_told_in_every_way_it_declares(
    project: Project, box: MailBox, http_server: RecordingServer
) -> None:
    hook = {"url": f"{http_server.url}/hook", "headers": {"X-Team": "ops"}, "auth": {"bearer": "{{ secrets.HOOK }}"}}
    context = project({"ops": {"email": "ops@example.com", "slack": "#ops", "webhook": hook}})
    output = await notification.run(news(severity="critical", data={"host": "db1", "free": 0.01}), context)
    assert output["id"] == context.idempotency_key
    assert sorted(output["channels"]) == ["email", "slack", "webhook"]
    [mail] = box.mails
    assert mail.message["Subject"] == "[critical] Disk <!channel> is full"
    assert mail.text() == "Disk <!channel> is full\n\nhost: db1\nfree: 0.01\n\n-- \nflow test-flow, run run-1\n"
    received = {one.path: one for one in http_server.requests}
    text = json.loads(received["/slack/chat.postMessage"].body)["text"]
    assert text.startswith("*Critical:* Disk &lt;!channel&gt; is full\n```host: db1\nfree: 0.01```")
    posted = received["/hook"]
    assert (posted.headers["x-team"], posted.headers["authorization"]) == ("ops", "Bearer hook-token")
    assert posted.headers["idempotency-key"] == "run-1:the-step:0:webhook"
    assert json.loads(posted.body) == {
        "id": "run-1:the-step:0:webhook", "target": "ops", "severity": "critical", "message": "Disk <!channel> is full",
        "data": {"host": "db1", "free": 0.01}, "flow": "test-flow", "run": "run-1", "step": "the-step",
    }  # fmt: skip


async def test_a_message_of_several_lines_is_one_line_of_subject(project: Project, box: MailBox) -> None:
    await notification.run(news(message="one\r\nBcc: eve@example.com"), project({"ops": {"email": "ops@example.com"}}))
    assert box.mails[0].message["Subject"] == "one Bcc: eve@example.com"
    assert box.mails[0].recipients == ["ops@example.com"]


async def test_a_group_is_its_own_channel_or_its_members_each_once(
    project: Project, box: MailBox, http_server: RecordingServer
) -> None:
    contacts = {
        "ops": {"members": ["kim", "night", "kim", "ops"]},
        "night": {"members": ["lee", "kim"]},
        "kim": {"email": "kim@example.com"},
        "lee": {"email": "lee@example.com", "slack": "U7"},
        "loud": {"slack": "#loud", "members": ["kim"]},
    }
    context = project(contacts)
    output = await notification.run(news(), context)
    assert list(output["channels"]) == ["kim.email", "lee.email", "lee.slack"]
    assert sorted(mail.recipients[0] for mail in box.mails) == ["kim@example.com", "lee@example.com"]
    assert list((await notification.run(news(target="loud"), context))["channels"]) == ["slack"]


async def test_a_member_who_cannot_be_told_is_reported_and_the_others_are_told(project: Project, box: MailBox) -> None:
    contacts = {"ops": {"members": ["kim", "mute", "nobody"]}, "kim": {"email": "kim@example.com"}, "mute": None}
    context = project(contacts)
    output = await notification.run(news(), context)
    assert output["channels"]["mute"]["error"]["type"] == "no_way"
    assert output["channels"]["nobody"]["error"]["type"] == "not_found"
    assert len(box.mails) == 1
    assert [warning.split(":")[0] for warning in context.warnings] == ["'mute' was not told", "'nobody' was not told"]
    with pytest.raises(TerminalError, match="contact 'mute' cannot be told anything"):
        await notification.run(news(target="mute"), context)


async def test_channels_are_tried_side_by_side_and_a_service_is_one(
    project: Project, box: MailBox, http_server: RecordingServer
) -> None:
    both = asyncio.Barrier(2)

    async def meet(answer: dict[str, Any]) -> Response:
        await asyncio.wait_for(both.wait(), 5)
        return JSONResponse(answer)

    context = project()
    http_server.answer("/crm/status", lambda _: meet({"id": 77}))
    http_server.answer("/slack/chat.postMessage", lambda _: meet({"ok": True, "ts": "1.2", "channel": "C1"}))
    output = await multi_channel.run(channels(EMAIL, SLACK, CRM), context)
    assert output["email"]["refused"] == []
    assert output["slack"] == {"id": "1.2", "channel": "C1"}
    assert output["crm"] == {"id": 77, "body": {"id": 77}}
    [called] = [one for one in http_server.requests if one.path == "/crm/status"]
    assert json.loads(called.body) == {"status": "onboarded"}
    assert called.headers["idempotency-key"] == "run-1:the-step:0:crm"


async def test_a_failed_channel_does_not_lose_the_others_and_is_reported(
    project: Project, box: MailBox, http_server: RecordingServer
) -> None:
    context = project()
    http_server.answer("/slack/chat.postMessage", lambda _: JSONResponse({"ok": False, "error": "not_in_channel"}))
    output = await multi_channel.run(channels(EMAIL, SLACK, {"notification": {"target": "nobody"}}), context)
    assert output["slack"]["error"]["type"] == "slack_error"
    assert output["notification"]["error"]["type"] == "not_found"
    assert len(box.mails) == 1
    assert len(context.warnings) == 2
    with pytest.raises(TerminalError, match="1 of 2 could not be told: slack") as caught:
        await multi_channel.run(channels(EMAIL, SLACK, require="all"), context)
    assert caught.value.type == "delivery_failed"
    assert caught.value.data["channels"]["email"]["refused"] == []


async def test_if_every_channel_fails_the_step_fails_and_is_tried_again_where_that_may_help(
    project: Project, box: MailBox, http_server: RecordingServer
) -> None:
    context = project()
    http_server.answer("/slack/chat.postMessage", lambda _: Response(status_code=429, headers={"Retry-After": "4"}))
    box.data = "554 spam"
    with pytest.raises(StepError, match="2 of 2 could not be told") as caught:
        await multi_channel.run(channels(EMAIL, SLACK), context)
    assert (caught.value.retryable, caught.value.retry_after) == (True, 4.0)
    with pytest.raises(TerminalError):
        await multi_channel.run(channels(EMAIL), context)


@pytest.mark.parametrize("require", ["any", "all"])
async def test_attempts_send_only_what_has_not_been_sent(
    temporal: Client, tmp_path: Path, box: MailBox, http_server: RecordingServer, require: str
) -> None:
    """Through a real worker, where what was sent travels in heartbeats."""
    write_project(
        tmp_path, box, http_server, {"ops": {"email": "ops@example.com", "webhook": f"{http_server.url}/hook"}}
    )
    tries: list[str] = []

    def moody(path: str, good: Response) -> Callable[[Any], Response]:
        def answer(_: Any) -> Response:
            tries.append(path)
            return good if tries.count(path) == 3 else Response(status_code=503)

        return answer

    http_server.answer("/slack/chat.postMessage", moody("slack", JSONResponse({"ok": True, "ts": "1", "channel": "C"})))
    http_server.answer("/hook", moody("hook", Response()))
    config = {"channels": [EMAIL, SLACK, {"notification": {"target": "ops", "require": "all"}}], "require": require}
    retry = {"max_attempts": 5, "initial_interval": 0.01}
    async with open_bench(temporal, tmp_path, "") as bench:
        result = await bench.run("multi-channel", config, retry=retry, type="multi-channel", attempts=5)
    if require == "any":
        assert (tries.count("slack"), len(box.mails)) == (1, 2)
        assert result["output"]["slack"]["error"]["type"] == "temporary_service_unavailable"
        return
    assert result["output"]["slack"] == {"id": "1", "channel": "C"}
    assert (tries.count("slack"), tries.count("hook")) == (3, 3)
    assert sorted(mail.recipients[0] for mail in box.mails) == ["kim@example.com", "ops@example.com"]
