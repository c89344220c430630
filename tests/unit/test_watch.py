"""Followed files: every change is told once, none is lost, unfinished ones rest first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from orchestrator.devserver.watch import INTERVAL, Changes, look, watch


@asynccontextmanager
async def watching(root: Path, change_first: Callable[[], object] = lambda: None) -> AsyncIterator[list[list[str]]]:
    """What is told while the body runs; ``change_first`` happens between the first look and the watch."""
    told: list[list[str]] = []

    async def changed(files: list[Path]) -> None:
        told.append([str(file.relative_to(root)) for file in files])

    known, stop = look(root), asyncio.Event()
    change_first()
    task = asyncio.create_task(watch(root, known, changed, stop))
    yield told
    stop.set()
    await task


async def until(told: list[list[str]], count: int) -> None:
    async with asyncio.timeout(30):
        while len(told) < count:
            await asyncio.sleep(0.01)


async def test_written_and_deleted_files_are_told_and_others_are_not(tmp_path: Path) -> None:
    flows = tmp_path / "workflows"
    async with watching(tmp_path) as told:
        flows.mkdir()
        (flows / "a.yaml").write_text("id: a")
        (flows / "notes.txt").write_text("not a flow")
        (tmp_path / "elsewhere.yaml").write_text("not ours")
        await until(told, 1)
        (flows / "a.yaml").unlink()
        (tmp_path / "orchestrator.yaml").write_text("env: {}")
        await until(told, 2)
        await asyncio.sleep(3 * INTERVAL)
    assert told == [["workflows/a.yaml"], ["orchestrator.yaml", "workflows/a.yaml"]]


async def test_a_change_before_the_watch_began_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "activities").mkdir()
    file = tmp_path / "activities" / "late.py"
    async with watching(tmp_path, lambda: file.write_text("x = 1")) as told:
        await until(told, 1)
    assert told == [["activities/late.py"]]


def test_a_file_that_is_still_being_written_is_told_when_it_rests(tmp_path: Path) -> None:
    file = tmp_path / "orchestrator.yaml"
    changes = Changes(look(tmp_path))
    for size in range(3):
        file.write_text("#" * (size + 1))
        assert changes.after(look(tmp_path)) == []
    assert changes.after(look(tmp_path)) == [file]
    assert changes.after(look(tmp_path)) == []
