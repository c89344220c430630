"""Who is meant by the name of a task's assignee or group."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.spec.definition import Json


def people_behind(contacts: Mapping[str, Json], name: str) -> list[str] | None:
    """The members of a declared contact and of the groups among them, each once. None where nobody declared any: the
    name may be that of a person, or of a team that is known elsewhere."""
    if not _members(contacts, name):
        return None
    found: dict[str, None] = {}
    _gather(contacts, name, found, {})
    return list(found)


def _members(contacts: Mapping[str, Json], name: str) -> list[str]:
    contact = contacts.get(name)
    members = contact.get("members") if isinstance(contact, Mapping) else None
    return [str(member) for member in members] if isinstance(members, list) else []


def _gather(contacts: Mapping[str, Json], name: str, found: dict[str, None], seen: dict[str, None]) -> None:
    if name in seen:
        return
    seen[name] = None
    members = _members(contacts, name)
    if not members:
        found[name] = None
    for member in members:
        _gather(contacts, member, found, seen)
