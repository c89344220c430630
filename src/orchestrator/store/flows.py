"""Flows and their versions. A published (flow, version, content) never changes."""

from __future__ import annotations

import asyncio
import difflib
import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from pydantic import BaseModel
from sqlalchemy import ColumnElement, Row, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from orchestrator.errors import Conflict, NotFound
from orchestrator.spec.definition import Definition, Json, definition_from_json, definition_to_json
from orchestrator.spec.events import OWN
from orchestrator.spec.schedules import named_triggers
from orchestrator.store import tables
from orchestrator.store.connection import Database, insert_into

FRESH = 0.2
"""Seconds for which flows are taken to be what they were: everybody who wants to know asks once, together."""
_REMEMBERED = 512
"""Versions kept in memory; they never change, so only their number is bounded."""


class Surface(Protocol):
    """What ``publish`` needs of the file as its author wrote it."""

    @property
    def version(self) -> str | None: ...
    @property
    def enabled(self) -> bool: ...
    @property
    def triggers(self) -> Sequence[BaseModel]: ...


class Publishable(Protocol):
    """What ``publish`` needs of a loaded flow."""

    @property
    def definition(self) -> Definition: ...
    @property
    def flow(self) -> Surface: ...
    @property
    def text(self) -> str: ...


@dataclass(frozen=True, slots=True)
class PublishedVersion:
    """What a publication did. ``created`` is False when exactly this content was published before."""

    flow: str
    version: str
    hash: str
    created: bool


@dataclass(frozen=True, slots=True)
class FlowVersion:
    """One version as it was published."""

    flow: str
    version: str
    hash: str
    definition: Definition
    triggers: list[dict[str, Json]]
    enabled: bool
    text: str
    published_at: datetime


@dataclass(frozen=True, slots=True)
class FlowSummary:
    """A flow and its current version."""

    flow: str
    name: str | None
    version: str
    hash: str
    enabled: bool
    published_at: datetime
    versions: int


@dataclass(frozen=True, slots=True)
class FlowTrigger:
    """One trigger of a current, enabled version."""

    flow: str
    version: str
    trigger: dict[str, Json]
    id: str
    """The author's, or ``<type>-<n>`` by its place among all triggers of the flow, those that are off included."""


@dataclass(frozen=True, slots=True)
class DeclaredTrigger:
    """One trigger of a current version, whether it is on or not."""

    flow: str
    id: str
    trigger: Mapping[str, Json]
    enabled: bool
    """Whether both the flow and the trigger are."""


