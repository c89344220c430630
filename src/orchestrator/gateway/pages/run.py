"""``/runs/{id}``: one run: its flow's graph with what has become of each step, and every step with what it gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Request, Response
from markupsafe import Markup
from starlette.exceptions import HTTPException

from orchestrator.client import OVER, Client
from orchestrator.client.again import started_with
from orchestrator.client.run import Attempt
from orchestrator.errors import NotFound, Refused, Unavailable
from orchestrator.gateway.pages import run_steps
from orchestrator.gateway.pages.language import Language
from orchestrator.gateway.pages.page import Pages, person_of, run_address
from orchestrator.gateway.pages.run_sent import Sent, sent_to
from orchestrator.gateway.pages.run_slices import Slices, home_of, slices_of, with_passes
from orchestrator.gateway.pages.run_steps import Row, Tally, tallies, value_of
from orchestrator.gateway.runs import RunDetail, detail_of
from orchestrator.settings import Settings
from orchestrator.spec.definition import Definition, Envelope
from orchestrator.spec.graph.model import graph_of, place_of, static_paths
from orchestrator.spec.graph.svg import Mark, svg

Json = Any

_ROWS = 200
"""Steps on one page of the table."""
_LONGEST = 20_000
"""Characters of the run's own values that are shown."""
_BUSY_SECONDS = 4
_WAITING_SECONDS = 20
"""How long until the page of a run loads itself anew, while something happens and while it only waits."""
_MOST_TWICE = 300
"""Steps up to which a flow is drawn for a phone as well; the style sheet shows one of the two."""
_STILL = "off"


@dataclass(frozen=True, slots=True)
class Begun:
    """What the run was started with; ``problem`` says why that is not known."""

    envelope: Envelope | None
    problem: str | None = None

    @property
    def definition(self) -> Definition | None:
        """The flow as this run has it."""
        return None if self.envelope is None else self.envelope.definition


def router(pages: Pages, client: Client) -> APIRouter:
    """The page. To be added behind all others under ``/runs``: a run's id may hold slashes."""
    api = pages.router("/runs")

    @api.get("/{run_id:path}")
    async def show(run_id: str, request: Request) -> Response:
        if not run_id:
            return pages.redirect("/runs")
        detail = await detail_of(client, run_id)
        begun = await _begun(client, run_id)
        attempts = {} if detail.status in OVER else await client.run(run_id).attempts()
        view = View(detail, begun, attempts, pages.language(request), request)
        view.slices = await _slices(client, view)
        view.sent = await _sent(client, view)
        return await pages.show(request, "run.html", **view.values(client.settings))

    @api.post("/{run_id:path}")
    async def retry(run_id: str, request: Request) -> Response:
        """Go on from what failed, as the person the reader says they are. Raises what ``Client.retry`` does."""
        given, person = await pages.form(request), person_of(request)
        if given.get("do") != "retry":
            raise HTTPException(422, "the form does not say what to do")
        if person is None:
            return pages.redirect(f"/inbox/name?{urlencode({'back': run_address(run_id)})}")
        return pages.redirect(run_address((await client.retry(run_id, by=person)).id))

    return api


async def _begun(client: Client, run_id: str) -> Begun:
    try:
        return Begun((await started_with(client.temporal, run_id))[1])
    except (NotFound, Refused, Unavailable) as error:
        return Begun(None, str(error))


async def _slices(client: Client, view: View) -> dict[str, Slices]:
    run = view.run
    if view.told is not None:
        return {}
    return await slices_of(client, run.root or run.id, run.started_at if run.attempt == 1 else None, view.records)


async def _sent(client: Client, view: View) -> Sent:
    """What the steps that are shown were sent, as far as Temporal still has it."""
    try:
        paths = [row.path for row in view.shown() if row.acts]
        return await sent_to(client.temporal, view.run.id, paths, view.asked_for)
    except NotFound:
        return Sent()


