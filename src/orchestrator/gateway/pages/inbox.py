"""``/inbox``: what waits for the reader, for anybody, and what has been decided."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response

from orchestrator.client import Client
from orchestrator.gateway.pages.page import Pages, person_of
from orchestrator.gateway.pages.standing import label_in
from orchestrator.spec.project import Project
from orchestrator.store.tasks import CLOSED, Order, Wanted

View = Literal["mine", "open", "closed"]
PATH = "/inbox"
_SIZE = 20
"""Tasks on one page of the list."""
_LONGEST = 200
_ORDERS: tuple[Order, ...] = ("deadline", "oldest", "newest")


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address asks for. What cannot be asked for counts as nothing: an old bookmark still opens."""

    view: View
    flow: str
    assignee: str
    overdue: bool
    order: Order
    page: int

    @classmethod
    def of(cls, request: Request) -> Asked:
        """What a request's query says."""
        query = request.query_params
        default: View = "mine" if person_of(request) else "open"
        order = next((one for one in _ORDERS if one == query.get("sort")), _ORDERS[0])
        page = query.get("page", "")
        views: tuple[View, ...] = ("mine", "open", "closed")
        chosen = next((one for one in views if one == query.get("view")), default)
        return cls(
            view=chosen,
            flow=query.get("flow", "")[:_LONGEST],
            assignee="" if chosen == "mine" else query.get("assignee", "").strip()[:_LONGEST],
            overdue=bool(query.get("overdue")),
            order=order,
            page=int(page) if page.isascii() and page.isdigit() and 0 < len(page) < 7 else 1,
        )

    def link(self, page: int) -> str:
        """The address of a page of the same list."""
        return self._address(replace(self, page=page))

    def tab(self, view: View) -> str:
        """The address of another list, narrowed as this one."""
        return self._address(replace(self, view=view, page=1))

    @property
    def is_narrowed(self) -> bool:
        """Whether the list is only a part."""
        return bool(self.flow or self.assignee or self.overdue)

    @staticmethod
    def _address(asked: Asked) -> str:
        query = {
            "view": asked.view,
            "flow": asked.flow,
            "assignee": asked.assignee,
            "overdue": "1" if asked.overdue else "",
            "sort": "" if asked.order == _ORDERS[0] else asked.order,
            "page": "" if asked.page == 1 else str(asked.page),
        }
        return f"{PATH}?{urlencode({name: value for name, value in query.items() if value})}"


def router(pages: Pages, client: Client, project: Callable[[], Project]) -> APIRouter:
    """The list."""
    api = pages.router(PATH)

    @api.get("")
    async def listed(request: Request) -> Response:
        asked, person, now = Asked.of(request), person_of(request), datetime.now(UTC)
        tasks = client.store.tasks
        statuses = CLOSED if asked.view == "closed" else ("open",)
        narrowed = Wanted(statuses, flow=asked.flow or None, overdue_at=now if asked.overdue else None)
        if asked.assignee:
            narrowed = client.wanted_of(asked.assignee, narrowed)
        elif asked.view == "mine":
            narrowed = Wanted(()) if person is None else client.wanted_of(person, narrowed)
        total = await tasks.count(narrowed)
        last = max(1, -(-total // _SIZE))
        asked = replace(asked, page=min(asked.page, last))
        order: Order = "closed" if asked.view == "closed" else asked.order
        found = await tasks.find(narrowed, order=order, limit=_SIZE, offset=(asked.page - 1) * _SIZE)
        waiting = Wanted(("open",))
        mine = await tasks.count(client.wanted_of(person, waiting)) if person is not None else None
        return await pages.show(
            request,
            "inbox.html",
            section="inbox",
            asked=asked,
            tasks=found,
            total=total,
            last=last,
            mine=mine,
            all_open=await tasks.count(waiting),
            overdue=await tasks.count(Wanted(("open",), overdue_at=now)),
            flows=_with(await tasks.flows(Wanted(statuses)), asked.flow),
            people=sorted(project().contacts, key=str.casefold),
            orders=_ORDERS,
            label_of=label_in(pages.language(request)),
        )

    return api


def _with(flows: Sequence[str], chosen: str) -> list[str]:
    """The flows to choose from; the chosen one is among them also when its last task is gone."""
    return sorted({*flows, *([chosen] if chosen else [])})
