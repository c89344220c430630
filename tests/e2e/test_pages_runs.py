"""The pages of runs as people use them: a real browser, without scripts, by keyboard, on a phone, in the dark, in
Korean."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest
from playwright.sync_api import Browser, Dialog, Page, expect
from tests.e2e.product import Product

SECONDS = 90
"""How long anything may take on a busy machine."""
expect.set_options(timeout=SECONDS * 1000)
TOUR = """
id: pages-tour
name: 주문 처리
version: 1.0.0
inputs: {plan: string, orders: array}
steps:
  - parallel:
      - {id: history, name: Look up the customer's history, type: transform, config: {value: [1, 2]}}
      - id: carrier
        name: "<script>alert(1)</script><img src=x onerror=alert(2)>"
        type: fail
        config: {type: no_answer, message: "</pre><script>alert(3)</script>"}
        on_error: [{id: noted, type: transform, config: {value: "</td><script>alert(4)</script>"}}]
      - {id: warehouse, type: transform, config: {value: "UnbreakableWordUnbreakableWordUnbreakableWordUnbreakableWord"}}
      - {id: billing, type: transform, config: {value: 3}}
  - id: each
    name: 주문마다 확인
    type: for-each
    config: {items: "{{ inputs.orders }}", steps: [{id: check, type: transform, config: {value: "{{ item }}"}}]}
  - id: decide
    type: condition
    config:
      if: "{{ inputs.plan }} == 'pro'"
      then: [{id: ask, name: 담당자 확인, type: human-task, config: {assignee: kim, title: "Send it?", deadline: 24h}}]
      else: [{id: refuse, type: fail, config: {type: refused, message: only for pro}}]
  - {id: last, name: Tell the customer, type: transform, config: {value: done}}
output: {told: true}
"""
CALL = """
id: pages-call
inputs: {url: string}
steps: [{id: call, type: http, config: {url: "{{ inputs.url }}"}}]
"""
TWICE = """() => { const ids = [...document.querySelectorAll("[id]")].map(one => one.id);
  return ids.filter((id, index) => ids.indexOf(id) !== index); }"""
DANGLING = """() => [...document.querySelectorAll("[aria-describedby], [aria-labelledby]")]
  .flatMap(one => (one.getAttribute("aria-describedby") || one.getAttribute("aria-labelledby")).split(/\\s+/))
  .filter(id => !document.getElementById(id))"""
SIDEWAYS = "() => document.documentElement.scrollWidth > document.documentElement.clientWidth"

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def served(product: Product) -> Product:
    """The product with the flows of these tests."""
    for flow in (TOUR, CALL):
        answer = httpx.post(
            f"{product.settings.gateway_url}/v1/flows",
            content=flow.encode(),
            headers={"content-type": "application/yaml"},
            timeout=SECONDS,
        )
        assert answer.status_code in (200, 201), answer.text
    return product


@pytest.fixture(scope="module")
def waiting(served: Product) -> str:
    """Id of a run that waits for a person; nobody decides it."""
    run_id = start(served, "pages-tour", {"plan": "pro", "orders": list(range(3))})
    until(lambda: bool(waits(served, run_id)), "the run did not come to its task")
    return run_id


def start(product: Product, flow: str, inputs: dict[str, Any]) -> str:
    run_id = f"{flow}-{uuid4().hex[:8]}"
    answer = httpx.post(
        f"{product.settings.gateway_url}/v1/flows/{flow}/runs",
        json={"inputs": inputs, "run_id": run_id},
        timeout=SECONDS,
    )
    assert answer.status_code == 202, answer.text
    return run_id


def shown(product: Product, run_id: str) -> dict[str, Any]:
    """The run as the API shows it."""
    answer = httpx.get(f"{product.settings.gateway_url}/v1/runs/{quote(run_id)}", timeout=SECONDS)
    found: dict[str, Any] = answer.json()
    return found


def waits(product: Product, run_id: str) -> list[Any]:
    found: list[Any] = (shown(product, run_id).get("state") or {}).get("waits", [])
    return found


def until(holds: Callable[[], bool], otherwise: str) -> None:
    """Ask again and again until it holds."""
    patience = threading.Event()
    for _ in range(SECONDS * 10):
        if holds():
            return
        patience.wait(0.1)
    pytest.fail(otherwise)


@pytest.fixture
def visit(browser: Browser, served: Product) -> Iterator[Open]:
    """``visit(path, **options)``: the page, in a browser of its own, scripts off unless asked for; without a path an
    empty one."""
    opened = []

    def go(path: str | None, **options: Any) -> Page:
        given: dict[str, Any] = {"locale": "en-GB", "java_script_enabled": False} | options
        context = browser.new_context(**given)
        context.set_default_timeout(SECONDS * 1000)
        opened.append(context)
        page = context.new_page()
        if path is not None:
            answer = page.goto(served.settings.gateway_url + path)
            assert answer is not None and answer.status == 200, path
        return page

    yield go
    for context in opened:
        context.close()


def test_a_run_is_found_in_the_list_and_looked_at(visit: Open, served: Product, waiting: str) -> None:
    url = f"{served.settings.gateway_url}/v1/runs?flow=pages-tour&status=running"
    until(lambda: waiting in httpx.get(url, timeout=SECONDS).text, "it is not listed")
    page = visit("/runs")
    page.get_by_label("Flow").fill("pages-tour")
    page.get_by_label("State").select_option("running")
    page.get_by_role("button", name="Filter").click()
    expect(page).to_have_url(re.compile(r"flow=pages-tour&status=running"))
    expect(page.get_by_label("Flow")).to_have_value("pages-tour")
    rows = page.get_by_role("row").filter(has_text=waiting)
    expect(rows).to_have_count(1)
    rows.get_by_role("link", name="pages-tour").click()
    expect(page).to_have_url(re.compile(f"/runs/{waiting}$"))
    expect(page.get_by_role("heading", level=1)).to_have_text("주문 처리")
    expect(page.get_by_role("img", name="주문 처리")).to_be_visible()
    expect(page.get_by_role("rowheader", name="담당자 확인")).to_be_visible()
    expect(page.locator(".head .chip")).to_have_text("waiting")
    there = f"http://127.0.0.1:{served.settings.temporal_ui_port}/namespaces/default/workflows/{waiting}"
    expect(page.get_by_role("link", name="Temporal Web UI")).to_have_attribute("href", there)


def test_a_step_of_the_graph_leads_to_its_row(visit: Open, waiting: str) -> None:
    page = visit(f"/runs/{waiting}?refresh=off", viewport={"width": 1280, "height": 700})
    row = page.locator('[id="step-each[1]/check"]')
    expect(row).not_to_be_in_viewport()
    page.locator("svg a", has_text="check").first.click()
    expect(page).to_have_url(re.compile("#step-each"))
    expect(page.locator("tr.step:target .step-title")).to_have_text("check")
    expect(page.locator("tr.step:target")).to_be_in_viewport()


def test_a_run_that_waits_for_a_person_leads_to_the_task_and_on_to_its_end(visit: Open, served: Product) -> None:
    run_id = start(served, "pages-tour", {"plan": "pro", "orders": []})
    until(lambda: bool(waits(served, run_id)), "the run did not come to its task")
    page = visit(f"/runs/{run_id}?refresh=off")
    page.get_by_role("link", name="Open the task").first.click()
    expect(page).to_have_url(re.compile(f"/inbox/{run_id}:decide/then/ask"))
    url = f"{served.settings.gateway_url}/v1/tasks/{run_id}:decide/then/ask/decision"
    assert httpx.post(url, json={"decision": "approve", "by": "kim"}, timeout=SECONDS).status_code == 200
    until(lambda: shown(served, run_id)["status"] == "completed", "the run did not end")
    page.goto(f"{served.settings.gateway_url}/runs/{run_id}")
    expect(page.locator(".head .chip")).to_have_text("completed")
    expect(page.get_by_role("region", name="Output")).to_contain_text('"told": true')
    expect(page.get_by_role("link", name="Open the task")).to_have_count(0)


class Held(BaseHTTPRequestHandler):
    """Answers when told to."""

    go = threading.Event()

    def do_GET(self) -> None:
        type(self).go.wait(SECONDS)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture
def held() -> Iterator[str]:
    """URL of a server that answers once ``Held.go`` is set."""
    Held.go.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Held)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    Held.go.set()
    server.shutdown()
    server.server_close()


def test_the_page_of_a_run_follows_it_without_scripts_until_its_end(visit: Open, served: Product, held: str) -> None:
    run_id = start(served, "pages-call", {"url": held})
    until(lambda: "call" in (shown(served, run_id).get("state") or {}).get("steps", {}), "the step did not begin")
    page = visit(f"/runs/{run_id}")
    expect(page.locator('[id="step-call"] .chip')).to_have_text("running")
    expect(page.locator("svg:not(.narrow) .is-running")).to_have_count(1)
    Held.go.set()
    expect(page.locator('[id="step-call"] .chip')).to_have_text("completed")
    expect(page.locator("svg:not(.narrow) .is-completed")).to_have_count(1)
    expect(page.locator(".head .chip")).to_have_text("completed")
    assert page.locator("meta[http-equiv]").count() == 0


def test_details_are_opened_by_keyboard_alone(visit: Open, waiting: str) -> None:
    page = visit(f"/runs/{waiting}?refresh=off")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    summary = page.locator('[id="step-parallel-1/history"] + tr summary')
    for _ in range(40):
        page.keyboard.press("Tab")
        if summary.evaluate("one => one === document.activeElement"):
            break
    expect(summary).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator('[id="step-parallel-1/history"] + tr pre').first).to_be_visible()


def test_the_picture_is_no_detour_for_the_keyboard_and_can_be_scrolled_by_it(visit: Open, waiting: str) -> None:
    page = visit(f"/runs/{waiting}?refresh=off", viewport={"width": 390, "height": 800})
    graph = page.get_by_role("region", name="Picture of the flow")
    graph.focus()
    assert graph.evaluate("one => [one.scrollLeft, one.scrollWidth > one.clientWidth]") == [0, True]
    page.keyboard.press("ArrowRight")
    until(lambda: bool(graph.evaluate("one => one.scrollLeft > 0")), "the picture does not scroll")
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.closest('svg') === null")


@pytest.mark.parametrize("lang", ["en-GB", "ko-KR"])
def test_nothing_moves_sideways_on_a_phone(visit: Open, waiting: str, lang: str) -> None:
    for path in ("/runs", f"/runs/{waiting}?refresh=off"):
        page = visit(path, viewport={"width": 390, "height": 844}, locale=lang, is_mobile=True, has_touch=True)
        for summary in page.locator("summary").all():
            summary.evaluate("one => { one.parentElement.open = true }")
        assert not page.evaluate(SIDEWAYS), path


def test_a_phone_gets_a_picture_of_its_own(visit: Open, waiting: str) -> None:
    widths = {}
    for width in (390, 1280):
        page = visit(f"/runs/{waiting}?refresh=off", viewport={"width": width, "height": 844})
        expect(page.get_by_role("img", name="주문 처리")).to_have_count(1)
        box = page.get_by_role("img", name="주문 처리").bounding_box()
        assert box is not None
        widths[width] = box["width"]
    assert widths[390] < 600 < 800 < widths[1280]


def test_the_pages_are_dark_for_those_who_want_it(visit: Open, waiting: str) -> None:
    def light(page: Page, what: str, of: str) -> float:
        """The sum of a colour's three parts."""
        colour = page.locator(what).first.evaluate(f"one => getComputedStyle(one).{of}")
        return sum(float(part) for part in re.findall(r"[\d.]+", colour)[:3])

    by_day = visit(f"/runs/{waiting}?refresh=off", color_scheme="light")
    by_night = visit(f"/runs/{waiting}?refresh=off", color_scheme="dark")
    for behind, of in (("body", "backgroundColor"), ("svg .face", "fill")):
        assert light(by_day, behind, of) > 600 > 150 > light(by_night, behind, of)
    assert light(by_day, "svg .title", "fill") < 300 < 600 < light(by_night, "svg .title", "fill")


def test_the_pages_speak_korean(visit: Open, waiting: str) -> None:
    page = visit(f"/runs/{waiting}?refresh=off", locale="ko-KR")
    assert page.locator("html").get_attribute("lang") == "ko"
    expect(page.get_by_role("heading", name="단계", exact=False)).to_be_visible()
    expect(page.locator(".head .chip")).to_have_text("대기 중")
    page.get_by_role("link", name="English").click()
    expect(page.locator(".head .chip")).to_have_text("waiting")
    page.get_by_role("link", name="Runs").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Runs")


def test_with_scripts_on_nothing_runs_and_nothing_is_blocked(visit: Open, served: Product, waiting: str) -> None:
    page = visit(None, java_script_enabled=True)
    said: list[str] = []

    def refuse(dialog: Dialog) -> None:
        said.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", refuse)
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("requestfailed", lambda request: said.append(request.url))
    page.goto(f"{served.settings.gateway_url}/runs/{waiting}?refresh=off")
    expect(page.get_by_role("rowheader", name="<script>alert(1)</script>")).to_be_visible()
    for summary in page.locator("summary").all():
        summary.click()
    assert said == []


def test_ids_are_unique_and_references_lead_somewhere(visit: Open, waiting: str) -> None:
    for path in ("/runs", f"/runs/{waiting}?refresh=off"):
        page = visit(path)
        assert page.evaluate(TWICE) == []
        assert page.evaluate(DANGLING) == []
        fragments = page.locator('a[href^="#"], svg a').evaluate_all(
            "all => all.map(one => decodeURIComponent((one.getAttribute('href').split('#')[1])))"
        )
        assert [one for one in fragments if not page.locator(f'[id="{one}"]').count()] == []


def test_a_run_that_there_is_not_is_told_in_words(browser: Browser, served: Product) -> None:
    context = browser.new_context(locale="ko-KR")
    page = context.new_page()
    answer = page.goto(f"{served.settings.gateway_url}/runs/nowhere")
    assert answer is not None and answer.status == 404
    expect(page.get_by_role("heading", level=1)).to_have_text("여기에는 아무것도 없습니다")
    page.get_by_role("link", name="실행 목록으로").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("실행")
    context.close()
