"""``/runs/{id}``: what a person sees of one run."""

from __future__ import annotations

import asyncio
import html
import re
import subprocess
from collections.abc import AsyncIterator
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
import temporalio.client
from tests.integration.gateway.conftest import Door, open_door
from tests.integration.gateway.pages.conftest import Readers, token_in

from orchestrator.client import RunFailed
from orchestrator.client import run as run_module
from orchestrator.client.run import Attempt

SECONDS = 30
ORDER = """
id: page-order
name: 주문 처리
version: 3
inputs: {plan: string, orders: array}
vars: {seen: 0}
steps:
  - parallel:
      - {id: left, name: "<script>alert(1)</script>", type: transform, config: {value: "</pre><script>alert(2)</script>"}}
      - id: shaky
        type: fail
        config: {type: no_luck, message: "<img src=x onerror=alert(3)>"}
        on_error: [{id: note, type: transform, config: {value: handled}}]
  - {id: big, type: transform, config: {value: "{{ range(9000) }}"}}
  - {id: long, type: transform, config: {value: "{{ range(2000) }}"}}
  - id: each
    type: for-each
    config:
      items: "{{ inputs.orders }}"
      as: order
      steps:
        - {id: check, type: transform, config: {value: "{{ order }}"}}
        - {id: rare, if: "{{ order == 2 }}", type: transform, config: {value: x}}
  - id: decide
    type: condition
    config:
      if: "{{ inputs.plan }} == 'pro'"
      else: [{id: other, type: transform, config: {value: 0}}]
      then: [{id: ask, name: 담당자 확인, type: human-task, config: {assignee: kim, deadline: 24h}}]
  - {id: last, type: transform, config: {value: done}}
"""
PAYMENT = """
id: page-payment
version: 1.0.0
inputs: {amount: integer}
steps:
  - id: money
    type: saga
    config:
      steps:
        - {id: take, type: file, config: {operation: write, path: data/taken.txt, content: "{{ inputs.amount }}"},
           compensate: {id: give-back, type: file, config: {operation: delete, path: data/taken.txt}}}
        - {id: rate, type: file, config: {operation: read, path: data/rate.txt}}
        - {id: never, type: transform, config: {value: 1}}
error_handling:
  finally: [{id: clean, type: transform, config: {value: 1}}]
"""


@pytest.fixture
async def waiting(door: Door) -> AsyncIterator[tuple[Door, str]]:
    """A run that waits for a person."""
    await door.publish(ORDER)
    run = await door.client.start("page-order", {"plan": "pro", "orders": [1, 2, 3]}, by="lee")
    await door.waiting_task(run.id)
    yield door, run.id


