"""Deleting old values never takes one from a run that Temporal still knows."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import temporalio.client
from tests.engine.harness import Workbench, open_workbench

from orchestrator.errors import Refused
from orchestrator.payloads.converter import carrying
from orchestrator.payloads.folder import FolderDriver
from orchestrator.payloads.retention import folder_of, purge, retention_of
from orchestrator.settings import Settings

DAY = 86_400.0
WAITING = """
id: waiting
steps:
  - {id: big, type: function, config: {handler: grow, params: {bytes: 300000}}}
  - {id: ok, type: human-task, config: {assignee: kim}}
"""


@dataclass
class Shelf:
    bench: Workbench
    temporal: temporalio.client.Client
    folder: FolderDriver

    async def put(self, word: str, age: float) -> str:
        """Store a value that no run refers to; its digest."""
        before = set(self.folder.older_than(time.time() + 60))
        await self.temporal.data_converter.encode([word * 200_000])
        [digest] = set(self.folder.older_than(time.time() + 60)) - before
        self.age(digest, age)
        return digest

    def age(self, digest: str, seconds: float) -> None:
        moment = time.time() - seconds
        os.utime(self.folder.root / digest[:2] / digest[2:4] / digest, (moment, moment))

    def digests(self) -> set[str]:
        return set(self.folder.older_than(time.time() + 60))


@asynccontextmanager
async def open_shelf(temporal: temporalio.client.Client, folder: Path) -> AsyncIterator[Shelf]:
    async with open_workbench(temporal, folder) as bench:
        yield Shelf(bench, bench.temporal, folder_of(bench.temporal))


@pytest.fixture
async def shelf(temporal: temporalio.client.Client, tmp_path: Path) -> AsyncIterator[Shelf]:
    async with open_shelf(temporal, tmp_path) as opened:
        yield opened


async def test_old_values_go_and_young_ones_stay(shelf: Shelf) -> None:
    old, young = await shelf.put("a", 40 * DAY), await shelf.put("b", 20 * DAY)
    counted = await purge(shelf.temporal, shelf.folder, 30 * DAY, pretend=True)
    assert (counted.removed, shelf.digests()) == (1, {old, young})
    done = await purge(shelf.temporal, shelf.folder, 30 * DAY)
    assert (done.removed, done.kept, done.bytes > 200_000) == (1, 0, True)
    assert shelf.digests() == {young}


async def test_a_value_that_is_used_again_is_young(shelf: Shelf) -> None:
    digest = await shelf.put("a", 40 * DAY)
    await shelf.temporal.data_converter.encode(["a" * 200_000])
    assert (await purge(shelf.temporal, shelf.folder, 30 * DAY)).removed == 0
    assert shelf.digests() == {digest}


async def test_values_of_runs_temporal_still_knows_are_kept_however_old(
    own_temporal_server: tuple[subprocess.Popen[bytes], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A server of its own: told to look forty days back, a purge reads the history of every run there is.
    temporal = await temporalio.client.Client.connect(own_temporal_server[1])
    async with open_shelf(temporal, tmp_path) as shelf:
        handle = await shelf.bench.start(WAITING)
        await shelf.bench.waiting(handle, "ok")
        [needed] = shelf.digests()
        other = await shelf.put("a", 40 * DAY)
        shelf.age(needed, 40 * DAY)
        # The run is young: told to look at runs that started until now, as if it had begun forty days ago too.
        monkeypatch.setattr("orchestrator.payloads.retention._MARGIN", 31 * DAY)
        for _ in range(100):
            done = await purge(shelf.temporal, shelf.folder, 30 * DAY, pretend=True)
            if done.kept:
                break
            await asyncio.sleep(0.1)
        done = await purge(shelf.temporal, shelf.folder, 30 * DAY)
        assert (done.removed, done.kept) == (1, 1)
        assert shelf.digests() == {needed} != {other}
        await handle.signal("ok", {"decision": "approve"})
        await asyncio.wait_for(handle.result(), 30)


async def test_an_age_below_the_retention_of_temporal_is_refused(shelf: Shelf) -> None:
    retention = await retention_of(shelf.temporal)
    with pytest.raises(Refused, match="Temporal keeps finished runs"):
        await purge(shelf.temporal, shelf.folder, retention - 1)


async def test_a_value_stored_while_it_is_deleted_stays(shelf: Shelf) -> None:
    digest = await shelf.put("a", 40 * DAY)
    before = time.time() - 30 * DAY
    # Touched after the purge had listed it as old.
    shelf.age(digest, 0)
    assert shelf.folder.remove(digest, before) == 0
    assert shelf.digests() == {digest}


async def test_what_a_killed_process_left_is_tidied(shelf: Shelf) -> None:
    digest = await shelf.put("a", 40 * DAY)
    file = shelf.folder.root / digest[:2] / digest[2:4] / digest
    part = file.with_name(f"{digest}.0123abcd.part")
    part.write_bytes(b"half")
    os.utime(part, (1, 1))
    file.rename(file.with_name(f"{digest}.going"))
    shelf.folder.tidy(time.time() - 30 * DAY)
    assert shelf.digests() == {digest}
    assert not part.is_file()


async def test_only_files_are_deleted_here(temporal: temporalio.client.Client, tmp_path: Path) -> None:
    settings = Settings(project_dir=tmp_path, payloads="s3://values?endpoint=http://127.0.0.1:1&region=us-east-1")
    bucket = carrying(temporal, settings)
    with pytest.raises(Refused, match="lifecycle"):
        folder_of(bucket)
    (settings.state / "objects").mkdir(parents=True)
    assert folder_of(bucket).root == settings.state / "objects"
