"""Files: appearing in a watched folder or uploaded, they start one run for each content."""

from __future__ import annotations

import asyncio
import errno
import hashlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import temporalio.client
from tests.integration.gateway.conftest import Door, open_door

from orchestrator.client import RunFailed
from orchestrator.dispatch import files as watching
from orchestrator.dispatch.files import FolderWatcher
from orchestrator.store.files import SeenFile

IMPORT = """
id: import-orders
version: {version}
triggers:
  - {{type: file, id: incoming, path: data/in, pattern: "{pattern}", settle: {settle}, after: {after}{more}}}
inputs: {{file: {{type: object}}, fail: {{type: boolean, default: false}}}}
steps:
  - {{id: read, type: file, config: {{operation: read, path: "{{{{ inputs.file.ref }}}}"}}}}
  - {{id: check, if: "{{{{ steps.read.output.content }}}} == 'broken'", type: fail, config: {{type: broken, message: no}}}}
output: {{text: "{{{{ steps.read.output.content }}}}", file: "{{{{ trigger.file }}}}"}}
"""


def flow(version: int = 1, pattern: str = "*.csv", settle: str = "100ms", after: str = "keep", more: str = "") -> str:
    return IMPORT.format(version=version, pattern=pattern, settle=settle, after=after, more=more)


@pytest.fixture
async def door(temporal: temporalio.client.Client, tmp_path: Path) -> AsyncIterator[Door]:
    (tmp_path / "data" / "in").mkdir(parents=True)
    async with open_door(temporal, tmp_path) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "in"


async def seen(door: Door, fits: Callable[[list[SeenFile]], bool]) -> list[SeenFile]:
    """What the flow's trigger has seen, once it is as it should be; oldest first."""
    found: list[SeenFile] = []
    for _ in range(200):
        found = sorted(await door.store.files.list("import-orders"), key=lambda one: one.path)
        if fits(found):
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(found)


def with_runs(count: int) -> Callable[[list[SeenFile]], bool]:
    return lambda found: len([one for one in found if one.run_id]) == count


async def gone(path: Path) -> None:
    for _ in range(200):
        if not await asyncio.to_thread(path.exists):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{path} is still there")


async def test_a_file_that_appears_starts_a_run_that_can_read_it(door: Door, folder: Path) -> None:
    await door.publish(flow())
    (folder / "주문.csv").write_text("a;b")
    (folder / "notes.txt").write_text("not asked for")
    (folder / ".hidden.csv").write_text("neither")
    [one] = await seen(door, with_runs(1))
    output = await door.client.run(str(one.run_id)).result(20)
    assert output["text"] == "a;b"
    assert output["file"] == {
        "name": "주문.csv",
        "path": "data/in/주문.csv",
        "size": 3,
        "sha256": hashlib.sha256(b"a;b").hexdigest(),
        "content_type": "text/csv",
        "ref": "data/in/주문.csv",
    }


async def test_the_same_content_starts_one_run_whatever_its_name_and_however_often_gateways_start(
    door: Door, folder: Path
) -> None:
    await door.publish(flow())
    (folder / "one.csv").write_text("same")
    [first] = await seen(door, with_runs(1))
    (folder / "two.csv").write_text("same")
    watcher = FolderWatcher(door.client)
    for _ in range(3):
        await watcher.turn()
    [still] = await door.store.files.list("import-orders")
    assert still.run_id == first.run_id
    (folder / "one.csv").write_text("other")
    found = await seen(door, with_runs(2))
    assert first.run_id in [one.run_id for one in found]


async def test_a_file_that_is_still_written_is_left_until_it_rests(door: Door, folder: Path) -> None:
    await door.publish(flow(settle="1s"))
    path = folder / "large.csv"
    for number in range(6):
        with path.open("a") as file:
            file.write(f"{number}\n")
        await asyncio.sleep(0.3)
        assert await door.store.files.list("import-orders") == []
    [one] = await seen(door, with_runs(1))
    assert (await door.client.run(str(one.run_id)).result(20))["text"] == "0\n1\n2\n3\n4\n5\n"


async def test_files_are_moved_away_when_their_run_has_completed_and_not_before(door: Door, folder: Path) -> None:
    await door.publish(flow(after="{move: data/in/done}"))
    (folder / "done").mkdir()
    (folder / "done" / "good.csv").write_text("of yesterday")
    (folder / "good.csv").write_text("fine")
    (folder / "bad.csv").write_text("broken")
    found = await seen(door, with_runs(2))
    await gone(folder / "good.csv")
    assert (folder / "done" / "good-1.csv").read_text() == "fine"
    assert (folder / "done" / "good.csv").read_text() == "of yesterday"
    failed = door.client.run(str(found[0].run_id))
    assert (await failed.info()).status == "failed"
    assert (folder / "bad.csv").exists()


async def test_a_file_goes_when_a_retry_of_its_run_has_completed(door: Door, folder: Path) -> None:
    await door.publish(flow(after="delete"))
    (folder / "bad.csv").write_text("broken")
    [one] = await seen(door, with_runs(1))
    run = door.client.run(str(one.run_id))
    with pytest.raises(RunFailed):
        await run.result(20)
    await door.client.retry(run.id, pins={"check": None})
    await gone(folder / "bad.csv")