class View:
    """A run in one reader's language. ``slices`` and ``sent`` are looked up for it, as it says what is shown."""

    def __init__(
        self,
        detail: RunDetail,
        begun: Begun,
        attempts: Mapping[str, Attempt],
        language: Language,
        request: Request,
    ) -> None:
        self.slices: Mapping[str, Slices] = {}
        self.sent = Sent()
        self.run = detail
        self._begun = begun
        self._state = detail.state or {}
        self._t = language
        self._request = request
        definition = begun.definition
        self._places = {} if definition is None else static_paths(definition)
        self.records: Mapping[str, Json] = self._state.get("steps", {})
        steps = run_steps.Run(detail.root or detail.id, self.records, self._waits(), self._places, attempts)
        self._rows = steps.rows()
        self._numbers = {row.path: number for number, row in enumerate(self._rows)}
        self._tallies = tallies(self._rows)

    def values(self, settings: Settings) -> dict[str, Json]:
        """What the template shows."""
        run, envelope = self.run, self._begun.envelope
        page, last = self._page()
        over = run.status in OVER
        return {
            "run": run,
            "title": (envelope.definition.name if envelope else None) or run.flow,
            "over": over,
            "seconds": ((run.finished_at or datetime.now(UTC)) - run.started_at).total_seconds(),
            "refresh": None if over or self._still else self._refresh_seconds(),
            "still": self._still,
            "refresh_link": self._link(refresh=None if self._still else _STILL),
            "temporal": self._temporal(settings),
            "api": f"/v1/runs/{quote(run.id)}",
            "graph": self._graph(),
            "no_graph": self._begun.problem,
            "rows": self.shown(),
            "slices": self.slices,
            "told": self.told,
            "sent": self.sent,
            "asked_for": self.asked_for,
            "ask_for": lambda path: self._link(at=path, sent="1"),
            "as_yaml": run_steps.as_yaml,
            "way_to": self._way_to,
            "all_rows": len(self._rows),
            "page": page,
            "last": last,
            "link": lambda number: self._link(steps=str(number)),
            "not_reached": self._not_reached() if over else [],
            "waits": self._waits(),
            "paused": bool(self._state.get("paused")) and not over,
            "warnings": self._state.get("warnings", []),
            "compensations": self._compensations(),
            "continued": self._state.get("continued", 0),
            "parent": envelope.parent if envelope else None,
            "test": bool(envelope and envelope.test),
            "by": run.by or (_text(envelope.trigger.get("by")) if envelope else None),
            **self._data(),
        }

    @property
    def told(self) -> Mapping[str, Json] | None:
        """Of a run that carries out a slice of a loop: which."""
        return self._begun.envelope.slice if self._begun.envelope else None

    @property
    def asked_for(self) -> str | None:
        """The path of the step of which the reader wants to know what it was sent, whatever that takes."""
        query = self._request.query_params
        return query.get("at") if query.get("sent") and query.get("at") in self._numbers else None

    def shown(self) -> Sequence[Row]:
        """The rows on this page of the table."""
        page, _ = self._page()
        return self._rows[(page - 1) * _ROWS : page * _ROWS]

    def _way_to(self, path: str) -> str | None:
        """The address of the row of a step: here, or in the run of a slice. None where there is none."""
        anchor = f"#{quote(run_steps.anchor_of(path))}"
        if path in self._numbers:
            there = self._page_of(path)
            return anchor if there == str(self._page()[0]) else self._link(steps=there) + anchor
        home = home_of(path, self.slices)
        return None if home is None else f"{run_address(home)}?{urlencode({'at': path})}{anchor}"

    def _compensations(self) -> list[dict[str, Json]]:
        """What was undone or is still to be; a run that has completed owes nothing any more."""
        told: list[dict[str, Json]] = self._state.get("compensations", [])
        return [one for one in told if self.run.status != "completed" or one["status"] != "owed"]

    def _data(self) -> dict[str, Json]:
        """The values that went in and came out."""
        envelope, run = self._begun.envelope, self.run
        trigger = {name: one for name, one in envelope.trigger.items() if name != "body"} if envelope else {}
        body = envelope.trigger.get("body") if envelope else None
        error = run.error or self._state.get("error")
        more = {name: error[name] for name in ("status", "data", "cause", "errors") if error.get(name)} if error else {}
        return {
            "inputs": value_of(envelope.inputs, _LONGEST) if envelope and envelope.inputs else None,
            "body": value_of(body, _LONGEST) if envelope and body is not None and body != envelope.inputs else None,
            "trigger": value_of(trigger, _LONGEST) if trigger else None,
            "vars": value_of(self._state["vars"], _LONGEST) if self._state.get("vars") else None,
            "output": value_of(run.result, _LONGEST) if run.status == "completed" else None,
            "error": error,
            "error_more": value_of(more, _LONGEST) if more else None,
        }

    # -- the graph ----------------------------------------------------------------------------------------------

    def _graph(self) -> Markup | None:
        definition = self._begun.definition
        if definition is None:
            return None
        marks = {step: self._mark(tally) for step, tally in self._tallies.items()}
        total = len(list(definition.walk()))
        counts: dict[str, int] = {}
        for tally in self._tallies.values():
            counts[tally.status] = counts.get(tally.status, 0) + 1
        listed = ", ".join(f"{self._t(f'runs.status_{status}')} {count}" for status, count in counts.items())
        told = self._t("runs.graph_told", flow=definition.flow, count=total, listed=listed or "0")
        graph = graph_of(definition)
        drawn = svg(graph, told=told, marks=marks)
        if total <= _MOST_TWICE:
            drawn += svg(graph, told=told, marks=marks, narrow=True, key="narrow-graph")
        # Everything of the flow's in it is escaped there.
        return Markup(drawn)

    def _mark(self, tally: Tally) -> Mark:
        row = tally.rows[-1]
        if len(tally.rows) > 1:
            text = ", ".join(f"{self._t(f'runs.status_{status}')} ×{count}" for status, count in tally.counts())
            row = next((one for one in reversed(tally.rows) if one.status == tally.status), row)
        else:
            parts = [self._t(f"runs.status_{row.status}")]
            parts += [self._t.duration(row.seconds)] if row.seconds else []
            parts += [self._t("runs.tries", count=row.attempts)] if row.attempts > 1 else []
            text = " · ".join(parts)
        return Mark(tally.status, text, self._link(steps=self._page_of(row.path)) + f"#{quote(row.anchor)}")

    def _not_reached(self) -> list[str]:
        """Steps without a record, those aside that run only when something went wrong, and those in slices: they
        belong to the runs of these, as the others do not."""
        inside = tuple(f"{place_of(path)}[" for path in ([self.told["path"]] if self.told else self._elsewhere()))
        return [
            node.name or node.id
            for path, node in self._places.items()
            if "#" not in path
            and node.id not in self._tallies
            and (path.startswith(inside) if self.told else not (inside and path.startswith(inside)))
        ]

    def _elsewhere(self) -> list[str]:
        """Loops that are over and whose passes have no records here: slices have them, or an earlier run."""
        loops = [row.path for row in self._rows if row.type in ("for-each", "while") and row.status == "completed"]
        known = with_passes(self._numbers)
        return [*self.slices, *(path for path in loops if path not in known)]

    # -- the rest -----------------------------------------------------------------------------------------------

    def _waits(self) -> Sequence[Mapping[str, Json]]:
        """What the run waits for now, with ``until`` as a moment and the step's name as ``title``."""
        if self.run.status in OVER:
            return []
        return [
            wait | {"until": run_steps.moment_of(wait.get("until")), "title": self._title(wait)}
            for wait in self._state.get("waits", ())
        ]

    def _title(self, wait: Mapping[str, Json]) -> Json:
        node = self._places.get(place_of(str(wait.get("path"))))
        return (node.name if node else None) or wait.get("step")

    @property
    def _still(self) -> bool:
        return self._request.query_params.get("refresh") == _STILL

    def _refresh_seconds(self) -> int:
        resting = self.run.status in ("waiting", "paused") or self.run.state is None
        return _WAITING_SECONDS if resting else _BUSY_SECONDS

    def _page(self) -> tuple[int, int]:
        last = max(1, -(-len(self._rows) // _ROWS))
        at = self._request.query_params.get("at", "")
        asked = self._page_of(at) if at in self._numbers else self._request.query_params.get("steps", "")
        number = int(asked) if asked.isascii() and asked.isdigit() and 0 < len(asked) < 7 else 1
        return min(max(number, 1), last), last

    def _page_of(self, path: str) -> str:
        return str(self._numbers[path] // _ROWS + 1)

    def _link(self, **changes: str | None) -> str:
        """This page's address, some of its query changed."""
        kept = {name: self._request.query_params.get(name) for name in ("refresh", "steps")} | changes
        query = {name: value for name, value in kept.items() if value and (name, value) != ("steps", "1")}
        address = run_address(self.run.id)
        return f"{address}?{urlencode(query)}" if query else address

    def _temporal(self, settings: Settings) -> str | None:
        if settings.temporal_ui is None:
            return None
        namespace, run = quote(settings.temporal_namespace, safe=""), quote(self.run.id, safe="")
        return f"{settings.temporal_ui}/namespaces/{namespace}/workflows/{run}"


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None
