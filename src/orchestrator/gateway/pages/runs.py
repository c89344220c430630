"""``/runs``: the recent runs, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response

from orchestrator.client import Client
from orchestrator.client.listing import QUERY_STATUSES, WAITING
from orchestrator.errors import Refused
from orchestrator.gateway.pages.page import Pages

PATH = "/runs"
_SIZE = 25
"""Runs on one page of the list."""
_LONGEST = 200
_MOST_FLOWS = 500


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address asks for. A status that there is not counts as none: an old bookmark still opens."""

    flow: str
    status: str
    after: str

    @classmethod
    def of(cls, request: Request, statuses: Sequence[str]) -> Asked:
        """What a request's query says."""
        query = request.query_params
        status = query.get("status", "")
        return cls(
            flow=query.get("flow", "").strip()[:_LONGEST],
            status=status if status in statuses else "",
            after=query.get("after", ""),
        )

    def link(self, after: str | None) -> str:
        """The address of a page of the same list; None is the first."""
        asked = replace(self, after=after or "")
        query = {"flow": asked.flow, "status": asked.status, "after": asked.after}
        given = urlencode({name: value for name, value in query.items() if value})
        return f"{PATH}?{given}" if given else PATH


def router(pages: Pages, client: Client) -> APIRouter:
    """The list."""
    api = pages.router(PATH)
    statuses = [*QUERY_STATUSES, *([WAITING] if client.search_attributes else [])]

    @api.get("")
    async def listed(request: Request) -> Response:
        asked = Asked.of(request, statuses)
        try:
            found = await client.runs_page(asked.flow or None, asked.status or None, _SIZE, asked.after or None)
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
