"""Contacts, the mail server and the Slack workspace as orchestrator.yaml declares them."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import FlowInvalid
from orchestrator.spec.project import load_project

MAIL = "mail: {{server: smtp.example.com, from: a@b.example{}}}\n"


def problems(folder: Path, text: str) -> str:
    (folder / "orchestrator.yaml").write_text(text)
    with pytest.raises(FlowInvalid) as caught:
        load_project(folder)
    return str(caught.value)


def test_every_way_and_nothing_at_all_can_be_declared(tmp_path: Path) -> None:
    (tmp_path / "orchestrator.yaml").write_text(
        """\
contacts:
  desk:
  team: {}
  kim: {name: Kim Lee, description: on call, email: [kim@example.com], slack: U1, webhook: "https://x.example/hook"}
  hidden: {webhook: {url: "{{ secrets.HOOK }}", auth: {bearer: "{{ secrets.TOKEN }}"}}, slack: "{{ secrets.CHANNEL }}"}
  ops: {members: [kim, team]}
mail: {server: "{{ secrets.SMTP_HOST }}", port: "{{ secrets.SMTP_PORT }}", from: "Shop <shop@example.com>",
       username: shop, password: "{{ secrets.SMTP_PASSWORD }}"}
slack: {token: "{{ secrets.SLACK }}", webhooks: {"#ops": "{{ secrets.HOOK }}"}}
"""
    )
    assert list(load_project(tmp_path).contacts) == ["desk", "team", "kim", "hidden", "ops"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("contacts: {kim: {mail: a@b.c}}", "unknown key `mail` in the contact `kim` (did you mean `email`?)"),
        ("contacts: {kim: {webhook: 'ftp://x'}}", "1:27: "),
        ("contacts: {kim: {webhook: {url: x.example}}}", "1:33: "),
        ("contacts: {kim: {members: ann}}", "`members`"),
        (MAIL.format(", username: a"), "`username` and `password` are given together"),
        (MAIL.format(", username: a, password: b, security: none"), "a password is sent over TLS only"),
        (MAIL.format(", security: ssl"), "`security`"),
        (MAIL.format(", port: 99999"), "`port`"),
        ("mail: {server: smtp.example.com}", "`from` is missing"),
        ("mail: {server: 'smtp://x', from: a@b.c}", "`server`"),
        ("slack: {webhooks: {}}", "write `token`, `webhooks`, or both"),
        ("slack: {tokn: x}", "unknown key `tokn`"),
    ],
)
def test_what_could_never_work_is_refused_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    assert says in problems(tmp_path, text)
