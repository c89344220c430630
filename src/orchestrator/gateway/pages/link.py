"""``/v1/task-links/{token}``: one person decides one task, from a mail or a chat. Looking decides nothing."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from orchestrator.client import Client
from orchestrator.client.tasks import LinkedTask
from orchestrator.errors import InputsInvalid
from orchestrator.gateway.bodies import read_body
from orchestrator.gateway.pages import fields
from orchestrator.gateway.pages.answers import Answer, about_data, answer_of
from orchestrator.gateway.pages.attachments import attachments_of
from orchestrator.gateway.pages.downloads import asked_for
from orchestrator.gateway.pages.fields import Given
from orchestrator.gateway.pages.page import BARE, Pages
from orchestrator.gateway.pages.standing import choices, comment_needed
from orchestrator.gateway.pages.wrong import worded
from orchestrator.spec.acts.human_task import REJECT
from orchestrator.steps.tasks.links import LINKS

_OWN = ("decision", "comment")
"""What is asked besides the form's fields."""


def router(pages: Pages, client: Client) -> APIRouter:
    """The page. A mail program that looks at the address ahead of the person changes nothing. Its forms carry no token
    of a cookie: nobody can send one without the address, which is a secret."""
    api = pages.router(LINKS, bare=True)

    @api.get("/{token}")
    async def ask(token: str, request: Request) -> Response:
        found = await client.linked_task(token)
        return await asked_for(client, found.task, request) or await _form(pages, request, found)

    @api.post("/{token}")
    async def decide(token: str, request: Request) -> Response:
        body = await read_body(request, pages.settings.max_body)
        given: Given = body.value if isinstance(body.value, dict) else {}
        found = await client.linked_task(token)
        answer = answer_of(found.task, given, pages.zone, found.link.decision)
        if answer.problems:
            return await _form(pages, request, found, given, answer)
        try:
            await client.decide_linked(token, answer.decision, answer.data, answer.comment)
        except InputsInvalid as error:
            answer.problems = list(error.problems)
            return await _form(pages, request, found, given, answer)
        label = dict(choices(found.task, pages.language(request)))[answer.decision]
        return await pages.show(request, "link_done.html", headers=BARE, label=label, who=found.link.person, bare=True)

    return api


async def _form(
    pages: Pages, request: Request, found: LinkedTask, given: Given | None = None, answer: Answer | None = None
) -> Response:
    """The task with its form; with ``given`` what was typed is kept."""
    t, task, decision = pages.language(request), found.task, found.link.decision
    # A rejection needs no answers.
    asked = [] if decision == REJECT else fields.fields(task.form, given, pages.zone)
    problems = answer.problems if answer else []
    rest = fields.tell(asked, about_data(problems))
    offered = choices(task, t)
    needs = comment_needed(task)
    if decision is not None:
        needs = "all" if decision in (task.comment_required or []) else "none"
    return await pages.show(
        request,
        "link.html",
        422 if answer else 200,
        BARE,
        bare=True,
        task=task,
        link=found.link,
        fields=asked,
        wrong_fields=[one for one in fields.flat(asked) if one.wrong],
        rest=rest,
        failed=answer is not None,
        wrong={name: next((one.message for one in problems if one.field == name), None) for name in _OWN},
        comment=(given or {}).get("comment") or "",
        worded=lambda message: worded(t, message),
        choices=[(name, label) for name, label in offered if decision in (None, name)],
        reject=REJECT,
        comment_needed=needs,
        needed_for=", ".join(label for name, label in offered if name in (task.comment_required or [])),
        attachments=attachments_of(task),
        zone=pages.zone.key,
    )
