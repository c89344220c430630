"""Temporal's Web UI and command line see stored values through the gateway; other pages do not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import temporalio.client
from google.protobuf.json_format import MessageToDict
from temporalio.api.common.v1 import Payload, Payloads
from tests.conftest import binary
from tests.integration.gateway.conftest import Door, open_door

UI = "http://127.0.0.1:8233"
LARGE = {"text": "x" * 300_000}
BIG = """
id: big
triggers: [{type: webhook, path: /big, max_body: 3000000}]
inputs: {text: string}
steps: [{id: s, type: transform, config: {value: "{{ inputs.text }}"}}]
"""


@pytest.fixture
async def door(temporal: temporalio.client.Client, tmp_path: Path) -> AsyncIterator[Door]:
    async with open_door(temporal, tmp_path, codec_origins=(UI,)) as opened:
        yield opened


async def stored(door: Door) -> list[Payload]:
    """A value in storage, and one that stayed."""
    return await door.client.temporal.data_converter.encode([LARGE, "small"])


async def ask(door: Door, path: str, payloads: list[Payload], **headers: str) -> list[dict[str, Any]]:
    content = MessageToDict(Payloads(payloads=payloads))
    answer = await door.http.post(path, json=content, headers={"Origin": UI, "X-Namespace": "default"} | headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["access-control-allow-origin"] == UI
    found: list[dict[str, Any]] = answer.json()["payloads"]
    return found


async def test_a_stored_value_is_shown(door: Door) -> None:
    payloads = await stored(door)
    whole = MessageToDict(Payloads(payloads=[_inline(LARGE), payloads[1]]))["payloads"]
    assert await ask(door, "/codec/decode", payloads) == whole
    assert await ask(door, "/codec/download?preserveStorageRefs=true", payloads) == whole


async def test_the_web_ui_gets_references_until_it_downloads(door: Door) -> None:
    payloads = await stored(door)
    as_written = MessageToDict(Payloads(payloads=payloads))["payloads"]
    assert as_written[0]["externalPayloads"]
    assert await ask(door, "/codec/decode?preserveStorageRefs=true", payloads) == as_written
    assert await ask(door, "/codec/encode?preserveStorageRefs=true", payloads[1:]) == as_written[1:]


def _inline(value: Any) -> Payload:
    from temporalio.converter import DataConverter

    [payload] = DataConverter.default.payload_converter.to_payloads([value])
    return payload


async def test_the_browser_is_told_which_pages_may_ask(door: Door) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-namespace"}
    answer = await door.http.options("/codec/decode", headers={"Origin": UI} | asked)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == UI
    answer = await door.http.options("/codec/decode", headers={"Origin": "https://evil.example"} | asked)
    assert answer.status_code == 400
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "content", [b"", b"payloads", b'{"payloads": 1}', b'{"payloads": [{"data": 1}]}', b"\xff", b"[" * 100_000]
)
async def test_what_is_no_list_of_payloads_is_400(door: Door, content: bytes) -> None:
    answer = await door.http.post("/codec/decode", content=content)
    assert answer.status_code == 400
    assert "payloads" in answer.text


async def test_a_reference_that_leads_nowhere_is_404_in_words(door: Door) -> None:
    [payload, _] = await stored(door)
    for change in ("0" * 64, "../../../../etc/passwd"):
        digest = payload.data.split(b'"sha256":')[1].split(b'"')[1]
        forged = Payload(metadata=payload.metadata, data=payload.data.replace(digest, change.encode()))
        body = MessageToDict(Payloads(payloads=[forged]))
        answer = await door.http.post("/codec/decode", json=body)
        assert answer.status_code == 404
        assert "stored value" in answer.text


async def test_without_a_known_web_ui_there_is_no_such_endpoint(
    temporal: temporalio.client.Client, tmp_path: Path
) -> None:
    async with open_door(temporal, tmp_path, working=False) as closed:
        assert (await closed.http.post("/codec/decode", json={"payloads": []})).status_code == 404


async def test_the_temporal_command_line_shows_stored_values_through_it(door: Door) -> None:
    await door.publish(BIG)
    answer = await door.http.post("/big", json={"text": "y" * 300_000})
    assert answer.status_code == 202
    run_id = answer.json()["run_id"]
    assert len(await door.client.run(run_id).result(30)) == 300_000
    address = door.client.temporal.service_client.config.target_host
    command = ["workflow", "result", "-w", run_id, "--address", address]
    for extra, expected in (([], 0), (["--codec-endpoint", f"{door.http.base_url}/codec"], 300_000)):
        shown = await asyncio.create_subprocess_exec(
            binary("temporal"), *command, *extra, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, error = await shown.communicate()
        assert shown.returncode == 0, error
        assert out.count(b"y") >= expected
        assert (out.count(b"yyyyy") > 0) == (expected > 0)


async def test_bodies_above_what_temporal_carries_start_runs(door: Door) -> None:
    await door.publish(BIG)
    for size in (300_000, 2_500_000):
        answer = await door.http.post("/big", json={"text": "z" * size})
        assert answer.status_code == 202, answer.text
        run = door.client.run(answer.json()["run_id"])
        if size < 1_000_000:
            assert len(await run.result(30)) == size
        info = await run.handle.describe()
        assert info.raw_description.workflow_execution_info.history_size_bytes < 20_000
