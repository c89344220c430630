"""content-moderation beside a Slack and a database: reviewers are told, and nobody waits for Slack.

What each verdict does is in tests/e2e/test_examples.py, where no Slack answers.
"""

from __future__ import annotations

import sqlite3
from typing import Any
from uuid import uuid4

import httpx
from tests.e2e.example_services import Services
from tests.e2e.flows.runs import decide, deliver, open_task, records, until
from tests.e2e.product import Product, ended, waits_for

Json = Any

WEBHOOK = "/api/webhooks/content"
SLACK = "tell-reviewers"


def unsure(house: Product) -> tuple[str, str]:
    """A run about a text that Claude is unsure of; its id and the content's."""
    content = f"content-{uuid4().hex[:8]}"
    return deliver(
        house, WEBHOOK, {"id": content, "content": f"테스트 <!channel> {content}", "user_id": "u-1"}
    ), content


def review(house: Product, run_id: str, decision: str) -> None:
    """Decide as soon as the run waits for it."""
    until(lambda: waits_for(house, run_id, "review"))
    decide(house, open_task(house, run_id), decision)


def status_of(house: Product, content: str) -> tuple[str, str]:
    """What the database says of a content: its status, and who decided."""
    database = sqlite3.connect(house.folder / ".orchestrator" / "content.db", timeout=30)
    try:
        found: tuple[str, str] = database.execute(
            "SELECT status, reviewed_by FROM content WHERE id = ?", (content,)
        ).fetchone()
    finally:
        database.close()
    return found


def record_of(house: Product, run_id: str) -> Json:
    """The record of the Slack step."""
    return next(record for path, record in records(house, run_id).items() if path.endswith(SLACK))


def test_reviewers_are_told_in_slack_with_the_analysis_and_no_markup_of_the_user(
    house: Product, services: Services
) -> None:
    run_id, content = unsure(house)
    review(house, run_id, "approve")
    run = ended(house, run_id)
    assert run["result"]["status"] == "approved"
    assert status_of(house, content) == ("approved", "kim")
    (said,) = [call["body"] for call in services.calls("/slack", channel="#content-review") if content in str(call)]
    assert f"&lt;!channel&gt; {content}" in said["text"]
    (analysis,) = said["attachments"]
    assert analysis["title"] == "AI 분석 결과"
    assert [(field["title"], field["value"]) for field in analysis["fields"]] == [
        ("신뢰도", run["result"]["confidence"]),
        ("감정", "neutral"),
        ("콘텐츠", content),
    ]


def test_a_slack_that_is_down_does_not_hold_the_review(house: Product, services: Services) -> None:
    services.fail("/slack", status=503, times=2)
    run_id, content = unsure(house)
    review(house, run_id, "reject")
    run = ended(house, run_id)
    assert (run["status"], run["result"]["status"]) == ("completed", "rejected")
    assert status_of(house, content) == ("rejected", "kim")
    told = record_of(house, run_id)
    assert (told["status"], told["attempts"]) == ("failed", 2)
    assert [warning for warning in run["state"]["warnings"] if SLACK in str(warning)]


def test_content_that_comes_again_is_judged_again_in_the_same_row(house: Product, services: Services) -> None:
    content = f"content-{uuid4().hex[:8]}"
    for text, status in (("도박 사이트로 오세요", "flagged"), ("오늘 날씨가 참 좋네요", "approved")):
        run = ended(house, deliver(house, WEBHOOK, {"id": content, "content": text, "user_id": "u-1"}))
        assert run["result"]["status"] == status
        assert status_of(house, content) == (status, "claude")
    assert not [call for call in services.calls("/slack") if content in str(call)]


def test_what_lacks_a_field_starts_nothing_and_the_sender_is_told_which(house: Product) -> None:
    url = f"{house.settings.gateway_url}{WEBHOOK}"
    answer = httpx.post(url, json={"id": "x", "content": ""}, timeout=60)
    assert answer.status_code == 422
    assert "content" in answer.text and "user_id" in answer.text