class Flows:
    """The published flows. Raises Unavailable, like everything in the store, when the database is."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._remembered: OrderedDict[tuple[str, str], FlowVersion] = OrderedDict()
        self._found: dict[tuple[str, str | None], tuple[int, FlowVersion]] = {}
        """By flow and version, None for whichever is current: at which revision, and what."""
        self._own: tuple[int, tuple[str, ...]] | None = None
        self._seen: tuple[int, float, int] | None = None
        """After how many changes of ours, when, and which revision was found."""
        self._looking = asyncio.Lock()
        self.changes = 0
        """How often this object changed the flows: tells without a query that a look is due."""

    async def publish(self, loaded: Publishable, *, as_edit: bool = False) -> PublishedVersion:
        """Make this content the flow's current version.

        A file without ``version`` takes the next whole number. The same content again creates nothing. Other
        content under a published version is a Conflict, unless ``as_edit``: then it is published as
        ``<version>+<first 8 of its hash>``.
        """
        definition = loaded.definition
        triggers = triggers_to_json(loaded.flow.triggers)
        content = _content_hash(definition, triggers)
        async with self._database.writing() as connection:
            row = await _locked(connection, definition.flow)
            published = await _published(connection, definition.flow)
            version, created = _choose(loaded, content, published, row, as_edit)
            now = datetime.now(UTC)
            if created:
                await connection.execute(
                    tables.versions.insert().values(
                        flow=definition.flow,
                        version=version,
                        hash=definition.hash,
                        content_hash=content,
                        name=definition.name,
                        definition=definition_to_json(replace(definition, version=version)),
                        triggers=triggers,
                        text=loaded.text,
                        published_at=now,
                    )
                )
            if row.version != version or row.deleted:
                await connection.execute(
                    update(tables.flows)
                    .where(tables.flows.c.id == definition.flow)
                    .values(version=version, enabled=loaded.flow.enabled, deleted=False, updated_at=now)
                )
                await _changed(connection)
        self.changes += 1
        return PublishedVersion(definition.flow, version, definition.hash, created)

    async def current(self, flow_id: str) -> FlowVersion:
        """The version new runs get; what another process publishes counts after ``FRESH`` seconds. NotFound names the
        nearest ids."""
        revision = await self.revision()
        known = self._known(flow_id, None, revision)
        if known is not None:
            return known
        flows = tables.flows
        async with self._database.reading() as connection:
            found = await connection.execute(
                select(flows.c.version, flows.c.enabled).where(flows.c.id == flow_id, _in_use())
            )
            row = found.first()
        if row is None:
            raise await self._unknown(flow_id)
        return self._keep((flow_id, None), revision, await self._version(flow_id, row.version, row.enabled))

    def _known(self, flow_id: str, version: str | None, revision: int) -> FlowVersion | None:
        """What was found at this revision."""
        found = self._found.get((flow_id, version))
        return None if found is None or found[0] != revision else found[1]

    def _keep(self, asked_for: tuple[str, str | None], revision: int, found: FlowVersion) -> FlowVersion:
        if len(self._found) >= _REMEMBERED:
            self._found.clear()
        self._found[asked_for] = (revision, found)
        return found

    async def version(self, flow_id: str, version: str) -> FlowVersion:
        """One published version, current or not; as fresh as ``current``. Raises NotFound naming those there are."""
        revision = await self.revision()
        known = self._known(flow_id, version, revision)
        if known is not None:
            return known
        flows, versions = tables.flows, tables.versions
        async with self._database.reading() as connection:
            found = await connection.execute(
                select(flows.c.enabled)
                .join_from(versions, flows)
                .where(versions.c.flow == flow_id, versions.c.version == version, _in_use())
            )
            row = found.first()
        if row is None:
            raise await self._unknown_version(flow_id, version)
        return self._keep((flow_id, version), revision, await self._version(flow_id, version, row.enabled))

    async def versions(self, flow_id: str) -> list[str]:
        """The numbers of every published version, newest first. Raises NotFound."""
        table = tables.versions
        async with self._database.reading() as connection:
            found = await connection.execute(
                select(table.c.version)
                .join_from(table, tables.flows)
                .where(table.c.flow == flow_id, _in_use())
                .order_by(table.c.published_at.desc(), table.c.version.desc())
            )
            numbers = [row.version for row in found]
        if not numbers:
            raise await self._unknown(flow_id)
        return numbers

    async def triggers(self) -> list[FlowTrigger]:
        """The triggers of every enabled flow's current version, by flow, in the order of the file."""
        flows, versions = tables.flows, tables.versions
        async with self._database.reading() as connection:
            found = await connection.execute(
                select(versions.c.flow, versions.c.version, versions.c.triggers)
                .join_from(flows, versions, _current_version())
                .where(flows.c.enabled.is_(True), _in_use())
                .order_by(flows.c.id)
            )
            return [
                FlowTrigger(row.flow, row.version, trigger, str(trigger.get("id") or f"{trigger['type']}-{place}"))
                for row in found
                for place, trigger in enumerate(row.triggers, 1)
                if trigger.get("enabled", True)
            ]

    async def declared(self, kind: str) -> list[DeclaredTrigger]:
        """Every trigger of one type of every flow's current version, those that are off included."""
        flows, versions = tables.flows, tables.versions
        async with self._database.reading() as connection:
            found = await connection.execute(
                select(versions.c.flow, flows.c.enabled, versions.c.triggers)
                .join_from(flows, versions, _current_version())
                .where(_in_use())
                .order_by(flows.c.id)
            )
            return [
                DeclaredTrigger(row.flow, name, trigger, row.enabled and trigger.get("enabled", True))
                for row in found
                for name, trigger in named_triggers(row.triggers, kind).items()
            ]

    async def own_events(self) -> tuple[str, ...]:
        """The engine's own events that some trigger names; as fresh as ``current``."""
        revision = await self.revision()
        if self._own is None or self._own[0] != revision:
            named = {one.trigger.get("event") or one.trigger.get("source") for one in await self.triggers()}
            self._own = (revision, tuple(kind for kind in OWN if kind in named))
        return self._own[1]

    async def list(self) -> list[FlowSummary]:
        """Every flow, by id."""
        flows, versions = tables.flows, tables.versions
        every = versions.alias("every")
        count = select(func.count()).where(every.c.flow == flows.c.id).scalar_subquery()
        async with self._database.reading() as connection:
            found = await connection.execute(
                select(
                    flows.c.id,
                    versions.c.name,
                    flows.c.version,
                    versions.c.hash,
                    flows.c.enabled,
                    versions.c.published_at,
                    count.label("versions"),
                )
                .join_from(flows, versions, _current_version())
                .where(_in_use())
                .order_by(flows.c.id)
            )
            return [FlowSummary(*row) for row in found]

    async def revision(self) -> int:
        """A number that rises with every change that ``triggers``, ``list`` or ``current`` could show. At most one
        small query, none while an answer is fresher than ``FRESH`` and this object has changed nothing since."""
        seen = self._fresh()
        if seen is not None:
            return seen
        async with self._looking:
            seen = self._fresh()
            if seen is not None:
                return seen
            asked, changes, counters = time.monotonic(), self.changes, tables.counters
            async with self._database.reading() as connection:
                found = await connection.execute(select(counters.c.value).where(counters.c.name == "flows"))
                revision = int(found.scalar_one())
            self._seen = (changes, asked, revision)
            return revision

    def _fresh(self) -> int | None:
        """The revision, if it was looked up less than ``FRESH`` ago and nothing was changed by this object since."""
        seen = self._seen
        fresh = seen is not None and seen[0] == self.changes and time.monotonic() - seen[1] < FRESH
        return seen[2] if seen is not None and fresh else None

    async def set_enabled(self, flow_id: str, enabled: bool) -> None:
        """Switch a flow's triggers and starts on or off, until its next version. Raises NotFound."""
        await self._update(flow_id, enabled=enabled)

    async def delete(self, flow_id: str) -> None:
        """Take a flow out of use. Runs in flight go on; its versions stay taken. Raises NotFound."""
        await self._update(flow_id, deleted=True)

    async def _update(self, flow_id: str, **values: bool) -> None:
        async with self._database.writing() as connection:
            changed = await connection.execute(
                update(tables.flows)
                .where(tables.flows.c.id == flow_id, _in_use())
                .values(**values, updated_at=datetime.now(UTC))
            )
            if changed.rowcount:
                await _changed(connection)
        if not changed.rowcount:
            raise await self._unknown(flow_id)
        self.changes += 1

    async def _version(self, flow_id: str, version: str, enabled: bool) -> FlowVersion:
        known = self._remembered.get((flow_id, version))
        if known is None:
            table = tables.versions
            async with self._database.reading() as connection:
                found = await connection.execute(
                    select(table).where(table.c.flow == flow_id, table.c.version == version)
                )
                row = found.mappings().one()
            known = FlowVersion(
                flow=flow_id,
                version=version,
                hash=row["hash"],
                definition=definition_from_json(row["definition"]),
                triggers=row["triggers"],
                enabled=enabled,
                text=row["text"],
                published_at=row["published_at"],
            )
            while len(self._remembered) >= _REMEMBERED:
                self._remembered.popitem(last=False)
        self._remembered[flow_id, version] = known
        self._remembered.move_to_end((flow_id, version))
        return known if known.enabled == enabled else replace(known, enabled=enabled)

    async def _unknown(self, flow_id: str) -> NotFound:
        async with self._database.reading() as connection:
            found = await connection.execute(select(tables.flows.c.id).where(_in_use()))
            ids = sorted(row.id for row in found)
        if not ids:
            return NotFound(f"there is no flow '{flow_id}': none is published; use `orchestrator publish` or `up`")
        near = difflib.get_close_matches(flow_id, ids, 3)
        if near:
            return NotFound(f"there is no flow '{flow_id}'; did you mean {_quoted(near)}?")
        more = f" and {len(ids) - 5} more" if len(ids) > 5 else ""
        return NotFound(f"there is no flow '{flow_id}'; published: {_quoted(ids[:5])}{more}")

    async def _unknown_version(self, flow_id: str, version: str) -> NotFound:
        try:
            numbers = await self.versions(flow_id)
        except NotFound as error:
            return error
        return NotFound(f"flow '{flow_id}' has no version '{version}'; published: {_quoted(numbers[:5])}")


