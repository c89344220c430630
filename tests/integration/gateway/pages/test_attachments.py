"""What is attached to a task: opened and downloaded from its page and from a link, and nothing else is."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

import httpx
import pytest
from tests.integration.gateway.conftest import Door

from orchestrator.gateway.pages.attachments import attachments_of, file_of
from orchestrator.store.tasks import NewTask, Task

INVOICE = """
id: attached
triggers: [{type: webhook, path: /attached}]
steps:
  - {id: write, type: file, config: {operation: write, path: data/report.html, content: "<script>alert(1)</script>"}}
  - id: check
    type: human-task
    config:
      assignee: kim
      attachments:
        - {name: invoice, value: "{{ trigger.files.invoice }}"}
        - {name: report, value: "{{ steps.write.output }}"}
        - {name: note, value: "see <b>it</b>"}
        - {name: order, value: {id: 7, scan: "{{ trigger.files.logo.ref }}"}}
"""
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(2)</script></svg>"
LARGE = bytes(range(256)) * 3000


async def attached(door: Door, **values: Any) -> str:
    """The page of an open task with these attachments."""
    given = [{"name": name, "value": value} for name, value in values.items()]
    task = NewTask(f"run-{uuid4().hex[:8]}", "attached", "check", "check", assignee="kim", attachments=given)
    return f"/inbox/{(await door.store.tasks.open(task)).id}"


async def upload(door: Door, content: bytes, name: str) -> dict[str, Any]:
    """The record of a file that came with a delivery."""
    return {"ref": await door.store.uploads.put(content, name), "name": name, "size": len(content)}


def ways(page: httpx.Response) -> dict[str, list[str]]:
    """What can be opened or downloaded on a page: addresses by the name of the file."""
    found: dict[str, list[str]] = {}
    for address, name in re.findall(
        r'<a href="(\?file=[^"]+)"[^>]*>\w+<span class="hidden"> ([^<]*)</span>', page.text
    ):
        found.setdefault(name, []).append(address.replace("&amp;", "&"))
    return found


def is_harmless(answer: httpx.Response) -> bool:
    """Whether a browser runs nothing of it in our origin, whatever it is."""
    policy = answer.headers["content-security-policy"]
    return "sandbox" in policy and "script" not in policy and answer.headers["x-content-type-options"] == "nosniff"


async def test_files_and_values_of_a_task_are_downloaded_from_its_page_and_from_a_link(door: Door) -> None:
    await door.publish(INVOICE)
    files: Any = {
        "invoice": ("청구서 7.pdf", b"%PDF-1.4 it", "application/pdf"),
        "logo": ("logo.svg", SVG, "image/svg+xml"),
    }
    run_id = (await door.http.post("/attached", files=files)).json()["run_id"]
    task = await door.waiting_task(run_id)
    made = (await door.http.post(f"/v1/tasks/{task['id']}/links", json={"person": "lee"})).json()["links"]
    for address in (f"/inbox/{task['id']}", urlsplit(made[0]["url"]).path):
        page = await door.http.get(address)
        offered = ways(page)
        assert list(offered) == ["청구서 7.pdf", "report.html", "note.txt", "order.json", "logo.svg"]
        got = {name: await door.http.get(address + ways[-1]) for name, ways in offered.items()}
        assert {name: answer.status_code for name, answer in got.items()} == dict.fromkeys(offered, 200)
        assert all(is_harmless(answer) for answer in got.values())
        assert all(answer.headers["content-disposition"].startswith("attachment; ") for answer in got.values())
        invoice = got["청구서 7.pdf"]
        assert (invoice.content, invoice.headers["content-type"]) == (b"%PDF-1.4 it", "application/pdf")
        assert invoice.headers["content-disposition"].endswith(f"filename*=UTF-8''{quote('청구서 7.pdf')}")
        assert got["report.html"].text == "<script>alert(1)</script>" and len(offered["report.html"]) == 1
        assert (got["logo.svg"].content, got["logo.svg"].headers["content-type"]) == (SVG, "image/svg+xml")
        assert got["order.json"].json()["id"] == 7
        opened = await door.http.get(address + offered["note.txt"][0])
        assert (opened.text, opened.headers["content-type"]) == ("see <b>it</b>", "text/plain; charset=utf-8")
        assert opened.headers["content-disposition"].startswith("inline; ") and is_harmless(opened)


async def test_only_what_a_task_holds_is_given_out(idle: Door) -> None:
    other = await attached(idle, paper=await upload(idle, b"of another task", "other.txt"))
    kept = (await idle.http.get(f"{other}?file=0")).status_code
    page = await attached(idle, paper=await upload(idle, LARGE, "large.bin"))
    answer = await idle.http.get(f"{page}?file=0")
    assert (kept, answer.content, int(answer.headers["content-length"])) == (200, LARGE, len(LARGE))
    reference = (await upload(idle, b"of another task", "other.txt"))["ref"]
    for number in ("1", "-1", "00", "x", "", "9" * 5000, reference, "../0"):
        refused = await idle.http.get(page, params={"file": number})
        assert (refused.status_code, "There is nothing here" in refused.text) == (404, True), number
    assert (await idle.http.get("/v1/task-links/made-up?file=0")).status_code == 404


async def test_a_path_is_given_out_only_inside_the_folders_and_with_its_digest(idle: Door) -> None:
    data = idle.settings.project_dir / "data"
    data.mkdir()
    (data / "in.csv").write_bytes(b"a;b\n")
    (idle.settings.project_dir / "secret.txt").write_bytes(b"a;b\n")
    (data / "way-out").symlink_to(idle.settings.project_dir / "secret.txt")
    digest = hashlib.sha256(b"a;b\n").hexdigest()

    def record(path: str, sha256: str = digest) -> dict[str, Any]:
        return {"name": "in.csv", "path": path, "ref": path, "sha256": sha256, "size": 4}

    page = await attached(
        idle,
        fine=record("data/in.csv"),
        outside=record("secret.txt"),
        linked=record("data/way-out"),
        above=record("data/../secret.txt"),
        absolute=record(str(idle.settings.project_dir / "secret.txt")),
        unknown=record("data/in.csv", "0" * 64),
        guessed={"path": "data/in.csv"},
    )
    answers = [await idle.http.get(f"{page}?file={number}") for number in range(6)]
    assert [answer.status_code for answer in answers] == [200, 404, 404, 404, 404, 410]
    assert answers[0].content == b"a;b\n"
    assert "in.csv" not in ways(await idle.http.get(page)).get("guessed.json", [])
    assert (await idle.http.get(f"{page}?file=6")).json() == {"path": "data/in.csv"}, "told, and not given out"


async def test_a_file_that_is_gone_or_was_changed_is_told_in_words(idle: Door) -> None:
    data = idle.settings.project_dir / "data"
    data.mkdir()
    digest = hashlib.sha256(b"before").hexdigest()
    page = await attached(
        idle,
        expired={"ref": f"upload:{'0' * 64}/old.pdf", "name": "old.pdf"},
        moved={"path": "data/moved.csv", "sha256": digest},
        changed={"path": "data/changed.csv", "sha256": digest},
        folder={"path": "data", "sha256": digest},
    )
    (data / "changed.csv").write_bytes(b"after")
    for number, words in enumerate(("kept for 90 days", "moved or deleted", "changed since", "moved or deleted")):
        gone = await idle.http.get(f"{page}?file={number}", headers={"accept-language": "ko"})
        assert (gone.status_code, gone.headers["content-type"][:9]) == (410, "text/html")
        assert "더 이상 여기에 없습니다" in gone.text and words in gone.text


def task_of(value: Any) -> Task:
    """A task with one attachment; only that is looked at."""
    task = object.__new__(Task)
    object.__setattr__(task, "attachments", [{"name": "a/b", "value": value}])
    return task


ONES = "upload:" + "1" * 64


@pytest.mark.parametrize(
    ("value", "files", "is_shown"),
    [
        ("upload:no/x", 0, True),
        (f"{ONES}/x", 1, False),
        ({"ref": f"{ONES}/../../x.html", "name": 7, "content_type": "a\r\nb"}, 0, True),
        ({"ref": f"{ONES}/x", "name": 'a"\r\n;.html', "size": -1, "content_type": "text/html\r\nX: y"}, 1, False),
        ({"ref": f"{ONES}/x", "size": True, "verdict": "looks fine"}, 1, True),
        ([{"ref": ONES}] * 3, 3, False),
        ({"one": ONES, "other": {"ref": ONES}}, 2, False),
        ({"a": [{"b": f"{ONES}/x"}]}, 1, True),
        ([ONES] * 500, 100, True),
        (json.loads("[" * 60 + f'"{ONES}"' + "]" * 60), 0, True),
        ({"path": "x", "sha256": "A" * 64}, 0, True),
        ({}, 0, True),
    ],
)
def test_odd_values_are_values(value: Any, files: int, is_shown: bool) -> None:
    [one] = attachments_of(task_of(value))
    assert (len(one.files), one.value is not None) == (files, is_shown)
    for file in one.files:
        assert re.fullmatch(r"[\w.+-]+/[\w.+-]+", file.kind) and '"' not in file.name and "\n" not in file.name
        assert file.size is None and file_of(task_of(value), str(file.number)) == file
    if one.whole is not None:
        assert one.whole.name.startswith("b.") and file_of(task_of(value), "0") == one.whole
