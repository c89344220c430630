"""Lists of runs, page by page, over a real Temporal server."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import pytest
import temporalio.client
from tests.integration.gateway.conftest import open_door

from orchestrator.errors import Refused

TURNS = "id: turns\nsteps: [{id: pause, type: wait, config: {duration: 1d}}]\n"
SECONDS = 30


async def test_pages_follow_each_other_and_hold_every_run_once(
    temporal: temporalio.client.Client, tmp_path: Path
) -> None:
    async with open_door(temporal, tmp_path, working=False) as idle:
        await idle.publish(TURNS.replace("turns", "client-paged"))
        started = {(await idle.client.start("client-paged")).id for _ in range(5)}
        async with asyncio.timeout(SECONDS):
            while len(await idle.client.runs("client-paged")) < len(started):
                await asyncio.sleep(0.05)
        listed: list[str] = []
        after: str | None = None
        for size in (2, 2, 1):
            page = await idle.client.runs_page("client-paged", size=2, after=after)
            assert len(page.runs) == size
            listed += [info.id for info in page.runs]
            after = page.next
        assert set(listed) == started and len(listed) == len(started)
        assert after is None or (await idle.client.runs_page("client-paged", size=2, after=after)).runs == []


@pytest.mark.parametrize("after", ["!", "ä", base64.urlsafe_b64encode(b"not a token").decode()])
async def test_a_page_that_was_never_given_out_is_refused(
    temporal: temporalio.client.Client, tmp_path: Path, after: str
) -> None:
    async with open_door(temporal, tmp_path, working=False) as idle:
        with pytest.raises(Refused):
            await idle.client.runs_page(after=after)
        with pytest.raises(Refused, match="there is no run status 'done'"):
            await idle.client.runs_page(status="done")


async def test_what_counts_permits_is_no_run(temporal: temporalio.client.Client, tmp_path: Path) -> None:
    async with open_door(temporal, tmp_path) as door:
        await door.publish(TURNS.replace("turns", "one-by-one") + "concurrency: {limit: 1}\n")
        run = await door.client.start("one-by-one")
        async with asyncio.timeout(SECONDS):
            while "orchestrator.permits" not in {one.workflow_type async for one in temporal.list_workflows(None)}:
                await asyncio.sleep(0.05)
            while not await door.client.runs("one-by-one"):
                await asyncio.sleep(0.05)
        assert "orchestrator.permits" not in {info.flow for info in await door.client.runs(limit=100)}
        await door.client.run(run.id).terminate()
