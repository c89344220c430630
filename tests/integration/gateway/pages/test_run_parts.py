"""What the page of a run looks up besides the run's own state: slices of large loops, and what steps were sent."""

from __future__ import annotations

import asyncio
import html
import re
from pathlib import Path

import pytest
import temporalio.client
from tests.integration.gateway.conftest import Door, open_door
from tests.integration.gateway.pages.test_run import page_of, row

from orchestrator.client import RunFailed
from orchestrator.gateway.pages import run_sent

SECONDS = 60
MANY = """
id: page-sliced
inputs: {count: integer}
steps:
  - id: each
    type: for-each
    config:
      items: "{{ inputs.count }}"
      concurrency: 20
      collect: none
      steps:
        - {id: double, type: transform, config: {value: "{{ item * 2 }}"}}
        - {id: sold, if: "{{ item == 1042 }}", type: fail, config: {type: sold_out, message: "no {{ item }}"}}
  - {id: last, type: transform, config: {value: done}}
"""
SENDING = """
id: page-sending
inputs: {name: string}
steps:
  - {id: note, type: file, config: {operation: write, path: "data/{{ inputs.name }}.txt",
     content: {to: "Dear {{ inputs.name }}", key: "{{ secrets.PAGE_KEY }}", text: "a {{ secrets.PAGE_KEY }} b"}}}
  - {id: shape, type: transform, config: {value: "Hello {{ inputs.name }}"}}
  - id: quick
    type: block
    defaults: {durability: express, timeout: 2s}
    config: {steps: [{id: swift, type: file, config: {operation: stat, path: "data/{{ inputs.name }}.txt"}}]}
  - {id: large, type: file, config: {operation: write, path: data/large.txt, content: "{{ range(30000) }}"}}
"""


def details(page: str, path: str) -> str:
    """What a row of the page says below its first line, as text."""
    return html.unescape(row(page, path))


async def test_a_loop_over_many_items_shows_the_runs_of_its_slices_and_leads_into_them(door: Door) -> None:
    await door.publish(MANY)
    run = await door.client.start("page-sliced", {"count": 1100})
    with pytest.raises(RunFailed):
        await run.result(SECONDS)
    spans = ("Items 1 to 500", "Items 501 to 1000", "Items 1001 to 1100")
    page = ""
    async with asyncio.timeout(SECONDS):
        # Temporal's list lags behind: until every slice is there, and the failed one as failed.
        while not all(f"{one}</a>" in page for one in spans) or row(page, "each").count("chip bad") < 3:
            page = await page_of(door, run.id)
            await asyncio.sleep(0.05)
    assert "Not reached: last" in page and "double" not in page[page.index("Not reached:") :]
    way = re.search(r'At step <a href="([^"]+)">each\[1042\]/sold</a>', page)
    assert way is not None and way[1].startswith(f"/runs/{run.id}:each[1000-1099]?at=")
    inside = (await door.http.get(html.unescape(way[1]).partition("#")[0])).text
    assert "sold_out" in row(inside, "each[1042]/sold") and "1001 to 1100 of 1100" in inside
    assert f'<a href="/runs/{run.id}">{run.id}</a>' in inside and "Not reached" not in inside
    assert "go on from the run it is a part of" in inside and 'value="retry"' not in inside


async def test_a_row_tells_what_its_step_was_really_sent_with_secrets_by_name(
    temporal: temporalio.client.Client, tmp_path: Path
) -> None:
    async with open_door(temporal, tmp_path, secrets={"PAGE_KEY": "hush-hush-hush"}) as door:
        await door.publish(SENDING)
        run = await door.client.start("page-sending", {"name": "Ada"})
        await run.result(SECONDS)
        page = await page_of(door, run.id)
        large = re.search(r'<a href="([^"]+)">Look up what was really sent', details(page, "large"))
        assert large is not None, "a value that is stored elsewhere is not fetched for every look"
        found = (await door.http.get(large[1].partition("#")[0])).text
    note = details(page, "note")
    assert "What was sent" in note and "path: data/Ada.txt" in note and "to: Dear Ada" in note
    assert "text: a {{ secrets.PAGE_KEY }} b" in note and "hush-hush" not in page
    assert "content:" in note.split("Config, as written")[1] and "{{ inputs.name }}" in note
    shape = details(page, "shape")
    assert "nothing is sent" in shape and "Hello {{ inputs.name }}" in shape and "What was sent" not in shape
    assert "is not recorded" in details(page, "quick/swift")
    assert "<details open>" in row(found, "large") and "- 1\n- 2\n- 3\n" in row(found, "large")


async def test_of_a_long_history_only_the_beginning_is_read_until_somebody_asks(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = "".join(
        f"  - {{id: s{number}, type: file, config: {{operation: stat, path: 'data/{{{{ run.id }}}}-{number}'}}}}\n"
        for number in range(8)
    )
    await door.publish(f"id: page-history\nsteps:\n{steps}")
    run = await door.client.start("page-history")
    await run.result(SECONDS)
    monkeypatch.setattr(run_sent, "AT_A_GLANCE", 12)
    monkeypatch.setattr(run_sent, "_PAGE", 5)
    page = await page_of(door, run.id)
    assert f"path: data/{run.id}-0" in row(page, "s0") and f"path: data/{run.id}-7" not in page
    asked = (await door.http.get(f"/runs/{run.id}?sent=1&at=s7")).text
    assert f"path: data/{run.id}-7" in row(asked, "s7")
    assert (await door.http.get(f"/runs/{run.id}?sent=1&at=nowhere")).status_code == 200
