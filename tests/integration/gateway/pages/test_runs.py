"""``/runs``: the list people look at."""

from __future__ import annotations

import asyncio
import html
import re
from datetime import UTC, datetime, timedelta

import pytest
from tests.integration.gateway.conftest import Door

SECONDS = 30
PAUSING = "id: {flow}\nversion: 1.0.0\nsteps: [{{id: pause, type: wait, config: {{duration: 1d}}}}]\n"


def ids_in(page: str) -> list[str]:
    """The runs a page of the list shows, in its order."""
    return re.findall(r'<code class="id">([^<]+)</code>', page)


async def listed(door: Door, flow: str, count: int) -> None:
    """Until Temporal's list, which lags behind, has that many runs of a flow."""
    async with asyncio.timeout(SECONDS):
        while len(await door.client.runs(flow)) < count:
            await asyncio.sleep(0.05)


async def test_runs_are_listed_with_state_flow_start_and_who_started_them(idle: Door) -> None:
    await idle.publish(PAUSING.format(flow="page-shown"))
    run = await idle.client.start("page-shown", by="kim <b>")
    await listed(idle, "page-shown", 1)
    page = await idle.http.get("/runs", params={"flow": "page-shown"})
    assert page.status_code == 200
    assert ids_in(page.text) == [run.id]
    assert f'<a href="/runs/{run.id}">page-shown</a>' in page.text
    assert '<span class="chip busy">running</span>' in page.text
    assert "kim &lt;b&gt;" in page.text and "1.0.0" in page.text
    assert '<option value="page-shown">' in page.text


async def test_the_list_is_narrowed_by_flow_and_state_with_a_form_that_keeps_what_was_chosen(idle: Door) -> None:
    for flow in ("narrow-a", "narrow-b"):
        await idle.publish(PAUSING.format(flow=flow))
    kept, stopped = await idle.client.start("narrow-a"), await idle.client.start("narrow-a")
    other = await idle.client.start("narrow-b")
    await stopped.terminate()
    await listed(idle, "narrow-a", 2)
    async with asyncio.timeout(SECONDS):
        while len(await idle.client.runs("narrow-a", "terminated")) < 1:
            await asyncio.sleep(0.05)
    both = ids_in((await idle.http.get("/runs?flow=narrow-a")).text)
    assert set(both) == {kept.id, stopped.id} and other.id not in both
    page = (await idle.http.get("/runs?flow=narrow-a&status=terminated")).text
    assert ids_in(page) == [stopped.id]
    assert 'value="narrow-a"' in page and '<option value="terminated" selected>' in page
    none = (await idle.http.get("/runs?flow=narrow-a&status=failed")).text
    assert "No run matches." in none and 'href="/runs"' in none


async def test_runs_that_wait_for_a_person_are_found(door: Door) -> None:
    await door.publish(
        """
id: asking
inputs: {ask: boolean}
steps:
  - {id: person, if: "{{ inputs.ask }}", type: human-task, config: {assignee: kim}}
  - {id: pause, type: wait, config: {duration: 1d}}
"""
    )
    asking, silent = [await door.client.start("asking", {"ask": ask}) for ask in (True, False)]
    async with asyncio.timeout(SECONDS):
        while ids_in(page := (await door.http.get("/runs?flow=asking&status=waiting")).text) != [asking.id]:
            await asyncio.sleep(0.05)
    assert '<span class="chip waits">waiting</span>' in page and '<option value="waiting" selected>' in page
    await listed(door, "asking", 2)
    both = (await door.http.get("/runs?flow=asking")).text
    assert set(ids_in(both)) == {asking.id, silent.id} and both.count("chip waits") == 1


async def test_older_runs_are_on_pages_of_their_own(idle: Door) -> None:
    await idle.publish(PAUSING.format(flow="page-many"))
    started = {(await idle.client.start("page-many")).id for _ in range(28)}
    await listed(idle, "page-many", 28)
    first = (await idle.http.get("/runs?flow=page-many")).text
    older = re.search(r'rel="next" href="([^"]+)"', first)
    assert older is not None and len(ids_in(first)) == 25
    second = (await idle.http.get(html.unescape(older[1]))).text
    assert set(ids_in(first)) | set(ids_in(second)) == started
    assert len(ids_in(second)) == 3
    assert 'href="/runs?flow=page-many">Newest runs' in second


@pytest.mark.parametrize(
    "query",
    ["status=nonsense", "flow=%F0%28%8C%BC", "flow='%20OR%20'1'='1", "lang=xx", "flow=" + "x" * 5000, "status=&flow="],
)
async def test_whatever_the_address_says_there_is_a_page(idle: Door, query: str) -> None:
    page = await idle.http.get(f"/runs?{query}")
    assert page.status_code == 200 and "<h1>Runs</h1>" in page.text


async def test_an_address_of_a_page_that_was_never_given_out_leads_to_the_first(idle: Door) -> None:
    answer = await idle.http.get("/runs?flow=a&after=nonsense")
    assert (answer.status_code, answer.headers["location"]) == (303, "/runs?flow=a")


async def test_the_list_is_there_in_korean(idle: Door) -> None:
    page = await idle.http.get("/runs", headers={"Accept-Language": "ko-KR,ko;q=0.9"})
    assert '<html lang="ko">' in page.text and "<h1>실행</h1>" in page.text and "모든 상태" in page.text


async def test_the_list_is_narrowed_by_the_beginning_of_ids_and_by_days(idle: Door) -> None:
    await idle.publish(PAUSING.format(flow="page-begun"))
    for run_id in ("begun-a%1", "begun-a_2", "begun-b"):
        await idle.client.start("page-begun", run_id=run_id)
    await listed(idle, "page-begun", 3)

    async def found(**asked: str) -> list[str]:
        return sorted(ids_in((await idle.http.get("/runs", params={"flow": "page-begun"} | asked)).text))

    assert await found(begins="begun-a") == ["begun-a%1", "begun-a_2"]
    assert await found(begins="begun-a%") == ["begun-a%1"] and await found(begins="' OR '") == []
    today = datetime.now(UTC).date()
    around = {"since": str(today - timedelta(days=1)), "until": str(today + timedelta(days=1))}
    assert len(await found(**around)) == 3
    assert await found(since=str(today + timedelta(days=2))) == []
    assert await found(until=str(today - timedelta(days=2))) == []
    assert len(await found(since="soon", until="0000-00-00")) == 3, "an old bookmark still opens"
    page = (await idle.http.get("/runs", params={"begins": "begun-b"} | around)).text
    assert (
        'value="begun-b"' in page
        and f'value="{around["since"]}"' in page
        and '<details class="more-filters" open>' in page
    )


async def test_parts_of_other_runs_are_listed_when_asked_for(door: Door) -> None:
    await door.publish(PAUSING.format(flow="page-inner"))
    await door.publish("id: page-outer\nsteps: [{id: part, type: flow, config: {flow: page-inner}}]\n")
    outer = await door.client.start("page-outer")
    await listed(door, "page-inner", 1)
    ids = {
        way: ids_in((await door.http.get(f"/runs?{way}")).text)
        for way in ("flow=page-inner", "flow=page-inner&parts=1")
    }
    assert ids == {"flow=page-inner": [], "flow=page-inner&parts=1": [f"{outer.id}:part"]}
    assert ids_in((await door.http.get("/runs", params={"begins": f"{outer.id}:"})).text) == [f"{outer.id}:part"]
