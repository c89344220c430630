"""A flow in the style people bring along: quoted everywhere, lists at the indentation of their key, inline fallbacks."""

from __future__ import annotations

from typing import Any

import jsonschema
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import FlowInvalid
from orchestrator.spec.loading import load_flow
from orchestrator.spec.project import Project
from orchestrator.spec.schema import flow_schema
from orchestrator.spec.source import read_source

TEXT = """\
name: "고객 온보딩 자동화"
id: "customer-onboarding-v2"
version: "2.0.0"

triggers:
  - type: "webhook"
    endpoint: "/api/webhooks/new-customer"
  - type: "schedule"
    cron: "0 9 * * MON"
  - type: "event"
    source: "crm.customer.created"

inputs:
  customer:
    type: "object"
    required: ["email", "company", "plan"]

steps:
  # 병렬 실행 그룹 1
  - parallel:
    - id: "verify-email"
      type: "http"
      config:
        url: "https://api.emailverify.com/check"
        method: "POST"
        body:
          email: "{{ inputs.customer.email }}"

    - id: "company-research"
      type: "claude"
      config:
        prompt: |
          Research company: {{ inputs.customer.company }}
          Find: industry, size, recent news, competitors
        model: "claude-3-opus-20240229"

    - id: "risk-assessment"
      type: "function"
      config:
        handler: "assessCustomerRisk"
        params:
          customer: "{{ inputs.customer }}"

  # 조건부 분기
  - id: "risk-check"
    type: "condition"
    config:
      if: "{{ steps.risk-assessment.output.score }} > 0.7"
      then:
        - id: "manual-review"
          type: "human-task"
          config:
            assignee: "compliance-team"
            deadline: "24h"
      else:
        - id: "auto-approve"
          type: "function"
          config:
            handler: "approveCustomer"

  # 병렬 실행 그룹 2
  - parallel:
    - id: "create-account"
      type: "api"
      config:
        service: "account-service"
        method: "createAccount"

    - id: "setup-billing"
      type: "api"
      config:
        service: "billing-service"
        method: "setupSubscription"

    - id: "generate-welcome-kit"
      type: "claude"
      config:
        prompt: |
          Create personalized welcome materials for:
          Company: {{ inputs.customer.company }}
          Industry: {{ steps.company-research.output.text }}
          Plan: {{ inputs.customer.plan }}

          Include:
          1. Welcome email
          2. Getting started guide
          3. Best practices for their industry

  # 최종 단계
  - id: "send-communications"
    type: "multi-channel"
    config:
      channels:
        - email:
            to: "{{ inputs.customer.email }}"
            template: "welcome"
            data: "{{ steps.generate-welcome-kit.output }}"
        - slack:
            channel: "#new-customers"
            message: "New customer onboarded: {{ inputs.customer.company }}"
        - crm:
            action: "updateStatus"
            status: "onboarded"

error_handling:
  retry:
    max_attempts: 3
    backoff: "exponential"

  fallback:
    - type: "notification"
      target: "ops-team"
    - type: "queue"
      queue: "failed-onboarding"

monitoring:
  metrics:
    - "execution_time"
    - "success_rate"
    - "step_duration"
  alerts:
    - condition: "execution_time > 300s"
      channel: "slack"
"""


def test_it_loads_with_everything_in_its_place(load: Any) -> None:
    loaded = load(TEXT)
    definition = loaded.definition
    assert (definition.flow, definition.version, definition.name) == (
        "customer-onboarding-v2", "2.0.0", "고객 온보딩 자동화",
    )  # fmt: skip
    assert [step.type for step in definition.steps] == ["parallel", "condition", "parallel", "multi-channel"]
    assert [step.id for step in definition.steps[0].lists["branches"]] == [
        "verify-email", "company-research", "risk-assessment",
    ]  # fmt: skip
    assert definition.steps[1].config == {"if": "{{ steps.risk-assessment.output.score }} > 0.7"}
    assert definition.steps[1].lists["then"][0].config["deadline"] == 86400.0
    assert [(step.type, step.config) for step in definition.handlers["fallback"]] == [
        ("notification", {"target": "ops-team"}), ("queue", {"queue": "failed-onboarding"}),
    ]  # fmt: skip
    assert [trigger["type"] for trigger in loaded.triggers] == ["webhook", "schedule", "event"]
    assert loaded.triggers[0]["path"] == "/api/webhooks/new-customer"


def test_this_release_runs_all_of_it(load: Any) -> None:
    assert load(TEXT).unsupported == ()


def test_it_matches_the_schema_for_editors() -> None:
    jsonschema.Draft202012Validator(flow_schema()).validate(read_source(TEXT, "flow.yaml").data)


LINES = TEXT.splitlines()


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, len(LINES) - 1),
            st.integers(0, 40),
            st.sampled_from(["", " ", ":", "- ", "{{", "'", "x: 1", "[", "&a", "*a"]),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_no_damage_to_it_makes_loading_fail_with_anything_but_flow_invalid(damage: list[tuple[int, int, str]]) -> None:
    lines = list(LINES)
    for number, column, text in damage:
        lines[number] = "" if text == "" else lines[number][:column] + text + lines[number][column + 1 :]
    try:
        load_flow("\n".join(lines), "flow.yaml", Project())
    except FlowInvalid as error:
        assert all(1 <= problem.line <= len(lines) + 1 for problem in error.problems)
