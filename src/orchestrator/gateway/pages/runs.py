"""``/runs``: the recent runs, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, timedelta, tzinfo
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response

from orchestrator.client import Client
from orchestrator.client.listing import QUERY_STATUSES, WAITING, Narrower
from orchestrator.errors import Refused
from orchestrator.gateway.pages.page import Pages

PATH = "/runs"
_SIZE = 25
"""Runs on one page of the list."""
_LONGEST = 200
_DAY = timedelta(days=1)
_FIRST, _LAST = "1970-01-02", "2261-12-31"
"""Days that Temporal can be asked for."""
_MOST_FLOWS = 500


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address asks for. A status that there is not counts as none: an old bookmark still opens."""

    flow: str
    status: str
    begins: str
    """What the run's id begins with."""
    since: str
    until: str
    """Days, the last of which is among them."""
    parts: bool
    """Also runs that another run has started."""
    after: str

    @classmethod
    def of(cls, request: Request, statuses: Sequence[str]) -> Asked:
        """What a request's query says."""
        query = request.query_params
        status = query.get("status", "")
        return cls(
            flow=query.get("flow", "").strip()[:_LONGEST],
            status=status if status in statuses else "",
            begins=query.get("begins", "").strip()[:_LONGEST],
            since=_day(query.get("since", "")),
            until=_day(query.get("until", "")),
            parts=bool(query.get("parts")),
            after=query.get("after", ""),
        )

    def link(self, after: str | None) -> str:
        """The address of a page of the same list; None is the first."""
        query = asdict(replace(self, after=after or "")) | {"parts": "1" if self.parts else ""}
        given = urlencode({name: value for name, value in query.items() if value})
        return f"{PATH}?{given}" if given else PATH

    @property
    def is_narrowed(self) -> bool:
        """Whether the list is only a part of what it would be without a choice."""
        return bool(self.flow or self.status or self.begins or self.since or self.until)

    def narrower(self, zone: tzinfo) -> Narrower:
        """What of it Temporal is asked for; days are those of ``zone``. An id may be that of a part."""
        since = datetime.fromisoformat(self.since).replace(tzinfo=zone) if self.since else None
        until = datetime.fromisoformat(self.until) + _DAY if self.until else None
        before = until.replace(tzinfo=zone) if until else None
        return Narrower(self.begins, since, before, parts=self.parts or bool(self.begins))


def _day(text: str) -> str:
    """A day as browsers send it; nothing for what is none."""
    try:
        return str(date.fromisoformat(text)) if _FIRST <= text <= _LAST else ""
    except ValueError:
        return ""


def router(pages: Pages, client: Client) -> APIRouter:
    """The list."""
    api = pages.router(PATH)
    statuses = [*QUERY_STATUSES, *([WAITING] if client.search_attributes else [])]

    @api.get("")
    async def listed(request: Request) -> Response:
        asked = Asked.of(request, statuses)
        try:
            found = await client.runs_page(
                asked.flow or None, asked.status or None, _SIZE, asked.after or None, asked.narrower(pages.zone)
            )
        except Refused:
            if not asked.after:
                raise
            return pages.redirect(asked.link(None))
        flows = await client.store.flows.list()
        return await pages.show(
            request,
            "runs.html",
            asked=asked,
            runs=found.runs,
            older=None if found.next is None else asked.link(found.next),
            newest=asked.link(None) if asked.after else None,
            flows=[one.flow for one in flows[:_MOST_FLOWS]],
            statuses=statuses,
        )

    return api