class Elements(HTMLParser):
    """Which elements and attributes a page has."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}


async def page_of(door: Door, run_id: str, **headers: str) -> str:
    answer = await door.http.get(f"/runs/{quote(run_id)}", params={"refresh": "off"}, headers=headers)
    assert answer.status_code == 200, answer.text
    assert "script" not in answer.headers["content-security-policy"]
    return answer.text


def row(page: str, path: str) -> str:
    """What the table says of a step."""
    found = re.search(
        rf'<tr id="step-{re.escape(html.escape(path))}".*?(?=<tr id="|<tr class="within|</tbody>)', page, re.S
    )
    assert found is not None, f"no row of {path}"
    return found[0]


def graph(page: str) -> str:
    found = re.search(r"<svg.*?</svg>", page, re.S)
    assert found is not None
    return found[0]


async def test_a_waiting_run_shows_its_steps_and_leads_to_the_task(waiting: tuple[Door, str]) -> None:
    door, run_id = waiting
    page = await page_of(door, run_id)
    assert "<h1>주문 처리</h1>" in page and '<span class="chip waits">waiting</span>' in page
    assert f'class="button" href="/inbox/{run_id}:decide/then/ask"' in page
    assert "Asked: kim." in page and "in 23 hours" in page
    assert '<span class="chip ok">completed</span>' in row(page, "parallel-1/left")
    assert "chip waits" in row(page, "decide/then/ask") and "chip busy" in row(page, "decide")
    assert "chip off" in row(page, "decide/else/other")
    assert "skipped" in row(page, "each[0]/rare") and "completed" in row(page, "each[1]/rare")
    assert [int(number) for number in re.findall(r"Pass (\d)</th>", page)] == [1, 2, 3]
    assert "lee" in page and "http://127.0.0.1:8233" not in page


async def test_the_graph_says_the_same_as_the_table(waiting: tuple[Door, str]) -> None:
    door, run_id = waiting
    drawn = graph(await page_of(door, run_id))
    assert 'role="img"' in drawn and "waiting 1" in drawn
    assert drawn.index(">then<") < drawn.index(">else<")
    assert "skipped ×2" in drawn and "completed ×3" in drawn
    assert 'class="step person is-waiting"' in drawn
    assert re.search(r'class="step shape is-pending">\s*<title>last · transform', drawn)
    link = re.search(r'<a href="([^"]+)" tabindex="-1">\s*<g class="step person', drawn)
    assert link is not None and link[1] == f"/runs/{run_id}?refresh=off#step-decide/then/ask"


async def test_nothing_that_a_flow_or_a_run_says_becomes_markup(waiting: tuple[Door, str]) -> None:
    door, run_id = waiting
    page = await page_of(door, run_id)
    assert "<script" not in page and "<img src=x" not in page
    assert page.count("&lt;script&gt;alert(1)") >= 2 and "&lt;/pre&gt;&lt;script&gt;alert(2)" in page
    assert "&lt;img src=x onerror=alert(3)&gt;" in page
    elements = Elements()
    elements.feed(page)
    assert not {"script", "style", "iframe"} & elements.names
    assert not [name for name in elements.attributes if name == "style" or name.startswith("on")]


async def test_large_outputs_are_cut_with_a_link_to_all_of_it(waiting: tuple[Door, str]) -> None:
    door, run_id = waiting
    page = await page_of(door, run_id)
    assert "and is not shown here." in row(page, "big")
    assert "more characters are not shown." in row(page, "long")
    for step in ("big", "long"):
        whole = re.search(r'<a href="([^"]+)">All of it as JSON', row(page, step))
        assert whole is not None
        answer = await door.http.get(html.unescape(whole[1]))
        assert len(answer.json()["output"]) >= 2000
    assert len(page) < 200_000


async def test_an_error_that_was_handled_is_told_with_its_place_in_the_yaml(waiting: tuple[Door, str]) -> None:
    door, run_id = waiting
    shaky = row(await page_of(door, run_id), "parallel-1/shaky")
    assert "It failed, and the flow handled it:" in shaky and "no_luck" in shaky
    assert "flow&gt;:10:9" in shaky
    assert "type: no_luck" in shaky, "the config as it stands in the flow"


async def test_a_page_of_a_run_that_goes_on_reloads_itself_until_told_not_to(waiting: tuple[Door, str]) -> None:
    door, run_id = waiting
    page = (await door.http.get(f"/runs/{run_id}")).text
    assert '<meta http-equiv="refresh" content="20">' in page
    stop = re.search(r'<a href="([^"]+)">Stop that</a>', page)
    assert stop is not None
    still = (await door.http.get(html.unescape(stop[1]))).text
    assert "http-equiv" not in still and f'<a href="/runs/{run_id}">Let it load itself anew</a>' in still


async def test_a_completed_run_shows_inputs_and_output_and_stands_still(waiting: tuple[Door, str]) -> None:
    door, run_id = waiting
    await door.client.decide(f"{run_id}:decide/then/ask", "approve", comment="<b>fine</b>", by="kim")
    await door.client.run(run_id).result(SECONDS)
    page = (await door.http.get(f"/runs/{run_id}")).text
    decided = row(page, "decide/then/ask")
    assert "Decided: Approve · kim" in decided and "&lt;b&gt;fine&lt;/b&gt;" in decided
    assert f'<a href="/inbox/{run_id}:decide/then/ask">' in decided
    assert "http-equiv" not in page
    assert '<span class="chip ok">completed</span>' in page
    assert re.search(r'<h2 id="output-heading">Output</h2>\s*<pre tabindex="0">done</pre>', page)
    assert "&#34;plan&#34;: &#34;pro&#34;" in page


async def test_a_run_in_korean(waiting: tuple[Door, str]) -> None:
    door, run_id = waiting
    page = await page_of(door, run_id, **{"Accept-Language": "ko"})
    assert '<html lang="ko">' in page
    assert "&#39;담당자 확인&#39; 단계가 사람의 결정을 기다립니다." in page and "2번째 반복" in page
    assert "대기 중" in graph(page)


async def test_a_failed_run_says_why_and_what_was_undone_and_links_its_chain(door: Door) -> None:
    await door.publish(PAYMENT)
    run = await door.client.start("page-payment", {"amount": 3})
    with pytest.raises(RunFailed):
        await run.result(SECONDS)
    again = await door.client.retry(run.id, by="kim")
    with pytest.raises(RunFailed):
        await again.result(SECONDS)
    page = await page_of(door, run.id)
    assert '<span class="chip bad">failed</span>' in page
    why = re.search(r'<section class="notice bad".*?</section>', page, re.S)
    assert why is not None
    assert "no &#39;data/rate.txt&#39;" in why[0] and "&lt;flow&gt;:12:11" in why[0]
    assert '<a href="#step-money/rate">money/rate</a>' in why[0]
    assert "of the step inside it:" in row(page, "money"), "its error is told once"
    assert '<span class="chip undone">compensated</span>' in row(page, "money/take")
    assert "completed" in row(page, "money/take#compensate/give-back") and "completed" in row(page, "#finally/clean")
    assert "Not reached: never" in page
    assert "is-compensated" in graph(page) and "is-failed" in graph(page)
    assert f'<a href="/runs/{again.id}">{again.id}</a>' in page
    assert "orchestrator runs retry" not in page and 'value="retry"' not in page, "it goes on already"
    assert f'<a href="/runs/{again.id}">{again.id}</a>' in why[0]
    following = await page_of(door, again.id)
    assert f"<code>orchestrator runs retry {again.id}</code>" in following
    assert f'<a href="/runs/{run.id}">{run.id}</a>' in following and "attempt 2" in following and "kim" in following


async def test_a_failed_run_is_retried_from_its_page_by_whoever_says_who_they_are(door: Door, reader: Readers) -> None:
    await door.publish(PAYMENT)
    (door.settings.project_dir / "data").mkdir()
    run = await door.client.start("page-payment", {"amount": 3})
    with pytest.raises(RunFailed):
        await run.result(SECONDS)
    (door.settings.project_dir / "data" / "rate.txt").write_text("2")
    stranger, kim = reader(door, None), reader(door, "kim")
    asked = await stranger.send(f"/runs/{run.id}", do="retry")
    assert asked.headers["location"] == f"/inbox/name?back=%2Fruns%2F{run.id}"
    refused = await kim.http.post(f"/runs/{run.id}", data={"do": "retry", "form_token": "made up"})
    unsaid = await kim.send(f"/runs/{run.id}", do="dance")
    assert (refused.status_code, unsaid.status_code) == (403, 422)
    sent = await kim.send(f"/runs/{run.id}", do="retry")
    assert (sent.status_code, sent.headers["location"]) == (303, f"/runs/{run.id}~r2")
    await door.client.run(f"{run.id}~r2").result(SECONDS)
    page = await page_of(door, f"{run.id}~r2")
    assert "kim" in page and 'value="retry"' not in page and f'<a href="/runs/{run.id}">{run.id}</a>' in page
    token = token_in(await kim.look("/inbox/name"))
    twice = await kim.http.post(f"/runs/{run.id}", data={"do": "retry", "form_token": token})
    assert (twice.status_code, "goes on as" in twice.text) == (409, True)


async def test_a_completed_run_owes_nothing(door: Door) -> None:
    await door.publish(
        """
