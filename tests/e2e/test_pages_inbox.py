"""The inbox as people use it: a real browser, without scripts, by keyboard, on a phone, in the dark, in Korean."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, expect
from tests.e2e.conftest import BROWSER_SECONDS
from tests.e2e.product import Product

SECONDS = BROWSER_SECONDS
"""How long anything may take on a busy machine."""
FLOWS = (
    """
id: pages-refund
steps:
  - id: check
    type: human-task
    config:
      assignee: kim
      title: "Refund <b>129.90</b> to Ada?"
      instructions: "Ada says the parcel never came.\\nSee https://shop.example.com/orders/7."
      attachments: {order: {id: A-7, total: 129.9}, carrier: "Delivered to a neighbour."}
      comment_required: [reject]
      on_reject: continue
      deadline: 24h
      form:
        type: object
        required: [account]
        properties:
          account: {type: string, title: Account, description: Where the money goes.}
          amount: {type: number, title: Amount, minimum: 1, default: 129.9}
          method: {enum: [card, transfer], title: Method}
          note: {type: string, title: Note, maxLength: 2000}
          address: {type: object, title: Address, properties: {city: {type: string, title: City}}}
""",
    """
id: pages-hostile
steps:
  - id: check
    type: human-task
    config:
      assignee: "<img src=x onerror=alert(1)>"
      title: "<script>alert(2)</script><img src=x onerror=alert(3)> UnbreakableWordUnbreakableWordUnbreakableWordUnbreakableWordUnbreakableWord"
      instructions: "<svg onload=alert(4)> javascript:alert(5) https://x.example/'onmouseover='alert(6)"
      attachments: {"<script>alert(7)</script>": "</pre><script>alert(8)</script>", table: {"<b>": "</dd><script>alert(9)</script>"}}
      on_reject: continue
      form:
        type: object
        properties:
          '"><script>alert(10)</script>': {type: string, title: "<script>alert(11)</script>", default: '"><script>alert(12)</script>', description: "</p><script>alert(13)</script>"}
          pick: {enum: ["<script>alert(14)</script>", "b"]}
