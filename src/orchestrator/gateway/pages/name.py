"""``/inbox/name``: who the reader says they are. Nobody checks it: there is no login yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fastapi import APIRouter, Request, Response

from orchestrator.gateway.pages.page import LONGEST_NAME, Pages, local_path
from orchestrator.spec.definition import Json
from orchestrator.spec.project import Project

_HOME = "/inbox"


def router(pages: Pages, project: Callable[[], Project]) -> APIRouter:
    """The form and what takes it."""
    api = pages.router("/inbox/name")

    @api.get("")
    async def ask(request: Request, back: str = _HOME) -> Response:
        people = _people(project().contacts)
        return await pages.show(request, "name.html", people=people, back=local_path(back, _HOME), given=None)

    @api.post("")
    async def take(request: Request) -> Response:
        given = await pages.form(request)
        back = local_path(given.get("back"), _HOME)
        name = str(given.get("name") or "").strip()
        if given.get("forget") is None and not (0 < len(name) <= LONGEST_NAME and name.isprintable()):
            people = _people(project().contacts)
            return await pages.show(request, "name.html", 422, people=people, back=back, given=name)
        answer = pages.redirect(back)
        pages.remember_name(request, answer, name if given.get("forget") is None else None)
        return answer

    return api


def _people(contacts: Mapping[str, Json]) -> list[str]:
    """Who is declared: contacts that are no group, and the members of groups."""
    found: dict[str, None] = {}
    for name, contact in contacts.items():
        members = contact.get("members") if isinstance(contact, Mapping) else None
        for one in members if isinstance(members, list) and members else [name]:
            entry = contacts.get(str(one))
            if not (isinstance(entry, Mapping) and entry.get("members")):
                found[str(one)] = None
    return sorted(found, key=str.casefold)
