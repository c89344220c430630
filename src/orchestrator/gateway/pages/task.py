"""``/inbox/{task}``: one task, and the forms that decide it, hand it on and say something about it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote, unquote, urlencode

from fastapi import APIRouter, Request, Response

from orchestrator.client import Client
from orchestrator.errors import Conflict, FieldProblem, InputsInvalid, Refused, Unavailable
from orchestrator.gateway.pages import fields
from orchestrator.gateway.pages.answers import about_data, answer_of, text_of
from orchestrator.gateway.pages.attachments import attachments_of
from orchestrator.gateway.pages.downloads import asked_for
from orchestrator.gateway.pages.fields import Given
from orchestrator.gateway.pages.page import Pages, person_of, task_address
from orchestrator.gateway.pages.shown import answered
from orchestrator.gateway.pages.standing import choices, comment_needed, events, label_in, not_yet, standing, tallies
from orchestrator.gateway.pages.wrong import worded
from orchestrator.gateway.problems import status_of
from orchestrator.spec.acts.human_task import REJECT
from orchestrator.spec.project import Project
from orchestrator.store.tasks import Task

Done = Literal["decided", "commented", "delegated"]
_ASKED: dict[Done, str] = {"commented": "said", "delegated": "to"}
"""The forms besides the decision, with the field that each cannot do without."""
_COOKIE = "orchestrator_done"
"""What a form has just done, for the page that is shown next."""
_LOOKS = 30
_PAUSE = 0.1
"""How often, and after how many seconds, the store is asked whether it knows what the run has taken."""


@dataclass(slots=True)
class Trouble:
    """Why a form could not be taken, and what it was sent with. ``about`` is which form; ``rest`` is what is wrong with
    no field in particular, ``detail`` what the run said."""

    about: Done
    given: Given
    status: int = 422
    problems: list[FieldProblem] = field(default_factory=list)
    detail: str | None = None

    def wrong(self, name: str) -> str | None:
        """What is wrong with the decision, the comment, or the one field of the other forms."""
        if self.about != "decided" and self.problems:
            return self.problems[0].message
        return next((problem.message for problem in self.problems if problem.field == name), None)


def router(pages: Pages, client: Client, project: Callable[[], Project]) -> APIRouter:
    """The page and what it does."""
    api = pages.router("/inbox")
    desk = _TaskPage(pages, client, project)

    @api.get("/{task_id:path}")
    async def look(request: Request, task_id: str) -> Response:
        task = await client.task(task_id)
        return await asked_for(client, task, request) or await desk.show(request, task)

    @api.post("/{task_id:path}")
    async def act(request: Request, task_id: str) -> Response:
        given = await pages.form(request)
        task, person = await client.task(task_id), person_of(request)
        if person is None:
            return pages.redirect(f"/inbox/name?{urlencode({'back': task_address(task_id)})}")
        about: Done = next((form for form in _ASKED if form == given.get("do")), "decided")
        return await desk.take(request, task, Trouble(about, given), person)

    return api


class _TaskPage:
    def __init__(self, pages: Pages, client: Client, project: Callable[[], Project]) -> None:
        self._pages = pages
        self._client = client
        self._project = project

    async def take(self, request: Request, task: Task, form: Trouble, person: str) -> Response:
        """Do what the form says and show the task; where that cannot be, show the form again and why."""
        try:
            word = await self._told(task, form, person)
        except InputsInvalid as error:
            form.problems = list(error.problems)
            return await self.show(request, task, form)
        except (Conflict, Refused, Unavailable) as error:
            form.status, form.detail = status_of(error), str(error)
            return await self.show(request, await self._client.task(task.id), form)
        await self._until_written(task, form.about, person, word)
        answer = self._pages.redirect(task_address(task.id))
        self._pages.keep(request, answer, _COOKIE, quote(json.dumps([task.id, form.about, word]), safe=""), 60)
        return answer

    async def _told(self, task: Task, form: Trouble, person: str) -> str:
        """Tell the run; the word that says what. Raises InputsInvalid and what the client does."""
        given = form.given
        if form.about == "decided":
            answer = answer_of(task, given, self._pages.zone)
            if answer.problems:
                raise InputsInvalid(task.flow, answer.problems)
            await self._client.decide(task.id, answer.decision, answer.data, answer.comment, person)
            return answer.decision
        name = _ASKED[form.about]
        text = text_of(given.get(name))
        if text is None:
            raise InputsInvalid(task.flow, [FieldProblem(name, "is required")])
        if form.about == "commented":
            await self._client.comment(task.id, text, person)
        else:
            await self._client.delegate(task.id, text, person, text_of(given.get("why")))
        return text

    async def _until_written(self, task: Task, done: Done, person: str, word: str) -> None:
        """Wait a moment for the store, which learns from the run what the run has taken: the next page shows it. When
        that takes longer, the page says what was taken all the same."""
        for _ in range(_LOOKS):
            now = await self._client.task(task.id)
            voted = any(str(vote["by"]) == person for vote in now.votes or [])
            if now.status != "open" or (done == "decided" and voted) or (done == "delegated" and now != task):
                return
            if done == "commented":
                said = [entry.details for entry in await self._client.task_history(task.id)]
                if any(isinstance(one, dict) and one.get("comment") == word for one in said):
                    return
            await asyncio.sleep(_PAUSE)

    async def show(self, request: Request, task: Task, trouble: Trouble | None = None) -> Response:
        """The page as the reader sees it; with ``trouble`` what they typed is kept."""
        t = self._pages.language(request)
        history = await self._client.task_history(task.id)
        tally = tallies(task, history, t)
        deciding = trouble if trouble is not None and trouble.about == "decided" else None
        asked = fields.fields(task.form, deciding.given if deciding else None, self._pages.zone)
        rest = fields.tell(asked, about_data(deciding.problems) if deciding else [])
        done = _done(request, task.id) if trouble is None else None
        stands = standing(task, person_of(request), tally is not None)
        if done is not None and done[0] == "decided" and stands == "may":
            stands = "voted"  # The store is about to learn of it.
        offered = choices(task, t)
        page = await self._pages.show(
            request,
            "task.html",
            trouble.status if trouble else 200,
            section="inbox",
            task=task,
            standing=stands,
            fields=asked,
            wrong_fields=[one for one in fields.flat(asked) if one.wrong],
            rest=rest,
            trouble=trouble,
            worded=lambda message: worded(t, message),
            choices=offered,
            label_of=label_in(t),
            comment_needed=comment_needed(task),
            needed_for=", ".join(label for name, label in offered if name in (task.comment_required or [])),
            reject=REJECT,
            tally=tally,
            not_yet=not_yet(task),
            events=events(task, history, t),
            attachments=attachments_of(task),
            data=None if task.data is None else answered(task.data, task.form),
            people=sorted(self._project().contacts, key=str.casefold),
            done=done,
            zone=self._pages.zone.key,
        )
        page.delete_cookie(_COOKIE, path="/")
        return page


def _done(request: Request, task_id: str) -> tuple[str, str] | None:
    """What the reader has just done to this task: how, and the word that says what."""
    try:
        about, done, word = json.loads(unquote(request.cookies.get(_COOKIE, "null")))
    except (ValueError, TypeError):
        return None
    return (done, str(word)) if about == task_id and done in ("decided", *_ASKED) else None
