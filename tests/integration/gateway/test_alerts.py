"""Alerts that runs have raised are sent by the gateway: again until their channel takes them, each channel by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import temporalio.client
from tests.engine.flows.recorder import Recorder, open_recorder
from tests.integration.gateway.conftest import open_door, serving
from tests.stores import open_store

from orchestrator.cli import main
from orchestrator.dispatch.alerts import AlertSender
from orchestrator.dispatch.loops import Dispatcher
from orchestrator.gateway.app import create_app
from orchestrator.settings import Settings
from orchestrator.spec.project import load_project
from orchestrator.store.alerts import Alert, Status, alert_id
from orchestrator.store.database import Store

PROJECT = """
slack: {{token: xoxb-1234, api: "{url}/api", channel: "#alerts"}}
contacts:
  ops: {{webhook: "{url}/hook", slack: "#ops"}}
  hidden: {{webhook: "{{{{ secrets.HOOK }}}}"}}
"""
FLOW = """
id: alarming
monitoring: {alerts: [{condition: execution_time >= 0s, channel: ops, message: Look.}]}
steps: [{id: kept, type: state, config: {put: k, value: 1}}]
"""


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    with open_recorder() as opened:
        (tmp_path / "orchestrator.yaml").write_text(PROJECT.format(url=opened.url))
        yield opened


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(f"sqlite:///{tmp_path / 'store.db'}")
    yield opened
    await opened.aclose()


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.dispatch.alerts.FIRST_PAUSE", 0.01)
    monkeypatch.setattr("orchestrator.dispatch.alerts.POLL", 0.05)


@asynccontextmanager
async def sending(store: Store, folder: Path, **secrets: str) -> AsyncIterator[None]:
    """What a gateway does about alerts, alone."""
    settings = replace(Settings(project_dir=folder), secrets=secrets)
    async with aclosing(AlertSender(store, lambda: load_project(folder), settings)) as sender, Dispatcher([sender]):
        yield


def alert(channel: str) -> Alert:
    told: dict[str, Any] = {"condition": "attempts > 1", "found": "attempts is 2", "message": "Look at it."}
    told |= {"values": {"attempts": 2, "cost": None}, "status": "failed"}
    return Alert(alert_id("run-1", channel, 0), "paying", "7", "run-1", channel, told)


async def standing(store: Store, **wanted: Status) -> dict[str, Alert]:
    """The alerts by channel, once each that is named stands so."""
    for _ in range(1200):
        found = {one.channel.strip("#"): one for one in await store.alerts.list()}
        if all(found[channel].status == status for channel, status in wanted.items()):
            return found
        await asyncio.sleep(0.025)
    raise AssertionError(f"{found} instead of {wanted}")


async def test_an_alert_says_what_was_found_of_which_run(store: Store, tmp_path: Path, recorder: Recorder) -> None:
    await store.alerts.put([alert("slack"), alert("ops")])
    async with sending(store, tmp_path):
        await standing(store, slack="sent", ops="sent")
    by_path = {(path, body.get("channel")): body for path, body in recorder.posted}
    assert by_path.keys() == {("/api/chat.postMessage", "#alerts"), ("/api/chat.postMessage", "#ops"), ("/hook", None)}
    said = by_path["/api/chat.postMessage", "#alerts"]["text"]
    assert said == ("*paying: attempts &gt; 1 (attempts is 2)*\nLook at it.\nRun run-1, version 7, has ended: failed")
    news = by_path["/hook", None]
    assert news["id"] == f"{alert('ops').id}:webhook"
    assert news["data"] == {"condition": "attempts > 1", "status": "failed", "attempts": 2}


async def test_an_alert_is_sent_again_until_every_way_of_its_contact_has_taken_it_once(
    store: Store, tmp_path: Path, recorder: Recorder
) -> None:
    recorder.refusals = {"/hook": 2}
    await store.alerts.put([alert("ops")])
    async with sending(store, tmp_path):
        sent = (await standing(store, ops="sent"))["ops"]
    assert sorted(recorder.paths()) == ["/api/chat.postMessage", "/hook"]
    assert (sent.attempts, sent.problem) == (3, None)


async def test_a_channel_that_hangs_holds_up_no_other(store: Store, tmp_path: Path, recorder: Recorder) -> None:
    recorder.hangs = {"/hook"}
    await store.alerts.put([alert("ops"), alert("#others")])
    async with sending(store, tmp_path):
        found = await standing(store, others="sent")
        assert found["ops"].status == "waiting"


async def test_what_no_further_try_helps_is_kept_as_failed_until_somebody_sends_it_again(
    store: Store, tmp_path: Path, recorder: Recorder
) -> None:
    await store.alerts.put([alert("nobody")])
    async with sending(store, tmp_path):
        failed = (await standing(store, nobody="failed"))["nobody"]
    assert failed.problem == "not_found: no contact 'nobody' under contacts in orchestrator.yaml"
    text = (tmp_path / "orchestrator.yaml").read_text().replace("ops:", "nobody:")
    (tmp_path / "orchestrator.yaml").write_text(text)
    await store.alerts.resend()
    async with sending(store, tmp_path):
        await standing(store, nobody="sent")


async def test_what_is_tried_for_too_long_is_given_up(
    store: Store, tmp_path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.dispatch.alerts.GIVE_UP", 0.0)
    recorder.refusals = {"/api/chat.postMessage": 1}
    await store.alerts.put([alert("slack")])
    async with sending(store, tmp_path):
        failed = (await standing(store, slack="failed"))["slack"]
    assert failed.problem is not None and failed.problem.startswith("temporary_service_unavailable: ")


async def test_the_address_of_a_channel_is_never_kept(store: Store, tmp_path: Path, recorder: Recorder) -> None:
    # Nobody listens there: the problem is about the address.
    hook = "http://127.0.0.1:9/very-secret-path"
    await store.alerts.put([alert("hidden")])
    async with sending(store, tmp_path, HOOK=hook):
        for _ in range(1200):
            [tried] = await store.alerts.list()
            if tried.problem is not None:
                break
            await asyncio.sleep(0.025)
    assert tried.problem is not None and "webhook: POST ***: " in tried.problem
    files = await asyncio.to_thread(lambda: [file.read_bytes() for file in tmp_path.glob("store.db*")])
    assert files and not any(b"very-secret-path" in content for content in files)


async def test_an_alert_waits_for_a_gateway_and_is_sent_once_by_those_that_come(
    temporal: temporalio.client.Client, tmp_path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.dispatch.alerts.LEASE", 0.2)
    recorder.hangs = {"/hook"}
    async with open_door(temporal, tmp_path) as door:
        await door.publish(FLOW)
        # The first gateway is gone while it sends, the channel's answer outstanding.
        run = await door.client.start("alarming")
        await run.result(30)
        for _ in range(1200):
            if not recorder.hangs:
                break
            await asyncio.sleep(0.025)
    store = await open_store(door.settings.store)
    try:
        async with serving(create_app(door.client, store, door.project, door.settings)):
            await standing(store, ops="sent")
        async with serving(create_app(door.client, store, door.project, door.settings)):
            await store.alerts.put([alert("#later")])
            await standing(store, later="sent")
        assert recorder.paths().count("/hook") == 1
    finally:
        await store.aclose()


def test_the_command_line_lists_alerts_and_sends_failed_ones_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail() -> None:
        store = await Store.open(Settings(project_dir=tmp_path).store)
        await store.alerts.put([alert("ops")])
        [taken] = await store.alerts.take("ops", 1, 60.0)
        await store.alerts.give_up(taken, "not_found: no contact", {})
        await store.aclose()

    project = ["-C", str(tmp_path), "alerts"]
    asyncio.run(fail())
    assert main([*project, "list", "--status", "failed"]) == 0
    told = capsys.readouterr().out
    assert "run-1" in told and "not_found: no contact" in told
    assert main([*project, "resend", "another"]) == 2
    assert "no alert 'another' was given up" in capsys.readouterr().err
    assert main([*project, "resend"]) == 0
    assert "1 alert gets another chance" in capsys.readouterr().out
    assert main([*project, "list", "--status", "failed", "--json"]) == 0
    assert capsys.readouterr().out.strip() == "[]"
