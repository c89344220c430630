"""What all pages share: files, languages, headers, errors in words, and forms that only our pages send."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import temporalio.client
from tests.integration.gateway.conftest import Door, open_door
from tests.integration.gateway.pages.conftest import token_in


async def test_the_files_of_a_page_are_named_by_their_content_and_kept_by_browsers(idle: Door) -> None:
    page = await idle.http.get("/inbox/name")
    assert page.status_code == 200
    for path, kind in ((r"/pages/style\.\w{12}\.css", "text/css"), (r"/pages/icon\.\w{12}\.svg", "image/svg+xml")):
        found = re.search(path, page.text)
        assert found is not None
        file = await idle.http.get(found[0])
        assert file.headers["content-type"].startswith(kind)
        assert "immutable" in file.headers["cache-control"]
        assert (await idle.http.get(found[0].replace(".", ".0", 1))).status_code == 404


async def test_a_page_allows_no_script_no_frame_and_nothing_from_elsewhere(idle: Door) -> None:
    page = await idle.http.get("/inbox/name")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert "script" not in policy
    assert page.headers["x-content-type-options"] == "nosniff" and page.headers["cache-control"] == "no-store"
    assert not re.search(r"<script|<style| style=| on\w+=", page.text)


async def test_a_reader_gets_their_language_and_one_they_choose_is_remembered(idle: Door) -> None:
    path = "/inbox/name"
    assert '<html lang="en">' in (await idle.http.get(path)).text
    assert '<html lang="ko">' in (await idle.http.get(path, headers={"accept-language": "ko-KR"})).text
    assert '<html lang="en">' in (await idle.http.get(path, params={"lang": "xx"})).text
    chosen = await idle.http.get(path, params={"lang": "ko", "back": "/inbox?flow=a b"})
    assert "누구신가요" in chosen.text
    assert 'href="/inbox/name?back=%2Finbox%3Fflow%3Da+b&amp;lang=en"' in chosen.text
    assert '<html lang="ko">' in (await idle.http.get(path, headers={"accept-language": "en"})).text


async def test_a_name_is_kept_and_forgotten_and_the_reader_goes_on_where_they_were(idle: Door) -> None:
    page = await idle.http.get("/inbox/name", params={"back": "/runs?flow=a"})
    form = {"form_token": token_in(page), "name": " 김 <b>서연</b> ", "back": "/runs?flow=a"}
    taken = await idle.http.post("/inbox/name", data=form)
    assert (taken.status_code, taken.headers["location"]) == (303, "/runs?flow=a")
    page = await idle.http.get("/inbox/name")
    assert "<b>김 &lt;b&gt;서연&lt;/b&gt;</b>" in page.text
    gone = await idle.http.post("/inbox/name", data={"form_token": token_in(page), "forget": "1"})
    assert (gone.status_code, gone.headers["location"]) == (303, "/inbox")
    assert "서연" not in (await idle.http.get("/inbox/name")).text


async def test_nobody_is_sent_to_another_site(idle: Door) -> None:
    for back in ("https://elsewhere.example", "//elsewhere.example", "/\\elsewhere.example", "x", ""):
        page = await idle.http.get("/inbox/name", params={"back": back})
        assert 'name="back" value="/inbox"' in page.text
        form = {"form_token": token_in(page), "name": "kim", "back": back}
        assert (await idle.http.post("/inbox/name", data=form)).headers["location"] == "/inbox", back


async def test_a_name_that_is_none_comes_back_with_the_reason_beside_it(idle: Door) -> None:
    for name in ("", "  ", "x" * 201, "a\nb"):
        page = await idle.http.get("/inbox/name")
        wrong = await idle.http.post("/inbox/name", data={"form_token": token_in(page), "name": name})
        assert (wrong.status_code, 'aria-invalid="true"' in wrong.text) == (422, True), name


FOREIGN: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"form_token": None}, {}),
    ({"form_token": ""}, {}),
    ({"form_token": "made.up"}, {}),
    ({}, {"origin": "https://elsewhere.example"}),
    ({}, {"origin": "null"}),
    ({}, {"origin": "http://[::1"}),
    ({}, {"sec-fetch-site": "cross-site"}),
    ({}, {"cookie": "orchestrator_form=another-browser-of-mine"}),
    ({}, {"cookie": ""}),
]


async def test_a_form_that_our_page_did_not_send_from_this_browser_is_refused(idle: Door) -> None:
    page = await idle.http.get("/inbox/name")
    for changed, headers in FOREIGN:
        form = {"form_token": token_in(page), "name": "mallory"} | changed
        given = {name: value for name, value in form.items() if value is not None}
        refused = await idle.http.post("/inbox/name", data=given, headers=headers)
        assert (refused.status_code, "This is not allowed" in refused.text) == (403, True), (changed, headers)
        assert "orchestrator_name" not in idle.http.cookies


async def test_a_form_from_our_own_page_is_taken_by_every_name_the_gateway_has(idle: Door) -> None:
    page = await idle.http.get("/inbox/name")
    form = {"form_token": token_in(page), "name": "kim"}
    for headers in (
        {"origin": str(idle.http.base_url).rstrip("/")},
        {"origin": idle.settings.gateway_url},
        {"sec-fetch-site": "same-origin"},
    ):
        assert (await idle.http.post("/inbox/name", data=form, headers=headers)).status_code == 303


NO_FORMS = [
    (b"{}", "application/json", 415),
    (b"\xff", "application/x-www-form-urlencoded", 400),
    (b"a", "image/png", 415),
    (b"name=%00", "application/x-www-form-urlencoded", 422),
    (b"x=1&" * 2000, "application/x-www-form-urlencoded", 400),
    (b"x" * 1_100_000, "application/x-www-form-urlencoded", 413),
    (b"plain", "text/plain", 415),
    (b"", "application/x-www-form-urlencoded", 403),
]


async def test_what_is_no_form_is_refused_with_a_page(idle: Door) -> None:
    for body, kind, status in NO_FORMS:
        answer = await idle.http.post("/inbox/name", content=body, headers={"content-type": kind})
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"].startswith("text/html") and "<h1>" in answer.text


async def test_behind_a_proxy_with_tls_cookies_are_kept_to_it_and_its_forms_are_taken(
    temporal: temporalio.client.Client, tmp_path: Path
) -> None:
    async with open_door(temporal, tmp_path, working=False, public_url="https://flows.example.com") as door:
        through = {"host": "flows.example.com"}
        page = await door.http.get("/inbox/name", headers=through)
        assert re.search(r"orchestrator_form=\S+; HttpOnly; Path=/; SameSite=lax; Secure", page.headers["set-cookie"])
        direct = await door.http.get("/inbox/name")
        assert "Secure" not in direct.headers["set-cookie"]
        form = {"form_token": token_in(direct), "name": "kim"}
        for origin, status in (("https://flows.example.com", 303), ("https://flows.example.com.evil.example", 403)):
            answer = await door.http.post("/inbox/name", data=form, headers={"origin": origin})
            assert answer.status_code == status, origin