async def test_two_flows_may_watch_one_folder_and_many_files_come_at_once(
    door: Door, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than one look sees to, and those that come first cannot be read."""
    monkeypatch.setattr(watching, "AT_A_LOOK", 3)
    digest = watching._digest

    def mostly(path: Path) -> str:
        if path.name.startswith("!"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return digest(path)

    monkeypatch.setattr(watching, "_digest", mostly)
    for number in range(4):
        (folder / f"!{number}.csv").write_text("unreadable")
    await door.publish(flow(after="delete"))
    await door.publish(flow().replace("import-orders", "count-orders"))
    for number in range(20):
        (folder / f"{number}.csv").write_text(str(number))
    found = await seen(door, with_runs(20))
    assert len({one.run_id for one in found}) == 20
    for number in range(20):
        await gone(folder / f"{number}.csv")
    assert {one.flow for one in await door.store.files.list("count-orders")} <= {"count-orders"}


async def test_files_are_deleted_when_their_run_has_completed(door: Door, folder: Path) -> None:
    await door.publish(flow(after="delete", pattern="**/*.csv"))
    (folder / "below").mkdir()
    (folder / "below" / "a.csv").write_text("a")
    await seen(door, with_runs(1))
    await gone(folder / "below" / "a.csv")


async def test_a_file_whose_run_is_refused_is_told_and_tried_again_with_the_next_version(
    door: Door, folder: Path
) -> None:
    await door.publish(flow(more=', inputs: {file: "{{ trigger.file.name }}"}'))
    (folder / "a.csv").write_text("a")
    [one] = await seen(door, lambda found: bool(found and found[0].problem))
    assert (one.run_id, str(one.problem).split(":")[0]) == (None, "invalid_inputs")
    listed = (await door.http.get("/v1/flows/import-orders/files")).json()["files"]
    assert [(one["path"], one["run_id"]) for one in listed] == [("data/in/a.csv", None)]
    await door.publish(flow(2))
    [one] = await seen(door, with_runs(1))
    assert one.problem is None


async def test_a_condition_leaves_files_out_and_a_key_of_its_own_decides_what_is_the_same(
    door: Door, folder: Path
) -> None:
    await door.publish(flow(more=', if: "{{ trigger.file.size }} > 2", idempotency_key: "{{ trigger.file.name }}"'))
    (folder / "tiny.csv").write_text("x")
    (folder / "a.csv").write_text("first")
    (folder / "b.csv").write_text("first")
    found = await seen(door, with_runs(2))
    assert [one.path for one in found] == ["data/in/a.csv", "data/in/b.csv"]


@pytest.mark.parametrize("path", ["../outside", "/etc", "data/missing"])
async def test_a_folder_that_may_not_be_watched_or_is_not_there_is_told_and_nothing_starts(
    door: Door, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    await door.publish(flow().replace("data/in", path))
    await FolderWatcher(door.client).turn()
    assert f"the folder '{path}' of flow 'import-orders' is not watched" in caplog.text
    assert await door.store.files.list("import-orders") == []


async def test_a_link_that_leads_out_of_the_folder_is_not_followed(door: Door, folder: Path, tmp_path: Path) -> None:
    await door.publish(flow())
    (tmp_path / "secret.csv").write_text("secret")
    (folder / "link.csv").symlink_to(tmp_path / "secret.csv")
    (folder / "real.csv").write_text("real")
    found = await seen(door, with_runs(1))
    assert [one.path for one in found] == ["data/in/real.csv"]


async def test_an_upload_starts_a_run_that_reads_it_from_the_store_and_the_same_one_answers_the_same(
    door: Door,
) -> None:
    await door.publish(flow())
    sent: list[Any] = [
        await door.http.post("/v1/flows/import-orders/files", files={"file": ("x.csv", b"up", "text/csv")}),
        await door.http.post(
            "/v1/flows/import-orders/files?name=y.csv", content=b"up", headers={"content-type": "text/csv"}
        ),
    ]
    assert [answer.status_code for answer in sent] == [202, 202]
    assert sent[0].json() == sent[1].json()
    output = await door.client.run(sent[0].json()["run_id"]).result(20)
    assert (output["text"], output["file"]["name"]) == ("up", "x.csv")
    assert output["file"]["ref"].startswith("upload:")


@pytest.mark.parametrize(
    ("path", "content", "status", "said"),
    [
        ("nobody/files", b"x", 404, "there is no flow 'nobody'"),
        ("import-orders/files?trigger=other", b"x", 404, "has no file trigger 'other'; there is: 'incoming'"),
        ("import-orders/files", b"", 400, "there is no file"),
        ("import-orders/files", b"x" * 1_000_001, 413, "larger than"),
    ],
)
async def test_an_upload_that_nobody_can_take_is_refused_in_words(
    idle: Door, path: str, content: bytes, status: int, said: str
) -> None:
    await idle.publish(flow())
    answer = await idle.http.post(f"/v1/flows/{path}", content=content)
    assert (answer.status_code, said in answer.text) == (status, True), answer.text


async def test_a_file_that_was_seen_but_has_no_run_yet_gets_one(door: Door, folder: Path) -> None:
    """The gateway was killed between noting the file and starting its run."""
    digest = hashlib.sha256(b"left").hexdigest()
    await door.store.files.see("import-orders", "incoming", digest, path="data/in/a.csv", size=4, sha256=digest)
    (folder / "a.csv").write_text("left")
    await door.publish(flow())
    [one] = await seen(door, with_runs(1))
    assert one.path == "data/in/a.csv"
