"""What steps that send messages say at load."""

from __future__ import annotations

from typing import Any

import pytest

STEPS = [
    ("type: email\nconfig: {to: a@b.c, text: t}", "an email needs a `subject`"),
    ("type: email\nconfig: {to: a@b.c, subject: s}", "an email needs `text`, `html` or `template`"),
    ("type: email\nconfig: {subject: s, text: t}", "an email needs `to` or `contact`"),
    ("type: email\nconfig: {to: a@b.c, template: x, html: y}", "an email has a `template`, or `text` and `html`"),
    ("type: email\nconfig: {to: a@b.c, template: x, attachments: [{text: t}]}", "an attachment needs a `name`"),
    ("type: email\nconfig: {to: a@b.c, template: x, attachments: [{name: n}]}", "exactly one of `file`"),
    ("type: slack\nconfig: {channel: c}", "a slack message needs `message` or `blocks`"),
    ("type: notification\nconfig: {target: ops, severity: loud}", "`severity`"),
    ("type: multi-channel\nconfig: {channels: []}", "`channels`"),
    ("type: multi-channel\nconfig: {channels: [{slack: {channel: c}}]}", "a slack message needs"),
    ("type: multi-channel\nconfig: {channels: [{crm: {body: 1}}]}", "exactly one of `method` and `action`"),
    ("type: multi-channel\nconfig: {channels: [{crm: {method: m, body: 1, x: 2}}]}", "`x` would be a member of the body"),
    ("type: multi-channel\nconfig: {channels: [{crm: {method: m}}, {crm: {method: n}}]}", "`crm` is given twice"),
]  # fmt: skip


def flow(step: str) -> str:
    kind, _, config = step.partition("\n")
    return f"id: f\nsteps:\n  - id: a\n    {kind}\n    {config}\n"


@pytest.mark.parametrize(("step", "says"), STEPS, ids=[says[:40] for _, says in STEPS])
def test_a_message_that_could_never_be_sent_is_refused_with_its_cure(problems: Any, step: str, says: str) -> None:
    assert any(says in problem for problem in problems(flow(step)))


def test_templates_stand_for_any_value(load: Any) -> None:
    text = """\
id: f
inputs: {x: object}
steps:
  - {id: a, type: email, config: {to: "{{ inputs.x.to }}", subject: "{{ inputs.x.s }}", text: "{{ inputs.x.t }}", attachments: "{{ inputs.x.files }}"}}
  - {id: b, type: multi-channel, config: {channels: [{email: "{{ inputs.x.mail }}"}, {slack: {channel: "{{ inputs.x.c }}", blocks: "{{ inputs.x.b }}"}}]}}
  - {id: c, type: multi-channel, config: {channels: "{{ inputs.x.channels }}"}}
  - {id: d, type: notification, config: {target: "{{ inputs.x.who }}", severity: "{{ inputs.x.severity }}"}}
"""
    assert load(text).unsupported == ()


def test_a_contact_that_nobody_declared_is_a_warning(load: Any) -> None:
    text = """\
id: f
steps:
  - {id: a, type: email, config: {contact: ops, subject: s, text: t}}
  - {id: b, type: notification, config: {target: ops}}
"""
    assert [(one.line, one.message) for one in load(text).warnings] == [
        (3, "no contact `ops` is declared"), (4, "no contact `ops` is declared"),
    ]  # fmt: skip
