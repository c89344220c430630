"""An article is adapted for three channels, judged, and published on each at its time."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import httpx
import pytest
from tests.e2e.example_services import Services
from tests.e2e.flows.runs import decide, deliver, open_task, records, result, waits, with_client
from tests.e2e.product import Product

Json = Any

WEBHOOK = "/api/webhooks/articles"
ARTICLE = "Deploys on Friday are fine. What matters is how quickly a change can be taken back. Practise it."
LONG = "A sentence that goes on " + "and on " * 40 + "is too long for a tweet. " + ARTICLE


def article(content: str = ARTICLE, **inputs: Json) -> Json:
    return {"content": content, "link": "https://example.com/fridays", "schedule": "now"} | inputs


def published(services: Services, run_id: str) -> dict[str, Json]:
    """What the publishing service shows for a campaign, by platform."""
    found = httpx.get(f"{services.url}/publishing/posts", params={"campaign": run_id}, timeout=30).json()["posts"]
    by_platform = {post["platform"]: post["content"] for post in found}
    assert len(by_platform) == len(found), "nothing is published twice"
    return by_platform


def test_an_article_is_published_on_every_channel_in_the_form_that_suits_it(house: Product, services: Services) -> None:
    run_id = deliver(house, WEBHOOK, article())
    done = result(house, run_id)
    posts = published(services, run_id)
    assert set(posts) == {"twitter", "linkedin", "blog"}
    assert "https://example.com/fridays" in posts["twitter"][-1]
    assert posts["blog"]["markdown"].endswith(ARTICLE)
    assert {one["status"] for one in done["platforms"].values()} == {"completed"}
    assert all(one["url"].startswith("https://") for one in done["platforms"].values())


def test_a_thread_that_the_network_would_refuse_is_written_again_with_the_reasons(
    house: Product, services: Services
) -> None:
    run_id = deliver(house, WEBHOOK, article(LONG))
    assert result(house, run_id)["platforms"]["twitter"]["status"] == "completed"
    assert records(house, run_id)["adaptation/adapt-twitter"]["passes"] == 2
    assert all(len(tweet) <= 280 for tweet in published(services, run_id)["twitter"])


def test_a_channel_that_refuses_does_not_hold_up_the_others(house: Product, services: Services) -> None:
    services.fail("/publishing/linkedin", status=400)
    run_id = deliver(house, WEBHOOK, article())
    done = result(house, run_id)
    assert done["platforms"]["linkedin"]["status"] == "failed"
    assert "400" in done["platforms"]["linkedin"]["error"]
    assert set(published(services, run_id)) == {"twitter", "blog"}


def test_an_answer_that_was_lost_is_asked_for_again_and_publishes_once(house: Product, services: Services) -> None:
    services.fail("/publishing/blog", status=503, done=True)
    run_id = deliver(house, WEBHOOK, article())
    assert result(house, run_id)["platforms"]["blog"]["status"] == "completed"
    calls = [call for call in services.calls("/publishing/blog") if call["body"]["campaign"] == run_id]
    assert [call["status"] for call in calls] == [503, 201]
    assert set(published(services, run_id)) == {"twitter", "linkedin", "blog"}


@pytest.mark.parametrize(("decision", "channels"), [("approve", {"twitter", "linkedin", "blog"}), ("reject", set())])
def test_what_is_not_good_enough_waits_for_an_editor(
    house: Product, services: Services, decision: str, channels: set[str]
) -> None:
    run_id = deliver(house, WEBHOOK, article(f"This is a draft. {ARTICLE}"))
    task = open_task(house, run_id)
    assert task.group == "editors"
    assert "It says that it is a draft." in (task.instructions or "")
    assert published(services, run_id) == {}
    decide(house, task, decision, comment="not yet")
    done = result(house, run_id)
    assert done["rejected"] == ("not yet" if decision == "reject" else None)
    assert set(published(services, run_id)) == channels


def test_each_channel_waits_for_the_hour_at_which_its_readers_read(house: Product, services: Services) -> None:
    run_id = deliver(house, WEBHOOK, article(schedule="best", audience="managers", timezone="Europe/Berlin"))
    open_waits = waits(house, run_id, 3)
    times = records(house, run_id)["times"]["output"]
    assert {wait["step"] for wait in open_waits} == {"wait-twitter", "wait-linkedin", "wait-blog"}
    assert datetime.fromisoformat(times["twitter"]).hour == 12
    assert datetime.fromisoformat(times["twitter"]).weekday() in (1, 2, 3)
    assert published(services, run_id) == {}
    with_client(house, lambda client: client.run(run_id).cancel())
