"""The file step on real folders."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from orchestrator.errors import TerminalError
from orchestrator.settings import Settings
from orchestrator.spec.acts.file import FileConfig
from orchestrator.steps.data.file import LIMIT, read_bytes, run

from .conftest import MakeContext


def file(operation: str, path: str, **config: Any) -> FileConfig:
    return FileConfig.model_validate({"operation": operation, "path": path, **config})


def _names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


async def test_what_is_written_is_read_back(make_context: MakeContext, data: Path) -> None:
    context = make_context()
    written = await run(file("write", "data/deep/er/a.txt", content="안녕\n"), context)
    digest = hashlib.sha256("안녕\n".encode()).hexdigest()
    assert written == {"path": "data/deep/er/a.txt", "size": 7, "sha256": digest}
    read = await run(file("read", "data/deep/er/a.txt"), context)
    assert (read["content"], read["size"], read["sha256"]) == ("안녕\n", 7, digest)
    assert read["modified"].endswith("Z")


@pytest.mark.parametrize(
    ("content", "encoding", "stored"),
    [
        ({"a": [1, "자"]}, "utf-8", '{"a": [1, "자"]}'.encode()),
        (None, "utf-8", b"null"),
        ("한", "euc-kr", "한".encode("euc-kr")),
        (base64.b64encode(b"\x00\xff").decode(), "base64", b"\x00\xff"),
    ],
)
async def test_content_is_stored_in_its_encoding(
    make_context: MakeContext, data: Path, content: Any, encoding: str, stored: bytes
) -> None:
    await run(file("write", "data/x", content=content, encoding=encoding), make_context())
    assert (data / "x").read_bytes() == stored
    read = await run(file("read", "data/x", encoding=encoding), make_context())
    assert read["content"] == (content if isinstance(content, str) else stored.decode())


async def test_writing_twice_leaves_one_whole_file_and_its_permissions(make_context: MakeContext, data: Path) -> None:
    for _ in range(2):
        await run(file("write", "data/x", content="same"), make_context())
    (data / "x").chmod(0o600)
    await run(file("write", "data/x", content="other"), make_context())
    assert _names(data) == ["x"]
    assert (data / "x").read_text() == "other"
    assert (data / "x").stat().st_mode & 0o777 == 0o600


async def test_readers_never_see_a_half_written_file(make_context: MakeContext, data: Path) -> None:
    context = make_context()
    small, large = "a" * 10, "b" * 2_000_000
    await run(file("write", "data/x", content=small), context)
    seen = set()

    async def watch() -> None:
        while True:
            seen.add(len((data / "x").read_bytes()))
            await asyncio.sleep(0)

    watching = asyncio.create_task(watch())
    for content in (large, small, large, small):
        await run(file("write", "data/x", content=content), context)
    watching.cancel()
    assert seen <= {len(small), len(large)}


async def test_appended_lines_do_not_mix(make_context: MakeContext, data: Path) -> None:
    lines = [f"{number:03}" * 2000 + "\n" for number in range(30)]
    context = make_context()
    await asyncio.gather(*(run(file("append", "data/log", content=line), context) for line in lines))
    assert sorted((data / "log").read_text().splitlines(keepends=True)) == lines


async def test_list_shows_entries_by_name_with_their_facts(make_context: MakeContext, data: Path) -> None:
    (data / "b.txt").write_text("12345")
    (data / "a").mkdir()
    (data / "c").symlink_to("/etc")
    output = await run(file("list", "data"), make_context())
    assert output["path"] == "data"
    assert [(entry["name"], entry["path"], entry["type"]) for entry in output["entries"]] == [
        ("a", "data/a", "folder"),
        ("b.txt", "data/b.txt", "file"),
        ("c", "data/c", "link"),
    ]
    assert output["entries"][1]["size"] == 5


async def test_move_may_run_again_after_it_was_done(make_context: MakeContext, data: Path) -> None:
    (data / "in").write_text("x")
    config = file("move", "data/in", to="data/done/in")
    assert await run(config, make_context()) == {"path": "data/in", "to": "data/done/in"}
    assert (data / "done" / "in").read_text() == "x"
    assert await run(config, make_context(attempt=2)) == {"path": "data/in", "to": "data/done/in"}
    with pytest.raises(TerminalError) as caught:
        await run(config, make_context())
    assert caught.value.type == "not_found"


async def test_delete_says_whether_something_was_there(make_context: MakeContext, data: Path) -> None:
    (data / "x").write_text("x")
    assert await run(file("delete", "data/x"), make_context()) == {"path": "data/x", "deleted": True}
    assert await run(file("delete", "data/x"), make_context()) == {"path": "data/x", "deleted": False}


async def test_stat_does_not_fail_where_nothing_is(make_context: MakeContext, data: Path) -> None:
    assert await run(file("stat", "data/x"), make_context()) == {"path": "data/x", "exists": False}
    (data / "x").write_text("123")
    found = await run(file("stat", "data/x"), make_context())
    assert (found["exists"], found["type"], found["size"]) == (True, "file", 3)


@pytest.mark.parametrize(
    "path",
    ["../secret", "data/../../secret", "/etc/passwd", "secret", "data/out", "data/out/passwd", "data/\0x", "", "~/x"],
)
@pytest.mark.parametrize("operation", ["read", "write", "append", "list", "move", "delete", "stat"])
async def test_no_operation_leaves_the_file_roots(
    make_context: MakeContext, data: Path, tmp_path: Path, operation: str, path: str
) -> None:
    outside = tmp_path / "secret"
    outside.write_text("keep out")
    (data / "out").symlink_to("/etc")
    extra = {"content": "x"} if operation in ("write", "append") else {"to": "data/y"} if operation == "move" else {}
    with pytest.raises(TerminalError) as caught:
        await run(file(operation, path, **extra), make_context())
    assert caught.value.type in ("path_refused", "invalid_config")
    assert outside.read_text() == "keep out"


async def test_a_move_does_not_leave_the_roots_either(make_context: MakeContext, data: Path) -> None:
    (data / "x").write_text("x")
    for to in ("../x", "/tmp/x-moved", "data"):
        with pytest.raises(TerminalError):
            await run(file("move", "data/x", to=to), make_context())
    assert (data / "x").exists()


async def test_the_refusal_names_the_roots_and_the_variable(make_context: MakeContext, data: Path) -> None:
    with pytest.raises(TerminalError, match=r"'data/'.*ORCHESTRATOR_FILE_ROOTS"):
        await run(file("read", "report.csv"), make_context())


async def test_absolute_paths_and_several_roots_are_fine_inside(
    make_context: MakeContext, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "x").write_text("there")
    context = make_context(settings={"file_roots": (Path("data"), other)})
    output = await run(file("read", str(other / "x")), context)
    assert (output["content"], output["path"]) == ("there", str(other / "x"))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(st.sampled_from(["..", ".", "data", "a", "/", "//", "out", "loop", "~"]), max_size=8))
async def test_no_spelling_of_a_path_reads_outside(data: Path, tmp_path: Path, parts: list[str]) -> None:
    for link, target in [("out", tmp_path.parent), ("loop", data / "loop")]:
        if not (data / link).is_symlink():
            (data / link).symlink_to(target)
    try:
        found, _ = await read_bytes("/".join(parts), Settings(project_dir=tmp_path))
    except TerminalError:
        return
    assert found.is_relative_to(data)


async def test_a_missing_file_and_a_folder_are_said_plainly(make_context: MakeContext, data: Path) -> None:
    for path, type_ in [("data/none", "not_found"), ("data", "file_error")]:
        with pytest.raises(TerminalError) as caught:
            await run(file("read", path), make_context())
        assert caught.value.type == type_


async def test_text_in_another_encoding_is_an_error_not_garbage(make_context: MakeContext, data: Path) -> None:
    (data / "x").write_bytes(b"ok\xff")
    with pytest.raises(TerminalError, match=r"not utf-8 text \(byte 2\).*base64"):
        await run(file("read", "data/x"), make_context())
    with pytest.raises(TerminalError, match="cannot be base64"):
        await run(file("write", "data/x", content="not base64!", encoding="base64"), make_context())


async def test_a_file_over_the_limit_is_refused(make_context: MakeContext, data: Path) -> None:
    (data / "x").touch()
    os.truncate(data / "x", LIMIT + 1)
    with pytest.raises(TerminalError) as caught:
        await run(file("read", "data/x"), make_context())
    assert caught.value.type == "payload_too_large"
    with pytest.raises(TerminalError) as caught:
        await run(file("write", "data/y", content="y" * (LIMIT + 1)), make_context())
    assert caught.value.type == "payload_too_large"
    assert not (data / "y").exists()


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"operation": "write"}, "write needs content"),
        ({"operation": "read", "content": "x"}, "read takes no content"),
        ({"operation": "move"}, "move needs 'to'"),
        ({"operation": "read", "to": "x"}, "only move takes 'to'"),
        ({"operation": "read", "encoding": "klingon"}, "no text encoding"),
        ({"operation": "read", "encoding": "rot13"}, "no text encoding"),
        ({"operation": "copy"}, "'read', 'write'"),
    ],
)
def test_a_config_that_cannot_work_is_refused_with_the_reason(config: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        FileConfig.model_validate({"path": "data/x", **config})