""",
)
CONTRAST = """() => {
  const channel = v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const parts = colour => (colour.match(/[\\d.]+/g) || []).map(Number);
  const behind = node => {
    for (; node; node = node.parentElement) {
      const colour = parts(getComputedStyle(node).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some(child => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.getClientRects().length || node.closest("[aria-hidden=true], .skip")) continue;
    const style = getComputedStyle(node), one = light(parts(style.color)), other = light(behind(node));
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (ratio < 4.5) found.push(`${node.tagName}.${node.className} ${ratio.toFixed(2)} ${node.textContent.trim().slice(0, 40)}`);
  }
  return found;
}"""
NAMELESS = """() => [...document.querySelectorAll("input:not([type=hidden]), select, textarea, button:not([aria-hidden])")]
  .filter(one => !(one.labels && one.labels.length) && !one.getAttribute("aria-label") && !one.textContent.trim())
  .map(one => one.outerHTML)"""
TWICE = """() => { const ids = [...document.querySelectorAll("[id]")].map(one => one.id);
  return ids.filter((id, index) => ids.indexOf(id) !== index); }"""
DANGLING = """() => [...document.querySelectorAll("[aria-describedby], [aria-labelledby]")]
  .flatMap(one => (one.getAttribute("aria-describedby") || one.getAttribute("aria-labelledby")).split(/\\s+/))
  .filter(id => !document.getElementById(id))"""


@pytest.fixture(scope="module")
def served(product: Product) -> Product:
    """The product with the flows of these tests."""
    for flow in FLOWS:
        answer = httpx.post(
            f"{product.settings.gateway_url}/v1/flows",
            content=flow.encode(),
            headers={"content-type": "application/yaml"},
            timeout=SECONDS,
        )
        assert answer.status_code in (200, 201), answer.text
    return product


@pytest.fixture
def task(served: Product) -> str:
    """Path of the page of a new task."""
    return new_task(served, "pages-refund")


def new_task(product: Product, flow: str) -> str:
    run_id = f"{flow}-{uuid4().hex[:8]}"
    url = product.settings.gateway_url
    started = httpx.post(f"{url}/v1/flows/{flow}/runs", json={"inputs": {}, "run_id": run_id}, timeout=SECONDS)
    assert started.status_code == 202, started.text
    deadline = time.monotonic() + SECONDS
    while not httpx.get(f"{url}/v1/tasks", params={"run_id": run_id}, timeout=SECONDS).json()["tasks"]:
        assert time.monotonic() < deadline, "the task was not opened"
        time.sleep(0.05)
    return f"/inbox/{run_id}:check"


def shown(product: Product, path: str) -> dict[str, Any]:
    """The task as the API shows it."""
    answer = httpx.get(product.settings.gateway_url + path.replace("/inbox/", "/v1/tasks/"), timeout=SECONDS)
    found: dict[str, Any] = answer.json()
    return found


def closed(product: Product, path: str) -> dict[str, Any]:
    """The task, once the store knows how it ended."""
    deadline = time.monotonic() + SECONDS
    while (found := shown(product, path))["status"] == "open":
        assert time.monotonic() < deadline, "the task was not closed"
        time.sleep(0.05)
    return found


Open = Callable[..., BrowserContext]


@pytest.fixture
def visit(browser: Browser, served: Product) -> Iterator[Open]:
    """``visit(name, **options)``: a browser of somebody who has said that name, scripts off unless asked for."""
    opened: list[BrowserContext] = []

    def make(name: str | None = "kim", **options: Any) -> BrowserContext:
        given: dict[str, Any] = {"locale": "en-GB", "java_script_enabled": False} | options
        context = browser.new_context(base_url=served.settings.gateway_url, **given)
        context.set_default_timeout(SECONDS * 1000)
        opened.append(context)
        if name is not None:
            context.add_cookies([{"name": "orchestrator_name", "value": name, "url": served.settings.gateway_url}])
        return context

    yield make
    for context in opened:
        context.close()


@contextmanager
def nothing_bad_happens(page: Page) -> Iterator[None]:
    """No dialog opens, no error of the page or its policy is told."""
    bad: list[str] = []

    def opened(dialog: Dialog) -> None:
        bad.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", opened)
    page.on("pageerror", lambda error: bad.append(str(error)))
    page.on("console", lambda message: bad.append(message.text) if "Content Security Policy" in message.text else None)
    yield
    assert bad == []


def test_a_person_without_scripts_says_who_they_are_finds_their_task_and_decides_it(
    visit: Open, served: Product, task: str
) -> None:
    page = visit(None).new_page()
    page.goto(task)
    page.get_by_role("link", name="Who are you?").last.click()
    page.get_by_label("Your name").fill("kim")
    page.get_by_role("button", name="This is me").click()
    expect(page).to_have_url(re.compile(re.escape(task)))
    page.goto("/inbox?flow=pages-refund&sort=newest")
    page.locator(f'a[href="{task}"]').click()
    page.get_by_label("Account").fill("DE12 3456")
    page.get_by_label("transfer").check()
    page.get_by_label("City").fill("서울")
    page.get_by_label("Comment", exact=False).first.fill("fine <b>by me</b>")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("Your answer was taken: Approve.")).to_be_visible()
    found = closed(served, task)
    assert (found["status"], found["decision"], found["by"]) == ("decided", "approve", "kim")
    assert found["comment"] == "fine <b>by me</b>"
    assert found["data"] == {"account": "DE12 3456", "amount": 129.9, "method": "transfer", "address": {"city": "서울"}}
    page.reload()
    expect(page.get_by_text("Your answer was taken")).to_have_count(0)
    expect(page.get_by_text("fine <b>by me</b>").first).to_be_visible()
    expect(page.get_by_role("link", name="See what the run does with it").first).to_have_attribute(
        "href", re.compile("^/runs/pages-refund-")
    )


def test_a_task_is_decided_by_keyboard_alone_and_enter_in_a_field_decides_nothing(
    visit: Open, served: Product, task: str
) -> None:
    page = visit(java_script_enabled=True).new_page()
    page.goto(task)
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    expect(page.locator(".skip")).to_be_in_viewport()
    page.keyboard.press("Enter")
    tab_to(page, 'input[name="data.account"]')
    page.keyboard.type("DE1")
    page.keyboard.press("Enter")
    assert shown(served, task)["status"] == "open"
    tab_to(page, 'input[name="data.method"]')
    page.keyboard.press("ArrowUp")
    tab_to(page, 'button[value="approve"]')
    page.keyboard.press("Enter")
    expect(page.get_by_text("Your answer was taken: Approve.")).to_be_visible()
    assert closed(served, task)["data"]["account"] == "DE1"


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until an element has the focus, which everything on the way shows."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            break
        outlined = "getComputedStyle(document.activeElement)"
        after = "getComputedStyle(document.activeElement, '::after')"
        assert page.evaluate(f"{outlined}.outlineStyle !== 'none' || {after}.outlineStyle !== 'none'")
    expect(page.locator(selector).first).to_be_attached()
    assert page.evaluate("selector => document.activeElement.matches(selector)", selector), f"no way to {selector}"


def test_what_is_wrong_is_told_beside_the_field_and_everything_typed_is_kept(
    visit: Open, served: Product, task: str
) -> None:
    page = visit(java_script_enabled=True).new_page()
    page.goto(task)
    page.get_by_role("button", name="Approve").click()
    expect(page.locator('input[name="data.account"]:invalid')).to_be_focused()
    page.get_by_label("Note", exact=True).fill("one\ntwo <b>")
    page.get_by_label("Amount").fill("0.5")
    page.get_by_label("card").check()
    with page.expect_response(lambda answer: answer.request.method == "POST") as answer:
        page.get_by_role("button", name="Reject").click()
    assert answer.value.status == 422
    expect(page.get_by_role("alert")).to_be_focused()
    expect(page.get_by_label("Comment", exact=False).first).to_have_attribute("aria-invalid", "true")
    amount = page.get_by_label("Amount")
    expect(amount).to_have_value("0.5")
    expect(page.locator(f"#{amount.get_attribute('aria-describedby')}")).to_have_text("It has to be at least 1")
    expect(page.get_by_label("Note", exact=True)).to_have_value("one\ntwo <b>")
    expect(page.get_by_label("card")).to_be_checked()
    assert page.evaluate(DANGLING) == []
    page.get_by_role("alert").get_by_role("link", name="Amount").click()
    expect(amount).to_be_in_viewport()
    assert shown(served, task)["status"] == "open"


def test_the_second_of_two_tabs_is_told_what_the_first_has_decided(visit: Open, served: Product, task: str) -> None:
    first, second = visit("kim").new_page(), visit("lee").new_page()
    for page in (first, second):
        page.goto(task)
        page.get_by_label("Account").fill("DE1")
    first.get_by_role("button", name="Approve").click()
    expect(first.get_by_text("Your answer was taken")).to_be_visible()
    closed(served, task)
    with second.expect_response(lambda answer: answer.request.method == "POST") as answer:
        second.get_by_role("button", name="Approve").click()
    assert answer.value.status == 409
    expect(second.get_by_text("This task was closed before your answer came")).to_be_visible()
    expect(second.get_by_text("Who decided")).to_be_visible()
    assert closed(served, task)["by"] == "kim"


def test_korean_readers_get_korean_and_a_language_that_is_chosen_stays(visit: Open, task: str) -> None:
    page = visit(locale="ko-KR").new_page()
    page.goto(task)
    expect(page.locator("html")).to_have_attribute("lang", "ko")
    expect(page.get_by_role("button", name="승인")).to_be_visible()
    expect(page.get_by_text("대기 중")).to_be_visible()
    page.get_by_role("link", name="English").click()
    expect(page.get_by_role("button", name="Approve")).to_be_visible()
    page.goto("/inbox")
    expect(page.get_by_role("link", name="My tasks")).to_be_visible()


def test_nothing_of_a_hostile_task_is_run_or_laid_out_as_a_page(visit: Open, served: Product) -> None:
    path = new_task(served, "pages-hostile")
    page = visit(java_script_enabled=True).new_page()
    with nothing_bad_happens(page):
        for address in (path, "/inbox?view=open&sort=newest"):
            page.goto(address)
            assert page.locator("script, main img, main svg, [onerror], [onload], [onmouseover]").count() == 0
        page.goto(path)
        expect(page.get_by_role("heading", level=1)).to_contain_text("<script>alert(2)</script>")
        page.get_by_role("button", name="Approve").click()
        expect(page.get_by_text("Your answer was taken")).to_be_visible()
    assert closed(served, path)["data"] == {'"><script>alert(10)</script>': '"><script>alert(12)</script>'}


def test_what_is_attached_is_opened_and_downloaded_and_runs_nothing(visit: Open, served: Product, task: str) -> None:
    page = visit(java_script_enabled=True).new_page()
    page.goto(task)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download order.json").click()
    assert download.value.suggested_filename == "order.json"
    assert json.loads(download.value.path().read_text()) == {"id": "A-7", "total": 129.9}
    page.goto(new_task(served, "pages-hostile"))
    with nothing_bad_happens(page):
        page.get_by_role("link", name="Open script_.txt").click()
        expect(page.locator("body")).to_contain_text("</pre><script>alert(8)</script>")
        assert page.evaluate("document.contentType") == "text/plain"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_phone_can_be_read_in_the_light_and_in_the_dark_and_every_field_has_a_name(
    visit: Open, served: Product, task: str, scheme: str
) -> None:
    viewport = {"width": 390, "height": 800}
    page = visit(java_script_enabled=True, viewport=viewport, color_scheme=scheme).new_page()
    hostile = new_task(served, "pages-hostile")
    for path in ("/inbox?view=open&sort=newest", "/inbox?view=closed", task, hostile, "/inbox/name", "/inbox/no:where"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
        assert page.evaluate(CONTRAST) == [], path
        assert page.evaluate(NAMELESS) == [] and page.evaluate(TWICE) == [] and page.evaluate(DANGLING) == [], path
        assert page.locator("h1").count() == 1, path
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
        assert (max(ground) < 60) == (scheme == "dark")
    page.evaluate("document.querySelector('h1').style.color = getComputedStyle(document.body).backgroundColor")
    assert len(page.evaluate(CONTRAST)) == 1, "the measure itself sees nothing"


def test_a_link_from_a_mail_opens_a_page_that_takes_one_answer(visit: Open, served: Product, task: str) -> None:
    url = served.settings.gateway_url + task.replace("/inbox/", "/v1/tasks/")
    made = httpx.post(f"{url}/links", json={"person": "lee"}, timeout=SECONDS).json()["links"]
    [link] = [one["url"] for one in made if one["decision"] is None]
    page = visit(None, locale="ko-KR").new_page()
    page.goto(link)
    expect(page.get_by_text("lee 이름으로 답변합니다")).to_be_visible()
    expect(page.get_by_role("link", name="할 일")).to_have_count(0)
    page.get_by_label("Account").fill("DE9")
    page.get_by_role("button", name="승인").click()
    expect(page.get_by_role("heading", name="감사합니다")).to_be_visible()
    found = closed(served, task)
    assert (found["data"]["account"], found["by"]) == ("DE9", "lee")
    page.goto(link)
    expect(page.get_by_role("alert")).to_contain_text("it can be used once")
