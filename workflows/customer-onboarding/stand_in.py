"""What the local stand-in says in the onboarding flow, so that it runs without a key. It knows no company: it guesses
the industry from the name."""

from __future__ import annotations

import re

from orchestrator.testing.claude_replies import Reply, When
from orchestrator.testing.claude_request import Request

INDUSTRIES = {"bank": "finance", "books": "retail", "farm": "agriculture", "clinic": "health care"}
PRACTICES = {
    "finance": ["Give auditors an account that only reads.", "Have large transfers approved by two people."],
    "retail": ["Connect the shop first, the warehouse second.", "Try the busy season with last year's orders."],
}
USUAL = ["Begin with one team.", "Look at the first report together after a week."]


def tagged(request: Request, tag: str) -> str:
    """The text of the first ``<tag>`` of the prompt."""
    found = re.search(rf"<{tag}>(.*?)</{tag}>", request.opening, re.DOTALL)
    return found[1].strip() if found else ""


def research(request: Request) -> Reply:
    """An industry by a word in the company's name."""
    company = tagged(request, "company")
    found = [industry for word, industry in INDUSTRIES.items() if word in company.lower()]
    return Reply.json(
        {
            "industry": found[0] if found else "services",
            "size": "unknown",
            "news": [f"{company} has a new customer portal."],
            "competitors": [],
        }
    )


def kit(request: Request) -> Reply:
    """Words for the company, practices for its industry."""
    company, industry, plan = (tagged(request, tag) for tag in ("company", "industry", "plan"))
    return Reply.json(
        {
            "greeting": f"Welcome, {company}! Your {plan} plan is ready.",
            "getting_started": ["Sign in with this address.", "Invite your team.", "Connect your first system."],
            "best_practices": PRACTICES.get(industry, USUAL),
        }
    )


SCRIPT = [When("You research companies", research), When("You write welcome material", kit)]