id: page-kept
steps:
  - {id: take, type: file, config: {operation: write, path: data/kept.txt, content: "1"},
     compensate: {id: give, type: file, config: {operation: delete, path: data/kept.txt}}}
"""
    )
    run = await door.client.start("page-kept")
    await run.result(SECONDS)
    page = await page_of(door, run.id)
    assert "undone-heading" not in page and "not undone yet" not in page


async def test_a_step_that_is_tried_again_tells_which_try_it_is_and_why_the_last_failed(door: Door) -> None:
    await door.publish(
        """
id: page-again
steps:
  - id: read
    type: file
    config: {operation: read, path: data/later.txt}
    retry: {max_attempts: 5, initial_interval: 10m, max_interval: 10m, on: ["*"]}
"""
    )
    run = await door.client.start("page-again")
    async with asyncio.timeout(SECONDS):
        while (await run.attempts()).get("read", Attempt(1)).failure is None:
            await asyncio.sleep(0.05)
    page = await page_of(door, run.id)
    read = row(page, "read")
    assert "Try 2. Next" in read and "no &#39;data/later.txt&#39;" in read
    assert "2 tries" in read and "running · 2 tries" in graph(page)
    await run.cancel()
    async with asyncio.timeout(SECONDS):
        while (await run.info()).status != "cancelled":
            await asyncio.sleep(0.05)
    assert "chip off" in row(await page_of(door, run.id), "read")


async def test_a_part_of_another_run_leads_to_it_and_back(door: Door) -> None:
    await door.publish("id: page-child\nsteps: [{id: rest, type: wait, config: {duration: 1d}}]\n")
    await door.publish("id: page-parent\nsteps: [{id: part, type: flow, config: {flow: page-child}}]\n")
    parent = await door.client.start("page-parent")
    child = f"{parent.id}:part"
    await begun(door, child, "rest")
    page = await page_of(door, parent.id)
    assert f'<a href="/runs/{child}">{child}</a>' in row(page, "part")
    page = await page_of(door, child)
    assert f'<a href="/runs/{parent.id}">{parent.id}</a>' in page and "at its step part" in page


async def begun(door: Door, run_id: str, step: str) -> dict[str, Any]:
    """The run's state once a step of it has begun."""
    async with asyncio.timeout(SECONDS):
        while True:
            answer = (await door.http.get(f"/v1/runs/{quote(run_id)}")).json()
            if step in ((answer.get("state") or {}).get("steps") or {}):
                return dict(answer)
            await asyncio.sleep(0.05)