def triggers_to_json(triggers: Sequence[BaseModel]) -> list[dict[str, Json]]:
    """Triggers as they are stored: under the names of the format, what is not set left out."""
    return [trigger.model_dump(mode="json", by_alias=True, exclude_none=True) for trigger in triggers]


def _in_use() -> ColumnElement[bool]:
    # A flow has no version while its first publication is under way or was refused.
    return tables.flows.c.deleted.is_(False) & tables.flows.c.version.is_not(None)


def _current_version() -> ColumnElement[bool]:
    flows, versions = tables.flows, tables.versions
    return (versions.c.flow == flows.c.id) & (versions.c.version == flows.c.version)


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


async def _locked(connection: AsyncConnection, flow_id: str) -> Row[Any]:
    """The flow's row, made if it is new, locked against every other publication of this flow."""
    await connection.execute(
        insert_into(connection, tables.flows)
        .values(id=flow_id, enabled=True, deleted=False, updated_at=datetime.now(UTC))
        .on_conflict_do_nothing()
    )
    found = await connection.execute(select(tables.flows).where(tables.flows.c.id == flow_id).with_for_update())
    return found.one()


async def _published(connection: AsyncConnection, flow_id: str) -> dict[str, str]:
    table = tables.versions
    found = await connection.execute(select(table.c.version, table.c.content_hash).where(table.c.flow == flow_id))
    return {row.version: row.content_hash for row in found}


def _choose(
    loaded: Publishable, content: str, published: Mapping[str, str], row: Row[Any], as_edit: bool
) -> tuple[str, bool]:
    """The version this content is published as, and whether that is a new one."""
    version = loaded.flow.version
    if version is None:
        if row.version is not None and published[row.version] == content:
            return row.version, False
        whole = [int(number) for number in published if number.isascii() and number.isdigit()]
        return str(max(whole, default=0) + 1), True
    if version not in published:
        return version, True
    if published[version] == content:
        return version, False
    if as_edit:
        edit = f"{version}+{content[:8]}"
        return edit, edit not in published
    raise Conflict(
        f"version {version} of flow '{loaded.definition.flow}' is published with other content, and a "
        "published version never changes: raise `version` in the file"
    )


def _content_hash(definition: Definition, triggers: Sequence[dict[str, Json]]) -> str:
    content = json.dumps([definition.hash, triggers], sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()


async def _changed(connection: AsyncConnection) -> None:
    counters = tables.counters
    await connection.execute(update(counters).where(counters.c.name == "flows").values(value=counters.c.value + 1))
