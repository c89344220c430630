"""The verbs about queues, over a store of their own."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.stores import open_store

from orchestrator.cli.main import main


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "orchestrator.yaml").write_text("queues:\n  jobs: {description: what is to be done}\n")
    url = f"sqlite:///{tmp_path / 'store.db'}"
    monkeypatch.setenv("ORCHESTRATOR_STORE_URL", url)
    monkeypatch.chdir(tmp_path)
    return url


def bury(url: str) -> None:
    async def refuse_all() -> None:
        store = await open_store(url)
        for message in await store.queues.take("jobs", 10, 60):
            await store.queues.refuse(message, "invalid_inputs: n must be a number", None)
        await store.aclose()

    asyncio.run(refuse_all())


def read(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_messages_are_sent_looked_at_given_another_chance_and_deleted(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = read(capsys, "queues", "send", "jobs", '{"n": 1}', "--id", "a", "--key", "k")
    assert sent["new"]
    assert read(capsys, "queues", "send", "jobs", '{"n": 1}', "--id", "a", "--key", "k") == sent | {"new": False}
    [message] = read(capsys, "queues", "peek", "jobs")
    assert (message["id"], message["body"], message["deliveries"]) == (sent["id"], {"n": 1}, 0)
    bury(url)
    [queue] = read(capsys, "queues", "list")
    assert (queue["queue"], queue["waiting"], queue["dead"], queue["consumers"]) == ("jobs", 0, 1, [])
    assert main(["queues", "peek", "jobs", "--dead"]) == 0
    assert "invalid_inputs: n must be a number" in capsys.readouterr().out
    assert main(["queues", "redrive", "jobs"]) == 0
    assert capsys.readouterr().out == "1 dead letter gets another chance\n"
    assert main(["queues", "purge", "jobs", "--waiting"]) == 0
    assert capsys.readouterr().out == "1 message deleted\n"
    assert main(["queues", "list"]) == 0
    assert "nobody" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["send", "jobs", "{"], "cannot be sent"),
        (["send", "jobs", "NaN"], "not accepted"),
        (["send", "jobs", "1", "--delay", "soon"], "not a duration"),
        (["send", "\n", "1"], "printable text"),
        (["send", "jobs", "1", "--id", ""], "1 to 1000 characters"),
        (["purge", "jobs"], "--waiting or --dead"),
        (["peek", "jobs", "--dead", "--done"], "exclude each other"),
    ],
)
def test_what_cannot_be_done_is_said(
    url: str, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    assert main(["queues", *arguments]) == 2
    assert told in capsys.readouterr().err.replace("\n", " ")