async def test_many_steps_are_shown_page_by_page_and_the_graph_leads_to_the_right_one(door: Door) -> None:
    steps = "\n".join(
        f"  - {{id: step-{number}, type: transform, config: {{value: {number}}}}}" for number in range(230)
    )
    await door.publish(f"id: page-long\nsteps:\n{steps}\n")
    run = await door.client.start("page-long")
    await run.result(60)
    page = await page_of(door, run.id)
    assert page.count('<tr id="step-') == 200 and "Page 1 of 2" in page
    assert f'href="/runs/{run.id}?refresh=off&amp;steps=2#step-step-229"' in graph(page)
    second = (await door.http.get(f"/runs/{run.id}?steps=2")).text
    assert second.count('<tr id="step-') == 30
    assert (await door.http.get(f"/runs/{run.id}?steps=999999999")).status_code == 200


async def test_ids_with_odd_signs_have_a_page(door: Door) -> None:
    await door.publish("id: page-odd\nsteps: [{id: rest, type: transform, config: {value: 1}}]\n")
    run_id = f"odd/{uuid4().hex}?a=b#c d&<x>"
    run = await door.client.start("page-odd", run_id=run_id)
    await run.result(SECONDS)
    answer = await door.http.get(f"/runs/{quote(run_id)}")
    assert answer.status_code == 200 and html.escape(run_id) in answer.text
    assert ids_linked(answer.text) == {f"/v1/runs/{quote(run_id)}"}


def ids_linked(page: str) -> set[str]:
    return set(re.findall(r'href="(/v1/runs/[^"?]+)"', page))


async def test_the_temporal_web_ui_is_linked_where_it_is_known(
    temporal: temporalio.client.Client, tmp_path: Path
) -> None:
    async with open_door(temporal, tmp_path, working=False, temporal_ui_url="https://temporal.example.com/ui/") as idle:
        await idle.publish("id: page-linked\nsteps: [{id: rest, type: wait, config: {duration: 1d}}]\n")
        run = await idle.client.start("page-linked", run_id=f"a/b {uuid4().hex}")
        page = await page_of_idle(idle, run.id)
        namespace = temporal.namespace
        assert (
            f'href="https://temporal.example.com/ui/namespaces/{namespace}/workflows/{quote(run.id, safe="")}"' in page
        )


async def page_of_idle(idle: Door, run_id: str) -> str:
    return (await idle.http.get(f"/runs/{quote(run_id)}")).text


async def test_without_a_worker_the_page_says_so_and_still_shows_the_flow(
    idle: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "QUERY_TIMEOUT", timedelta(seconds=1))
    await idle.publish("id: page-alone\nsteps: [{id: rest, type: wait, config: {duration: 1d}}]\n")
    run = await idle.client.start("page-alone")
    page = await page_of_idle(idle, run.id)
    assert "The steps cannot be shown now." in page and "no worker answers" in page
    assert ">rest</text>" in graph(page) and "No step has begun." in page


async def test_an_unknown_run_is_a_404_page_in_words(idle: Door) -> None:
    answer = await idle.http.get("/runs/there-is-none")
    assert answer.status_code == 404 and "no run &#39;there-is-none&#39;" in answer.text
    assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(
    "path",
    ["x" * 3000, "%ff", "%F0%9F%98%80", "a%2F..%2Fb", "%3Cscript%3E", "a/step/b", "~r2", "none?steps=-1"],
)
async def test_whatever_the_address_says_it_is_answered_in_words(idle: Door, path: str) -> None:
    answer = await idle.http.get(f"/runs/{path}")
    assert answer.status_code == 404, answer.text
    assert "<h1>There is nothing here</h1>" in answer.text and "<script" not in answer.text


async def test_an_address_without_an_id_is_that_of_the_list(idle: Door) -> None:
    answer = await idle.http.get("/runs/")
    assert (answer.status_code, answer.headers["location"]) == (303, "/runs")


async def test_without_temporal_every_page_says_so(
    own_temporal_server: tuple[subprocess.Popen[bytes], str], tmp_path: Path
) -> None:
    process, address = own_temporal_server
    temporal = await temporalio.client.Client.connect(address)
    async with open_door(temporal, tmp_path, working=False) as idle:
        process.terminate()
        await asyncio.to_thread(process.wait)
        for path in ("/runs", "/runs/some-run"):
            answer = await idle.http.get(path)
            assert answer.status_code == 503 and answer.headers["content-type"].startswith("text/html")
            assert f"Temporal cannot be reached at {address}" in answer.text and answer.headers["retry-after"]
