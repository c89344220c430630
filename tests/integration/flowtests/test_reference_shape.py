"""The onboarding flow in the style people bring along, run to its ends: reviewed by a person, approved at once, failed."""

from __future__ import annotations

import pytest
from tests.integration.flowtests.conftest import Bench
from tests.unit.spec.test_onboarding import TEXT

pytestmark = pytest.mark.asyncio(loop_scope="module")

CASES = """
defaults:
  mocks:
    verify-email: {output: {status: 200, headers: {}, body: {valid: true}}}
    company-research: {output: {text: tools}}
    risk-assessment: {output: {score: 0.2}}
    auto-approve: {output: {approved: true}}
    create-account: {output: {account: a1}}
    setup-billing: {output: {subscription: s1}}
    generate-welcome-kit: {output: {text: welcome}}
    send-communications: {output: {email: {id: e1}, slack: {id: s1}, crm: {id: c1}}}
    notification-1: {output: {id: n1}}
    queue-1: {output: {id: q1}}
cases:
  - name: a low risk is approved at once
    trigger: {type: webhook, body: {customer: {email: ada@example.com, company: Ada Ltd, plan: team}}}
    expect:
      output: {email: {id: e1}, slack: {id: s1}, crm: {id: c1}}
      ran: [verify-email, company-research, auto-approve, create-account, setup-billing, generate-welcome-kit]
      skipped: [manual-review]
      order: [risk-assessment, risk-check, create-account, send-communications]
      called_with:
        verify-email: {url: "https://api.emailverify.com/check", method: POST, body: {email: ada@example.com}}
        risk-assessment: {params: {customer: {plan: team}}}
        create-account: {service: account-service, method: createAccount}
        send-communications:
          channels:
            - {email: {to: ada@example.com, template: welcome, data: {text: welcome}}}
            - {slack: {channel: "#new-customers", message: "New customer onboarded: Ada Ltd"}}
            - {crm: {action: updateStatus, status: onboarded}}
  - name: an event starts it, and a person looks at a high risk
    trigger: {type: event, body: {customer: {email: b@example.com, company: B, plan: free}}}
    mocks: {risk-assessment: {output: {score: 0.9}}}
    events: [{after: 5h, decide: manual-review, decision: approve, by: grace}]
    expect: {ran: [manual-review, send-communications], skipped: [auto-approve], duration: 5h}
  - name: nobody looks in time, and the fallback tells and keeps it
    inputs: {customer: {email: b@example.com, company: B, plan: free}}
    mocks: {risk-assessment: {output: {score: 0.9}}}
    expect:
      status: failed
      error: {type: deadline_exceeded, step: manual-review}
      duration: 24h
      called_with: {notification-1: {target: ops-team}, queue-1: {queue: failed-onboarding}}
  - name: what fails for a moment is tried three times
    inputs: {customer: {email: b@example.com, company: B, plan: free}}
    mocks:
      setup-billing: [{error: temporary_service_unavailable}, {error: network_error}, {output: {subscription: s2}}]
    expect: {calls: {setup-billing: 3}, ran: [send-communications]}
  - name: a start without the plan is refused
    trigger: {type: webhook, body: {customer: {email: b@example.com}}}
    expect: {status: not_started}
"""


async def test_it_runs_to_each_of_its_ends_as_it_is_written(bench: Bench) -> None:
    await bench.passes(TEXT, CASES)
